/*
 * Convolution by Winograd's transformation (f32, 3×3, stride 1; Lavin and Gray, 2015), which
 * multiplies less. oneDNN has it for ungrouped convolutions, with scratch memory in proportion to
 * the batch. Here a convolution is computed by group and by part of the batch, so that groups are
 * no hindrance and the scratch is bounded. A group's channels are copied together for it; parts of
 * the batch lie together already.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conv.h"
#include "ops.h"

enum { MOST_GROUPS = 8, LANES = 16, SCRATCH_BYTES = 64 << 20 };

enum { OUT = 0, WEIGHTS = 2, BIAS = 3 }; /* places of the inner primitive; src 0, 1: activations */

/* What a pass reads and writes. */
struct pass {
    int n_in;  /* inputs that are activations: the first ones */
    bool sums; /* outputs are gradients of the parameters, sums over the parts; else output 0 is an
                  activation, and inputs 1 and 2 are weight and bias */
    struct gr_onednn_arg args[4]; /* the last is the bias's */
};

/* Forward: src, weight, bias -> dst. Data: dy, weight -> dx. Weights: dy, src -> dw, db. */
static const struct pass forward_pass = {1,
                                         false,
                                         {{DNNL_ARG_SRC, 0},
                                          {DNNL_ARG_WEIGHTS, WEIGHTS},
                                          {DNNL_ARG_DST, GR_DST(OUT)},
                                          {DNNL_ARG_BIAS, BIAS}}};
static const struct pass data_pass = {
    1,
    false,
    {{DNNL_ARG_DIFF_DST, 0}, {DNNL_ARG_WEIGHTS, WEIGHTS}, {DNNL_ARG_DIFF_SRC, GR_DST(OUT)}}};
static const struct pass weights_pass = {2,
                                         true,
                                         {{DNNL_ARG_DIFF_DST, 0},
                                          {DNNL_ARG_SRC, 1},
                                          {DNNL_ARG_DIFF_WEIGHTS, GR_DST(OUT)},
                                          {DNNL_ARG_DIFF_BIAS, GR_DST(1)}}};

struct winograd_state {
    struct gr_onednn_call *call; /* of one group of one part; bound anew for each */
    const struct pass *pass;
    struct gr_conv_sizes s;
    int64_t parts, images;            /* images of a part */
    int64_t weights, bias;            /* floats of a group; bias 0: none */
    size_t in_at[2], out_at, call_at; /* in the scratch */
    char impl[80];
};

static void free_state(void *pointer)
{
    struct winograd_state *s = pointer;
    gr_onednn_call_free(s->call);
    free(s);
}

/* Floats of one group of one image of an activation. */
static int64_t piece_of(const struct winograd_state *s, const struct gr_value *value)
{
    return gr_shape_count(&value->shape) / s->s.n / s->s.g;
}

/* Where group g of the part that starts at image n lies, if parts of groups lie together. */
static float *piece(const struct winograd_state *s, const struct gr_value *value, void *data,
                    int64_t n, int64_t g)
{
    return (float *)data + (n * s->s.g + g) * piece_of(s, value);
}

/* Copies a group of each image of a part: [images, G, size] <-> [images, size]. */
static void copy_group(const struct winograd_state *s, const struct gr_value *value, float *whole,
                       float *group, bool into)
{
    const int64_t size = piece_of(s, value), stride = size * s->s.g;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < s->images; i++) {
        float *there = whole + i * stride, *here = group + i * size;
        memcpy(into ? here : there, into ? there : here, (size_t)size * sizeof *here);
    }
}

static void add(float *sum, const float *more, int64_t count)
{
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++)
        sum[i] += more[i];
}

/* One group of the part that starts at image n. */
static bool run_piece(const struct winograd_state *s, const struct gr_node *node,
                      const struct gr_buffers *buffers, int64_t n, int64_t g, struct gr_error *err)
{
    const bool copies = s->s.g > 1;
    char *scratch = buffers->scratch;
    void *src[4] = {NULL}, *dst[2] = {NULL};
    for (int k = 0; k < s->pass->n_in; k++) {
        src[k] = piece(s, node->inputs[k], buffers->src[k], n, g);
        if (copies) {
            copy_group(s, node->inputs[k], src[k], (float *)(void *)(scratch + s->in_at[k]), true);
            src[k] = scratch + s->in_at[k];
        }
    }
    float *out = NULL, *sums[2] = {NULL};
    if (s->pass->sums) {
        sums[0] = (float *)buffers->dst[0] + g * s->weights;
        sums[1] = s->bias ? (float *)buffers->dst[1] + g * s->bias : NULL;
        dst[0] = n ? (float *)(void *)(scratch + s->out_at) : sums[0];
        dst[1] = n ? (float *)dst[0] + s->weights : sums[1];
    } else {
        src[WEIGHTS] = (float *)buffers->src[1] + g * s->weights;
        src[BIAS] = s->bias ? (float *)buffers->src[2] + g * s->bias : NULL;
        out = piece(s, node->outputs[0], buffers->dst[0], n, g);
        dst[OUT] = copies ? (void *)(scratch + s->out_at) : out;
    }
    const struct gr_buffers inner = {src, dst, scratch + s->call_at};
    if (!gr_onednn_call_bind(s->call, &inner, err) || !gr_onednn_call_run(s->call, node, err))
        return false;
    if (out && copies)
        copy_group(s, node->outputs[0], out, dst[OUT], false);
    if (n && sums[0])
        add(sums[0], dst[0], s->weights);
    if (n && sums[1])
        add(sums[1], dst[1], s->bias);
    return true;
}

