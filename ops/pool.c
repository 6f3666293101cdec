/*
 * max_pool, avg_pool, global_avg_pool: the largest or mean value of windows of each channel.
 *
 * With ceil_mode the output size rounds up, and a last window may reach over the padded edge; a
 * window that would start beyond the input and its left pad is left out (as in PyTorch and Caffe).
 *
 * Max pooling of usual windows is in pool_max.c; here are oneDNN's kernels and, beside them, plain
 * loops.
 */
#include "pool.h"

#include <float.h>
#include <inttypes.h>
#include <stdlib.h>

#include "activation.h"
#include "loops.h"
#include "lrn_pool.h"
#include "onednn.h"
#include "ops.h"

#define ATTR(NAME) offsetof(struct gr_pool_attrs, NAME)
#define WINDOW_ATTRS                                                                               \
    {"kernel",                                                                                     \
     GR_ATTR_SIZE2,                                                                                \
     ATTR(kernel),                                                                                 \
     .required = true,                                                                             \
     .min = 1,                                                                                     \
     .max = 1 << 16,                                                                               \
     .doc = "size of the window, or [height, width]"},                                             \
        {"stride",                                                                                 \
         GR_ATTR_SIZE2,                                                                            \
         ATTR(stride),                                                                             \
         .def = 0,                                                                                 \
         .min = 0,                                                                                 \
         .max = 1 << 16,                                                                           \
         .doc = "step of the window, or [vertical, horizontal]; 0: the window's size"},            \
        {"pad",                                                                                    \
         GR_ATTR_PAD4,                                                                             \
         ATTR(pad),                                                                                \
         .def = 0,                                                                                 \
         .min = 0,                                                                                 \
         .max = 1 << 16,                                                                           \
         .doc = "padding, or [height, width], or [top, left, bottom, right]"},                     \
    {                                                                                              \
        "ceil_mode", GR_ATTR_BOOL, ATTR(ceil_mode),                                                \
            .def = 0, .doc = "round the output size up instead of down"                            \
    }

static const struct gr_attr max_attrs[] = {WINDOW_ATTRS, {0}};
static const struct gr_attr avg_attrs[] = {
    WINDOW_ATTRS,
    {"count_include_pad", GR_ATTR_BOOL, ATTR(count_include_pad), .def = 0,
     .doc = "divide by the window's size even where it covers padding"},
    {0}};

/* ---- geometry ---------------------------------------------------------------------------- */

struct window {
    int64_t kernel[2], stride[2], pad[2]; /* pad: top, left */
    int64_t end[2];                    /* padded size: input and both pads, without ceil's extra */
    int64_t extra[2];                  /* bottom, right pad as oneDNN needs it */
    bool count_include_pad, overhangs; /* overhangs: a window reaches over the padded end */
};

static bool is_global(const struct gr_node *node)
{
    return node->op == &gr_op_global_avg_pool;
}

/* Of a forward node, given the spatial size of its output. */
static struct window window_of(const struct gr_node *node, const int64_t out[2])
{
    const struct gr_pool_attrs *a = node->attrs;
    const int64_t *src = node->inputs[0]->shape.dim;
    struct window w = {.count_include_pad = !is_global(node) && a->count_include_pad};
    for (int d = 0; d < 2; d++) {
        w.kernel[d] = is_global(node) ? src[2 + d] : a->kernel[d];
        w.stride[d] = is_global(node) ? 1 : a->stride[d] ? a->stride[d] : a->kernel[d];
        w.pad[d] = is_global(node) ? 0 : a->pad[d];
        w.end[d] = src[2 + d] + w.pad[d] + (is_global(node) ? 0 : a->pad[2 + d]);
        w.extra[d] = (out[d] - 1) * w.stride[d] + w.kernel[d] - src[2 + d] - w.pad[d];
        w.overhangs = w.overhangs || (out[d] - 1) * w.stride[d] + w.kernel[d] > w.end[d];
    }
    return w;
}

