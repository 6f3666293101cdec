/*
 * The training loop: epochs of steps, a validation after each, the learning-rate policy, and when
 * the state is saved. Set-up is in train_setup.c, figures in train_figures.c, records and
 * checkpoints in recording.h and saving.h.
 */
#include "train/train.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "train/divergence.h"
#include "train/run_folder.h"

/* ---- what the user wants ----------------------------------------------------------------- */

/* Of the step before, if this epoch had one: a run resumed in validation has no other. */
static double rate_before(const struct gr_trainer *t)
{
    return gr_trainer_rate_at(t, t->standing.step - (t->standing.batch > 0));
}

/* Saves where that is asked for. *stop: the training is to end here. */
static bool obey(struct gr_trainer *t, bool *stop, struct gr_error *err)
{
    const struct gr_train_options *o = t->options;
    const enum gr_request request = o->request ? o->request(o->request_user) : GR_REQUEST_NOTHING;
    *stop = request == GR_REQUEST_STOP;
    if (request != GR_REQUEST_SAVE)
        return true;
    if (!gr_saving_begin(&t->saving, &t->standing, true, false, rate_before(t), err))
        return false;
    t->saving.announce = true;
    return true;
}

/* ---- a step ------------------------------------------------------------------------------ */

static bool run_step(struct gr_trainer *t, double rate, struct gr_error *err)
{
    struct gr_error failed = {0};
    const int64_t step = t->standing.step + 1;
    gr_plan_set_learning_rate(t->plan, rate);
    gr_watcher_before(t->watcher, step);
    if (!gr_plan_run(t->plan, &failed)) {
        if (failed.status == GR_ERR_DIVERGED)
            gr_diagnose_divergence(t->plan, step, rate, &failed);
        return gr_fail(err, failed.status, "%s", failed.message);
    }
    return gr_watcher_after(t->watcher, step, rate, gr_batches_loss(t->plan), err);
}

static void count_step(struct gr_trainer *t, const struct gr_batch *batch, double rate)
{
    gr_trainer_smooth(t);
    gr_batches_accumulate(t->plan, batch->count, &t->standing.means);
    t->epoch_images += batch->count;
    t->standing.step++;
    t->standing.batch = batch->index + 1;
    t->run_steps++;
    gr_trainer_record_step(t, batch->count, rate);
}

/* Between two steps: shows, obeys, saves. *stop: the training is to end here. */
static bool pause_after(struct gr_trainer *t, double rate, bool *stop, struct gr_error *err)
{
    const bool last = t->standing.batch == t->steps_per_epoch;
    if (!gr_saving_look(&t->saving, false, err) || !obey(t, stop, err))
        return false;
    *stop = !gr_trainer_show(t, rate, last) || *stop ||
            (t->max_steps && t->standing.step >= t->max_steps && !last);
    return *stop || last || !gr_saving_due(&t->saving, &t->standing) ||
           gr_saving_begin(&t->saving, &t->standing, true, false, rate, err);
}

/* One epoch from standing.batch on; *rate is the last step's. */
static bool run_epoch(struct gr_trainer *t, double *rate, struct gr_error *err)
{
    struct gr_batch batch;
    t->epoch_images = 0;
    *rate = rate_before(t);
    t->start = gr_seconds();
    t->wait_start = gr_loader_wait_seconds(t->data.loader);
    if (!gr_loader_start(t->data.loader, t->standing.epoch, t->standing.batch, err))
        return false;
    while (!t->stopped) {
        if (!gr_batches_next(&t->data, t->plan, &batch, err))
            return false;
        if (batch.count == 0)
            break;
        *rate = gr_trainer_rate(t);
        if (!run_step(t, *rate, err))
            return false;
        count_step(t, &batch, *rate);
        if (!pause_after(t, *rate, &t->stopped, err))
            return false;
    }
    return true;
}

/* ---- after an epoch ---------------------------------------------------------------------- */

/* A validation under way, which can fail as its progress is told: its state may not be saved. */
struct validation {
    struct gr_trainer *t;
    struct gr_error err;
};

/* Passes a validation's progress on, saying whether its result is the best so far. */
static bool show_validation(void *user, const struct gr_progress *progress)
{
    struct validation *validation = user;
    struct gr_trainer *t = validation->t;
    struct gr_progress p = *progress;
    bool stop;
    if (!gr_saving_look(&t->saving, false, &validation->err) || !obey(t, &stop, &validation->err))
        return false;
    p.best =
        p.last && gr_trainer_is_best(t, gr_trainer_monitored(t, p.metrics, p.n_metrics, p.loss));
    const bool go_on = !t->options->progress || t->options->progress(t->options->progress_user, &p);
    return go_on && !stop;
}

static bool validate(struct gr_trainer *t, struct gr_eval_result *means, double rate,
                     struct gr_error *err)
{
    const struct gr_progress progress = {.stage = "val",
                                         .epoch = t->standing.epoch + 1,
                                         .epochs = t->epochs,
                                         .total_step = t->standing.step,
                                         .learning_rate = rate};
    struct validation validation = {.t = t};
    struct gr_journal *journal = t->recording.journal;
    gr_journal_validate(journal);
    if (!gr_evaluate_part(&t->validation, t->validation_plan, &progress, show_validation,
                          &validation, gr_journal_measure, journal, means, &t->stopped, err))
        return false;
    if (validation.err.status != GR_OK)
        return gr_fail(err, validation.err.status, "%s", validation.err.message);
    t->validation_seconds += means->seconds;
    return true;
}

