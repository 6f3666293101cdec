/*
 * A piece of work tried with each of its calls failing in turn. It must then either fail with a
 * runtime error that says why, or do all that it does otherwise (or say in the log what it could
 * not do); leave nothing half-written, and no memory, descriptor or thread behind.
 */
#ifndef GR_TESTS_TRIAL_H
#define GR_TESTS_TRIAL_H

#include "faults.h"
#include "graphrunner.h"

struct gr_trial {
    const char *name;
    /* Does the work, writing into the folder `out` alone, which is empty at first. */
    bool (*work)(struct gr_context *context, struct gr_error *err);
    /* What stands in `out` before: the name of a folder in the test's, or NULL. */
    const char *before;
    const char *leaves; /* pattern of old files that may stay in `out`, or NULL */
    bool judges;        /* what cannot be read is part of its result, and no failure */
    /* Without faults the work fails with this status; GR_OK: it does not. */
    enum gr_status fails;
};

/* Takes a result into account: work that survives a fault must come to the same. */
void gr_trial_note(const void *data, size_t bytes);
void gr_trial_note_text(const char *text);

/*
 * Tries the work with faults of that kind: at every call of it that no earlier trial of this
 * program came to in the same way, once that call alone and once all calls from it on. The
 * environment variable GR_FAULTS tries more or less: `all` (every call), or a number (the most
 * calls a trial). Returns how many runs were not clean, having told on standard error what was
 * wrong with them.
 */
size_t gr_trial_run(const struct gr_trial *trial, enum gr_fault kind);

/* One of CMocka's tests: `try_all` with its state pointing to the kind of fault that it tries. */
struct CMUnitTest gr_fault_test(void (*try_all)(void **state), enum gr_fault kind);

/* Paths in the test's folder, and in `out`; each of the last hundred stays valid. */
const char *gr_trial_path(const char *name);
const char *gr_trial_out(const char *name);

/* CMocka's setup and teardown of a group. */
int gr_trial_set_up(void **state);
int gr_trial_tear_down(void **state);

/* A context that logs for trials, to prepare with. */
struct gr_context *gr_trial_context(void);
void gr_trial_write(const char *name, const char *text);
void gr_trial_ok(bool ok, const struct gr_error *err);

#endif
