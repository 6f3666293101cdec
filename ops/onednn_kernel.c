/*
 * Kernels and reorders made of oneDNN primitives; see onednn.h. Nothing here depends on oneDNN's
 * version.
 */
#include "onednn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops.h"
#include "reorder_loops.h"

/* ---- calls ------------------------------------------------------------------------------- */

struct gr_onednn_call {
    struct gr_backend *backend;
    dnnl_primitive_t primitive;
    struct gr_reorder_loops *loops; /* in its stead; arguments are then src and dst */
    const char *impl;
    size_t scratch_bytes;
    bool shares; /* its memory objects are the backend's, obtained when it is bound */
    int16_t places[GR_ONEDNN_ARGS];
    int n_args;             /* the scratchpad included, last */
    dnnl_exec_arg_t args[]; /* [n_args] */
};

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

static bool add_arg(struct gr_onednn_call *call, const_dnnl_primitive_desc_t pd, int arg, int place)
{
    dnnl_memory_t memory = NULL;
    gr_md md = dnnl_primitive_desc_query_md(pd, dnnl_query_exec_arg_md, arg);
    if (!call->shares &&
        dnnl_memory_create(&memory, md, call->backend->engine, DNNL_MEMORY_NONE) != dnnl_success)
        return false;
    call->args[call->n_args] = (dnnl_exec_arg_t){arg, memory};
    call->places[call->n_args++] = (int16_t)place;
    return true;
}

void gr_onednn_call_free(struct gr_onednn_call *call)
{
    for (int i = 0; call && i < call->n_args; i++)
        if (call->shares)
            gr_onednn_memory_return(call->backend, call->args[i].memory);
        else
            dnnl_memory_destroy(call->args[i].memory);
    if (call) {
        dnnl_primitive_destroy(call->primitive);
        gr_reorder_loops_free(call->loops);
    }
    free(call);
}

/* The primitive, or the loops in its stead. */
static bool make_primitive(struct gr_onednn_call *call, const_dnnl_primitive_desc_t pd, bool loops,
                           struct gr_error *err)
{
    if (loops) {
        call->impl = "loops";
        call->loops = gr_reorder_loops_new(pd, err);
        return call->loops != NULL;
    }
    const_dnnl_primitive_desc_t kept;
    if (!gr_onednn_ok(dnnl_primitive_create(&call->primitive, pd), NULL, err) ||
        !gr_onednn_ok(dnnl_primitive_get_primitive_desc(call->primitive, &kept), NULL, err))
        return false;
    call->impl = impl_of(kept);
    return true;
}

static struct gr_onednn_call *call_new(struct gr_backend *backend, const_dnnl_primitive_desc_t pd,
                                       const struct gr_onednn_arg *args, int n_args, bool shares,
                                       struct gr_error *err)
{
    struct gr_onednn_call *call =
        calloc(1, sizeof *call + (size_t)(n_args + 1) * sizeof call->args[0]);
    if (!call) {
        gr_fail_memory(err, "a kernel");
        return NULL;
    }
    const bool loops = gr_reorder_loops_needed(backend, pd);
    gr_md scratch = dnnl_primitive_desc_query_md(pd, dnnl_query_exec_arg_md, DNNL_ARG_SCRATCHPAD);
    call->backend = backend;
    call->shares = shares && !loops;
    call->scratch_bytes = scratch && !loops ? dnnl_memory_desc_get_size(scratch) : 0;
    bool ok = true;
    for (int i = 0; ok && i < n_args; i++)
        ok = add_arg(call, pd, args[i].arg, args[i].place);
    if (ok && call->scratch_bytes)
        ok = add_arg(call, pd, DNNL_ARG_SCRATCHPAD, 0);
    if (!ok)
        gr_fail_memory(err, "a kernel");
    if (ok && make_primitive(call, pd, loops, err))
        return call;
    gr_onednn_call_free(call);
    return NULL;
}

struct gr_onednn_call *gr_onednn_call_new(struct gr_backend *backend,
                                          const_dnnl_primitive_desc_t pd,
                                          const struct gr_onednn_arg *args, int n_args,
                                          struct gr_error *err)
{
    return call_new(backend, pd, args, n_args, false, err);
}

size_t gr_onednn_call_scratch(const struct gr_onednn_call *call)
{
    return call->scratch_bytes;
}

const char *gr_onednn_call_impl(const struct gr_onednn_call *call)
{
    return call->impl;
}

/* Gives an argument the backend's memory object for this address, and returns the one it had. */
static bool share(struct gr_onednn_call *call, dnnl_exec_arg_t *arg, void *data)
{
    const_dnnl_primitive_desc_t pd;
    if (dnnl_primitive_get_primitive_desc(call->primitive, &pd) != dnnl_success)
        return false;
    gr_md md = dnnl_primitive_desc_query_md(pd, dnnl_query_exec_arg_md, arg->arg);
    dnnl_memory_t memory = gr_onednn_memory_obtain(call->backend, md, data);
    if (!memory)
        return false;
    gr_onednn_memory_return(call->backend, arg->memory);
    arg->memory = memory;
    return true;
}

