/*
 * Convolution by oneDNN, directly, in the layouts it likes best; and what the other ways of
 * computing it (conv_winograd.c, conv_flipped.c) share: descriptors and primitives.
 */
#include "conv.h"

#include "ops.h"

static bool activation_descs(struct gr_conv_descs *d, const struct gr_conv_sizes *s,
                             enum gr_dtype type, dnnl_format_tag_t tag, struct gr_error *err)
{
    const int64_t src[] = {s->n, s->c, s->h, s->w}, dst[] = {s->n, s->o, s->oh, s->ow};
    return gr_desc_tagged(&d->src, 4, src, type, tag, err) &&
           gr_desc_tagged(&d->dst, 4, dst, type, tag, err);
}

bool gr_conv_descs_init(struct gr_conv_descs *d, const struct gr_conv_attrs *a,
                        const struct gr_conv_sizes *s, enum gr_dtype type, enum gr_dtype weights,
                        struct gr_error *err)
{
    const int64_t grouped[] = {s->g, s->o / s->g, s->c / s->g, s->kh, s->kw};
    *d = (struct gr_conv_descs){.stride = {a->stride[0], a->stride[1]},
                                .dilation = {a->dilation[0] - 1, a->dilation[1] - 1},
                                .pad_l = {a->pad[0], a->pad[1]},
                                .pad_r = {a->pad[2], a->pad[3]}};
    return activation_descs(d, s, type, dnnl_format_tag_any, err) &&
           gr_desc_init(&d->weights, s->g > 1 ? 5 : 4, s->g > 1 ? grouped : grouped + 1, weights,
                        GR_FORMAT_ANY, err) &&
           (!a->bias || gr_desc_init(&d->bias, 1, &s->o, GR_F32, GR_FORMAT_PLAIN, err));
}

void gr_conv_descs_release(struct gr_conv_descs *d)
{
    gr_desc_release(&d->src);
    gr_desc_release(&d->weights);
    gr_desc_release(&d->bias);
    gr_desc_release(&d->dst);
}

static dnnl_status_t forward_pd(dnnl_primitive_desc_t *pd, const struct gr_backend *backend,
                                dnnl_prop_kind_t prop, dnnl_alg_kind_t algorithm,
                                const struct gr_conv_descs *d, const_dnnl_primitive_attr_t attr)
{
    return gr_onednn_conv(pd, backend->engine, prop, algorithm, gr_desc_get(&d->src),
                          gr_desc_get(&d->weights), gr_desc_get(&d->bias), gr_desc_get(&d->dst),
                          d->stride, d->dilation, d->pad_l, d->pad_r, attr);
}

dnnl_status_t gr_conv_forward_pd(dnnl_primitive_desc_t *pd, struct gr_backend *backend,
                                 dnnl_alg_kind_t algorithm, const struct gr_conv_descs *d)
{
    return forward_pd(pd, backend, dnnl_forward_training, algorithm, d, backend->attr);
}

dnnl_status_t gr_conv_data_pd(dnnl_primitive_desc_t *pd, struct gr_backend *backend,
                              dnnl_alg_kind_t algorithm, const struct gr_conv_descs *d)
{
    dnnl_primitive_desc_t hint = NULL;
    dnnl_status_t status = gr_conv_forward_pd(&hint, backend, algorithm, d);
    if (status == dnnl_success)
        status = gr_onednn_conv_data(pd, backend->engine, algorithm, gr_desc_get(&d->src),
                                     gr_desc_get(&d->weights), gr_desc_get(&d->dst), d->stride,
                                     d->dilation, d->pad_l, d->pad_r, hint, backend->attr);
    dnnl_primitive_desc_destroy(hint);
    return status;
}

/* d's weights are the gradient's, in f32; those of the forward are of the type of src. */
dnnl_status_t gr_conv_weights_pd(dnnl_primitive_desc_t *pd, struct gr_backend *backend,
                                 dnnl_alg_kind_t algorithm, const struct gr_conv_descs *d,
                                 const struct gr_conv_descs *forward)
{
    dnnl_primitive_desc_t hint = NULL;
    dnnl_status_t status = gr_conv_forward_pd(&hint, backend, algorithm, forward);
    if (status == dnnl_success)
        status = gr_onednn_conv_weights(pd, backend->engine, algorithm, gr_desc_get(&d->src),
                                        gr_desc_get(&d->weights), gr_desc_get(&d->bias),
                                        gr_desc_get(&d->dst), d->stride, d->dilation, d->pad_l,
                                        d->pad_r, hint, backend->attr);
    dnnl_primitive_desc_destroy(hint);
    return status;
}

