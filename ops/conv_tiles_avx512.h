/*
 * The kernels of conv_tiles.c for processors with AVX-512: transforms of tiles and the products of
 * the transformed (conv_products_avx512.c), on activations in blocks of 16 channels (nChw16c) in
 * f32 or bf16. Arithmetic is f32; what is transformed may be rounded to bf16, of which a product
 * takes two at a time and sums in f32.
 *
 * A tile of m × m results needs size × size sources, size = m + taps - 1. Transformed, it is size²
 * numbers, called positions, at each of which tiles and filters are multiplied as matrices over
 * channels. Elsewhere than on such processors the functions do nothing.
 */
#ifndef GR_OPS_CONV_TILES_AVX512_H
#define GR_OPS_CONV_TILES_AVX512_H

#include <stdbool.h>
#include <stdint.h>

enum { GR_TILE_MOST = 8, GR_TILE_TAPS = 5, GR_TILE_LANES = 16, GR_TILE_ROWS = 24 };

/* How a square of an activation is cut into tiles. Channels are counted in blocks of 16. */
struct gr_tile_grid {
    int64_t size, m;                          /* 6 or 8; results along a tile's edge */
    int64_t rows, cols;                       /* tiles of an image */
    int64_t h, w, oh, ow;                     /* of what is read, of what results */
    int64_t pad[2];                           /* zeros above and left of what is read */
    int64_t groups, in, out;                  /* blocks of a group that are read, that result */
    bool in_bf16, out_bf16;                   /* the elements of what is read, of what results */
    bool rounded;                             /* what is transformed is rounded to bf16; size 6 */
    float filter[GR_TILE_MOST][GR_TILE_TAPS]; /* G: [size, taps] */
};

/* How transformed vectors of 16 channels lie. */
enum gr_tile_form {
    GR_TILE_F32,
    GR_TILE_BF16,
    GR_TILE_PAIRS /* in bf16, two and two: word c is of channel c of an even vector and the next */
};

/*
 * Transformed tiles, of one group: [size², blocks, tiles, 16], `position` words of 32 bits from one
 * position to the next and `block` from one block to the next.
 */
struct gr_tile_buffer {
    float *data;
    int64_t position, block;
    enum gr_tile_form form;
    float *sums; /* of a gradient's tiles, in f32: [blocks, tiles, 16] */
    int64_t sums_block;
};

/* Words that so many tiles take, of one block; an even number of them if in pairs. */
static inline int64_t gr_tile_words(enum gr_tile_form form, int64_t tiles)
{
    return tiles * (form == GR_TILE_F32 ? GR_TILE_LANES : GR_TILE_LANES / 2);
}

bool gr_tiles_avx512_supported(bool bf16);

/*
 * Sources of tiles first to first + count - 1 (counted over all images), blocks block to block +
 * blocks - 1 of the channels (counted over all groups).
 */
void gr_tiles_avx512_source(const struct gr_tile_grid *grid, const void *src, int64_t block,
                            int64_t blocks, int64_t first, int64_t count,
                            const struct gr_tile_buffer *to);

/* The same of the gradient dy of the results, and each tile's sum. */
void gr_tiles_avx512_gradient(const struct gr_tile_grid *grid, const void *dy, int64_t block,
                              int64_t blocks, int64_t first, int64_t count,
                              const struct gr_tile_buffer *to);

/* What becomes of a result. */
struct gr_tile_finish {
    const float *bias;  /* [channels], or NULL */
    const void *addend; /* lies as the results do, or NULL */
    bool relu;          /* negative ones become zero, last of all */
};

/* The results of blocks block to block + blocks - 1 of theirs. */
void gr_tiles_avx512_result(const struct gr_tile_grid *grid, const struct gr_tile_buffer *from,
                            int64_t block, int64_t blocks, int64_t first, int64_t count,
                            const struct gr_tile_finish *finish, void *dst);

/*
 * Filters w [taps, taps] of 16 lanes, `tap` floats from one tap to the next, into the positions of
 * u [channels, 16], or in pairs [channels / 2, 16] if rounded; turned: by half a turn.
 */
void gr_tiles_avx512_filter(const struct gr_tile_grid *grid, const float *w, int64_t tap,
                            bool turned, int64_t channel, float *u, int64_t position);

/* The way back of a gradient. */
void gr_tiles_avx512_filter_gradient(const struct gr_tile_grid *grid, const float *u,
                                     int64_t position, float *dw, int64_t tap);

/*
 * Sums of products at a position. Forward, c[block][tile] = Σ over channels: a [in, tiles, 16] a
 * buffer's position, b [blocks, channels, 16], c [blocks, tiles, 16]; tiles rounded up to a
 * multiple of GR_TILE_ROWS at most are read and written. If rounded, `a` is in bf16 and b in pairs
 * of channels.
 */
struct gr_tile_product {
    const float *a, *b;
    float *c;
    int64_t a_block, b_block, c_block; /* words from a block to the next */
    int64_t in, out, tiles;
    bool rounded;
    /* Backward: what is wanted next is fetched meanwhile, as much as c is, or NULL. */
    const float *fetch[2];
    int64_t fetch_block;
};

void gr_tiles_avx512_multiply(const struct gr_tile_product *product);

/*
 * Backward, c[out block][channel] += Σ over tiles of a[channel] · b[out block], c [out, 16 in, 16];
 * or = if fresh. If rounded, a and b are in pairs of tiles.
 */
void gr_tiles_avx512_correlate(const struct gr_tile_product *product, bool fresh);

#endif
