/*
 * Activations, as other ops fuse them: the elementwise function of a ReLU and its kin as data.
 */
#ifndef GR_OPS_ACTIVATION_H
#define GR_OPS_ACTIVATION_H

#include "onednn.h"

/* function NULL: none. */
struct gr_activation {
    float (*function)(float x, float alpha);
    dnnl_alg_kind_t algorithm; /* oneDNN's */
    float alpha;
};

/* What the node computes, if it is an activation; else none. */
struct gr_activation gr_activation_of(const struct gr_node *node);

/*
 * Is consumer the backward of a ReLU whose output is `output`, applied to the first output of node?
 * Then dx = output > 0 ? dy : 0.
 */
bool gr_activation_is_relu_backward(const struct gr_node *consumer, const struct gr_node *node,
                                    const struct gr_value *output);

/* dst[i] = f(dst[i]) over count floats; nothing for none. */
void gr_activation_apply(const struct gr_activation *activation, float *dst, int64_t count);

#endif
