/*
 * The weight gradient of a fully connected layer with sgd's update of the weight behind it: rows of
 * the gradient are made a tile at a time and used while they are in cache, so that the gradient of
 * the whole weight never exists. For AlexNet's fc6 that is 151 MB, written and read once a step.
 *
 * Inputs: weight, velocity?, dy, src, rate; output: the gradient of the bias, if there is one.
 */
#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "linear.h"
#include "sgd.h"

enum { TILE_BYTES = 20 << 20 };

struct update_attrs {
    const struct gr_node *update; /* sgd's, with its own attributes */
};

static int states_of(const void *attrs)
{
    const struct gr_node *update = ((const struct update_attrs *)attrs)->update;
    return update->op->n_states(update->attrs);
}

/* ---- the kernel -------------------------------------------------------------------------- */

struct update_state {
    struct gr_onednn_call *call;  /* of a tile: src 0 dy, 1 src; dst 0 dw, 1 db. NULL: OpenBLAS */
    int64_t n, c, o, rows;        /* rows of a tile, which divide o */
    int64_t tile_floats;          /* of the weight; the tiles lie one after the other */
    int dy;                       /* the input that is dy; src and the rate follow */
    size_t dy_element;            /* bytes */
    size_t dy_at, db_at, call_at; /* in the scratch, behind dw */
    struct gr_sgd_copies copies;
    char impl[80];
};

static void free_state(void *pointer)
{
    struct update_state *s = pointer;
    gr_onednn_call_free(s->call);
    free(s);
}

/* A single tile reads dy where it is; else its columns are gathered into the scratch. */
static bool update_bind(struct gr_kernel *kernel, const struct gr_buffers *buffers,
                        struct gr_error *err)
{
    struct update_state *s = kernel->state;
    char *scratch = buffers->scratch;
    void *src[] = {s->rows < s->o ? scratch + s->dy_at : buffers->src[s->dy],
                   buffers->src[s->dy + 1]};
    void *dst[] = {scratch, scratch + s->db_at};
    const struct gr_buffers inner = {src, dst, scratch + s->call_at};
    return !s->call || gr_onednn_call_bind(s->call, &inner, err);
}

/* dy [N, O] -> tile [N, rows] from row `first` of the weight on. */
static void gather_columns(const struct update_state *s, const char *dy, char *tile, int64_t first)
{
    const size_t width = (size_t)s->rows * s->dy_element, stride = (size_t)s->o * s->dy_element;
    for (int64_t n = 0; n < s->n; n++)
        memcpy(tile + (size_t)n * width, dy + (size_t)n * stride + (size_t)first * s->dy_element,
               width);
}

static void tile_openblas(const struct update_state *s, const struct gr_buffers *buffers,
                          int64_t first)
{
    const float *dy = (const float *)buffers->src[s->dy] + first; /* [N, O] */
    float *dw = buffers->scratch, *db = (float *)((char *)buffers->scratch + s->db_at);
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (blasint)s->rows, (blasint)s->c,
                (blasint)s->n, 1, dy, (blasint)s->o, buffers->src[s->dy + 1], (blasint)s->c, 0, dw,
                (blasint)s->c);
    for (int64_t o = 0; o < s->rows; o++) {
        double sum = 0;
        for (int64_t n = 0; n < s->n; n++)
            sum += (double)dy[n * s->o + o];
        db[o] = (float)sum;
    }
}

static bool update_run(const struct gr_kernel *kernel, const struct gr_node *node,
                       const struct gr_buffers *buffers, const struct gr_run *run,
                       struct gr_error *err)
{
    (void)run;
    const struct update_state *s = kernel->state;
    char *scratch = buffers->scratch;
    struct gr_sgd_step step = gr_sgd_step(((const struct update_attrs *)node->attrs)->update,
                                          *(const float *)buffers->src[s->dy + 2]);
    step.count = s->tile_floats;
    step.copies = &s->copies;
    step.src = buffers->src;
    for (int64_t first = 0; first < s->o; first += s->rows) {
        const int64_t at = first / s->rows * s->tile_floats;
        if (!s->call)
            tile_openblas(s, buffers, first);
        else if (s->rows < s->o)
            gather_columns(s, buffers->src[s->dy], scratch + s->dy_at, first);
        if (s->call && !gr_onednn_call_run(s->call, node, err))
            return false;
        step.w = (float *)buffers->src[0] + at;
        step.v = s->dy > 1 ? (float *)buffers->src[1] + at : NULL;
        step.g = buffers->scratch;
        step.first = at;
        gr_sgd_apply(&step);
        if (node->n_outputs)
            memcpy((float *)buffers->dst[0] + first, scratch + s->db_at,
                   (size_t)s->rows * sizeof(float));
    }
    return true;
}

