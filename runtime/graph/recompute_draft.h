/*
 * A draft of a program that computes some values again: which could be dropped, what a choice of
 * them would take in memory and time, and the choice made true.
 */
#ifndef GR_GRAPH_RECOMPUTE_DRAFT_H
#define GR_GRAPH_RECOMPUTE_DRAFT_H

#include "graph/program_private.h"

/*
 * A value (with the views of it) that a forward step makes and that is read after the forward
 * phase. Dropped, its memory is free in steps from to until - 1.
 */
struct gr_droppable {
    int value; /* its id */
    size_t bytes;
    int from, until;
};

struct gr_draft {
    struct gr_program *program;
    struct gr_pool pool;
    int n_steps, n_values;
    int end_of_forward;           /* the first step of the backward phase */
    struct gr_droppable *choices; /* in the order in which they are made */
    size_t n_choices;
    double *seconds; /* [n_steps] */
    double total;    /* of all steps, with nothing computed again */

    /* By value of the program. */
    int *maker;     /* the forward step that makes it and can be repeated, or -1 */
    int *root;      /* the value whose memory it is: itself unless it is a view */
    int *updated;   /* the step that updates it, or INT_MAX */
    bool *kept;     /* of a root: its readers in the backward phase read it, not a copy */
    bool *keepable; /* of a root: kept unless it is dropped */

    /*
     * The program as it would be. Of a step of the forward phase copies[s] computes it again, with
     * values of its own; of a later one it is the step itself, reading what it then must.
     */
    struct gr_program trial;
    struct gr_graph graph;
    struct gr_node *copies;         /* [n_steps] */
    int *step_of;                   /* by step of the trial: the step that it is or repeats */
    int *before;                    /* by step of the trial: the step that it is or stands before */
    int *copied;                    /* [n_steps] the last trial in which it was computed again */
    int *searched, *cursor, *stack; /* [n_steps] of the search for what must be computed again */
    int n_trials, n_searches;

    /* What it would take. */
    bool valid;    /* nothing computed again reads a parameter after its update */
    size_t peak;   /* the most bytes alive at once, without parameters and states */
    size_t *alive; /* [n_steps] the same by step, copies that stand before it included */
    double again;  /* seconds of computing again */
};

/*
 * Step s is never repeated where fixed[s]. To be released in any case. The program must not change
 * while the draft lives.
 */
bool gr_draft_init(struct gr_draft *draft, struct gr_program *program, const bool *fixed,
                   struct gr_error *err);
void gr_draft_release(struct gr_draft *draft);

/* Drops the choices c where dropped[c]: fills in valid, peak, alive and again. */
bool gr_draft_judge(struct gr_draft *draft, const bool *dropped, struct gr_error *err);

/* The bytes of the arena for the choice that was judged last. */
bool gr_draft_arena(struct gr_draft *draft, size_t *arena, struct gr_error *err);

/* The seconds that dropping this one as well would add to the choice that was judged last. */
double gr_draft_cost(struct gr_draft *draft, size_t choice);

/*
 * Makes the choice that was judged last true: adds nodes to the graph and steps to the program.
 * Where a kernel cannot be had a second time, *refused is the step and nothing has changed; else it
 * is -1.
 */
bool gr_draft_apply(struct gr_draft *draft, int *refused, struct gr_error *err);

#endif
