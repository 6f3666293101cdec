/*
 * The memory planner: a pure function from lifetimes to offsets in one arena. It knows no graph.
 */
#ifndef GR_GRAPH_MEMORY_H
#define GR_GRAPH_MEMORY_H

#include "base/error.h"

enum { GR_MEMORY_ALIGN = 64 };

/* A buffer and when it is alive: from step first to step last, both included. */
struct gr_lifetime {
    size_t bytes;
    int first, last;
    int reuse_of; /* index of an earlier lifetime whose memory this one takes over, or -1 */
};

struct gr_memory_plan {
    size_t arena;         /* bytes to allocate */
    size_t lower_bound;   /* the most bytes alive at one step: no plan can be smaller */
    size_t without_reuse; /* the sum of all buffers: what a malloc each would take */
};

/*
 * Places count buffers: offsets[i] is a multiple of 64, and buffers alive at the same step do not
 * overlap unless one takes over the other. Lifetimes joined by reuse_of get one place, alive from
 * the first of them to the last. Tries several ways and keeps the smallest arena; deterministic.
 * Buffers of one size take the lower bound. Time n log n above 4096 buffers, n^2 below. Fails only
 * when memory runs out or sizes overflow.
 */
bool gr_memory_plan(const struct gr_lifetime *lifetimes, size_t count, size_t *offsets,
                    struct gr_memory_plan *plan, struct gr_error *err);

/*
 * alive[t], for each t below steps: the bytes alive at step t, where lifetimes are joined as above.
 * The most of them is a plan's lower bound.
 */
bool gr_memory_alive(const struct gr_lifetime *lifetimes, size_t count, size_t *alive, int steps,
                     struct gr_error *err);

#endif
