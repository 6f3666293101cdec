/*
 * A layer's activations image by image, as they come out of the loader and the network.
 */
#ifndef GR_TRAIN_FEATURES_H
#define GR_TRAIN_FEATURES_H

#include "data/source_images.h"
#include "train/batches.h"
#include "train/layer.h"

/* Zero-initialised is closed. */
struct gr_features_run {
    struct gr_model *model;
    const struct gr_features_options *options;
    struct gr_layer layer;
    int64_t length;   /* of a row */
    const char *part; /* NULL: images given by path */
    struct gr_pool pool;
    struct gr_images_attrs images;
    struct gr_batches batches;
    struct gr_plan *plan;
};

/* Finds the layer and the images, and compiles. Options and model must outlive the run. */
bool gr_features_open(struct gr_features_run *run, struct gr_model *model,
                      const struct gr_features_options *options, struct gr_error *err);
void gr_features_close(struct gr_features_run *run);

/* How many classes have names or could have, and the name of one, or NULL. */
int64_t gr_features_run_classes(const struct gr_features_run *run);
const char *gr_features_run_class(const struct gr_features_run *run, int64_t label);

/* An image's row, [run->length], valid during the call; index is that of the dataset. */
typedef bool gr_features_fn(void *user, int64_t index, int32_t label, const float *row,
                            struct gr_error *err);

/*
 * Hands out the row of every readable image, in order. False without an error: stopped by the
 * options' progress.
 */
bool gr_features_each(struct gr_features_run *run, gr_features_fn *take, void *user,
                      struct gr_features_result *result, struct gr_error *err);

#endif
