/*
 * The plain primitive of a convolution: oneDNN's direct one, as it would be by itself. In inference
 * that is another than what our programs run (see gr_conv_fused_pd).
 */
#include "conv.h"

#include "ops.h"

static bool primitive(struct gr_planning *planning, enum gr_conv_pass pass, struct gr_error *err)
{
    const struct gr_conv_attrs *a = planning->node->attrs;
    const struct gr_conv_sizes s = gr_conv_sizes(planning->node);
    const enum gr_dtype type = gr_planning_dtype(planning);
    const dnnl_alg_kind_t direct = dnnl_convolution_direct;
    const dnnl_prop_kind_t prop =
        planning->node->graph->training ? dnnl_forward_training : dnnl_forward_inference;
    struct gr_conv_descs d = {0}, forward = {0};
    dnnl_primitive_desc_t pd = NULL;
    dnnl_status_t status = dnnl_out_of_memory;
    bool ok = gr_conv_descs_init(&d, a, &s, type, pass == GR_CONV_WEIGHTS ? GR_F32 : type, err) &&
              (pass != GR_CONV_WEIGHTS || gr_conv_descs_init(&forward, a, &s, type, type, err));
    if (ok)
        status = pass == GR_CONV_FORWARD ? gr_conv_fused_pd(&pd, planning, prop, direct, &d, err)
                 : pass == GR_CONV_DATA
                     ? gr_conv_data_pd(&pd, planning->backend, direct, &d)
                     : gr_conv_weights_pd(&pd, planning->backend, direct, &d, &forward);
    ok = ok && gr_onednn_alone(planning, status, pd, err);
    gr_conv_descs_release(&d);
    gr_conv_descs_release(&forward);
    return ok;
}

bool gr_conv_primitive_forward(struct gr_planning *planning, struct gr_error *err)
{
    return primitive(planning, GR_CONV_FORWARD, err);
}

bool gr_conv_primitive_data(struct gr_planning *planning, struct gr_error *err)
{
    return primitive(planning, GR_CONV_DATA, err);
}

bool gr_conv_primitive_weights(struct gr_planning *planning, struct gr_error *err)
{
    return primitive(planning, GR_CONV_WEIGHTS, err);
}
