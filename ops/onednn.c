/*
 * oneDNN 2.6 and 3.x behind one interface; see onednn.h.
 */
#include "onednn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops.h"

/* ---- versions ---------------------------------------------------------------------------- */

#if DNNL_VERSION_MAJOR >= 3

void gr_onednn_facts(gr_md md, struct gr_onednn_facts *f)
{
    dnnl_format_kind_t kind = dnnl_format_kind_undef;
    const dnnl_dims_t *dims = NULL, *padded = NULL, *strides = NULL, *blocks = NULL,
                      *indices = NULL;
    int rank = 0, n_blocks = 0;
    *f = (struct gr_onednn_facts){0};
    dnnl_memory_desc_query(md, dnnl_query_format_kind, &kind);
    dnnl_memory_desc_query(md, dnnl_query_ndims_s32, &rank);
    dnnl_memory_desc_query(md, dnnl_query_data_type, &f->type);
    dnnl_memory_desc_query(md, dnnl_query_dims, &dims);
    f->rank = rank;
    f->blocked = kind == dnnl_blocked;
    memcpy(f->dims, *dims, sizeof f->dims[0] * (size_t)rank);
    if (!f->blocked)
        return;
    dnnl_memory_desc_query(md, dnnl_query_padded_dims, &padded);
    dnnl_memory_desc_query(md, dnnl_query_strides, &strides);
    dnnl_memory_desc_query(md, dnnl_query_inner_nblks_s32, &n_blocks);
    dnnl_memory_desc_query(md, dnnl_query_inner_blks, &blocks);
    dnnl_memory_desc_query(md, dnnl_query_inner_idxs, &indices);
    f->n_blocks = n_blocks;
    memcpy(f->padded, *padded, sizeof f->dims[0] * (size_t)rank);
    memcpy(f->strides, *strides, sizeof f->dims[0] * (size_t)rank);
    memcpy(f->blocks, *blocks, sizeof f->dims[0] * (size_t)n_blocks);
    memcpy(f->indices, *indices, sizeof f->dims[0] * (size_t)n_blocks);
}

bool gr_desc_copy(struct gr_desc *desc, gr_md md)
{
    desc->made = dnnl_memory_desc_clone(&desc->md, md) == dnnl_success;
    return desc->made;
}

gr_md gr_desc_get(const struct gr_desc *desc)
{
    return desc->made ? desc->md : NULL;
}

void gr_desc_release(struct gr_desc *desc)
{
    if (desc->made)
        dnnl_memory_desc_destroy(desc->md);
    *desc = (struct gr_desc){0};
}

static dnnl_status_t md_by_tag(struct gr_desc *desc, int rank, const int64_t *dims,
                               dnnl_data_type_t type, dnnl_format_tag_t tag)
{
    return dnnl_memory_desc_create_with_tag(&desc->md, rank, dims, type, tag);
}

static dnnl_status_t md_by_strides(struct gr_desc *desc, int rank, const int64_t *dims,
                                   dnnl_data_type_t type, const int64_t *strides)
{
    return dnnl_memory_desc_create_with_strides(&desc->md, rank, dims, type, strides);
}

static dnnl_status_t append_eltwise(dnnl_post_ops_t ops, dnnl_alg_kind_t algorithm, float alpha)
{
    return dnnl_post_ops_append_eltwise(ops, algorithm, alpha, 0);
}

#else

void gr_onednn_facts(gr_md md, struct gr_onednn_facts *f)
{
    const size_t rank = (size_t)md->ndims;
    *f = (struct gr_onednn_facts){.rank = md->ndims,
                                  .type = md->data_type,
                                  .blocked =
                                      md->format_kind == dnnl_blocked && md->extra.flags == 0};
    memcpy(f->dims, md->dims, sizeof f->dims[0] * rank);
    if (!f->blocked)
        return;
    const dnnl_blocking_desc_t *b = &md->format_desc.blocking;
    f->n_blocks = b->inner_nblks;
    memcpy(f->padded, md->padded_dims, sizeof f->dims[0] * rank);
    memcpy(f->strides, b->strides, sizeof f->dims[0] * rank);
    memcpy(f->blocks, b->inner_blks, sizeof f->dims[0] * (size_t)b->inner_nblks);
    memcpy(f->indices, b->inner_idxs, sizeof f->dims[0] * (size_t)b->inner_nblks);
}

