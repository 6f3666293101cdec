/*
 * Prune, fuse, order; see passes.h.
 */
#include "graph/passes.h"

#include <stdlib.h>
#include <string.h>

bool gr_node_is_view(const struct gr_node *node)
{
    return (node->op->flags & GR_OP_VIEW) ||
           ((node->op->flags & GR_OP_TRAINING_ONLY) && !node->graph->training);
}

/* ---- prune ------------------------------------------------------------------------------- */

/* Nodes stand after the nodes they read, so one walk backwards reaches every ancestor. */
void gr_prune(const struct gr_graph *graph, struct gr_value *const *targets, size_t n_targets,
              bool updates, bool *keep)
{
    for (size_t n = 0; n < graph->n_nodes; n++)
        keep[n] = updates && graph->nodes[n]->phase == GR_UPDATE;
    for (size_t i = 0; i < n_targets; i++)
        if (targets[i]->producer)
            keep[targets[i]->producer->id] = true;
    for (size_t n = graph->n_nodes; n-- > 0;) {
        const struct gr_node *node = graph->nodes[n];
        for (int i = 0; keep[n] && i < node->n_inputs; i++)
            if (node->inputs[i]->producer)
                keep[node->inputs[i]->producer->id] = true;
    }
}

/* ---- fuse -------------------------------------------------------------------------------- */

/* The only kept consumer of the value, or NULL if there is none or more than one reading. */
static struct gr_node *only_consumer(const struct gr_uses *uses, const bool *keep,
                                     const struct gr_value *value)
{
    struct gr_node *only = NULL;
    for (size_t u = uses->first[value->id]; u < uses->first[value->id + 1]; u++) {
        if (!keep[uses->nodes[u]->id])
            continue;
        if (only)
            return NULL;
        only = uses->nodes[u];
    }
    return only;
}

/* Lets a node take over the update that alone reads its first output. */
static void fuse_update(struct gr_node *node, const struct gr_uses *uses, const bool *observed,
                        bool *keep)
{
    struct gr_value *gradient = node->outputs[0];
    struct gr_node *update = only_consumer(uses, keep, gradient);
    if (!observed[gradient->id] && update && update->phase == GR_UPDATE &&
        (update->op->flags & GR_OP_OPTIMIZER) && update->inputs[update->n_inputs - 2] == gradient &&
        node->op->fuse_update(node, update))
        keep[update->id] = false;
}

/* The consumer's outputs take the place of the node's first one; further ones stay. */
static void take_outputs(struct gr_node *node, const struct gr_node *consumer)
{
    if (node->n_outputs > 1) {
        node->outputs[0] = consumer->outputs[0];
    } else {
        node->outputs = consumer->outputs;
        node->n_outputs = consumer->n_outputs;
    }
    for (int o = 0; o < node->n_outputs; o++)
        node->outputs[o]->producer = node;
}

/* Into nodes whose op has one of these flags; 0: into any, and updates as well. */
static bool fuse(struct gr_graph *graph, struct gr_value *const *targets, size_t n_targets,
                 unsigned flags, bool *keep, struct gr_error *err)
{
    struct gr_uses uses;
    const size_t n_nodes = graph->n_nodes, n_values = graph->n_values;
    bool *observed = calloc(n_values + 1, sizeof *observed);
    if (!observed)
        return gr_fail_memory(err, "fusing nodes");
    bool ok = gr_uses_init(&uses, graph, err);
    for (size_t i = 0; i < n_targets; i++)
        observed[targets[i]->id] = true;
    for (size_t n = 0; ok && n < n_nodes; n++) {
        struct gr_node *node = graph->nodes[n];
        while (keep[n] && node->op->fuse && (!flags || node->op->flags & flags) &&
               !observed[node->outputs[0]->id]) {
            struct gr_node *consumer = only_consumer(&uses, keep, node->outputs[0]);
            if (!consumer || consumer->phase != node->phase || consumer->n_outputs == 0 ||
                (node->n_outputs > 1 && consumer->n_outputs > 1) || gr_node_is_view(consumer) ||
                !node->op->fuse(node, consumer))
                break;
            take_outputs(node, consumer);
            keep[consumer->id] = false;
            /* What the node now reads, `uses` does not know of. */
            for (int i = 0; i < node->n_inputs; i++)
                if ((size_t)node->inputs[i]->id < n_values)
                    observed[node->inputs[i]->id] = true;
            for (int i = 0; i < consumer->n_inputs; i++)
                observed[consumer->inputs[i]->id] = true;
        }
    }
    for (size_t n = n_nodes; n < graph->n_nodes; n++)
        keep[n] = true;
    for (size_t n = 0; ok && !flags && n < n_nodes; n++)
        if (keep[n] && graph->nodes[n]->op->fuse_update)
            fuse_update(graph->nodes[n], &uses, observed, keep);
    if (ok)
        gr_uses_release(&uses);
    free(observed);
    return ok;
}

