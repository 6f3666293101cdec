/*
 * oneDNN 2.6 and 3.x behind one interface; see onednn.h.
 */
#include "onednn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops.h"

/* ---- versions ---------------------------------------------------------------------------- */

enum { MAX_BLOCKS = 12 };

/* What both versions say of a memory descriptor. */
struct facts {
    int rank, n_blocks;
    bool blocked; /* false: an opaque layout */
    int64_t dims[DNNL_MAX_NDIMS], strides[DNNL_MAX_NDIMS];
    int64_t blocks[MAX_BLOCKS], indices[MAX_BLOCKS];
};

#if DNNL_VERSION_MAJOR >= 3

static void facts_of(gr_md md, struct facts *f)
{
    dnnl_format_kind_t kind = dnnl_format_kind_undef;
    const dnnl_dims_t *dims = NULL, *strides = NULL, *blocks = NULL, *indices = NULL;
    int rank = 0, n_blocks = 0;
    *f = (struct facts){0};
    dnnl_memory_desc_query(md, dnnl_query_format_kind, &kind);
    dnnl_memory_desc_query(md, dnnl_query_ndims_s32, &rank);
    dnnl_memory_desc_query(md, dnnl_query_dims, &dims);
    f->rank = rank;
    f->blocked = kind == dnnl_blocked;
    memcpy(f->dims, *dims, sizeof f->dims[0] * (size_t)rank);
    if (!f->blocked)
        return;
    dnnl_memory_desc_query(md, dnnl_query_strides, &strides);
    dnnl_memory_desc_query(md, dnnl_query_inner_nblks_s32, &n_blocks);
    dnnl_memory_desc_query(md, dnnl_query_inner_blks, &blocks);
    dnnl_memory_desc_query(md, dnnl_query_inner_idxs, &indices);
    f->n_blocks = n_blocks;
    memcpy(f->strides, *strides, sizeof f->dims[0] * (size_t)rank);
    memcpy(f->blocks, *blocks, sizeof f->dims[0] * (size_t)n_blocks);
    memcpy(f->indices, *indices, sizeof f->dims[0] * (size_t)n_blocks);
}

static bool copy_md(struct gr_desc *desc, gr_md md)
{
    desc->made = dnnl_memory_desc_clone(&desc->md, md) == dnnl_success;
    return desc->made;
}

gr_md gr_desc_get(const struct gr_desc *desc)
{
    return desc->made ? desc->md : NULL;
}

void gr_desc_release(struct gr_desc *desc)
{
    if (desc->made)
        dnnl_memory_desc_destroy(desc->md);
    *desc = (struct gr_desc){0};
}

static dnnl_status_t md_by_tag(struct gr_desc *desc, int rank, const int64_t *dims,
                               dnnl_data_type_t type, dnnl_format_tag_t tag)
{
    return dnnl_memory_desc_create_with_tag(&desc->md, rank, dims, type, tag);
}

static dnnl_status_t md_by_strides(struct gr_desc *desc, int rank, const int64_t *dims,
                                   dnnl_data_type_t type, const int64_t *strides)
{
    return dnnl_memory_desc_create_with_strides(&desc->md, rank, dims, type, strides);
}

static dnnl_status_t append_eltwise(dnnl_post_ops_t ops, dnnl_alg_kind_t algorithm, float alpha)
{
    return dnnl_post_ops_append_eltwise(ops, algorithm, alpha, 0);
}

#else

static void facts_of(gr_md md, struct facts *f)
{
    const size_t rank = (size_t)md->ndims;
    *f = (struct facts){.rank = md->ndims,
                        .blocked = md->format_kind == dnnl_blocked && md->extra.flags == 0};
    memcpy(f->dims, md->dims, sizeof f->dims[0] * rank);
    if (!f->blocked)
        return;
    const dnnl_blocking_desc_t *b = &md->format_desc.blocking;
    f->n_blocks = b->inner_nblks;
    memcpy(f->strides, b->strides, sizeof f->dims[0] * rank);
    memcpy(f->blocks, b->inner_blks, sizeof f->dims[0] * (size_t)b->inner_nblks);
    memcpy(f->indices, b->inner_idxs, sizeof f->dims[0] * (size_t)b->inner_nblks);
}