bool gr_desc_copy(struct gr_desc *desc, gr_md md)
{
    *desc = (struct gr_desc){*md, true};
    return true;
}

gr_md gr_desc_get(const struct gr_desc *desc)
{
    return desc->made ? &desc->md : NULL;
}

void gr_desc_release(struct gr_desc *desc)
{
    *desc = (struct gr_desc){0};
}

static dnnl_status_t md_by_tag(struct gr_desc *desc, int rank, const int64_t *dims,
                               dnnl_data_type_t type, dnnl_format_tag_t tag)
{
    return dnnl_memory_desc_init_by_tag(&desc->md, rank, dims, type, tag);
}

static dnnl_status_t md_by_strides(struct gr_desc *desc, int rank, const int64_t *dims,
                                   dnnl_data_type_t type, const int64_t *strides)
{
    return dnnl_memory_desc_init_by_strides(&desc->md, rank, dims, type, strides);
}

static dnnl_status_t append_eltwise(dnnl_post_ops_t ops, dnnl_alg_kind_t algorithm, float alpha)
{
    return dnnl_post_ops_append_eltwise(ops, 1.0f, algorithm, alpha, 0);
}

/* The second half of creating a descriptor in oneDNN 2: from an operation descriptor. */
static dnnl_status_t create(dnnl_primitive_desc_t *pd, dnnl_status_t described, const void *op,
                            dnnl_engine_t engine, const_dnnl_primitive_attr_t attr,
                            const_dnnl_primitive_desc_t hint)
{
    return described == dnnl_success ? dnnl_primitive_desc_create(pd, op, attr, engine, hint)
                                     : described;
}

dnnl_status_t gr_onednn_conv(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, dnnl_prop_kind_t prop,
                             dnnl_alg_kind_t algorithm, gr_md src, gr_md weights, gr_md bias,
                             gr_md dst, const dnnl_dims_t strides, const dnnl_dims_t dilates,
                             const dnnl_dims_t pad_l, const dnnl_dims_t pad_r,
                             const_dnnl_primitive_attr_t attr)
{
    dnnl_convolution_desc_t d;
    const dnnl_status_t status = dnnl_dilated_convolution_forward_desc_init(
        &d, prop, algorithm, src, weights, bias, dst, strides, dilates, pad_l, pad_r);
    return create(pd, status, &d, engine, attr, NULL);
}

dnnl_status_t gr_onednn_conv_data(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                  dnnl_alg_kind_t algorithm, gr_md diff_src, gr_md weights,
                                  gr_md diff_dst, const dnnl_dims_t strides,
                                  const dnnl_dims_t dilates, const dnnl_dims_t pad_l,
                                  const dnnl_dims_t pad_r, const_dnnl_primitive_desc_t hint,
                                  const_dnnl_primitive_attr_t attr)
{
    dnnl_convolution_desc_t d;
    const dnnl_status_t status = dnnl_dilated_convolution_backward_data_desc_init(
        &d, algorithm, diff_src, weights, diff_dst, strides, dilates, pad_l, pad_r);
    return create(pd, status, &d, engine, attr, hint);
}

dnnl_status_t gr_onednn_conv_weights(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                     dnnl_alg_kind_t algorithm, gr_md src, gr_md diff_weights,
                                     gr_md diff_bias, gr_md diff_dst, const dnnl_dims_t strides,
                                     const dnnl_dims_t dilates, const dnnl_dims_t pad_l,
                                     const dnnl_dims_t pad_r, const_dnnl_primitive_desc_t hint,
                                     const_dnnl_primitive_attr_t attr)
{
    dnnl_convolution_desc_t d;
    const dnnl_status_t status = dnnl_dilated_convolution_backward_weights_desc_init(
        &d, algorithm, src, diff_weights, diff_bias, diff_dst, strides, dilates, pad_l, pad_r);
    return create(pd, status, &d, engine, attr, hint);
}

dnnl_status_t gr_onednn_linear(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                               dnnl_prop_kind_t prop, gr_md src, gr_md weights, gr_md bias,
                               gr_md dst, const_dnnl_primitive_attr_t attr)
{
    dnnl_inner_product_desc_t d;
    const dnnl_status_t status =
        dnnl_inner_product_forward_desc_init(&d, prop, src, weights, bias, dst);
    return create(pd, status, &d, engine, attr, NULL);
}

