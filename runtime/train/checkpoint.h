/*
 * Checkpoints: the tensors of a run with how far it has come, in one safetensors file with a
 * checksum. Any of them serves as weights too. What is in a file does not depend on the time: two
 * runs that do the same write the same bytes.
 */
#ifndef GR_TRAIN_CHECKPOINT_H
#define GR_TRAIN_CHECKPOINT_H

#include "model/snapshot.h"
#include "train/schedule.h"

/* Where a training run stands. */
struct gr_standing {
    int64_t epoch; /* counting from 0: the one to go on with */
    int64_t batch; /* of that epoch: the next */
    int64_t step;  /* training steps done */
    bool has_best;
    double best; /* of the monitored figure */
    struct gr_schedule_state schedule;
    struct gr_eval_result means; /* of the epoch's training batches so far: images, loss, metrics */
    double smoothed;             /* loss of the last steps */
    struct gr_records {
        int64_t steps, metrics, events; /* that the run's files have; negative: not known */
    } records;
};

/*
 * The state of the plan's model as it is now, to be written by gr_snapshot_write; seed, kernels,
 * resolved model and what it was made on go with it. To be released also after a failure.
 */
bool gr_checkpoint_take(struct gr_snapshot *snapshot, const struct gr_plan *plan,
                        const struct gr_standing *standing, struct gr_error *err);

/* A checkpoint read whole. Zero-initialised is none. */
struct gr_checkpoint {
    char *path; /* owned */
    struct gr_tensor_file *file;
    struct gr_standing standing;
    int64_t seed;
};

/*
 * Reads it and checks that it is whole. The model gives the names of metrics alone. A file that is
 * damaged, or no checkpoint, is a data error.
 */
bool gr_checkpoint_open(struct gr_checkpoint *checkpoint, const struct gr_model *model,
                        const char *path, struct gr_error *err);
void gr_checkpoint_release(struct gr_checkpoint *checkpoint);

/* The newest in a run's folder that is whole; warns of each that is not. A data error: none is. */
bool gr_checkpoint_find(struct gr_checkpoint *checkpoint, const struct gr_model *model,
                        const char *folder, struct gr_error *err);

/*
 * Takes over the choices of kernels, before the plan is made. Where threads, machine, versions or
 * batch are others than the checkpoint's, one warning says which; and another, where the model is
 * another than it was, what of it.
 */
void gr_checkpoint_recall(const struct gr_checkpoint *checkpoint, const struct gr_model *model,
                          const struct gr_plan_options *options);

/* Puts parameters and states into the model, after a plan has made these. */
bool gr_checkpoint_restore(const struct gr_checkpoint *checkpoint, struct gr_model *model,
                           struct gr_error *err);

#endif
