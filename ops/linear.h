/*
 * What the kernels of a fully connected layer share: its attributes and its sizes.
 */
#ifndef GR_OPS_LINEAR_H
#define GR_OPS_LINEAR_H

#include "activation.h"

struct gr_linear_attrs {
    int64_t out_features;
    bool bias;
    struct gr_activation activation; /* fused behind it; not an attribute of the model file */
};

/* src [N, C] (flattened), weight [O, C], dst [N, O]. */
struct gr_linear_sizes {
    int64_t n, c, o;
};

/* Of the forward node, or of the forward node of a backward one. */
struct gr_linear_sizes gr_linear_sizes(const struct gr_node *node);

/* Forward (inputs src, weight, bias?), data (dy, weight; output dx), weights (dy, src; dw, db?). */
bool gr_linear_onednn_forward(struct gr_planning *planning, struct gr_error *err);
bool gr_linear_onednn_data(struct gr_planning *planning, struct gr_error *err);
bool gr_linear_onednn_weights(struct gr_planning *planning, struct gr_error *err);

/* As gr_op.primitive, of the same three. */
bool gr_linear_primitive_forward(struct gr_planning *planning, struct gr_error *err);
bool gr_linear_primitive_data(struct gr_planning *planning, struct gr_error *err);
bool gr_linear_primitive_weights(struct gr_planning *planning, struct gr_error *err);

/*
 * The weight gradient with sgd's update of the weight behind it (linear_update.c): lets node, a
 * backward node of a linear layer (inputs dy, src; outputs dw, db?), take over `update`. False: it
 * cannot, nothing changed.
 */
bool gr_linear_take_update(struct gr_node *node, const struct gr_node *update);

/*
 * Plans that for few images (linear_outer.c); update is sgd's node, with its own attributes.
 * kernel->run stays NULL where there are more, or for a layout of the weight that it does not know.
 */
bool gr_linear_outer(struct gr_planning *planning, const struct gr_node *update,
                     struct gr_error *err);

/*
 * The primitive for the weight gradient of `rows` outputs of node's layer, in layout `weights`
 * (NULL: any). NULL and *err on failure; end with dnnl_primitive_desc_destroy.
 */
dnnl_primitive_desc_t gr_linear_onednn_weights_pd(struct gr_planning *planning, int64_t rows,
                                                  gr_md weights, bool bias, struct gr_error *err);

#endif