bool gr_fuse(struct gr_graph *graph, struct gr_value *const *targets, size_t n_targets, bool *keep,
             struct gr_error *err)
{
    return fuse(graph, targets, n_targets, 0, keep, err);
}

bool gr_fuse_post_ops(struct gr_graph *graph, struct gr_value *const *targets, size_t n_targets,
                      bool *keep, struct gr_error *err)
{
    return fuse(graph, targets, n_targets, GR_OP_POST_OPS, keep, err);
}

/* ---- order ------------------------------------------------------------------------------- */

/* A binary heap of ready nodes. */
struct heap {
    struct gr_node **nodes;
    size_t count;
};

static bool before(const struct gr_node *a, const struct gr_node *b)
{
    const bool update_a = a->phase == GR_UPDATE, update_b = b->phase == GR_UPDATE;
    return update_a != update_b ? update_a : a->id < b->id;
}

static void push(struct heap *heap, struct gr_node *node)
{
    size_t i = heap->count++;
    for (; i > 0 && before(node, heap->nodes[(i - 1) / 2]); i = (i - 1) / 2)
        heap->nodes[i] = heap->nodes[(i - 1) / 2];
    heap->nodes[i] = node;
}

static struct gr_node *pop(struct heap *heap)
{
    struct gr_node *top = heap->nodes[0], *last = heap->nodes[--heap->count];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < heap->count; i = child) {
        if (child + 1 < heap->count && before(heap->nodes[child + 1], heap->nodes[child]))
            child++;
        if (!before(heap->nodes[child], last))
            break;
        heap->nodes[i] = heap->nodes[child];
    }
    heap->nodes[i] = last;
    return top;
}

/* Calls visit for every kept node that must come after this one: readers, and updates of its
 * inputs. */
static void for_each_follower(const struct gr_uses *uses, const bool *keep,
                              const struct gr_node *node, const int *updater,
                              void (*visit)(void *user, int follower), void *user)
{
    for (int o = 0; o < node->n_outputs; o++)
        for (size_t u = uses->first[node->outputs[o]->id];
             u < uses->first[node->outputs[o]->id + 1]; u++)
            if (keep[uses->nodes[u]->id])
                visit(user, uses->nodes[u]->id);
    for (int i = 0; i < node->n_inputs; i++) {
        const int follower = updater[node->inputs[i]->id];
        if (follower >= 0 && follower != node->id)
            visit(user, follower);
    }
}

struct ordering {
    const struct gr_graph *graph;
    int *waiting; /* [n_nodes] predecessors not yet placed */
    struct heap ready;
};

static void count_one(void *user, int follower)
{
    ((struct ordering *)user)->waiting[follower]++;
}

static void release_one(void *user, int follower)
{
    struct ordering *ordering = user;
    if (--ordering->waiting[follower] == 0)
        push(&ordering->ready, ordering->graph->nodes[follower]);
}

bool gr_order(const struct gr_graph *graph, const bool *keep, struct gr_node **order, size_t *count,
              struct gr_error *err)
{
    struct gr_uses uses = {0};
    struct ordering o = {.graph = graph,
                         .waiting = calloc(graph->n_nodes + 1, sizeof *o.waiting),
                         .ready = {calloc(graph->n_nodes + 1, sizeof(struct gr_node *)), 0}};
    int *updater = malloc((graph->n_values + 1) * sizeof *updater);
    bool ok = o.waiting && o.ready.nodes && updater;
    size_t kept = 0;
    *count = 0;
    if (!ok) {
        gr_fail_memory(err, "ordering nodes");
        goto out;
    }
    if (!(ok = gr_uses_init(&uses, graph, err)))
        goto out;
    memset(updater, -1, (graph->n_values + 1) * sizeof *updater);
    for (size_t n = 0; n < graph->n_nodes; n++)
        for (int i = 0; keep[n] && i < gr_node_updated(graph->nodes[n]); i++)
            updater[graph->nodes[n]->inputs[i]->id] = (int)n;
    for (size_t n = 0; n < graph->n_nodes; n++)
        if (keep[n])
            for_each_follower(&uses, keep, graph->nodes[n], updater, count_one, &o);
    for (size_t n = 0; n < graph->n_nodes; n++) {
        kept += keep[n];
        if (keep[n] && o.waiting[n] == 0)
            push(&o.ready, graph->nodes[n]);
    }
    while (o.ready.count) {
        struct gr_node *node = pop(&o.ready);
        order[(*count)++] = node;
        for_each_follower(&uses, keep, node, updater, release_one, &o);
    }
    if (*count != kept)
        ok = gr_fail(err, GR_ERR_MODEL, "the graph has a cycle through %zu nodes", kept - *count);
out:
    gr_uses_release(&uses);
    free(o.waiting);
    free(o.ready.nodes);
    free(updater);
    return ok;
}
