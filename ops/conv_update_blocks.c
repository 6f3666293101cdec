/*
 * A convolution's weight, updated block by block: sources and gradients dy are laid out so that the
 * gradient of a block of 16 by 16 channels at a tap of the filter is a product of two matrices over
 * the results' positions. A few blocks of it are made in the first cache, while the weight's and
 * the velocity's own parts are on their way from memory, and used at once.
 *
 * Results are few (conv_update.c): the sources laid out, once for each tap, stay in the caches.
 */
#include <stdlib.h>
#include <string.h>

#include "bf16.h"
#include "conv_filters.h"
#include "conv_tiles.h"
#include "conv_update.h"
#include "vector_clones.h"

/* Floats of a block; blocks of filters at a time, which share the sources' reading;
 * the taps of most filters: 5×5 of them make 77 KB of gradient at a time. */
enum { LANES = GR_TILE_LANES, BLOCK = LANES * LANES, OUTS = 3, MOST_TAPS = 25 };

struct blocks {
    const struct gr_node *update; /* sgd's */
    struct gr_sgd_copies copies;
    int64_t groups, in, out, taps;   /* in, out: blocks of a group */
    int64_t positions;               /* results of a channel, of all images */
    int64_t words;                   /* a block's sources or gradients as laid out, of one tap */
    int64_t picture_src, picture_dy; /* vectors of a block of channels of an image */
    int64_t *from;                   /* [taps + 1, positions] vectors; < 0: zero. Last row: of dy */
    int dy;
    bool bf16;
};

/* ---- laying out -------------------------------------------------------------------------- */

/* Vectors of bf16 two and two: word c is of channel c of one and of the next. */
GR_VECTOR_CLONES
static void lay_pairs(const uint16_t *src, const int64_t *from, int64_t count, float *to)
{
    static const uint16_t zeros[LANES];
    for (int64_t p = 0; p < count; p += 2) {
        const int64_t second = p + 1 < count ? from[p + 1] : -1;
        const uint16_t *low = from[p] < 0 ? zeros : src + from[p] * LANES;
        const uint16_t *high = second < 0 ? zeros : src + second * LANES;
        uint32_t words[LANES];
        for (int c = 0; c < LANES; c++)
            words[c] = low[c] | (uint32_t)high[c] << 16;
        memcpy(to + p / 2 * LANES, words, sizeof words);
    }
}

static void lay_floats(const float *src, const int64_t *from, int64_t count, float *to)
{
    static const float zeros[LANES];
    for (int64_t p = 0; p < count; p++)
        memcpy(to + p * LANES, from[p] < 0 ? zeros : src + from[p] * LANES, sizeof zeros);
}

/* All positions of a block of channels; `data` starts with its first image's. */
static void lay_out(const struct blocks *s, const void *data, int64_t at, const int64_t *from,
                    float *to)
{
    if (s->bf16)
        lay_pairs((const uint16_t *)data + at * LANES, from, s->positions, to);
    else
        lay_floats((const float *)data + at * LANES, from, s->positions, to);
}

/* ---- blocks ------------------------------------------------------------------------------ */

struct operands {
    const float *src;        /* [groups in, taps, words] */
    const float *dy;         /* [groups out, words] */
    struct gr_sgd_step step; /* of the whole weight */
};

/* The gradient of `outs` filters' blocks, g [outs, taps, 16, 16]. Their weights, the first of them
 * at `first` and the others `apart`, are fetched meanwhile. */
static void make_gradient(const struct blocks *s, const struct operands *o, int64_t in, int64_t out,
                          int64_t outs, int64_t first, int64_t apart, float *g)
{
    for (int64_t k = 0; k < s->taps; k++) {
        const float *w = o->step.w + first + k * BLOCK,
                    *v = o->step.v ? o->step.v + first + k * BLOCK : w;
        const struct gr_tile_product product = {.a = o->src + (in * s->taps + k) * s->words,
                                                .b = o->dy + out * s->words,
                                                .c = g + k * BLOCK,
                                                .b_block = s->words,
                                                .c_block = s->taps * BLOCK,
                                                .in = 1,
                                                .out = outs,
                                                .tiles = s->positions,
                                                .rounded = s->bf16,
                                                .fetch = {w, v},
                                                .fetch_block = apart};
        gr_tiles_avx512_correlate(&product, true);
    }
}

