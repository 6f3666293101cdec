/*
 * A training run: what the loop (train.c), its set-up (train_setup.c) and its figures
 * (train_figures.c) share.
 */
#ifndef GR_TRAIN_TRAIN_H
#define GR_TRAIN_TRAIN_H

#include "train/saving.h"
#include "train/watch.h"

struct gr_trainer {
    struct gr_model *model;
    const struct gr_train_options *options;
    struct gr_batches data, validation; /* validation closed: there is none */
    struct gr_plan *plan, *validation_plan;
    int lock; /* of the run folder, or -1 */
    struct gr_recording recording;
    struct gr_saving saving;
    struct gr_watcher *watcher; /* NULL: nothing is watched */
    struct gr_standing standing;
    const char *monitor;
    bool higher_is_better;
    int64_t epochs, steps_per_epoch;
    int64_t max_steps;           /* 0: no bound */
    bool standing_found;         /* on opening: its checkpoint is in the folder */
    double start, wait_start;    /* of this epoch, in this process */
    int64_t epoch_images;        /* of it, seen by this process */
    struct gr_record_sum before; /* of it, by the processes before */
    double run_start;
    int64_t run_steps; /* done by this process */
    double validation_seconds;
    bool stopped;
};

/* ---- set-up (train_setup.c) -------------------------------------------------------------- */

/* Opens data, plans and the run folder, as the options say. To be closed also after a failure. */
bool gr_trainer_open(struct gr_trainer *t, struct gr_error *err);
void gr_trainer_close(struct gr_trainer *t);

/* ---- figures (train_figures.c) ----------------------------------------------------------- */

/* The rate of a step, counting from 0; and of the next. */
double gr_trainer_rate_at(const struct gr_trainer *t, int64_t step);
double gr_trainer_rate(const struct gr_trainer *t);

/* The monitored one of an epoch's figures, and whether such a value would be the best so far. */
double gr_trainer_monitored(const struct gr_trainer *t, const struct gr_metric *metrics,
                            int n_metrics, double loss);
bool gr_trainer_is_best(const struct gr_trainer *t, double value);

/* Takes the loss of the step that was run into the smoothed one, before the step is counted. */
void gr_trainer_smooth(struct gr_trainer *t);

/* Progress after a step, last: of its epoch. False: stop. */
bool gr_trainer_show(struct gr_trainer *t, double rate, bool last);

/* The records of a step, and of a stage of an epoch. */
void gr_trainer_record_step(struct gr_trainer *t, int64_t images, double rate);
void gr_trainer_record_stage(struct gr_trainer *t, const char *stage,
                             const struct gr_eval_result *means, double rate, double seconds,
                             double images);

#endif
