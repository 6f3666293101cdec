/*
 * batch_norm planned and run; see batch_norm.h. Tensors are read as they lie in blocks of channels
 * or plain, each in f32 or bf16; what is computed lies like the source, in bf16 where the network
 * computes in it.
 */
#include "batch_norm.h"

#include <stdlib.h>

#include "batch_norm_loops.h"
#include "loops.h"
#include "onednn.h"

struct state {
    struct gr_norm_form form;
    const struct gr_norm_kernel *kernel;
    int threads;
    bool src, other, dst; /* which are bf16; other: addend or dy */
};

static const struct gr_batch_norm_attrs *attrs_of(const struct gr_node *node)
{
    return node->attrs;
}

static struct gr_norm_work work_of(const struct state *s, const struct gr_buffers *buffers)
{
    return (struct gr_norm_work){s->kernel, s->threads, buffers->scratch};
}

static bool forward_run(const struct gr_kernel *kernel, const struct gr_node *node,
                        const struct gr_buffers *buffers, const struct gr_run *run,
                        struct gr_error *err)
{
    (void)run, (void)err;
    const struct state *s = kernel->state;
    const struct gr_batch_norm_attrs *a = attrs_of(node);
    const struct gr_norm_work work = work_of(s, buffers);
    const int at = a->affine ? 3 : 1; /* of running_mean among the inputs */
    const bool batch = gr_batch_norm_by_batch(node), put = node->n_outputs > 1;
    const struct gr_norm_forward f = {.x = {buffers->src[0], s->src}, /* [N, blocks, HW, lanes] */
                                      .addend = {a->add ? buffers->src[at + 2] : NULL, s->other},
                                      .y = {buffers->dst[0], s->dst},
                                      .weight = a->affine ? buffers->src[1] : NULL, /* [C] */
                                      .bias = a->affine ? buffers->src[2] : NULL,
                                      .eps = a->eps,
                                      .relu = a->relu,
                                      .batch = batch,
                                      .mean = !batch ? buffers->src[at]
                                              : put  ? buffers->dst[1]
                                                     : NULL,
                                      .variance = !batch ? buffers->src[at + 1]
                                                  : put  ? buffers->dst[2]
                                                         : NULL};
    gr_norm_forward(&s->form, &work, &f);
    return true;
}

/* The gradient of weight or bias, if it is wanted. */
static float *wanted(const struct gr_node *node, const struct gr_buffers *buffers, int output)
{
    return output < node->n_outputs && node->outputs[output]->kind != GR_VALUE_WORKSPACE
               ? buffers->dst[output]
               : NULL;
}

static bool backward_run(const struct gr_kernel *kernel, const struct gr_node *node,
                         const struct gr_buffers *buffers, const struct gr_run *run,
                         struct gr_error *err)
{
    (void)run, (void)err;
    const struct state *s = kernel->state;
    const struct gr_batch_norm_attrs *a = attrs_of(node);
    const struct gr_norm_work work = work_of(s, buffers);
    const struct gr_norm_backward b = {
        .dy = {buffers->src[0], s->other}, /* [N, blocks, HW, lanes] */
        .x = {buffers->src[1], s->src},
        .dx = {wanted(node, buffers, 0), s->dst},
        .mean = buffers->src[2], /* [C] */
        .variance = buffers->src[3],
        .weight = a->affine ? buffers->src[4] : NULL,
        .bias = a->affine && a->relu ? buffers->src[5] : NULL,
        .eps = a->eps,
        .relu = a->relu,
        .batch = gr_batch_norm_by_batch(node),
        .dweight = wanted(node, buffers, 1),
        .dbias = wanted(node, buffers, 2)};
    gr_norm_backward(&s->form, &work, &b);
    return true;
}

/* ---- planning ---------------------------------------------------------------------------- */

/* In these lanes; tensors of other than four dimensions are plain. */
static const struct gr_layout *lay(struct gr_planning *planning, const struct gr_value *value,
                                   struct gr_lanes lanes, struct gr_error *err)
{
    return value->shape.rank != 4
               ? &gr_layout_plain
               : gr_onednn_lanes(planning->backend, value, &value->shape,
                                 lanes.bf16 ? GR_BF16 : GR_F32, lanes.count, err);
}

/* Reads an input as it lies, if that is in these lanes. Says whether it is bf16. False: failed. */
static bool read_in(struct gr_planning *planning, int input, const struct gr_layout *layout,
                    struct gr_lanes lanes, bool *bf16, struct gr_error *err)
{
    planning->src[input] = gr_loops_lanes(layout).count == lanes.count
                               ? layout
                               : lay(planning, planning->node->inputs[input], lanes, err);
    *bf16 = gr_loops_lanes(planning->src[input]).bf16;
    return planning->src[input] != NULL;
}

/* other: the input that is read beside src, or -1. */
static bool plan(struct gr_planning *planning, int src, int other, gr_kernel_run_fn *run,
                 struct gr_error *err)
{
    const struct gr_value *value = planning->node->inputs[src];
    const struct gr_layout *as_laid = planning->src[src];
    const struct gr_layout *other_laid = other < 0 ? NULL : planning->src[other];
    struct gr_value *dst = planning->node->outputs[0];
    struct state *s = calloc(1, sizeof *s);
    if (!s)
        return gr_fail_memory(err, "a batch_norm kernel");
    if (!as_laid || value->shape.rank != 4)
        as_laid = &gr_layout_plain;
    const struct gr_lanes lanes = gr_loops_wanted_lanes(planning, as_laid);
    gr_loops_plan_plain(planning, run);
    planning->kernel->state = s;
    planning->kernel->free_state = free;
    if (!read_in(planning, src, as_laid, lanes, &s->src, err) ||
        (other >= 0 && !read_in(planning, other, other_laid, lanes, &s->other, err)))
        return false;
    if (dst->kind != GR_VALUE_WORKSPACE) {
        planning->kernel->in_place = 1u << src | (other >= 0 ? 1u << other : 0);
        planning->dst[0] = lay(planning, dst, lanes, err);
    }
    s->dst = gr_loops_lanes(planning->dst[0]).bf16;
    s->form = gr_norm_form_of(&value->shape, lanes.count);
    s->kernel =
        gr_norm_kernel(gr_onednn_widest_lanes(planning->backend), s->src || s->other || s->dst);
    s->threads = planning->backend->threads;
    planning->kernel->impl = s->kernel->impl;
    planning->kernel->scratch_bytes = (size_t)gr_norm_scratch(&s->form) * sizeof(float);
    return planning->dst[0] != NULL;
}

bool gr_batch_norm_plan(struct gr_planning *planning, struct gr_error *err)
{
    const struct gr_batch_norm_attrs *a = attrs_of(planning->node);
    return plan(planning, 0, a->add ? planning->node->n_inputs - 1 : -1, forward_run, err);
}

bool gr_batch_norm_backward_plan(struct gr_planning *planning, struct gr_error *err)
{
    return plan(planning, 1, 0, backward_run, err);
}