static bool pool_infer(struct gr_node *node, struct gr_error *err)
{
    const struct gr_pool_attrs *a = node->attrs;
    const struct gr_value *src = node->inputs[0];
    char text[GR_SHAPE_TEXT];
    if (!gr_loops_expect_f32(node, 0, err))
        return false;
    if (src->shape.rank != 4)
        return gr_node_fail(node, err, "input '%s' is %s; pooling takes N×C×H×W", src->name,
                            gr_shape_text(&src->shape, text));
    struct gr_shape dst = {4, {src->shape.dim[0], src->shape.dim[1], 1, 1}};
    const struct window w = window_of(node, &dst.dim[2]);
    for (int d = 0; d < 2 && !is_global(node); d++) {
        const char *side = d ? "width" : "height";
        if (a->pad[d] >= w.kernel[d] || a->pad[2 + d] >= w.kernel[d])
            return gr_node_fail(node, err, "the pad must be smaller than the window's %s %" PRId64,
                                side, w.kernel[d]);
        if (w.kernel[d] > w.end[d])
            return gr_node_fail(node, err,
                                "a window of %s %" PRId64 " does not fit the %" PRId64
                                " of '%s' (padding included)",
                                side, w.kernel[d], w.end[d], src->name);
        const int64_t room = w.end[d] - w.kernel[d];
        dst.dim[2 + d] = (room + (a->ceil_mode ? w.stride[d] - 1 : 0)) / w.stride[d] + 1;
        if ((dst.dim[2 + d] - 1) * w.stride[d] >= src->shape.dim[2 + d] + w.pad[d])
            dst.dim[2 + d]--;
    }
    return gr_node_output(node, NULL, GR_F32, &dst, err) != NULL;
}

static const struct gr_op pool_backward;

static bool is_max(const struct gr_node *node)
{
    return node->op == &gr_op_max_pool;
}

static bool pool_grad(struct gr_node *node, struct gr_grad *grad, struct gr_error *err)
{
    struct gr_value *inputs[] = {gr_grad_output(grad, 0), NULL};
    if (is_max(node) && !(inputs[1] = gr_node_workspace(node, "workspace", err)))
        return false;
    return gr_grad_emit(grad, &pool_backward, inputs, is_max(node) ? 2 : 1, (const int[]){0}, 1,
                        err) != NULL;
}

/* ---- oneDNN ------------------------------------------------------------------------------ */

static dnnl_alg_kind_t algorithm_of(const struct gr_node *forward, const struct window *w)
{
    return is_max(forward)        ? dnnl_pooling_max
           : w->count_include_pad ? dnnl_pooling_avg_include_padding
                                  : dnnl_pooling_avg_exclude_padding;
}

static dnnl_status_t forward_pd(dnnl_primitive_desc_t *pd, struct gr_backend *backend,
                                const struct gr_node *forward, const struct window *w, gr_md src,
                                gr_md dst)
{
    const dnnl_dims_t stride = {w->stride[0], w->stride[1]}, dense = {0},
                      kernel = {w->kernel[0], w->kernel[1]}, pad_l = {w->pad[0], w->pad[1]},
                      pad_r = {w->extra[0], w->extra[1]};
    const bool keeps = is_max(forward) && forward->n_outputs > 1;
    return gr_onednn_pool(
        pd, backend->engine, keeps ? dnnl_forward_training : dnnl_forward_inference,
        algorithm_of(forward, w), src, dst, stride, kernel, dense, pad_l, pad_r, backend->attr);
}

static dnnl_status_t backward_pd(dnnl_primitive_desc_t *pd, struct gr_backend *backend,
                                 const struct gr_node *forward, const struct window *w, gr_md src,
                                 gr_md dst, const_dnnl_primitive_desc_t hint)
{
    const dnnl_dims_t stride = {w->stride[0], w->stride[1]}, dense = {0},
                      kernel = {w->kernel[0], w->kernel[1]}, pad_l = {w->pad[0], w->pad[1]},
                      pad_r = {w->extra[0], w->extra[1]};
    return gr_onednn_pool_backward(pd, backend->engine, algorithm_of(forward, w), src, dst, stride,
                                   kernel, dense, pad_l, pad_r, hint, backend->attr);
}