static bool copy_md(struct gr_desc *desc, gr_md md)
{
    *desc = (struct gr_desc){*md, true};
    return true;
}

gr_md gr_desc_get(const struct gr_desc *desc)
{
    return desc->made ? &desc->md : NULL;
}

void gr_desc_release(struct gr_desc *desc)
{
    *desc = (struct gr_desc){0};
}

static dnnl_status_t md_by_tag(struct gr_desc *desc, int rank, const int64_t *dims,
                               dnnl_data_type_t type, dnnl_format_tag_t tag)
{
    return dnnl_memory_desc_init_by_tag(&desc->md, rank, dims, type, tag);
}

static dnnl_status_t md_by_strides(struct gr_desc *desc, int rank, const int64_t *dims,
                                   dnnl_data_type_t type, const int64_t *strides)
{
    return dnnl_memory_desc_init_by_strides(&desc->md, rank, dims, type, strides);
}

static dnnl_status_t append_eltwise(dnnl_post_ops_t ops, dnnl_alg_kind_t algorithm, float alpha)
{
    return dnnl_post_ops_append_eltwise(ops, 1.0f, algorithm, alpha, 0);
}

/* The second half of creating a descriptor in oneDNN 2: from an operation descriptor. */
static dnnl_status_t create(dnnl_primitive_desc_t *pd, dnnl_status_t described, const void *op,
                            dnnl_engine_t engine, const_dnnl_primitive_attr_t attr,
                            const_dnnl_primitive_desc_t hint)
{
    return described == dnnl_success ? dnnl_primitive_desc_create(pd, op, attr, engine, hint)
                                     : described;
}

dnnl_status_t gr_onednn_conv(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, dnnl_prop_kind_t prop,
                             dnnl_alg_kind_t algorithm, gr_md src, gr_md weights, gr_md bias,
                             gr_md dst, const dnnl_dims_t strides, const dnnl_dims_t dilates,
                             const dnnl_dims_t pad_l, const dnnl_dims_t pad_r,
                             const_dnnl_primitive_attr_t attr)
{
    dnnl_convolution_desc_t d;
    const dnnl_status_t status = dnnl_dilated_convolution_forward_desc_init(
        &d, prop, algorithm, src, weights, bias, dst, strides, dilates, pad_l, pad_r);
    return create(pd, status, &d, engine, attr, NULL);
}

dnnl_status_t gr_onednn_conv_data(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                  dnnl_alg_kind_t algorithm, gr_md diff_src, gr_md weights,
                                  gr_md diff_dst, const dnnl_dims_t strides,
                                  const dnnl_dims_t dilates, const dnnl_dims_t pad_l,
                                  const dnnl_dims_t pad_r, const_dnnl_primitive_desc_t hint,
                                  const_dnnl_primitive_attr_t attr)
{
    dnnl_convolution_desc_t d;
    const dnnl_status_t status = dnnl_dilated_convolution_backward_data_desc_init(
        &d, algorithm, diff_src, weights, diff_dst, strides, dilates, pad_l, pad_r);
    return create(pd, status, &d, engine, attr, hint);
}

dnnl_status_t gr_onednn_conv_weights(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                     dnnl_alg_kind_t algorithm, gr_md src, gr_md diff_weights,
                                     gr_md diff_bias, gr_md diff_dst, const dnnl_dims_t strides,
                                     const dnnl_dims_t dilates, const dnnl_dims_t pad_l,
                                     const dnnl_dims_t pad_r, const_dnnl_primitive_desc_t hint,
                                     const_dnnl_primitive_attr_t attr)
{
    dnnl_convolution_desc_t d;
    const dnnl_status_t status = dnnl_dilated_convolution_backward_weights_desc_init(
        &d, algorithm, src, diff_weights, diff_bias, diff_dst, strides, dilates, pad_l, pad_r);
    return create(pd, status, &d, engine, attr, hint);
}

