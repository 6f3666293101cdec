/*
 * Max pooling by the row kernels of rows.h, and its backward, on f32 or bf16 as it lies.
 *
 * The backward goes by rows of the source: it adds up, in a buffer that stays in the cache, what
 * the rows of windows that cover it give, and stores each row of dx once. So dx is neither cleared
 * first nor read back, and the sums have one order whatever the number of threads.
 */
#include <omp.h>
#include <stdlib.h>

#include "loops.h"
#include "onednn.h"
#include "ops.h"
#include "pool.h"

struct state {
    struct gr_pool_form form;
    const struct gr_pool_kernel *kernel;
    int64_t planes; /* N · C / lanes */
    int threads;
    bool bf16, relu;
};

struct gr_pool_form gr_pool_form_of(const struct gr_pool_attrs *attrs, const struct gr_shape *src,
                                    const struct gr_shape *dst, int64_t lanes)
{
    struct gr_pool_form form = {
        .lanes = lanes, .h = src->dim[2], .w = src->dim[3], .oh = dst->dim[2], .ow = dst->dim[3]};
    for (int d = 0; d < 2; d++) {
        form.kernel[d] = attrs->kernel[d];
        form.stride[d] = attrs->stride[d] ? attrs->stride[d] : attrs->kernel[d];
        form.pad[d] = attrs->pad[d];
    }
    return form;
}

bool gr_pool_by_rows(const struct gr_pool_attrs *attrs)
{
    return attrs->kernel[0] <= GR_POOL_MOST && attrs->kernel[1] <= GR_POOL_MOST &&
           attrs->kernel[0] * attrs->kernel[1] <= GR_POOL_MOST;
}

static void max_row(const struct state *s, const void *src, int64_t plane, int64_t oh, void *dst,
                    uint8_t *where)
{
    const struct gr_pool_form *f = &s->form;
    const int64_t width = f->w * f->lanes, out = (plane * f->oh + oh) * f->ow * f->lanes;
    const void *rows[GR_POOL_MOST];
    int64_t from, to;
    gr_pool_covered(f, oh, &from, &to);
    for (int64_t h = from; h < to; h++)
        rows[h - from] = gr_element_const(src, (plane * f->h + h) * width, s->bf16);
    s->kernel->max(f, rows, from - (oh * f->stride[0] - f->pad[0]), to - from,
                   gr_element(dst, out, s->bf16), where ? where + out : NULL, s->bf16);
}

static bool forward_run(const struct gr_kernel *kernel, const struct gr_node *node,
                        const struct gr_buffers *buffers, const struct gr_run *run,
                        struct gr_error *err)
{
    (void)run, (void)err;
    const struct state *s = kernel->state;
    uint8_t *where = node->n_outputs > 1 ? buffers->dst[1] : NULL;
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < s->planes * s->form.oh; r++)
        max_row(s, buffers->src[0], r / s->form.oh, r % s->form.oh, buffers->dst[0], where);
    return true;
}

static void backward_row(const struct state *s, const struct gr_buffers *buffers, int64_t plane,
                         int64_t h, float *row)
{
    const struct gr_pool_form *f = &s->form;
    void *dx = gr_element(buffers->dst[0], (plane * f->h + h) * f->w * f->lanes, s->bf16);
    const bool direct = !s->bf16 && f->pad[1] == 0 && gr_pool_row_floats(f) == f->w * f->lanes;
    gr_pool_backward_row(s->kernel, f, buffers->src[0], buffers->src[1],
                         s->relu ? buffers->src[2] : NULL, plane, h, direct ? dx : row, s->bf16);
    if (!direct)
        s->kernel->store(row + f->pad[1] * f->lanes, dx, f->w * f->lanes, s->bf16);
}

