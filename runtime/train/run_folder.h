/*
 * The folder of a training run: the names in it, whose it is, and what is swept away.
 *
 *     step-000001200.safetensors   the state after so many training steps; the last few
 *     latest.safetensors           a symbolic link to the newest of them
 *     best.safetensors             the state after the best epoch
 *     ...                          and the records (train/recording.h)
 */
#ifndef GR_TRAIN_RUN_FOLDER_H
#define GR_TRAIN_RUN_FOLDER_H

#include "base/error.h"

enum { GR_RUN_PATH = 4096, GR_RUN_CHECKPOINT_NAME = 48 };

#define GR_RUN_LATEST "latest.safetensors"
#define GR_RUN_BEST "best.safetensors"

/* FOLDER/NAME. A usage error where that is too long. */
bool gr_run_path(const char *folder, const char *name, char path[GR_RUN_PATH],
                 struct gr_error *err);

/* The name of a checkpoint, and its step from that; -1: it is none. */
const char *gr_run_checkpoint_name(int64_t step, char name[GR_RUN_CHECKPOINT_NAME]);
int64_t gr_run_checkpoint_step(const char *name);

/* Checkpoints in a folder. Zero-initialised is none. */
struct gr_run_steps {
    int64_t *steps; /* [count], rising; heap */
    size_t count;
};

/* A folder that cannot be read has none, with errno set; false: out of memory. */
bool gr_run_steps_list(struct gr_run_steps *list, const char *folder, struct gr_error *err);
void gr_run_steps_release(struct gr_run_steps *list);

/*
 * Makes the folder, takes it for this process until *lock is closed, and removes what a process
 * that was killed left half written. A usage error where another process trains in it, or where,
 * unless the run goes on, it holds one already. *lock is -1 on failure.
 */
bool gr_run_folder_take(const char *folder, bool goes_on, int *lock, struct gr_error *err);

/* Does the run that is written to `out` go on in the folder `resume` itself? resume may be NULL. */
bool gr_run_folder_same(const char *out, const char *resume);

/* Is the folder, or what says whose it is, no longer there? */
bool gr_run_folder_gone(const char *folder);

/* Removes the oldest checkpoints but for `keep`, those after `step` left alone. */
void gr_run_folder_prune(const char *folder, int64_t step, int64_t keep);

#endif
