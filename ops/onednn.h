/*
 * oneDNN, versions 2.6 and 3.x, behind one interface: this header and onednn.c alone know the
 * difference. onednn_layouts.c builds layouts on it, onednn_kernel.c kernels and reorders.
 *
 * An op creates a primitive descriptor with one of the gr_onednn_* functions (shaped as oneDNN 3's)
 * and hands it to gr_onednn_kernel with a table that says which input or output of the node each
 * argument is; layouts, scratch and execution follow from the descriptor.
 */
#ifndef GR_OPS_ONEDNN_H
#define GR_OPS_ONEDNN_H

#include <oneapi/dnnl/dnnl.h>

#include "graph/op.h"

#if DNNL_VERSION_MAJOR >= 3
typedef const_dnnl_memory_desc_t gr_md;
#else
typedef const dnnl_memory_desc_t *gr_md;
#endif

/* The interned layouts: open addressing by a hash of the descriptor. */
struct gr_onednn_layouts {
    struct gr_onednn_layout **places; /* [capacity] NULL: free */
    size_t count, capacity;
};

/* Memory objects in use: chains by a hash of descriptor and address. */
struct gr_onednn_memories {
    struct gr_onednn_memory **buckets; /* [n_buckets] */
    size_t count, n_buckets;
};

/* What the ops of one context share. It outlives their kernels. */
struct gr_backend {
    enum gr_kernels kernels;
    int threads;
    char machine[256]; /* what kernels are chosen for */
    char processor[128], library[32];
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_attr_t attr; /* scratchpad by the user */
    struct gr_onednn_layouts layouts;
    struct gr_onednn_memories memories;
    enum { GR_PADDING_UNTRIED, GR_PADDING_RIGHT, GR_PADDING_WRONG } padding; /* of reorders */
};

/* A memory descriptor in the making. Zero-initialised is empty; released by gr_desc_release. */
struct gr_desc {
    dnnl_memory_desc_t md;
    bool made;
};

enum { GR_ONEDNN_BLOCKS = 12 };

/* What both versions say of a memory descriptor. */
struct gr_onednn_facts {
    int rank, n_blocks;
    dnnl_data_type_t type;
    bool blocked; /* false: an opaque layout */
    int64_t dims[DNNL_MAX_NDIMS], padded[DNNL_MAX_NDIMS], strides[DNNL_MAX_NDIMS];
    int64_t blocks[GR_ONEDNN_BLOCKS], indices[GR_ONEDNN_BLOCKS];
};

void gr_onednn_facts(gr_md md, struct gr_onednn_facts *facts);

/* Has the processor (and oneDNN's leave to use) these instructions? */
bool gr_onednn_has_isa(dnnl_cpu_isa_t isa);

enum gr_dtype gr_onednn_dtype(dnnl_data_type_t type);

/* Which layout a descriptor asks for. */
enum gr_format { GR_FORMAT_ANY, GR_FORMAT_PLAIN };

/* oneDNN has no rank 0: a scalar is a tensor of one element. */
bool gr_desc_init(struct gr_desc *desc, int rank, const int64_t *dims, enum gr_dtype dtype,
                  enum gr_format format, struct gr_error *err);

/* Of a value's own shape. */
bool gr_desc_of(struct gr_desc *desc, const struct gr_value *value, enum gr_format format,
                struct gr_error *err);

/* Of a value in a layout that it has already. */
bool gr_desc_in(struct gr_desc *desc, const struct gr_value *value, const struct gr_layout *layout,
                struct gr_error *err);

/* In a layout that has a name of oneDNN's. */
bool gr_desc_tagged(struct gr_desc *desc, int rank, const int64_t *dims, enum gr_dtype dtype,
                    dnnl_format_tag_t tag, struct gr_error *err);

/*
 * [N, C, H, W] in elements of dtype with channels blocked by the widest vector (nChw16c, nChw8c);
 * plain if the rank is not 4.
 */
bool gr_desc_blocked(struct gr_desc *desc, const struct gr_value *value, enum gr_dtype dtype,
                     struct gr_error *err);

/* A copy of a descriptor that is there. */
bool gr_desc_copy(struct gr_desc *desc, gr_md md);

gr_md gr_desc_get(const struct gr_desc *desc); /* NULL of an empty one: an absent bias */
void gr_desc_release(struct gr_desc *desc);

/*
 * The layout that md describes for a value; weights: name it in the letters of weights. A workspace
 * is never plain: its bytes do not follow from the value. NULL: out of memory.
 */
const struct gr_layout *gr_onednn_layout(struct gr_backend *backend, const struct gr_value *value,
                                         gr_md md, bool weights, struct gr_error *err);

