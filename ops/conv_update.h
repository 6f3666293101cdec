/*
 * The weight gradient of a convolution with sgd's update of the weight behind it, as one node: what
 * conv_update.c (the op) and conv_update_blocks.c (the kernel) share.
 *
 * Inputs: weight, velocity?, dy, src, rate; output: the gradient of the bias, if there is one.
 */
#ifndef GR_OPS_CONV_UPDATE_H
#define GR_OPS_CONV_UPDATE_H

#include "conv.h"
#include "sgd.h"

struct gr_conv_update {
    const struct gr_node *update; /* sgd's, with its own attributes */
    struct gr_node *gradient;     /* the node as it was: inputs dy, src; outputs dw, db? */
    struct gr_node *reorder;      /* of dw */
};

/* The input that is dy; src and the rate follow. */
static inline int gr_conv_update_dy(const struct gr_node *node)
{
    const struct gr_node *update = ((const struct gr_conv_update *)node->attrs)->update;
    return 1 + update->op->n_states(update->attrs);
}

/* Has the gradient blocks of 16 by 16 channels, and the processor kernels for them? */
bool gr_conv_update_has_blocks(const struct gr_planning *planning);

/* Plans the kernel by blocks; kernel->run stays NULL where the weight lies otherwise. */
bool gr_conv_update_blocks(struct gr_planning *planning, struct gr_error *err);

#endif