dnnl_status_t gr_onednn_linear(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                               dnnl_prop_kind_t prop, gr_md src, gr_md weights, gr_md bias,
                               gr_md dst, const_dnnl_primitive_attr_t attr)
{
    dnnl_inner_product_desc_t d;
    const dnnl_status_t status =
        dnnl_inner_product_forward_desc_init(&d, prop, src, weights, bias, dst);
    return create(pd, status, &d, engine, attr, NULL);
}

dnnl_status_t gr_onednn_linear_data(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, gr_md diff_src,
                                    gr_md weights, gr_md diff_dst, const_dnnl_primitive_desc_t hint,
                                    const_dnnl_primitive_attr_t attr)
{
    dnnl_inner_product_desc_t d;
    const dnnl_status_t status =
        dnnl_inner_product_backward_data_desc_init(&d, diff_src, weights, diff_dst);
    return create(pd, status, &d, engine, attr, hint);
}

dnnl_status_t gr_onednn_linear_weights(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, gr_md src,
                                       gr_md diff_weights, gr_md diff_bias, gr_md diff_dst,
                                       const_dnnl_primitive_desc_t hint,
                                       const_dnnl_primitive_attr_t attr)
{
    dnnl_inner_product_desc_t d;
    const dnnl_status_t status =
        dnnl_inner_product_backward_weights_desc_init(&d, src, diff_weights, diff_bias, diff_dst);
    return create(pd, status, &d, engine, attr, hint);
}

dnnl_status_t gr_onednn_pool(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, dnnl_prop_kind_t prop,
                             dnnl_alg_kind_t algorithm, gr_md src, gr_md dst,
                             const dnnl_dims_t strides, const dnnl_dims_t kernel,
                             const dnnl_dims_t dilation, const dnnl_dims_t pad_l,
                             const dnnl_dims_t pad_r, const_dnnl_primitive_attr_t attr)
{
    dnnl_pooling_v2_desc_t d;
    const dnnl_status_t status = dnnl_pooling_v2_forward_desc_init(
        &d, prop, algorithm, src, dst, strides, kernel, dilation, pad_l, pad_r);
    return create(pd, status, &d, engine, attr, NULL);
}

dnnl_status_t gr_onednn_pool_backward(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                      dnnl_alg_kind_t algorithm, gr_md diff_src, gr_md diff_dst,
                                      const dnnl_dims_t strides, const dnnl_dims_t kernel,
                                      const dnnl_dims_t dilation, const dnnl_dims_t pad_l,
                                      const dnnl_dims_t pad_r, const_dnnl_primitive_desc_t hint,
                                      const_dnnl_primitive_attr_t attr)
{
    dnnl_pooling_v2_desc_t d;
    const dnnl_status_t status = dnnl_pooling_v2_backward_desc_init(
        &d, algorithm, diff_src, diff_dst, strides, kernel, dilation, pad_l, pad_r);
    return create(pd, status, &d, engine, attr, hint);
}

dnnl_status_t gr_onednn_eltwise(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                dnnl_prop_kind_t prop, dnnl_alg_kind_t algorithm, gr_md src,
                                gr_md dst, float alpha, float beta,
                                const_dnnl_primitive_attr_t attr)
{
    (void)dst;
    dnnl_eltwise_desc_t d;
    const dnnl_status_t status =
        dnnl_eltwise_forward_desc_init(&d, prop, algorithm, src, alpha, beta);
    return create(pd, status, &d, engine, attr, NULL);
}

