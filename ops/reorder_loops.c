/*
 * A reorder as loops; see reorder_loops.h.
 */
#include "reorder_loops.h"

#include <stdlib.h>
#include <string.h>

#include "rows.h"

struct gr_reorder_loops {
    int rank;
    bool from_bf16, to_bf16;
    int64_t rows;                   /* of the innermost dimension: the last one */
    int64_t padded[DNNL_MAX_NDIMS]; /* the destination's dims, innermost last */
    int64_t dims[DNNL_MAX_NDIMS];   /* the tensor's: beyond lies padding */
    int64_t *src[DNNL_MAX_NDIMS];   /* [dims[d]] */
    int64_t *dst[DNNL_MAX_NDIMS];   /* [padded[d]] */
};

/* ---- what oneDNN gets wrong --------------------------------------------------------------- */

static void facts_of(const_dnnl_primitive_desc_t pd, struct gr_onednn_facts *from,
                     struct gr_onednn_facts *to)
{
    gr_onednn_facts(dnnl_primitive_desc_query_md(pd, dnnl_query_exec_arg_md, DNNL_ARG_FROM), from);
    gr_onednn_facts(dnnl_primitive_desc_query_md(pd, dnnl_query_exec_arg_md, DNNL_ARG_TO), to);
}

/* Runs a reorder between these descriptors and buffers. */
static bool run_once(struct gr_backend *backend, gr_md from, float *src, gr_md to, float *dst)
{
    dnnl_primitive_desc_t pd = NULL;
    dnnl_primitive_t primitive = NULL;
    dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, NULL}, {DNNL_ARG_TO, NULL}};
    dnnl_engine_t engine = backend->engine;
    const bool ok =
        dnnl_reorder_primitive_desc_create(&pd, from, engine, to, engine, NULL) == dnnl_success &&
        dnnl_primitive_create(&primitive, pd) == dnnl_success &&
        dnnl_memory_create(&args[0].memory, from, engine, src) == dnnl_success &&
        dnnl_memory_create(&args[1].memory, to, engine, dst) == dnnl_success &&
        dnnl_primitive_execute(primitive, backend->stream, 2, args) == dnnl_success &&
        dnnl_stream_wait(backend->stream) == dnnl_success;
    dnnl_memory_destroy(args[0].memory);
    dnnl_memory_destroy(args[1].memory);
    dnnl_primitive_destroy(primitive);
    dnnl_primitive_desc_destroy(pd);
    return ok;
}

/*
 * oneDNN's reorder jit:uni goes through memory in parts that fit the first cache. Where CPUID does
 * not tell the size of that (a virtual machine may hide it), oneDNN 3 takes it for a byte and
 * divides any block of more than 16; of such parts it then clears more than the padding, and even
 * memory behind the tensor (seen in 3.7; the sources of later versions are the same). So one such
 * reorder is tried, in a buffer with room.
 */
bool gr_reorder_finds_no_cache(struct gr_backend *backend)
{
    enum { LANES = 32, ROOM = 4 * 16 * LANES };
    const int64_t dims[] = {1, 2};
    float src[2] = {1, 2}, dst[ROOM] = {0};
    struct gr_desc from = {0}, to = {0};
    if (backend->padding == GR_PADDING_UNTRIED &&
        gr_desc_init(&from, 2, dims, GR_F32, GR_FORMAT_PLAIN, NULL) &&
        gr_desc_tagged(&to, 2, dims, GR_F32, dnnl_AB16b32a, NULL) &&
        run_once(backend, gr_desc_get(&from), src, gr_desc_get(&to), dst))
        backend->padding =
            memcmp(&dst[LANES], &src[1], sizeof *src) == 0 ? GR_PADDING_RIGHT : GR_PADDING_WRONG;
    gr_desc_release(&from);
    gr_desc_release(&to);
    return backend->padding == GR_PADDING_WRONG;
}

static bool is_float(dnnl_data_type_t type)
{
    return type == dnnl_f32 || type == dnnl_bf16;
}

bool gr_reorder_loops_needed(struct gr_backend *backend, const_dnnl_primitive_desc_t pd)
{
    dnnl_primitive_kind_t kind = dnnl_undefined_primitive;
    const char *impl = "";
    dnnl_primitive_desc_query(pd, dnnl_query_primitive_kind, 0, &kind);
    if (kind != dnnl_reorder)
        return false;
    dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, (void *)&impl);
    struct gr_onednn_facts from, to;
    facts_of(pd, &from, &to);
    if (strcmp(impl, "jit:uni") != 0 || !from.blocked || !to.blocked || !is_float(from.type) ||
        !is_float(to.type) || memcmp(to.dims, to.padded, sizeof to.dims) == 0)
        return false;
    /* Blocks of 16 channels of activations, which are filled all the time, are not divided. */
    const bool divided = from.n_blocks > 1 || to.n_blocks > 1 || to.blocks[0] > 16;
    return divided && gr_reorder_finds_no_cache(backend);
}

