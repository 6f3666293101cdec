/*
 * The convolution op by the tiles of conv_tiles.c: 6×6, 8×8, and 6×6 rounded to bf16.
 */
#include <stdio.h>
#include <stdlib.h>

#include "conv_filters.h"
#include "conv_tiles.h"
#include "ops.h"

enum { LANES = GR_TILE_LANES };

struct tiles_state {
    struct gr_tiles tiles;
    bool relu;
    char impl[40];
};

static bool convolve_run(const struct gr_kernel *kernel, const struct gr_node *node,
                         const struct gr_buffers *buffers, const struct gr_run *run,
                         struct gr_error *err)
{
    (void)run, (void)err;
    const struct tiles_state *s = kernel->state;
    const struct gr_conv_attrs *a = node->attrs;
    void *const *src = buffers->src;
    const bool forward = !s->tiles.turned;
    const struct gr_tile_finish finish = {.bias = forward && a->bias ? src[2] : NULL,
                                          .addend = forward && a->add ? src[2 + a->bias] : NULL,
                                          .relu = s->relu};
    gr_tiles_convolve(&s->tiles, src[0], src[1], &finish, buffers->dst[0], buffers->scratch);
    return true;
}

static bool weights_run(const struct gr_kernel *kernel, const struct gr_node *node,
                        const struct gr_buffers *buffers, const struct gr_run *run,
                        struct gr_error *err)
{
    (void)run, (void)err;
    const struct tiles_state *s = kernel->state;
    gr_tiles_correlate(&s->tiles, buffers->src[0], buffers->src[1], buffers->dst[0],
                       node->n_outputs > 1 ? buffers->dst[1] : NULL, buffers->scratch);
    return true;
}

/* ---- planning ------------------------------------------------------------------------------- */

static struct gr_tile_grid grid_of(const struct gr_planning *planning, enum gr_conv_pass pass,
                                   int64_t size, bool rounded)
{
    const struct gr_conv_attrs *a = planning->node->attrs;
    const struct gr_conv_sizes s = gr_conv_sizes(planning->node);
    const int64_t in = s.c / s.g / LANES, out = s.o / s.g / LANES;
    struct gr_tile_grid grid = {.size = size,
                                .h = s.h,
                                .w = s.w,
                                .oh = s.oh,
                                .ow = s.ow,
                                .pad = {a->pad[0], a->pad[1]},
                                .groups = s.g,
                                .in = in,
                                .out = out};
    if (pass == GR_CONV_DATA) {
        grid = (struct gr_tile_grid){.size = size,
                                     .h = s.oh,
                                     .w = s.ow,
                                     .oh = s.h,
                                     .ow = s.w,
                                     .pad = {s.kh - 1 - a->pad[0], s.kw - 1 - a->pad[1]},
                                     .groups = s.g,
                                     .in = out,
                                     .out = in};
    }
    grid.in_bf16 = grid.out_bf16 = gr_planning_dtype(planning) == GR_BF16;
    grid.rounded = rounded;
    return grid;
}

/*
 * Activations in blocks of 16 channels, weights so that a vector is of the channels that result, or
 * kept as filters.
 */
static bool settle(struct gr_planning *planning, const struct gr_tiles *s, enum gr_conv_pass pass,
                   struct gr_error *err)
{
    const struct gr_node *node = planning->node;
    struct gr_backend *backend = planning->backend;
    const enum gr_dtype type = gr_planning_dtype(planning);
    const struct gr_conv_attrs *a = node->attrs;
    const bool sums = pass == GR_CONV_WEIGHTS;
    const struct gr_value *value = sums ? node->outputs[0] : node->inputs[1];
    const struct gr_layout *weights =
        gr_conv_filters_blocked(backend, value, &s->grid, s->turned, err);
    for (int i = 0; i < node->n_inputs; i++)
        planning->src[i] = i == 0 || sums ? gr_onednn_blocked(backend, node->inputs[i], type, err)
                                          : &gr_layout_plain;
    *(sums ? &planning->dst[0] : &planning->src[1]) = weights;
    if (!sums)
        planning->dst[0] = gr_onednn_blocked(backend, node->outputs[0], type, err);
    if (pass == GR_CONV_FORWARD && a->add)
        planning->src[2 + a->bias] = planning->dst[0];
    if (s->kept) {
        planning->home[1] = weights;
        planning->src[1] = gr_conv_filters_layout(backend, &s->grid, err);
    }
    return weights && planning->src[0] && planning->src[1] && planning->dst[0];
}