/* ---- tiles ------------------------------------------------------------------------------- */

/* The most rows that divide the weight's, are a multiple of 64, and fit a tile; else all. */
static int64_t tile_rows(const struct gr_linear_sizes *s)
{
    for (int64_t tiles = 1; tiles <= s->o / 64; tiles++)
        if (s->o % (64 * tiles) == 0 &&
            s->o / tiles * s->c * (int64_t)sizeof(float) <= (int64_t)TILE_BYTES)
            return s->o / tiles;
    return s->o % 64 == 0 && s->o > 64 ? 64 : s->o;
}

/*
 * Do tiles like this one make up the whole weight when they lie one after the other? Not if each
 * has padding of its own.
 */
static bool composes(gr_md tile, gr_md whole)
{
    struct gr_onednn_facts t, w;
    gr_onednn_facts(tile, &t);
    gr_onednn_facts(whole, &w);
    if (!t.blocked || !w.blocked || t.rank != 2 || w.rank != 2 || t.n_blocks != w.n_blocks ||
        t.strides[0] != w.strides[0] || t.strides[1] != w.strides[1] ||
        w.strides[0] < w.strides[1] || t.dims[0] != t.padded[0])
        return false;
    for (int b = 0; b < t.n_blocks; b++)
        if (t.blocks[b] != w.blocks[b] || t.indices[b] != w.indices[b])
            return false;
    return dnnl_memory_desc_get_size(tile) * (size_t)(w.dims[0] / t.dims[0]) ==
           dnnl_memory_desc_get_size(whole);
}

/*
 * The primitive of a tile. Where tiles in the layout that it likes do not make up the weight as it
 * lies, the one tile is the whole weight, in the weight's own layout.
 */
static dnnl_primitive_desc_t tile_pd(struct gr_planning *planning, struct update_state *s,
                                     bool bias, struct gr_error *err)
{
    struct gr_desc whole = {0};
    if (!gr_desc_in(&whole, planning->node->inputs[0], planning->src[0], err))
        return NULL;
    dnnl_primitive_desc_t pd = gr_linear_onednn_weights_pd(planning, s->rows, NULL, bias, err);
    if (pd &&
        !composes(dnnl_primitive_desc_query_md(pd, dnnl_query_exec_arg_md, DNNL_ARG_DIFF_WEIGHTS),
                  gr_desc_get(&whole))) {
        dnnl_primitive_desc_destroy(pd);
        s->rows = s->o;
        pd = gr_linear_onednn_weights_pd(planning, s->rows, gr_desc_get(&whole), bias, err);
    }
    gr_desc_release(&whole);
    return pd;
}

