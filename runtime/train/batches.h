/*
 * From a part of the data section to the inputs of a plan: which input is the image and which the
 * label, the opened dataset, the loader, and the copy of each batch.
 */
#ifndef GR_TRAIN_BATCHES_H
#define GR_TRAIN_BATCHES_H

#include "base/clock.h"
#include "data/loader.h"
#include "model/model.h"

/* Zero-initialised is closed. */
struct gr_batches {
    struct gr_model *model;
    struct gr_dataset *dataset;
    struct gr_loader *loader;
    const struct gr_model_input *image, *label;
    struct gr_data_part part; /* the model's, or with ten views */
    int64_t batch;            /* images in one, but for the last */
};

/* The model's image (the first input that is no label) and label; a model error without them. */
bool gr_batches_inputs(const struct gr_model *model, const struct gr_model_input **image,
                       const struct gr_model_input **label, struct gr_error *err);

/*
 * What is known of the colours of the data that the model is, or was, trained on: by the data
 * themselves in training, else by the weights that were loaded, else by the data of the part
 * "train". *known is NULL where nothing is, and borrowed from the model.
 */
bool gr_batches_statistics(struct gr_model *model, bool training,
                           const struct gr_statistics **known, struct gr_error *err);

/*
 * Opens a part for training (shuffled, full batches, corrupt images replaced) or evaluation (in
 * order, each readable image once). max_corrupt is as in struct gr_train_options.
 */
bool gr_batches_open(struct gr_batches *batches, struct gr_model *model, const char *part,
                     int64_t batch, bool training, int64_t max_corrupt, struct gr_error *err);

/*
 * The same for evaluation with ten views of each image (data/ten_crop.h): a batch of n images is
 * then for a plan of 10 n rows.
 */
bool gr_batches_open_views(struct gr_batches *batches, struct gr_model *model, const char *part,
                           int64_t batch, int64_t max_corrupt, struct gr_error *err);

/*
 * The same for evaluation of a part that is not the model's own, maybe without labels. What part
 * points to must outlive the batches. Labels beyond the model's classes are an error, unless the
 * source is one of given files. A batch is no larger than all of it.
 */
bool gr_batches_open_given(struct gr_batches *batches, struct gr_model *model,
                           const struct gr_data_part *part, int64_t batch, int64_t max_corrupt,
                           struct gr_error *err);
void gr_batches_close(struct gr_batches *batches);

/*
 * Takes the next batch and feeds it to the plan, with its labels unless it has several views of an
 * image; batch->count is 0 at the end of the epoch.
 */
bool gr_batches_next(struct gr_batches *batches, struct gr_plan *plan, struct gr_batch *batch,
                     struct gr_error *err);

/*
 * What a plan's targets say of the last batch: the weighted sum of the model's losses, then its
 * metrics. The plan's targets are the usual ones of training.
 */
double gr_batches_loss(const struct gr_plan *plan);
int gr_batches_metrics(const struct gr_plan *plan, struct gr_metric metrics[GR_MAX_METRICS]);

/*
 * Takes the figures of a plan's last batch of count images into the means of a pass: result's
 * images, loss and metrics. Each image weighs alike.
 */
void gr_batches_accumulate(const struct gr_plan *plan, int64_t count,
                           struct gr_eval_result *result);

/*
 * The part whose transforms prepare images for what is not training: those of evaluation. NULL and
 * a model error where there is no data section.
 */
const struct gr_model_part *gr_batches_preprocessing(const struct gr_model *model,
                                                     struct gr_error *err);

/* The part to evaluate unless one is named: "test" if there, else "val". */
const char *gr_batches_default_part(const struct gr_model *model);

#endif
