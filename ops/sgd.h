/*
 * sgd's arithmetic, for kernels that update a parameter as soon as they have its gradient.
 */
#ifndef GR_OPS_SGD_H
#define GR_OPS_SGD_H

#include "ops.h"

/* One parameter's step, or that of a part of it: arrays of count floats and factors. */
struct gr_sgd_step {
    float *restrict w;
    float *restrict v; /* NULL: no momentum */
    const float *restrict g;
    int64_t count;
    float rate, decay, momentum;
    bool nesterov;
};

/* The factors of an update node at this learning rate; arrays are NULL. */
struct gr_sgd_step gr_sgd_step(const struct gr_node *update, float rate);

void gr_sgd_apply(const struct gr_sgd_step *step);

#endif