dnnl_status_t gr_onednn_eltwise_backward(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                         dnnl_alg_kind_t algorithm, gr_md diff_src, gr_md diff_dst,
                                         gr_md data, float alpha, float beta,
                                         const_dnnl_primitive_desc_t hint,
                                         const_dnnl_primitive_attr_t attr)
{
    (void)diff_src;
    dnnl_eltwise_desc_t d;
    const dnnl_status_t status =
        dnnl_eltwise_backward_desc_init(&d, algorithm, diff_dst, data, alpha, beta);
    return create(pd, status, &d, engine, attr, hint);
}

#endif

/* ---- descriptors ------------------------------------------------------------------------- */

static const dnnl_data_type_t types[GR_DTYPE_COUNT] = {
    [GR_F32] = dnnl_f32, [GR_BF16] = dnnl_bf16, [GR_S32] = dnnl_s32, [GR_U8] = dnnl_u8};

bool gr_onednn_ok(dnnl_status_t status, const struct gr_node *node, struct gr_error *err)
{
    if (status == dnnl_success)
        return true;
    return gr_fail(err, status == dnnl_out_of_memory ? GR_ERR_RUNTIME : GR_ERR_MODEL,
                   "%s (%s): oneDNN has no such computation (status %d)", node ? node->name : "-",
                   node ? node->op->kind.name : "-", (int)status);
}

bool gr_desc_init(struct gr_desc *desc, int rank, const int64_t *dims, enum gr_dtype dtype,
                  enum gr_format format, struct gr_error *err)
{
    dnnl_dims_t all = {0}, strides = {0};
    int64_t stride = 1;
    for (int i = rank; i-- > 0;) {
        all[i] = dims[i];
        strides[i] = stride;
        stride *= dims[i];
    }
    const dnnl_status_t status = format == GR_FORMAT_ANY
                                     ? md_by_tag(desc, rank, all, types[dtype], dnnl_format_tag_any)
                                     : md_by_strides(desc, rank, all, types[dtype], strides);
    desc->made = status == dnnl_success;
    return gr_onednn_ok(status, NULL, err);
}

bool gr_desc_of(struct gr_desc *desc, const struct gr_value *value, enum gr_format format,
                struct gr_error *err)
{
    const int64_t one = 1; /* oneDNN has no rank 0 */
    const bool scalar = value->shape.rank == 0;
    return gr_desc_init(desc, scalar ? 1 : value->shape.rank, scalar ? &one : value->shape.dim,
                        value->dtype, format, err);
}

/* An instruction set is bits, one for each that it includes; their numbers have no order. */
static bool is_wide(void)
{
    const unsigned isa = (unsigned)dnnl_get_effective_cpu_isa(), widest = dnnl_cpu_isa_avx512_core;
    return (isa & widest) == widest;
}

int64_t gr_onednn_widest_lanes(const struct gr_backend *backend)
{
    return backend->kernels == GR_KERNELS_OPENBLAS ? 1 : is_wide() ? 16 : 8;
}

bool gr_desc_blocked(struct gr_desc *desc, const struct gr_value *value, struct gr_error *err)
{
    if (value->shape.rank != 4)
        return gr_desc_of(desc, value, GR_FORMAT_PLAIN, err);
    dnnl_dims_t dims = {0};
    memcpy(dims, value->shape.dim, 4 * sizeof *dims);
    const dnnl_status_t status =
        md_by_tag(desc, 4, dims, types[value->dtype], is_wide() ? dnnl_nChw16c : dnnl_nChw8c);
    desc->made = status == dnnl_success;
    return gr_onednn_ok(status, value->producer, err);
}

/* ---- layouts ----------------------------------------------------------------------------- */

struct gr_onednn_layout {
    struct gr_layout base; /* first, so that a pointer to it is a pointer to this */
    struct gr_desc desc;
    char name[40];
};

bool gr_desc_in(struct gr_desc *desc, const struct gr_value *value, const struct gr_layout *layout,
                struct gr_error *err)
{
    if (!layout || layout == &gr_layout_plain)
        return gr_desc_of(desc, value, GR_FORMAT_PLAIN, err);
    if (!copy_md(desc, gr_desc_get(&((const struct gr_onednn_layout *)layout)->desc)))
        return gr_fail_memory(err, "a memory descriptor");
    return true;
}