/*
 * Makes the kernel with tensors in the blocked layout (even if a reorder must bring them there: the
 * kernels for plain memory are slow). *made is false where oneDNN has reference loops only.
 */
static bool onednn_plan(struct gr_planning *planning, const struct gr_node *forward,
                        const struct window *w, bool *made, struct gr_error *err)
{
    static const struct gr_onednn_arg forward_args[] = {
        {DNNL_ARG_SRC, 0}, {DNNL_ARG_DST, GR_DST(0)}, {DNNL_ARG_WORKSPACE, GR_DST(1)}};
    static const struct gr_onednn_arg backward_args[] = {
        {DNNL_ARG_DIFF_DST, 0}, {DNNL_ARG_DIFF_SRC, GR_DST(0)}, {DNNL_ARG_WORKSPACE, 1}};
    const bool backward = planning->node != forward;
    struct gr_desc src = {0}, dst = {0};
    dnnl_primitive_desc_t pd = NULL, hint = NULL;
    const enum gr_dtype dtype = gr_planning_dtype(planning);
    bool ok = gr_desc_blocked(&src, forward->inputs[0], dtype, err) &&
              gr_desc_blocked(&dst, forward->outputs[0], dtype, err);
    *made = false;
    dnnl_status_t status = dnnl_unimplemented;
    if (ok)
        status = forward_pd(backward ? &hint : &pd, planning->backend, forward, w,
                            gr_desc_get(&src), gr_desc_get(&dst));
    if (ok && backward && status == dnnl_success)
        status = backward_pd(&pd, planning->backend, forward, w, gr_desc_get(&src),
                             gr_desc_get(&dst), hint);
    gr_desc_release(&src);
    gr_desc_release(&dst);
    /* Forward and backward must agree on who does it, since they share the workspace. */
    const bool fast =
        ok && status == dnnl_success && !gr_onednn_is_ref(pd) && !(hint && gr_onednn_is_ref(hint));
    if (hint)
        dnnl_primitive_desc_destroy(hint);
    if (fast) {
        *made = true;
        return gr_onednn_kernel(planning, pd, backward ? backward_args : forward_args,
                                is_max(forward) && forward->n_outputs > 1 ? 3 : 2, err);
    }
    if (pd)
        dnnl_primitive_desc_destroy(pd);
    return ok && (status == dnnl_success || status == dnnl_unimplemented ||
                  gr_onednn_ok(status, planning->node, err));
}

/* ---- plain loops ------------------------------------------------------------------------- */

struct pool_state {
    struct window window;
    int64_t images, h, w, oh, ow; /* images: N·C planes */
};

/* The inside of window (oh, ow): rows [from[0], to[0]), columns [from[1], to[1]). */
static int64_t inside(const struct pool_state *s, int64_t oh, int64_t ow, int64_t from[2],
                      int64_t to[2])
{
    const int64_t out[2] = {oh, ow}, size[2] = {s->h, s->w};
    int64_t padded = 1, covered = 1;
    for (int d = 0; d < 2; d++) {
        const int64_t start = out[d] * s->window.stride[d] - s->window.pad[d];
        int64_t end = start + s->window.kernel[d];
        const int64_t limit = s->window.end[d] - s->window.pad[d];
        end = end < limit ? end : limit;
        padded *= end - start;
        from[d] = start > 0 ? start : 0;
        to[d] = end < size[d] ? end : size[d];
        covered *= to[d] - from[d];
    }
    return s->window.count_include_pad ? padded : covered;
}

