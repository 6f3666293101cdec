/*
 * The plain primitive of a convolution: oneDNN's direct one, as it would be by itself. In inference
 * that is another than what our programs run (see gr_conv_forward_pd).
 */
#include "conv.h"

#include "ops.h"

enum pass { FORWARD, DATA, WEIGHTS };

static dnnl_status_t forward_pd(const struct gr_planning *planning, const struct gr_conv_descs *d,
                                dnnl_primitive_desc_t *pd, struct gr_error *err)
{
    const struct gr_backend *backend = planning->backend;
    const bool training = planning->node->graph->training;
    dnnl_primitive_attr_t fused = NULL;
    if (!gr_conv_fused_attr(planning, &fused, err))
        return dnnl_out_of_memory;
    const dnnl_status_t status = gr_onednn_conv(
        pd, backend->engine, training ? dnnl_forward_training : dnnl_forward_inference,
        dnnl_convolution_direct, gr_desc_get(&d->src), gr_desc_get(&d->weights),
        gr_desc_get(&d->bias), gr_desc_get(&d->dst), d->stride, d->dilation, d->pad_l, d->pad_r,
        fused ? fused : backend->attr);
    if (fused)
        dnnl_primitive_attr_destroy(fused);
    return status;
}

static bool primitive(struct gr_planning *planning, enum pass pass, struct gr_error *err)
{
    const struct gr_conv_attrs *a = planning->node->attrs;
    const struct gr_conv_sizes s = gr_conv_sizes(planning->node);
    const enum gr_dtype type = gr_planning_dtype(planning);
    const dnnl_alg_kind_t direct = dnnl_convolution_direct;
    struct gr_conv_descs d = {0}, forward = {0};
    dnnl_primitive_desc_t pd = NULL;
    dnnl_status_t status = dnnl_out_of_memory;
    bool ok = gr_conv_descs_init(&d, a, &s, type, pass == WEIGHTS ? GR_F32 : type, err) &&
              (pass != WEIGHTS || gr_conv_descs_init(&forward, a, &s, type, type, err));
    if (ok)
        status = pass == FORWARD ? forward_pd(planning, &d, &pd, err)
                 : pass == DATA  ? gr_conv_data_pd(&pd, planning->backend, direct, &d)
                                 : gr_conv_weights_pd(&pd, planning->backend, direct, &d, &forward);
    ok = ok && gr_onednn_alone(planning, status, pd, err);
    gr_conv_descs_release(&d);
    gr_conv_descs_release(&forward);
    return ok;
}

bool gr_conv_primitive_forward(struct gr_planning *planning, struct gr_error *err)
{
    return primitive(planning, FORWARD, err);
}

bool gr_conv_primitive_data(struct gr_planning *planning, struct gr_error *err)
{
    return primitive(planning, DATA, err);
}

bool gr_conv_primitive_weights(struct gr_planning *planning, struct gr_error *err)
{
    return primitive(planning, WEIGHTS, err);
}
