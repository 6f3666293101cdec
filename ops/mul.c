/*
 * mul: the elementwise product of two inputs, the second broadcast where it has dimensions of 1
 * (broadcast.h): da = dy · b, db = dy · a summed over what was repeated.
 */
#include "ops.h"

#include "broadcast.h"
#include "elementwise.h"
#include "vector_clones.h"

GR_VECTOR_CLONES
static void multiply(const struct gr_node *node, const float *const *src, float *dst, int64_t n)
{
    (void)node;
    const float *a = src[0], *b = src[1];
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        dst[i] = a[i] * b[i];
}

static bool mul_plan(struct gr_planning *planning, struct gr_error *err)
{
    const struct gr_node *node = planning->node;
    if (gr_shape_equal(&node->inputs[0]->shape, &node->inputs[1]->shape))
        return gr_elementwise_plan(planning, 2, multiply, err);
    return gr_broadcast_plan(planning, GR_BROADCAST_MUL, err);
}

static bool mul_primitive(struct gr_planning *planning, struct gr_error *err)
{
    return gr_broadcast_primitive(planning, GR_BROADCAST_MUL, err);
}

static bool mul_infer(struct gr_node *node, struct gr_error *err)
{
    return gr_loops_expect_f32(node, 0, err) && gr_broadcast_expect(node, err) &&
           gr_node_output(node, NULL, GR_F32, &node->inputs[0]->shape, err) != NULL;
}

static bool mul_grad(struct gr_node *node, struct gr_grad *grad, struct gr_error *err)
{
    struct gr_value *dy = gr_grad_output(grad, 0), *a = node->inputs[0], *b = node->inputs[1];
    struct gr_value *for_a[] = {dy, b}, *for_b[] = {dy, a};
    const bool same = gr_shape_equal(&a->shape, &b->shape);
    if (gr_grad_wanted(grad, 0) &&
        !gr_grad_emit(grad, &gr_op_mul, for_a, 2, (const int[]){0}, 1, err))
        return false;
    return !gr_grad_wanted(grad, 1) || gr_grad_emit(grad, same ? &gr_op_mul : &gr_op_reduce_like,
                                                    for_b, 2, (const int[]){1}, 1, err) != NULL;
}

const struct gr_op gr_op_mul = {
    .kind = {.name = "mul",
             .doc = "the product of two inputs; the second may have dimensions of 1, which are "
                    "repeated"},
    .category = "arithmetic",
    .min_inputs = 2,
    .max_inputs = 2,
    .input_doc = "a, b (b of a's shape, or with dimensions of 1)",
    .infer = mul_infer,
    .grad = mul_grad,
    .plan = mul_plan,
    .primitive = mul_primitive,
};