/* What a layout other than gr_layout_plain describes. Valid while the backend is. */
gr_md gr_onednn_layout_md(const struct gr_layout *layout);

/* That of gr_desc_blocked. */
const struct gr_layout *gr_onednn_blocked(struct gr_backend *backend, const struct gr_value *value,
                                          enum gr_dtype dtype, struct gr_error *err);

/* Row-major, in elements of dtype. */
const struct gr_layout *gr_onednn_plain(struct gr_backend *backend, const struct gr_value *value,
                                        enum gr_dtype dtype, struct gr_error *err);

/* One with a name of oneDNN's; gr_layout_plain, where it is that of the value. NULL: failed. */
const struct gr_layout *gr_onednn_tagged(struct gr_backend *backend, const struct gr_value *value,
                                         enum gr_dtype dtype, dnnl_format_tag_t tag,
                                         struct gr_error *err);

/* One of our own, which is md only in its bytes and its identity, called `name`. NULL: failed. */
const struct gr_layout *gr_onednn_named(struct gr_backend *backend, gr_md md, const char *name,
                                        struct gr_error *err);

/* A layout that is so many bytes and nothing else: of a workspace. NULL: out of memory. */
const struct gr_layout *gr_onednn_workspace(struct gr_backend *backend, size_t bytes,
                                            struct gr_error *err);

/*
 * [N, C / lanes, H, W, lanes] of these elements; lanes 16, 8 or 1. gr_layout_plain, where it is
 * that of the value. A workspace may be laid out so: [N, C, H, W] then is `shape`. NULL: failed.
 */
const struct gr_layout *gr_onednn_lanes(struct gr_backend *backend, const struct gr_value *value,
                                        const struct gr_shape *shape, enum gr_dtype dtype,
                                        int64_t lanes, struct gr_error *err);

/* The lanes of this processor's kernels: 16 or 8; 1 where they are OpenBLAS's and plain loops. */
int64_t gr_onednn_widest_lanes(const struct gr_backend *backend);

/* Ends the interned layouts, when the backend goes. */
void gr_onednn_layouts_release(struct gr_backend *backend);

/* Equal descriptors have equal hashes. */
uint64_t gr_onednn_hash(gr_md md);

/*
 * The memory object of md at an address, one for all who obtain it, until each has returned it. Not
 * to be given another address. From one thread. NULL: failed. Returning NULL is fine.
 */
dnnl_memory_t gr_onednn_memory_obtain(struct gr_backend *backend, gr_md md, void *data);
void gr_onednn_memory_return(struct gr_backend *backend, dnnl_memory_t memory);
void gr_onednn_memories_release(struct gr_backend *backend);

enum { GR_ONEDNN_ARGS = 20 }; /* the most arguments of a primitive, its scratchpad included */

/* Where an argument of a primitive comes from. */
struct gr_onednn_arg {
    int arg;   /* DNNL_ARG_SRC, ... */
    int place; /* i: input i of the node; GR_DST(o): its output o */
};

#define GR_DST(output) (-1 - (output))

/*
 * Turns a primitive descriptor, which it takes over, into the answer to `planning`: layouts of the
 * inputs and outputs named in args, scratch bytes and the kernel itself.
 */
bool gr_onednn_kernel(struct gr_planning *planning, dnnl_primitive_desc_t pd,
                      const struct gr_onednn_arg *args, int n_args, struct gr_error *err);

/* The first half of it: layouts alone. The descriptor stays the caller's. */
bool gr_onednn_settle(struct gr_planning *planning, const_dnnl_primitive_desc_t pd,
                      const struct gr_onednn_arg *args, int n_args, struct gr_error *err);

/*
 * A primitive with its arguments: what a kernel that does more than one thing is made of. Places
 * are indices into the buffers it is bound to, which need not be a node's. The descriptor stays the
 * caller's. Its memory objects are its own, so that it may be bound anew in a run. NULL and *err on
 * failure.
 */
struct gr_onednn_call;

struct gr_onednn_call *gr_onednn_call_new(struct gr_backend *backend,
                                          const_dnnl_primitive_desc_t pd,
                                          const struct gr_onednn_arg *args, int n_args,
                                          struct gr_error *err);
void gr_onednn_call_free(struct gr_onednn_call *call); /* NULL is fine */
size_t gr_onednn_call_scratch(const struct gr_onednn_call *call);
const char *gr_onednn_call_impl(const struct gr_onednn_call *call);
bool gr_onednn_call_bind(struct gr_onednn_call *call, const struct gr_buffers *buffers,
                         struct gr_error *err);
bool gr_onednn_call_run(const struct gr_onednn_call *call, const struct gr_node *node,
                        struct gr_error *err);

