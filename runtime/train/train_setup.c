/*
 * Setting up a training run: its data, its plans, what it goes on from, and its folder.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/replace.h"
#include "model/tuning_file.h"
#include "train/run_folder.h"
#include "train/train.h"

/* ---- the run folder ---------------------------------------------------------------------- */

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

static bool save_kernels(const struct gr_trainer *t, struct gr_error *err)
{
    char path[GR_RUN_PATH];
    const struct gr_context *context = t->model->context;
    return !context->tuning ||
           (gr_run_path(t->options->out, "kernels.json", path, err) &&
            gr_tuning_file_save(context->tuning, path, context->ops->machine(context->backend),
                                true, err));
}

/* The files that say what is trained, and how. */
static bool save_description(const struct gr_trainer *t, struct gr_error *err)
{
    char path[GR_RUN_PATH];
    return save_kernels(t, err) && gr_run_path(t->options->out, "model.yaml", path, err) &&
           save_text(path, gr_model_resolved(t->model), err);
}

/* After someone has removed it. */
static bool make_folder_anew(void *user, struct gr_error *err)
{
    struct gr_trainer *t = user;
    if (gr_run_folder_gone(t->options->out)) {
        int lock;
        if (!gr_run_folder_take(t->options->out, true, &lock, err))
            return false;
        close(t->lock);
        t->lock = lock;
    }
    return save_description(t, err) && gr_recording_renew(&t->recording, err);
}

/* goes_on: with the run that the folder holds. */
static bool open_folder(struct gr_trainer *t, bool goes_on, struct gr_error *err)
{
    const struct gr_journal_facts facts = {.monitor = t->monitor,
                                           .higher_is_better = t->higher_is_better,
                                           .batch = t->plan->options.batch,
                                           .epochs = t->epochs,
                                           .steps_per_epoch = t->steps_per_epoch,
                                           .step = t->standing.step,
                                           .epoch_step = t->standing.step - t->standing.batch,
                                           .goes_on = goes_on,
                                           .keep = t->standing.records.steps,
                                           .validation = t->validation_plan};
    if (!save_description(t, err) ||
        !gr_recording_open(&t->recording, t->model, t->options, &facts, &t->standing.records, err))
        return false;
    t->before = gr_journal_before(t->recording.journal);
    if (!gr_saving_open(&t->saving, t->plan, &t->recording, t->options,
                        goes_on ? t->standing.step : -1, err))
        return false;
    if (t->standing_found)
        gr_saving_found(&t->saving, &t->standing);
    t->saving.renew = make_folder_anew;
    t->saving.renew_user = t;
    return true;
}

/* ---- what to train ----------------------------------------------------------------------- */

/* What decides which checkpoint is best, and whether more of it is better. */
static bool choose_monitor(struct gr_trainer *t, struct gr_error *err)
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

static bool open_data(struct gr_trainer *t, int64_t batch, struct gr_error *err)
{
    const struct gr_train_options *o = t->options;
    if (!gr_batches_open(&t->data, t->model, "train", batch, true, o->max_corrupt, err))
        return false;
    t->steps_per_epoch = gr_loader_batches(t->data.loader);
    return !gr_model_file_part(t->model->file, "val") ||
           gr_batches_open(&t->validation, t->model, "val", batch, false, o->max_corrupt, err);
}

static bool make_plans(struct gr_trainer *t, const struct gr_plan_options *options,
                       struct gr_error *err)
{
    t->plan = gr_plan_new(t->model, options, err);
    if (!t->plan || !check_trainable(t->plan, err))
        return false;
    const char *scores;
    if (!t->validation.loader)
        return true;
    if (!gr_journal_scores(t->model, &scores, err))
        return false;
    t->validation_plan =
        gr_evaluation_plan(t->model, options->batch, options->precision, scores, err);
    return t->validation_plan != NULL;
}