dnnl_status_t gr_onednn_linear_data(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, gr_md diff_src,
                                    gr_md weights, gr_md diff_dst, const_dnnl_primitive_desc_t hint,
                                    const_dnnl_primitive_attr_t attr)
{
    dnnl_inner_product_desc_t d;
    const dnnl_status_t status =
        dnnl_inner_product_backward_data_desc_init(&d, diff_src, weights, diff_dst);
    return create(pd, status, &d, engine, attr, hint);
}

dnnl_status_t gr_onednn_linear_weights(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, gr_md src,
                                       gr_md diff_weights, gr_md diff_bias, gr_md diff_dst,
                                       const_dnnl_primitive_desc_t hint,
                                       const_dnnl_primitive_attr_t attr)
{
    dnnl_inner_product_desc_t d;
    const dnnl_status_t status =
        dnnl_inner_product_backward_weights_desc_init(&d, src, diff_weights, diff_bias, diff_dst);
    return create(pd, status, &d, engine, attr, hint);
}

dnnl_status_t gr_onednn_pool(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, dnnl_prop_kind_t prop,
                             dnnl_alg_kind_t algorithm, gr_md src, gr_md dst,
                             const dnnl_dims_t strides, const dnnl_dims_t kernel,
                             const dnnl_dims_t dilation, const dnnl_dims_t pad_l,
                             const dnnl_dims_t pad_r, const_dnnl_primitive_attr_t attr)
{
    dnnl_pooling_v2_desc_t d;
    const dnnl_status_t status = dnnl_pooling_v2_forward_desc_init(
        &d, prop, algorithm, src, dst, strides, kernel, dilation, pad_l, pad_r);
    return create(pd, status, &d, engine, attr, NULL);
}

dnnl_status_t gr_onednn_pool_backward(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                      dnnl_alg_kind_t algorithm, gr_md diff_src, gr_md diff_dst,
                                      const dnnl_dims_t strides, const dnnl_dims_t kernel,
                                      const dnnl_dims_t dilation, const dnnl_dims_t pad_l,
                                      const dnnl_dims_t pad_r, const_dnnl_primitive_desc_t hint,
                                      const_dnnl_primitive_attr_t attr)
{
    dnnl_pooling_v2_desc_t d;
    const dnnl_status_t status = dnnl_pooling_v2_backward_desc_init(
        &d, algorithm, diff_src, diff_dst, strides, kernel, dilation, pad_l, pad_r);
    return create(pd, status, &d, engine, attr, hint);
}

dnnl_status_t gr_onednn_eltwise(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                dnnl_prop_kind_t prop, dnnl_alg_kind_t algorithm, gr_md src,
                                gr_md dst, float alpha, float beta,
                                const_dnnl_primitive_attr_t attr)
{
    (void)dst;
    dnnl_eltwise_desc_t d;
    const dnnl_status_t status =
        dnnl_eltwise_forward_desc_init(&d, prop, algorithm, src, alpha, beta);
    return create(pd, status, &d, engine, attr, NULL);
}

dnnl_status_t gr_onednn_eltwise_backward(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                         dnnl_alg_kind_t algorithm, gr_md diff_src, gr_md diff_dst,
                                         gr_md data, float alpha, float beta,
                                         const_dnnl_primitive_desc_t hint,
                                         const_dnnl_primitive_attr_t attr)
{
    (void)diff_src;
    dnnl_eltwise_desc_t d;
    const dnnl_status_t status =
        dnnl_eltwise_backward_desc_init(&d, algorithm, diff_dst, data, alpha, beta);
    return create(pd, status, &d, engine, attr, hint);
}

dnnl_status_t gr_onednn_lrn(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, dnnl_prop_kind_t prop,
                            dnnl_alg_kind_t algorithm, gr_md src, gr_md dst, dnnl_dim_t size,
                            float alpha, float beta, float k, const_dnnl_primitive_attr_t attr)
{
    (void)dst;
    dnnl_lrn_desc_t d;
    const dnnl_status_t status =
        dnnl_lrn_forward_desc_init(&d, prop, algorithm, src, size, alpha, beta, k);
    return create(pd, status, &d, engine, attr, NULL);
}

