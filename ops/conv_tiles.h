/*
 * Convolutions by Winograd's transformation (conv_tiles.c) on memory that lies as its kernels want:
 * activations in blocks of 16 channels, weights in blocks of 16 by 16. Who plans them:
 * conv_tiles_plan.c, conv_deep.c.
 */
#ifndef GR_OPS_CONV_TILES_H
#define GR_OPS_CONV_TILES_H

#include "conv.h"
#include "conv_tiles_avx512.h"

/* The processor has them, and what is fused behind planning's convolution is nothing or ReLU. */
bool gr_conv_tiles_run(const struct gr_planning *planning);

/* A convolution, or a gradient of one: how it is divided. */
struct gr_tiles {
    struct gr_tile_grid grid;
    enum gr_tile_form form; /* of what is transformed */
    int64_t images, taps, positions;
    int64_t source, result, filter; /* words from a position to the next of each buffer */
    int64_t block, part;            /* tiles of a block, of a part */
    int64_t stride;                 /* of a block in its buffer */
    int64_t blocks, shares;         /* of tiles; into which a block's results are divided */
    int64_t in_shares, out_shares;  /* of a gradient: the cells of a group, */
    int64_t ins, outs, own;         /* their blocks and words of scratch */
    bool turned, kept;
    bool together; /* all threads at a cell */
    int threads;
};

/*
 * Of filters of taps × taps, on a grid whose m, rows, cols and filter are set here. Kept: forward,
 * the filters come transformed. Returns the bytes of its scratch.
 */
size_t gr_tiles_init(struct gr_tiles *tiles, const struct gr_tile_grid *grid, int64_t images,
                     int64_t taps, enum gr_conv_pass pass, bool kept, int threads);

/*
 * Forward, or the gradient of the input (src: dy, dst: dx). weights: (g)OIhw16i16o, for the
 * gradient (g)OIhw16o16i, or filters that are kept.
 */
void gr_tiles_convolve(const struct gr_tiles *tiles, const void *src, const float *weights,
                       const struct gr_tile_finish *finish, void *dst, float *scratch);

/* The gradient of the weights, dw (g)OIhw16i16o, and of the bias, db [O] or NULL. */
void gr_tiles_correlate(const struct gr_tiles *tiles, const void *dy, const void *src, float *dw,
                        float *db, float *scratch);

#endif
