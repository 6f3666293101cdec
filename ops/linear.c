/*
 * linear: the fully connected layer, dst = src · weightᵀ + bias. Dimensions of the input behind the
 * first are flattened.
 */
#include <cblas.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "fold_norm.h"
#include "gemv.h"
#include "linear.h"
#include "loops.h"
#include "ops.h"

static const struct gr_attr linear_attrs[] = {
    {"out_features", GR_ATTR_INT, offsetof(struct gr_linear_attrs, out_features), .required = true,
     .min = 1, .max = 1 << 28, .doc = "number of outputs"},
    {"bias", GR_ATTR_BOOL, offsetof(struct gr_linear_attrs, bias), .def = 1,
     .doc = "add a bias to each output"},
    {0}};

struct gr_linear_sizes gr_linear_sizes(const struct gr_node *node)
{
    if (node->forward)
        node = node->forward;
    const struct gr_shape *src = &node->inputs[0]->shape;
    return (struct gr_linear_sizes){src->dim[0], gr_shape_count(src) / src->dim[0],
                                    ((const struct gr_linear_attrs *)node->attrs)->out_features};
}

static bool linear_infer(struct gr_node *node, struct gr_error *err)
{
    const struct gr_linear_attrs *a = node->attrs;
    const struct gr_value *src = node->inputs[0];
    if (!gr_loops_expect_f32(node, 0, err))
        return false;
    if (src->shape.rank < 2)
        return gr_node_fail(node, err, "input '%s' has no features", src->name);
    const struct gr_shape dst = {2, {src->shape.dim[0], a->out_features}};
    return gr_node_output(node, NULL, GR_F32, &dst, err) != NULL;
}

static bool weight_shape(const struct gr_node *node, struct gr_shape *shape)
{
    const struct gr_linear_sizes s = gr_linear_sizes(node);
    *shape = (struct gr_shape){2, {s.o, s.c}};
    return true;
}

static bool bias_shape(const struct gr_node *node, struct gr_shape *shape)
{
    const struct gr_linear_attrs *a = node->attrs;
    *shape = (struct gr_shape){1, {a->out_features}};
    return a->bias;
}

static const struct gr_param_rule linear_params[] = {{.name = "weight",
                                                      .doc = "[out_features, C]",
                                                      .shape = weight_shape,
                                                      .init = "xavier",
                                                      .decay_mult = 1},
                                                     {.name = "bias",
                                                      .doc = "[out_features]",
                                                      .shape = bias_shape,
                                                      .init = "constant",
                                                      .decay_mult = 1},
                                                     {0}};

static const struct gr_op linear_data, linear_weights;

static bool linear_grad(struct gr_node *node, struct gr_grad *grad, struct gr_error *err)
{
    struct gr_value *dy = gr_grad_output(grad, 0);
    const bool bias = node->n_inputs > 2;
    if (gr_grad_wanted(grad, 0) &&
        !gr_grad_emit(grad, &linear_data, (struct gr_value *[]){dy, node->inputs[1]}, 2,
                      (const int[]){0}, 1, err))
        return false;
    if (!gr_grad_wanted(grad, 1) && !(bias && gr_grad_wanted(grad, 2)))
        return true;
    return gr_grad_emit(grad, &linear_weights, (struct gr_value *[]){dy, node->inputs[0]}, 2,
                        (const int[]){1, 2}, bias ? 2 : 1, err);
}

static bool linear_fuse(struct gr_node *node, const struct gr_node *consumer)
{
    const struct gr_linear_attrs *a = node->attrs;
    const struct gr_activation activation = gr_activation_of(consumer);
    struct gr_linear_attrs *fused = gr_pool_alloc(&node->graph->pool, sizeof *fused);
    if (!fused || a->activation.function)
        return false;
    *fused = *a;
    if (activation.function)
        fused->activation = activation;
    else if (gr_fold_norm(node, consumer, a->bias))
        fused->bias = true;
    else
        return false;
    node->attrs = fused;
    return true;
}

static double linear_macs(const struct gr_node *node)
{
    const struct gr_linear_sizes s = gr_linear_sizes(node);
    return (double)s.n * (double)s.c * (double)s.o;
}

/* ---- OpenBLAS ---------------------------------------------------------------------------- */

static bool forward_run(const struct gr_kernel *kernel, const struct gr_node *node,
                        const struct gr_buffers *buffers, const struct gr_run *run,
                        struct gr_error *err)
{
    (void)kernel, (void)run, (void)err;
    const struct gr_linear_attrs *a = node->attrs;
    const struct gr_linear_sizes s = gr_linear_sizes(node);
    const float *bias = a->bias ? buffers->src[2] : NULL;
    float *dst = buffers->dst[0];
    for (int64_t n = 0; n < s.n; n++)
        for (int64_t o = 0; o < s.o; o++)
            dst[n * s.o + o] = bias ? bias[o] : 0;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)s.n, (blasint)s.o, (blasint)s.c,
                1, buffers->src[0], (blasint)s.c, buffers->src[1], (blasint)s.c, 1, dst,
                (blasint)s.o);
    gr_activation_apply(&a->activation, dst, s.n * s.o);
    return true;
}

