/*
 * The passes between autodiff and the choice of kernels: prune, fuse, order.
 */
#ifndef GR_GRAPH_PASSES_H
#define GR_GRAPH_PASSES_H

#include "graph/op.h"

/* Is the node's output its input's memory? Views, and what is the identity outside training. */
bool gr_node_is_view(const struct gr_node *node);

/*
 * keep[n] says of node n whether a target depends on it; with updates, update nodes are targets
 * too. keep has n_nodes places.
 */
void gr_prune(const struct gr_graph *graph, struct gr_value *const *targets, size_t n_targets,
              bool updates, bool *keep);

/*
 * Lets each kept node take over the only consumer of its only output where its op can (op->fuse,
 * op->fuse_update); the consumer is no longer kept, nodes that the op emitted are: keep has room
 * for twice n_nodes. Values in targets stay observable.
 */
bool gr_fuse(struct gr_graph *graph, struct gr_value *const *targets, size_t n_targets, bool *keep,
             struct gr_error *err);

/*
 * Orders the kept nodes topologically into order (room for n_nodes) and counts them. Among the
 * nodes that are ready, updates come first, so that gradients die early; then the order of
 * emission. An update follows every other reader of what it writes. n log n.
 */
bool gr_order(const struct gr_graph *graph, const bool *keep, struct gr_node **order, size_t *count,
              struct gr_error *err);

#endif
