/*
 * Choices by name: what was found fastest on this machine, so that it need not be measured twice
 * and gives the same bits again. In memory; model/tuning_file.h keeps them in files.
 */
#ifndef GR_GRAPH_TUNING_H
#define GR_GRAPH_TUNING_H

#include "base/error.h"

struct gr_tuning;

/*
 * Hears of each measurement: before it begins, with result NULL, and afterwards, with a line of
 * what was measured. False before one: it is not to begin. Same as gr_tune_fn of graphrunner.h.
 */
typedef bool gr_tuning_report_fn(void *user, const char *what, const char *result);

/* measure: what is not known may be measured; else only what is recorded is taken. */
struct gr_tuning *gr_tuning_new(bool measure, struct gr_error *err);
void gr_tuning_free(struct gr_tuning *tuning); /* NULL is allowed */

bool gr_tuning_measures(const struct gr_tuning *tuning);
void gr_tuning_set_report(struct gr_tuning *tuning, gr_tuning_report_fn *report, void *user);
bool gr_tuning_begin(const struct gr_tuning *tuning, const char *what, struct gr_error *err);
void gr_tuning_report(const struct gr_tuning *tuning, const char *what, const char *result);

/* The choice recorded under that key, or NULL. What was found counts as used. */
const char *gr_tuning_find(struct gr_tuning *tuning, const char *key);

/* What the choice recorded under that key took; negative: nothing is recorded. */
double gr_tuning_seconds(const struct gr_tuning *tuning, const char *key);

/*
 * Where a choice is from: a file, or measured just now, which makes it news, and used. An unsure
 * one was measured while other programs took the processor: it holds for now, and for the run it
 * belongs to, but a machine's cache does not keep it.
 */
enum gr_tuning_origin { GR_TUNING_READ, GR_TUNING_MEASURED, GR_TUNING_UNSURE };

/* Keeps copies; a later choice replaces an earlier one. `seconds` is what the choice took. */
bool gr_tuning_record(struct gr_tuning *tuning, const char *key, const char *choice, double seconds,
                      enum gr_tuning_origin origin, struct gr_error *err);

/* In the order of their first recording. */
struct gr_tuning_entry {
    const char *key, *choice;
    double seconds;
    enum gr_tuning_origin origin;
    bool used; /* since the start */
};

size_t gr_tuning_count(const struct gr_tuning *tuning);
struct gr_tuning_entry gr_tuning_entry(const struct gr_tuning *tuning, size_t index);

/* Has anything been measured since the last call? */
bool gr_tuning_take_news(struct gr_tuning *tuning);

#endif
