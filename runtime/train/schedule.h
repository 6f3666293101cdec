/*
 * Learning-rate policies: the rate of a training step as a function of how far training has come.
 *
 * A policy is a kind, chosen under train.learning_rate: `{cosine: {base: 0.1, warmup_epochs: 5}}`.
 * All but plateau are closed forms of the step alone. Plateau reacts to what validations showed;
 * what it remembers of them is a struct gr_schedule_state, which a checkpoint saves, so that a
 * resumed run goes on exactly. Time t is step / steps_per_epoch: epochs done, with their fraction.
 * Lengths in a model file are epochs (fractions are welcome), or steps with `unit: steps`.
 *
 *   fixed      base
 *   step       base · gamma^floor(t / every)
 *   multistep  base · gamma^(how many of `at` are ≤ t)
 *   exp        base · gamma^t
 *   poly       end + (base - end) · (1 - t / length)^power, `end` from length on
 *   cosine     end + (base - end) · (1 + cos(π t / length)) / 2, `end` from length on
 *   plateau    base · factor^(drops so far)
 *
 * Warm-up: the k-th (from 1) of the first w steps has from + (rate - from) · k / w, rate being the
 * policy's own for that step; the policy's clock runs from the first step, warm-up included.
 */
#ifndef GR_TRAIN_SCHEDULE_H
#define GR_TRAIN_SCHEDULE_H

#include "base/kind.h"

extern const struct gr_kind *const gr_schedules[]; /* ends with NULL */

/* The policy of that name, or NULL. */
const struct gr_kind *gr_schedule_find(const char *name);

/* What the tables cannot say: warm-up given once, `at` rising, `end` at most base. A model error.
 */
bool gr_schedule_check(const struct gr_choice *schedule, struct gr_error *err);

/* Zero-initialised is the start of training. Only plateau changes it. */
struct gr_schedule_state {
    double best;   /* value so far, if seen */
    bool seen;     /* a validation has been observed */
    bool finished; /* the plateau after the last drop has come */
    int64_t bad;   /* validations in a row that did not improve */
    int64_t drops; /* done */
};

/*
 * The rate of training step `step` (from 0). total_epochs is the whole training's, 0 when it is not
 * known; poly and cosine without `length` then stay at base. steps_per_epoch is at least 1.
 */
double gr_schedule_rate(const struct gr_choice *schedule, const struct gr_schedule_state *state,
                        int64_t step, int64_t steps_per_epoch, int64_t total_epochs);

/* Does each step's rate depend on how long the whole training is? */
bool gr_schedule_spans_training(const struct gr_choice *schedule);

enum gr_schedule_event {
    GR_SCHEDULE_NONE,     /* no improvement, still patient; or a policy that does not listen */
    GR_SCHEDULE_IMPROVED, /* better than the best by more than the threshold */
    GR_SCHEDULE_DROPPED,  /* patience ran out: the rate is multiplied by factor from now on */
    GR_SCHEDULE_FINISHED, /* patience ran out with no drop left: training may end */
};

/* Tells the policy the monitored value of a validation. A value that is not a number never
 * improves. */
enum gr_schedule_event gr_schedule_observe(const struct gr_choice *schedule,
                                           struct gr_schedule_state *state, double value,
                                           bool higher_is_better);

/* The name of the figure that plateau monitors, or NULL: the first metric, or the loss. */
const char *gr_schedule_monitor(const struct gr_choice *schedule);

enum { GR_SCHEDULE_STATE_TEXT = 128 };

/* The state as a line of text, exact to the bit, and back; a text not of this form is a data error.
 */
const char *gr_schedule_state_text(const struct gr_schedule_state *state,
                                   char buffer[GR_SCHEDULE_STATE_TEXT]);
bool gr_schedule_state_parse(struct gr_schedule_state *state, const char *text,
                             struct gr_error *err);

#endif