/*
 * A primitive alone, as gr_op.primitive gives it: its arguments lie in the scratch, filled with
 * small numbers. Takes over what creating a descriptor came to; where that is no descriptor, or one
 * of reference loops, kernel->run stays NULL. (onednn_alone.c)
 */
bool gr_onednn_alone(struct gr_planning *planning, dnnl_status_t status, dnnl_primitive_desc_t pd,
                     struct gr_error *err);

/* A runtime error with the name of the node when status is not success; true on success. */
bool gr_onednn_ok(dnnl_status_t status, const struct gr_node *node, struct gr_error *err);

/* Does the descriptor's implementation fall back to oneDNN's reference loops? */
bool gr_onednn_is_ref(const_dnnl_primitive_desc_t pd);

/*
 * Attributes that add a tensor (described by addend; NULL: none) to a primitive's result and then
 * apply an eltwise function (NULL: none). NULL: failed. Destroy with dnnl_primitive_attr_destroy.
 */
dnnl_primitive_attr_t gr_onednn_fused_attr(gr_md addend, const dnnl_alg_kind_t *algorithm,
                                           float alpha);

/* Runs a reorder at once. */
bool gr_onednn_convert(struct gr_backend *backend, const struct gr_value *value,
                       const struct gr_layout *from, const void *src, const struct gr_layout *to,
                       void *dst, struct gr_error *err);

/* Is the shift, which it does not read, an argument of backward batch normalisation? */
enum { GR_ONEDNN_NORM_BACKWARD_HAS_SHIFT = DNNL_VERSION_MAJOR < 3 };

/* A reorder between two layouts of a value. */
dnnl_status_t gr_onednn_reorder(dnnl_primitive_desc_t *pd, struct gr_backend *backend,
                                const struct gr_value *value, const struct gr_layout *from,
                                const struct gr_layout *to);

/* ---- primitive descriptors, with the arguments of oneDNN 3 ------------------------------- */

#if DNNL_VERSION_MAJOR >= 3
#define gr_onednn_conv dnnl_convolution_forward_primitive_desc_create
#define gr_onednn_conv_data dnnl_convolution_backward_data_primitive_desc_create
#define gr_onednn_conv_weights dnnl_convolution_backward_weights_primitive_desc_create
#define gr_onednn_linear dnnl_inner_product_forward_primitive_desc_create
#define gr_onednn_linear_data dnnl_inner_product_backward_data_primitive_desc_create
#define gr_onednn_linear_weights dnnl_inner_product_backward_weights_primitive_desc_create
#define gr_onednn_pool dnnl_pooling_forward_primitive_desc_create
#define gr_onednn_pool_backward dnnl_pooling_backward_primitive_desc_create
#define gr_onednn_eltwise dnnl_eltwise_forward_primitive_desc_create
#define gr_onednn_eltwise_backward dnnl_eltwise_backward_primitive_desc_create
#define gr_onednn_lrn dnnl_lrn_forward_primitive_desc_create
#define gr_onednn_lrn_backward dnnl_lrn_backward_primitive_desc_create
#define gr_onednn_norm dnnl_batch_normalization_forward_primitive_desc_create
#define gr_onednn_norm_backward dnnl_batch_normalization_backward_primitive_desc_create
#define gr_onednn_softmax dnnl_softmax_forward_primitive_desc_create
#define gr_onednn_softmax_backward dnnl_softmax_backward_primitive_desc_create
#define gr_onednn_binary dnnl_binary_primitive_desc_create
#define gr_onednn_sum dnnl_sum_primitive_desc_create
#define gr_onednn_concat dnnl_concat_primitive_desc_create
#else
dnnl_status_t gr_onednn_conv(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, dnnl_prop_kind_t prop,
                             dnnl_alg_kind_t algorithm, gr_md src, gr_md weights, gr_md bias,
                             gr_md dst, const dnnl_dims_t strides, const dnnl_dims_t dilates,
                             const dnnl_dims_t pad_l, const dnnl_dims_t pad_r,
                             const_dnnl_primitive_attr_t attr);
dnnl_status_t gr_onednn_conv_data(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                  dnnl_alg_kind_t algorithm, gr_md diff_src, gr_md weights,
                                  gr_md diff_dst, const dnnl_dims_t strides,
                                  const dnnl_dims_t dilates, const dnnl_dims_t pad_l,
                                  const dnnl_dims_t pad_r, const_dnnl_primitive_desc_t hint,
                                  const_dnnl_primitive_attr_t attr);
