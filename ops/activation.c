/*
 * Activations: relu, leaky_relu, elu, sigmoid, tanh, gelu, silu, each a row of one table.
 *
 * Where the derivative can be had from the output, the backward reads the output, so that a
 * convolution may fuse the activation in training too and the input need not be kept.
 */
#include "activation.h"

#include <math.h>
#include <stddef.h>

#include "batch_norm.h"
#include "elementwise.h"
#include "ops.h"
#include "vector_clones.h"

struct activation_attrs {
    double alpha;
};

static float relu(float x, float alpha)
{
    (void)alpha;
    return x > 0 ? x : 0;
}

static float leaky_relu(float x, float alpha)
{
    return x > 0 ? x : alpha * x;
}

static float elu(float x, float alpha)
{
    return x > 0 ? x : alpha * expm1f(x);
}

static float sigmoid(float x, float alpha)
{
    (void)alpha;
    return 1 / (1 + expf(-x));
}

static float hyperbolic(float x, float alpha)
{
    (void)alpha;
    return tanhf(x);
}

static float gelu(float x, float alpha)
{
    (void)alpha;
    return 0.5f * x * (1 + erff(x * 0.70710678f));
}

static float silu(float x, float alpha)
{
    (void)alpha;
    return x / (1 + expf(-x));
}

/* Derivatives from the output y where there is one, else from the input x. */

static float relu_slope(float y, float alpha)
{
    (void)alpha;
    return y > 0 ? 1 : 0;
}

static float leaky_relu_slope(float y, float alpha)
{
    return y > 0 ? 1 : alpha;
}

static float elu_slope(float y, float alpha)
{
    return y > 0 ? 1 : y + alpha;
}

static float sigmoid_slope(float y, float alpha)
{
    (void)alpha;
    return y * (1 - y);
}

static float hyperbolic_slope(float y, float alpha)
{
    (void)alpha;
    return 1 - y * y;
}

static float gelu_slope(float x, float alpha)
{
    (void)alpha;
    return 0.5f * (1 + erff(x * 0.70710678f)) + x * 0.39894228f * expf(-0.5f * x * x);
}

static float silu_slope(float x, float alpha)
{
    const float s = sigmoid(x, alpha);
    return s * (1 + x * (1 - s));
}

struct activation {
    const struct gr_op *op;
    float (*function)(float x, float alpha);
    float (*slope)(float data, float alpha);
    dnnl_alg_kind_t forward, backward;
    bool from_dst; /* slope and backward read the output */
};

static bool activation_infer(struct gr_node *node, struct gr_error *err)
{
    return gr_loops_expect_f32(node, 0, err) &&
           gr_node_output(node, NULL, GR_F32, &node->inputs[0]->shape, err);
}

static const struct activation *row_of(const struct gr_node *node);

static bool activation_grad(struct gr_node *node, struct gr_grad *grad, struct gr_error *err)
{
    struct gr_value *inputs[] = {gr_grad_output(grad, 0),
                                 row_of(node)->from_dst ? node->outputs[0] : node->inputs[0]};
    return gr_grad_emit(grad, &gr_op_activation_backward, inputs, 2, (const int[]){0}, 1, err);
}

static float alpha_of(const struct gr_node *node)
{
    return node->op->kind.attrs ? (float)((const struct activation_attrs *)node->attrs)->alpha
                                : (row_of(node)->forward == dnnl_eltwise_swish ? 1.0f : 0.0f);
}

static void apply(const struct gr_node *node, const float *const *src, float *dst, int64_t n)
{
    float (*const function)(float, float) = row_of(node)->function;
    const float alpha = alpha_of(node);
    for (int64_t i = 0; i < n; i++)
        dst[i] = function(src[0][i], alpha);
}

GR_VECTOR_CLONES
static void apply_relu(const struct gr_node *node, const float *const *src, float *dst, int64_t n)
{
    (void)node;
    const float *x = src[0];
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        dst[i] = x[i] > 0 ? x[i] : 0;
}

/* Positive numbers are positive as integers; what stands above them is NaNs, which give 0. */
static inline bool is_positive(uint16_t half)
{
    return (uint16_t)(half - 1) < 0x7f80;
}

GR_VECTOR_CLONES
static void apply_relu_bits(const uint16_t *const *src, uint16_t *dst, int64_t n)
{
    const uint16_t *x = src[0];
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        dst[i] = is_positive(x[i]) ? x[i] : 0;
}

/* A layout that is laid already, or plain. */
static const struct gr_layout *laid(const struct gr_layout *layout)
{
    return layout ? layout : &gr_layout_plain;
}

