/*
 * Shapes and element types of values. A shape is logical: [N, C, H, W] whatever the layout in
 * memory. The types, gr_shape_count ("128×96×55×55" has 37,171,200 elements) and gr_shape_text are
 * public.
 */
#ifndef GR_BASE_SHAPE_H
#define GR_BASE_SHAPE_H

#include "base/error.h"

struct gr_shape gr_shape_of(int rank, const int64_t *dims);
bool gr_shape_equal(const struct gr_shape *a, const struct gr_shape *b);

/* Every dim positive and the bytes of eight-byte elements within 2^62; false otherwise. */
bool gr_shape_check(const struct gr_shape *shape);

#endif