dnnl_status_t gr_onednn_lrn_backward(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                     dnnl_alg_kind_t algorithm, gr_md diff_src, gr_md diff_dst,
                                     gr_md src, dnnl_dim_t size, float alpha, float beta, float k,
                                     const_dnnl_primitive_desc_t hint,
                                     const_dnnl_primitive_attr_t attr)
{
    (void)diff_src;
    dnnl_lrn_desc_t d;
    const dnnl_status_t status =
        dnnl_lrn_backward_desc_init(&d, algorithm, diff_dst, src, size, alpha, beta, k);
    return create(pd, status, &d, engine, attr, hint);
}

dnnl_status_t gr_onednn_norm(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, dnnl_prop_kind_t prop,
                             gr_md src, gr_md dst, float eps, unsigned flags,
                             const_dnnl_primitive_attr_t attr)
{
    (void)dst;
    dnnl_batch_normalization_desc_t d;
    const dnnl_status_t status =
        dnnl_batch_normalization_forward_desc_init(&d, prop, src, eps, flags);
    return create(pd, status, &d, engine, attr, NULL);
}

dnnl_status_t gr_onednn_norm_backward(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                      dnnl_prop_kind_t prop, gr_md diff_src, gr_md diff_dst,
                                      gr_md src, float eps, unsigned flags,
                                      const_dnnl_primitive_desc_t hint,
                                      const_dnnl_primitive_attr_t attr)
{
    (void)diff_src;
    dnnl_batch_normalization_desc_t d;
    const dnnl_status_t status =
        dnnl_batch_normalization_backward_desc_init(&d, prop, diff_dst, src, eps, flags);
    return create(pd, status, &d, engine, attr, hint);
}

dnnl_status_t gr_onednn_softmax(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                dnnl_prop_kind_t prop, dnnl_alg_kind_t algorithm, gr_md src,
                                gr_md dst, int axis, const_dnnl_primitive_attr_t attr)
{
    dnnl_softmax_v2_desc_t d;
    const dnnl_status_t status =
        dnnl_softmax_v2_forward_desc_init(&d, prop, algorithm, src, dst, axis);
    return create(pd, status, &d, engine, attr, NULL);
}

dnnl_status_t gr_onednn_softmax_backward(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                         dnnl_alg_kind_t algorithm, gr_md diff_src, gr_md diff_dst,
                                         gr_md dst, int axis, const_dnnl_primitive_desc_t hint,
                                         const_dnnl_primitive_attr_t attr)
{
    dnnl_softmax_v2_desc_t d;
    const dnnl_status_t status =
        dnnl_softmax_v2_backward_desc_init(&d, algorithm, diff_src, diff_dst, dst, axis);
    return create(pd, status, &d, engine, attr, hint);
}

dnnl_status_t gr_onednn_binary(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                               dnnl_alg_kind_t algorithm, gr_md a, gr_md b, gr_md dst,
                               const_dnnl_primitive_attr_t attr)
{
    dnnl_binary_desc_t d;
    return create(pd, dnnl_binary_desc_init(&d, algorithm, a, b, dst), &d, engine, attr, NULL);
}

/* oneDNN 2 takes the descriptors themselves. False: they are too many. */
static bool gather(dnnl_memory_desc_t all[GR_ONEDNN_ARGS], const gr_md *srcs, int n)
{
    for (int i = 0; i < n && n <= GR_ONEDNN_ARGS; i++)
        all[i] = *srcs[i];
    return n <= GR_ONEDNN_ARGS;
}

dnnl_status_t gr_onednn_sum(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, gr_md dst, int n,
                            const float *scales, const gr_md *srcs,
                            const_dnnl_primitive_attr_t attr)
{
    dnnl_memory_desc_t all[GR_ONEDNN_ARGS];
    return gather(all, srcs, n)
               ? dnnl_sum_primitive_desc_create(pd, dst, n, scales, all, attr, engine)
               : dnnl_unimplemented;
}

dnnl_status_t gr_onednn_concat(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, gr_md dst, int n,
                               int axis, const gr_md *srcs, const_dnnl_primitive_attr_t attr)
{
    dnnl_memory_desc_t all[GR_ONEDNN_ARGS];
    return gather(all, srcs, n)
               ? dnnl_concat_primitive_desc_create(pd, dst, n, axis, all, attr, engine)
               : dnnl_unimplemented;
}

#endif

/* ---- descriptors ------------------------------------------------------------------------- */

