/*
 * Windows of pooling, and max pooling by the row kernels (pool_max.c) behind pool.c.
 */
#ifndef GR_OPS_POOL_H
#define GR_OPS_POOL_H

#include "graph/op.h"
#include "rows.h"

struct gr_pool_attrs {
    int64_t kernel[2], stride[2], pad[4]; /* h, w; top, left, bottom, right */
    bool ceil_mode, count_include_pad;
    bool relu; /* of the backward: takes the gradient of a ReLU before the pool as well */
};

/* The form of a max pooling from src to dst [N, C, H, W]. */
struct gr_pool_form gr_pool_form_of(const struct gr_pool_attrs *attrs, const struct gr_shape *src,
                                    const struct gr_shape *dst, int64_t lanes);

/* Is a window small enough for the row kernels, whose workspace holds a byte for each? */
bool gr_pool_by_rows(const struct gr_pool_attrs *attrs);

/* max_pool by row kernels, and its backward: inputs dy, workspace, and with relu the pool's dst. */
bool gr_pool_max_plan(struct gr_planning *planning, struct gr_error *err);
bool gr_pool_max_backward_plan(struct gr_planning *planning, struct gr_error *err);

#endif
