/*
 * What the ops written as plain loops share: layouts they agree on, and checks of their inputs.
 * Elementwise loops have a page of their own, elementwise.h.
 */
#ifndef GR_OPS_LOOPS_H
#define GR_OPS_LOOPS_H

#include "graph/op.h"

typedef bool gr_kernel_run_fn(const struct gr_kernel *kernel, const struct gr_node *node,
                              const struct gr_buffers *buffers, const struct gr_run *run,
                              struct gr_error *err);

/* Every input is read and every output written plain. */
void gr_loops_plan_plain(struct gr_planning *planning, gr_kernel_run_fn *run);

/* Channels that lie together in a layout [N, C / count, ..., count], and the type of an element. */
struct gr_lanes {
    int64_t count; /* 16, 8, or 1: plain; 0: another layout */
    bool bf16;
};

struct gr_lanes gr_loops_lanes(const struct gr_layout *layout); /* may be NULL */

/*
 * Those of an activation [N, C, H, W] as a plan should read it: as it lies, but in training in
 * bf16, if that is what it computes in, even where a kernel before left f32, so that what is kept
 * for the backward is small; and in blocks of channels where it lies otherwise (nhwc).
 */
struct gr_lanes gr_loops_wanted_lanes(const struct gr_planning *planning,
                                      const struct gr_layout *layout);

/* A model error unless the node's data inputs from first on are f32. */
bool gr_loops_expect_f32(const struct gr_node *node, int first, struct gr_error *err);

/*
 * A model error unless input 0 is [N, C] (ones may follow) of f32 and input 1 is labels [N] of s32
 * that fit the C classes: the shape rule of losses and metrics.
 */
bool gr_loops_expect_logits(const struct gr_node *node, struct gr_error *err);

#endif
