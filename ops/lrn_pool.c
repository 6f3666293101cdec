/*
 * lrn_max_pool: local response normalisation and the max pooling behind it in one pass over memory.
 * Fusing makes it of lrn and max_pool, and lrn_max_pool_backward of their backwards.
 *
 * What stands between the two, a tensor as large as the input, is never stored: a thread keeps as
 * many normalised rows as a window is high. Nobody else needs them, since lrn's backward reads its
 * input only, and the pool's its workspace. The backward likewise spreads dy over one row at a
 * time. Both call the row kernels (rows.h) of the separate ops in the same order, and so give the
 * same bits; either may be fused without the other.
 */
#include "lrn_pool.h"

#include <omp.h>
#include <stdlib.h>

#include "activation.h"
#include "loops.h"
#include "lrn.h"
#include "onednn.h"
#include "ops.h"
#include "pool.h"

struct attrs {
    struct gr_lrn_attrs lrn;
    struct gr_pool_attrs pool;
};

struct state {
    struct gr_lrn_form lrn;
    struct gr_pool_form pool;
    const struct gr_lrn_kernel *lrn_kernel;
    const struct gr_pool_kernel *pool_kernel;
    int64_t n, blocks;
    int64_t scratch; /* floats that lrn's kernel needs; after them come the rows between */
    int64_t between; /* floats of the rows between */
    int threads;
    bool bf16, dy_bf16, relu;
};

/* Row h of image n: its columns. */
static struct gr_lrn_columns row_at(const struct state *s, const void *data, int64_t n, int64_t h)
{
    const struct gr_pool_form *f = &s->pool;
    const int64_t i = (n * s->blocks * f->h + h) * f->w * f->lanes;
    void *start = (void *)((uintptr_t)data + (size_t)i * gr_element_size(s->bf16));
    return (struct gr_lrn_columns){start, f->h * f->w * f->lanes, s->bf16};
}

/* ---- forward ----------------------------------------------------------------------------- */

/* Where a thread keeps normalised row h: as [slot, block, w, lanes], in the type of the tensors. */
static void *kept_row(const struct state *s, void *between, int64_t h, int64_t block)
{
    const struct gr_pool_form *f = &s->pool;
    return gr_element(between, (h % f->kernel[0] * s->blocks + block) * f->w * f->lanes, s->bf16);
}

static void pool_row(const struct state *s, const struct gr_buffers *buffers, int64_t n, int64_t oh,
                     int64_t from, int64_t to, void *between, uint8_t *where)
{
    const struct gr_pool_form *f = &s->pool;
    const void *rows[GR_POOL_MOST];
    for (int64_t b = 0; b < s->blocks; b++) {
        const int64_t out = ((n * s->blocks + b) * f->oh + oh) * f->ow * f->lanes;
        for (int64_t h = from; h < to; h++)
            rows[h - from] = kept_row(s, between, h, b);
        s->pool_kernel->max(f, rows, from - (oh * f->stride[0] - f->pad[0]), to - from,
                            gr_element(buffers->dst[0], out, s->bf16), where ? where + out : NULL,
                            s->bf16);
    }
}

/* Output rows first to last - 1 of all images' rows. */
static void forward_range(const struct state *s, const struct gr_buffers *buffers, int64_t first,
                          int64_t last, uint8_t *where, float *scratch)
{
    const struct gr_pool_form *f = &s->pool;
    float *between = scratch + s->scratch;
    int64_t next = 0; /* the first row of this image that is not yet normalised */
    for (int64_t r = first; r < last; r++) {
        const int64_t n = r / f->oh, oh = r % f->oh;
        int64_t from, to;
        gr_pool_covered(f, oh, &from, &to);
        if (oh == 0 || r == first || next < from)
            next = from;
        for (; next < to; next++) {
            const struct gr_lrn_columns src = row_at(s, buffers->src[0], n, next);
            const struct gr_lrn_columns kept = {kept_row(s, between, next, 0), f->w * f->lanes,
                                                s->bf16};
            s->lrn_kernel->forward(&s->lrn, &src, &kept, f->w, scratch);
        }
        pool_row(s, buffers, n, oh, from, to, between, where);
    }
}

/* ---- backward ---------------------------------------------------------------------------- */

