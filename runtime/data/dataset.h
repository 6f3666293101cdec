/*
 * A dataset: one part of a model's data section, opened. The source has been found, its labels have
 * been checked against the model, and the transforms are known to end in the model's input shape.
 *
 * A dataset does not change once open, so any number of threads may read samples from it at a time.
 */
#ifndef GR_DATA_DATASET_H
#define GR_DATA_DATASET_H

#include "data/part.h"

#include <stdint.h>

struct gr_dataset;
struct gr_pipeline;
struct gr_scratch;

/*
 * Opens a part. sample_shape is the [C, H, W] that the model wants, classes the number that labels
 * stay below (0: any label will do). Log, which may be NULL, hears what was found (ignored files,
 * fewer classes than the model has). Fails with GR_ERR_DATA (files missing or wrong, or not fitting
 * the model), GR_ERR_MODEL (gr_data_part_check) or GR_ERR_RUNTIME. The part is borrowed and must
 * outlive the dataset.
 */
struct gr_dataset *gr_dataset_open(const struct gr_data_part *part,
                                   const struct gr_shape *sample_shape, int64_t classes,
                                   gr_log_fn *log, void *log_user, struct gr_error *err);
void gr_dataset_free(struct gr_dataset *dataset);

int64_t gr_dataset_count(const struct gr_dataset *dataset);   /* samples, at least 1 */
int64_t gr_dataset_classes(const struct gr_dataset *dataset); /* that the source knows of */
const struct gr_shape *gr_dataset_shape(const struct gr_dataset *dataset); /* [C, H, W] */
int gr_dataset_views(const struct gr_dataset *dataset); /* of a sample: 1, or 10 (part->ten_crop) */
int32_t gr_dataset_label(const struct gr_dataset *dataset, int64_t index);

/* Borrowed from the dataset; NULL where the source has no name for the class. */
const char *gr_dataset_class_name(const struct gr_dataset *dataset, int64_t index);

/* The sample's file, or "FILE[17]" for a record of one; cut to size bytes. Returns buffer. */
const char *gr_dataset_sample_name(const struct gr_dataset *dataset, int64_t index, char *buffer,
                                   size_t size);

/* What samples pass on their way (data/pipeline.h). Borrowed from the dataset. */
const struct gr_pipeline *gr_dataset_pipeline(const struct gr_dataset *dataset);

/* True where a sample costs little: all of them are in memory, nothing is decoded. */
bool gr_dataset_in_memory(const struct gr_dataset *dataset);

/* Where random transforms of a sample draw from; the sample's index is the third coordinate. */
struct gr_draw {
    uint64_t seed;
    uint32_t epoch;
};

enum gr_read {
    GR_READ_DONE,
    GR_READ_CORRUPT, /* this image cannot be read; the next may: err says which and why */
    GR_READ_FAILED,  /* no use going on: err says why */
};

/*
 * Reads, transforms and writes sample index into out, f32 [views, C, H, W]. scratch is the calling
 * thread's own.
 */
enum gr_read gr_dataset_read(const struct gr_dataset *dataset, int64_t index,
                             const struct gr_draw *draw, struct gr_scratch *scratch, float *out,
                             struct gr_error *err);

/* True where neighbours lie side by side on disk and are no more alike than others. */
bool gr_dataset_mixed(const struct gr_dataset *dataset);

/* Has the disk read these samples, of a mixed dataset, in its own time: they are wanted soon. */
void gr_dataset_announce(const struct gr_dataset *dataset, const uint32_t *indices, int64_t count);

/* True where samples are image files, also within archives. */
bool gr_dataset_has_files(const struct gr_dataset *dataset);

/*
 * The bytes of a sample's image file, *size of them, in scratch until it is used again. NULL and
 * GR_ERR_DATA when it cannot be read. Only where the dataset has files.
 */
const uint8_t *gr_dataset_load(const struct gr_dataset *dataset, int64_t index,
                               struct gr_scratch *scratch, size_t *size, struct gr_error *err);

/* One thread's working memory: grows to what the largest image needed. NULL: out of memory. */
struct gr_scratch *gr_scratch_new(void);
void gr_scratch_free(struct gr_scratch *scratch);

#endif
