/*
 * Convolution by oneDNN, in the layouts it likes best.
 */
#include "conv.h"

#include <string.h>

/* The descriptors of a convolution, all in any layout. */
struct conv_descs {
    struct gr_desc src, weights, bias, dst;
    dnnl_dims_t stride, dilation, pad_l, pad_r;
};

static bool init_descs(struct conv_descs *d, const struct gr_node *node, struct gr_error *err)
{
    const struct gr_conv_sizes s = gr_conv_sizes(node);
    const struct gr_conv_attrs *a = node->attrs;
    const int64_t src[] = {s.n, s.c, s.h, s.w}, dst[] = {s.n, s.o, s.oh, s.ow};
    const int64_t grouped[] = {s.g, s.o / s.g, s.c / s.g, s.kh, s.kw};
    *d = (struct conv_descs){.stride = {a->stride[0], a->stride[1]},
                             .dilation = {a->dilation[0] - 1, a->dilation[1] - 1},
                             .pad_l = {a->pad[0], a->pad[1]},
                             .pad_r = {a->pad[2], a->pad[3]}};
    return gr_desc_init(&d->src, 4, src, GR_F32, GR_FORMAT_ANY, err) &&
           gr_desc_init(&d->dst, 4, dst, GR_F32, GR_FORMAT_ANY, err) &&
           gr_desc_init(&d->weights, s.g > 1 ? 5 : 4, s.g > 1 ? grouped : grouped + 1, GR_F32,
                        GR_FORMAT_ANY, err) &&
           (!a->bias || gr_desc_init(&d->bias, 1, &s.o, GR_F32, GR_FORMAT_PLAIN, err));
}

static void release_descs(struct conv_descs *d)
{
    gr_desc_release(&d->src);
    gr_desc_release(&d->weights);
    gr_desc_release(&d->bias);
    gr_desc_release(&d->dst);
}

/*
 * Always as for training: inference would get kernels (brgconv, nhwc) that are no faster in f32 and
 * want other layouts, so that an evaluation between epochs would keep its weights twice.
 */
static dnnl_status_t forward_pd(dnnl_primitive_desc_t *pd, struct gr_backend *backend,
                                const struct conv_descs *d, const_dnnl_primitive_attr_t attr)
{
    return gr_onednn_conv(pd, backend->engine, dnnl_forward_training, dnnl_convolution_direct,
                          gr_desc_get(&d->src), gr_desc_get(&d->weights), gr_desc_get(&d->bias),
                          gr_desc_get(&d->dst), d->stride, d->dilation, d->pad_l, d->pad_r, attr);
}

/* Makes the kernel unless the implementation is reference loops, or there is none. */
static bool accept(struct gr_planning *planning, dnnl_status_t status, dnnl_primitive_desc_t pd,
                   const struct gr_onednn_arg *args, int n_args, struct gr_error *err)
{
    if (status == dnnl_unimplemented)
        return true;
    if (!gr_onednn_ok(status, planning->node, err))
        return false;
    if (gr_onednn_is_ref(pd)) {
        dnnl_primitive_desc_destroy(pd);
        return true;
    }
    return gr_onednn_kernel(planning, pd, args, n_args, err);
}

/* The attributes of what is fused behind the convolution; *attr NULL: nothing is. */
static bool fused_attr(const struct gr_planning *planning, dnnl_primitive_attr_t *attr,
                       struct gr_error *err)
{
    const struct gr_conv_attrs *a = planning->node->attrs;
    struct gr_desc addend = {0};
    *attr = NULL;
    if (!a->add && !a->activation.function)
        return true;
    if (a->add && !gr_desc_blocked(&addend, planning->node->outputs[0], err))
        return false;
    *attr = gr_onednn_fused_attr(gr_desc_get(&addend),
                                 a->activation.function ? &a->activation.algorithm : NULL,
                                 a->activation.alpha);
    gr_desc_release(&addend);
    return *attr || gr_fail_memory(err, "a convolution's attributes");
}

