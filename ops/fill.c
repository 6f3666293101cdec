/*
 * fill: writes one number everywhere. Autodiff starts from it: the gradient of a loss with respect
 * to itself is its weight. Whoever emits the node adds its output.
 */
#include "ops.h"

#include "loops.h"

struct fill_attrs {
    double value;
};

static const struct gr_attr fill_table[] = {
    {.name = "value",
     .type = GR_ATTR_FLOAT,
     .offset = offsetof(struct fill_attrs, value),
     .def = 0,
     .doc = "what every element is"},
    {0},
};

static bool fill_run(const struct gr_kernel *kernel, const struct gr_node *node,
                     const struct gr_buffers *buffers, const struct gr_run *run,
                     struct gr_error *err)
{
    (void)kernel, (void)run, (void)err;
    const float value = (float)((const struct fill_attrs *)node->attrs)->value;
    const int64_t count = gr_shape_count(&node->outputs[0]->shape);
    float *dst = buffers->dst[0]; /* [count] */
    for (int64_t i = 0; i < count; i++)
        dst[i] = value;
    return true;
}

static bool fill_plan(struct gr_planning *planning, struct gr_error *err)
{
    (void)err;
    gr_loops_plan_plain(planning, fill_run);
    return true;
}

const struct gr_op gr_op_fill = {
    .kind = {.name = "fill",
             .doc = "a constant",
             .attrs = fill_table,
             .attrs_size = sizeof(struct fill_attrs)},
    .category = "data movement",
    .flags = GR_OP_INTERNAL,
    .plan = fill_plan,
};