static void max_plane(const struct pool_state *s, const float *src, float *dst, int32_t *where)
{
    for (int64_t oh = 0; oh < s->oh; oh++)
        for (int64_t ow = 0; ow < s->ow; ow++) {
            int64_t from[2], to[2], best = 0;
            inside(s, oh, ow, from, to);
            float most = -FLT_MAX;
            for (int64_t h = from[0]; h < to[0]; h++)
                for (int64_t w = from[1]; w < to[1]; w++)
                    if (!(src[h * s->w + w] <= most) || (h == from[0] && w == from[1])) {
                        most = src[h * s->w + w];
                        best = h * s->w + w;
                    }
            dst[oh * s->ow + ow] = most;
            if (where)
                where[oh * s->ow + ow] = (int32_t)best;
        }
}

static void avg_plane(const struct pool_state *s, const float *src, float *dst)
{
    for (int64_t oh = 0; oh < s->oh; oh++)
        for (int64_t ow = 0; ow < s->ow; ow++) {
            int64_t from[2], to[2];
            const int64_t count = inside(s, oh, ow, from, to);
            float sum = 0;
            for (int64_t h = from[0]; h < to[0]; h++)
                for (int64_t w = from[1]; w < to[1]; w++)
                    sum += src[h * s->w + w];
            dst[oh * s->ow + ow] = sum / (float)count;
        }
}

static bool forward_run(const struct gr_kernel *kernel, const struct gr_node *node,
                        const struct gr_buffers *buffers, const struct gr_run *run,
                        struct gr_error *err)
{
    (void)run, (void)err;
    const struct pool_state *s = kernel->state;
    const float *src = buffers->src[0];
    float *dst = buffers->dst[0];
    int32_t *where = node->n_outputs > 1 ? buffers->dst[1] : NULL; /* [N, C, OH, OW] */
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < s->images; i++) {
        const float *from = src + i * s->h * s->w;
        float *to = dst + i * s->oh * s->ow;
        if (is_max(node))
            max_plane(s, from, to, where ? where + i * s->oh * s->ow : NULL);
        else
            avg_plane(s, from, to);
    }
    return true;
}

static void backward_plane(const struct pool_state *s, const float *dy, const int32_t *where,
                           float *dx)
{
    for (int64_t i = 0; i < s->h * s->w; i++)
        dx[i] = 0;
    for (int64_t oh = 0; oh < s->oh; oh++)
        for (int64_t ow = 0; ow < s->ow; ow++) {
            int64_t from[2], to[2];
            const float d = dy[oh * s->ow + ow];
            if (where) {
                dx[where[oh * s->ow + ow]] += d;
                continue;
            }
            const float share = d / (float)inside(s, oh, ow, from, to);
            for (int64_t h = from[0]; h < to[0]; h++)
                for (int64_t w = from[1]; w < to[1]; w++)
                    dx[h * s->w + w] += share;
        }
}

static bool backward_run(const struct gr_kernel *kernel, const struct gr_node *node,
                         const struct gr_buffers *buffers, const struct gr_run *run,
                         struct gr_error *err)
{
    (void)run, (void)err;
    const struct pool_state *s = kernel->state;
    const float *dy = buffers->src[0];
    const int32_t *where = node->n_inputs > 1 ? buffers->src[1] : NULL;
    float *dx = buffers->dst[0];
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < s->images; i++)
        backward_plane(s, dy + i * s->oh * s->ow, where ? where + i * s->oh * s->ow : NULL,
                       dx + i * s->h * s->w);
    return true;
}

