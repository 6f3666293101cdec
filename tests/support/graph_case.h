/*
 * A training graph that a test builds line by line, and what the tests of the passes ask of it. One
 * at a time: set-up makes it, tear-down frees it. Whatever fails ends the test.
 */
#ifndef GR_TESTS_GRAPH_CASE_H
#define GR_TESTS_GRAPH_CASE_H

#include "small_graph.h"

extern struct gr_small gr_case;

int gr_case_set_up(void **state);
int gr_case_tear_down(void **state);

/* An input [2, c, h, h]. */
struct gr_value *gr_case_image(const char *name, int64_t c, int64_t h);

/* A scalar that is sum(value · fixed), fixed being the input "NAME.fixed". */
struct gr_value *gr_case_dot(const char *name, struct gr_value *value);

/* The output of a node of the op with its defaults; b may be NULL. */
struct gr_value *gr_case_node(const char *op, const char *name, struct gr_value *a,
                              struct gr_value *b);

/* A 3×3 convolution that keeps height and width; share may be NULL. */
struct gr_node *gr_case_conv_node(const char *name, struct gr_value *src, int channels, bool frozen,
                                  const struct gr_node *share);
struct gr_value *gr_case_conv(const char *name, struct gr_value *src, int channels);

/* The value of that name, which must be there, and its gradient or NULL. */
struct gr_value *gr_case_value(const char *name);
struct gr_value *gr_case_gradient(const char *name);

void gr_case_differentiate(const struct gr_loss *losses, size_t n, struct gr_value *const *wanted,
                           size_t n_wanted);

/* Updates by sgd with momentum for every gradient of a parameter. */
void gr_case_add_updates(void);

/*
 * A whole step of training: two convolutions whose weights the backward pass reads, a batch norm,
 * and the updates.
 */
void gr_case_build_training_step(void);

size_t gr_case_count_op(const char *op);
size_t gr_case_count_phase(enum gr_phase phase);

#endif
