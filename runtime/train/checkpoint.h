/*
 * Checkpoints: the tensors of a run with how far it has come, in one safetensors file. Any of them
 * serves as weights too.
 */
#ifndef GR_TRAIN_CHECKPOINT_H
#define GR_TRAIN_CHECKPOINT_H

#include "model/model.h"
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
};

/* Written atomically. The file also holds the resolved model and its seed. */
bool gr_checkpoint_save(struct gr_model *model, const char *path,
                        const struct gr_standing *standing, struct gr_error *err);

/* Reads parameters, states and standing. A weights file without standing is a data error. */
bool gr_checkpoint_load(struct gr_model *model, const char *path, struct gr_standing *standing,
                        struct gr_error *err);

#endif
