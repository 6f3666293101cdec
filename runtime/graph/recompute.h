/*
 * Recomputation: fitting a training step into a memory budget.
 *
 * What a forward node makes is usually kept until its backward has read it. Under a budget some of
 * it is dropped after its last forward reader, and computed again by a copy of the node right
 * before its first backward reader. The pass works on planned steps: a copy has the kernel and the
 * layouts of the node it repeats, so it gives the same bits, and what a step takes is what the
 * memory planner says it takes.
 */
#ifndef GR_GRAPH_RECOMPUTE_H
#define GR_GRAPH_RECOMPUTE_H

#include "graph/program.h"

/*
 * Adds to the steps of a planned program (before its memory is placed) what brings arena,
 * parameters and states within options.memory_budget, for as little time as it finds. A budget that
 * is too small is a usage error with the least that it could be. Fills in the report's figures.
 * Time n log n, but for a bounded number of trials.
 */
bool gr_recompute(struct gr_program *program, struct gr_error *err);

#endif