bool gr_conv_onednn_forward(struct gr_planning *planning, struct gr_error *err)
{
    const struct gr_conv_attrs *a = planning->node->attrs;
    struct gr_onednn_arg args[5] = {
        {DNNL_ARG_SRC, 0}, {DNNL_ARG_WEIGHTS, 1}, {DNNL_ARG_DST, GR_DST(0)}};
    int n_args = 3;
    if (a->bias)
        args[n_args++] = (struct gr_onednn_arg){DNNL_ARG_BIAS, 2};
    if (a->add)
        args[n_args++] =
            (struct gr_onednn_arg){DNNL_ARG_ATTR_MULTIPLE_POST_OP(0) | DNNL_ARG_SRC_1, 2 + a->bias};
    dnnl_primitive_attr_t fused = NULL;
    dnnl_primitive_desc_t pd = NULL;
    struct conv_descs d;
    bool ok = init_descs(&d, planning->node, err) && fused_attr(planning, &fused, err);
    if (ok) {
        const dnnl_status_t status =
            forward_pd(&pd, planning->backend, &d, fused ? fused : planning->backend->attr);
        ok = accept(planning, status, pd, args, n_args, err);
    }
    if (fused)
        dnnl_primitive_attr_destroy(fused);
    release_descs(&d);
    return ok;
}

bool gr_conv_onednn_data(struct gr_planning *planning, struct gr_error *err)
{
    struct gr_backend *backend = planning->backend;
    static const struct gr_onednn_arg args[] = {
        {DNNL_ARG_DIFF_DST, 0}, {DNNL_ARG_WEIGHTS, 1}, {DNNL_ARG_DIFF_SRC, GR_DST(0)}};
    dnnl_primitive_desc_t hint = NULL, pd = NULL;
    struct conv_descs d;
    bool ok = init_descs(&d, planning->node, err) &&
              gr_onednn_ok(forward_pd(&hint, backend, &d, backend->attr), planning->node, err);
    if (ok) {
        const dnnl_status_t status =
            gr_onednn_conv_data(&pd, backend->engine, dnnl_convolution_direct, gr_desc_get(&d.src),
                                gr_desc_get(&d.weights), gr_desc_get(&d.dst), d.stride, d.dilation,
                                d.pad_l, d.pad_r, hint, backend->attr);
        ok = accept(planning, status, pd, args, 3, err);
    }
    if (hint)
        dnnl_primitive_desc_destroy(hint);
    release_descs(&d);
    return ok;
}

bool gr_conv_onednn_weights(struct gr_planning *planning, struct gr_error *err)
{
    struct gr_backend *backend = planning->backend;
    static const struct gr_onednn_arg args[] = {{DNNL_ARG_DIFF_DST, 0},
                                                {DNNL_ARG_SRC, 1},
                                                {DNNL_ARG_DIFF_WEIGHTS, GR_DST(0)},
                                                {DNNL_ARG_DIFF_BIAS, GR_DST(1)}};
    dnnl_primitive_desc_t hint = NULL, pd = NULL;
    struct conv_descs d;
    bool ok = init_descs(&d, planning->node, err) &&
              gr_onednn_ok(forward_pd(&hint, backend, &d, backend->attr), planning->node, err);
    if (ok) {
        const dnnl_status_t status = gr_onednn_conv_weights(
            &pd, backend->engine, dnnl_convolution_direct, gr_desc_get(&d.src),
            gr_desc_get(&d.weights), gr_desc_get(&d.bias), gr_desc_get(&d.dst), d.stride,
            d.dilation, d.pad_l, d.pad_r, hint, backend->attr);
        ok = accept(planning, status, pd, args, planning->node->n_outputs > 1 ? 4 : 3, err);
    }
    if (hint)
        dnnl_primitive_desc_destroy(hint);
    release_descs(&d);
    return ok;
}
