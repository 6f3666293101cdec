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

/* Called with each batch after its run; false and err stop the pass. */
typedef bool gr_batch_fn(void *user, const struct gr_plan *plan, const struct gr_batch *batch,
                         struct gr_error *err);

/*
 * Runs over every readable image once. Means weight each image alike whatever the batch. progress
 * gives stage, epoch and epochs; batch_done may be NULL. *stopped: the progress callback said so.
 */
bool gr_evaluate_part(struct gr_batches *batches, struct gr_plan *plan,
                      const struct gr_progress *progress, gr_progress_fn *show, void *show_user,
                      gr_batch_fn *batch_done, void *batch_user, struct gr_eval_result *result,
                      bool *stopped, struct gr_error *err);

#endif
