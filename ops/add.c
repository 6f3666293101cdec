/*
 * add: the elementwise sum of two or more inputs of one shape, or of two where the second is
 * broadcast (broadcast.h). The internal op sum, which adds up the gradients of a value with several
 * consumers, is the same kernel.
 */
#include "ops.h"

#include "broadcast.h"
#include "loops.h"
#include "onednn.h"
#include "reorder_loops.h"

enum { BLOCK = 1024 }; /* floats summed at a time, so that they stay in the first-level cache */

/* Blocks go through `sum`, so that dst may be any of the inputs. */
static void add_block(void *const *src, int n_src, float *dst, int64_t at, int64_t n)
{
    float sum[BLOCK];
    const float *first = (const float *)src[0] + at, *second = (const float *)src[1] + at;
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        sum[i] = first[i] + second[i];
    for (int k = 2; k < n_src; k++) {
        const float *next = (const float *)src[k] + at;
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            sum[i] += next[i];
    }
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        dst[at + i] = sum[i];
}

static bool add_run(const struct gr_kernel *kernel, const struct gr_node *node,
                    const struct gr_buffers *buffers, const struct gr_run *run,
                    struct gr_error *err)
{
    (void)run, (void)err;
    const int64_t count = gr_loops_count(kernel);
    float *dst = buffers->dst[0]; /* [count] */
#pragma omp parallel for schedule(static)
    for (int64_t at = 0; at < count; at += BLOCK)
        add_block(buffers->src, node->n_inputs, dst, at, count - at < BLOCK ? count - at : BLOCK);
    return true;
}

static bool add_plan(struct gr_planning *planning, struct gr_error *err)
{
    const struct gr_node *node = planning->node;
    if (gr_shape_equal(&node->inputs[0]->shape, &node->inputs[1]->shape))
        return gr_loops_plan_elementwise(planning, node->n_inputs, add_run, err);
    return gr_broadcast_plan(planning, GR_BROADCAST_ADD, err);
}

static bool add_primitive(struct gr_planning *planning, struct gr_error *err)
{
    const struct gr_node *node = planning->node;
    gr_md mds[GR_ONEDNN_ARGS];
    float ones[GR_ONEDNN_ARGS];
    dnnl_primitive_desc_t pd = NULL;
    struct gr_desc desc = {0};
    if (node->n_inputs == 2)
        return gr_broadcast_primitive(planning, GR_BROADCAST_ADD, err);
    if (node->n_inputs > GR_ONEDNN_ARGS)
        return true;
    if (!gr_desc_blocked(&desc, node->outputs[0], gr_planning_dtype(planning), err))
        return false;
    for (int i = 0; i < node->n_inputs; i++) {
        mds[i] = gr_desc_get(&desc);
        ones[i] = 1;
    }
    /* In f32 oneDNN 3 divides by the size of the first cache: no cache would be a signal. */
    const bool divides = gr_planning_dtype(planning) == GR_F32;
    const dnnl_status_t status =
        divides && gr_reorder_finds_no_cache(planning->backend)
            ? dnnl_unimplemented
            : gr_onednn_sum(&pd, planning->backend->engine, gr_desc_get(&desc), node->n_inputs,
                            ones, mds, planning->backend->attr);
    gr_desc_release(&desc);
    return gr_onednn_alone(planning, status, pd, err);
}

static bool add_infer(struct gr_node *node, struct gr_error *err)
{
    const struct gr_value *first = node->inputs[0];
    char text[GR_SHAPE_TEXT], other[GR_SHAPE_TEXT];
    if (!gr_loops_expect_f32(node, 0, err) ||
        (node->n_data == 2 && !gr_broadcast_expect(node, err)))
        return false;
    for (int i = 1; node->n_data > 2 && i < node->n_data; i++)
        if (!gr_shape_equal(&node->inputs[i]->shape, &first->shape))
            return gr_node_fail(node, err,
                                "'%s' is %s and '%s' is %s; more than two inputs must "
                                "have one shape",
                                first->name, gr_shape_text(&first->shape, text),
                                node->inputs[i]->name,
                                gr_shape_text(&node->inputs[i]->shape, other));
    return gr_node_output(node, NULL, GR_F32, &first->shape, err) != NULL;
}

static bool add_grad(struct gr_node *node, struct gr_grad *grad, struct gr_error *err)
{
    struct gr_value *dy = gr_grad_output(grad, 0);
    for (int i = 0; i < node->n_inputs; i++) {
        if (!gr_grad_wanted(grad, i))
            continue;
        const bool same = gr_shape_equal(&node->inputs[i]->shape, &dy->shape);
        if (same ? !gr_grad_pass(grad, i, dy, err)
                 : !gr_grad_emit(grad, &gr_op_reduce_like, &dy, 1, &i, 1, err))
            return false;
    }
    return true;
}

const struct gr_op gr_op_add = {
    .kind = {.name = "add",
             .doc = "the sum of inputs of one shape; of two, the second may have dimensions of 1, "
                    "which are repeated"},
    .category = "arithmetic",
    .min_inputs = 2,
    .max_inputs = -1,
    .input_doc = "two or more of one shape",
    .infer = add_infer,
    .grad = add_grad,
    .plan = add_plan,
    .primitive = add_primitive,
};

const struct gr_op gr_op_sum = {
    .kind = {.name = "sum", .doc = "the sum of gradients of one value"},
    .category = "arithmetic",
    .flags = GR_OP_INTERNAL,
    .min_inputs = 2,
    .max_inputs = -1,
    .plan = add_plan,
    .primitive = add_primitive,
};
