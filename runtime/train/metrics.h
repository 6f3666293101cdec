/*
 * The record of a training run: metrics.jsonl, one JSON object a line, written as it happens, so
 * that what a run came to survives its end, whatever that was.
 *
 *   {"stage":"train","epoch":1,"step":469,"loss":0.61,"learning_rate":0.01}
 */
#ifndef GR_TRAIN_METRICS_H
#define GR_TRAIN_METRICS_H

#include "base/error.h"

struct gr_metrics;

/*
 * Opens the file for writing behind its first `keep` lines: 0 begins anew, and a negative number
 * keeps all but a last line that a crash cut short. path is copied. NULL and *err on failure.
 */
struct gr_metrics *gr_metrics_open(const char *path, int64_t keep, struct gr_error *err);

/*
 * Writes one line and hands it to the system: "stage" first, then the pairs in order. Whole numbers
 * are written as such, others to nine significant digits, NaN and infinity as null. False and *err
 * (naming the file) when it is not written yet: it will be, before the next or at the end.
 */
bool gr_metrics_write(struct gr_metrics *metrics, const char *stage, const struct gr_metric *pairs,
                      size_t count, struct gr_error *err);

/* Lines, those kept and those written since; and the file's descriptor. */
int64_t gr_metrics_count(const struct gr_metrics *metrics);
int gr_metrics_fd(const struct gr_metrics *metrics);

/* As gr_append_renew. */
bool gr_metrics_renew(struct gr_metrics *metrics, struct gr_error *err);

/* Ends it; NULL is fine. False and *err when the system could not keep what was written. */
bool gr_metrics_close(struct gr_metrics *metrics, struct gr_error *err);

#endif