static bool onednn_plan(struct gr_planning *planning, struct gr_error *err)
{
    const struct activation *row = row_of(planning->node);
    const struct gr_value *value = planning->node->inputs[0];
    struct gr_desc md = {0};
    dnnl_primitive_desc_t pd;
    bool ok = gr_desc_in(&md, value, laid(planning->src[0]), err) &&
              gr_onednn_ok(gr_onednn_eltwise(&pd, planning->backend->engine, dnnl_forward_training,
                                             row->forward, gr_desc_get(&md), gr_desc_get(&md),
                                             alpha_of(planning->node), 0, planning->backend->attr),
                           planning->node, err);
    gr_desc_release(&md);
    static const struct gr_onednn_arg args[] = {{DNNL_ARG_SRC, 0}, {DNNL_ARG_DST, GR_DST(0)}};
    planning->kernel->in_place = 1;
    return ok && gr_onednn_kernel(planning, pd, args, 2, err);
}

/* In bf16: a loop reads what lies in f32 as it is, and outruns oneDNN's kernel. */
static bool suits_loop(const struct gr_planning *planning, const struct gr_node *forward)
{
    return forward->op == &gr_op_relu && planning->precision == GR_PRECISION_BF16;
}

static bool plan_relu(struct gr_planning *planning, int n_src, gr_elementwise_fn *function,
                      gr_elementwise_bits_fn *bits, struct gr_error *err)
{
    if (!gr_elementwise_plan(planning, n_src, function, err))
        return false;
    gr_elementwise_by_bits(planning->kernel, bits);
    return true;
}

static bool activation_plan(struct gr_planning *planning, struct gr_error *err)
{
    if (planning->backend->kernels == GR_KERNELS_OPENBLAS)
        return gr_elementwise_plan(planning, 1, apply, err);
    return suits_loop(planning, planning->node)
               ? plan_relu(planning, 1, apply_relu, apply_relu_bits, err)
               : onednn_plan(planning, err);
}

/* The layout in which a primitive alone is fastest. */
static bool lay_input(struct gr_planning *planning, int input, struct gr_error *err)
{
    planning->src[input] = gr_onednn_blocked(planning->backend, planning->node->inputs[input],
                                             gr_planning_dtype(planning), err);
    return planning->src[input] != NULL;
}

static bool activation_primitive(struct gr_planning *planning, struct gr_error *err)
{
    return lay_input(planning, 0, err) && onednn_plan(planning, err);
}

/* ---- backward ---------------------------------------------------------------------------- */

/* src: dy, and the activation's output or input. */
static void apply_slope(const struct gr_node *node, const float *const *src, float *dst, int64_t n)
{
    float (*const slope)(float, float) = row_of(node->forward)->slope;
    const float alpha = alpha_of(node->forward);
    for (int64_t i = 0; i < n; i++)
        dst[i] = src[0][i] * slope(src[1][i], alpha);
}

GR_VECTOR_CLONES
static void pass_relu(const struct gr_node *node, const float *const *src, float *dst, int64_t n)
{
    (void)node;
    const float *dy = src[0], *y = src[1];
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        dst[i] = y[i] > 0 ? dy[i] : 0;
}

GR_VECTOR_CLONES
static void pass_relu_bits(const uint16_t *const *src, uint16_t *dst, int64_t n)
{
    const uint16_t *dy = src[0], *y = src[1];
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        dst[i] = is_positive(y[i]) ? dy[i] : 0;
}

static bool onednn_backward_plan(struct gr_planning *planning, struct gr_error *err)
{
    const struct gr_node *forward = planning->node->forward;
    const struct activation *row = row_of(forward);
    const struct gr_value *value = planning->node->inputs[1];
    const float alpha = alpha_of(forward);
    dnnl_engine_t engine = planning->backend->engine;
    struct gr_desc md = {0};
    dnnl_primitive_desc_t hint = NULL, pd;
    bool ok = gr_desc_in(&md, value, laid(planning->src[1]), err) &&
              gr_onednn_ok(gr_onednn_eltwise(&hint, engine, dnnl_forward_training, row->forward,
                                             gr_desc_get(&md), gr_desc_get(&md), alpha, 0,
                                             planning->backend->attr),
                           planning->node, err) &&
              gr_onednn_ok(gr_onednn_eltwise_backward(&pd, engine, row->backward, gr_desc_get(&md),
                                                      gr_desc_get(&md), gr_desc_get(&md), alpha, 0,
                                                      hint, planning->backend->attr),
                           planning->node, err);
    gr_desc_release(&md);
    if (hint)
        dnnl_primitive_desc_destroy(hint);
    const struct gr_onednn_arg args[] = {{DNNL_ARG_DIFF_DST, 0},
                                         {row->from_dst ? DNNL_ARG_DST : DNNL_ARG_SRC, 1},
                                         {DNNL_ARG_DIFF_SRC, GR_DST(0)}};
    planning->kernel->in_place = 1;
    return ok && gr_onednn_kernel(planning, pd, args, 3, err);
}

static bool backward_plan(struct gr_planning *planning, struct gr_error *err)
{
    if (planning->backend->kernels == GR_KERNELS_OPENBLAS)
        return gr_elementwise_plan(planning, 2, apply_slope, err);
    return suits_loop(planning, planning->node->forward)
               ? plan_relu(planning, 2, pass_relu, pass_relu_bits, err)
               : onednn_backward_plan(planning, err);
}

