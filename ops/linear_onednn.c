/*
 * The fully connected layer by oneDNN, in the layouts it likes best. In bf16 the operands of the
 * products are bf16, and their results too where another layer follows; scores are f32.
 */
#include "linear.h"

#include "graph/passes.h"
#include "ops.h"

struct linear_descs {
    struct gr_desc src, weights, bias, dst;
};

/* What each of them is stored in. */
struct types {
    enum gr_dtype src, weights, dst;
};

static const struct gr_node *forward_of(const struct gr_node *node)
{
    return node->forward ? node->forward : node;
}

static bool init_descs(struct linear_descs *d, const struct gr_node *node, int64_t rows,
                       struct types types, bool bias, struct gr_error *err)
{
    const struct gr_linear_sizes s = gr_linear_sizes(node);
    /* A flattened input is read as it lies in plain memory. */
    const bool flat = forward_of(node)->inputs[0]->shape.rank > 2;
    *d = (struct linear_descs){0};
    return gr_desc_init(&d->src, 2, (int64_t[]){s.n, s.c}, types.src,
                        flat ? GR_FORMAT_PLAIN : GR_FORMAT_ANY, err) &&
           gr_desc_init(&d->weights, 2, (int64_t[]){rows, s.c}, types.weights, GR_FORMAT_ANY,
                        err) &&
           gr_desc_init(&d->dst, 2, (int64_t[]){s.n, rows}, types.dst, GR_FORMAT_ANY, err) &&
           (!bias || gr_desc_init(&d->bias, 1, &rows, GR_F32, GR_FORMAT_PLAIN, err));
}

static void release_descs(struct linear_descs *d)
{
    gr_desc_release(&d->src);
    gr_desc_release(&d->weights);
    gr_desc_release(&d->bias);
    gr_desc_release(&d->dst);
}

static dnnl_status_t forward_pd(dnnl_primitive_desc_t *pd, const struct gr_backend *backend,
                                dnnl_prop_kind_t prop, const struct linear_descs *d,
                                const_dnnl_primitive_attr_t attr)
{
    return gr_onednn_linear(pd, backend->engine, prop, gr_desc_get(&d->src),
                            gr_desc_get(&d->weights), gr_desc_get(&d->bias), gr_desc_get(&d->dst),
                            attr);
}

/* The hint that a backward pass wants. */
static dnnl_status_t hint_pd(dnnl_primitive_desc_t *pd, const struct gr_backend *backend,
                             const struct linear_descs *d)
{
    return forward_pd(pd, backend, dnnl_forward_training, d, backend->attr);
}

/* The forward pass with the activation that is fused behind planning's layer. */
static dnnl_status_t fused_pd(dnnl_primitive_desc_t *pd, const struct gr_planning *planning,
                              dnnl_prop_kind_t prop, const struct linear_descs *d)
{
    const struct gr_linear_attrs *a = planning->node->attrs;
    const struct gr_backend *backend = planning->backend;
    if (!a->activation.function)
        return forward_pd(pd, backend, prop, d, backend->attr);
    dnnl_primitive_attr_t fused =
        gr_onednn_fused_attr(NULL, &a->activation.algorithm, a->activation.alpha);
    if (!fused)
        return dnnl_out_of_memory;
    const dnnl_status_t status = forward_pd(pd, backend, prop, d, fused);
    dnnl_primitive_attr_destroy(fused);
    return status;
}

/* The kernel sees [N, C]; a value of another rank lies in the same bytes. */
static bool unflatten(struct gr_planning *planning, int input, struct gr_error *err)
{
    const struct gr_value *value = planning->node->inputs[input];
    if (value->shape.rank > 2)
        planning->src[input] =
            gr_onednn_plain(planning->backend, value, gr_planning_dtype(planning), err);
    return planning->src[input] != NULL;
}

/* The layout of the weight's gradient, where its update happens: the best home of the weight. */
static bool find_home(struct gr_planning *planning, struct gr_error *err)
{
    const struct gr_node *node = planning->node;
    if (planning->precision == GR_PRECISION_F32 || !node->graph->training)
        return true;
    dnnl_primitive_desc_t pd =
        gr_linear_onednn_weights_pd(planning, gr_linear_sizes(node).o, NULL, false, err);
    if (!pd)
        return false;
    planning->home[1] = gr_onednn_layout(
        planning->backend, node->inputs[1],
        dnnl_primitive_desc_query_md(pd, dnnl_query_exec_arg_md, DNNL_ARG_DIFF_WEIGHTS), true, err);
    dnnl_primitive_desc_destroy(pd);
    return planning->home[1] != NULL;
}

