/*
 * A convolution of few channels with a large stride S (AlexNet's first: 3 channels, 11×11, stride
 * 4) as one of S² times the channels with stride 1: each S×S square of pixels becomes one pixel
 * whose channels they are (space to depth),
 *
 *     src'[n, (c, i, j), h, w] = src[n, c, S h + i - pad, S w + j - pad]
 *     w'[o, (c, i, j), h, w] = w[o, c, S h + i, S w + j], zero beyond the filter
 *
 * Three channels leave most of a vector of bf16 pairs empty; 48 fill it. Inputs as in conv.h; the
 * image and the weight are read plain and in f32.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bf16.h"
#include "conv.h"
#include "ops.h"

enum { LANES = 16, MOST_SQUARE = 64 };

struct deep_state {
    struct gr_onednn_call *conv;
    struct gr_onednn_call
        *reorder;           /* the deep filters or their gradient: plain <-> conv's layout */
    struct gr_conv_sizes s; /* of the node */
    struct gr_conv_sizes deep;
    int64_t stride, pad[2];
    bool gradient, bias;
    size_t plain_at, filters_at, call_at; /* in the scratch, behind the deep image */
    char impl[80];
};

static void free_state(void *pointer)
{
    struct deep_state *s = pointer;
    gr_onednn_call_free(s->conv);
    gr_onednn_call_free(s->reorder);
    free(s);
}

static bool deep_bind(struct gr_kernel *kernel, const struct gr_buffers *buffers,
                      struct gr_error *err)
{
    struct deep_state *s = kernel->state;
    char *scratch = buffers->scratch, *call = scratch + s->call_at;
    void *plain[] = {scratch + s->plain_at}, *filters[] = {scratch + s->filters_at};
    if (s->gradient) {
        void *src[] = {buffers->src[0], scratch};
        void *dst[] = {filters[0], s->bias ? buffers->dst[1] : NULL};
        return gr_onednn_call_bind(s->conv, &(struct gr_buffers){src, dst, call}, err) &&
               gr_onednn_call_bind(s->reorder, &(struct gr_buffers){filters, plain, call}, err);
    }
    void *src[] = {scratch, filters[0], s->bias ? buffers->src[2] : NULL};
    return gr_onednn_call_bind(s->reorder, &(struct gr_buffers){plain, filters, call}, err) &&
           gr_onednn_call_bind(s->conv, &(struct gr_buffers){src, buffers->dst, call}, err);
}

/* ---- squares to channels ----------------------------------------------------------------- */

/* One row of squares of one channel: dst [W', S²] every `step` lanes, from rows S h - pad on. */
static void deepen_row(const struct deep_state *s, const float *plane, uint16_t *dst, int64_t step,
                       int64_t h)
{
    const int64_t stride = s->stride;
    for (int64_t i = 0; i < stride; i++) {
        const int64_t y = h * stride + i - s->pad[0];
        const bool inside_y = y >= 0 && y < s->s.h;
        const float *row = plane + y * s->s.w - s->pad[1];
        for (int64_t w = 0; w < s->deep.w; w++) {
            uint16_t *to = dst + w * step + i * stride;
            const int64_t x = w * stride - s->pad[1];
            if (inside_y && x >= 0 && x + stride <= s->s.w)
                for (int64_t j = 0; j < stride; j++)
                    to[j] = gr_to_bf16(row[w * stride + j]);
            else
                for (int64_t j = 0; j < stride; j++)
                    to[j] = inside_y && x + j >= 0 && x + j < s->s.w
                                ? gr_to_bf16(row[w * stride + j])
                                : 0;
        }
    }
}

/* src [N, C, H, W] -> dst [N, C S² / 16, H', W', 16] in bf16; S² divides 16 or is a multiple. */
static void deepen(const struct deep_state *s, const float *src, uint16_t *dst)
{
    const int64_t square = s->stride * s->stride, blocks = s->deep.c / LANES;
#pragma omp parallel for collapse(2) schedule(static)
    for (int64_t n = 0; n < s->s.n; n++)
        for (int64_t h = 0; h < s->deep.h; h++)
            for (int64_t c = 0; c < s->s.c; c++) {
                const int64_t channel = c * square;
                uint16_t *to =
                    dst + ((n * blocks + channel / LANES) * s->deep.h + h) * s->deep.w * LANES +
                    channel % LANES;
                deepen_row(s, src + (n * s->s.c + c) * s->s.h * s->s.w, to, LANES, h);
            }
}

