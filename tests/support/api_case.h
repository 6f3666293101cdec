/*
 * What the tests of the public API share: small model files in a folder of their own, a context,
 * and the log that it wrote. Built on graphrunner.h alone. Whatever fails ends the test.
 */
#ifndef GR_TESTS_API_CASE_H
#define GR_TESTS_API_CASE_H

#include "graphrunner.h"

/* 60 synthetic images of 4 classes to train on, 23 to validate; 1380 parameters; batch 8, 3 epochs.
 */
extern const char gr_api_tiny[];

/* The same task for a network with a convolution, batch norm, lrn, pools, dropout, concat and add.
 */
extern const char gr_api_zoo[];

/* CMocka's setup and teardown: the folder, a context with one thread. */
int gr_api_set_up(void **state);
int gr_api_tear_down(void **state);
struct gr_context *gr_api_context(void);

/* All that was logged since set-up, one line after the other. */
const char *gr_api_log(void);

/* A path in the folder; each of the last hundred stays valid. */
const char *gr_api_path(const char *name);
void gr_api_write(const char *name, const char *text);

/* Writes the text as NAME.yaml and loads it with overrides (may be NULL; ends with NULL). */
struct gr_model *gr_api_load(const char *name, const char *text, uint64_t seed,
                             const char *const *sets);

/* Fails the test with the error's message unless ok. */
void gr_api_ok(bool ok, const struct gr_error *err);

/* The call failed with this status and this message; clears the error. */
void gr_api_refused(bool ok, struct gr_error *err, enum gr_status status, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The tensors of two files have the same names, shapes and bits. */
void gr_api_expect_same_tensors(const char *path_a, const char *path_b);

#endif
