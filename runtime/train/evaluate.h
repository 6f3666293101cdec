/*
 * Evaluation within training: one pass over an opened part.
 */
#ifndef GR_TRAIN_EVALUATE_H
#define GR_TRAIN_EVALUATE_H

#include "train/batches.h"

/* A plan for evaluation: inference, with the losses, the metrics and `extra` (may be NULL) as
 * targets. */
struct gr_plan *gr_evaluation_plan(struct gr_model *model, int64_t batch,
                                   enum gr_precision precision, const char *extra,
                                   struct gr_error *err);

/* Takes a batch, after its run, into the means of result; false and err stop the pass. */
typedef bool gr_measure_fn(void *user, const struct gr_plan *plan, const struct gr_batch *batch,
                           struct gr_eval_result *result, struct gr_error *err);

/*
 * Runs over every readable image once. Means weight each image alike whatever the batch. progress
 * gives stage, epoch and epochs; measure NULL takes the figures of the plan's targets
 * (gr_batches_accumulate). *stopped: the progress callback said so.
 */
bool gr_evaluate_part(struct gr_batches *batches, struct gr_plan *plan,
                      const struct gr_progress *progress, gr_progress_fn *show, void *show_user,
                      gr_measure_fn *measure, void *measure_user, struct gr_eval_result *result,
                      bool *stopped, struct gr_error *err);

#endif
