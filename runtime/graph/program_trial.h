/*
 * Trials: whole steps of a program as a run takes them, timed, to decide what runs in lanes. Whole
 * steps, because a section by itself finds what each core touched last time in that core's cache,
 * which flatters lanes.
 */
#ifndef GR_GRAPH_PROGRAM_TRIAL_H
#define GR_GRAPH_PROGRAM_TRIAL_H

#include "graph/program_private.h"

struct gr_step_trial {
    struct gr_program *program; /* whose sections have kernels for lanes in program->trial */
    bool *on;                   /* [n_sections] in lanes in the next step, else one by one */
    double *start; /* [n_sections + 1] when each section of the last step began; and its end */
    double seconds;
    char *kept; /* what the steps update, as it was */
    bool renew; /* constants are computed in the next step: it is the first in this memory */
};

/* Keeps what the steps update. Zero-initialise; end a trial in any case. */
bool gr_step_trial_begin(struct gr_step_trial *trial, struct gr_program *program,
                         struct gr_error *err);

/* Puts it back. */
void gr_step_trial_end(struct gr_step_trial *trial);

/*
 * One step, without checks. Updates that are much are left out: they run alone in any case, and
 * keeping what they update would double the memory.
 */
bool gr_step_trial_run(struct gr_step_trial *trial, struct gr_error *err);

#endif
