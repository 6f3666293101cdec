/*
 * The transforms of a part, checked against what goes in and what must come out, and ready to run
 * on samples from any number of threads.
 */
#ifndef GR_DATA_PIPELINE_H
#define GR_DATA_PIPELINE_H

#include "data/part.h"
#include "data/ten_crop.h"
#include "data/transform.h"

struct gr_pipeline {
    const struct gr_choice *transforms; /* borrowed from the part */
    int count;
    struct gr_shape shape; /* [C, H, W] of what is written */
    float scale[GR_CHANNELS_MAX], offset[GR_CHANNELS_MAX];
    struct gr_source_target target;         /* for the source's reader */
    struct gr_ten_crop ten_crop;            /* height 0: one view */
    const struct gr_statistics *statistics; /* as the part's */
};

/* One thread's working memory. Zero-initialised is empty. */
struct gr_pipeline_scratch {
    struct gr_buffer fitted;
    struct gr_buffer placed[GR_TRANSFORMS_MAX + 1]; /* before each transform and at the end */
    struct gr_buffer made[GR_TRANSFORMS_MAX + 1];   /* by each transform */
    struct gr_resize_scratch resize;
};

/*
 * Follows the extent of the source's samples through the transforms and compares it with the
 * model's sample shape. Messages start with "data.train: " and name the transform.
 */
bool gr_pipeline_init(struct gr_pipeline *pipeline, const struct gr_data_part *part,
                      const struct gr_extent *extent, const struct gr_shape *sample_shape,
                      struct gr_error *err);

/*
 * A sample's way through the transforms. gr_pipeline_start begins it, before the sample is read: a
 * reader that is given `target` (which borrows the run) decodes only what the first transforms
 * leave of the image.
 */
struct gr_pipeline_run {
    const struct gr_pipeline *pipeline;
    struct gr_pipeline_scratch *scratch;
    struct gr_draft sample;
    struct gr_source_target target;
    int next;    /* the transform to do next */
    int end;     /* those before it are to do now */
    bool chosen; /* what the sample's placement needs of the image is known */
};

void gr_pipeline_start(struct gr_pipeline_run *run, const struct gr_pipeline *pipeline,
                       const struct gr_random_key *key, struct gr_pipeline_scratch *scratch);

/*
 * Takes what was read, the whole image or the part chosen, to its end, and writes f32 [C, H, W], or
 * of ten views [10, C, H, W].
 */
bool gr_pipeline_finish(struct gr_pipeline_run *run, const struct gr_view *view, float *out,
                        struct gr_error *err);

/*
 * The same, but shows the pixels where they are, as 8 bits, before transforms of values; *placed
 * borrows from the run's scratch or the view.
 */
bool gr_pipeline_place(struct gr_pipeline_run *run, const struct gr_view *view,
                       struct gr_view *placed, struct gr_error *err);

/*
 * Takes written values, [C, H, W], back to the pixels that they were scaled from, to look at:
 * rounded, and cut at 0 and 255 where a random colour was added.
 */
void gr_pipeline_pixels(const struct gr_pipeline *pipeline, const float *values, uint8_t *pixels);

void gr_pipeline_scratch_release(struct gr_pipeline_scratch *scratch);

/* True when one of the part's transforms is of that kind. */
bool gr_data_part_has(const struct gr_data_part *part, const struct gr_transform *transform);

/* The channels that a source should give: the model's, or 3 where a transform makes them grey. */
int gr_data_part_channels(const struct gr_data_part *part, const struct gr_shape *sample_shape);

/* What a source's reader may shrink images to, in view of the first transform. */
struct gr_source_target gr_data_part_target(const struct gr_data_part *part);

/* True when the sample shape is one that images can have; else fails, naming the part. */
bool gr_data_part_fits(const struct gr_data_part *part, const struct gr_shape *sample_shape,
                       struct gr_error *err);

#endif
