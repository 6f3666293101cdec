/*
 * Where the time of steps goes: every execution of every node while steps are measured, and then
 * figures of each node against the machine's peak.
 *
 * gr_profile_init; for each step gr_plan_run, then gr_profile_add; gr_profile_finish; then read.
 *
 * The figures are means over the quarter of the steps around the median: means, because the nodes'
 * then sum up to the step's; around the median, because a step that something else delayed would
 * spoil them. Nodes that ran beside each other in lanes sum up to more; so there is also the time
 * in which any node ran.
 */
#ifndef GR_TOOLS_PROFILE_H
#define GR_TOOLS_PROFILE_H

#include <jansson.h>

#include "graphrunner.h"

/* One execution of a node; seconds 0: it did not run in that step. */
struct gr_span {
    double start, seconds;
    int lane;
};

/* What a node does a step. */
struct gr_profile_row {
    struct gr_node_info node;
    double seconds, bytes, gflops, gbs;
    double peak_share; /* the least time that the machine's peak allows, by the time taken */
    bool memory_bound; /* that least time is for the bytes, not for the arithmetic */
};

/* Zero-initialised is no profile. */
struct gr_profile {
    struct gr_plan *plan;
    size_t n_nodes, n_steps, step; /* step: how many are done */
    double *starts, *seconds;      /* [n_steps] */
    struct gr_span *spans;         /* [n_steps, n_nodes] */
    struct gr_profile_row *rows;   /* [n_nodes] in order of execution */
    struct gr_peak peak;
    double step_seconds, nodes_seconds; /* of the step, and the sum of its nodes */
    double wall_seconds;                /* in which any node ran: lanes counted once */
    bool in_lanes;                      /* some nodes ran beside others */
};

/* Has room for so many steps of the plan, which it watches from now on. */
bool gr_profile_init(struct gr_profile *profile, struct gr_plan *plan, size_t n_steps,
                     struct gr_error *err);
void gr_profile_release(struct gr_profile *profile);

/* The step that ended took so long. */
void gr_profile_add(struct gr_profile *profile, double start, double seconds);

/* Measures the machine and computes the figures. */
bool gr_profile_finish(struct gr_profile *profile, struct gr_context *context,
                       struct gr_error *err);

/* A table of the nodes, slowest first. Returns an exit code. */
int gr_profile_print(const struct gr_profile *profile);

/*
 * Adds "peak", "nodes", "nodes_seconds", "nodes_wall_seconds" and "nodes_step_seconds" to an
 * object.
 */
bool gr_profile_add_json(const struct gr_profile *profile, json_t *object);

/*
 * Writes the steps as a Chrome trace (trace.c): an event for each step and each execution of a
 * node. summary, an object, goes in as "otherData". "-" is standard output. Returns an exit code.
 */
int gr_trace_write(const struct gr_profile *profile, const char *title, json_t *summary,
                   const char *path);

#endif