/* "nChw16c" in the letters of the tensor's dimensions: outer strides first, then the blocks. */
static void name_layout(const struct facts *f, bool weights, char *name, size_t size)
{
    static const char *const letters[2][6] = {{"", "x", "nc", "ncw", "nchw", "ncdhw"},
                                              {"", "o", "oi", "oiw", "oihw", "goihw"}};
    const char *letter = f->rank < 6 ? letters[weights][f->rank] : "abcdefghijkl";
    bool used[DNNL_MAX_NDIMS] = {false}, split[DNNL_MAX_NDIMS] = {false};
    size_t length = 0;
    if (!f->blocked) {
        snprintf(name, size, "opaque");
        return;
    }
    for (int b = 0; b < f->n_blocks; b++)
        split[f->indices[b]] = true;
    for (int k = 0; k < f->rank; k++) {
        int widest = -1;
        for (int d = 0; d < f->rank; d++)
            if (!used[d] && (widest < 0 || f->strides[d] > f->strides[widest]))
                widest = d;
        used[widest] = true;
        const char c = letter[widest];
        if (length + 1 < size)
            name[length++] = split[widest] ? (char)(c - 'a' + 'A') : c;
    }
    name[length] = '\0';
    for (int b = 0; b < f->n_blocks; b++) {
        const int n = snprintf(name + length, size - length, "%d%c", (int)f->blocks[b],
                               letter[f->indices[b]]);
        if (n < 0 || (size_t)n >= size - length)
            return;
        length += (size_t)n;
    }
}

static bool is_plain(const struct facts *f)
{
    int64_t stride = 1;
    if (!f->blocked || f->n_blocks)
        return false;
    for (int d = f->rank; d-- > 0; stride *= f->dims[d])
        if (f->dims[d] > 1 && f->strides[d] != stride)
            return false;
    return true;
}

/* The interned layout of md, plain or not; the first to ask says whose letters its name has. */
static const struct gr_layout *intern(struct gr_backend *backend, gr_md md, bool weights,
                                      struct gr_error *err)
{
    struct facts facts;
    facts_of(md, &facts);
    for (size_t i = 0; i < backend->n_layouts; i++)
        if (dnnl_memory_desc_equal(gr_desc_get(&backend->layouts[i]->desc), md))
            return &backend->layouts[i]->base;
    struct gr_onednn_layout *layout = calloc(1, sizeof *layout);
    if (!layout ||
        !gr_grow((void **)&backend->layouts, &backend->layouts_capacity, backend->n_layouts,
                 sizeof(struct gr_onednn_layout *)) ||
        !copy_md(&layout->desc, md)) {
        free(layout);
        gr_fail_memory(err, "a layout");
        return NULL;
    }
    name_layout(&facts, weights, layout->name, sizeof layout->name);
    layout->base = (struct gr_layout){dnnl_memory_desc_get_size(md), layout->name};
    backend->layouts[backend->n_layouts++] = layout;
    return &layout->base;
}

/* gr_layout_plain if md is row-major, else its interned layout. */
static const struct gr_layout *layout_of(struct gr_backend *backend, gr_md md, bool weights,
                                         struct gr_error *err)
{
    struct facts facts;
    facts_of(md, &facts);
    return is_plain(&facts) ? &gr_layout_plain : intern(backend, md, weights, err);
}

const struct gr_layout *gr_onednn_workspace(struct gr_backend *backend, size_t bytes,
                                            struct gr_error *err)
{
    const int64_t count = (int64_t)bytes;
    struct gr_desc desc = {0};
    if (!gr_desc_init(&desc, 1, &count, GR_U8, GR_FORMAT_PLAIN, err))
        return NULL;
    const struct gr_layout *layout = intern(backend, gr_desc_get(&desc), false, err);
    gr_desc_release(&desc);
    return layout;
}

