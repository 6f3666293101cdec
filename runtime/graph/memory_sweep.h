/*
 * One way of the memory planner (graph/memory.c): a sweep through time.
 *
 * What is alive at the fullest step is stacked without a gap, as the lower bound has it. From there
 * the sweep goes forward to the last step and backward to the first, as an allocator would: what
 * has died leaves a gap, what comes to life goes into the tightest one. The two halves share
 * nothing but the stack. Equal sizes never need more than the lower bound; unequal ones lose what
 * breaks up on the way, which is little, since the sweep starts where room is short.
 */
#ifndef GR_GRAPH_MEMORY_SWEEP_H
#define GR_GRAPH_MEMORY_SWEEP_H

#include <stdbool.h>
#include <stddef.h>

/* A buffer to place, alive from step first to step last, both included. */
struct gr_block {
    size_t bytes, offset; /* multiples of GR_MEMORY_ALIGN */
    int first, last;
};

enum { GR_SWEEP_WAYS = 8 }; /* four orders of the stack, at either side of a gap or below */

struct gr_sweep;

/*
 * For blocks whose last steps are below `steps`; `fullest` is a step at which most bytes are alive.
 * Borrows the blocks. NULL: out of memory.
 */
struct gr_sweep *gr_sweep_new(struct gr_block *blocks, size_t count, int steps, int fullest);
void gr_sweep_free(struct gr_sweep *sweep); /* NULL is fine */

/* Sets the offset of each block. Way 0 to GR_SWEEP_WAYS - 1; time n log n. */
void gr_sweep_place(struct gr_sweep *sweep, int way);

#endif
