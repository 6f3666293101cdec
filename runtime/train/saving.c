/*
 * When the state of a run is saved; see saving.h.
 */
#include "train/saving.h"

#include <inttypes.h>

#include "base/clock.h"
#include "train/divergence.h"
#include "train/run_folder.h"

enum { KEPT = 2 };
static const double try_again = 60; /* seconds */

bool gr_saving_open(struct gr_saving *saving, const struct gr_plan *plan,
                    const struct gr_recording *recording, const struct gr_train_options *options,
                    int64_t last, struct gr_error *err)
{
    *saving = (struct gr_saving){.plan = plan,
                                 .recording = recording,
                                 .folder = options->out,
                                 .last = last,
                                 .time = gr_seconds()};
    saving->saver = gr_saver_new(options->out, options->keep > 0 ? options->keep : KEPT, err);
    return saving->saver != NULL;
}

void gr_saving_found(struct gr_saving *saving, const struct gr_standing *standing)
{
    saving->begun = *standing;
    saving->saved = saving->found = true;
}

bool gr_saving_due(const struct gr_saving *saving, const struct gr_standing *standing)
{
    const struct gr_model_file *file = saving->plan->model->file;
    const double seconds = gr_seconds() - saving->time;
    const int64_t steps = file->checkpoint_steps, minutes = file->checkpoint_minutes;
    return (steps && standing->step % steps == 0) || (minutes && seconds >= 60 * (double)minutes) ||
           (saving->failing && seconds >= try_again);
}

static void tell_failure(struct gr_saving *saving, const struct gr_saved *saved)
{
    char name[GR_RUN_CHECKPOINT_NAME] = "nothing yet";
    if (saving->failing)
        return;
    if (saving->last >= 0)
        gr_run_checkpoint_name(saving->last, name);
    const bool gone = gr_run_folder_gone(saving->folder);
    gr_log(saving->plan->model->context, GR_LOG_WARNING,
           "the state after step %" PRId64 " is not saved: %s; training goes on and tries again "
           "(%s %s%s)",
           saved->save.step, saved->err.message, saving->folder, gone ? "is gone and " : "holds ",
           gone ? "will be made anew" : name);
}

static void tell_time(const struct gr_saving *saving, const struct gr_saved *saved)
{
    gr_log(saving->plan->model->context, GR_LOG_DEBUG,
           "saving the state after step %" PRId64 " held training up for %.1f ms and took %.1f ms "
           "beside it",
           saved->save.step, 1e3 * saving->waited, 1e3 * saved->seconds);
}

static void tell_success(const struct gr_saving *saving, const struct gr_saved *saved)
{
    char name[GR_RUN_CHECKPOINT_NAME];
    if (saving->announce || saving->failing)
        gr_log(saving->plan->model->context, GR_LOG_INFO,
               "the state after step %" PRId64 " is saved%s: %s/%s", saved->save.step,
               saving->announce ? "" : " again", saving->folder,
               saved->save.checkpoint ? gr_run_checkpoint_name(saved->save.step, name)
                                      : GR_RUN_BEST);
}

/* Takes in what became of a save. */
static bool take_result(struct gr_saving *saving, const struct gr_saved *saved,
                        struct gr_error *err)
{
    const bool ok = saved->err.status == GR_OK;
    saving->err = saved->err;
    if (!ok && saving->last < 0)
        return gr_fail(err, saved->err.status, "%s", saved->err.message);
    tell_time(saving, saved);
    if (ok)
        tell_success(saving, saved);
    else
        tell_failure(saving, saved);
    if (ok && saved->save.checkpoint)
        saving->last = saved->save.step;
    saving->saved = saving->saved && ok;
    saving->failing = !ok || !saved->best_kept;
    saving->announce = false;
    return true;
}

bool gr_saving_look(struct gr_saving *saving, bool wait, struct gr_error *err)
{
    struct gr_saved saved;
    return !gr_saver_result(saving->saver, wait, &saved) || take_result(saving, &saved, err);
}

/* A folder that is gone has until the next time to come back, as a disk that is mounted again. */
static bool renew(struct gr_saving *saving, struct gr_error *err)
{
    const bool before = saving->gone;
    saving->gone = gr_run_folder_gone(saving->folder);
    if (!saving->renewing && !(saving->gone && before))
        return true;
    saving->renewing = true;
    if (!saving->renew(saving->renew_user, err))
        return false;
    saving->renewing = saving->gone = false;
    gr_log(saving->plan->model->context, GR_LOG_WARNING,
           "%s was removed and is made anew; the checkpoints that were in it are lost, and so "
           "is " GR_RUN_BEST ", until an epoch is better",
           saving->folder);
    return true;
}

bool gr_saving_begin(struct gr_saving *saving, const struct gr_standing *standing, bool checkpoint,
                     bool best, double rate, struct gr_error *err)
{
    struct gr_standing now = *standing;
    struct gr_saved failed = {
        .save = {.step = standing->step, .checkpoint = checkpoint, .best = best}};
    struct gr_save *save = &failed.save;
    struct gr_snapshot snapshot;
    const double start = gr_seconds();
    if (!gr_saving_look(saving, true, err) ||
        !gr_check_divergence(saving->plan, standing->step, rate, err))
        return false;
    if (checkpoint) {
        saving->begun = now;
        saving->saved = true;
        saving->found = false;
        saving->time = gr_seconds();
    }
    if (!renew(saving, &failed.err))
        return take_result(saving, &failed, err);
    now.records = gr_recording_count(saving->recording);
    gr_recording_files(saving->recording, save->sync);
    if (!gr_checkpoint_take(&snapshot, saving->plan, &now, &failed.err))
        return take_result(saving, &failed, err);
    gr_saver_start(saving->saver, &snapshot, save);
    saving->waited = gr_seconds() - start;
    return true;
}

/* Is this very state on the disk, as far as is known? */
static bool is_saved(const struct gr_saving *saving, const struct gr_standing *standing)
{
    return saving->saved && saving->begun.step == standing->step &&
           saving->begun.epoch == standing->epoch && saving->begun.batch == standing->batch;
}

bool gr_saving_finish(struct gr_saving *saving, const struct gr_standing *standing, double rate,
                      struct gr_error *err)
{
    struct gr_saved saved = {.best_kept = true};
    if (!gr_saving_look(saving, true, err))
        return false;
    saving->gone = gr_run_folder_gone(saving->folder);
    if (is_saved(saving, standing) && !saving->failing && !saving->gone) {
        if (saving->found)
            gr_saver_tidy(saving->saver, standing->step);
        return true;
    }
    if (!gr_saving_begin(saving, standing, true, false, rate, err))
        return false;
    if (!gr_saver_result(saving->saver, true, &saved))
        saved.err = saving->err;
    if (saved.err.status == GR_OK && saving->saved) {
        tell_success(saving, &saved);
        saving->last = saved.save.step;
        return true;
    }
    char name[GR_RUN_CHECKPOINT_NAME] = "nothing";
    if (saving->last >= 0)
        gr_run_checkpoint_name(saving->last, name);
    return gr_fail(err, GR_ERR_RUNTIME,
                   "the state after step %" PRId64 " is not saved: %s; %s holds %s", standing->step,
                   saved.err.message, saving->folder, name);
}

void gr_saving_close(struct gr_saving *saving)
{
    gr_saver_free(saving->saver);
    saving->saver = NULL;
}
