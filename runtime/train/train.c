/*
 * The training loop: epochs of steps, a validation after each, the learning-rate policy, metrics
 * and checkpoints in the run folder.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/replace.h"
#include "model/tuning_file.h"
#include "train/checkpoint.h"
#include "train/divergence.h"
#include "train/evaluate.h"
#include "train/events.h"
#include "train/journal.h"
#include "train/metrics.h"

enum { PATH_SIZE = 4096, STEPS_AN_EVENT = 100 };

struct trainer {
    struct gr_model *model;
    const struct gr_train_options *options;
    struct gr_batches data, validation; /* validation closed: there is none */
    struct gr_plan *plan, *validation_plan;
    struct gr_metrics *metrics;
    struct gr_events *events;
    struct gr_journal *journal;
    struct gr_standing standing;
    const char *monitor;
    bool higher_is_better;
    int64_t epochs, steps_per_epoch;
    int64_t max_steps;        /* 0: no bound */
    double smoothed;          /* loss */
    double start, wait_start; /* of this epoch */
    int64_t epoch_images;
    double run_start;
    int64_t run_steps; /* done by this process */
    double validation_seconds;
    bool stopped;
};

/* ---- the run folder ---------------------------------------------------------------------- */

static bool path_in(const struct trainer *t, const char *name, char path[PATH_SIZE],
                    struct gr_error *err)
{
    const int n = snprintf(path, PATH_SIZE, "%s/%s", t->options->out, name);
    return (n > 0 && n < PATH_SIZE) ||
           gr_fail(err, GR_ERR_USAGE, "the path of the run folder is too long");
}

static bool save_text(const char *path, const char *text, struct gr_error *err)
{
    struct gr_replace replace = {0};
    bool ok = gr_replace_open(&replace, path, err);
    if (ok) {
        fputs(text, replace.file); /* commit reports a failed write */
        ok = gr_replace_commit(&replace, err);
    }
    gr_replace_release(&replace);
    return ok;
}

/* Is the folder written to the one that is resumed? */
static bool same_folder(const struct gr_train_options *options)
{
    struct stat out, resume;
    return options->resume && stat(options->out, &out) == 0 &&
           stat(options->resume, &resume) == 0 && out.st_dev == resume.st_dev &&
           out.st_ino == resume.st_ino;
}

static bool open_folder(struct trainer *t, struct gr_error *err)
{
    char path[PATH_SIZE];
    struct stat known;
    if (!gr_make_folder(t->options->out, err) || !path_in(t, "latest.safetensors", path, err))
        return false;
    if (!same_folder(t->options) && stat(path, &known) == 0)
        return gr_fail(err, GR_ERR_USAGE,
                       "%s already holds a run; --resume %s goes on with it, another --out starts "
                       "afresh",
                       t->options->out, t->options->out);
    const struct gr_context *context = t->model->context;
    if (context->tuning &&
        (!path_in(t, "kernels.json", path, err) ||
         !gr_tuning_file_save(context->tuning, path, context->ops->machine(context->backend), true,
                              err)))
        return false;
    if (!path_in(t, "model.yaml", path, err) ||
        !save_text(path, gr_model_resolved(t->model), err) ||
        !path_in(t, "metrics.jsonl", path, err))
        return false;
    t->metrics = gr_metrics_open(path, t->options->resume != NULL, err);
    if (!t->metrics || !path_in(t, GR_EVENTS_NAME, path, err))
        return false;
    t->events = gr_events_open(path, t->options->resume != NULL, err);
    const struct gr_journal_facts facts = {.monitor = t->monitor,
                                           .higher_is_better = t->higher_is_better,
                                           .batch = t->plan->options.batch,
                                           .epochs = t->epochs,
                                           .steps_per_epoch = t->steps_per_epoch,
                                           .step = t->standing.step,
                                           .validation = t->validation_plan};
    return t->events && (t->journal = gr_journal_open(t->model, t->options, &facts, err));
}

