/*
 * One part of a model file's `data:` section ("train", "val", "test"): a source and the transforms
 * that its samples pass, in order. The model fills it in; data/dataset.h opens it.
 */
#ifndef GR_DATA_PART_H
#define GR_DATA_PART_H

#include "base/kind.h"

/* All pointers are borrowed and outlive the datasets opened from the part. */
struct gr_data_part {
    const char *name;
    struct gr_choice source;            /* of gr_data_sources */
    const struct gr_choice *transforms; /* of gr_data_transforms, in order of application */
    int n_transforms;
    bool ten_crop;                          /* samples are the ten views of data/ten_crop.h */
    const struct gr_statistics *statistics; /* of the training data, or NULL */
};

/*
 * What can be said without touching the data: attributes that contradict each other, transforms in
 * an impossible order. Fails with GR_ERR_MODEL, "data.train: resize: ...".
 */
bool gr_data_part_check(const struct gr_data_part *part, struct gr_error *err);

/*
 * Reads one image file through the part's transforms into out, f32 of the model's sample shape
 * [C, H, W], ten of them with ten_crop. Nothing of the part's source is opened. Where the source's
 * images all have one size and no transform is a resize (IDX, CIFAR), the file is first resized to
 * that size: CIFAR's 32×32, otherwise the model's H×W. Random transforms draw as for sample 0 of
 * epoch 0 of seed 0.
 */
bool gr_data_part_image(const struct gr_data_part *part, const struct gr_shape *sample_shape,
                        const char *path, float *out, struct gr_error *err);

#endif