static bool plain_plan(struct gr_planning *planning, const struct gr_node *forward,
                       const struct window *w, struct gr_error *err)
{
    const int64_t *src = forward->inputs[0]->shape.dim, *dst = forward->outputs[0]->shape.dim;
    const bool backward = planning->node != forward;
    struct pool_state *s = calloc(1, sizeof *s);
    if (!s)
        return gr_fail_memory(err, "a kernel");
    *s = (struct pool_state){*w, src[0] * src[1], src[2], src[3], dst[2], dst[3]};
    gr_loops_plan_plain(planning, backward ? backward_run : forward_run);
    planning->kernel->state = s;
    planning->kernel->free_state = free;
    if (!is_max(forward) || forward->n_outputs < 2)
        return true;
    const size_t count = (size_t)gr_shape_count(&forward->outputs[0]->shape);
    const struct gr_layout *where =
        gr_onednn_workspace(planning->backend, count * sizeof(int32_t), err);
    *(backward ? &planning->src[1] : &planning->dst[1]) = where;
    return where != NULL;
}

static bool pool_plan(struct gr_planning *planning, struct gr_error *err)
{
    const struct gr_node *forward =
        planning->node->forward ? planning->node->forward : planning->node;
    const struct window w = window_of(forward, &forward->outputs[0]->shape.dim[2]);
    if (is_max(forward) && gr_pool_by_rows(forward->attrs))
        return planning->node == forward ? gr_pool_max_plan(planning, err)
                                         : gr_pool_max_backward_plan(planning, err);
    /* oneDNN divides by the whole window where it includes the padding; we by its part within. */
    if (planning->backend->kernels != GR_KERNELS_OPENBLAS &&
        !(w.count_include_pad && w.overhangs)) {
        bool made;
        const bool ok = onednn_plan(planning, forward, &w, &made, err);
        if (!ok || made)
            return ok;
    }
    return plain_plan(planning, forward, &w, err);
}

/* The backward of lrn or of a ReLU before a max pooling. A chosen element is the pool's output. */
static bool backward_fuse(struct gr_node *node, const struct gr_node *consumer)
{
    const struct gr_node *forward = node->forward;
    const struct gr_pool_attrs *a = node->attrs;
    if (!is_max(forward) || a->relu)
        return false;
    if (gr_lrn_pool_fuse_backward(node, consumer))
        return true;
    struct gr_value *inputs[] = {node->inputs[0], node->inputs[1], forward->outputs[0]};
    struct gr_pool_attrs *fused = gr_pool_alloc(&node->graph->pool, sizeof *fused);
    if (!fused || !gr_pool_by_rows(a) ||
        !gr_activation_is_relu_backward(consumer, node, forward->inputs[0]) ||
        !gr_node_set_inputs(node, inputs, 3))
        return false;
    *fused = *a;
    fused->relu = true;
    node->attrs = fused;
    return true;
}

const struct gr_op gr_op_max_pool = {
    .kind = {"max_pool", "the largest value of each window", max_attrs,
             sizeof(struct gr_pool_attrs)},
    .category = "pooling",
    .min_inputs = 1,
    .max_inputs = 1,
    .input_doc = "src [N, C, H, W]",
    .infer = pool_infer,
    .grad = pool_grad,
    .plan = pool_plan,
};

const struct gr_op gr_op_avg_pool = {
    .kind = {"avg_pool", "the mean of each window", avg_attrs, sizeof(struct gr_pool_attrs)},
    .category = "pooling",
    .min_inputs = 1,
    .max_inputs = 1,
    .input_doc = "src [N, C, H, W]",
    .infer = pool_infer,
    .grad = pool_grad,
    .plan = pool_plan,
};

const struct gr_op gr_op_global_avg_pool = {
    .kind = {"global_avg_pool", "the mean of each channel, [N, C, 1, 1]", NULL,
             sizeof(struct gr_pool_attrs)},
    .category = "pooling",
    .min_inputs = 1,
    .max_inputs = 1,
    .input_doc = "src [N, C, H, W]",
    .infer = pool_infer,
    .grad = pool_grad,
    .plan = pool_plan,
};

static const struct gr_op pool_backward = {
    .kind = {.name = "pool_backward", .doc = "the gradient of a pooling's input"},
    .flags = GR_OP_INTERNAL,
    .fuse = backward_fuse,
    .plan = pool_plan,
};