/* The first node that reads a value, past those that pass it on as it is; NULL: none. */
static const struct gr_node *first_reader(const struct gr_value *value)
{
    const struct gr_graph *graph = value->producer->graph;
    for (size_t n = (size_t)value->producer->id + 1; n < graph->n_nodes; n++) {
        const struct gr_node *node = graph->nodes[n];
        for (int i = 0; i < node->n_inputs; i++)
            if (node->inputs[i] == value)
                return node->op == &gr_op_reorder ||
                               (gr_node_is_view(node) &&
                                gr_shape_equal(&value->shape, &node->outputs[0]->shape))
                           ? first_reader(node->outputs[0])
                           : node;
    }
    return NULL;
}

/*
 * The type that suits who reads the result. Scores stay f32, for losses and metrics, as do views of
 * another shape; what goes on to another layer, forward or backward, is read in bf16.
 */
static enum gr_dtype result_type(const struct gr_planning *planning)
{
    const struct gr_node *node = planning->node->origin ? planning->node->origin : planning->node;
    const struct gr_node *reader = first_reader(node->outputs[0]);
    const bool goes_on =
        reader && (node->forward ? !gr_node_is_view(reader)
                                 : reader->op == &gr_op_linear || reader->op == &gr_op_dropout);
    return goes_on ? gr_planning_dtype(planning) : GR_F32;
}

bool gr_linear_onednn_forward(struct gr_planning *planning, struct gr_error *err)
{
    const struct gr_linear_attrs *a = planning->node->attrs;
    static const struct gr_onednn_arg args[] = {
        {DNNL_ARG_SRC, 0}, {DNNL_ARG_WEIGHTS, 1}, {DNNL_ARG_DST, GR_DST(0)}, {DNNL_ARG_BIAS, 2}};
    const enum gr_dtype type = gr_planning_dtype(planning);
    dnnl_primitive_desc_t pd = NULL;
    struct linear_descs d;
    const bool ok =
        init_descs(&d, planning->node, a->out_features,
                   (struct types){type, type, result_type(planning)}, a->bias, err) &&
        gr_onednn_ok(fused_pd(&pd, planning, dnnl_forward_training, &d), planning->node, err) &&
        gr_onednn_kernel(planning, pd, args, a->bias ? 4 : 3, err) && unflatten(planning, 0, err) &&
        find_home(planning, err);
    release_descs(&d);
    return ok;
}

bool gr_linear_onednn_data(struct gr_planning *planning, struct gr_error *err)
{
    struct gr_backend *backend = planning->backend;
    static const struct gr_onednn_arg args[] = {
        {DNNL_ARG_DIFF_DST, 0}, {DNNL_ARG_WEIGHTS, 1}, {DNNL_ARG_DIFF_SRC, GR_DST(0)}};
    const enum gr_dtype type = gr_planning_dtype(planning), result = result_type(planning);
    const struct gr_value *dx = planning->node->outputs[0];
    const int64_t rows = gr_linear_sizes(planning->node).o;
    dnnl_primitive_desc_t hint = NULL, pd = NULL;
    struct linear_descs f = {0}, d = {0};
    bool ok =
        init_descs(&f, planning->node, rows, (struct types){type, type, type}, false, err) &&
        init_descs(&d, planning->node, rows, (struct types){result, type, type}, false, err) &&
        gr_onednn_ok(hint_pd(&hint, backend, &f), planning->node, err) &&
        gr_onednn_ok(gr_onednn_linear_data(&pd, backend->engine, gr_desc_get(&d.src),
                                           gr_desc_get(&d.weights), gr_desc_get(&d.dst), hint,
                                           backend->attr),
                     planning->node, err) &&
        gr_onednn_kernel(planning, pd, args, 3, err);
    if (ok && dx->shape.rank > 2) /* the kernel sees [N, C], in the same bytes */
        ok = (planning->dst[0] = gr_onednn_plain(backend, dx, result, err)) != NULL;
    if (hint)
        dnnl_primitive_desc_destroy(hint);
    release_descs(&f);
    release_descs(&d);
    return ok;
}

