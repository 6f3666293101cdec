/*
 * add: the elementwise sum of two or more inputs of one shape, or of two where the second is
 * broadcast (broadcast.h). The internal op sum, which adds up the gradients of a value with several
 * consumers, is the same kernel. Both take in the ReLU that follows: add the activation itself, sum
 * its backward.
 */
#include "ops.h"

#include <string.h>

#include "activation.h"
#include "broadcast.h"
#include "elementwise.h"
#include "onednn.h"
#include "reorder_loops.h"
#include "vector_clones.h"

static const struct gr_op add_relu, sum_relu_backward;

/* ---- kernels ----------------------------------------------------------------------------- */

GR_VECTOR_CLONES
static void add_rows(const float *a, const float *b, float *dst, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        dst[i] = a[i] + b[i];
}

/* dst = condition > 0 ? dst : 0 */
GR_VECTOR_CLONES
static void keep_positive(const float *condition, float *dst, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        dst[i] = condition[i] > 0 ? dst[i] : 0;
}

/* Blocks go through `sum`, so that dst may be any of the inputs. */
static void add_block(const struct gr_kernel *kernel, const struct gr_node *node,
                      const struct gr_buffers *buffers, int64_t at, int64_t n)
{
    float sum[GR_ELEMENTWISE_BLOCK], next[GR_ELEMENTWISE_BLOCK];
    const bool backward = node->op == &sum_relu_backward;
    const int n_terms = node->n_inputs - backward;
    const float *first = gr_elementwise_read(kernel, buffers, 0, at, n, sum);
    for (int k = 1; k < n_terms; k++, first = sum)
        add_rows(first, gr_elementwise_read(kernel, buffers, k, at, n, next), sum, n);
    if (backward)
        keep_positive(gr_elementwise_read(kernel, buffers, n_terms, at, n, next), sum, n);
    if (node->op == &add_relu)
        keep_positive(sum, sum, n);
    gr_elementwise_write(kernel, buffers, at, n, sum);
}

static bool add_run(const struct gr_kernel *kernel, const struct gr_node *node,
                    const struct gr_buffers *buffers, const struct gr_run *run,
                    struct gr_error *err)
{
    (void)run, (void)err;
    const int64_t count = gr_elementwise_count(kernel), most = GR_ELEMENTWISE_BLOCK;
#pragma omp parallel for schedule(static)
    for (int64_t at = 0; at < count; at += most)
        add_block(kernel, node, buffers, at, count - at < most ? count - at : most);
    return true;
}

static bool of_equal_shapes(const struct gr_node *node)
{
    return gr_shape_equal(&node->inputs[0]->shape, &node->inputs[1]->shape);
}

static bool add_plan(struct gr_planning *planning, struct gr_error *err)
{
    const struct gr_node *node = planning->node;
    return of_equal_shapes(node)
               ? gr_elementwise_plan_loop(planning, node->n_inputs, NULL, add_run, err)
               : gr_broadcast_plan(planning, GR_BROADCAST_ADD, err);
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

/* ---- fusing ------------------------------------------------------------------------------ */

/* A ReLU of the sum: what a residual block ends with. */
static bool add_fuse(struct gr_node *node, const struct gr_node *consumer)
{
    if (consumer->op != &gr_op_relu || !of_equal_shapes(node))
        return false;
    node->op = &add_relu;
    return true;
}

/* The backward of such a ReLU, whose output becomes the last input. */
static bool sum_fuse(struct gr_node *node, const struct gr_node *consumer)
{
    const size_t n = (size_t)node->n_inputs + 1;
    if (consumer->n_inputs != 2 ||
        !gr_activation_is_relu_backward(consumer, node, consumer->inputs[1]))
        return false;
    struct gr_value **inputs = gr_pool_array(&node->graph->pool, n, sizeof(struct gr_value *));
    if (!inputs)
        return false;
    memcpy(inputs, node->inputs, (n - 1) * sizeof *inputs);
    inputs[n - 1] = consumer->inputs[1];
    node->inputs = inputs;
    node->n_inputs++;
    node->op = &sum_relu_backward;
    return true;
}

static const struct gr_op add_relu = {
    .kind = {.name = "add_relu", .doc = "add and relu"},
    .category = "arithmetic",
    .flags = GR_OP_INTERNAL,
    .plan = add_plan,
};

static const struct gr_op sum_relu_backward = {
    .kind = {.name = "sum_relu_backward",
             .doc = "the sum of gradients of a relu's output, as the gradient of its input"},
    .category = "arithmetic",
    .flags = GR_OP_INTERNAL,
    .plan = add_plan,
};

/* ---- the ops ----------------------------------------------------------------------------- */

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
    .fuse = add_fuse,
    .plan = add_plan,
    .primitive = add_primitive,
};

const struct gr_op gr_op_sum = {
    .kind = {.name = "sum", .doc = "the sum of gradients of one value"},
    .category = "arithmetic",
    .flags = GR_OP_INTERNAL,
    .min_inputs = 2,
    .max_inputs = -1,
    .fuse = sum_fuse,
    .plan = add_plan,
    .primitive = add_primitive,
};
