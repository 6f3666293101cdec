/*
 * A model's tensors at one moment: copied to plain memory with the metadata of the file that they
 * are to become, so that another thread can write them while training goes on.
 */
#ifndef GR_MODEL_SNAPSHOT_H
#define GR_MODEL_SNAPSHOT_H

#include "model/model.h"

/* Zero-initialised is none. */
struct gr_snapshot {
    struct gr_pool pool;
    struct gr_tensor *tensors; /* [count] plain f32 */
    size_t count;
    const char **metadata; /* n_metadata pairs */
    size_t n_metadata;
    void *data; /* of all tensors */
};

/*
 * Copies parameters, and with states the optimizer's too. metadata are n pairs, to which names of
 * classes and colours of the data are added where they are known. To be released also after a
 * failure.
 */
bool gr_snapshot_take(struct gr_snapshot *snapshot, struct gr_model *model, bool states,
                      const char *const *metadata, size_t n_metadata, struct gr_error *err);

/* Writes it as safetensors with a checksum, atomically. From any thread. */
bool gr_snapshot_write(const struct gr_snapshot *snapshot, const char *path, struct gr_error *err);

void gr_snapshot_release(struct gr_snapshot *snapshot);

/*
 * Warns of an f32 tensor with NaN or infinity, which may not show in what is computed from it: a
 * ReLU makes zeros of NaN. Of one tensor a file; *told remembers.
 */
void gr_model_warn_broken(const struct gr_model *model, const char *path,
                          const struct gr_tensor *tensor, bool *told);

#endif