/* Filters out to out + outs - 1 and channels `in`, in blocks of a group. */
static void update_blocks(const struct blocks *s, const struct operands *o, int64_t group,
                          int64_t in, int64_t out, int64_t outs)
{
    _Alignas(64) float g[OUTS * MOST_TAPS * BLOCK];
    const int64_t apart = s->in * s->taps * BLOCK, count = s->taps * BLOCK;
    const int64_t first = (group * s->out + out) * apart + in * count;
    make_gradient(s, o, group * s->in + in, group * s->out + out, outs, first, apart, g);
    for (int64_t i = 0; i < outs; i++) {
        struct gr_sgd_step part = o->step;
        part.first = first + i * apart;
        part.w += part.first;
        part.v += part.v ? part.first : 0;
        part.g = g + i * count;
        part.count = count;
        gr_sgd_apply_part(&part);
    }
}

static void sum_bias(const struct blocks *s, const void *dy, int64_t out, float *db)
{
    const int64_t *from = s->from + s->taps * s->positions, at = out * s->picture_dy;
    float sum[LANES] = {0};
    for (int64_t p = 0; p < s->positions; p++)
        for (int c = 0; c < LANES; c++) {
            const int64_t e = (at + from[p]) * LANES + c;
            sum[c] += s->bf16 ? gr_from_bf16(((const uint16_t *)dy)[e]) : ((const float *)dy)[e];
        }
    memcpy(db + out * LANES, sum, sizeof sum);
}

static bool blocks_run(const struct gr_kernel *kernel, const struct gr_node *node,
                       const struct gr_buffers *buffers, const struct gr_run *run,
                       struct gr_error *err)
{
    (void)run, (void)err;
    const struct blocks *s = kernel->state;
    const void *dy = buffers->src[s->dy], *src = buffers->src[s->dy + 1];
    const int64_t ins = s->groups * s->in, outs = s->groups * s->out;
    float *laid_src = buffers->scratch, *laid_dy = laid_src + ins * s->taps * s->words;
    struct operands o = {laid_src, laid_dy,
                         gr_sgd_step(s->update, *(const float *)buffers->src[s->dy + 2])};
    o.step.w = buffers->src[0];
    o.step.v = s->dy > 1 ? buffers->src[1] : NULL;
    o.step.copies = &s->copies;
    o.step.src = buffers->src;
#pragma omp parallel
    {
#pragma omp for schedule(static) nowait
        for (int64_t i = 0; i < ins * s->taps; i++)
            lay_out(s, src, i / s->taps * s->picture_src, s->from + i % s->taps * s->positions,
                    laid_src + i * s->words);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < outs; i++) {
            lay_out(s, dy, i * s->picture_dy, s->from + s->taps * s->positions,
                    laid_dy + i * s->words);
            if (node->n_outputs)
                sum_bias(s, dy, i, buffers->dst[0]);
        }
        const int64_t thirds = (s->out + OUTS - 1) / OUTS;
#pragma omp for schedule(static)
        for (int64_t t = 0; t < ins * thirds; t++) {
            const int64_t out = t % thirds * OUTS, left = s->out - out;
            update_blocks(s, &o, t / thirds / s->in, t / thirds % s->in, out,
                          left < OUTS ? left : OUTS);
        }
    }
    return true;
}

/* ---- planning ---------------------------------------------------------------------------- */

bool gr_conv_update_has_blocks(const struct gr_planning *planning)
{
    const struct gr_conv_sizes s = gr_conv_sizes(planning->node);
    return planning->backend->kernels != GR_KERNELS_OPENBLAS &&
           gr_tiles_avx512_supported(gr_planning_dtype(planning) == GR_BF16) &&
           gr_onednn_has_isa(dnnl_cpu_isa_avx512_core) && s.c / s.g % LANES == 0 &&
           s.o / s.g % LANES == 0 && s.kh * s.kw <= MOST_TAPS;
}