dnnl_status_t gr_onednn_conv_weights(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                     dnnl_alg_kind_t algorithm, gr_md src, gr_md diff_weights,
                                     gr_md diff_bias, gr_md diff_dst, const dnnl_dims_t strides,
                                     const dnnl_dims_t dilates, const dnnl_dims_t pad_l,
                                     const dnnl_dims_t pad_r, const_dnnl_primitive_desc_t hint,
                                     const_dnnl_primitive_attr_t attr);
dnnl_status_t gr_onednn_linear(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                               dnnl_prop_kind_t prop, gr_md src, gr_md weights, gr_md bias,
                               gr_md dst, const_dnnl_primitive_attr_t attr);
dnnl_status_t gr_onednn_linear_data(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, gr_md diff_src,
                                    gr_md weights, gr_md diff_dst, const_dnnl_primitive_desc_t hint,
                                    const_dnnl_primitive_attr_t attr);
dnnl_status_t gr_onednn_linear_weights(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, gr_md src,
                                       gr_md diff_weights, gr_md diff_bias, gr_md diff_dst,
                                       const_dnnl_primitive_desc_t hint,
                                       const_dnnl_primitive_attr_t attr);
dnnl_status_t gr_onednn_pool(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, dnnl_prop_kind_t prop,
                             dnnl_alg_kind_t algorithm, gr_md src, gr_md dst,
                             const dnnl_dims_t strides, const dnnl_dims_t kernel,
                             const dnnl_dims_t dilation, const dnnl_dims_t pad_l,
                             const dnnl_dims_t pad_r, const_dnnl_primitive_attr_t attr);
dnnl_status_t gr_onednn_pool_backward(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                      dnnl_alg_kind_t algorithm, gr_md diff_src, gr_md diff_dst,
                                      const dnnl_dims_t strides, const dnnl_dims_t kernel,
                                      const dnnl_dims_t dilation, const dnnl_dims_t pad_l,
                                      const dnnl_dims_t pad_r, const_dnnl_primitive_desc_t hint,
                                      const_dnnl_primitive_attr_t attr);
dnnl_status_t gr_onednn_eltwise(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                dnnl_prop_kind_t prop, dnnl_alg_kind_t algorithm, gr_md src,
                                gr_md dst, float alpha, float beta,
                                const_dnnl_primitive_attr_t attr);
dnnl_status_t gr_onednn_eltwise_backward(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                         dnnl_alg_kind_t algorithm, gr_md diff_src, gr_md diff_dst,
                                         gr_md data, float alpha, float beta,
                                         const_dnnl_primitive_desc_t hint,
                                         const_dnnl_primitive_attr_t attr);
dnnl_status_t gr_onednn_lrn(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, dnnl_prop_kind_t prop,
                            dnnl_alg_kind_t algorithm, gr_md src, gr_md dst, dnnl_dim_t size,
                            float alpha, float beta, float k, const_dnnl_primitive_attr_t attr);
dnnl_status_t gr_onednn_lrn_backward(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                     dnnl_alg_kind_t algorithm, gr_md diff_src, gr_md diff_dst,
                                     gr_md src, dnnl_dim_t size, float alpha, float beta, float k,
                                     const_dnnl_primitive_desc_t hint,
                                     const_dnnl_primitive_attr_t attr);
dnnl_status_t gr_onednn_norm(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, dnnl_prop_kind_t prop,
                             gr_md src, gr_md dst, float eps, unsigned flags,
                             const_dnnl_primitive_attr_t attr);
dnnl_status_t gr_onednn_norm_backward(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                      dnnl_prop_kind_t prop, gr_md diff_src, gr_md diff_dst,
                                      gr_md src, float eps, unsigned flags,
                                      const_dnnl_primitive_desc_t hint,
                                      const_dnnl_primitive_attr_t attr);
dnnl_status_t gr_onednn_softmax(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                dnnl_prop_kind_t prop, dnnl_alg_kind_t algorithm, gr_md src,
                                gr_md dst, int axis, const_dnnl_primitive_attr_t attr);
dnnl_status_t gr_onednn_softmax_backward(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                         dnnl_alg_kind_t algorithm, gr_md diff_src, gr_md diff_dst,
                                         gr_md dst, int axis, const_dnnl_primitive_desc_t hint,
                                         const_dnnl_primitive_attr_t attr);
dnnl_status_t gr_onednn_binary(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                               dnnl_alg_kind_t algorithm, gr_md a, gr_md b, gr_md dst,
                               const_dnnl_primitive_attr_t attr);
dnnl_status_t gr_onednn_sum(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, gr_md dst, int n,
                            const float *scales, const gr_md *srcs,
                            const_dnnl_primitive_attr_t attr);
dnnl_status_t gr_onednn_concat(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, gr_md dst, int n,
                               int axis, const gr_md *srcs, const_dnnl_primitive_attr_t attr);
#endif

#endif