static bool save(struct trainer *t, const char *name, struct gr_error *err)
{
    char path[PATH_SIZE];
    return path_in(t, name, path, err) && gr_checkpoint_save(t->model, path, &t->standing, err);
}

/* ---- set-up ------------------------------------------------------------------------------ */

/* What decides which checkpoint is best, and whether more of it is better. */
static bool choose_monitor(struct trainer *t, struct gr_error *err)
{
    const struct gr_model_file *file = t->model->file;
    t->monitor = file->monitor ? file->monitor : gr_schedule_monitor(&file->learning_rate);
    if (!t->monitor)
        t->monitor = file->n_metrics ? file->metrics[0] : "loss";
    if (strcmp(t->monitor, "loss") == 0)
        return true;
    for (size_t i = 0; i < file->n_losses; i++)
        if (strcmp(file->losses[i].name, t->monitor) == 0)
            return true;
    for (size_t i = 0; i < file->n_metrics; i++)
        if (strcmp(file->metrics[i], t->monitor) == 0)
            return t->higher_is_better = true;
    return gr_fail(err, GR_ERR_MODEL,
                   "%s: the monitored figure '%s' is neither a loss nor a metric", file->path,
                   t->monitor);
}

/* A resumed run computes with the kernels that it began with. */
static void recall_kernels(const struct trainer *t)
{
    const struct gr_context *context = t->model->context;
    char path[PATH_SIZE];
    struct gr_error err = {0};
    if (!t->options->resume || !context->tuning)
        return;
    const int n = snprintf(path, sizeof path, "%s/kernels.json", t->options->resume);
    if (n > 0 && n < PATH_SIZE &&
        !gr_tuning_file_load(context->tuning, path, context->ops->machine(context->backend), &err))
        gr_log(context, GR_LOG_WARNING,
               "the run goes on with other kernels, so that last digits may differ: %s",
               err.message);
}

static bool check_trainable(const struct gr_plan *plan, struct gr_error *err)
{
    for (size_t v = 0; v < plan->graph->n_values; v++) {
        const struct gr_value *value = plan->graph->values[v];
        if (value->parameter && value->parameter->trainable)
            return true;
    }
    return gr_fail(err, GR_ERR_USAGE,
                   "there is nothing to train: all parameters of '%s' are frozen",
                   plan->model->file->name);
}

static bool set_up(struct trainer *t, struct gr_error *err)
{
    const struct gr_train_options *o = t->options;
    struct gr_model *model = t->model;
    const int64_t batch = o->batch ? o->batch : gr_model_batch(model);
    const struct gr_plan_options options = {.mode = GR_TRAIN,
                                            .precision = o->precision,
                                            .batch = batch,
                                            .update = true,
                                            .no_memory_plan = o->no_memory_plan,
                                            .memory_budget = o->memory_budget};
    const char *scores;
    if (!model->file->has_train)
        return gr_fail(err, GR_ERR_MODEL, "%s: there is no train section", model->file->path);
    if (!choose_monitor(t, err) ||
        !gr_batches_open(&t->data, model, "train", batch, true, o->max_corrupt, err) ||
        (gr_model_file_part(model->file, "val") &&
         !gr_batches_open(&t->validation, model, "val", batch, false, o->max_corrupt, err)))
        return false;
    if (o->weights && !o->resume && !gr_model_load_weights(model, o->weights, err))
        return false;
    t->epochs = o->epochs ? o->epochs : model->file->epochs;
    t->max_steps = o->steps;
    t->steps_per_epoch = gr_loader_batches(t->data.loader);
    recall_kernels(t);
    t->plan = gr_plan_new(model, &options, err);
    if (!t->plan || !check_trainable(t->plan, err))
        return false;
    if (t->validation.loader &&
        (!gr_journal_scores(model, &scores, err) ||
         !(t->validation_plan = gr_evaluation_plan(model, batch, o->precision, scores, err))))
        return false;
    if (o->resume) { /* after the plan, which made the optimizer's states */
        char path[PATH_SIZE];
        const int n = snprintf(path, sizeof path, "%s/latest.safetensors", o->resume);
        if (n >= PATH_SIZE || !gr_checkpoint_load(model, path, &t->standing, err))
            return false;
        gr_plan_set_step(t->plan, (uint64_t)t->standing.step);
    }
    return open_folder(t, err);
}

