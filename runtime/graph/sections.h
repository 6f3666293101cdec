/*
 * Sections: stretches of the order of steps that fall apart into branches, two towers say, or the
 * filters of an inception module. Pure functions of costs and dependencies; they know no graph.
 *
 * Any stretch can be one: what it needs from outside stands before it. Its branches are the parts
 * that hang together when only the dependencies within the stretch count.
 */
#ifndef GR_GRAPH_SECTIONS_H
#define GR_GRAPH_SECTIONS_H

#include "base/error.h"

/* The steps: what each costs and which earlier ones it depends on. */
struct gr_work {
    int n_steps;
    double *cost;  /* [n_steps] seconds on one thread; 0: nothing; below 0: in no section */
    size_t *first; /* [n_steps + 1] into before: where the dependencies of a step start */
    int *before;   /* steps */
};

struct gr_section {
    int first, last; /* steps, both included */
    int branches;    /* at least 2, each of which costs something */
    int lanes;       /* that it is to run in; 0: its steps run one after the other */
};

/*
 * Finds sections that do not overlap, in order, and in branch [n_steps] numbers the branches of
 * each from 0 (-1: of none). Sections has room for half of n_steps. Takes those for which two lanes
 * could gain most: where no branch outweighs the others by far, each as long as that holds. n log n
 * for nets, since a section has at most some hundred steps.
 */
bool gr_sections_find(const struct gr_work *work, struct gr_section *sections, size_t *count,
                      int *branch, struct gr_error *err);

/*
 * Spreads the branches of a section over its lanes: lane [n_steps] gets a number from 0 for its
 * steps. The heaviest branch first, each to the lane that has least to do.
 */
void gr_section_spread(const struct gr_work *work, const struct gr_section *section,
                       const int *branch, int *lane);

#endif
