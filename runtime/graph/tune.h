/*
 * The autotuner: which of a node's candidate kernels is the fastest here, found by running them.
 */
#ifndef GR_GRAPH_TUNE_H
#define GR_GRAPH_TUNE_H

#include "graph/program_private.h"

/*
 * Sets *choice to the candidate to plan node with, src being how its inputs lie now (NULL: laid out
 * by nothing yet); NULL is the usual one. What is known is taken; what is not is measured if the
 * program's tuning may and the node is worth it, and recorded. *seconds is what it took then, or
 * negative.
 *
 * A candidate is charged with what it costs its neighbours: the reorders that bring the inputs from
 * where they lie to where it reads them, and its results to where the usual candidate would leave
 * them, or, of a gradient, to where that lies which it is the gradient of. So the fastest for the
 * chain is chosen, not the fastest alone.
 */
bool gr_tune(struct gr_program *program, const struct gr_node *node,
             const struct gr_layout *const *src, const char **choice, double *seconds,
             struct gr_error *err);

#endif