/* Between w [O, C, KH, KW] and w' [O, C S², KH', KW'], either way. */
static void deepen_filters(const struct deep_state *s, float *w, float *deep, bool into)
{
    const int64_t stride = s->stride, kh = s->deep.kh, kw = s->deep.kw;
#pragma omp parallel for schedule(static)
    for (int64_t o = 0; o < s->s.o; o++) {
        float *to = deep + o * s->deep.c * kh * kw;
        if (into)
            memset(to, 0, (size_t)(s->deep.c * kh * kw) * sizeof *to);
        for (int64_t c = 0; c < s->s.c; c++)
            for (int64_t y = 0; y < s->s.kh; y++)
                for (int64_t x = 0; x < s->s.kw; x++) {
                    const int64_t channel = (c * stride + y % stride) * stride + x % stride;
                    float *there = to + (channel * kh + y / stride) * kw + x / stride;
                    float *here = w + ((o * s->s.c + c) * s->s.kh + y) * s->s.kw + x;
                    *(into ? there : here) = *(into ? here : there);
                }
    }
}

static bool forward_run(const struct gr_kernel *kernel, const struct gr_node *node,
                        const struct gr_buffers *buffers, const struct gr_run *run,
                        struct gr_error *err)
{
    (void)run;
    const struct deep_state *s = kernel->state;
    char *scratch = buffers->scratch;
    deepen(s, buffers->src[0], buffers->scratch);
    deepen_filters(s, buffers->src[1], (float *)(void *)(scratch + s->plain_at), true);
    return gr_onednn_call_run(s->reorder, node, err) && gr_onednn_call_run(s->conv, node, err);
}

static bool weights_run(const struct gr_kernel *kernel, const struct gr_node *node,
                        const struct gr_buffers *buffers, const struct gr_run *run,
                        struct gr_error *err)
{
    (void)run;
    const struct deep_state *s = kernel->state;
    char *scratch = buffers->scratch;
    deepen(s, buffers->src[1], buffers->scratch);
    if (!gr_onednn_call_run(s->conv, node, err) || !gr_onednn_call_run(s->reorder, node, err))
        return false;
    deepen_filters(s, buffers->dst[0], (float *)(void *)(scratch + s->plain_at), false);
    return true;
}

/* ---- planning ---------------------------------------------------------------------------- */

bool gr_conv_deepens(const struct gr_planning *planning)
{
    const struct gr_conv_sizes s = gr_conv_sizes(planning->node);
    const struct gr_conv_attrs *a = planning->node->attrs;
    const int64_t square = a->stride[0] * a->stride[0];
    return planning->precision == GR_PRECISION_BF16 && s.g == 1 && s.c < LANES && !a->add &&
           a->stride[0] > 1 && a->stride[0] == a->stride[1] && a->dilation[0] == 1 &&
           a->dilation[1] == 1 && square <= MOST_SQUARE &&
           (LANES % square == 0 || square % LANES == 0) && s.c * square % LANES == 0 &&
           s.kh >= a->stride[0] && s.kw >= a->stride[0];
}

static struct gr_conv_sizes deep_sizes(const struct gr_conv_sizes *s, int64_t stride)
{
    struct gr_conv_sizes deep = *s;
    deep.c = s->c * stride * stride;
    deep.kh = (s->kh + stride - 1) / stride;
    deep.kw = (s->kw + stride - 1) / stride;
    deep.h = s->oh - 1 + deep.kh;
    deep.w = s->ow - 1 + deep.kw;
    return deep;
}

static dnnl_status_t deep_pd(struct gr_planning *planning, const struct deep_state *s,
                             dnnl_primitive_desc_t *pd, struct gr_error *err)
{
    struct gr_backend *backend = planning->backend;
    const struct gr_conv_attrs attrs = {.bias = s->bias, .stride = {1, 1}, .dilation = {1, 1}};
    struct gr_conv_descs d = {0}, forward = {0};
    dnnl_status_t status = dnnl_out_of_memory;
    if (gr_conv_descs_init(&d, &attrs, &s->deep, GR_BF16, s->gradient ? GR_F32 : GR_BF16, err) &&
        gr_conv_descs_init(&forward, &attrs, &s->deep, GR_BF16, GR_BF16, err)) {
        /* The deep image is written in this layout. */
        const int64_t src[] = {s->deep.n, s->deep.c, s->deep.h, s->deep.w};
        gr_desc_release(&d.src);
        gr_desc_release(&forward.src);
        if (gr_desc_tagged(&d.src, 4, src, GR_BF16, dnnl_nChw16c, err) &&
            gr_desc_tagged(&forward.src, 4, src, GR_BF16, dnnl_nChw16c, err)) {
            if (s->gradient)
                status = gr_conv_weights_pd(pd, backend, dnnl_convolution_direct, &d, &forward);
            else
                status = gr_conv_fused_pd(pd, planning, dnnl_forward_training,
                                          dnnl_convolution_direct, &d, err);
        }
    }
    gr_conv_descs_release(&d);
    gr_conv_descs_release(&forward);
    return status;
}

