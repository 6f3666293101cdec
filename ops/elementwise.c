/*
 * Elementwise kernels; see elementwise.h.
 */
#include "elementwise.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "onednn.h"
#include "rows.h"

enum { MOST_SRC = 3 };

struct state {
    gr_elementwise_fn *function; /* NULL: the op has its own loop */
    gr_elementwise_bits_fn *bits;
    int64_t count; /* elements in memory, padding included */
    int n_src;
    bool dst_bf16;
    bool src_bf16[]; /* [n_src] */
};

/* ---- blocks ------------------------------------------------------------------------------ */

int64_t gr_elementwise_count(const struct gr_kernel *kernel)
{
    return ((const struct state *)kernel->state)->count;
}

const float *gr_elementwise_read(const struct gr_kernel *kernel, const struct gr_buffers *buffers,
                                 int i, int64_t at, int64_t n, float *block)
{
    const struct state *s = kernel->state;
    const void *from = gr_element_const(buffers->src[i], at, s->src_bf16[i]);
    if (!s->src_bf16[i])
        return from;
    gr_bf16_widen(from, block, n);
    return block;
}

float *gr_elementwise_place(const struct gr_kernel *kernel, const struct gr_buffers *buffers,
                            int64_t at, float *block)
{
    const struct state *s = kernel->state;
    return s->dst_bf16 ? block : (float *)buffers->dst[0] + at;
}

void gr_elementwise_write(const struct gr_kernel *kernel, const struct gr_buffers *buffers,
                          int64_t at, int64_t n, const float *from)
{
    const struct state *s = kernel->state;
    void *to = gr_element(buffers->dst[0], at, s->dst_bf16);
    if (s->dst_bf16)
        gr_bf16_narrow(from, to, n);
    else if (to != from)
        memcpy(to, from, (size_t)n * sizeof *from);
}

static bool elementwise_run(const struct gr_kernel *kernel, const struct gr_node *node,
                            const struct gr_buffers *buffers, const struct gr_run *run,
                            struct gr_error *err)
{
    (void)run, (void)err;
    const struct state *s = kernel->state;
#pragma omp parallel for schedule(static)
    for (int64_t at = 0; at < s->count; at += GR_ELEMENTWISE_BLOCK) {
        const int64_t left = s->count - at;
        const int64_t n = left < GR_ELEMENTWISE_BLOCK ? left : GR_ELEMENTWISE_BLOCK;
        float blocks[MOST_SRC + 1][GR_ELEMENTWISE_BLOCK];
        const float *src[MOST_SRC];
        for (int i = 0; i < s->n_src; i++)
            src[i] = gr_elementwise_read(kernel, buffers, i, at, n, blocks[i]);
        float *dst = gr_elementwise_place(kernel, buffers, at, blocks[MOST_SRC]);
        s->function(node, src, dst, n);
        gr_elementwise_write(kernel, buffers, at, n, dst);
    }
    return true;
}

static bool bits_run(const struct gr_kernel *kernel, const struct gr_node *node,
                     const struct gr_buffers *buffers, const struct gr_run *run,
                     struct gr_error *err)
{
    (void)node, (void)run, (void)err;
    const struct state *s = kernel->state;
#pragma omp parallel for schedule(static)
    for (int64_t at = 0; at < s->count; at += GR_ELEMENTWISE_BLOCK) {
        const int64_t left = s->count - at;
        const uint16_t *src[MOST_SRC];
        for (int i = 0; i < s->n_src; i++)
            src[i] = (const uint16_t *)buffers->src[i] + at;
        s->bits(src, (uint16_t *)buffers->dst[0] + at,
                left < GR_ELEMENTWISE_BLOCK ? left : GR_ELEMENTWISE_BLOCK);
    }
    return true;
}

/* ---- layouts ----------------------------------------------------------------------------- */

static const struct gr_layout *order_of(struct gr_backend *backend, const struct gr_value *value,
                                        const struct gr_layout *layout, enum gr_dtype dtype,
                                        struct gr_error *err)
{
    static const dnnl_format_tag_t tags[] = {dnnl_nChw16c, dnnl_nChw8c, dnnl_nhwc};
    const enum gr_dtype from = gr_layout_dtype(layout, value);
    if (from == dtype)
        return layout;
    if (layout == gr_onednn_plain(backend, value, from, err))
        return gr_onednn_plain(backend, value, dtype, err);
    for (size_t i = 0; value->shape.rank == 4 && i < sizeof tags / sizeof *tags; i++)
        if (layout == gr_onednn_tagged(backend, value, from, tags[i], err))
            return gr_onednn_tagged(backend, value, dtype, tags[i], err);
    return NULL;
}