/* Where each tap finds its sources: vectors from the first image's block of channels on. */
static void find_sources(struct blocks *s, const struct gr_conv_attrs *a,
                         const struct gr_conv_sizes *z)
{
    int64_t *to = s->from;
    for (int64_t k = 0; k < s->taps; k++)
        for (int64_t p = 0; p < s->positions; p++) {
            const int64_t image = p / (z->oh * z->ow), at = p % (z->oh * z->ow);
            const int64_t y = at / z->ow * a->stride[0] + k / z->kw * a->dilation[0] - a->pad[0];
            const int64_t x = at % z->ow * a->stride[1] + k % z->kw * a->dilation[1] - a->pad[1];
            const bool inside = y >= 0 && x >= 0 && y < z->h && x < z->w;
            *to++ = inside ? image * (z->c / LANES) * s->picture_src + y * z->w + x : -1;
        }
    for (int64_t p = 0; p < s->positions; p++)
        *to++ = p / s->picture_dy * (z->o / LANES) * s->picture_dy + p % s->picture_dy;
}

static void free_blocks(void *pointer)
{
    struct blocks *s = pointer;
    free(s->from);
    free(s);
}

static struct blocks *new_blocks(const struct gr_planning *planning)
{
    const struct gr_node *node = planning->node;
    const struct gr_conv_sizes z = gr_conv_sizes(node);
    struct blocks *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    *s = (struct blocks){.update = ((const struct gr_conv_update *)node->attrs)->update,
                         .groups = z.g,
                         .in = z.c / z.g / LANES,
                         .out = z.o / z.g / LANES,
                         .taps = z.kh * z.kw,
                         .positions = z.n * z.oh * z.ow,
                         .picture_src = z.h * z.w,
                         .picture_dy = z.oh * z.ow,
                         .dy = gr_conv_update_dy(node),
                         .bf16 = gr_planning_dtype(planning) == GR_BF16};
    s->words = (s->bf16 ? (s->positions + 1) / 2 : s->positions) * LANES;
    s->from = malloc((size_t)((s->taps + 1) * s->positions) * sizeof *s->from);
    if (!s->from) {
        free(s);
        return NULL;
    }
    find_sources(s, node->forward->attrs, &z);
    return s;
}

/* False: an error. *fits: the weight lies in blocks, or nowhere yet. */
static bool settle(struct gr_planning *planning, const struct blocks *s, bool *fits,
                   struct gr_error *err)
{
    const struct gr_node *node = planning->node;
    const struct gr_tile_grid grid = {.groups = s->groups};
    const enum gr_dtype type = s->bf16 ? GR_BF16 : GR_F32;
    const struct gr_layout *weight =
        gr_conv_filters_blocked(planning->backend, node->inputs[0], &grid, false, err);
    *fits = weight && (!planning->src[0] || planning->src[0] == weight);
    if (!*fits)
        return weight != NULL;
    for (int i = 0; i < s->dy; i++)
        planning->src[i] = weight;
    for (int i = s->dy; i < s->dy + 2; i++)
        planning->src[i] = gr_onednn_blocked(planning->backend, node->inputs[i], type, err);
    planning->src[s->dy + 2] = &gr_layout_plain; /* the rate */
    return planning->src[s->dy] && planning->src[s->dy + 1];
}

bool gr_conv_update_blocks(struct gr_planning *planning, struct gr_error *err)
{
    struct blocks *s = new_blocks(planning);
    if (!s)
        return gr_fail_memory(err, "an update kernel");
    bool fits;
    const bool ok =
        settle(planning, s, &fits, err) && (!fits || gr_sgd_plan_copies(planning, &s->copies, err));
    if (!ok || !fits) {
        free_blocks(s);
        return ok;
    }
    const int64_t words = s->groups * (s->in * s->taps + s->out) * s->words;
    *planning->kernel = (struct gr_kernel){.impl = "avx512:update by blocks",
                                           .scratch_bytes = (size_t)words * sizeof(float),
                                           .state = s,
                                           .run = blocks_run,
                                           .free_state = free_blocks};
    return true;
}
