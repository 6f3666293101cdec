/*
 * The figures of a run on their way to its records: metrics.jsonl, the events of TensorBoard, and
 * the journal. Training does not stop because a record cannot be written: that is told once, what
 * is missing is written as soon as it can be, and only the end says whether all of it was.
 */
#ifndef GR_TRAIN_RECORDING_H
#define GR_TRAIN_RECORDING_H

#include "train/checkpoint.h"
#include "train/events.h"
#include "train/journal.h"
#include "train/metrics.h"

/* Zero-initialised is nothing open. */
struct gr_recording {
    const struct gr_context *context;
    struct gr_metrics *metrics;
    struct gr_events *events;
    struct gr_journal *journal;
    bool failing;  /* which has been told */
    bool no_table; /* the confusion matrix of the best validation is still to be written */
};

/*
 * Opens the records in options->out; facts->goes_on: behind those that `kept` counts, and warns
 * where there are fewer. Model and options must outlive it.
 */
bool gr_recording_open(struct gr_recording *recording, struct gr_model *model,
                       const struct gr_train_options *options, const struct gr_journal_facts *facts,
                       const struct gr_records *kept, struct gr_error *err);

/*
 * Makes the records anew where they are gone with their folder, which is there again. False and
 * *err: not all of them are, and a later call goes on.
 */
bool gr_recording_renew(struct gr_recording *recording, struct gr_error *err);

/* How many of each there are, and the descriptors of their files. */
struct gr_records gr_recording_count(const struct gr_recording *recording);
void gr_recording_files(const struct gr_recording *recording, int files[3]);

/* A step; now and then, with its smoothed loss, an event too. As gr_journal_step. */
void gr_recording_step(struct gr_recording *recording, const struct gr_curve_step *step,
                       double smoothed);

/* The figures of an epoch's stage. The first pairs are epoch and step. */
void gr_recording_stage(struct gr_recording *recording, const char *stage,
                        const struct gr_metric *pairs, size_t count);

/* The last validation was the best. */
void gr_recording_best(struct gr_recording *recording);

/*
 * The run ends; as gr_journal_close. False and *err when a record is not complete. What was not
 * opened is passed over.
 */
bool gr_recording_close(struct gr_recording *recording, int64_t step, const char *outcome,
                        const char *message, struct gr_error *err);

#endif
