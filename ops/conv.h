/*
 * What the kernels of a convolution share: its attributes and its geometry.
 */
#ifndef GR_OPS_CONV_H
#define GR_OPS_CONV_H

#include "activation.h"

struct gr_conv_attrs {
    int64_t out_channels, groups;
    int64_t kernel[2], stride[2], pad[4], dilation[2]; /* h, w; top, left, bottom, right */
    bool bias;
    /* Fused behind it, in this order; not attributes of the model file. */
    bool add; /* the last input is added to the result */
    struct gr_activation activation;
};

/* src [N, C, H, W], weight [O, C/G, KH, KW], bias [O], dst [N, O, OH, OW]. */
struct gr_conv_sizes {
    int64_t n, c, h, w, o, oh, ow, g, kh, kw;
};

/* Of the forward node, or of the forward node of a backward one. */
struct gr_conv_sizes gr_conv_sizes(const struct gr_node *node);

/*
 * Kernels: forward (inputs src, weight, bias?, addend?), data (inputs dy, weight; output dx),
 * weights (inputs dy, src; outputs dw, db?). oneDNN's leave planning->kernel->run NULL where it has
 * only reference loops.
 */
bool gr_conv_onednn_forward(struct gr_planning *planning, struct gr_error *err);
bool gr_conv_onednn_data(struct gr_planning *planning, struct gr_error *err);
bool gr_conv_onednn_weights(struct gr_planning *planning, struct gr_error *err);
bool gr_conv_openblas_forward(struct gr_planning *planning, struct gr_error *err);
bool gr_conv_openblas_data(struct gr_planning *planning, struct gr_error *err);
bool gr_conv_openblas_weights(struct gr_planning *planning, struct gr_error *err);

#endif
