/*
 * reorder: the same tensor in another layout. The runtime inserts it and names the layouts; see
 * graph/program.c.
 */
#include "onednn.h"
#include "ops.h"

static bool reorder_plan(struct gr_planning *planning, struct gr_error *err)
{
    static const struct gr_onednn_arg args[] = {{DNNL_ARG_FROM, 0}, {DNNL_ARG_TO, GR_DST(0)}};
    dnnl_primitive_desc_t pd;
    return gr_onednn_ok(gr_onednn_reorder(&pd, planning->backend, planning->node->inputs[0],
                                          planning->src[0], planning->dst[0]),
                        planning->node, err) &&
           gr_onednn_kernel(planning, pd, args, 2, err);
}

const struct gr_op gr_op_reorder = {
    .kind = {.name = "reorder", .doc = "copies a tensor into another memory layout"},
    .category = "data movement",
    .flags = GR_OP_INTERNAL,
    .plan = reorder_plan,
};
