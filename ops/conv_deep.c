/*
 * A convolution of few channels with a large stride S (AlexNet's first: 3 channels, 11×11, stride
 * 4) as one of S² times the channels with stride 1: each S×S square of pixels becomes one pixel
 * whose channels they are (space to depth),
 *
 *     src'[n, (c, i, j), h, w] = src[n, c, S h + i - pad, S w + j - pad]
 *     w'[o, (c, i, j), h, w] = w[o, c, S h + i, S w + j], zero beyond the filter
 *
 * which fills vectors of channels, and is one for Winograd's tiles (conv_tiles.c; in bf16 they are
 * rounded). Inputs as in conv.h; the image and the weight are read plain and in f32.
 */
#include <stdlib.h>
#include <string.h>

#include "bf16.h"
#include "conv_tiles.h"
#include "ops.h"

enum { LANES = GR_TILE_LANES, MOST_WIDTH = 256 };

struct deep_state {
    struct gr_tiles tiles;
    struct gr_conv_sizes s, deep; /* of the node, of the deep convolution */
    int64_t stride, pad[2];
    bool bf16, relu;
    size_t filters_at, tiles_at; /* in the scratch, behind the deep image */
};

/* ---- squares to channels ----------------------------------------------------------------- */

/* The squares [W', S²] of a row of them, `step` apart, from row S h - pad of a channel's plane on.
 */
static inline void deepen_row(const struct deep_state *s, int64_t stride, const float *plane,
                              int64_t h, float *to, int64_t step)
{
    for (int64_t i = 0; i < stride; i++) {
        const int64_t y = h * stride + i - s->pad[0];
        const bool inside_y = y >= 0 && y < s->s.h;
        const float *row = inside_y ? plane + y * s->s.w : plane;
        for (int64_t w = 0; w < s->deep.w; w++) {
            const int64_t x = w * stride - s->pad[1];
            float *square = to + w * step + i * stride;
            if (inside_y && x >= 0 && x + stride <= s->s.w)
                for (int64_t j = 0; j < stride; j++)
                    square[j] = row[x + j];
            else
                for (int64_t j = 0; j < stride; j++)
                    square[j] = inside_y && x + j >= 0 && x + j < s->s.w ? row[x + j] : 0;
        }
    }
}

/* A row [W', 16] of a block of 16 channels of the deep image n. */
static void deepen_block(const struct deep_state *s, const float *src, int64_t n, int64_t block,
                         int64_t h, float *to)
{
    const int64_t square = s->stride * s->stride, area = s->s.h * s->s.w;
    for (int64_t at = 0; at < LANES; at += square) {
        const int64_t c = (block * LANES + at) / square;
        const float *plane = src + (n * s->s.c + c) * area;
        if (s->stride == 4)
            deepen_row(s, 4, plane, h, to + at, LANES);
        else
            deepen_row(s, s->stride, plane, h, to + at, LANES);
    }
}

/* src [N, C, H, W] -> dst [N, C S² / 16, H', W', 16], in bf16 or f32. */
static void deepen(const struct deep_state *s, const float *src, void *dst)
{
    const int64_t blocks = s->deep.c / LANES, row = s->deep.w * LANES;
#pragma omp parallel for collapse(3) schedule(static)
    for (int64_t n = 0; n < s->s.n; n++)
        for (int64_t b = 0; b < blocks; b++)
            for (int64_t h = 0; h < s->deep.h; h++) {
                const int64_t at = ((n * blocks + b) * s->deep.h + h) * row;
                float line[MOST_WIDTH * LANES];
                if (s->bf16) {
                    deepen_block(s, src, n, b, h, line);
                    gr_bf16_narrow(line, (uint16_t *)dst + at, row);
                } else {
                    deepen_block(s, src, n, b, h, (float *)dst + at);
                }
            }
}

/* Between w [O, C, KH, KW] and w' OIhw16i16o, either way. */
static void deepen_filters(const struct deep_state *s, float *w, float *deep, bool into)
{
    const int64_t stride = s->stride, edge = s->deep.kh, blocks = s->deep.c / LANES;
    if (into)
        memset(deep, 0, (size_t)(s->deep.o * s->deep.c * edge * edge) * sizeof *deep);
#pragma omp parallel for schedule(static)
    for (int64_t o = 0; o < s->s.o; o++)
        for (int64_t c = 0; c < s->s.c; c++)
            for (int64_t y = 0; y < s->s.kh; y++)
                for (int64_t x = 0; x < s->s.kw; x++) {
                    const int64_t i = (c * stride + y % stride) * stride + x % stride;
                    const int64_t block = o / LANES * blocks + i / LANES;
                    const int64_t tap = block * edge * edge + y / stride * edge + x / stride;
                    float *there = deep + (tap * LANES + i % LANES) * LANES + o % LANES;
                    float *here = w + ((o * s->s.c + c) * s->s.kh + y) * s->s.kw + x;
                    *(into ? there : here) = *(into ? here : there);
                }
}