/* ---- figures ----------------------------------------------------------------------------- */

static double seconds_left(const struct trainer *t, int64_t batch)
{
    if (!t->run_steps)
        return -1;
    const double each =
        (gr_seconds() - t->run_start - t->validation_seconds) / (double)t->run_steps;
    int64_t left = (t->epochs - t->standing.epoch) * t->steps_per_epoch - batch;
    if (t->max_steps && t->max_steps - t->standing.step < left)
        left = t->max_steps - t->standing.step;
    const int64_t done = t->standing.epoch + 1;
    return each * (double)left +
           t->validation_seconds / (double)done * (double)(t->epochs - t->standing.epoch);
}

/* The monitored one of an epoch's figures. */
static double monitored(const struct trainer *t, const struct gr_metric *metrics, int n_metrics,
                        double loss)
{
    for (int i = 0; i < n_metrics; i++)
        if (strcmp(metrics[i].name, t->monitor) == 0)
            return metrics[i].value;
    return loss;
}

static bool is_best(const struct trainer *t, double value)
{
    if (!isfinite(value) || !t->standing.has_best)
        return isfinite(value);
    return t->higher_is_better ? value > t->standing.best : value < t->standing.best;
}

static bool show(struct trainer *t, int64_t batch, double rate, bool last)
{
    if (!t->options->progress)
        return true;
    const double seconds = gr_seconds() - t->start;
    struct gr_progress p = {
        .stage = "train",
        .epoch = t->standing.epoch + 1,
        .epochs = t->epochs,
        .step = batch,
        .steps = t->steps_per_epoch,
        .total_step = t->standing.step,
        .loss = last ? t->standing.means.loss : t->smoothed,
        .n_metrics = t->standing.means.n_metrics,
        .learning_rate = rate,
        .images_per_second = seconds > 0 ? (double)t->epoch_images / seconds : 0,
        .wait_share =
            seconds > 0 ? (gr_loader_wait_seconds(t->data.loader) - t->wait_start) / seconds : 0,
        .seconds_left = seconds_left(t, batch),
        .last = last};
    memcpy(p.metrics, t->standing.means.metrics, sizeof p.metrics);
    p.best =
        last && !t->validation.loader && is_best(t, monitored(t, p.metrics, p.n_metrics, p.loss));
    return t->options->progress(t->options->progress_user, &p);
}

/* Passes a validation's progress on, saying whether its result is the best so far. */
static bool show_validation(void *user, const struct gr_progress *progress)
{
    const struct trainer *t = user;
    struct gr_progress p = *progress;
    p.best = p.last && is_best(t, monitored(t, p.metrics, p.n_metrics, p.loss));
    return !t->options->progress || t->options->progress(t->options->progress_user, &p);
}

static bool record(struct trainer *t, const char *stage, const struct gr_eval_result *means,
                   double rate, double seconds, struct gr_error *err)
{
    const double waited = gr_loader_wait_seconds(t->data.loader) - t->wait_start;
    struct gr_metric pairs[GR_MAX_METRICS + 8] = {{"epoch", (double)(t->standing.epoch + 1)},
                                                  {"step", (double)t->standing.step},
                                                  {"loss", means->loss}};
    size_t n = 3;
    for (int i = 0; i < means->n_metrics; i++)
        pairs[n++] = means->metrics[i];
    pairs[n++] = (struct gr_metric){"learning_rate", rate};
    pairs[n++] =
        (struct gr_metric){"images_per_second", seconds > 0 ? (double)means->images / seconds : 0};
    pairs[n++] = (struct gr_metric){"seconds", seconds};
    if (strcmp(stage, "train") == 0)
        pairs[n++] = (struct gr_metric){"wait_share", seconds > 0 ? waited / seconds : 0};
    return gr_metrics_write(t->metrics, stage, pairs, n, err) &&
           gr_journal_stage(t->journal, stage, pairs, n, err) &&
           gr_events_write(t->events, stage, t->standing.step, pairs + 2, n - 2, err);
}

