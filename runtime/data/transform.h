/*
 * A transform: one step between a source's pixels and the network's input. Those of size, position
 * and colour (resize, crop, flip) work on 8-bit views; those of values (scale, mean, normalize,
 * pca_lighting) become one scale and one offset a channel, applied when the sample is written out
 * as f32. So all of the first kind come before any of the second. A transform is one const struct
 * gr_transform and one row of gr_data_transforms.
 */
#ifndef GR_DATA_TRANSFORM_H
#define GR_DATA_TRANSFORM_H

#include "base/random.h"
#include "data/source.h"

/* What is known of a sample's size between two transforms, before any sample is seen. */
struct gr_extent {
    int channels;
    int64_t height, width;         /* exact; 0: differs from sample to sample */
    int64_t low_height, low_width; /* no sample is smaller; the same as above where that is exact */
    const struct gr_statistics *statistics; /* of the training data, or NULL */
};

/* A sample under way through the transforms. */
struct gr_draft {
    struct gr_placement placement; /* what the pixels of `view` are still to be taken to */
    struct gr_view view;           /* placed, when `apply` sees it */
    struct gr_random_key key;      /* of this sample in this epoch */
    uint64_t block;           /* the first of GR_TRANSFORM_BLOCKS random blocks of the transform */
    int laters;               /* how often the transform has answered GR_PLACING_LATER */
    struct gr_buffer *buffer; /* the transform's own, for pixels that it makes */
};

/* What became of a transform that only moves pixels about. */
enum gr_placing {
    GR_PLACING_DONE,
    GR_PLACING_LATER,  /* the pixels must be placed as they are first; then again, or `apply` */
    GR_PLACING_FAILED, /* GR_ERR_DATA: this sample cannot be used */
};

/*
 * Random blocks (gr_random_block) are the transform's place in the list times GR_TRANSFORM_BLOCKS,
 * and on. One that needs more has as many again each GR_TRANSFORM_BLOCKS_ALL further on.
 */
enum {
    GR_TRANSFORM_BLOCKS = 4,
    GR_TRANSFORMS_MAX = 16,
    GR_TRANSFORM_BLOCKS_ALL = GR_TRANSFORM_BLOCKS * GR_TRANSFORMS_MAX
};

struct gr_transform {
    struct gr_kind kind;

    /* Attributes that contradict each other (GR_ERR_MODEL); may be NULL. */
    bool (*check)(const void *attrs, struct gr_error *err);
    /* What the transform makes of the extent, or why it cannot. NULL: nothing. */
    bool (*infer)(const void *attrs, struct gr_extent *extent, struct gr_error *err);

    /* Either: changes the placement of a sample, whose pixels may not have been read yet. */
    enum gr_placing (*place)(const void *attrs, struct gr_draft *sample, struct gr_error *err);
    /* Or, also where that cannot do it: does it to the view. GR_ERR_DATA as above. */
    bool (*apply)(const void *attrs, struct gr_draft *sample, struct gr_error *err);
    /*
     * Or: does it to the values of a channel, which are *scale * pixel + *offset so far. The
     * statistics are those that infer saw.
     */
    void (*values)(const void *attrs, const struct gr_statistics *statistics, int channel,
                   double *scale, double *offset);
    /*
     * Or: adds to the pixels of channel c of this sample shift[c], in units of pixels (0 to 255)
     * and without clipping, wherever among the transforms of values it stands.
     */
    void (*shift)(const void *attrs, const struct gr_statistics *statistics,
                  const struct gr_random_key *key, uint64_t block, double shift[GR_CHANNELS_MAX]);

    /* What a reader may shrink the image to when this transform is the first; may be NULL. */
    void (*target)(const void *attrs, struct gr_source_target *target);
};

extern const struct gr_transform gr_transform_resize, gr_transform_crop, gr_transform_flip,
    gr_transform_grayscale, gr_transform_random_resized_crop, gr_transform_color_jitter,
    gr_transform_pca_lighting, gr_transform_scale, gr_transform_mean, gr_transform_normalize;

#endif
