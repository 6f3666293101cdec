/*
 * The gradient of a convolution's input as a forward convolution of dy, with the filters turned by
 * half a turn and inputs and outputs exchanged (stride 1, no dilation):
 *
 *     dx = conv(dy, w'),  w'[c, o, i, j] = w[o, c, K - 1 - i, K - 1 - j],  pad' = K - 1 - pad
 *
 * In bf16 oneDNN's forward kernels are faster than its backward ones by a third.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conv.h"
#include "ops.h"

struct flipped_state {
    struct gr_onednn_call *conv;    /* src 0 dy, 1 filters; dst 0 dx */
    struct gr_onednn_call *reorder; /* src 0 the flipped filters, plain; dst 0 as conv reads them */
    struct gr_conv_sizes s;
    size_t filters_at, call_at; /* in the scratch, behind the plain flipped filters */
    char impl[80];
};

static void free_state(void *pointer)
{
    struct flipped_state *s = pointer;
    gr_onednn_call_free(s->conv);
    gr_onednn_call_free(s->reorder);
    free(s);
}

static bool flipped_bind(struct gr_kernel *kernel, const struct gr_buffers *buffers,
                         struct gr_error *err)
{
    struct flipped_state *s = kernel->state;
    char *scratch = buffers->scratch;
    void *plain[] = {scratch}, *filters[] = {scratch + s->filters_at};
    void *src[] = {buffers->src[0], filters[0]};
    const struct gr_buffers reorder = {plain, filters, scratch + s->call_at};
    const struct gr_buffers conv = {src, buffers->dst, scratch + s->call_at};
    return gr_onednn_call_bind(s->reorder, &reorder, err) &&
           gr_onednn_call_bind(s->conv, &conv, err);
}

/* w [G, O/G, C/G, KH, KW] -> flipped [G, C/G, O/G, KH, KW]. */
static void flip(const struct gr_conv_sizes *s, const float *w, float *flipped)
{
    const int64_t o_group = s->o / s->g, c_group = s->c / s->g, taps = s->kh * s->kw;
#pragma omp parallel for collapse(2) schedule(static)
    for (int64_t g = 0; g < s->g; g++)
        for (int64_t c = 0; c < c_group; c++)
            for (int64_t o = 0; o < o_group; o++) {
                const float *from = w + ((g * o_group + o) * c_group + c) * taps;
                float *to = flipped + ((g * c_group + c) * o_group + o) * taps;
                for (int64_t t = 0; t < taps; t++)
                    to[t] = from[taps - 1 - t];
            }
}

static bool flipped_run(const struct gr_kernel *kernel, const struct gr_node *node,
                        const struct gr_buffers *buffers, const struct gr_run *run,
                        struct gr_error *err)
{
    (void)run;
    const struct flipped_state *s = kernel->state;
    flip(&s->s, buffers->src[1], buffers->scratch);
    return gr_onednn_call_run(s->reorder, node, err) && gr_onednn_call_run(s->conv, node, err);
}

/* The forward convolution from dy to dx. */
static struct gr_conv_attrs turned_attrs(const struct gr_conv_attrs *a,
                                         const struct gr_conv_sizes *s)
{
    struct gr_conv_attrs t = {.out_channels = s->c,
                              .groups = s->g,
                              .kernel = {s->kh, s->kw},
                              .stride = {1, 1},
                              .dilation = {1, 1}};
    const int64_t k[] = {s->kh, s->kw}, in[] = {s->oh, s->ow}, out[] = {s->h, s->w};
    for (int d = 0; d < 2; d++) {
        t.pad[d] = k[d] - 1 - a->pad[d];
        t.pad[2 + d] = out[d] - in[d] + k[d] - 1 - t.pad[d];
    }
    return t;
}

bool gr_conv_flips(const struct gr_planning *planning)
{
    const struct gr_conv_attrs *a = planning->node->attrs;
    for (int d = 0; d < 2; d++)
        if (a->stride[d] != 1 || a->dilation[d] != 1 || a->pad[d] >= a->kernel[d] ||
            a->pad[2 + d] >= a->kernel[d])
            return false;
    return true;
}

