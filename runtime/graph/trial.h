/*
 * A kernel on trial: one node planned and run alone, with layouts and memory that no program has to
 * do with, to see what it takes. What the tuner (tune.h) and the measuring of primitives
 * (model/primitives.c) share.
 */
#ifndef GR_GRAPH_TRIAL_H
#define GR_GRAPH_TRIAL_H

#include "graph/op.h"

enum { GR_TRIAL_VALUES = 16 };

/* Zero-initialised is empty. */
struct gr_trial {
    struct gr_kernel kernel;
    const struct gr_layout *src[GR_TRIAL_VALUES], *home[GR_TRIAL_VALUES], *dst[GR_TRIAL_VALUES];
    void *in[GR_TRIAL_VALUES], *out[GR_TRIAL_VALUES], *scratch; /* while it is timed */
    unsigned cold;  /* bit i: input i is to be read from memory and not from a cache */
    bool disturbed; /* in every run others took the processor, and the runs differ */
};

/* Has the node no more inputs and outputs than a trial takes? */
bool gr_trial_fits(const struct gr_node *node);

/* The question to the node's op, answered into the trial: inputs as in src, outputs plain. */
struct gr_planning gr_trial_planning(struct gr_trial *trial, const struct gr_node *node,
                                     struct gr_backend *backend, enum gr_precision precision);

/*
 * Runs the planned kernel on memory of its own. *seconds is the best of so many runs, but for the
 * first, which warms up and is enough where it takes longer than `hopeless`. A run in which a
 * thread lost its processor to another program is done again, a few times. Cold inputs are pushed
 * out of the caches before each run.
 */
bool gr_trial_time(struct gr_trial *trial, const struct gr_node *node, int runs, double hopeless,
                   double *seconds, struct gr_error *err);
void gr_trial_release(struct gr_trial *trial);

/* Fills memory with small numbers of either sign, in f32 and in bf16 alike. */
void gr_trial_fill(void *data, size_t bytes);

#endif