static bool winograd_run(const struct gr_kernel *kernel, const struct gr_node *node,
                         const struct gr_buffers *buffers, const struct gr_run *run,
                         struct gr_error *err)
{
    (void)run;
    const struct winograd_state *s = kernel->state;
    for (int64_t n = 0; n < s->s.n; n += s->images)
        for (int64_t g = 0; g < s->s.g; g++)
            if (!run_piece(s, node, buffers, n, g, err))
                return false;
    return true;
}

/* ---- planning ---------------------------------------------------------------------------- */

/* The descriptors of a group of a part, in the layouts that these have within the whole. */
static bool piece_descs(struct gr_conv_descs *d, const struct gr_conv_attrs *a,
                        const struct winograd_state *s, struct gr_error *err)
{
    const struct gr_conv_sizes *z = &s->s;
    const int64_t src[] = {s->images, z->c / z->g, z->h, z->w};
    const int64_t dst[] = {s->images, z->o / z->g, z->oh, z->ow};
    const int64_t weights[] = {z->o / z->g, z->c / z->g, z->kh, z->kw}, bias = z->o / z->g;
    *d = (struct gr_conv_descs){
        .stride = {1, 1}, .pad_l = {a->pad[0], a->pad[1]}, .pad_r = {a->pad[2], a->pad[3]}};
    return gr_desc_tagged(&d->src, 4, src, GR_F32, dnnl_nChw16c, err) &&
           gr_desc_tagged(&d->dst, 4, dst, GR_F32, dnnl_nChw16c, err) &&
           gr_desc_tagged(&d->weights, 4, weights, GR_F32, dnnl_OIhw16i16o, err) &&
           (!s->bias || gr_desc_init(&d->bias, 1, &bias, GR_F32, GR_FORMAT_PLAIN, err));
}

static dnnl_status_t create_pd(struct gr_planning *planning, const struct winograd_state *s,
                               const struct gr_conv_descs *d, dnnl_primitive_desc_t *pd,
                               struct gr_error *err)
{
    struct gr_backend *backend = planning->backend;
    const dnnl_alg_kind_t winograd = dnnl_convolution_winograd;
    if (s->pass == &data_pass)
        return gr_conv_data_pd(pd, backend, winograd, d);
    if (s->pass == &weights_pass)
        return gr_conv_weights_pd(pd, backend, winograd, d, d);
    return gr_conv_fused_pd(pd, planning, dnnl_forward_training, winograd, d, err);
}

/* The primitive for parts of s->images images; call stays NULL where oneDNN has none. */
static bool make_call(struct gr_planning *planning, struct winograd_state *s, struct gr_error *err)
{
    struct gr_conv_descs d = {0};
    dnnl_primitive_desc_t pd = NULL;
    bool usable = false;
    bool ok = piece_descs(&d, planning->node->attrs, s, err) &&
              gr_conv_usable(planning, create_pd(planning, s, &d, &pd, err), &pd, &usable, err);
    gr_onednn_call_free(s->call);
    s->call = NULL;
    if (ok && usable)
        ok = (s->call = gr_onednn_call_new(planning->backend, pd, s->pass->args, 3 + (s->bias > 0),
                                           err)) != NULL;
    if (pd)
        dnnl_primitive_desc_destroy(pd);
    gr_conv_descs_release(&d);
    return ok;
}

/* Parts so small that the scratch stays within bounds. */
static bool divide(struct gr_planning *planning, struct winograd_state *s, struct gr_error *err)
{
    s->parts = 1;
    s->images = s->s.n;
    if (!make_call(planning, s, err) || !s->call)
        return s->call == NULL && err->status == GR_OK;
    const size_t bytes = gr_onednn_call_scratch(s->call);
    while (bytes / (size_t)s->parts > SCRATCH_BYTES && s->parts < s->s.n)
        do
            s->parts++;
        while (s->s.n % s->parts);
    s->images = s->s.n / s->parts;
    return s->parts == 1 || make_call(planning, s, err);
}