bool gr_conv_usable(const struct gr_planning *planning, dnnl_status_t status,
                    dnnl_primitive_desc_t *pd, bool *usable, struct gr_error *err)
{
    *usable = false;
    if (status == dnnl_unimplemented)
        return true;
    if (!gr_onednn_ok(status, planning->node, err))
        return false;
    *usable = !gr_onednn_is_ref(*pd);
    if (!*usable) {
        dnnl_primitive_desc_destroy(*pd);
        *pd = NULL;
    }
    return true;
}

/* Makes the kernel unless the implementation is reference loops, or there is none. */
static bool accept(struct gr_planning *planning, dnnl_status_t status, dnnl_primitive_desc_t pd,
                   const struct gr_onednn_arg *args, int n_args, struct gr_error *err)
{
    bool usable;
    return gr_conv_usable(planning, status, &pd, &usable, err) &&
           (!usable || gr_onednn_kernel(planning, pd, args, n_args, err));
}

/* The last input, which is added to the result, as the convolution reads it. */
static bool addend_desc(struct gr_desc *desc, const struct gr_planning *planning,
                        const struct gr_conv_descs *d, struct gr_error *err)
{
    if (d->channels_last)
        return gr_desc_copy(desc, gr_desc_get(&d->dst)) ||
               gr_fail_memory(err, "a convolution's attributes");
    return gr_desc_blocked(desc, planning->node->outputs[0], gr_planning_dtype(planning), err);
}

/* The attributes of what is fused behind the convolution; *attr NULL: nothing is. */
static bool fused_attr(dnnl_primitive_attr_t *attr, const struct gr_planning *planning,
                       const struct gr_conv_descs *d, struct gr_error *err)
{
    const struct gr_conv_attrs *a = planning->node->attrs;
    struct gr_desc addend = {0};
    *attr = NULL;
    if (!a->add && !a->activation.function)
        return true;
    if (a->add && !addend_desc(&addend, planning, d, err))
        return false;
    *attr = gr_onednn_fused_attr(gr_desc_get(&addend),
                                 a->activation.function ? &a->activation.algorithm : NULL,
                                 a->activation.alpha);
    gr_desc_release(&addend);
    return *attr || gr_fail_memory(err, "a convolution's attributes");
}

dnnl_status_t gr_conv_fused_pd(dnnl_primitive_desc_t *pd, const struct gr_planning *planning,
                               dnnl_prop_kind_t prop, dnnl_alg_kind_t algorithm,
                               const struct gr_conv_descs *d, struct gr_error *err)
{
    dnnl_primitive_attr_t fused;
    if (!fused_attr(&fused, planning, d, err))
        return dnnl_out_of_memory;
    const dnnl_status_t status = forward_pd(pd, planning->backend, prop, algorithm, d,
                                            fused ? fused : planning->backend->attr);
    if (fused)
        dnnl_primitive_attr_destroy(fused);
    return status;
}

/* bf16: the f32 master lies as its gradient will, so that the update needs no reorder. */
static bool find_home(struct gr_planning *planning, struct gr_error *err)
{
    const struct gr_node *node = planning->node;
    const struct gr_conv_sizes s = gr_conv_sizes(node);
    struct gr_conv_descs d = {0}, forward = {0};
    dnnl_primitive_desc_t pd = NULL;
    if (planning->precision == GR_PRECISION_F32 || !node->graph->training)
        return true;
    bool ok = gr_conv_descs_init(&d, node->attrs, &s, GR_BF16, GR_F32, err) &&
              gr_conv_descs_init(&forward, node->attrs, &s, GR_BF16, GR_BF16, err);
    if (ok && gr_conv_weights_pd(&pd, planning->backend, dnnl_convolution_direct, &d, &forward) ==
                  dnnl_success) {
        planning->home[1] = gr_onednn_layout(
            planning->backend, node->inputs[1],
            dnnl_primitive_desc_query_md(pd, dnnl_query_exec_arg_md, DNNL_ARG_DIFF_WEIGHTS), true,
            err);
        ok = planning->home[1] != NULL;
    }
    if (pd)
        dnnl_primitive_desc_destroy(pd);
    gr_conv_descs_release(&d);
    gr_conv_descs_release(&forward);
    return ok;
}

