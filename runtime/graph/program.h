/*
 * A program: a graph compiled for a set of targets. It owns one arena; running it allocates
 * nothing.
 *
 * Compiling prunes to the ancestors of the targets, fuses, orders, lets each node choose its kernel
 * and layouts (inserting reorders into the graph), plans the memory and binds the kernels to it.
 */
#ifndef GR_GRAPH_PROGRAM_H
#define GR_GRAPH_PROGRAM_H

#include "graph/params.h"
#include "graph/tuning.h"

struct gr_step;

struct gr_program_options {
    bool no_memory_plan; /* every value has memory of its own */
    bool no_fusion;
    bool check_finite; /* a run fails at the first node whose f32 output holds NaN or infinity */
    bool poison;       /* fill dead buffers with NaN, to find a use after death */
    bool run_updates;  /* update nodes run though no target depends on them */
    enum gr_precision precision;
    const char *choice; /* tests: nodes that have this candidate take it; NULL: none is forced */
    /* Choices of kernels and of lanes that it takes and records; NULL: the usual, and no lanes. */
    struct gr_tuning *tuning;
    size_t memory_budget; /* bytes of arena, parameters and states; 0: no bound. See recompute.h */
    /*
     * What a step is expected to take, for the choice of what to compute again; may be NULL, and
     * may return a negative number for a step it does not know. Then what was measured when the
     * kernel was chosen takes its place, or an estimate.
     */
    double (*step_seconds)(void *user, const struct gr_step *step);
    void *step_seconds_user;
};

struct gr_program;

/*
 * Compiles graph, which it may change and which must outlive it, as must params and backend.
 * targets are values of the graph; they are kept, in plain layout, to the end of a run.
 */
struct gr_program *gr_program_new(struct gr_graph *graph, struct gr_params *params,
                                  struct gr_backend *backend, struct gr_value *const *targets,
                                  size_t n_targets, const struct gr_program_options *options,
                                  struct gr_error *err);
void gr_program_free(struct gr_program *program);

/* Where an input is to be written or a target lies after a run (plain); NULL if it is neither. */
void *gr_program_data(const struct gr_program *program, const struct gr_value *value);

/* Is this input read at all by what the targets need? */
bool gr_program_uses(const struct gr_program *program, const struct gr_value *input);

bool gr_program_run(struct gr_program *program, const struct gr_run *run, struct gr_error *err);

struct gr_memory_report gr_program_memory(const struct gr_program *program);

/* The nodes in execution order, and what was chosen for each. */
struct gr_step {
    struct gr_node *node;
    struct gr_kernel kernel;
    struct gr_buffers buffers;
    const struct gr_layout **dst_layouts; /* [n_outputs] */
    const char *choice;                   /* the candidate that the kernel is; NULL: the usual */
    double
        measured;   /* seconds that it took when it was chosen by measuring; negative: it was not */
    double seconds; /* spent in it while profiling */
    int lane;       /* from 1, where it runs beside others; 0: alone, on all threads */
    double again;   /* of a step that computes again: its expected share of the time of a run */
    bool guarded;   /* a scalar target of a training step: must be finite, or the run stops here */
    bool constant;  /* depends on parameters alone: run when they changed, not each time */
    bool kept;      /* a copy of a parameter that its update renews: run when others changed it */
};

size_t gr_program_step_count(const struct gr_program *program);
const struct gr_step *gr_program_step(const struct gr_program *program, size_t index);
void gr_program_profile(struct gr_program *program, bool on);
void gr_program_trace(struct gr_program *program, gr_timing_fn *timing, void *user);

/*
 * Calls after each step that has run, while its buffers still hold what it made, from the thread
 * that ran it: steps of different lanes may come at once. NULL: no more.
 */
typedef void gr_observe_fn(void *user, const struct gr_step *step);
void gr_program_observe(struct gr_program *program, gr_observe_fn *observe, void *user);

/* Offset in the arena, or -1 when the value lies elsewhere. */
int64_t gr_program_offset(const struct gr_program *program, const struct gr_value *value);

/* Of a value as it lies; 0 for one that the program does not hold. */
size_t gr_program_bytes(const struct gr_program *program, const struct gr_value *value);

/* The type of its elements as they lie. */
enum gr_dtype gr_program_dtype(const struct gr_program *program, const struct gr_value *value);

/* What a run of the step reads, each input once, and writes: outputs, and what it updates. */
struct gr_traffic {
    size_t read, written;
};

struct gr_traffic gr_program_traffic(const struct gr_program *program, const struct gr_step *step);

#endif