/* A place within an epoch means nothing to batches of another size, or to fewer data. */
static bool check_place(const struct gr_checkpoint *checkpoint, const struct gr_trainer *t,
                        int64_t batch, struct gr_error *err)
{
    const int64_t place = checkpoint->standing.batch;
    const char *made = gr_tensor_file_metadata(checkpoint->file, "made_on.batch");
    char now[24];
    snprintf(now, sizeof now, "%" PRId64, batch);
    if (place && made && strcmp(made, now) != 0)
        return gr_fail(err, GR_ERR_USAGE,
                       "%s stands within an epoch, after %" PRId64
                       " batches of %.20s images; give --batch %.20s, not %s",
                       checkpoint->path, place, made, made, now);
    return place <= t->steps_per_epoch ||
           gr_fail(err, GR_ERR_DATA,
                   "%s stands within an epoch, after %" PRId64 " batches, but data.train now has "
                   "%" PRId64 ": are the same images there?",
                   checkpoint->path, place, t->steps_per_epoch);
}

/* Is it one of those in the run's own folder, under the name of its step? */
static bool is_own(const struct gr_checkpoint *checkpoint, const struct gr_train_options *o)
{
    char path[GR_RUN_PATH], name[GR_RUN_CHECKPOINT_NAME];
    gr_run_checkpoint_name(checkpoint->standing.step, name);
    return gr_run_folder_same(o->out, o->resume) && gr_run_path(o->resume, name, path, NULL) &&
           strcmp(path, checkpoint->path) == 0;
}

/* The plans, with the state of the checkpoint to go on from, or of new weights. */
static bool make_state(struct gr_trainer *t, const struct gr_plan_options *options,
                       struct gr_error *err)
{
    const struct gr_train_options *o = t->options;
    struct gr_checkpoint checkpoint = {.path = NULL};
    if (!o->resume)
        return (!o->weights || gr_model_load_weights(t->model, o->weights, err)) &&
               make_plans(t, options, err);
    bool ok = gr_checkpoint_find(&checkpoint, t->model, o->resume, err) &&
              check_place(&checkpoint, t, options->batch, err);
    if (ok)
        gr_checkpoint_recall(&checkpoint, t->model, options); /* before the plan chooses kernels */
    ok = ok && make_plans(t, options, err) &&
         gr_checkpoint_restore(&checkpoint, t->model, err); /* after it has made the states */
    if (ok) {
        t->standing = checkpoint.standing;
        t->standing_found = is_own(&checkpoint, o);
        gr_plan_set_step(t->plan, (uint64_t)t->standing.step);
    }
    gr_checkpoint_release(&checkpoint);
    return ok;
}

bool gr_trainer_open(struct gr_trainer *t, struct gr_error *err)
{
    const struct gr_train_options *o = t->options;
    struct gr_model *model = t->model;
    const struct gr_plan_options options = {.mode = GR_TRAIN,
                                            .precision = o->precision,
                                            .batch = o->batch ? o->batch : gr_model_batch(model),
                                            .update = true,
                                            .no_memory_plan = o->no_memory_plan,
                                            .memory_budget = o->memory_budget};
    const bool goes_on = gr_run_folder_same(o->out, o->resume);
    t->lock = -1;
    if (!model->file->has_train)
        return gr_fail(err, GR_ERR_MODEL, "%s: there is no train section", model->file->path);
    t->epochs = o->epochs ? o->epochs : model->file->epochs;
    t->max_steps = o->steps;
    return choose_monitor(t, err) && open_data(t, options.batch, err) &&
           gr_run_folder_take(o->out, goes_on, &t->lock, err) && make_state(t, &options, err) &&
           open_folder(t, goes_on, err) && gr_watcher_new(&t->watcher, t->plan, o, err);
}

void gr_trainer_close(struct gr_trainer *t)
{
    gr_saving_close(&t->saving);
    gr_watcher_free(t->watcher);
    gr_plan_free(t->plan);
    gr_plan_free(t->validation_plan);
    gr_batches_close(&t->data);
    gr_batches_close(&t->validation);
    if (t->lock >= 0)
        close(t->lock);
}