bool gr_onednn_call_bind(struct gr_onednn_call *call, const struct gr_buffers *buffers,
                         struct gr_error *err)
{
    for (int i = 0; i < call->n_args; i++) {
        const int place = call->places[i];
        void *data = call->scratch_bytes && i == call->n_args - 1 ? buffers->scratch
                     : place >= 0                                 ? buffers->src[place]
                                                                  : buffers->dst[-1 - place];
        if (call->shares && !share(call, &call->args[i], data))
            return gr_fail_memory(err, "a kernel");
        if (!call->shares &&
            !gr_onednn_ok(dnnl_memory_set_data_handle(call->args[i].memory, data), NULL, err))
            return false;
    }
    return true;
}

static dnnl_status_t run_loops(const struct gr_onednn_call *call)
{
    void *src = NULL, *dst = NULL;
    dnnl_status_t status = dnnl_memory_get_data_handle(call->args[0].memory, &src);
    if (status == dnnl_success)
        status = dnnl_memory_get_data_handle(call->args[1].memory, &dst);
    if (status == dnnl_success)
        gr_reorder_loops_run(call->loops, src, dst);
    return status;
}

static dnnl_status_t run_primitive(const struct gr_onednn_call *call)
{
    dnnl_stream_t stream = call->backend->stream;
    const dnnl_status_t status =
        dnnl_primitive_execute(call->primitive, stream, call->n_args, call->args);
    return status == dnnl_success ? dnnl_stream_wait(stream) : status;
}

bool gr_onednn_call_run(const struct gr_onednn_call *call, const struct gr_node *node,
                        struct gr_error *err)
{
    const dnnl_status_t status = call->loops ? run_loops(call) : run_primitive(call);
    if (status == dnnl_success || status == dnnl_out_of_memory)
        return gr_onednn_ok(status, node, err);
    return gr_fail(err, GR_ERR_RUNTIME, "%s (%s): oneDNN failed with status %d", node->name,
                   node->op->kind.name, (int)status);
}

/* ---- kernels of one call ----------------------------------------------------------------- */

static bool bind_kernel(struct gr_kernel *kernel, const struct gr_buffers *buffers,
                        struct gr_error *err)
{
    return gr_onednn_call_bind(kernel->state, buffers, err);
}

static bool run_kernel(const struct gr_kernel *kernel, const struct gr_node *node,
                       const struct gr_buffers *buffers, const struct gr_run *run,
                       struct gr_error *err)
{
    (void)buffers, (void)run;
    return gr_onednn_call_run(kernel->state, node, err);
}

static void free_kernel_state(void *state)
{
    gr_onednn_call_free(state);
}

bool gr_onednn_settle(struct gr_planning *planning, const_dnnl_primitive_desc_t pd,
                      const struct gr_onednn_arg *args, int n_args, struct gr_error *err)
{
    for (int i = 0; i < n_args; i++) {
        gr_md md = dnnl_primitive_desc_query_md(pd, dnnl_query_exec_arg_md, args[i].arg);
        const int place = args[i].place;
        const struct gr_value *value =
            place >= 0 ? planning->node->inputs[place] : planning->node->outputs[-1 - place];
        const bool weights =
            args[i].arg == DNNL_ARG_WEIGHTS || args[i].arg == DNNL_ARG_DIFF_WEIGHTS;
        const struct gr_layout *layout =
            gr_onednn_layout(planning->backend, value, md, weights, err);
        if (!layout)
            return false;
        *(place >= 0 ? &planning->src[place] : &planning->dst[-1 - place]) = layout;
    }
    return true;
}

bool gr_onednn_kernel(struct gr_planning *planning, dnnl_primitive_desc_t pd,
                      const struct gr_onednn_arg *args, int n_args, struct gr_error *err)
{
    struct gr_onednn_call *call = gr_onednn_settle(planning, pd, args, n_args, err)
                                      ? call_new(planning->backend, pd, args, n_args, true, err)
                                      : NULL;
    dnnl_primitive_desc_destroy(pd);
    if (!call)
        return false;
    planning->kernel->state = call;
    planning->kernel->free_state = free_kernel_state;
    planning->kernel->bind = bind_kernel;
    planning->kernel->run = run_kernel;
    planning->kernel->impl = call->impl;
    planning->kernel->scratch_bytes = call->scratch_bytes;
    return true;
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
    struct gr_onednn_facts f;
    gr_onednn_facts(gr_onednn_layout_md(laid), &f);
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
    struct gr_planning planning = {
        .node = &node, .backend = backend, .src = &wants, .dst = &gives, .kernel = &kernel};
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
