/*
 * The filters of Winograd's tiles (conv_tiles.c), transformed. A convolution whose weights do not
 * change reads them as a layout of the weights, which the reorder op brings about once.
 */
#ifndef GR_OPS_CONV_FILTERS_H
#define GR_OPS_CONV_FILTERS_H

#include "conv_tiles_avx512.h"
#include "onednn.h"

/* The filter transform G of a grid whose size and m are set. */
void gr_conv_filters_init(struct gr_tile_grid *grid);

/* Words from one position to the next of so many: odd numbers of cache lines fall apart in it. */
int64_t gr_conv_filters_spread(int64_t floats);

/* Words of 32 bits of a block of 16 by 16 filters at a position: numbers, or pairs if rounded. */
int64_t gr_conv_filters_block(const struct gr_tile_grid *grid);

/* Words from one position of a group's filters to the next. */
int64_t gr_conv_filters_position(const struct gr_tile_grid *grid);

/* Words of all filters [G, size², position]. */
int64_t gr_conv_filters_count(const struct gr_tile_grid *grid);

/*
 * Transforms weights (g)OIhw16i16o, or turned by half a turn (g)OIhw16o16i, into u: a group's
 * positions are [out, 16 in, 16], or in pairs [out, 8 in, 16] if rounded.
 */
void gr_conv_filters_transform(const struct gr_tile_grid *grid, bool turned, const float *weights,
                               float *u);

/* The layout (g)OIhw16i16o or, if turned, (g)OIhw16o16i of the weights of a grid. NULL: failed. */
const struct gr_layout *gr_conv_filters_blocked(struct gr_backend *backend,
                                                const struct gr_value *weights,
                                                const struct gr_tile_grid *grid, bool turned,
                                                struct gr_error *err);

/* The layout of the transformed filters, not turned. NULL: failed. */
const struct gr_layout *gr_conv_filters_layout(struct gr_backend *backend,
                                               const struct gr_tile_grid *grid,
                                               struct gr_error *err);

/* Is this layout of a value that of transformed filters? */
bool gr_conv_filters_are(const struct gr_value *value, const struct gr_layout *layout);

/* Plans a reorder to it, from any layout. */
bool gr_conv_filters_plan(struct gr_planning *planning, struct gr_error *err);

#endif
