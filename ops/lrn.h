/*
 * What lrn.c shares with the op that pools behind it, lrn_pool.c.
 */
#ifndef GR_OPS_LRN_H
#define GR_OPS_LRN_H

#include "graph/op.h"
#include "rows.h"

struct gr_lrn_attrs {
    int64_t size;
    double alpha, beta, k;
    bool relu; /* of the backward: src is a ReLU's output, whose gradient is taken as well */
};

extern const struct gr_op gr_op_lrn_backward; /* inputs dy, src */

/* Of channels dim[1], in blocks of so many lanes. */
struct gr_lrn_form gr_lrn_form_of(const struct gr_lrn_attrs *attrs, const struct gr_shape *shape,
                                  int64_t lanes);

#endif