static bool backward_run(const struct gr_kernel *kernel, const struct gr_node *node,
                         const struct gr_buffers *buffers, const struct gr_run *run,
                         struct gr_error *err)
{
    (void)node, (void)run, (void)err;
    const struct state *s = kernel->state;
    const int64_t floats = gr_pool_row_floats(&s->form);
#pragma omp parallel for schedule(static) num_threads(s->threads)
    for (int64_t r = 0; r < s->planes * s->form.h; r++)
        backward_row(s, buffers, r / s->form.h, r % s->form.h,
                     (float *)buffers->scratch + omp_get_thread_num() * floats);
    return true;
}

static struct state *fill(struct gr_planning *planning, const struct gr_shape *src,
                          const struct gr_shape *dst, struct gr_lanes lanes, struct gr_error *err)
{
    const struct gr_pool_attrs *attrs = planning->node->attrs;
    struct state *s = calloc(1, sizeof *s);
    if (!s) {
        gr_fail_memory(err, "a kernel");
        return NULL;
    }
    *s = (struct state){.form = gr_pool_form_of(attrs, src, dst, lanes.count),
                        .kernel = gr_pool_kernel(lanes.count, lanes.bf16),
                        .planes = src->dim[0] * ((src->dim[1] + lanes.count - 1) / lanes.count),
                        .threads = planning->backend->threads,
                        .bf16 = lanes.bf16,
                        .relu = attrs->relu};
    s->form.fetch = true;
    planning->kernel->impl = s->kernel->impl;
    planning->kernel->state = s;
    planning->kernel->free_state = free;
    return s;
}

/* The layout of a tensor that is to lie in so many lanes. */
static const struct gr_layout *lay(struct gr_planning *planning, const struct gr_value *value,
                                   const struct gr_shape *shape, struct gr_lanes lanes,
                                   struct gr_error *err)
{
    return gr_onednn_lanes(planning->backend, value, shape, lanes.bf16 ? GR_BF16 : GR_F32,
                           lanes.count, err);
}

bool gr_pool_max_plan(struct gr_planning *planning, struct gr_error *err)
{
    const struct gr_node *node = planning->node;
    const struct gr_shape *src = &node->inputs[0]->shape, *dst = &node->outputs[0]->shape;
    struct gr_lanes lanes = gr_loops_wanted_lanes(planning, planning->src[0]);
    /* Plain memory is worth a reorder: its rows are of single elements. */
    if (lanes.count <= 1)
        lanes = (struct gr_lanes){gr_onednn_widest_lanes(planning->backend),
                                  gr_planning_dtype(planning) == GR_BF16};
    struct state *s = fill(planning, src, dst, lanes, err);
    if (!s)
        return false;
    planning->kernel->run = forward_run;
    return (planning->src[0] = lay(planning, node->inputs[0], src, lanes, err)) &&
           (planning->dst[0] = lay(planning, node->outputs[0], dst, lanes, err)) &&
           (node->n_outputs < 2 ||
            (planning->dst[1] = gr_onednn_lanes(planning->backend, node->outputs[1], dst, GR_U8,
                                                lanes.count, err)));
}

bool gr_pool_max_backward_plan(struct gr_planning *planning, struct gr_error *err)
{
    const struct gr_node *node = planning->node;
    const struct gr_shape *src = &node->outputs[0]->shape, *dst = &node->inputs[0]->shape;
    struct gr_lanes lanes = gr_loops_lanes(planning->src[1]); /* the workspace as it was left */
    lanes.bf16 = gr_loops_lanes(planning->src[0]).bf16;
    struct state *s = fill(planning, src, dst, lanes, err);
    if (!s)
        return false;
    planning->kernel->run = backward_run;
    planning->kernel->scratch_bytes =
        (size_t)(s->threads * gr_pool_row_floats(&s->form)) * sizeof(float);
    return (planning->src[0] = lay(planning, node->inputs[0], dst, lanes, err)) &&
           (!s->relu || (planning->src[2] = lay(planning, node->inputs[2], dst, lanes, err))) &&
           (planning->dst[0] = lay(planning, node->outputs[0], src, lanes, err));
}
