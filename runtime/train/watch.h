/*
 * Watching how the layers fare: |w|, |dw| of a step and dead ReLUs. Only steps that are watched
 * cost anything: the weights are copied before them, and the outputs of ReLUs as they are made.
 */
#ifndef GR_TRAIN_WATCH_H
#define GR_TRAIN_WATCH_H

#include "model/model.h"

struct gr_watcher;

/* For the steps of the plan, which must outlive it; *watcher is NULL if the options want none. */
bool gr_watcher_new(struct gr_watcher **watcher, struct gr_plan *plan,
                    const struct gr_train_options *options, struct gr_error *err);
void gr_watcher_free(struct gr_watcher *watcher); /* NULL is allowed */

/* Around each step, counting from 1. The second calls options->watch. NULL does nothing. */
void gr_watcher_before(struct gr_watcher *watcher, int64_t step);
bool gr_watcher_after(struct gr_watcher *watcher, int64_t step, double rate, double loss,
                      struct gr_error *err);

#endif
