/*
 * Errors as values: what went wrong, in whose hands it is to mend, and one sentence that says so.
 *
 * A fallible function returns bool (true: done) and takes a struct gr_error * last. The first error
 * wins: gr_fail on an error already set keeps the earlier message. err may be NULL where the caller
 * does not care why.
 */
#ifndef GR_BASE_ERROR_H
#define GR_BASE_ERROR_H

#include "graphrunner.h"

#include <stdarg.h>

#if defined(__GNUC__)
#define GR_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define GR_PRINTF(text, first)
#endif

/* Sets err unless it is set already, and returns false, so that `return gr_fail(err, ...)` reads
 * well. */
bool gr_fail(struct gr_error *err, enum gr_status status, const char *format, ...) GR_PRINTF(3, 4);
bool gr_failv(struct gr_error *err, enum gr_status status, const char *format, va_list args)
    GR_PRINTF(3, 0);

/* "out of memory" while doing what; returns false. */
bool gr_fail_memory(struct gr_error *err, const char *what);

/* Does this errno say that the process is short of memory or descriptors? */
bool gr_is_shortage(int number);

/*
 * "PATH: WHAT: " and strerror(number). A shortage, which is neither the data's fault nor the
 * model's, is a runtime error whatever the status.
 */
bool gr_fail_system(struct gr_error *err, enum gr_status status, int number, const char *what,
                    const char *path);

#endif
