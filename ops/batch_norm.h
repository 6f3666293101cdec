/*
 * What the files of batch_norm share: batch_norm.c is the op, batch_norm_kernel.c plans and runs
 * it, batch_norm_loops.c passes over memory.
 */
#ifndef GR_OPS_BATCH_NORM_H
#define GR_OPS_BATCH_NORM_H

#include "graph/op.h"

struct gr_batch_norm_attrs {
    double eps, momentum;
    bool affine;
    bool add;  /* forward: the last input is added to the result */
    bool relu; /* forward: through a ReLU; backward: dy is that of the ReLU's output */
};

/*
 * Does the node, forward or backward, go by the statistics of its batch? Outside training, and
 * where it is frozen, by the running ones.
 */
bool gr_batch_norm_by_batch(const struct gr_node *node);

/* Forward, inputs: src, weight and bias if affine, running mean and variance, addend if add. */
bool gr_batch_norm_plan(struct gr_planning *planning, struct gr_error *err);

/*
 * Backward, inputs: dy, src, mean, variance, weight if affine, bias if relu too; outputs: dsrc and,
 * if affine, dweight and dbias, of which those of kind WORKSPACE are not wanted.
 */
bool gr_batch_norm_backward_plan(struct gr_planning *planning, struct gr_error *err);

/*
 * Makes node, the backward of an activation, the backward of the batch norm before it as well: true
 * if it is that of a ReLU and consumer that of the norm.
 */
bool gr_batch_norm_fuse_backward(struct gr_node *node, const struct gr_node *consumer);

#endif
