/*
 * What the three files of a program share: compiling (program.c), memory (program_memory.c) and
 * running (program_run.c).
 */
#ifndef GR_GRAPH_PROGRAM_PRIVATE_H
#define GR_GRAPH_PROGRAM_PRIVATE_H

#include "graph/memory.h"
#include "graph/program.h"

/* A value as the program sees it. */
struct gr_slot {
    const struct gr_layout *layout; /* NULL: a parameter or state that nothing has laid out yet */
    struct gr_stored *stored;       /* of parameters and states */
    bool derived;                   /* from parameters alone */
    bool constant;                  /* derived, and read by a step that is not: kept between runs */
    bool pinned;                    /* an input or target: alive from the first step to the last */
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

    uint64_t constants_version; /* sum of the parameters' versions at the last run; 0: never ran */
    bool profiling;
    gr_timing_fn *timing; /* hears of each step, or NULL */
    void *timing_user;
};

/* A buffer's end of life. */
struct gr_death {
    int step;
    void *data;
    size_t bytes;
};

/* Makes a slot for each value of the graph that has none. */
bool gr_program_grow_slots(struct gr_program *program, struct gr_error *err);

/* Plans the arena, allocates it, and binds every kernel to its buffers. */
bool gr_program_place(struct gr_program *program, struct gr_error *err);

/*
 * What gr_program_place would come to, constants included: alive[s] bytes at step s, and the plan
 * of the arena. Either may be NULL. The first takes time n log n, the second as gr_memory_plan.
 */
bool gr_program_measure(struct gr_program *program, size_t *alive, struct gr_memory_plan *plan,
                        struct gr_error *err);

#endif