static bool backward_primitive(struct gr_planning *planning, struct gr_error *err)
{
    return lay_input(planning, 1, err) && onednn_backward_plan(planning, err);
}

const struct gr_op gr_op_activation_backward = {
    .kind = {.name = "activation_backward", .doc = "the gradient of an activation"},
    .flags = GR_OP_INTERNAL,
    .fuse = gr_batch_norm_fuse_backward,
    .plan = backward_plan,
    .primitive = backward_primitive,
};

/* ---- fusing ------------------------------------------------------------------------------ */

struct gr_activation gr_activation_of(const struct gr_node *node)
{
    const struct activation *row = row_of(node);
    return row ? (struct gr_activation){row->function, row->forward, alpha_of(node)}
               : (struct gr_activation){0};
}

bool gr_activation_is_relu_backward(const struct gr_node *consumer, const struct gr_node *node,
                                    const struct gr_value *output)
{
    return consumer->op == &gr_op_activation_backward && consumer->forward->op == &gr_op_relu &&
           consumer->inputs[0] == node->outputs[0] && consumer->inputs[1] == output;
}

void gr_activation_apply(const struct gr_activation *activation, float *dst, int64_t count)
{
    if (!activation->function)
        return;
    for (int64_t i = 0; i < count; i++)
        dst[i] = activation->function(dst[i], activation->alpha);
}

/* ---- the table --------------------------------------------------------------------------- */

static const struct gr_attr leaky_attrs[] = {
    {"alpha", GR_ATTR_FLOAT, offsetof(struct activation_attrs, alpha), .def = 0.01, .min = 0,
     .max = 1, .doc = "slope for negative inputs"},
    {0}};
static const struct gr_attr elu_attrs[] = {
    {"alpha", GR_ATTR_FLOAT, offsetof(struct activation_attrs, alpha), .def = 1, .min = 0,
     .max = 100, .doc = "the limit for very negative inputs is -alpha"},
    {0}};

#define ACTIVATION(NAME, DOC, ATTRS, FLAGS)                                                        \
    {                                                                                              \
        .kind = {NAME, DOC, ATTRS, sizeof(struct activation_attrs)}, .category = "activation",     \
        .flags = FLAGS, .min_inputs = 1, .max_inputs = 1, .input_doc = "src, any shape",           \
        .infer = activation_infer, .grad = activation_grad, .plan = activation_plan,               \
        .primitive = activation_primitive                                                          \
    }

const struct gr_op gr_op_relu = ACTIVATION("relu", "max(0, x)", NULL, GR_OP_RECTIFIER);
const struct gr_op gr_op_leaky_relu =
    ACTIVATION("leaky_relu", "x where positive, alpha x elsewhere", leaky_attrs, 0);
const struct gr_op gr_op_elu =
    ACTIVATION("elu", "x where positive, alpha (exp(x) - 1) elsewhere", elu_attrs, 0);
const struct gr_op gr_op_sigmoid = ACTIVATION("sigmoid", "1 / (1 + exp(-x))", NULL, 0);
const struct gr_op gr_op_tanh = ACTIVATION("tanh", "the hyperbolic tangent", NULL, 0);
const struct gr_op gr_op_gelu = ACTIVATION(
    "gelu", "x Phi(x), Phi the normal distribution function (Hendrycks and Gimpel, 2016)", NULL, 0);
const struct gr_op gr_op_silu = ACTIVATION("silu", "x sigmoid(x), also known as swish", NULL, 0);

static const struct activation rows[] = {
    {&gr_op_relu, relu, relu_slope, dnnl_eltwise_relu, dnnl_eltwise_relu_use_dst_for_bwd, true},
    {&gr_op_leaky_relu, leaky_relu, leaky_relu_slope, dnnl_eltwise_relu,
     dnnl_eltwise_relu_use_dst_for_bwd, true},
    {&gr_op_elu, elu, elu_slope, dnnl_eltwise_elu, dnnl_eltwise_elu_use_dst_for_bwd, true},
    {&gr_op_sigmoid, sigmoid, sigmoid_slope, dnnl_eltwise_logistic,
     dnnl_eltwise_logistic_use_dst_for_bwd, true},
    {&gr_op_tanh, hyperbolic, hyperbolic_slope, dnnl_eltwise_tanh,
     dnnl_eltwise_tanh_use_dst_for_bwd, true},
    {&gr_op_gelu, gelu, gelu_slope, dnnl_eltwise_gelu_erf, dnnl_eltwise_gelu_erf, false},
    {&gr_op_silu, silu, silu_slope, dnnl_eltwise_swish, dnnl_eltwise_swish, false},
};

static const struct activation *row_of(const struct gr_node *node)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].op == node->op)
            return &rows[i];
    return NULL;
}