/* Activations in nhwc instead of in any layout. */
static bool put_channels_last(struct gr_conv_descs *d, const struct gr_conv_sizes *s,
                              enum gr_dtype type, struct gr_error *err)
{
    gr_desc_release(&d->src);
    gr_desc_release(&d->dst);
    d->channels_last = true;
    return activation_descs(d, s, type, dnnl_nhwc, err);
}

static bool plan_forward(struct gr_planning *planning, bool last, struct gr_error *err)
{
    const struct gr_conv_attrs *a = planning->node->attrs;
    const struct gr_conv_sizes s = gr_conv_sizes(planning->node);
    const enum gr_dtype type = gr_planning_dtype(planning);
    struct gr_onednn_arg args[5] = {
        {DNNL_ARG_SRC, 0}, {DNNL_ARG_WEIGHTS, 1}, {DNNL_ARG_DST, GR_DST(0)}};
    int n_args = 3;
    if (a->bias)
        args[n_args++] = (struct gr_onednn_arg){DNNL_ARG_BIAS, 2};
    if (a->add)
        args[n_args++] =
            (struct gr_onednn_arg){DNNL_ARG_ATTR_MULTIPLE_POST_OP(0) | DNNL_ARG_SRC_1, 2 + a->bias};
    dnnl_primitive_desc_t pd = NULL;
    struct gr_conv_descs d = {0};
    bool ok = gr_conv_descs_init(&d, a, &s, type, type, err) &&
              (!last || put_channels_last(&d, &s, type, err));
    if (ok) {
        const dnnl_status_t status = gr_conv_fused_pd(&pd, planning, dnnl_forward_training,
                                                      dnnl_convolution_direct, &d, err);
        ok = accept(planning, status, pd, args, n_args, err) && find_home(planning, err);
    }
    gr_conv_descs_release(&d);
    return ok;
}

bool gr_conv_onednn_forward(struct gr_planning *planning, struct gr_error *err)
{
    return plan_forward(planning, false, err);
}

/* In training, the backward passes would want the activations otherwise. */
bool gr_conv_takes_channels_last(const struct gr_planning *planning)
{
    return !planning->node->graph->training;
}

bool gr_conv_channels_last_forward(struct gr_planning *planning, struct gr_error *err)
{
    return plan_forward(planning, true, err);
}

bool gr_conv_onednn_data(struct gr_planning *planning, struct gr_error *err)
{
    static const struct gr_onednn_arg args[] = {
        {DNNL_ARG_DIFF_DST, 0}, {DNNL_ARG_WEIGHTS, 1}, {DNNL_ARG_DIFF_SRC, GR_DST(0)}};
    const struct gr_conv_sizes s = gr_conv_sizes(planning->node);
    const enum gr_dtype type = gr_planning_dtype(planning);
    dnnl_primitive_desc_t pd = NULL;
    struct gr_conv_descs d = {0};
    bool ok = gr_conv_descs_init(&d, planning->node->attrs, &s, type, type, err);
    if (ok) {
        const dnnl_status_t status =
            gr_conv_data_pd(&pd, planning->backend, dnnl_convolution_direct, &d);
        ok = accept(planning, status, pd, args, 3, err);
    }
    gr_conv_descs_release(&d);
    return ok;
}

bool gr_conv_onednn_weights(struct gr_planning *planning, struct gr_error *err)
{
    static const struct gr_onednn_arg args[] = {{DNNL_ARG_DIFF_DST, 0},
                                                {DNNL_ARG_SRC, 1},
                                                {DNNL_ARG_DIFF_WEIGHTS, GR_DST(0)},
                                                {DNNL_ARG_DIFF_BIAS, GR_DST(1)}};
    const struct gr_conv_sizes s = gr_conv_sizes(planning->node);
    const struct gr_conv_attrs *a = planning->node->attrs;
    const enum gr_dtype type = gr_planning_dtype(planning);
    dnnl_primitive_desc_t pd = NULL;
    struct gr_conv_descs d = {0}, forward = {0};
    bool ok = gr_conv_descs_init(&d, a, &s, type, GR_F32, err) &&
              gr_conv_descs_init(&forward, a, &s, type, type, err);
    if (ok) {
        const dnnl_status_t status =
            gr_conv_weights_pd(&pd, planning->backend, dnnl_convolution_direct, &d, &forward);
        ok = accept(planning, status, pd, args, planning->node->n_outputs > 1 ? 4 : 3, err);
    }
    gr_conv_descs_release(&d);
    gr_conv_descs_release(&forward);
    return ok;
}