static bool forward_run(const struct gr_kernel *kernel, const struct gr_node *node,
                        const struct gr_buffers *buffers, const struct gr_run *run,
                        struct gr_error *err)
{
    (void)run, (void)err;
    const struct deep_state *s = kernel->state;
    const struct gr_conv_attrs *a = node->attrs;
    char *scratch = buffers->scratch;
    float *filters = (float *)(void *)(scratch + s->filters_at);
    const struct gr_tile_finish finish = {.bias = a->bias ? buffers->src[2] : NULL,
                                          .relu = s->relu};
    deepen(s, buffers->src[0], scratch);
    deepen_filters(s, buffers->src[1], filters, true);
    gr_tiles_convolve(&s->tiles, scratch, filters, &finish, buffers->dst[0],
                      (float *)(void *)(scratch + s->tiles_at));
    return true;
}

static bool weights_run(const struct gr_kernel *kernel, const struct gr_node *node,
                        const struct gr_buffers *buffers, const struct gr_run *run,
                        struct gr_error *err)
{
    (void)run, (void)err;
    const struct deep_state *s = kernel->state;
    char *scratch = buffers->scratch;
    float *filters = (float *)(void *)(scratch + s->filters_at);
    deepen(s, buffers->src[1], scratch);
    gr_tiles_correlate(&s->tiles, buffers->src[0], scratch, filters,
                       node->n_outputs > 1 ? buffers->dst[1] : NULL,
                       (float *)(void *)(scratch + s->tiles_at));
    deepen_filters(s, buffers->dst[0], filters, false);
    return true;
}

/* ---- planning ---------------------------------------------------------------------------- */

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

bool gr_conv_deepens(const struct gr_planning *planning)
{
    const struct gr_conv_sizes s = gr_conv_sizes(planning->node);
    const struct gr_conv_attrs *a = planning->node->attrs;
    const int64_t stride = a->stride[0], square = stride * stride;
    const struct gr_conv_sizes deep = deep_sizes(&s, stride);
    return s.g == 1 && s.c < LANES && !a->add && stride > 1 && stride == a->stride[1] &&
           a->dilation[0] == 1 && a->dilation[1] == 1 && LANES % square == 0 &&
           deep.c % LANES == 0 && s.o % LANES == 0 && deep.kh == deep.kw &&
           (deep.kh == 3 || deep.kh == 5) && deep.w <= MOST_WIDTH && gr_conv_tiles_run(planning);
}

/* The layouts: tensors of the network's own plain, the rest in blocks of channels. */
static bool settle(struct gr_planning *planning, bool gradient, struct gr_error *err)
{
    const struct gr_node *node = planning->node;
    const enum gr_dtype type = gr_planning_dtype(planning);
    const struct gr_value *y = gradient ? node->inputs[0] : node->outputs[0];
    const struct gr_layout *blocked = gr_onednn_blocked(planning->backend, y, type, err);
    for (int i = 0; i < node->n_inputs; i++)
        planning->src[i] = &gr_layout_plain;
    planning->dst[0] = &gr_layout_plain;
    *(gradient ? &planning->src[0] : &planning->dst[0]) = blocked;
    return blocked != NULL;
}

static size_t aligned(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

/* Sets s up; the bytes of the scratch. */
static size_t divide(const struct gr_planning *planning, bool gradient, struct deep_state *s)
{
    const struct gr_conv_attrs *a = planning->node->attrs;
    *s = (struct deep_state){.s = gr_conv_sizes(planning->node),
                             .stride = a->stride[0],
                             .pad = {a->pad[0], a->pad[1]},
                             .bf16 = gr_planning_dtype(planning) == GR_BF16,
                             .relu = !gradient && a->activation.function};
    s->deep = deep_sizes(&s->s, s->stride);
    const struct gr_conv_sizes *deep = &s->deep;
    const struct gr_tile_grid grid = {.size = 6,
                                      .h = deep->h,
                                      .w = deep->w,
                                      .oh = deep->oh,
                                      .ow = deep->ow,
                                      .groups = 1,
                                      .in = deep->c / LANES,
                                      .out = deep->o / LANES,
                                      .in_bf16 = s->bf16,
                                      .out_bf16 = s->bf16,
                                      .rounded = s->bf16};
    const size_t tiles = gr_tiles_init(&s->tiles, &grid, deep->n, deep->kh,
                                       gradient ? GR_CONV_WEIGHTS : GR_CONV_FORWARD, false,
                                       planning->backend->threads);
    s->filters_at = aligned((size_t)(deep->n * deep->c * deep->h * deep->w) *
                            (s->bf16 ? sizeof(uint16_t) : sizeof(float)));
    s->tiles_at =
        s->filters_at + aligned((size_t)(deep->o * deep->c * deep->kh * deep->kw) * sizeof(float));
    return s->tiles_at + tiles;
}

static bool plan(struct gr_planning *planning, bool gradient, struct gr_error *err)
{
    struct deep_state *s = calloc(1, sizeof *s);
    if (!s)
        return gr_fail_memory(err, "a kernel");
    const size_t bytes = divide(planning, gradient, s);
    if (!settle(planning, gradient, err)) {
        free(s);
        return false;
    }
    *planning->kernel =
        (struct gr_kernel){.impl = s->bf16 ? "avx512:winograd 6x6 bf16, space to depth"
                                           : "avx512:winograd 6x6, space to depth",
                           .scratch_bytes = bytes,
                           .state = s,
                           .run = gradient ? weights_run : forward_run,
                           .free_state = free};
    return true;
}

bool gr_conv_deep_forward(struct gr_planning *planning, struct gr_error *err)
{
    return plan(planning, false, err);
}

bool gr_conv_deep_weights(struct gr_planning *planning, struct gr_error *err)
{
    return plan(planning, true, err);
}
