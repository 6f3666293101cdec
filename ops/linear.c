/*
 * linear: the fully connected layer, dst = src · weightᵀ + bias. Dimensions of the input behind the
 * first are flattened.
 */
#include <cblas.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "activation.h"
#include "fold_norm.h"
#include "gemv.h"
#include "loops.h"
#include "ops.h"

struct linear_attrs {
    int64_t out_features;
    bool bias;
    struct gr_activation activation; /* fused behind it; not an attribute of the model file */
};

static const struct gr_attr linear_attrs[] = {
    {"out_features", GR_ATTR_INT, offsetof(struct linear_attrs, out_features), .required = true,
     .min = 1, .max = 1 << 28, .doc = "number of outputs"},
    {"bias", GR_ATTR_BOOL, offsetof(struct linear_attrs, bias), .def = 1,
     .doc = "add a bias to each output"},
    {0}};

/* src [N, C] (flattened), weight [O, C], dst [N, O]. */
struct sizes {
    int64_t n, c, o;
};

static struct sizes sizes_of(const struct gr_node *node)
{
    if (node->forward)
        node = node->forward;
    const struct gr_shape *src = &node->inputs[0]->shape;
    return (struct sizes){src->dim[0], gr_shape_count(src) / src->dim[0],
                          ((const struct linear_attrs *)node->attrs)->out_features};
}

static bool linear_infer(struct gr_node *node, struct gr_error *err)
{
    const struct linear_attrs *a = node->attrs;
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
    const struct sizes s = sizes_of(node);
    *shape = (struct gr_shape){2, {s.o, s.c}};
    return true;
}

static bool bias_shape(const struct gr_node *node, struct gr_shape *shape)
{
    const struct linear_attrs *a = node->attrs;
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
    const struct linear_attrs *a = node->attrs;
    const struct gr_activation activation = gr_activation_of(consumer);
    struct linear_attrs *fused = gr_pool_alloc(&node->graph->pool, sizeof *fused);
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
    const struct sizes s = sizes_of(node);
    return (double)s.n * (double)s.c * (double)s.o;
}

/* ---- oneDNN ------------------------------------------------------------------------------ */

struct linear_descs {
    struct gr_desc src, weights, bias, dst;
};

static bool init_descs(struct linear_descs *d, const struct gr_node *node, struct gr_error *err)
{
    const struct sizes s = sizes_of(node);
    const struct gr_node *forward = node->forward ? node->forward : node;
    /* A flattened input is read as it lies in plain memory. */
    const enum gr_format src = forward->inputs[0]->shape.rank > 2 ? GR_FORMAT_PLAIN : GR_FORMAT_ANY;
    *d = (struct linear_descs){0};
    return gr_desc_init(&d->src, 2, (int64_t[]){s.n, s.c}, GR_F32, src, err) &&
           gr_desc_init(&d->weights, 2, (int64_t[]){s.o, s.c}, GR_F32, GR_FORMAT_ANY, err) &&
           gr_desc_init(&d->dst, 2, (int64_t[]){s.n, s.o}, GR_F32, GR_FORMAT_ANY, err) &&
           (forward->n_inputs < 3 || gr_desc_init(&d->bias, 1, &s.o, GR_F32, GR_FORMAT_PLAIN, err));
}

static void release_descs(struct linear_descs *d)
{
    gr_desc_release(&d->src);
    gr_desc_release(&d->weights);
    gr_desc_release(&d->bias);
    gr_desc_release(&d->dst);
}

static dnnl_status_t forward_pd(dnnl_primitive_desc_t *pd, struct gr_backend *backend,
                                const struct linear_descs *d, const_dnnl_primitive_attr_t attr)
{
    return gr_onednn_linear(pd, backend->engine, dnnl_forward_training, gr_desc_get(&d->src),
                            gr_desc_get(&d->weights), gr_desc_get(&d->bias), gr_desc_get(&d->dst),
                            attr);
}

