/*
 * Which sections of a program run in lanes, found by measuring: first the sections that gain, all
 * in the same whole steps (program_trial.h), in memory that suits either way of running them; then
 * steps with all of those in lanes are held against steps without.
 */
#ifndef GR_GRAPH_LANES_SEARCH_H
#define GR_GRAPH_LANES_SEARCH_H

#include "graph/program_trial.h"

enum { GR_SECTION_NAME = 192 };

/* What is known of a section, and what trials have told. */
struct gr_offer {
    bool open; /* to be measured */
    char name[GR_SECTION_NAME], key[GR_SECTION_NAME + 64];
    int known;      /* lanes from an earlier choice; 0: one after the other */
    int lanes;      /* the best number so far */
    double ratio;   /* its time by that without lanes */
    double seconds; /* its time, with what stands between it and the next */
    double serial;  /* that without lanes */
};

/* The choice for all sections of a program. */
struct gr_choosing {
    struct gr_program *program;
    int threads;
    struct gr_work work;
    struct gr_section *sections;
    struct gr_offer *offers; /* one a section */
    size_t n_sections;
    int *branch, *lane; /* by step */
    struct gr_step_trial trial;
    int *planned;       /* [n_sections] for how many lanes program->trial has kernels, or 0 */
    size_t *which;      /* [program->n_sections] whose they are */
    size_t most_bytes;  /* alive at most in a section */
    size_t spare_bytes; /* of the arena, more than without lanes */
};

/*
 * Measures the offers that are open and leaves lanes in those that are worth it; the known ones are
 * taken as they are. Programs whose steps are long are left as they are, without measuring. The
 * program is to be placed afterwards.
 */
bool gr_choosing_search(struct gr_choosing *c, struct gr_error *err);

/* ---- what the search and the choice share ------------------------------------------------ */

/* Can so many lanes share the threads, with few of them left over? */
bool gr_lanes_can_share(int threads, int lanes);

/* Kernels for the lanes of a section, one a step; if they do not fit, or fail, none. */
bool gr_choosing_plan(struct gr_choosing *c, const struct gr_section *section,
                      struct gr_kernel *kernels, bool *fits, struct gr_error *err);

/* The program runs this section in lanes. */
void gr_choosing_add(struct gr_choosing *c, const struct gr_section *section);

/* Starts the lanes that the program's sections run in, and ends all others. */
bool gr_choosing_open(struct gr_choosing *c, struct gr_error *err);

#endif
