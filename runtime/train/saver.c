/*
 * Writing checkpoints beside the training; see saver.h.
 */
#define _GNU_SOURCE
#include "train/saver.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/replace.h"
#include "base/threads.h"
#include "train/run_folder.h"

/* A snapshot and what it is for. */
struct job {
    struct gr_snapshot snapshot;
    struct gr_save save;
};

struct gr_saver {
    const char *folder;
    int64_t keep;
    bool busy;     /* there is a job, done or not */
    bool threaded; /* by a thread of its own, to be joined */
    pthread_t thread;
    struct job job;
    struct job best; /* a best state that is still to be written; no tensors: none */
    struct gr_error err;
    double seconds;
    atomic_bool done;
};

struct gr_saver *gr_saver_new(const char *folder, int64_t keep, struct gr_error *err)
{
    struct gr_saver *saver = calloc(1, sizeof *saver);
    if (!saver) {
        gr_fail_memory(err, "saving");
        return NULL;
    }
    saver->folder = folder;
    saver->keep = keep;
    return saver;
}

/* ---- in its thread ----------------------------------------------------------------------- */

/* Puts `made`, a file or link in the folder, in the place of NAME. */
static bool move_to(const char *folder, const char *made, const char *name)
{
    char path[GR_RUN_PATH];
    return gr_run_path(folder, name, path, NULL) && rename(made, path) == 0 && gr_sync_folder(path);
}

/* For people and other commands, and no loss where there are no links. */
static void link_latest(const char *folder, const char *name)
{
    char made[GR_RUN_PATH];
    if (!gr_run_path(folder, GR_RUN_LATEST ".link.tmp", made, NULL))
        return;
    unlink(made);
    if (symlink(name, made) == 0 && !move_to(folder, made, GR_RUN_LATEST))
        unlink(made);
}

void gr_saver_tidy(const struct gr_saver *saver, int64_t step)
{
    char name[GR_RUN_CHECKPOINT_NAME];
    link_latest(saver->folder, gr_run_checkpoint_name(step, name));
    gr_run_folder_prune(saver->folder, step, saver->keep);
}

/* Makes the best state the checkpoint too, without writing it twice; false: it cannot be. */
static bool link_step(const char *folder, const char *name)
{
    char best[GR_RUN_PATH], made[GR_RUN_PATH];
    if (!gr_run_path(folder, GR_RUN_BEST, best, NULL) ||
        !gr_run_path(folder, "step.link.tmp", made, NULL))
        return false;
    unlink(made);
    if (link(best, made) != 0)
        return false;
    if (move_to(folder, made, name))
        return true;
    unlink(made);
    return false;
}

static bool write_best(const char *folder, const struct job *job, struct gr_error *err)
{
    char path[GR_RUN_PATH];
    return gr_run_path(folder, GR_RUN_BEST, path, err) &&
           gr_snapshot_write(&job->snapshot, path, err);
}

/* What the records say of the steps before must be on the disk no later than the state. */
static void sync_records(const struct gr_save *save)
{
    for (size_t i = 0; i < sizeof save->sync / sizeof *save->sync; i++)
        if (save->sync[i] >= 0)
            fdatasync(save->sync[i]); /* a failure shows when lines are written */
}

/*
 * The best comes first: a process that is killed in between goes on from the checkpoint before and
 * comes to the same best again, while the other way round it would never be written.
 */
static bool write_checkpoint(const struct gr_saver *saver, const struct job *job,
                             struct gr_error *err)
{
    char path[GR_RUN_PATH], name[GR_RUN_CHECKPOINT_NAME];
    gr_run_checkpoint_name(job->save.step, name);
    sync_records(&job->save);
    if ((job->save.best && !write_best(saver->folder, job, err)) ||
        !gr_run_path(saver->folder, name, path, err) ||
        (!(job->save.best && link_step(saver->folder, name)) &&
         !gr_snapshot_write(&job->snapshot, path, err)))
        return false;
    gr_saver_tidy(saver, job->save.step);
    return true;
}

static void *work(void *user)
{
    struct gr_saver *saver = user;
    struct job *job = &saver->job;
    const double start = gr_seconds();
    bool ok = job->save.checkpoint ? write_checkpoint(saver, job, &saver->err)
                                   : write_best(saver->folder, job, &saver->err);
    if (job->save.best) { /* what was kept of an earlier one has been overtaken */
        gr_snapshot_release(&saver->best.snapshot);
        if (!ok)
            saver->best = *job;
    } else if (ok && saver->best.snapshot.tensors) {
        ok = write_best(saver->folder, &saver->best, &saver->err);
        if (ok)
            gr_snapshot_release(&saver->best.snapshot);
    }
    if (saver->best.snapshot.tensors != job->snapshot.tensors)
        gr_snapshot_release(&job->snapshot);
    saver->seconds = gr_seconds() - start;
    atomic_store(&saver->done, true);
    return NULL;
}

/* ---- in that of the training ------------------------------------------------------------- */

bool gr_saver_busy(const struct gr_saver *saver)
{
    return saver->busy;
}

void gr_saver_start(struct gr_saver *saver, struct gr_snapshot *snapshot,
                    const struct gr_save *save)
{
    saver->job = (struct job){*snapshot, *save};
    *snapshot = (struct gr_snapshot){0};
    saver->err = (struct gr_error){0};
    saver->busy = true;
    atomic_store(&saver->done, false);
    saver->threaded = gr_thread_start(&saver->thread, work, saver) == 0;
    if (!saver->threaded)
        work(saver);
}

bool gr_saver_result(struct gr_saver *saver, bool wait, struct gr_saved *saved)
{
    if (!saver->busy || (!wait && !atomic_load(&saver->done)))
        return false;
    if (saver->threaded)
        pthread_join(saver->thread, NULL);
    saver->busy = saver->threaded = false;
    *saved = (struct gr_saved){.save = saver->job.save,
                               .seconds = saver->seconds,
                               .best_kept = !saver->best.snapshot.tensors,
                               .err = saver->err};
    return true;
}

void gr_saver_free(struct gr_saver *saver)
{
    struct gr_saved saved;
    if (!saver)
        return;
    gr_saver_result(saver, true, &saved);
    gr_snapshot_release(&saver->best.snapshot);
    free(saver);
}