const struct gr_layout *gr_onednn_lanes(struct gr_backend *backend, const struct gr_value *value,
                                        const struct gr_shape *shape, enum gr_dtype dtype,
                                        int64_t lanes, struct gr_error *err)
{
    const dnnl_format_tag_t tag = lanes == 16 ? dnnl_nChw16c : lanes == 8 ? dnnl_nChw8c : dnnl_nchw;
    dnnl_dims_t dims = {0};
    struct gr_desc desc = {0};
    memcpy(dims, shape->dim, 4 * sizeof *dims);
    const dnnl_status_t status = md_by_tag(&desc, 4, dims, types[dtype], tag);
    desc.made = status == dnnl_success;
    if (!gr_onednn_ok(status, value->producer, err))
        return NULL;
    const struct gr_layout *layout = value->kind == GR_VALUE_WORKSPACE
                                         ? intern(backend, gr_desc_get(&desc), false, err)
                                         : layout_of(backend, gr_desc_get(&desc), false, err);
    gr_desc_release(&desc);
    return layout;
}

void gr_onednn_layouts_release(struct gr_backend *backend)
{
    for (size_t i = 0; i < backend->n_layouts; i++) {
        gr_desc_release(&backend->layouts[i]->desc);
        free(backend->layouts[i]);
    }
    free(backend->layouts);
}

/* ---- kernels ----------------------------------------------------------------------------- */

enum { MAX_ARGS = 10 };

struct kernel_state {
    dnnl_primitive_t primitive;
    dnnl_stream_t stream;
    int n_args; /* the scratchpad included, last */
    dnnl_exec_arg_t args[MAX_ARGS];
    int places[MAX_ARGS];
    bool has_scratch;
    char impl[64];
};

static void free_kernel_state(void *pointer)
{
    struct kernel_state *state = pointer;
    for (int i = 0; state && i < state->n_args; i++)
        dnnl_memory_destroy(state->args[i].memory);
    if (state && state->primitive)
        dnnl_primitive_destroy(state->primitive);
    free(state);
}

static bool bind_kernel(struct gr_kernel *kernel, const struct gr_buffers *buffers,
                        struct gr_error *err)
{
    struct kernel_state *state = kernel->state;
    for (int i = 0; i < state->n_args; i++) {
        const int place = state->places[i];
        void *data = state->has_scratch && i == state->n_args - 1 ? buffers->scratch
                     : place >= 0                                 ? buffers->src[place]
                                                                  : buffers->dst[-1 - place];
        if (!gr_onednn_ok(dnnl_memory_set_data_handle(state->args[i].memory, data), NULL, err))
            return false;
    }
    return true;
}

static bool run_kernel(const struct gr_kernel *kernel, const struct gr_node *node,
                       const struct gr_buffers *buffers, const struct gr_run *run,
                       struct gr_error *err)
{
    (void)buffers;
    (void)run;
    const struct kernel_state *state = kernel->state;
    dnnl_status_t status =
        dnnl_primitive_execute(state->primitive, state->stream, state->n_args, state->args);
    if (status == dnnl_success)
        status = dnnl_stream_wait(state->stream);
    if (status == dnnl_success)
        return true;
    return gr_fail(err, GR_ERR_RUNTIME, "%s (%s): oneDNN failed with status %d", node->name,
                   node->op->kind.name, (int)status);
}

static bool add_arg(struct kernel_state *state, dnnl_engine_t engine, gr_md md, int arg, int place)
{
    dnnl_memory_t memory;
    if (dnnl_memory_create(&memory, md, engine, DNNL_MEMORY_NONE) != dnnl_success)
        return false;
    state->args[state->n_args] = (dnnl_exec_arg_t){arg, memory};
    state->places[state->n_args++] = place;
    return true;
}