static const dnnl_data_type_t types[GR_DTYPE_COUNT] = {
    [GR_F32] = dnnl_f32, [GR_BF16] = dnnl_bf16, [GR_S32] = dnnl_s32, [GR_U8] = dnnl_u8};

bool gr_onednn_ok(dnnl_status_t status, const struct gr_node *node, struct gr_error *err)
{
    if (status == dnnl_success)
        return true;
    const char *name = node ? node->name : "-", *op = node ? node->op->kind.name : "-";
    if (status == dnnl_out_of_memory)
        return gr_fail(err, GR_ERR_RUNTIME, "%s (%s): out of memory in oneDNN", name, op);
    return gr_fail(err, GR_ERR_MODEL, "%s (%s): oneDNN has no such computation (status %d)", name,
                   op, (int)status);
}

bool gr_desc_init(struct gr_desc *desc, int rank, const int64_t *dims, enum gr_dtype dtype,
                  enum gr_format format, struct gr_error *err)
{
    dnnl_dims_t all = {0}, strides = {0};
    int64_t stride = 1;
    if (rank == 0)
        return gr_desc_init(desc, 1, &stride, dtype, format, err);
    for (int i = rank; i-- > 0;) {
        all[i] = dims[i];
        strides[i] = stride;
        stride *= dims[i];
    }
    const dnnl_status_t status = format == GR_FORMAT_ANY
                                     ? md_by_tag(desc, rank, all, types[dtype], dnnl_format_tag_any)
                                     : md_by_strides(desc, rank, all, types[dtype], strides);
    desc->made = status == dnnl_success;
    return gr_onednn_ok(status, NULL, err);
}

bool gr_desc_of(struct gr_desc *desc, const struct gr_value *value, enum gr_format format,
                struct gr_error *err)
{
    return gr_desc_init(desc, value->shape.rank, value->shape.dim, value->dtype, format, err);
}

bool gr_onednn_has_isa(dnnl_cpu_isa_t isa)
{
    /* An instruction set is bits, one for each that it includes; their numbers have no order. */
    const unsigned have = (unsigned)dnnl_get_effective_cpu_isa(), wanted = (unsigned)isa;
    return (have & wanted) == wanted;
}

bool gr_desc_tagged(struct gr_desc *desc, int rank, const int64_t *dims, enum gr_dtype dtype,
                    dnnl_format_tag_t tag, struct gr_error *err)
{
    dnnl_dims_t all = {0};
    memcpy(all, dims, (size_t)rank * sizeof *dims);
    const dnnl_status_t status = md_by_tag(desc, rank, all, types[dtype], tag);
    desc->made = status == dnnl_success;
    return gr_onednn_ok(status, NULL, err);
}

bool gr_desc_blocked(struct gr_desc *desc, const struct gr_value *value, enum gr_dtype dtype,
                     struct gr_error *err)
{
    if (value->shape.rank != 4)
        return gr_desc_init(desc, value->shape.rank, value->shape.dim, dtype, GR_FORMAT_PLAIN, err);
    const bool wide = gr_onednn_has_isa(dnnl_cpu_isa_avx512_core);
    return gr_desc_tagged(desc, 4, value->shape.dim, dtype, wide ? dnnl_nChw16c : dnnl_nChw8c, err);
}

enum gr_dtype gr_onednn_dtype(dnnl_data_type_t type)
{
    for (int t = 0; t < GR_DTYPE_COUNT; t++)
        if (types[t] == type)
            return (enum gr_dtype)t;
    return GR_U8;
}

dnnl_primitive_attr_t gr_onednn_fused_attr(gr_md addend, const dnnl_alg_kind_t *algorithm,
                                           float alpha)
{
    dnnl_primitive_attr_t attr = NULL;
    dnnl_post_ops_t ops = NULL;
    if (dnnl_primitive_attr_create(&attr) != dnnl_success)
        return NULL;
    const bool ok =
        dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user) == dnnl_success &&
        dnnl_post_ops_create(&ops) == dnnl_success &&
        (!addend || dnnl_post_ops_append_binary(ops, dnnl_binary_add, addend) == dnnl_success) &&
        (!algorithm || append_eltwise(ops, *algorithm, alpha) == dnnl_success) &&
        dnnl_primitive_attr_set_post_ops(attr, ops) == dnnl_success;
    dnnl_post_ops_destroy(ops);
    if (!ok) {
        dnnl_primitive_attr_destroy(attr);
        return NULL;
    }
    return attr;
}