/* The curve within an epoch, at some scale for hours; for TensorBoard now and then. */
static bool record_step(struct trainer *t, int64_t images, double rate, struct gr_error *err)
{
    const struct gr_curve_step step = {.step = t->standing.step,
                                       .loss = gr_batches_loss(t->plan),
                                       .learning_rate = rate,
                                       .images = (double)images,
                                       .seconds = gr_seconds() - t->start,
                                       .wait =
                                           gr_loader_wait_seconds(t->data.loader) - t->wait_start};
    if (!gr_journal_step(t->journal, &step, err))
        return false;
    if (t->standing.step % STEPS_AN_EVENT != 0)
        return true;
    const struct gr_metric scalars[] = {{"loss", t->smoothed}, {"learning_rate", rate}};
    return gr_events_write(t->events, "step", t->standing.step, scalars, 2, err);
}

/* ---- a step ------------------------------------------------------------------------------ */

/* The loss remembers about the last fifty steps, fewer at the start. */
static void smooth(struct trainer *t)
{
    const double memory =
        t->run_steps < 50 ? (double)t->run_steps / (double)(t->run_steps + 1) : 0.98;
    t->smoothed = memory * t->smoothed + (1 - memory) * gr_batches_loss(t->plan);
}

static double rate_at(const struct trainer *t, int64_t step)
{
    return gr_schedule_rate(&t->model->file->learning_rate, &t->standing.schedule, step,
                            t->steps_per_epoch, t->epochs);
}

static double rate_now(const struct trainer *t)
{
    return rate_at(t, t->standing.step);
}

/* Of the step before, if this epoch had one: a run resumed in validation has no other. */
static double rate_before(const struct trainer *t)
{
    return rate_at(t, t->standing.step - (t->standing.batch > 0));
}

/* One epoch from standing.batch on; *rate is the last step's. */
static bool run_epoch(struct trainer *t, double *rate, struct gr_error *err)
{
    struct gr_batch batch;
    t->epoch_images = 0;
    *rate = rate_before(t);
    t->start = gr_seconds();
    t->wait_start = gr_loader_wait_seconds(t->data.loader);
    if (!gr_loader_start(t->data.loader, t->standing.epoch, t->standing.batch, err))
        return false;
    for (;;) {
        if (!gr_batches_next(&t->data, t->plan, &batch, err))
            return false;
        if (batch.count == 0)
            return true;
        *rate = rate_now(t);
        gr_plan_set_learning_rate(t->plan, *rate);
        struct gr_error failed = {0};
        if (!gr_plan_run(t->plan, &failed)) {
            if (failed.status == GR_ERR_DIVERGED)
                gr_diagnose_divergence(t->plan, t->standing.step, *rate, &failed);
            return gr_fail(err, failed.status, "%s", failed.message);
        }
        smooth(t);
        gr_batches_accumulate(t->plan, batch.count, &t->standing.means);
        t->epoch_images += batch.count;
        t->standing.step++;
        t->standing.batch = batch.index + 1;
        t->run_steps++;
        if (!record_step(t, batch.count, *rate, err))
            return false;
        const bool last = t->standing.batch == t->steps_per_epoch;
        if (!show(t, t->standing.batch, *rate, last) ||
            (t->max_steps && t->standing.step >= t->max_steps && !last)) {
            t->stopped = true;
            return true;
        }
    }
}

/* ---- after an epoch ---------------------------------------------------------------------- */

static bool validate(struct trainer *t, struct gr_eval_result *means, double rate,
                     struct gr_error *err)
{
    const struct gr_progress progress = {.stage = "val",
                                         .epoch = t->standing.epoch + 1,
                                         .epochs = t->epochs,
                                         .total_step = t->standing.step,
                                         .learning_rate = rate};
    gr_journal_validate(t->journal);
    if (!gr_evaluate_part(&t->validation, t->validation_plan, &progress, show_validation, t,
                          gr_journal_measure, t->journal, means, &t->stopped, err))
        return false;
    t->validation_seconds += means->seconds;
    return true;
}

