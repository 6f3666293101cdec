/*
 * reorder: the same tensor in another layout. The runtime inserts it and names the layouts; see
 * graph/program.c. oneDNN does it but for two cases of our own: where only the type changes, and
 * f32 weights into the bf16 layouts that have pairs of input channels side by side.
 */
#include <stdlib.h>
#include <string.h>

#include "bf16.h"
#include "conv_filters.h"
#include "ops.h"
#include "vector_clones.h"

/* ---- another type -------------------------------------------------------------------------- */

/* Elements in the same order; so many are worked on at a time. */
struct retype {
    int64_t count;
    enum gr_dtype from;
};

enum { CHUNK = 4096 };

static bool retype_run(const struct gr_kernel *kernel, const struct gr_node *node,
                       const struct gr_buffers *buffers, const struct gr_run *run,
                       struct gr_error *err)
{
    (void)node, (void)run, (void)err;
    const struct retype *r = kernel->state;
    void *src = buffers->src[0], *dst = buffers->dst[0];
#pragma omp parallel for schedule(static)
    for (int64_t at = 0; at < r->count; at += CHUNK) {
        const int64_t n = r->count - at < CHUNK ? r->count - at : CHUNK;
        if (r->from == GR_F32)
            gr_bf16_narrow((const float *)src + at, (uint16_t *)dst + at, n);
        else
            gr_bf16_widen((const uint16_t *)src + at, (float *)dst + at, n);
    }
    return true;
}

/* Do the layouts differ in the type alone, f32 and bf16 or the other way round? */
static bool are_retyped(gr_md from, gr_md to)
{
    struct gr_onednn_facts f, t;
    gr_onednn_facts(from, &f);
    gr_onednn_facts(to, &t);
    if (!f.blocked || !t.blocked || f.rank != t.rank || f.n_blocks != t.n_blocks ||
        !((f.type == dnnl_f32 && t.type == dnnl_bf16) ||
          (f.type == dnnl_bf16 && t.type == dnnl_f32)))
        return false;
    for (int d = 0; d < f.rank; d++)
        if (f.dims[d] != t.dims[d] || f.padded[d] != t.padded[d] || f.strides[d] != t.strides[d])
            return false;
    for (int b = 0; b < f.n_blocks; b++)
        if (f.blocks[b] != t.blocks[b] || f.indices[b] != t.indices[b])
            return false;
    return true;
}

static bool plan_retype(struct gr_planning *planning, enum gr_dtype from, struct gr_error *err)
{
    struct retype *r = calloc(1, sizeof *r);
    if (!r)
        return gr_fail_memory(err, "a kernel");
    const size_t bytes = gr_layout_bytes(planning->src[0], planning->node->inputs[0]);
    *r = (struct retype){(int64_t)(bytes / gr_dtype_size(from)), from};
    *planning->kernel = (struct gr_kernel){
        .impl = "elementwise", .state = r, .run = retype_run, .free_state = free};
    return true;
}

/* ---- pairs ------------------------------------------------------------------------------- */

/*
 * f32 in blocks [2K, L] and bf16 in blocks [K, L, 2], the blocks in one order: rows 2k and 2k + 1
 * of a block become the halves of row k's words.
 */
struct pairs {
    int64_t rows, lanes; /* pairs of rows in all, L */
};

GR_VECTOR_CLONES
static void pair_rows(const float *first, const float *second, uint32_t *dst, int64_t lanes)
{
#pragma omp simd
    for (int64_t i = 0; i < lanes; i++)
        dst[i] = gr_to_bf16(first[i]) | (uint32_t)gr_to_bf16(second[i]) << 16;
}

static bool pairs_run(const struct gr_kernel *kernel, const struct gr_node *node,
                      const struct gr_buffers *buffers, const struct gr_run *run,
                      struct gr_error *err)
{
    (void)node, (void)run, (void)err;
    const struct pairs *p = kernel->state;
    const float *src = buffers->src[0]; /* [rows, 2, lanes] */
    uint32_t *dst = buffers->dst[0];    /* [rows, lanes] pairs */
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < p->rows; r++)
        pair_rows(src + 2 * r * p->lanes, src + (2 * r + 1) * p->lanes, dst + r * p->lanes,
                  p->lanes);
    return true;
}

/* Is `to` what pairs make of `from`? *lanes: L. */
static bool are_pairs(gr_md from, gr_md to, int64_t *lanes)
{
    struct gr_onednn_facts f, t;
    gr_onednn_facts(from, &f);
    gr_onednn_facts(to, &t);
    if (!f.blocked || !t.blocked || f.type != dnnl_f32 || t.type != dnnl_bf16 || f.rank != t.rank ||
        f.n_blocks != 2 || t.n_blocks != 3 || t.blocks[2] != 2 || t.indices[0] != t.indices[2] ||
        f.indices[0] != t.indices[0] || f.indices[1] != t.indices[1] ||
        f.blocks[0] != 2 * t.blocks[0] || f.blocks[1] != t.blocks[1])
        return false;
    for (int d = 0; d < f.rank; d++)
        if (f.dims[d] != t.dims[d] || f.strides[d] != t.strides[d])
            return false;
    *lanes = f.blocks[1];
    return dnnl_memory_desc_get_size(from) == 2 * dnnl_memory_desc_get_size(to);
}

static bool plan_pairs(struct gr_planning *planning, int64_t lanes, struct gr_error *err)
{
    struct pairs *p = calloc(1, sizeof *p);
    if (!p)
        return gr_fail_memory(err, "a kernel");
    const size_t bytes = gr_layout_bytes(planning->dst[0], planning->node->outputs[0]);
    *p = (struct pairs){(int64_t)(bytes / sizeof(uint32_t)) / lanes, lanes};
    *planning->kernel =
        (struct gr_kernel){.impl = "pairs", .state = p, .run = pairs_run, .free_state = free};
    return true;
}

/* ---- the op ------------------------------------------------------------------------------ */

static bool plan_onednn(struct gr_planning *planning, struct gr_error *err)
{
    static const struct gr_onednn_arg args[] = {{DNNL_ARG_FROM, 0}, {DNNL_ARG_TO, GR_DST(0)}};
    dnnl_primitive_desc_t pd;
    return gr_onednn_ok(gr_onednn_reorder(&pd, planning->backend, planning->node->inputs[0],
                                          planning->src[0], planning->dst[0]),
                        planning->node, err) &&
           gr_onednn_kernel(planning, pd, args, 2, err);
}

static bool reorder_plan(struct gr_planning *planning, struct gr_error *err)
{
    const struct gr_value *value = planning->node->inputs[0];
    if (gr_conv_filters_are(value, planning->dst[0]))
        return gr_conv_filters_plan(planning, err);
    struct gr_desc from = {0}, to = {0};
    int64_t lanes = 0;
    bool ok = gr_desc_in(&from, value, planning->src[0], err) &&
              gr_desc_in(&to, value, planning->dst[0], err);
    const bool pairs = ok && are_pairs(gr_desc_get(&from), gr_desc_get(&to), &lanes);
    const bool retyped = ok && are_retyped(gr_desc_get(&from), gr_desc_get(&to));
    gr_desc_release(&from);
    gr_desc_release(&to);
    return ok && (pairs     ? plan_pairs(planning, lanes, err)
                  : retyped ? plan_retype(planning, gr_layout_dtype(planning->src[0], value), err)
                            : plan_onednn(planning, err));
}

const struct gr_op gr_op_reorder = {
    .kind = {.name = "reorder", .doc = "copies a tensor into another memory layout"},
    .category = "data movement",
    .flags = GR_OP_INTERNAL,
    .plan = reorder_plan,
};
