/*
 * What is known of a training run: who ran what and when, the figures of its epochs and of its
 * steps, the confusion matrix of its best validation. Fed by the run itself while it goes on
 * (train/journal.h), or read from the files that it left in its folder:
 *
 *     run.jsonl       an event a line: each start and each end of the training
 *     metrics.jsonl   a line for each stage of each epoch
 *     steps.jsonl     a line for each training step
 *     confusion.csv   of the validation that gave best.safetensors
 *
 * Only metrics.jsonl or steps.jsonl need to be there.
 */
#ifndef GR_REPORT_RECORD_H
#define GR_REPORT_RECORD_H

#include <jansson.h>

#include "base/pool.h"
#include "report/curve.h"
#include "train/confusion.h"

#define GR_RUN_NAME "run.jsonl"
#define GR_METRICS_NAME "metrics.jsonl"
#define GR_STEPS_NAME "steps.jsonl"
#define GR_CONFUSION_NAME "confusion.csv"

/* From one start of the training to its end. Texts may be NULL, numbers -1: not known. */
struct gr_record_session {
    const char *command, *model, *precision, *machine, *system, *version, *monitor;
    int64_t higher_is_better; /* of the monitored figure */
    int64_t seed, batch, threads, cores, parameters, epochs, steps_per_epoch, train_images;
    int64_t started, ended;        /* seconds since 1970 */
    int64_t first_step, last_step; /* training steps done before, and at the end */
    const char *outcome; /* "finished", "plateau", "interrupted", "failed"; NULL: no end */
    const char *message; /* why it failed */
};

/* NaN: not known. */
struct gr_record_stage {
    bool there;
    double loss, learning_rate, images_per_second, seconds, wait_share;
    double metrics[GR_MAX_METRICS];
};

struct gr_record_epoch {
    int64_t epoch, step; /* epochs count from 1; step: training steps at its end */
    struct gr_record_stage train, val;
};

/* What the training steps after one come to together. */
struct gr_record_sum {
    int64_t after; /* that step */
    double images, seconds, wait;
};

/* Zero-initialised is empty. */
struct gr_record {
    struct gr_pool pool; /* of the texts */
    struct gr_record_session *sessions;
    size_t n_sessions, sessions_capacity;
    const char *metrics[GR_MAX_METRICS]; /* names */
    int n_metrics;
    struct gr_record_epoch *epochs; /* rising */
    size_t n_epochs, epochs_capacity;
    struct gr_curve curve;
    struct gr_record_sum sum;      /* of the steps that are read; `after` is to be set before */
    struct gr_confusion confusion; /* counts NULL: there is none */
    const char **class_names;      /* [confusion.classes], texts may be NULL; or NULL */
};

void gr_record_release(struct gr_record *record);

/* ---- feeding it ---------------------------------------------------------------------------- */

/* Takes an event, as run.jsonl has it; one that is not understood is left out. */
bool gr_record_event(struct gr_record *record, const json_t *event, struct gr_error *err);

/*
 * Takes the figures of a stage, "train" or "val", as metrics.jsonl has them. An epoch that was
 * there already, of a run resumed from before it, replaces that one and all after it.
 */
bool gr_record_stage(struct gr_record *record, const char *stage, const struct gr_metric *pairs,
                     size_t count, struct gr_error *err);

/* ---- reading ------------------------------------------------------------------------------- */

/*
 * Reads a run's folder. Lines that are damaged or cut short are left out, with one warning a file;
 * a confusion matrix that makes no sense is left out as well. A folder without metrics is a data
 * error. log may be NULL.
 */
bool gr_record_read(struct gr_record *record, const char *folder, gr_log_fn *log, void *log_user,
                    struct gr_error *err);

/* ---- asking -------------------------------------------------------------------------------- */

/* The newest session; all unknown where there is none. */
struct gr_record_session gr_record_latest(const struct gr_record *record);

/* The figure that decides which epoch is best, and the best epoch by it; epoch NULL: none has it.
 */
struct gr_record_best {
    const char *monitor; /* "loss" or a metric */
    bool higher;         /* is better */
    bool of_validation;
    const struct gr_record_epoch *epoch;
    double value;
};

struct gr_record_best gr_record_best(const struct gr_record *record);

/* A figure of a stage by name; NaN: it has none of that name. */
double gr_record_figure(const struct gr_record *record, const struct gr_record_stage *stage,
                        const char *name);

/* The newest epoch, or NULL. */
const struct gr_record_epoch *gr_record_last(const struct gr_record *record);

/* Training steps done. */
int64_t gr_record_steps(const struct gr_record *record);

/* Images a second of all training together; of the last epoch where there are no steps. */
double gr_record_speed(const struct gr_record *record);

/* Time spent in training steps and in validation. */
void gr_record_seconds(const struct gr_record *record, double *training, double *validation);

#endif
