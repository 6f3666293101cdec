/*
 * The primitives that the nodes of a plan stand for (gr_op.primitive), and what each takes alone:
 * the mark that a program of the same primitives would reach with nothing between them.
 */
#include <math.h>
#include <stdlib.h>

#include "graph/passes.h"
#include "graph/trial.h"
#include "model/model.h"

enum { RUNS = 4, MORE_RUNS = 30 };

static const double short_seconds = 1e-3; /* a shorter primitive gets MORE_RUNS */

struct gr_primitives {
    struct gr_plan *plan; /* a draft: the graph */
    struct gr_node **nodes;
    struct gr_primitive *rows; /* [count] */
    size_t count;
};

/* ---- finding them ------------------------------------------------------------------------ */

static bool find(struct gr_primitives *p, struct gr_error *err)
{
    struct gr_plan *plan = p->plan;
    struct gr_graph *graph = plan->graph;
    const size_t most = 2 * graph->n_nodes + 1; /* fusing may emit a node for each */
    bool *keep = gr_pool_array(&plan->pool, most, sizeof *keep);
    p->nodes = gr_pool_array(&plan->pool, most, sizeof(struct gr_node *));
    if (!keep || !p->nodes)
        return gr_fail_memory(err, "primitives");
    gr_prune(graph, plan->targets, plan->n_targets, plan->options.update, keep);
    if (!plan->options.reference &&
        !gr_fuse_post_ops(graph, plan->targets, plan->n_targets, keep, err))
        return false;
    if (!gr_order(graph, keep, p->nodes, &p->count, err))
        return false;
    p->rows = gr_pool_array(&plan->pool, p->count + 1, sizeof *p->rows);
    if (!p->rows)
        return gr_fail_memory(err, "primitives");
    for (size_t i = 0; i < p->count; i++) {
        const struct gr_node *node = p->nodes[i];
        p->rows[i] = (struct gr_primitive){.node = node->name,
                                           .op = node->op->kind.name,
                                           .phase = gr_phase_name(node->phase),
                                           .macs = node->op->macs ? node->op->macs(node) : 0};
    }
    return true;
}

struct gr_primitives *gr_primitives_new(struct gr_model *model,
                                        const struct gr_plan_options *options, struct gr_error *err)
{
    struct gr_primitives *p = calloc(1, sizeof *p);
    if (!p) {
        gr_fail_memory(err, "primitives");
        return NULL;
    }
    p->plan = gr_plan_draft(model, options, err);
    if (p->plan && find(p, err))
        return p;
    gr_primitives_free(p);
    return NULL;
}

void gr_primitives_free(struct gr_primitives *p)
{
    if (!p)
        return;
    gr_plan_free(p->plan);
    free(p);
}

/* ---- measuring --------------------------------------------------------------------------- */

static bool time_kernel(struct gr_trial *trial, const struct gr_node *node, double *seconds,
                        struct gr_error *err)
{
    double more;
    if (!gr_trial_time(trial, node, RUNS, HUGE_VAL, seconds, err))
        return false;
    if (*seconds > short_seconds)
        return true;
    if (!gr_trial_time(trial, node, MORE_RUNS, HUGE_VAL, &more, err))
        return false;
    *seconds = fmin(*seconds, more);
    return true;
}

static bool measure(struct gr_primitives *p, size_t index, struct gr_error *err)
{
    const struct gr_node *node = p->nodes[index];
    struct gr_primitive *row = &p->rows[index];
    struct gr_trial trial = {0};
    double seconds = 0;
    if (!node->op->primitive || gr_node_is_view(node) || !gr_trial_fits(node))
        return true;
    struct gr_planning planning = gr_trial_planning(&trial, node, p->plan->model->context->backend,
                                                    p->plan->options.precision);
    bool ok = node->op->primitive(&planning, err);
    if (ok && trial.kernel.run && (ok = time_kernel(&trial, node, &seconds, err))) {
        row->seconds = row->impl ? fmin(row->seconds, seconds) : seconds;
        if (!row->impl && !(row->impl = gr_pool_strdup(&p->plan->pool, trial.kernel.impl)))
            ok = gr_fail_memory(err, "primitives");
    }
    gr_trial_release(&trial);
    return ok;
}

bool gr_primitives_measure(struct gr_primitives *p, struct gr_error *err)
{
    for (size_t i = 0; i < p->count; i++)
        if (!measure(p, i, err))
            return false;
    return true;
}

/* ---- reading ----------------------------------------------------------------------------- */

size_t gr_primitives_count(const struct gr_primitives *p)
{
    return p->count;
}

struct gr_primitive gr_primitives_get(const struct gr_primitives *p, size_t index)
{
    return p->rows[index];
}