static bool fill_kernel(struct gr_planning *planning, const_dnnl_primitive_desc_t pd,
                        struct kernel_state *state, const struct gr_onednn_arg *args, int n_args,
                        struct gr_error *err)
{
    struct gr_backend *backend = planning->backend;
    for (int i = 0; i < n_args; i++) {
        gr_md md = dnnl_primitive_desc_query_md(pd, dnnl_query_exec_arg_md, args[i].arg);
        const int place = args[i].place;
        const struct gr_value *value =
            place >= 0 ? planning->node->inputs[place] : planning->node->outputs[-1 - place];
        const bool weights =
            args[i].arg == DNNL_ARG_WEIGHTS || args[i].arg == DNNL_ARG_DIFF_WEIGHTS;
        const struct gr_layout *layout = value->kind == GR_VALUE_WORKSPACE
                                             ? intern(backend, md, false, err)
                                             : layout_of(backend, md, weights, err);
        if (!layout)
            return false;
        *(place >= 0 ? &planning->src[place] : &planning->dst[-1 - place]) = layout;
        if (!add_arg(state, backend->engine, md, args[i].arg, args[i].place))
            return gr_fail_memory(err, "a kernel's arguments");
    }
    gr_md scratch = dnnl_primitive_desc_query_md(pd, dnnl_query_exec_arg_md, DNNL_ARG_SCRATCHPAD);
    planning->kernel->scratch_bytes = scratch ? dnnl_memory_desc_get_size(scratch) : 0;
    if (planning->kernel->scratch_bytes) {
        if (!add_arg(state, backend->engine, scratch, DNNL_ARG_SCRATCHPAD, 0))
            return gr_fail_memory(err, "a kernel's scratch");
        state->has_scratch = true;
    }
    return gr_onednn_ok(dnnl_primitive_create(&state->primitive, pd), planning->node, err);
}

static const char *impl_of(const_dnnl_primitive_desc_t pd)
{
    const char *impl = NULL;
    dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, (void *)&impl);
    return impl ? impl : "";
}

bool gr_onednn_is_ref(const_dnnl_primitive_desc_t pd)
{
    return strstr(impl_of(pd), "ref") != NULL;
}

bool gr_onednn_kernel(struct gr_planning *planning, dnnl_primitive_desc_t pd,
                      const struct gr_onednn_arg *args, int n_args, struct gr_error *err)
{
    struct kernel_state *state = calloc(1, sizeof *state);
    bool ok = state != NULL;
    if (!ok) {
        gr_fail_memory(err, "a kernel");
        goto out;
    }
    state->stream = planning->backend->stream;
    planning->kernel->state = state;
    planning->kernel->free_state = free_kernel_state;
    planning->kernel->bind = bind_kernel;
    planning->kernel->run = run_kernel;
    snprintf(state->impl, sizeof state->impl, "%s", impl_of(pd));
    planning->kernel->impl = state->impl;
    ok = fill_kernel(planning, pd, state, args, n_args, err);
out:
    dnnl_primitive_desc_destroy(pd);
    return ok;
}

dnnl_primitive_attr_t gr_onednn_fused_attr(gr_md addend, const dnnl_alg_kind_t *algorithm,
                                           float alpha)
{
    dnnl_primitive_attr_t attr = NULL;
    dnnl_post_ops_t ops = NULL;
    if (dnnl_primitive_attr_create(&attr) != dnnl_success)
        return NULL;
    const bool ok =
        dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user) == dnnl_success &&
        dnnl_post_ops_create(&ops) == dnnl_success &&
        (!addend || dnnl_post_ops_append_binary(ops, dnnl_binary_add, addend) == dnnl_success) &&
        (!algorithm || append_eltwise(ops, *algorithm, alpha) == dnnl_success) &&
        dnnl_primitive_attr_set_post_ops(attr, ops) == dnnl_success;
    dnnl_post_ops_destroy(ops);
    if (!ok) {
        dnnl_primitive_attr_destroy(attr);
        return NULL;
    }
    return attr;
}

/* ---- reorders ---------------------------------------------------------------------------- */

/*
 * The descriptors of both sides of a reorder. Logical dims may differ from the value's (a grouped
 * convolution sees its weights as five-dimensional); the plain side follows the other.
 */