/* Row h of the gradient between the two, as [block, padded w, lanes]. */
static void spread_row(const struct state *s, const struct gr_buffers *buffers, int64_t n,
                       int64_t h, float *between)
{
    const struct gr_pool_form *f = &s->pool;
    for (int64_t b = 0; b < s->blocks; b++, between += gr_pool_row_floats(f))
        gr_pool_backward_row(s->pool_kernel, f, buffers->src[0], buffers->src[1], NULL,
                             n * s->blocks + b, h, between, s->dy_bf16);
}

/* Source rows first to last - 1 of all images' rows. */
static void backward_range(const struct state *s, const struct gr_buffers *buffers, int64_t first,
                           int64_t last, float *scratch)
{
    const struct gr_pool_form *f = &s->pool;
    float *between = scratch + s->scratch;
    const struct gr_lrn_columns dy = {between + f->pad[1] * f->lanes, gr_pool_row_floats(f), false};
    for (int64_t r = first; r < last; r++) {
        const struct gr_lrn_columns src = row_at(s, buffers->src[2], r / f->h, r % f->h);
        const struct gr_lrn_columns dx = row_at(s, buffers->dst[0], r / f->h, r % f->h);
        spread_row(s, buffers, r / f->h, r % f->h, between);
        s->lrn_kernel->backward(&s->lrn, &dy, &src, &dx, f->w, s->relu, scratch);
    }
}

/* ---- both -------------------------------------------------------------------------------- */

static int64_t thread_floats(const struct state *s)
{
    return (s->scratch + s->between + 15) / 16 * 16;
}

static bool lrn_pool_run(const struct gr_kernel *kernel, const struct gr_node *node,
                         const struct gr_buffers *buffers, const struct gr_run *run,
                         struct gr_error *err)
{
    (void)run, (void)err;
    const struct state *s = kernel->state;
    const bool backward = node->forward != NULL;
    const int64_t rows = s->n * (backward ? s->pool.h : s->pool.oh);
    uint8_t *where = !backward && node->n_outputs > 1 ? buffers->dst[1] : NULL;
#pragma omp parallel num_threads(s->threads)
    {
        const int64_t t = omp_get_thread_num(), threads = omp_get_num_threads();
        const int64_t first = rows * t / threads, last = rows * (t + 1) / threads;
        float *scratch = (float *)buffers->scratch + t * thread_floats(s);
        memset(scratch, 0, (size_t)s->scratch * sizeof *scratch);
        if (backward)
            backward_range(s, buffers, first, last, scratch);
        else
            forward_range(s, buffers, first, last, where, scratch);
    }
    return true;
}

/* Fills the kernel for tensors src -> dst in these lanes. */
static struct state *fill(struct gr_planning *planning, const struct gr_shape *src,
                          const struct gr_shape *dst, struct gr_lanes lanes, struct gr_error *err)
{
    const struct attrs *attrs = planning->node->attrs;
    struct state *s = calloc(1, sizeof *s);
    if (!s) {
        gr_fail_memory(err, "a kernel");
        return NULL;
    }
    *s = (struct state){.lrn = gr_lrn_form_of(&attrs->lrn, src, lanes.count),
                        .pool = gr_pool_form_of(&attrs->pool, src, dst, lanes.count),
                        .pool_kernel = gr_pool_kernel(lanes.count, lanes.bf16),
                        .n = src->dim[0],
                        .threads = planning->backend->threads,
                        .bf16 = lanes.bf16,
                        .dy_bf16 = lanes.bf16,
                        .relu = attrs->lrn.relu};
    s->blocks = s->lrn.channels / lanes.count;
    s->lrn_kernel = gr_lrn_kernel(&s->lrn, lanes.bf16);
    s->scratch = (gr_lrn_scratch(&s->lrn) + 15) / 16 * 16;
    s->between = planning->node->forward ? s->blocks * gr_pool_row_floats(&s->pool)
                                         : s->pool.kernel[0] * s->lrn.channels * s->pool.w;
    *planning->kernel =
        (struct gr_kernel){.impl = s->lrn_kernel->impl,
                           .scratch_bytes = (size_t)(s->threads * thread_floats(s)) * sizeof(float),
                           .state = s,
                           .run = lrn_pool_run,
                           .free_state = free};
    return s;
}

/* The layout of input or output `value` of this shape. */
static const struct gr_layout *lay(struct gr_planning *planning, const struct gr_value *value,
                                   const struct gr_shape *shape, struct gr_lanes lanes,
                                   struct gr_error *err)
{
    return gr_onednn_lanes(planning->backend, value, shape, lanes.bf16 ? GR_BF16 : GR_F32,
                           lanes.count, err);
}