const struct gr_layout *gr_elementwise_order(struct gr_planning *planning,
                                             const struct gr_value *value,
                                             const struct gr_layout *layout, enum gr_dtype dtype)
{
    struct gr_error err = {0};
    const struct gr_layout *order = order_of(planning->backend, value, layout, dtype, &err);
    planning->no_memory = planning->no_memory || err.status == GR_ERR_RUNTIME;
    return order;
}

/* The f32 layout of the order to take: that of the first operand whose order is known, not plain,
 * and leaves nothing out. */
static const struct gr_layout *shared_order(struct gr_planning *planning, int n_src)
{
    for (int i = 0; i < n_src; i++) {
        const struct gr_value *value = planning->node->inputs[i];
        const size_t dense = (size_t)gr_shape_count(&value->shape) * sizeof(float);
        const struct gr_layout *order =
            planning->src[i] ? gr_elementwise_order(planning, value, planning->src[i], GR_F32)
                             : NULL;
        if (order && order != &gr_layout_plain && order->bytes >= dense)
            return order;
    }
    return &gr_layout_plain;
}

/* ---- planning ---------------------------------------------------------------------------- */

/*
 * An operand is read as it lies if it has the order. Others must be reordered anyway, and into bf16
 * if the result is.
 */
static void lay_operands(struct gr_planning *planning, struct state *s,
                         const struct gr_layout *order)
{
    const struct gr_node *node = planning->node;
    const struct gr_layout *bf16 =
        planning->precision == GR_PRECISION_BF16
            ? gr_elementwise_order(planning, node->inputs[0], order, GR_BF16)
            : NULL;
    for (int i = 0; bf16 && i < s->n_src; i++)
        s->dst_bf16 = s->dst_bf16 || gr_layout_dtype(planning->src[i], node->inputs[i]) == GR_BF16;
    for (int i = 0; i < s->n_src; i++) {
        s->src_bf16[i] = s->dst_bf16 && planning->src[i] != order;
        planning->src[i] = s->src_bf16[i] ? bf16 : order;
    }
    for (int i = s->n_src; i < node->n_inputs; i++)
        planning->src[i] = &gr_layout_plain;
    planning->dst[0] = s->dst_bf16 ? bf16 : order;
}

static bool plan(struct gr_planning *planning, int n_src, const struct gr_layout *order,
                 gr_elementwise_fn *function, gr_kernel_run_fn *run, struct gr_error *err)
{
    const struct gr_value *value = planning->node->inputs[0];
    struct state *s = calloc(1, sizeof *s + (size_t)n_src * sizeof *s->src_bf16);
    if (!s)
        return gr_fail_memory(err, "an elementwise kernel");
    order = order ? gr_elementwise_order(planning, value, order, GR_F32)
                  : shared_order(planning, n_src);
    s->function = function;
    s->n_src = n_src;
    *planning->kernel = (struct gr_kernel){.impl = "plain",
                                           .in_place = n_src < 32 ? (1u << n_src) - 1 : 1u,
                                           .state = s,
                                           .run = run,
                                           .free_state = free};
    if (!order)
        return gr_fail_memory(err, "a layout");
    lay_operands(planning, s, order);
    s->count = (int64_t)(gr_layout_bytes(order, value) / sizeof(float));
    return true;
}

bool gr_elementwise_plan(struct gr_planning *planning, int n_src, gr_elementwise_fn *function,
                         struct gr_error *err)
{
    assert(n_src <= MOST_SRC);
    return plan(planning, n_src, NULL, function, elementwise_run, err);
}

void gr_elementwise_by_bits(struct gr_kernel *kernel, gr_elementwise_bits_fn *bits)
{
    struct state *s = kernel->state;
    bool all = true;
    for (int i = 0; i < s->n_src; i++)
        all = all && s->src_bf16[i];
    s->bits = bits;
    if (all)
        kernel->run = bits_run;
}

bool gr_elementwise_plan_loop(struct gr_planning *planning, int n_src,
                              const struct gr_layout *order, gr_kernel_run_fn *run,
                              struct gr_error *err)
{
    return plan(planning, n_src, order, NULL, run, err);
}
