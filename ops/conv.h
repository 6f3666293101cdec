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

enum gr_conv_pass { GR_CONV_FORWARD, GR_CONV_DATA, GR_CONV_WEIGHTS };

/* The descriptors of a convolution, all in any layout. Zero-initialised is empty. */
struct gr_conv_descs {
    struct gr_desc src, weights, bias, dst;
    bool channels_last; /* src and dst are in nhwc */
    dnnl_dims_t stride, dilation, pad_l, pad_r;
};

/* Activations are stored in `type`, the weights or their gradient in `weights`, the bias in f32. */
bool gr_conv_descs_init(struct gr_conv_descs *d, const struct gr_conv_attrs *a,
                        const struct gr_conv_sizes *s, enum gr_dtype type, enum gr_dtype weights,
                        struct gr_error *err);
void gr_conv_descs_release(struct gr_conv_descs *d);

/* Primitive descriptors of the three passes; the caller's when the status is success. */
dnnl_status_t gr_conv_forward_pd(dnnl_primitive_desc_t *pd, struct gr_backend *backend,
                                 dnnl_alg_kind_t algorithm, const struct gr_conv_descs *d);
dnnl_status_t gr_conv_data_pd(dnnl_primitive_desc_t *pd, struct gr_backend *backend,
                              dnnl_alg_kind_t algorithm, const struct gr_conv_descs *d);
dnnl_status_t gr_conv_weights_pd(dnnl_primitive_desc_t *pd, struct gr_backend *backend,
                                 dnnl_alg_kind_t algorithm, const struct gr_conv_descs *d,
                                 const struct gr_conv_descs *forward);

/*
 * *usable: a descriptor came of it that is not reference loops. False and *err: a failure other
 * than that there is none.
 */
bool gr_conv_usable(const struct gr_planning *planning, dnnl_status_t status,
                    dnnl_primitive_desc_t *pd, bool *usable, struct gr_error *err);

/*
 * The forward pass with what is fused behind planning's convolution. prop: for inference oneDNN
 * prefers other layouts (nhwc), so that an evaluation between epochs would keep its weights twice;
 * our programs take it as for training, and those layouts, where they are faster, by their name.
 */
dnnl_status_t gr_conv_fused_pd(dnnl_primitive_desc_t *pd, const struct gr_planning *planning,
                               dnnl_prop_kind_t prop, dnnl_alg_kind_t algorithm,
                               const struct gr_conv_descs *d, struct gr_error *err);

/*
 * Other ways, of which a plan chooses (planning->choice). Each asks whether the shape is one for
 * it; as oneDNN's own, kernels leave planning->kernel->run NULL where oneDNN has nothing for them.
 */
bool gr_conv_takes_winograd(const struct gr_planning *planning); /* conv_winograd.c */
bool gr_conv_winograd_forward(struct gr_planning *planning, struct gr_error *err);
bool gr_conv_winograd_data(struct gr_planning *planning, struct gr_error *err);
bool gr_conv_winograd_weights(struct gr_planning *planning, struct gr_error *err);
bool gr_conv_takes_channels_last(const struct gr_planning *planning); /* nhwc: conv_onednn.c */
bool gr_conv_channels_last_forward(struct gr_planning *planning, struct gr_error *err);
bool gr_conv_flips(const struct gr_planning *planning); /* the filters: conv_flipped.c */
bool gr_conv_flipped_data(struct gr_planning *planning, struct gr_error *err);
bool gr_conv_deepens(const struct gr_planning *planning); /* space to depth: conv_deep.c */
bool gr_conv_deep_forward(struct gr_planning *planning, struct gr_error *err);
bool gr_conv_deep_weights(struct gr_planning *planning, struct gr_error *err);
bool gr_conv_takes_tiles(const struct gr_planning *planning); /* of 6×6, 8×8: conv_tiles.c */
bool gr_conv_tiles_6_forward(struct gr_planning *planning, struct gr_error *err);
bool gr_conv_tiles_6_data(struct gr_planning *planning, struct gr_error *err);
bool gr_conv_tiles_6_weights(struct gr_planning *planning, struct gr_error *err);
bool gr_conv_tiles_8_forward(struct gr_planning *planning, struct gr_error *err);
bool gr_conv_tiles_8_data(struct gr_planning *planning, struct gr_error *err);
bool gr_conv_tiles_8_weights(struct gr_planning *planning, struct gr_error *err);
bool gr_conv_takes_rounded_tiles(const struct gr_planning *planning); /* to bf16 */
bool gr_conv_tiles_6_bf16_forward(struct gr_planning *planning, struct gr_error *err);
bool gr_conv_tiles_6_bf16_data(struct gr_planning *planning, struct gr_error *err);
bool gr_conv_tiles_6_bf16_weights(struct gr_planning *planning, struct gr_error *err);

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

/* The pass by what was chosen, or the usual way; the ways there are, as gr_op.candidates. */
bool gr_conv_plan(struct gr_planning *planning, enum gr_conv_pass pass, struct gr_error *err);
int gr_conv_candidates(const struct gr_planning *planning, enum gr_conv_pass pass,
                       const char *names[GR_MAX_CANDIDATES]);

/* The weights' pass takes over their update: conv_update.c; as gr_op.fuse_update. */
bool gr_conv_take_update(struct gr_node *node, const struct gr_node *update);

/* As gr_op.primitive: conv_primitive.c. */
bool gr_conv_primitive_forward(struct gr_planning *planning, struct gr_error *err);
bool gr_conv_primitive_data(struct gr_planning *planning, struct gr_error *err);
bool gr_conv_primitive_weights(struct gr_planning *planning, struct gr_error *err);

#endif
