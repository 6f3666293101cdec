/*
 * lrn: local response normalisation across channels (Krizhevsky, Sutskever, Hinton 2012, 3.3),
 *
 *     dst = src · s^-beta,   s = k + alpha / size · Σ src²   over `size` adjacent channels,
 *
 * the window clipped at the first and last channel. An own kernel, since oneDNN's leaves a
 * workspace of twice the tensor: the backward recomputes s from src, which is cheaper than to read
 * it back. The arithmetic is in rows.h's kernels; max pooling behind it joins it in lrn_pool.c.
 */
#include "lrn.h"

#include <inttypes.h>
#include <omp.h>
#include <stdlib.h>

#include "activation.h"
#include "loops.h"
#include "lrn_pool.h"
#include "onednn.h"
#include "ops.h"

static const struct gr_attr lrn_attrs[] = {
    {"size", GR_ATTR_INT, offsetof(struct gr_lrn_attrs, size), .def = 5, .min = 1, .max = 255,
     .doc = "channels in the window; odd"},
    {"alpha", GR_ATTR_FLOAT, offsetof(struct gr_lrn_attrs, alpha), .def = 1e-4, .min = 0,
     .max = 1e6, .doc = "scale of the sum of squares, divided by size"},
    {"beta", GR_ATTR_FLOAT, offsetof(struct gr_lrn_attrs, beta), .def = 0.75, .min = 0, .max = 100,
     .doc = "exponent"},
    {"k", GR_ATTR_FLOAT, offsetof(struct gr_lrn_attrs, k), .def = 1, .min = 1e-6, .max = 1e6,
     .doc = "constant added to the sum; 2 in the 2012 paper"},
    {0}};

static bool lrn_infer(struct gr_node *node, struct gr_error *err)
{
    const struct gr_lrn_attrs *a = node->attrs;
    const struct gr_shape *shape = &node->inputs[0]->shape;
    if (!gr_loops_expect_f32(node, 0, err))
        return false;
    if (shape->rank < 2)
        return gr_node_fail(node, err, "input '%s' has no channels", node->inputs[0]->name);
    if (a->size % 2 == 0)
        return gr_node_fail(node, err, "size %" PRId64 " is not odd", a->size);
    return gr_node_output(node, NULL, GR_F32, shape, err) != NULL;
}

static bool lrn_grad(struct gr_node *node, struct gr_grad *grad, struct gr_error *err)
{
    struct gr_value *inputs[] = {gr_grad_output(grad, 0), node->inputs[0]};
    return gr_grad_emit(grad, &gr_op_lrn_backward, inputs, 2, (const int[]){0}, 1, err) != NULL;
}

/* ---- kernels ----------------------------------------------------------------------------- */

struct gr_lrn_form gr_lrn_form_of(const struct gr_lrn_attrs *attrs, const struct gr_shape *shape,
                                  int64_t lanes)
{
    return (struct gr_lrn_form){.channels = (shape->dim[1] + lanes - 1) / lanes * lanes,
                                .lanes = lanes,
                                .radius = attrs->size / 2,
                                .scale = (float)(attrs->alpha / (double)attrs->size),
                                .beta = (float)attrs->beta,
                                .k = (float)attrs->k};
}

struct lrn_state {
    struct gr_lrn_form form;
    const struct gr_lrn_kernel *kernel;
    int64_t n, area; /* images, positions of an image */
    int threads;
    bool bf16, dy_bf16, relu;
};

/* `count` positions of one image from position p on, which may be of any image. */
static struct gr_lrn_columns columns_at(const struct lrn_state *s, const void *data, int64_t p,
                                        bool bf16)
{
    const int64_t image = p / s->area, at = p % s->area;
    const int64_t i = image * s->form.channels * s->area + at * s->form.lanes;
    void *start = (void *)((uintptr_t)data + (size_t)i * gr_element_size(bf16));
    return (struct gr_lrn_columns){start, s->area * s->form.lanes, bf16};
}

/* Positions first to last - 1, an image at a time. */
static void run_range(const struct lrn_state *s, const struct gr_node *node,
                      const struct gr_buffers *buffers, int64_t first, int64_t last, float *scratch)
{
    int64_t count;
    for (int64_t p = first; p < last; p += count) {
        const int64_t rest = s->area - p % s->area;
        count = rest < last - p ? rest : last - p;
        const struct gr_lrn_columns dst = columns_at(s, buffers->dst[0], p, s->bf16);
        if (!node->forward) {
            const struct gr_lrn_columns src = columns_at(s, buffers->src[0], p, s->bf16);
            s->kernel->forward(&s->form, &src, &dst, count, scratch);
            continue;
        }
        const struct gr_lrn_columns dy = columns_at(s, buffers->src[0], p, s->dy_bf16);
        const struct gr_lrn_columns src = columns_at(s, buffers->src[1], p, s->bf16);
        s->kernel->backward(&s->form, &dy, &src, &dst, count, s->relu, scratch);
    }
}