/* Tells the policy what a validation came to, and the user what it makes of it. */
static void observe(struct gr_trainer *t, double value)
{
    const struct gr_choice *policy = &t->model->file->learning_rate;
    const double rate = gr_trainer_rate(t);
    switch (gr_schedule_observe(policy, &t->standing.schedule, value, t->higher_is_better)) {
    case GR_SCHEDULE_DROPPED:
        gr_log(t->model->context, GR_LOG_INFO,
               "plateau: %s improves no more; drop %" PRId64 " of the learning rate, %g to %g",
               t->monitor, t->standing.schedule.drops, rate, gr_trainer_rate(t));
        break;
    case GR_SCHEDULE_FINISHED:
        gr_log(t->model->context, GR_LOG_INFO,
               "plateau: %s improves no more and all drops are done; training ends", t->monitor);
        break;
    case GR_SCHEDULE_NONE:
    case GR_SCHEDULE_IMPROVED:
        break;
    }
}

/* Moves on to the next epoch. value is the monitored figure; true: it is the best so far. */
static bool close_epoch(struct gr_trainer *t, double value)
{
    const bool best = gr_trainer_is_best(t, value);
    observe(t, value);
    t->standing.epoch++;
    t->standing.batch = 0;
    t->standing.means = (struct gr_eval_result){0};
    t->before = (struct gr_record_sum){0};
    if (!best)
        return false;
    t->standing.best = value;
    t->standing.has_best = true;
    if (t->validation.loader)
        gr_recording_best(&t->recording);
    return true;
}

/* Validates, tells the policy, moves on to the next epoch, saves. */
static bool end_epoch(struct gr_trainer *t, double rate, struct gr_error *err)
{
    struct gr_eval_result means = t->standing.means;
    const double seconds = t->before.seconds + gr_seconds() - t->start;
    const double images = t->before.images + (double)t->epoch_images;
    if (t->validation.loader && !validate(t, &means, rate, err))
        return false;
    if (t->stopped) /* resuming validates anew; until then the epoch has no record */
        return true;
    gr_trainer_record_stage(t, "train", &t->standing.means, rate, seconds, images);
    if (t->validation.loader)
        gr_trainer_record_stage(t, "val", &means, rate, means.seconds, (double)means.images);
    const bool best =
        close_epoch(t, gr_trainer_monitored(t, means.metrics, means.n_metrics, means.loss));
    const bool last = t->standing.epoch >= t->epochs || t->standing.schedule.finished;
    const bool due = last || t->standing.epoch % t->model->file->checkpoint_every == 0 ||
                     gr_saving_due(&t->saving, &t->standing);
    if ((best || due) && !gr_saving_begin(&t->saving, &t->standing, due, best, rate, err))
        return false;
    gr_journal_page(t->recording.journal);
    return true;
}

/* ---- the whole --------------------------------------------------------------------------- */

static bool is_over(const struct gr_trainer *t)
{
    return t->stopped || t->standing.epoch >= t->epochs || t->standing.schedule.finished ||
           (t->max_steps && t->standing.step >= t->max_steps);
}

static bool train(struct gr_trainer *t, struct gr_error *err)
{
    double rate = rate_before(t);
    t->run_start = gr_seconds();
    /* A new run is saved before its first step: a disk too small shows now, and it can go on. */
    if (t->saving.last < 0 && !gr_saving_begin(&t->saving, &t->standing, true, false, rate, err))
        return false;
    while (!is_over(t))
        if (!run_epoch(t, &rate, err) || (!t->stopped && !end_epoch(t, rate, err)))
            return false;
    return gr_saving_finish(&t->saving, &t->standing, rate, err);
}

/* A divergence says what there is to go back to. */
static void tell_last(const struct gr_trainer *t, struct gr_error *err)
{
    char name[GR_RUN_CHECKPOINT_NAME];
    const size_t length = strlen(err->message);
    if (err->status == GR_ERR_DIVERGED && t->saving.last >= 0)
        snprintf(err->message + length, sizeof err->message - length,
                 "; the last good state is %s/%s", t->options->out,
                 gr_run_checkpoint_name(t->saving.last, name));
}

static const char *outcome_of(const struct gr_trainer *t, bool ok, bool interrupted)
{
    return !ok                             ? "failed"
           : t->standing.schedule.finished ? "plateau"
           : interrupted                   ? "interrupted"
                                           : "finished";
}

bool gr_train(struct gr_model *model, const struct gr_train_options *options,
              struct gr_train_result *result, struct gr_error *err)
{
    struct gr_trainer t = {.model = model, .options = options};
    struct gr_error own = {0}, late = {0};
    bool ok = gr_trainer_open(&t, &own) && train(&t, &own);
    const bool interrupted = t.stopped && !(t.max_steps && t.standing.step >= t.max_steps);
    if (!ok && t.saving.saver) /* what is being saved is good */
        gr_saving_look(&t.saving, true, &late);
    tell_last(&t, &own);
    ok = gr_recording_close(&t.recording, t.standing.step, outcome_of(&t, ok, interrupted),
                            ok ? NULL : own.message, ok ? &own : NULL) &&
         ok;
    *result = (struct gr_train_result){.epochs = t.standing.epoch,
                                       .steps = t.standing.step,
                                       .best = t.standing.has_best ? t.standing.best : (double)NAN,
                                       .monitor = t.monitor,
                                       .plateau = t.standing.schedule.finished,
                                       .interrupted = interrupted};
    gr_trainer_close(&t);
    return ok || gr_fail(err, own.status, "%s", own.message);
}
