/*
 * Shared by the ops that are plain loops; see loops.h.
 */
#include "loops.h"

#include <string.h>

#include "onednn.h"

void gr_loops_plan_plain(struct gr_planning *planning, gr_kernel_run_fn *run)
{
    for (int i = 0; i < planning->node->n_inputs; i++)
        planning->src[i] = &gr_layout_plain;
    for (int i = 0; i < planning->node->n_outputs; i++)
        planning->dst[i] = &gr_layout_plain;
    planning->kernel->impl = "plain";
    planning->kernel->run = run;
}

struct gr_lanes gr_loops_lanes(const struct gr_layout *layout)
{
    static const struct {
        const char *name;
        int64_t count;
    } known[] = {{"plain", 1}, {"nchw", 1}, {"nChw8c", 8}, {"nChw16c", 16}};
    if (!layout)
        return (struct gr_lanes){0, false};
    const bool bf16 = layout != &gr_layout_plain && layout->dtype == GR_BF16;
    const char *name = bf16 ? layout->name + strlen("bf16:") : layout->name;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(name, known[i].name) == 0)
            return (struct gr_lanes){known[i].count, bf16};
    return (struct gr_lanes){0, false};
}

struct gr_lanes gr_loops_wanted_lanes(const struct gr_planning *planning,
                                      const struct gr_layout *layout)
{
    struct gr_lanes lanes = gr_loops_lanes(layout);
    if (!lanes.count && layout)
        lanes =
            (struct gr_lanes){gr_onednn_widest_lanes(planning->backend), layout->dtype == GR_BF16};
    lanes.bf16 = lanes.bf16 || (lanes.count > 1 && planning->precision == GR_PRECISION_BF16 &&
                                planning->node->graph->training);
    return lanes;
}

bool gr_loops_expect_f32(const struct gr_node *node, int first, struct gr_error *err)
{
    for (int i = first; i < node->n_data; i++)
        if (node->inputs[i]->dtype != GR_F32)
            return gr_node_fail(node, err, "input '%s' is %s, not f32", node->inputs[i]->name,
                                gr_dtype_name(node->inputs[i]->dtype));
    return true;
}

bool gr_loops_expect_logits(const struct gr_node *node, struct gr_error *err)
{
    const struct gr_value *logits = node->inputs[0], *labels = node->inputs[1];
    char text[GR_SHAPE_TEXT], other[GR_SHAPE_TEXT];
    if (logits->dtype != GR_F32)
        return gr_node_fail(node, err, "input '%s' is %s, not f32", logits->name,
                            gr_dtype_name(logits->dtype));
    if (labels->dtype != GR_S32)
        return gr_node_fail(node, err, "input '%s' is %s; labels are s32", labels->name,
                            gr_dtype_name(labels->dtype));
    bool flat = logits->shape.rank >= 2;
    for (int i = 2; i < logits->shape.rank; i++)
        flat = flat && logits->shape.dim[i] == 1;
    if (!flat)
        return gr_node_fail(node, err, "input '%s' is %s, not one score for each class [N, C]",
                            logits->name, gr_shape_text(&logits->shape, text));
    if (labels->shape.rank != 1 || labels->shape.dim[0] != logits->shape.dim[0])
        return gr_node_fail(node, err,
                            "labels '%s' are %s, not one for each of the %lld rows of "
                            "'%s' (%s)",
                            labels->name, gr_shape_text(&labels->shape, text),
                            (long long)logits->shape.dim[0], logits->name,
                            gr_shape_text(&logits->shape, other));
    if (labels->classes > logits->shape.dim[1])
        return gr_node_fail(node, err, "labels '%s' have %lld classes, '%s' only %lld outputs",
                            labels->name, (long long)labels->classes, logits->name,
                            (long long)logits->shape.dim[1]);
    return true;
}
