/*
 * A primitive alone, to be timed: all its arguments lie in the scratch, so that what the node has
 * no value for (the workspace of oneDNN's own normalisation) needs no place in the graph.
 */
#include <stdlib.h>

#include "graph/trial.h"
#include "onednn.h"

/* Every argument that a primitive of ours may have, but for the sources of one with many. */
static const int usual[] = {
    DNNL_ARG_SRC_0,        DNNL_ARG_SRC_1,     DNNL_ARG_DST,        DNNL_ARG_WEIGHTS,
    DNNL_ARG_BIAS,         DNNL_ARG_MEAN,      DNNL_ARG_VARIANCE,   DNNL_ARG_SCALE,
    DNNL_ARG_SHIFT,        DNNL_ARG_WORKSPACE, DNNL_ARG_DIFF_SRC,   DNNL_ARG_DIFF_DST,
    DNNL_ARG_DIFF_WEIGHTS, DNNL_ARG_DIFF_BIAS, DNNL_ARG_DIFF_SCALE, DNNL_ARG_DIFF_SHIFT,
};

enum { USUAL = sizeof usual / sizeof *usual, MOST = GR_ONEDNN_ARGS - 1, ALIGN = 4096 };

struct alone {
    struct gr_onednn_call *call;
    int n_args;
    size_t at[MOST]; /* of each argument in the scratch, */
    size_t bytes;    /* and of all of them; the scratchpad follows */
};

static void free_state(void *state)
{
    struct alone *s = state;
    gr_onednn_call_free(s->call);
    free(s);
}

static bool bind(struct gr_kernel *kernel, const struct gr_buffers *buffers, struct gr_error *err)
{
    struct alone *s = kernel->state;
    char *scratch = buffers->scratch;
    void *dst[MOST];
    gr_trial_fill(scratch, s->bytes);
    for (int i = 0; i < s->n_args; i++)
        dst[i] = scratch + s->at[i];
    return gr_onednn_call_bind(s->call, &(struct gr_buffers){NULL, dst, scratch + s->bytes}, err);
}

static bool run(const struct gr_kernel *kernel, const struct gr_node *node,
                const struct gr_buffers *buffers, const struct gr_run *run_of, struct gr_error *err)
{
    (void)buffers, (void)run_of;
    return gr_onednn_call_run(((const struct alone *)kernel->state)->call, node, err);
}

static bool is_backward(const_dnnl_primitive_desc_t pd)
{
    gr_md md = dnnl_primitive_desc_query_md(pd, dnnl_query_exec_arg_md, DNNL_ARG_DIFF_DST);
    return md && dnnl_memory_desc_get_size(md);
}

/* Gives the argument a place, if the primitive has it. False: there are too many. */
static bool add(struct alone *s, struct gr_onednn_arg args[MOST], const_dnnl_primitive_desc_t pd,
                int arg)
{
    gr_md md = dnnl_primitive_desc_query_md(pd, dnnl_query_exec_arg_md, arg);
    const size_t bytes = md ? dnnl_memory_desc_get_size(md) : 0;
    if (!bytes || (arg == DNNL_ARG_SHIFT && !GR_ONEDNN_NORM_BACKWARD_HAS_SHIFT && is_backward(pd)))
        return true;
    if (s->n_args == MOST)
        return false;
    args[s->n_args] = (struct gr_onednn_arg){arg, GR_DST(s->n_args)};
    s->at[s->n_args++] = s->bytes;
    s->bytes += (bytes + ALIGN - 1) / ALIGN * ALIGN;
    return true;
}

/*
 * Does it add a tensor to its result? oneDNN 2 answers for the tensor of any post-op, and where the
 * first is a function (a ReLU), with memory that nobody has written.
 */
static bool adds_tensor(const_dnnl_primitive_desc_t pd)
{
    const_dnnl_primitive_attr_t attr = NULL;
    const_dnnl_post_ops_t ops = NULL;
    return dnnl_primitive_desc_get_attr(pd, &attr) == dnnl_success &&
           dnnl_primitive_attr_get_post_ops(attr, &ops) == dnnl_success &&
           dnnl_post_ops_len(ops) > 0 && dnnl_post_ops_get_kind(ops, 0) == dnnl_binary;
}

/* Gives each argument a place. *fits is false where there are too many. NULL: out of memory. */
static struct alone *lay_out(const struct gr_planning *planning, const_dnnl_primitive_desc_t pd,
                             struct gr_onednn_arg args[MOST], bool *fits)
{
    struct alone *s = calloc(1, sizeof *s);
    *fits = s != NULL;
    for (int i = 0; *fits && i < USUAL; i++)
        *fits = add(s, args, pd, usual[i]);
    if (*fits && adds_tensor(pd))
        *fits = add(s, args, pd, DNNL_ARG_ATTR_MULTIPLE_POST_OP(0) | DNNL_ARG_SRC_1);
    for (int i = 0; *fits && i < planning->node->n_inputs; i++)
        *fits = add(s, args, pd, DNNL_ARG_MULTIPLE_SRC + i);
    return s;
}

bool gr_onednn_alone(struct gr_planning *planning, dnnl_status_t status, dnnl_primitive_desc_t pd,
                     struct gr_error *err)
{
    struct gr_onednn_arg args[MOST];
    bool fits = false;
    if (status != dnnl_success)
        return status == dnnl_unimplemented || gr_onednn_ok(status, planning->node, err);
    struct alone *s = NULL;
    bool ok = gr_onednn_is_ref(pd) || (s = lay_out(planning, pd, args, &fits)) ||
              gr_fail_memory(err, "a primitive");
    if (fits)
        ok = (s->call = gr_onednn_call_new(planning->backend, pd, args, s->n_args, err)) != NULL;
    dnnl_primitive_desc_destroy(pd);
    if (!ok || !fits) {
        free(s);
        return ok;
    }
    *planning->kernel =
        (struct gr_kernel){.impl = gr_onednn_call_impl(s->call),
                           .scratch_bytes = s->bytes + gr_onednn_call_scratch(s->call),
                           .state = s,
                           .bind = bind,
                           .run = run,
                           .free_state = free_state};
    return true;
}