static bool onednn_forward(struct gr_planning *planning, struct gr_error *err)
{
    const struct linear_attrs *a = planning->node->attrs;
    static const struct gr_onednn_arg args[] = {
        {DNNL_ARG_SRC, 0}, {DNNL_ARG_WEIGHTS, 1}, {DNNL_ARG_DST, GR_DST(0)}, {DNNL_ARG_BIAS, 2}};
    dnnl_primitive_attr_t fused = NULL;
    dnnl_primitive_desc_t pd = NULL;
    struct linear_descs d;
    bool ok = init_descs(&d, planning->node, err);
    if (ok && a->activation.function) {
        fused = gr_onednn_fused_attr(NULL, &a->activation.algorithm, a->activation.alpha);
        ok = fused || gr_fail_memory(err, "the attributes of a linear layer");
    }
    ok = ok &&
         gr_onednn_ok(
             forward_pd(&pd, planning->backend, &d, fused ? fused : planning->backend->attr),
             planning->node, err) &&
         gr_onednn_kernel(planning, pd, args, a->bias ? 4 : 3, err);
    if (fused)
        dnnl_primitive_attr_destroy(fused);
    release_descs(&d);
    return ok;
}

/* Both backward kernels: the descriptor differs, the arguments too. */
static bool onednn_backward(struct gr_planning *planning, bool data, struct gr_error *err)
{
    struct gr_backend *backend = planning->backend;
    static const struct gr_onednn_arg data_args[] = {
        {DNNL_ARG_DIFF_DST, 0}, {DNNL_ARG_WEIGHTS, 1}, {DNNL_ARG_DIFF_SRC, GR_DST(0)}};
    static const struct gr_onednn_arg weights_args[] = {{DNNL_ARG_DIFF_DST, 0},
                                                        {DNNL_ARG_SRC, 1},
                                                        {DNNL_ARG_DIFF_WEIGHTS, GR_DST(0)},
                                                        {DNNL_ARG_DIFF_BIAS, GR_DST(1)}};
    dnnl_primitive_desc_t hint = NULL, pd = NULL;
    struct linear_descs d;
    bool ok = init_descs(&d, planning->node, err) &&
              gr_onednn_ok(forward_pd(&hint, backend, &d, backend->attr), planning->node, err);
    if (ok) {
        const dnnl_status_t status =
            data ? gr_onednn_linear_data(&pd, backend->engine, gr_desc_get(&d.src),
                                         gr_desc_get(&d.weights), gr_desc_get(&d.dst), hint,
                                         backend->attr)
                 : gr_onednn_linear_weights(&pd, backend->engine, gr_desc_get(&d.src),
                                            gr_desc_get(&d.weights), gr_desc_get(&d.bias),
                                            gr_desc_get(&d.dst), hint, backend->attr);
        ok = gr_onednn_ok(status, planning->node, err) &&
             gr_onednn_kernel(planning, pd, data ? data_args : weights_args,
                              planning->node->n_outputs > 1 ? 4 : 3, err);
    }
    if (hint)
        dnnl_primitive_desc_destroy(hint);
    release_descs(&d);
    return ok;
}

/* ---- OpenBLAS ---------------------------------------------------------------------------- */

static bool forward_run(const struct gr_kernel *kernel, const struct gr_node *node,
                        const struct gr_buffers *buffers, const struct gr_run *run,
                        struct gr_error *err)
{
    (void)kernel, (void)run, (void)err;
    const struct linear_attrs *a = node->attrs;
    const struct sizes s = sizes_of(node);
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
    const struct sizes s = sizes_of(node);
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
    const struct sizes s = sizes_of(node);
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
    const struct linear_attrs *a = node->attrs;
    const struct sizes s = sizes_of(node);
    gr_gemv(buffers->src[1], buffers->src[0], a->bias ? buffers->src[2] : NULL, buffers->dst[0],
            s.o, s.c);
    gr_activation_apply(&a->activation, buffers->dst[0], s.o);
    return true;
}

/* Where the weights are plain, or lie no way yet: another layout would have to be undone. */
static bool suits_gemv(const struct gr_planning *planning)
{
    return sizes_of(planning->node).n == 1 && !planning->node->graph->training &&
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
                                    : onednn_forward(planning, err);
}

static bool data_plan(struct gr_planning *planning, struct gr_error *err)
{
    return wants_openblas(planning) ? openblas(planning, data_run)
                                    : onednn_backward(planning, true, err);
}

static bool weights_plan(struct gr_planning *planning, struct gr_error *err)
{
    return wants_openblas(planning) ? openblas(planning, weights_run)
                                    : onednn_backward(planning, false, err);
}

const struct gr_op gr_op_linear = {
    .kind = {"linear", "fully connected layer: src weight^T + bias", linear_attrs,
             sizeof(struct linear_attrs)},
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
    .plan = weights_plan,
    .macs = linear_macs,
};