static bool data_run(const struct gr_kernel *kernel, const struct gr_node *node,
                     const struct gr_buffers *buffers, const struct gr_run *run,
                     struct gr_error *err)
{
    (void)kernel, (void)run, (void)err;
    const struct gr_linear_sizes s = gr_linear_sizes(node);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)s.n, (blasint)s.c, (blasint)s.o,
                1, buffers->src[0], (blasint)s.o, buffers->src[1], (blasint)s.c, 0, buffers->dst[0],
                (blasint)s.c);
    return true;
}

static bool weights_run(const struct gr_kernel *kernel, const struct gr_node *node,
                        const struct gr_buffers *buffers, const struct gr_run *run,
                        struct gr_error *err)
{
    (void)kernel, (void)run, (void)err;
    const struct gr_linear_sizes s = gr_linear_sizes(node);
    const float *dy = buffers->src[0]; /* [N, O] */
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (blasint)s.o, (blasint)s.c, (blasint)s.n,
                1, dy, (blasint)s.o, buffers->src[1], (blasint)s.c, 0, buffers->dst[0],
                (blasint)s.c);
    for (int64_t o = 0; node->n_outputs > 1 && o < s.o; o++) {
        double sum = 0;
        for (int64_t n = 0; n < s.n; n++)
            sum += dy[n * s.o + o];
        ((float *)buffers->dst[1])[o] = (float)sum;
    }
    return true;
}

static bool openblas(struct gr_planning *planning, gr_kernel_run_fn *run)
{
    gr_loops_plan_plain(planning, run);
    planning->kernel->impl = "openblas:gemm";
    return true;
}

/* ---- choosing ---------------------------------------------------------------------------- */

static bool wants_openblas(const struct gr_planning *planning)
{
    return planning->backend->kernels == GR_KERNELS_OPENBLAS;
}

/* ---- a single image ---------------------------------------------------------------------- */

static bool gemv_run(const struct gr_kernel *kernel, const struct gr_node *node,
                     const struct gr_buffers *buffers, const struct gr_run *run,
                     struct gr_error *err)
{
    (void)kernel, (void)run, (void)err;
    const struct gr_linear_attrs *a = node->attrs;
    const struct gr_linear_sizes s = gr_linear_sizes(node);
    gr_gemv(buffers->src[1], buffers->src[0], a->bias ? buffers->src[2] : NULL, buffers->dst[0],
            s.o, s.c);
    gr_activation_apply(&a->activation, buffers->dst[0], s.o);
    return true;
}

/* Where the weights are plain, or lie no way yet: another layout would have to be undone. */
static bool suits_gemv(const struct gr_planning *planning)
{
    return planning->precision == GR_PRECISION_F32 && gr_linear_sizes(planning->node).n == 1 &&
           !planning->node->graph->training &&
           (!planning->src[1] || planning->src[1] == &gr_layout_plain);
}

static bool plan_gemv(struct gr_planning *planning)
{
    gr_loops_plan_plain(planning, gemv_run);
    planning->kernel->impl = "gemv";
    return true;
}

/* ---- the op ------------------------------------------------------------------------------ */

static bool linear_plan(struct gr_planning *planning, struct gr_error *err)
{
    if (!wants_openblas(planning) && suits_gemv(planning))
        return plan_gemv(planning);
    return wants_openblas(planning) ? openblas(planning, forward_run)
                                    : gr_linear_onednn_forward(planning, err);
}

static bool data_plan(struct gr_planning *planning, struct gr_error *err)
{
    return wants_openblas(planning) ? openblas(planning, data_run)
                                    : gr_linear_onednn_data(planning, err);
}

static bool weights_plan(struct gr_planning *planning, struct gr_error *err)
{
    return wants_openblas(planning) ? openblas(planning, weights_run)
                                    : gr_linear_onednn_weights(planning, err);
}

const struct gr_op gr_op_linear = {
    .kind = {"linear", "fully connected layer: src weight^T + bias", linear_attrs,
             sizeof(struct gr_linear_attrs)},
    .category = "linear",
    .min_inputs = 1,
    .max_inputs = 1,
    .input_doc = "src [N, ...], flattened to [N, C]",
    .params = linear_params,
    .infer = linear_infer,
    .grad = linear_grad,
    .fuse = linear_fuse,
    .plan = linear_plan,
    .macs = linear_macs,
};

static const struct gr_op linear_data = {
    .kind = {.name = "linear_backward_data", .doc = "the gradient of a linear layer's input"},
    .flags = GR_OP_INTERNAL,
    .plan = data_plan,
    .macs = linear_macs,
};

static const struct gr_op linear_weights = {
    .kind = {.name = "linear_backward_weights",
             .doc = "the gradient of a linear layer's parameters"},
    .flags = GR_OP_INTERNAL,
    .fuse_update = gr_linear_take_update,
    .plan = weights_plan,
    .macs = linear_macs,
};