/* ---- the loops --------------------------------------------------------------------------- */

void gr_reorder_loops_free(struct gr_reorder_loops *loops)
{
    for (int d = 0; loops && d < loops->rank; d++) {
        free(loops->src[d]);
        free(loops->dst[d]);
    }
    free(loops);
}

/* What coordinate i of dimension d adds to the place of an element. */
static int64_t term(const struct gr_onednn_facts *f, int d, int64_t i)
{
    int64_t offset = 0, stride = 1;
    for (int b = f->n_blocks; b-- > 0; stride *= f->blocks[b]) {
        if (f->indices[b] != d)
            continue;
        offset += i % f->blocks[b] * stride;
        i /= f->blocks[b];
    }
    return offset + i * f->strides[d];
}

static int64_t *terms(const struct gr_onednn_facts *f, int d, int64_t count)
{
    int64_t *table = calloc((size_t)count, sizeof *table);
    for (int64_t i = 0; table && i < count; i++)
        table[i] = term(f, d, i);
    return table;
}

/* The dimensions by their strides, widest first, and last the one whose elements are adjacent. */
static void order_of(const struct gr_onednn_facts *f, int *order)
{
    const int last = f->n_blocks ? (int)f->indices[f->n_blocks - 1] : -1;
    for (int k = 0; k < f->rank; k++) {
        int at = k;
        for (; at > 0 && k != last; at--) {
            if (order[at - 1] != last && f->strides[order[at - 1]] >= f->strides[k])
                break;
            order[at] = order[at - 1];
        }
        order[at] = k;
    }
}

struct gr_reorder_loops *gr_reorder_loops_new(const_dnnl_primitive_desc_t pd, struct gr_error *err)
{
    int order[DNNL_MAX_NDIMS];
    struct gr_onednn_facts from, to;
    struct gr_reorder_loops *loops = calloc(1, sizeof *loops);
    bool ok = loops != NULL;
    facts_of(pd, &from, &to);
    order_of(&to, order);
    for (int k = 0; ok && k < to.rank; k++) {
        const int d = order[k];
        loops->rank = k + 1;
        loops->dims[k] = to.dims[d];
        loops->padded[k] = to.padded[d];
        loops->src[k] = terms(&from, d, loops->dims[k]);
        loops->dst[k] = terms(&to, d, loops->padded[k]);
        ok = loops->src[k] && loops->dst[k];
    }
    if (!ok) {
        gr_reorder_loops_free(loops);
        gr_fail_memory(err, "a kernel");
        return NULL;
    }
    loops->from_bf16 = from.type == dnnl_bf16;
    loops->to_bf16 = to.type == dnnl_bf16;
    loops->rows = 1;
    for (int k = 0; k < loops->rank - 1; k++)
        loops->rows *= loops->padded[k];
    return loops;
}

/* A row from src, or of zeros where that is NULL. Inlined for each pair of types. */
static inline void copy_row(const struct gr_reorder_loops *loops, const void *src, int64_t src_at,
                            void *dst, int64_t dst_at, bool from_bf16, bool to_bf16)
{
    const int last = loops->rank - 1;
    const int64_t dims = src ? loops->dims[last] : 0, padded = loops->padded[last];
    const int64_t *from = loops->src[last], *to = loops->dst[last];
    for (int64_t i = 0; i < padded; i++) {
        float x = 0;
        if (i < dims)
            x = from_bf16 ? gr_from_bf16(((const uint16_t *)src)[src_at + from[i]])
                          : ((const float *)src)[src_at + from[i]];
        if (to_bf16)
            ((uint16_t *)dst)[dst_at + to[i]] = gr_to_bf16(x);
        else
            ((float *)dst)[dst_at + to[i]] = x;
    }
}

void gr_reorder_loops_run(const struct gr_reorder_loops *loops, const void *src, void *dst)
{
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < loops->rows; r++) {
        const void *from = src;
        int64_t src_at = 0, dst_at = 0, rest = r;
        for (int k = loops->rank - 1; k-- > 0; rest /= loops->padded[k]) {
            const int64_t i = rest % loops->padded[k];
            dst_at += loops->dst[k][i];
            if (i < loops->dims[k])
                src_at += loops->src[k][i];
            else
                from = NULL;
        }
        if (loops->from_bf16 && loops->to_bf16)
            copy_row(loops, from, src_at, dst, dst_at, true, true);
        else if (loops->from_bf16)
            copy_row(loops, from, src_at, dst, dst_at, true, false);
        else if (loops->to_bf16)
            copy_row(loops, from, src_at, dst, dst_at, false, true);
        else
            copy_row(loops, from, src_at, dst, dst_at, false, false);
    }
}