static bool make_calls(struct gr_planning *planning, struct deep_state *s, dnnl_primitive_desc_t pd,
                       struct gr_error *err)
{
    static const struct gr_onednn_arg forward[] = {
        {DNNL_ARG_SRC, 0}, {DNNL_ARG_WEIGHTS, 1}, {DNNL_ARG_DST, GR_DST(0)}, {DNNL_ARG_BIAS, 2}};
    static const struct gr_onednn_arg gradient[] = {{DNNL_ARG_DIFF_DST, 0},
                                                    {DNNL_ARG_SRC, 1},
                                                    {DNNL_ARG_DIFF_WEIGHTS, GR_DST(0)},
                                                    {DNNL_ARG_DIFF_BIAS, GR_DST(1)}};
    static const struct gr_onednn_arg reorder[] = {{DNNL_ARG_FROM, 0}, {DNNL_ARG_TO, GR_DST(0)}};
    struct gr_backend *backend = planning->backend;
    const int64_t dims[] = {s->deep.o, s->deep.c, s->deep.kh, s->deep.kw};
    gr_md filters = dnnl_primitive_desc_query_md(
        pd, dnnl_query_exec_arg_md, s->gradient ? DNNL_ARG_DIFF_WEIGHTS : DNNL_ARG_WEIGHTS);
    struct gr_desc plain = {0};
    dnnl_primitive_desc_t copy = NULL;
    if (!gr_desc_init(&plain, 4, dims, GR_F32, GR_FORMAT_PLAIN, err))
        return false;
    gr_md from = s->gradient ? filters : gr_desc_get(&plain);
    gr_md to = s->gradient ? gr_desc_get(&plain) : filters;
    bool ok = gr_onednn_ok(dnnl_reorder_primitive_desc_create(&copy, from, backend->engine, to,
                                                              backend->engine, backend->attr),
                           planning->node, err);
    if (ok) {
        s->conv =
            gr_onednn_call_new(backend, pd, s->gradient ? gradient : forward, 3 + s->bias, err);
        s->reorder = s->conv ? gr_onednn_call_new(backend, copy, reorder, 2, err) : NULL;
        ok = s->reorder != NULL;
    }
    if (ok) {
        const size_t image = (size_t)(s->deep.n * s->deep.c * s->deep.h * s->deep.w) * 2;
        const size_t more = gr_onednn_call_scratch(s->reorder);
        const size_t scratch = gr_onednn_call_scratch(s->conv);
        s->plain_at = (image + 63) / 64 * 64;
        s->filters_at =
            s->plain_at + (dnnl_memory_desc_get_size(gr_desc_get(&plain)) + 63) / 64 * 64;
        s->call_at = s->filters_at + (dnnl_memory_desc_get_size(filters) + 63) / 64 * 64;
        planning->kernel->scratch_bytes = s->call_at + (more > scratch ? more : scratch);
    }
    if (copy)
        dnnl_primitive_desc_destroy(copy);
    gr_desc_release(&plain);
    return ok;
}

static bool plan(struct gr_planning *planning, bool gradient, struct gr_error *err)
{
    const struct gr_node *node = planning->node;
    const struct gr_conv_attrs *a = node->attrs;
    const struct gr_onednn_arg outer = gradient ? (struct gr_onednn_arg){DNNL_ARG_DIFF_DST, 0}
                                                : (struct gr_onednn_arg){DNNL_ARG_DST, GR_DST(0)};
    dnnl_primitive_desc_t pd = NULL;
    bool usable = false;
    struct deep_state *s = calloc(1, sizeof *s);
    if (!s)
        return gr_fail_memory(err, "a kernel");
    s->s = gr_conv_sizes(node);
    s->stride = a->stride[0];
    s->pad[0] = a->pad[0];
    s->pad[1] = a->pad[1];
    s->deep = deep_sizes(&s->s, s->stride);
    s->gradient = gradient;
    s->bias = gradient ? node->n_outputs > 1 : a->bias;
    bool ok = gr_conv_usable(planning, deep_pd(planning, s, &pd, err), &pd, &usable, err);
    ok = ok && (!usable || (make_calls(planning, s, pd, err) &&
                            gr_onednn_settle(planning, pd, &outer, 1, err)));
    if (ok && usable) {
        planning->src[gradient ? 1 : 0] = &gr_layout_plain;
        for (int i = 1; !gradient && i < node->n_inputs; i++)
            planning->src[i] = &gr_layout_plain;
        snprintf(s->impl, sizeof s->impl, "%s, space to depth", gr_onednn_call_impl(s->conv));
        planning->kernel->impl = s->impl;
        planning->kernel->bind = deep_bind;
        planning->kernel->run = gradient ? weights_run : forward_run;
        planning->kernel->state = s;
        planning->kernel->free_state = free_state;
        s = NULL;
    }
    if (s)
        free_state(s);
    if (pd)
        dnnl_primitive_desc_destroy(pd);
    return ok;
}

bool gr_conv_deep_forward(struct gr_planning *planning, struct gr_error *err)
{
    return plan(planning, false, err);
}

bool gr_conv_deep_weights(struct gr_planning *planning, struct gr_error *err)
{
    return plan(planning, true, err);
}