static size_t aligned(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

/* ---- planning ---------------------------------------------------------------------------- */

static bool plan_call(struct gr_planning *planning, struct update_state *s, struct gr_error *err)
{
    static const struct gr_onednn_arg args[] = {{DNNL_ARG_DIFF_DST, 0},
                                                {DNNL_ARG_SRC, 1},
                                                {DNNL_ARG_DIFF_WEIGHTS, GR_DST(0)},
                                                {DNNL_ARG_DIFF_BIAS, GR_DST(1)}};
    const struct gr_node *node = planning->node;
    const bool bias = node->n_outputs > 0;
    const enum gr_dtype type = gr_planning_dtype(planning);
    dnnl_primitive_desc_t pd = tile_pd(planning, s, bias, err);
    if (pd)
        s->call = gr_onednn_call_new(planning->backend, pd, args, bias ? 4 : 3, err);
    dnnl_primitive_desc_destroy(pd);
    for (int i = s->dy; s->call && i < s->dy + 2; i++)
        planning->src[i] = gr_onednn_plain(planning->backend, node->inputs[i], type, err);
    return s->call && planning->src[s->dy] && planning->src[s->dy + 1];
}

static bool update_plan(struct gr_planning *planning, struct gr_error *err)
{
    const struct gr_node *node = planning->node;
    const struct gr_linear_sizes sizes = gr_linear_sizes(node);
    const struct gr_layout *layout = planning->src[0] ? planning->src[0] : &gr_layout_plain;
    const bool onednn = planning->backend->kernels != GR_KERNELS_OPENBLAS;
    if (!gr_linear_outer(planning, ((const struct update_attrs *)node->attrs)->update, err))
        return false;
    if (planning->kernel->run)
        return true;
    struct update_state *s = calloc(1, sizeof *s);
    if (!s)
        return gr_fail_memory(err, "an update kernel");
    *s = (struct update_state){.n = sizes.n, .c = sizes.c, .o = sizes.o, .rows = tile_rows(&sizes)};
    s->dy = 1 + states_of(node->attrs);
    s->dy_element = gr_dtype_size(gr_planning_dtype(planning));
    planning->kernel->state = s;
    planning->kernel->free_state = free_state;
    planning->kernel->bind = update_bind;
    planning->kernel->run = update_run;
    for (int i = 0; i < s->dy + 3; i++)
        planning->src[i] = i < s->dy ? layout : &gr_layout_plain;
    if (!gr_sgd_plan_copies(planning, &s->copies, err))
        return false;
    if (onednn && !plan_call(planning, s, err))
        return false;
    const size_t whole = gr_layout_bytes(layout, node->inputs[0]);
    const size_t tile = whole / (size_t)(s->o / s->rows);
    s->tile_floats = (int64_t)(tile / sizeof(float));
    s->dy_at = aligned(tile);
    s->db_at = s->dy_at + aligned((size_t)(s->n * s->rows) * s->dy_element);
    s->call_at = s->db_at + aligned((size_t)s->rows * sizeof(float));
    planning->kernel->scratch_bytes = s->call_at + (s->call ? gr_onednn_call_scratch(s->call) : 0);
    snprintf(s->impl, sizeof s->impl, "%s, %lld tile%s",
             s->call ? gr_onednn_call_impl(s->call) : "openblas:gemm", (long long)(s->o / s->rows),
             s->rows < s->o ? "s" : "");
    planning->kernel->impl = s->impl;
    return true;
}

static double update_macs(const struct gr_node *node)
{
    const struct gr_linear_sizes s = gr_linear_sizes(node);
    return (double)s.n * (double)s.c * (double)s.o;
}

static const struct gr_op linear_update = {
    .kind = {.name = "linear_backward_update",
             .doc = "the gradient of a linear layer's weight, and its update"},
    .flags = GR_OP_INTERNAL | GR_OP_OPTIMIZER,
    .plan = update_plan,
    .macs = update_macs,
    .n_states = states_of,
    .renews = gr_sgd_renews,
};

/* ---- fusing ------------------------------------------------------------------------------ */

bool gr_linear_take_update(struct gr_node *node, const struct gr_node *update)
{
    enum { MOST = 5 };
    if (update->op != &gr_op_sgd || update->n_inputs > 4)
        return false;
    struct update_attrs *attrs = gr_pool_alloc(&node->graph->pool, sizeof *attrs);
    struct gr_value *inputs[MOST];
    int n = 0;
    for (int i = 0; i < update->n_inputs - 2; i++) /* weight, velocity */
        inputs[n++] = update->inputs[i];
    inputs[n++] = node->inputs[0];
    inputs[n++] = node->inputs[1];
    inputs[n++] = update->inputs[update->n_inputs - 1];
    if (!attrs || !gr_node_set_inputs(node, inputs, n))
        return false;
    attrs->update = update;
    node->attrs = attrs;
    node->name = update->name;
    node->op = &linear_update;
    node->phase = GR_UPDATE;
    node->outputs++;
    node->n_outputs--;
    return true;
}