/* Each thread takes a range of positions and its own part of the scratch. */
static bool lrn_run(const struct gr_kernel *kernel, const struct gr_node *node,
                    const struct gr_buffers *buffers, const struct gr_run *run,
                    struct gr_error *err)
{
    (void)run, (void)err;
    const struct lrn_state *s = kernel->state;
    const int64_t positions = s->n * s->area, floats = gr_lrn_scratch(&s->form);
#pragma omp parallel num_threads(s->threads)
    {
        const int64_t t = omp_get_thread_num(), threads = omp_get_num_threads();
        float *scratch = (float *)buffers->scratch + t * floats;
        memset(scratch, 0, (size_t)floats * sizeof *scratch);
        run_range(s, node, buffers, positions * t / threads, positions * (t + 1) / threads,
                  scratch);
    }
    return true;
}

/*
 * src is read, and the output laid, as src lies if the kernels know that; the backward's dy may be
 * of the other type.
 */
static bool plan(struct gr_planning *planning, int data_input, struct gr_error *err)
{
    const struct gr_node *node = planning->node;
    const struct gr_lrn_attrs *a = node->attrs;
    const struct gr_shape *shape = &node->outputs[0]->shape;
    const struct gr_layout *layout = planning->src[data_input];
    if (!gr_loops_lanes(layout).count && shape->rank != 4)
        layout = &gr_layout_plain;
    const struct gr_lanes lanes = gr_loops_wanted_lanes(planning, layout);
    if ((lanes.bf16 || !gr_loops_lanes(layout).count) &&
        !(layout = gr_onednn_lanes(planning->backend, node->inputs[data_input], shape,
                                   lanes.bf16 ? GR_BF16 : GR_F32, lanes.count, err)))
        return false;
    struct lrn_state *s = calloc(1, sizeof *s);
    if (!s)
        return gr_fail_memory(err, "a kernel");
    if (gr_loops_lanes(planning->src[0]).count != lanes.count)
        planning->src[0] = layout;
    planning->src[data_input] = planning->dst[0] = layout;
    *s = (struct lrn_state){.form = gr_lrn_form_of(a, shape, lanes.count),
                            .n = shape->dim[0],
                            .area = gr_shape_count(shape) / shape->dim[0] / shape->dim[1],
                            .threads = planning->backend->threads,
                            .bf16 = lanes.bf16,
                            .dy_bf16 = gr_loops_lanes(planning->src[0]).bf16,
                            .relu = a->relu};
    s->kernel = gr_lrn_kernel(&s->form, lanes.bf16);
    *planning->kernel = (struct gr_kernel){
        .impl = s->kernel->impl,
        .scratch_bytes = (size_t)(s->threads * gr_lrn_scratch(&s->form)) * sizeof(float),
        .in_place = (1u << node->n_inputs) - 1,
        .state = s,
        .run = lrn_run,
        .free_state = free};
    return true;
}

static bool lrn_plan(struct gr_planning *planning, struct gr_error *err)
{
    return plan(planning, 0, err);
}

static bool backward_plan(struct gr_planning *planning, struct gr_error *err)
{
    return plan(planning, 1, err);
}

/* The backward of a ReLU before it: its output is src, which is read anyway. */
static bool backward_fuse(struct gr_node *node, const struct gr_node *consumer)
{
    const struct gr_lrn_attrs *a = node->attrs;
    struct gr_lrn_attrs *fused = gr_pool_alloc(&node->graph->pool, sizeof *fused);
    if (!fused || a->relu || !gr_activation_is_relu_backward(consumer, node, node->inputs[1]))
        return false;
    *fused = *a;
    fused->relu = true;
    node->attrs = fused;
    return true;
}

const struct gr_op gr_op_lrn = {
    .kind = {"lrn", "local response normalisation across channels", lrn_attrs,
             sizeof(struct gr_lrn_attrs)},
    .category = "normalisation",
    .min_inputs = 1,
    .max_inputs = 1,
    .input_doc = "src [N, C, ...]",
    .infer = lrn_infer,
    .grad = lrn_grad,
    .fuse = gr_lrn_pool_fuse,
    .plan = lrn_plan,
};

const struct gr_op gr_op_lrn_backward = {
    .kind = {.name = "lrn_backward", .doc = "the gradient of lrn's input"},
    .flags = GR_OP_INTERNAL,
    .fuse = backward_fuse,
    .plan = backward_plan,
};