/* The layouts of the node's own tensors. */
static bool settle(struct gr_planning *planning, const struct winograd_state *s,
                   struct gr_error *err)
{
    const struct gr_conv_sizes *z = &s->s;
    struct gr_backend *backend = planning->backend;
    const struct gr_node *node = planning->node;
    const int64_t dims[] = {z->g, z->o / z->g, z->c / z->g, z->kh, z->kw};
    const struct gr_value *value = s->pass->sums ? node->outputs[0] : node->inputs[1];
    const bool grouped = z->g > 1;
    struct gr_desc desc = {0};
    if (!gr_desc_tagged(&desc, grouped ? 5 : 4, grouped ? dims : dims + 1, GR_F32,
                        grouped ? dnnl_gOIhw16i16o : dnnl_OIhw16i16o, err))
        return false;
    const struct gr_layout *weights =
        gr_onednn_layout(backend, value, gr_desc_get(&desc), true, err);
    gr_desc_release(&desc);
    for (int i = 0; i < node->n_inputs; i++)
        planning->src[i] = i < s->pass->n_in
                               ? gr_onednn_blocked(backend, node->inputs[i], GR_F32, err)
                               : &gr_layout_plain;
    *(s->pass->sums ? &planning->dst[0] : &planning->src[1]) = weights;
    if (!s->pass->sums)
        planning->dst[0] = gr_onednn_blocked(backend, node->outputs[0], GR_F32, err);
    return weights && planning->src[0] && planning->src[1] && planning->dst[0];
}

static size_t aligned(int64_t floats)
{
    return ((size_t)floats * sizeof(float) + 63) / 64 * 64;
}

static void lay_out_scratch(struct gr_planning *planning, struct winograd_state *s)
{
    const struct gr_node *node = planning->node;
    size_t at = 0;
    for (int k = 0; s->s.g > 1 && k < s->pass->n_in; k++) {
        s->in_at[k] = at;
        at += aligned(s->images * piece_of(s, node->inputs[k]));
    }
    s->out_at = at;
    if (s->pass->sums && s->parts > 1)
        at += aligned(s->weights + s->bias);
    else if (!s->pass->sums && s->s.g > 1)
        at += aligned(s->images * piece_of(s, node->outputs[0]));
    s->call_at = at;
    planning->kernel->scratch_bytes = at + gr_onednn_call_scratch(s->call);
}

static bool plan(struct gr_planning *planning, const struct pass *pass, struct gr_error *err)
{
    const struct gr_node *node = planning->node;
    const struct gr_conv_attrs *a = node->attrs;
    struct winograd_state *s = calloc(1, sizeof *s);
    if (!s)
        return gr_fail_memory(err, "a kernel");
    s->s = gr_conv_sizes(node);
    s->pass = pass;
    s->weights = s->s.o / s->s.g * (s->s.c / s->s.g) * s->s.kh * s->s.kw;
    if (pass->sums ? node->n_outputs > 1 : pass == &forward_pass && a->bias)
        s->bias = s->s.o / s->s.g;
    const bool ok = divide(planning, s, err) && (!s->call || settle(planning, s, err));
    if (!ok || !s->call) {
        free_state(s);
        return ok;
    }
    lay_out_scratch(planning, s);
    snprintf(s->impl, sizeof s->impl, "%s, %lld × %lld", gr_onednn_call_impl(s->call),
             (long long)s->parts, (long long)s->s.g);
    planning->kernel->impl = s->s.g > 1 || s->parts > 1 ? s->impl : gr_onednn_call_impl(s->call);
    planning->kernel->run = winograd_run;
    planning->kernel->state = s;
    planning->kernel->free_state = free_state;
    return true;
}

/* With other pads at the far end than at the near one, oneDNN 2.6's data gradient is wrong. */
static bool pads_alike(const struct gr_conv_attrs *a)
{
    return a->pad[0] == a->pad[2] && a->pad[1] == a->pad[3];
}

bool gr_conv_takes_winograd(const struct gr_planning *planning)
{
    const struct gr_conv_attrs *a = planning->node->attrs;
    const struct gr_conv_sizes s = gr_conv_sizes(planning->node);
    return planning->precision == GR_PRECISION_F32 && s.kh == 3 && s.kw == 3 && a->stride[0] == 1 &&
           a->stride[1] == 1 && a->dilation[0] == 1 && a->dilation[1] == 1 && s.g <= MOST_GROUPS &&
           s.c / s.g % LANES == 0 && s.o / s.g % LANES == 0 && !a->add && pads_alike(a) &&
           gr_onednn_has_isa(dnnl_cpu_isa_avx512_core);
}

bool gr_conv_winograd_forward(struct gr_planning *planning, struct gr_error *err)
{
    return plan(planning, &forward_pass, err);
}

bool gr_conv_winograd_data(struct gr_planning *planning, struct gr_error *err)
{
    return plan(planning, &data_pass, err);
}

bool gr_conv_winograd_weights(struct gr_planning *planning, struct gr_error *err)
{
    return plan(planning, &weights_pass, err);
}
