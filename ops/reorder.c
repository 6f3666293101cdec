/*
 * reorder: the same tensor in another layout. The runtime inserts it and names the layouts; see
 * graph/program.c. oneDNN does it but for some cases of our own: where only the type changes, and
 * f32 weights into bf16 layouts of the same blocks (bf16_copy.h).
 */
#include <stdlib.h>

#include "bf16.h"
#include "bf16_copy.h"
#include "conv_filters.h"
#include "ops.h"

/* ---- another type ------------------------------------------------------------------------ */

/* Elements worked on at a time, whole blocks: a chunk of about so many. */
enum { CHUNK = 4096 };

struct retype {
    struct gr_bf16_copy copy; /* into bf16, or read the other way */
    int64_t chunk;
};

static bool narrow_run(const struct gr_kernel *kernel, const struct gr_node *node,
                       const struct gr_buffers *buffers, const struct gr_run *run,
                       struct gr_error *err)
{
    (void)node, (void)run, (void)err;
    const struct retype *r = kernel->state;
    const float *src = buffers->src[0];
    const int64_t count = r->copy.count;
#pragma omp parallel for schedule(static)
    for (int64_t at = 0; at < count; at += r->chunk)
        gr_bf16_copy_write(&r->copy, src + at, at, count - at < r->chunk ? count - at : r->chunk,
                           false, buffers->dst[0]);
    return true;
}

static bool widen_run(const struct gr_kernel *kernel, const struct gr_node *node,
                      const struct gr_buffers *buffers, const struct gr_run *run,
                      struct gr_error *err)
{
    (void)node, (void)run, (void)err;
    const struct retype *r = kernel->state;
    const uint16_t *src = buffers->src[0];
    float *dst = buffers->dst[0];
    const int64_t count = r->copy.count;
#pragma omp parallel for schedule(static)
    for (int64_t at = 0; at < count; at += r->chunk)
        gr_bf16_widen(src + at, dst + at, count - at < r->chunk ? count - at : r->chunk);
    return true;
}

static bool plan_retype(struct gr_planning *planning, const struct gr_bf16_copy *copy, bool narrow,
                        struct gr_error *err)
{
    static const char *const impls[] = {"elementwise", "pairs", "cross pairs"}; /* by turn */
    const int64_t unit = copy->rows * copy->lanes;
    struct retype *r = calloc(1, sizeof *r);
    if (!r)
        return gr_fail_memory(err, "a kernel");
    *r = (struct retype){*copy, unit < CHUNK ? CHUNK / unit * unit : unit};
    *planning->kernel = (struct gr_kernel){.impl = impls[copy->turn],
                                           .state = r,
                                           .run = narrow ? narrow_run : widen_run,
                                           .free_state = free};
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
    struct gr_bf16_copy copy;
    const bool ok = gr_desc_in(&from, value, planning->src[0], err) &&
                    gr_desc_in(&to, value, planning->dst[0], err);
    const bool narrows = ok && gr_bf16_copy_init(&copy, gr_desc_get(&from), gr_desc_get(&to));
    const bool widens = ok && !narrows &&
                        gr_bf16_copy_init(&copy, gr_desc_get(&to), gr_desc_get(&from)) &&
                        copy.turn == GR_BF16_SAME;
    gr_desc_release(&from);
    gr_desc_release(&to);
    return ok && (narrows || widens ? plan_retype(planning, &copy, narrows, err)
                                    : plan_onednn(planning, err));
}

const struct gr_op gr_op_reorder = {
    .kind = {.name = "reorder", .doc = "copies a tensor into another memory layout"},
    .category = "data movement",
    .flags = GR_OP_INTERNAL,
    .plan = reorder_plan,
};
