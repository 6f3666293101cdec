/*
 * What a training run leaves behind of its course, for the report: run.jsonl (each start and end),
 * steps.jsonl (each step), confusion.csv (of the best validation) and, made of these and of the
 * metrics, report.html. The figures are also kept in memory, thinned out, so that writing the page
 * costs the same after a million steps.
 */
#ifndef GR_TRAIN_JOURNAL_H
#define GR_TRAIN_JOURNAL_H

#include "report/record.h"
#include "train/evaluate.h"

struct gr_journal;
struct gr_metrics;

/* How the run is set up. */
struct gr_journal_facts {
    const char *monitor; /* the figure that decides which epoch is best */
    bool higher_is_better;
    int64_t batch, epochs, steps_per_epoch;
    int64_t step;                     /* training steps done before */
    int64_t epoch_step;               /* those that were done when the epoch began */
    bool goes_on;                     /* with the records that are there */
    int64_t keep;                     /* of them, so many steps; negative: all */
    const struct gr_plan *validation; /* made with gr_journal_scores; NULL: there is none */
};

/*
 * The model's class scores, which a validation needs as the last target of its plan (`extra` in
 * gr_evaluation_plan) for its confusion matrix; *scores NULL: it has none, or too many classes.
 */
bool gr_journal_scores(const struct gr_model *model, const char **scores, struct gr_error *err);

/*
 * Opens the records in the run folder. Model and options must outlive it. NULL and *err on failure.
 */
struct gr_journal *gr_journal_open(struct gr_model *model, const struct gr_train_options *options,
                                   const struct gr_journal_facts *facts, struct gr_error *err);

/* What the steps of this epoch came to that were recorded before. */
struct gr_record_sum gr_journal_before(const struct gr_journal *journal);

/*
 * Records a step. seconds and wait count from the start of the epoch, or from where the run went on
 * in it. False, as from the functions below: it is not written yet, but will be.
 */
bool gr_journal_step(struct gr_journal *journal, const struct gr_curve_step *step,
                     struct gr_error *err);

/* Takes the figures of a stage, as they are written to the metrics. */
bool gr_journal_stage(struct gr_journal *journal, const char *stage, const struct gr_metric *pairs,
                      size_t count, struct gr_error *err);

/* A validation begins; its measure takes each batch. user is the journal. */
void gr_journal_validate(struct gr_journal *journal);
bool gr_journal_measure(void *user, const struct gr_plan *plan, const struct gr_batch *batch,
                        struct gr_eval_result *result, struct gr_error *err);

/* The last validation was the best: takes over its confusion matrix; and writes it. */
bool gr_journal_best(struct gr_journal *journal, struct gr_error *err);
bool gr_journal_write_best(const struct gr_journal *journal, struct gr_error *err);

/* Makes run.jsonl and steps.jsonl anew where they are gone; as gr_append_renew. */
bool gr_journal_renew(struct gr_journal *journal, struct gr_error *err);

/* The file of steps. */
const struct gr_metrics *gr_journal_steps(const struct gr_journal *journal);

/*
 * Writes the page, unless that has been done a moment ago: it may take a twentieth of the time. A
 * failure is a warning.
 */
void gr_journal_page(struct gr_journal *journal);

/*
 * The run ends after so many steps: "finished", "plateau", "interrupted" or "failed" with a message
 * (else NULL). Writes the page and frees the journal; NULL is fine. False and *err when a record is
 * not complete; a page that is not written is a warning.
 */
bool gr_journal_close(struct gr_journal *journal, int64_t step, const char *outcome,
                      const char *message, struct gr_error *err);

#endif