static bool plan(struct gr_planning *planning, enum gr_conv_pass pass, int64_t size, bool rounded,
                 struct gr_error *err)
{
    const struct gr_conv_attrs *a = planning->node->attrs;
    struct tiles_state *s = calloc(1, sizeof *s);
    if (!s)
        return gr_fail_memory(err, "a kernel");
    s->relu = pass == GR_CONV_FORWARD && a->activation.function;
    const struct gr_tile_grid grid = grid_of(planning, pass, size, rounded);
    const bool kept = pass == GR_CONV_FORWARD && !planning->node->graph->training;
    const size_t bytes = gr_tiles_init(&s->tiles, &grid, gr_conv_sizes(planning->node).n,
                                       a->kernel[0], pass, kept, planning->backend->threads);
    if (!settle(planning, &s->tiles, pass, err)) {
        free(s);
        return false;
    }
    snprintf(s->impl, sizeof s->impl, "avx512:winograd %lldx%lld%s", (long long)size,
             (long long)size, rounded ? " bf16" : "");
    *planning->kernel =
        (struct gr_kernel){.impl = s->impl,
                           .scratch_bytes = bytes,
                           .state = s,
                           .run = pass == GR_CONV_WEIGHTS ? weights_run : convolve_run,
                           .free_state = free};
    return true;
}

bool gr_conv_tiles_run(const struct gr_planning *planning)
{
    const struct gr_conv_attrs *a = planning->node->attrs;
    const bool relu = a->activation.algorithm == dnnl_eltwise_relu && a->activation.alpha == 0;
    return (!a->activation.function || relu) &&
           gr_tiles_avx512_supported(gr_planning_dtype(planning) == GR_BF16) &&
           gr_onednn_has_isa(dnnl_cpu_isa_avx512_core);
}

bool gr_conv_takes_tiles(const struct gr_planning *planning)
{
    const struct gr_conv_sizes s = gr_conv_sizes(planning->node);
    return gr_conv_flips(planning) && s.kh == s.kw && (s.kh == 3 || s.kh == 5) &&
           s.c / s.g % LANES == 0 && s.o / s.g % LANES == 0 && gr_conv_tiles_run(planning);
}

bool gr_conv_takes_rounded_tiles(const struct gr_planning *planning)
{
    return gr_planning_dtype(planning) == GR_BF16 && gr_conv_takes_tiles(planning);
}

bool gr_conv_tiles_6_forward(struct gr_planning *planning, struct gr_error *err)
{
    return plan(planning, GR_CONV_FORWARD, 6, false, err);
}

bool gr_conv_tiles_6_data(struct gr_planning *planning, struct gr_error *err)
{
    return plan(planning, GR_CONV_DATA, 6, false, err);
}

bool gr_conv_tiles_6_weights(struct gr_planning *planning, struct gr_error *err)
{
    return plan(planning, GR_CONV_WEIGHTS, 6, false, err);
}

bool gr_conv_tiles_8_forward(struct gr_planning *planning, struct gr_error *err)
{
    return plan(planning, GR_CONV_FORWARD, 8, false, err);
}

bool gr_conv_tiles_8_data(struct gr_planning *planning, struct gr_error *err)
{
    return plan(planning, GR_CONV_DATA, 8, false, err);
}

bool gr_conv_tiles_8_weights(struct gr_planning *planning, struct gr_error *err)
{
    return plan(planning, GR_CONV_WEIGHTS, 8, false, err);
}

bool gr_conv_tiles_6_bf16_forward(struct gr_planning *planning, struct gr_error *err)
{
    return plan(planning, GR_CONV_FORWARD, 6, true, err);
}

bool gr_conv_tiles_6_bf16_data(struct gr_planning *planning, struct gr_error *err)
{
    return plan(planning, GR_CONV_DATA, 6, true, err);
}

bool gr_conv_tiles_6_bf16_weights(struct gr_planning *planning, struct gr_error *err)
{
    return plan(planning, GR_CONV_WEIGHTS, 6, true, err);
}
