/*
 * A small graph put together by a test, compiled and run: for what op_check.h does not cover.
 * Whatever fails ends the test.
 */
#ifndef GR_TESTS_SMALL_GRAPH_H
#define GR_TESTS_SMALL_GRAPH_H

#include "graph/autodiff.h"
#include "graph/program.h"
#include "op_check.h"

struct gr_small {
    struct gr_backend *backend;
    struct gr_graph *graph;
    struct gr_params *params;
    struct gr_program *program;
    struct gr_value **gradients; /* by value id, after gr_small_differentiate */
    size_t n_gradients;
    bool no_fusion, no_memory_plan; /* to be set before gr_small_compile */
    enum gr_precision precision;    /* as well */
};

void gr_small_init(struct gr_small *small, bool training, int threads, enum gr_kernels kernels);
void gr_small_release(struct gr_small *small);

struct gr_value *gr_small_input(struct gr_small *small, const char *name, struct gr_shape shape);

/* A node of the op with one or two inputs (b may be NULL) and attributes (may be NULL). */
struct gr_node *gr_small_node(struct gr_small *small, const char *op, const char *name,
                              const struct gr_check_attr *attrs, struct gr_value *a,
                              struct gr_value *b);

/* loss = sum(value · fixed); "fixed" becomes an input. Returns the loss. */
struct gr_value *gr_small_loss(struct gr_small *small, struct gr_value *value);

/* Gradients of the loss for all parameters and for `wanted` (may be NULL). */
void gr_small_differentiate(struct gr_small *small, struct gr_value *loss, struct gr_value *wanted);

/* Compiles; with updates, update nodes run too. */
void gr_small_compile(struct gr_small *small, struct gr_value *const *targets, size_t n_targets,
                      bool updates);

void gr_small_feed(struct gr_small *small, const struct gr_value *value, const float *data);
void gr_small_run(struct gr_small *small, uint64_t seed, uint64_t step);

/* A target's elements after a run. */
const float *gr_small_fetch(const struct gr_small *small, const struct gr_value *value);

void gr_small_set(struct gr_small *small, const struct gr_value *parameter, const float *data);
void gr_small_get(struct gr_small *small, const struct gr_value *parameter, float *data);

/* N(0, 1) numbers of this seed. */
void gr_small_draw(float *data, int64_t count, uint64_t seed);

#endif