static bool make_calls(struct gr_planning *planning, struct flipped_state *s,
                       dnnl_primitive_desc_t pd, const int64_t *dims, int rank,
                       struct gr_error *err)
{
    static const struct gr_onednn_arg conv[] = {
        {DNNL_ARG_SRC, 0}, {DNNL_ARG_WEIGHTS, 1}, {DNNL_ARG_DST, GR_DST(0)}};
    static const struct gr_onednn_arg reorder[] = {{DNNL_ARG_FROM, 0}, {DNNL_ARG_TO, GR_DST(0)}};
    struct gr_backend *backend = planning->backend;
    gr_md filters = dnnl_primitive_desc_query_md(pd, dnnl_query_exec_arg_md, DNNL_ARG_WEIGHTS);
    struct gr_desc plain = {0};
    dnnl_primitive_desc_t copy = NULL;
    bool ok =
        gr_desc_init(&plain, rank, dims, GR_F32, GR_FORMAT_PLAIN, err) &&
        gr_onednn_ok(dnnl_reorder_primitive_desc_create(&copy, gr_desc_get(&plain), backend->engine,
                                                        filters, backend->engine, backend->attr),
                     planning->node, err);
    if (ok) {
        s->conv = gr_onednn_call_new(backend, pd, conv, 3, err);
        s->reorder = s->conv ? gr_onednn_call_new(backend, copy, reorder, 2, err) : NULL;
        ok = s->reorder != NULL;
    }
    if (ok) {
        const size_t more = gr_onednn_call_scratch(s->reorder);
        const size_t scratch = gr_onednn_call_scratch(s->conv);
        const size_t bytes = dnnl_memory_desc_get_size(gr_desc_get(&plain));
        s->filters_at = (bytes + 63) / 64 * 64;
        s->call_at = s->filters_at + (dnnl_memory_desc_get_size(filters) + 63) / 64 * 64;
        planning->kernel->scratch_bytes = s->call_at + (more > scratch ? more : scratch);
    }
    if (copy)
        dnnl_primitive_desc_destroy(copy);
    gr_desc_release(&plain);
    return ok;
}

bool gr_conv_flipped_data(struct gr_planning *planning, struct gr_error *err)
{
    static const struct gr_onednn_arg outer[] = {{DNNL_ARG_SRC, 0}, {DNNL_ARG_DST, GR_DST(0)}};
    const enum gr_dtype type = gr_planning_dtype(planning);
    struct flipped_state *s = calloc(1, sizeof *s);
    struct gr_conv_descs d = {0};
    dnnl_primitive_desc_t pd = NULL;
    bool usable = false;
    if (!s)
        return gr_fail_memory(err, "a kernel");
    s->s = gr_conv_sizes(planning->node);
    const struct gr_conv_attrs turned = turned_attrs(planning->node->attrs, &s->s);
    const struct gr_conv_sizes sizes = {.n = s->s.n,
                                        .c = s->s.o,
                                        .h = s->s.oh,
                                        .w = s->s.ow,
                                        .o = s->s.c,
                                        .oh = s->s.h,
                                        .ow = s->s.w,
                                        .g = s->s.g,
                                        .kh = s->s.kh,
                                        .kw = s->s.kw};
    const int64_t dims[] = {sizes.g, sizes.o / sizes.g, sizes.c / sizes.g, sizes.kh, sizes.kw};
    bool ok = gr_conv_descs_init(&d, &turned, &sizes, type, type, err);
    if (ok) {
        const dnnl_status_t status =
            gr_conv_forward_pd(&pd, planning->backend, dnnl_convolution_direct, &d);
        ok = gr_conv_usable(planning, status, &pd, &usable, err);
    }
    ok = ok && (!usable || (make_calls(planning, s, pd, sizes.g > 1 ? dims : dims + 1,
                                       sizes.g > 1 ? 5 : 4, err) &&
                            gr_onednn_settle(planning, pd, outer, 2, err)));
    if (ok && usable) {
        planning->src[1] = &gr_layout_plain;
        snprintf(s->impl, sizeof s->impl, "%s, flipped", gr_onednn_call_impl(s->conv));
        planning->kernel->impl = s->impl;
        planning->kernel->bind = flipped_bind;
        planning->kernel->run = flipped_run;
        planning->kernel->state = s;
        planning->kernel->free_state = free_state;
        s = NULL;
    }
    if (s)
        free_state(s);
    if (pd)
        dnnl_primitive_desc_destroy(pd);
    gr_conv_descs_release(&d);
    return ok;
}