static bool lrn_pool_plan(struct gr_planning *planning, struct gr_error *err)
{
    const struct gr_node *node = planning->node;
    const struct gr_shape *src = &node->inputs[0]->shape, *dst = &node->outputs[0]->shape;
    struct gr_lanes lanes = gr_loops_wanted_lanes(planning, planning->src[0]);
    if (!lanes.count)
        lanes.count = 1;
    return fill(planning, src, dst, lanes, err) &&
           (planning->src[0] = lay(planning, node->inputs[0], src, lanes, err)) &&
           (planning->dst[0] = lay(planning, node->outputs[0], dst, lanes, err)) &&
           (node->n_outputs < 2 ||
            (planning->dst[1] = gr_onednn_lanes(planning->backend, node->outputs[1], dst, GR_U8,
                                                lanes.count, err)));
}

static bool backward_plan(struct gr_planning *planning, struct gr_error *err)
{
    const struct gr_node *node = planning->node;
    const struct gr_shape *src = &node->outputs[0]->shape, *dst = &node->inputs[0]->shape;
    struct gr_lanes lanes = gr_loops_lanes(planning->src[1]); /* the workspace as it was left */
    lanes.bf16 = gr_loops_wanted_lanes(planning, planning->src[2]).bf16;
    struct state *s = fill(planning, src, dst, lanes, err);
    if (!s)
        return false;
    const struct gr_lanes dy = {lanes.count, gr_loops_lanes(planning->src[0]).bf16};
    s->dy_bf16 = dy.bf16;
    planning->kernel->in_place = 1u << 2;
    return (planning->src[0] = lay(planning, node->inputs[0], dst, dy, err)) &&
           (planning->src[2] = lay(planning, node->inputs[2], src, lanes, err)) &&
           (planning->dst[0] = lay(planning, node->outputs[0], src, lanes, err));
}

/* ---- fusing ------------------------------------------------------------------------------ */

/* The backward of a ReLU before the two. */
static bool backward_fuse(struct gr_node *node, const struct gr_node *consumer)
{
    const struct attrs *a = node->attrs;
    struct attrs *fused = gr_pool_alloc(&node->graph->pool, sizeof *fused);
    if (!fused || a->lrn.relu || !gr_activation_is_relu_backward(consumer, node, node->inputs[2]))
        return false;
    *fused = *a;
    fused->lrn.relu = true;
    node->attrs = fused;
    return true;
}

static const struct gr_op lrn_pool = {
    .kind = {.name = "lrn_max_pool", .doc = "lrn and max_pool"},
    .category = "normalisation",
    .flags = GR_OP_INTERNAL,
    .plan = lrn_pool_plan,
};

static const struct gr_op lrn_pool_backward = {
    .kind = {.name = "lrn_max_pool_backward", .doc = "the gradient of lrn's input through a pool"},
    .flags = GR_OP_INTERNAL,
    .fuse = backward_fuse,
    .plan = backward_plan,
};

static bool become(struct gr_node *node, const struct gr_op *op, const struct gr_node *lrn,
                   const struct gr_node *pool)
{
    struct attrs *fused = gr_pool_alloc(&node->graph->pool, sizeof *fused);
    if (!fused)
        return false;
    fused->lrn = *(const struct gr_lrn_attrs *)lrn->attrs;
    fused->pool = *(const struct gr_pool_attrs *)pool->attrs;
    node->op = op;
    node->attrs = fused;
    return true;
}

bool gr_lrn_pool_fuse(struct gr_node *node, const struct gr_node *consumer)
{
    return consumer->op == &gr_op_max_pool && gr_pool_by_rows(consumer->attrs) &&
           become(node, &lrn_pool, node, consumer);
}

bool gr_lrn_pool_fuse_backward(struct gr_node *node, const struct gr_node *consumer)
{
    const struct gr_pool_attrs *pool = node->attrs;
    if (consumer->op != &gr_op_lrn_backward || consumer->inputs[0] != node->outputs[0] ||
        pool->relu || !gr_pool_by_rows(pool))
        return false;
    struct gr_value *inputs[] = {node->inputs[0], node->inputs[1], consumer->inputs[1]};
    return gr_node_set_inputs(node, inputs, 3) && become(node, &lrn_pool_backward, consumer, node);
}
