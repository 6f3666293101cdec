/*
 * A data source: a kind of dataset on disk, or made up. Opening one finds every sample and its
 * label; reading one shows its pixels. A source is one file, ending in its const struct gr_source,
 * and one row of gr_data_sources.
 */
#ifndef GR_DATA_SOURCE_H
#define GR_DATA_SOURCE_H

#include "base/kind.h"
#include "data/image.h"

/* What the model wants, for sources that can comply. */
struct gr_source_wish {
    int channels;          /* 1 or 3 */
    int64_t height, width; /* of the model's input */
    int64_t classes;       /* that the model's labels stay below; 0: unknown */
    gr_log_fn *log;        /* may be NULL */
    void *log_user;
};

/* A source opened. Everything in it is owned by the pool and by the two heap blocks. */
struct gr_samples {
    struct gr_pool pool;
    int64_t count;
    int64_t classes;                /* that the source knows of, 0: none */
    const char *const *class_names; /* [classes], or NULL */
    int32_t *labels;                /* [count], heap */
    uint8_t *pixels;                /* heap; NULL: samples are not in memory */
    int channels;
    int64_t height, width; /* of every sample; 0: they differ */
    bool mixed;  /* they are places, side by side, of neighbours no more alike than others */
    void *state; /* the source's own */
};

/* What a reader may use. */
struct gr_source_target {
    /* The image is wanted no smaller than this (0: as it is). */
    int64_t shortest;
    int64_t height, width;
    /*
     * Says what part of an image of that size is wanted, or why it cannot be used; may be NULL. A
     * reader that asks, once and before it decodes, shows that part and nothing else.
     */
    bool (*choose)(void *user, int64_t image_height, int64_t image_width, struct gr_window *window,
                   struct gr_error *err);
    void *user;
};

/* One thread's working memory for reading. Zero-initialised is empty. */
struct gr_source_scratch {
    struct gr_buffer file, pixels;
};

struct gr_source {
    struct gr_kind kind;
    int64_t side;    /* its images are side×side whatever the files say; 0: not known */
    bool fixed_size; /* all images of one dataset have one size */
    bool given;      /* not by a model file, so that messages name no part of one */

    /* Fills in *samples (zeroed). On failure the caller releases what is there. */
    bool (*open)(const void *attrs, const struct gr_source_wish *wish, struct gr_samples *samples,
                 struct gr_error *err);
    /*
     * Shows sample index, whole or the part chosen by target. GR_ERR_DATA: it cannot be read,
     * others may. The view borrows from samples or scratch.
     */
    bool (*read)(const struct gr_samples *samples, int64_t index,
                 const struct gr_source_target *target, struct gr_source_scratch *scratch,
                 struct gr_view *view, struct gr_error *err);
    /*
     * The bytes of the sample's image file into scratch->file, *size of them. NULL: samples are no
     * image files.
     */
    bool (*load)(const struct gr_samples *samples, int64_t index, struct gr_source_scratch *scratch,
                 size_t *size, struct gr_error *err);
    /*
     * What is known of the colours of its images, all of them; channels 0: nothing. Opens as little
     * as possible. NULL: never known.
     */
    bool (*statistics)(const void *attrs, struct gr_statistics *statistics, struct gr_error *err);
    /*
     * The side of the squares that its images were made before they came here, the shortest side
     * resized to it and the centre cut out; 0: they were not, or it cannot be told. NULL: never.
     */
    int64_t (*square)(const void *attrs);
    /* Where the sample is, for messages. */
    void (*name)(const struct gr_samples *samples, int64_t index, char *buffer, size_t size);
};

void gr_samples_release(struct gr_samples *samples);

extern const struct gr_source gr_source_idx, gr_source_cifar10, gr_source_cifar100,
    gr_source_imagefolder, gr_source_imagenet, gr_source_list, gr_source_pack, gr_source_synthetic,
    gr_source_webdataset;

/* One warning or note of a source; lines are at most 1024 bytes. */
void gr_source_log(const struct gr_source_wish *wish, enum gr_log_level level, const char *format,
                   ...) GR_PRINTF(3, 4);

#endif