dnnl_primitive_desc_t gr_linear_onednn_weights_pd(struct gr_planning *planning, int64_t rows,
                                                  gr_md weights, bool bias, struct gr_error *err)
{
    struct gr_backend *backend = planning->backend;
    const enum gr_dtype type = gr_planning_dtype(planning);
    dnnl_primitive_desc_t hint = NULL, pd = NULL;
    struct linear_descs f = {0}, d = {0};
    const bool ok =
        init_descs(&f, planning->node, rows, (struct types){type, type, type}, bias, err) &&
        init_descs(&d, planning->node, rows, (struct types){type, GR_F32, type}, bias, err) &&
        gr_onednn_ok(hint_pd(&hint, backend, &f), planning->node, err) &&
        gr_onednn_ok(gr_onednn_linear_weights(&pd, backend->engine, gr_desc_get(&d.src),
                                              weights ? weights : gr_desc_get(&d.weights),
                                              gr_desc_get(&d.bias), gr_desc_get(&d.dst), hint,
                                              backend->attr),
                     planning->node, err);
    if (hint)
        dnnl_primitive_desc_destroy(hint);
    release_descs(&f);
    release_descs(&d);
    return ok ? pd : NULL;
}

bool gr_linear_onednn_weights(struct gr_planning *planning, struct gr_error *err)
{
    static const struct gr_onednn_arg args[] = {{DNNL_ARG_DIFF_DST, 0},
                                                {DNNL_ARG_SRC, 1},
                                                {DNNL_ARG_DIFF_WEIGHTS, GR_DST(0)},
                                                {DNNL_ARG_DIFF_BIAS, GR_DST(1)}};
    const bool bias = planning->node->n_outputs > 1;
    dnnl_primitive_desc_t pd =
        gr_linear_onednn_weights_pd(planning, gr_linear_sizes(planning->node).o, NULL, bias, err);
    return pd && gr_onednn_kernel(planning, pd, args, bias ? 4 : 3, err) &&
           unflatten(planning, 1, err);
}

/* ---- the plain primitives ---------------------------------------------------------------- */

bool gr_linear_primitive_forward(struct gr_planning *planning, struct gr_error *err)
{
    const struct gr_linear_attrs *a = planning->node->attrs;
    const enum gr_dtype type = gr_planning_dtype(planning);
    const bool training = planning->node->graph->training;
    dnnl_primitive_desc_t pd = NULL;
    struct linear_descs d = {0};
    bool ok = init_descs(&d, planning->node, a->out_features, (struct types){type, type, type},
                         a->bias, err);
    if (ok) {
        const dnnl_status_t status =
            fused_pd(&pd, planning, training ? dnnl_forward_training : dnnl_forward_inference, &d);
        ok = gr_onednn_alone(planning, status, pd, err);
    }
    release_descs(&d);
    return ok;
}

bool gr_linear_primitive_data(struct gr_planning *planning, struct gr_error *err)
{
    struct gr_backend *backend = planning->backend;
    const enum gr_dtype type = gr_planning_dtype(planning);
    dnnl_primitive_desc_t hint = NULL, pd = NULL;
    struct linear_descs d = {0};
    bool ok = init_descs(&d, planning->node, gr_linear_sizes(planning->node).o,
                         (struct types){type, type, type}, false, err);
    if (ok) {
        dnnl_status_t status = hint_pd(&hint, backend, &d);
        if (status == dnnl_success)
            status = gr_onednn_linear_data(&pd, backend->engine, gr_desc_get(&d.src),
                                           gr_desc_get(&d.weights), gr_desc_get(&d.dst), hint,
                                           backend->attr);
        ok = gr_onednn_alone(planning, status, pd, err);
    }
    if (hint)
        dnnl_primitive_desc_destroy(hint);
    release_descs(&d);
    return ok;
}

bool gr_linear_primitive_weights(struct gr_planning *planning, struct gr_error *err)
{
    dnnl_primitive_desc_t pd = gr_linear_onednn_weights_pd(
        planning, gr_linear_sizes(planning->node).o, NULL, planning->node->n_outputs > 1, err);
    return pd && gr_onednn_alone(planning, dnnl_success, pd, err);
}