/* Tells the policy what a validation came to, and the user what it makes of it. */
static void observe(struct trainer *t, double value)
{
    const struct gr_choice *policy = &t->model->file->learning_rate;
    const double rate = rate_now(t);
    switch (gr_schedule_observe(policy, &t->standing.schedule, value, t->higher_is_better)) {
    case GR_SCHEDULE_DROPPED:
        gr_log(t->model->context, GR_LOG_INFO,
               "plateau: %s improves no more; drop %" PRId64 " of the learning rate, %g to %g",
               t->monitor, t->standing.schedule.drops, rate, rate_now(t));
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

/* Validates, tells the policy, moves on to the next epoch, saves. */
static bool end_epoch(struct trainer *t, double rate, struct gr_error *err)
{
    struct gr_eval_result means = t->standing.means;
    const double seconds = gr_seconds() - t->start;
    if (t->validation.loader && !validate(t, &means, rate, err))
        return false;
    if (t->stopped) /* resuming validates anew; until then the epoch has no record */
        return true;
    if (!record(t, "train", &t->standing.means, rate, seconds, err) ||
        (t->validation.loader && !record(t, "val", &means, rate, means.seconds, err)))
        return false;
    const double value = monitored(t, means.metrics, means.n_metrics, means.loss);
    const bool best = is_best(t, value);
    observe(t, value);
    t->standing.epoch++;
    t->standing.batch = 0;
    t->standing.means = (struct gr_eval_result){0};
    if (best) {
        t->standing.best = value;
        t->standing.has_best = true;
        if ((t->validation.loader && !gr_journal_best(t->journal, err)) ||
            !save(t, "best.safetensors", err))
            return false;
    }
    gr_journal_page(t->journal);
    const bool last = t->standing.epoch >= t->epochs || t->standing.schedule.finished;
    return (!last && t->standing.epoch % t->model->file->checkpoint_every != 0) ||
           save(t, "latest.safetensors", err);
}

static bool train(struct trainer *t, struct gr_error *err)
{
    double rate = 0;
    t->run_start = gr_seconds();
    while (t->standing.epoch < t->epochs && !t->standing.schedule.finished && !t->stopped &&
           !(t->max_steps && t->standing.step >= t->max_steps)) {
        if (!run_epoch(t, &rate, err) || (!t->stopped && !end_epoch(t, rate, err)))
            return false;
    }
    return !t->stopped || save(t, "latest.safetensors", err);
}

bool gr_train(struct gr_model *model, const struct gr_train_options *options,
              struct gr_train_result *result, struct gr_error *err)
{
    struct trainer t = {.model = model, .options = options};
    bool ok = set_up(&t, err) && train(&t, err);
    const bool interrupted = t.stopped && !(t.max_steps && t.standing.step >= t.max_steps);
    gr_journal_close(t.journal, t.standing.step,
                     !ok                            ? "failed"
                     : t.standing.schedule.finished ? "plateau"
                     : interrupted                  ? "interrupted"
                                                    : "finished",
                     ok || !err ? NULL : err->message);
    ok = gr_metrics_close(t.metrics, ok ? err : NULL) && ok;
    ok = gr_events_close(t.events, ok ? err : NULL) && ok;
    *result = (struct gr_train_result){.epochs = t.standing.epoch,
                                       .steps = t.standing.step,
                                       .best = t.standing.has_best ? t.standing.best : (double)NAN,
                                       .monitor = t.monitor,
                                       .plateau = t.standing.schedule.finished,
                                       .interrupted = interrupted};
    gr_plan_free(t.plan);
    gr_plan_free(t.validation_plan);
    gr_batches_close(&t.data);
    gr_batches_close(&t.validation);
    return ok;
}
