/*
 * softmax: y_c = exp(x_c - max x) / sum_d exp(x_d - max x) over axis 1, and its gradient
 * dx_c = y_c (dy_c - sum_d dy_d y_d), which needs the output alone.
 */
#include "ops.h"

#include <math.h>

#include "loops.h"
#include "onednn.h"

/* A tensor seen as [outer, C, inner], C the axis. */
struct view {
    int64_t outer, C, inner;
};

static struct view view_of(const struct gr_shape *shape)
{
    struct view view = {shape->dim[0], shape->dim[1], 1};
    for (int i = 2; i < shape->rank; i++)
        view.inner *= shape->dim[i];
    return view;
}

static void softmax_row(const float *x, float *y, int64_t C, int64_t stride)
{
    float max = x[0];
    for (int64_t c = 1; c < C; c++)
        max = x[c * stride] > max ? x[c * stride] : max;
    double sum = 0;
    for (int64_t c = 0; c < C; c++) {
        y[c * stride] = expf(x[c * stride] - max);
        sum += (double)y[c * stride];
    }
    const float scale = (float)(1 / sum);
    for (int64_t c = 0; c < C; c++)
        y[c * stride] *= scale;
}

static bool softmax_run(const struct gr_kernel *kernel, const struct gr_node *node,
                        const struct gr_buffers *buffers, const struct gr_run *run,
                        struct gr_error *err)
{
    (void)kernel, (void)run, (void)err;
    const struct view v = view_of(&node->inputs[0]->shape);
    const float *src = buffers->src[0]; /* [outer, C, inner] */
    float *dst = buffers->dst[0];       /* [outer, C, inner] */
#pragma omp parallel for collapse(2) schedule(static)
    for (int64_t o = 0; o < v.outer; o++)
        for (int64_t i = 0; i < v.inner; i++)
            softmax_row(src + o * v.C * v.inner + i, dst + o * v.C * v.inner + i, v.C, v.inner);
    return true;
}

static void gradient_row(const float *dy, const float *y, float *dx, int64_t C, int64_t stride)
{
    double dot = 0;
    for (int64_t c = 0; c < C; c++)
        dot += (double)dy[c * stride] * (double)y[c * stride];
    for (int64_t c = 0; c < C; c++)
        dx[c * stride] = y[c * stride] * (dy[c * stride] - (float)dot);
}

static bool gradient_run(const struct gr_kernel *kernel, const struct gr_node *node,
                         const struct gr_buffers *buffers, const struct gr_run *run,
                         struct gr_error *err)
{
    (void)kernel, (void)run, (void)err;
    const struct view v = view_of(&node->inputs[0]->shape);
    const float *dy = buffers->src[0]; /* [outer, C, inner] */
    const float *y = buffers->src[1];  /* [outer, C, inner] */
    float *dx = buffers->dst[0];       /* [outer, C, inner] */
#pragma omp parallel for collapse(2) schedule(static)
    for (int64_t o = 0; o < v.outer; o++)
        for (int64_t i = 0; i < v.inner; i++) {
            const int64_t at = o * v.C * v.inner + i;
            gradient_row(dy + at, y + at, dx + at, v.C, v.inner);
        }
    return true;
}

static bool softmax_plan(struct gr_planning *planning, struct gr_error *err)
{
    (void)err;
    gr_loops_plan_plain(planning, softmax_run);
    planning->kernel->in_place = 1;
    return true;
}

static bool gradient_plan(struct gr_planning *planning, struct gr_error *err)
{
    (void)err;
    gr_loops_plan_plain(planning, gradient_run);
    planning->kernel->in_place = 3;
    return true;
}

static dnnl_status_t softmax_pd(const struct gr_planning *planning, gr_md md,
                                dnnl_primitive_desc_t *pd)
{
    const struct gr_backend *backend = planning->backend;
    const bool backward = planning->node->forward != NULL;
    dnnl_primitive_desc_t forward = NULL;
    dnnl_status_t status =
        gr_onednn_softmax(backward ? &forward : pd, backend->engine, dnnl_forward_training,
                          dnnl_softmax_accurate, md, md, 1, backend->attr);
    if (backward && status == dnnl_success)
        status = gr_onednn_softmax_backward(pd, backend->engine, dnnl_softmax_accurate, md, md, md,
                                            1, forward, backend->attr);
    if (forward)
        dnnl_primitive_desc_destroy(forward);
    return status;
}

/* Plain, or where oneDNN has only its reference loops for that, blocked by channels. */
static bool softmax_primitive(struct gr_planning *planning, struct gr_error *err)
{
    const struct gr_value *value = planning->node->outputs[0];
    bool ok = true;
    for (int blocked = 0; ok && blocked < 2 && !planning->kernel->run; blocked++) {
        dnnl_primitive_desc_t pd = NULL;
        struct gr_desc desc = {0};
        ok = blocked ? gr_desc_blocked(&desc, value, GR_F32, err)
                     : gr_desc_of(&desc, value, GR_FORMAT_PLAIN, err);
        const dnnl_status_t status =
            ok ? softmax_pd(planning, gr_desc_get(&desc), &pd) : dnnl_out_of_memory;
        ok = ok && gr_onednn_alone(planning, status, pd, err);
        gr_desc_release(&desc);
    }
    return ok;
}

static const struct gr_op softmax_backward = {
    .kind = {.name = "softmax_backward", .doc = "the gradient of softmax"},
    .flags = GR_OP_INTERNAL,
    .min_inputs = 2,
    .max_inputs = 2,
    .plan = gradient_plan,
    .primitive = softmax_primitive,
};

static bool softmax_infer(struct gr_node *node, struct gr_error *err)
{
    const struct gr_value *src = node->inputs[0];
    char text[GR_SHAPE_TEXT];
    if (!gr_loops_expect_f32(node, 0, err))
        return false;
    if (src->shape.rank < 2)
        return gr_node_fail(node, err, "input '%s' is %s and has no axis 1", src->name,
                            gr_shape_text(&src->shape, text));
    return gr_node_output(node, NULL, GR_F32, &src->shape, err) != NULL;
}

static bool softmax_grad(struct gr_node *node, struct gr_grad *grad, struct gr_error *err)
{
    struct gr_value *inputs[] = {gr_grad_output(grad, 0), node->outputs[0]};
    return gr_grad_emit(grad, &softmax_backward, inputs, 2, (const int[]){0}, 1, err) != NULL;
}

const struct gr_op gr_op_softmax = {
    .kind = {.name = "softmax", .doc = "probabilities over axis 1: exp(x) / sum exp(x)"},
    .category = "activation",
    .min_inputs = 1,
    .max_inputs = 1,
    .input_doc = "src [N, C, ...]",
    .infer = softmax_infer,
    .grad = softmax_grad,
    .plan = softmax_plan,
    .primitive = softmax_primitive,
};
