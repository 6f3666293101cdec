/*
 * What the files of a program share: compiling (program.c), copies of parameters
 * (program_copies.c), branches beside each other
 * (program_lanes.c), memory (program_memory.c) and running (program_run.c).
 */
#ifndef GR_GRAPH_PROGRAM_PRIVATE_H
#define GR_GRAPH_PROGRAM_PRIVATE_H

#include "base/lanes.h"
#include "graph/memory.h"
#include "graph/program.h"
#include "graph/sections.h"

/* A value as the program sees it. */
struct gr_slot {
    const struct gr_layout *layout; /* NULL: a parameter or state that nothing has laid out yet */
    struct gr_stored *stored;       /* of parameters and states */
    bool derived;                   /* from parameters alone */
    bool constant;                  /* derived, and read by a step that is not: kept between runs */
    bool kept;                      /* a copy of a parameter, which its update renews */
    uint64_t version;               /* of a kept copy: the parameter's when it was made; 0: never */
    bool pinned;                    /* an input or target: alive from the first step to the last */
    bool counted; /* gr_program_traffic's: as an input of the step that it looks at */
    void *data;
};

struct gr_program {
    struct gr_graph *graph;
    struct gr_params *params;
    struct gr_backend *backend;
    struct gr_program_options options;
    struct gr_pool pool;

    struct gr_step *steps;
    size_t n_steps, steps_capacity;
    struct gr_slot *slots; /* by value id */
    size_t n_slots, slots_capacity;
    struct gr_value **targets; /* as asked for */
    struct gr_value **plain;   /* [n_targets] the same in plain layout */
    size_t n_targets;
    struct gr_value **inputs; /* read by the steps */
    size_t n_inputs;

    void *arena;
    struct gr_memory_report memory;
    struct gr_death *deaths; /* when poisoning: what dies after each step */
    size_t n_deaths;

    struct gr_section *sections; /* that run in lanes, in order */
    size_t n_sections;
    size_t *section_bytes;   /* alive during each of them, constants included, as last placed */
    struct gr_lanes **lanes; /* [most_lanes + 1] by their number; NULL: not needed */
    int most_lanes;
    struct gr_failure *failures; /* [most_lanes] of the lanes in a run */
    struct gr_kernel *trial;     /* [n_steps] while lanes are tried: the kernels in a lane */
    bool trial_both;             /* and memory for the steps' own kernels too */

    uint64_t constants_version; /* sum of the parameters' versions at the last run; 0: never ran */
    bool profiling;
    gr_timing_fn *timing; /* hears of each step, or NULL */
    void *timing_user;
    gr_observe_fn *observe; /* sees each step that has run, or NULL */
    void *observe_user;
};

/* The first step that failed in a lane. */
struct gr_failure {
    size_t step;
    struct gr_error err; /* status GR_OK: none did */
};

/* A buffer's end of life. */
struct gr_death {
    int step;
    void *data;
    size_t bytes;
};

/* Must the value's memory outlive a run? */
static inline bool gr_slot_outlives(const struct gr_slot *slot)
{
    return slot->constant || slot->kept;
}

/* Makes a slot for each value of the graph that has none. */
bool gr_program_grow_slots(struct gr_program *program, struct gr_error *err);

/*
 * Plans the arena, allocates it, and binds every kernel to its buffers; again, if need be, with
 * other kernels or sections. Kernels on trial share their steps' buffers.
 */
bool gr_program_place(struct gr_program *program, struct gr_error *err);

/*
 * What gr_program_place would come to, constants included: alive[s] bytes at step s, and the plan
 * of the arena. Either may be NULL. The first takes time n log n, the second as gr_memory_plan.
 */
bool gr_program_measure(struct gr_program *program, size_t *alive, struct gr_memory_plan *plan,
                        struct gr_error *err);

/*
 * Has updates write the copies of parameters that their readers want, as many as memory allows
 * (program_copies.c). The last change to what the steps are.
 */
bool gr_program_keep_copies(struct gr_program *program, struct gr_error *err);

/* The steps as work, for finding sections in them. To be released, also after a failure. */
bool gr_program_list_work(const struct gr_program *program, struct gr_work *work,
                          struct gr_error *err);
void gr_program_release_work(struct gr_work *work);

/* Does the step update so much that it would wait for memory, beside others no less than alone? */
bool gr_program_updates_much(const struct gr_program *program, const struct gr_step *step);

/*
 * Decides which sections run in lanes, as options.tuning knows or by measuring, and gives their
 * steps kernels for a lane's share of the threads. To be placed afterwards.
 */
bool gr_program_choose_lanes(struct gr_program *program, struct gr_error *err);

/* Frees what gr_program_choose_lanes made. */
void gr_program_release_lanes(struct gr_program *program);

#endif