static bool reorder_descs(const struct gr_value *value, const struct gr_layout *from,
                          const struct gr_layout *to, struct gr_desc *src, struct gr_desc *dst,
                          struct gr_error *err)
{
    const struct gr_layout *laid = to != &gr_layout_plain ? to : from;
    if (laid == &gr_layout_plain)
        return gr_desc_of(src, value, GR_FORMAT_PLAIN, err) &&
               gr_desc_of(dst, value, GR_FORMAT_PLAIN, err);
    struct facts f;
    facts_of(gr_desc_get(&((const struct gr_onednn_layout *)laid)->desc), &f);
    return (from == &gr_layout_plain
                ? gr_desc_init(src, f.rank, f.dims, value->dtype, GR_FORMAT_PLAIN, err)
                : gr_desc_in(src, value, from, err)) &&
           (to == &gr_layout_plain
                ? gr_desc_init(dst, f.rank, f.dims, value->dtype, GR_FORMAT_PLAIN, err)
                : gr_desc_in(dst, value, to, err));
}

dnnl_status_t gr_onednn_reorder(dnnl_primitive_desc_t *pd, struct gr_backend *backend,
                                const struct gr_value *value, const struct gr_layout *from,
                                const struct gr_layout *to)
{
    struct gr_desc src = {0}, dst = {0};
    dnnl_status_t status = dnnl_out_of_memory;
    if (reorder_descs(value, from, to, &src, &dst, NULL))
        status =
            dnnl_reorder_primitive_desc_create(pd, gr_desc_get(&src), backend->engine,
                                               gr_desc_get(&dst), backend->engine, backend->attr);
    gr_desc_release(&src);
    gr_desc_release(&dst);
    return status;
}

bool gr_onednn_convert(struct gr_backend *backend, const struct gr_value *value,
                       const struct gr_layout *from, const void *src, const struct gr_layout *to,
                       void *dst, struct gr_error *err)
{
    if (from == to) {
        memcpy(dst, src, gr_layout_bytes(from, value));
        return true;
    }
    bool ok = false;
    void *scratch = NULL;
    const struct gr_layout *wants = from, *gives = to;
    struct gr_kernel kernel = {0};
    struct gr_value *ends[] = {(struct gr_value *)(uintptr_t)value,
                               (struct gr_value *)(uintptr_t)value}; /* only read */
    struct gr_node node = {.name = value->name,
                           .op = &gr_op_reorder,
                           .n_inputs = 1,
                           .n_outputs = 1,
                           .inputs = ends,
                           .outputs = ends + 1};
    struct gr_planning planning = {&node, backend, &wants, &gives, &kernel};
    static const struct gr_onednn_arg args[] = {{DNNL_ARG_FROM, 0}, {DNNL_ARG_TO, GR_DST(0)}};
    dnnl_primitive_desc_t pd;
    if (gr_onednn_reorder(&pd, backend, value, from, to) != dnnl_success) {
        gr_fail(err, GR_ERR_RUNTIME, "'%s' cannot be reordered from %s to %s", value->name,
                from->name, to->name);
        goto out;
    }
    if (!gr_onednn_kernel(&planning, pd, args, 2, err))
        goto out;
    scratch =
        kernel.scratch_bytes ? aligned_alloc(64, (kernel.scratch_bytes + 63) / 64 * 64) : NULL;
    void *in[] = {(void *)(uintptr_t)src}, *out[] = {dst};
    const struct gr_buffers buffers = {in, out, scratch};
    const struct gr_run run = {0};
    if (kernel.scratch_bytes && !scratch) {
        gr_fail_memory(err, "reordering");
        goto out;
    }
    ok = kernel.bind(&kernel, &buffers, err) && kernel.run(&kernel, &node, &buffers, &run, err);
out:
    free(scratch);
    if (kernel.free_state)
        kernel.free_state(kernel.state);
    return ok;
}
