/*
 * Features of images; see features.h.
 */
#include "train/features.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

/* ---- before ------------------------------------------------------------------------------ */

/* The names of the model's classes, for images whose folders are called so. */
static bool take_class_names(struct gr_features_run *run, struct gr_error *err)
{
    const int64_t classes = gr_model_classes(run->model);
    const char **names = gr_pool_array(&run->pool, (size_t)classes + 1, sizeof *names);
    bool any = false;
    if (!names)
        return gr_fail_memory(err, "names of classes");
    for (int64_t c = 0; c < classes; c++)
        any = (names[c] = gr_model_class_name(run->model, c)) || any;
    run->images.class_names = names;
    run->images.n_class_names = any ? classes : 0;
    return true;
}

/* What to read: images given, or a part's; prepared as for evaluation. */
static bool choose_part(struct gr_features_run *run, struct gr_data_part *part,
                        struct gr_error *err)
{
    const struct gr_features_options *o = run->options;
    const struct gr_model_part *like = gr_batches_preprocessing(run->model, err);
    const struct gr_model_input *image, *label;
    if (!like || !gr_batches_inputs(run->model, &image, &label, err))
        return false;
    run->images = (struct gr_images_attrs){.paths = o->images, .n_paths = o->n_images};
    if (o->n_images)
        return take_class_names(run, err) &&
               gr_images_part(&like->data, &image->shape, &run->images, &run->pool, part, err);
    run->part = o->part ? o->part : gr_batches_default_part(run->model);
    const struct gr_model_part *found = gr_model_file_part(run->model->file, run->part);
    if (!found)
        return gr_fail(err, GR_ERR_MODEL, "%s: the data section has no part '%s'",
                       run->model->file->path, run->part);
    *part = found->data;
    part->transforms = like->data.transforms;
    part->n_transforms = like->data.n_transforms;
    return gr_model_unset_check(&found->source_unset, err);
}

static bool make_plan(struct gr_features_run *run, struct gr_error *err)
{
    const char *target = run->layer.name;
    const struct gr_plan_options options = {.mode = GR_INFER,
                                            .precision = run->options->precision,
                                            .batch = run->batches.batch,
                                            .targets = &target,
                                            .n_targets = 1};
    run->plan = gr_plan_new(run->model, &options, err);
    for (size_t i = 0; run->plan && i < gr_plan_input_count(run->plan); i++) {
        const char *input = gr_plan_input(run->plan, i).name;
        if (strcmp(input, run->batches.image->name) != 0)
            return gr_fail(err, GR_ERR_USAGE, "'%s' depends on '%s', not on the image alone",
                           target, input);
    }
    return run->plan != NULL;
}

bool gr_features_open(struct gr_features_run *run, struct gr_model *model,
                      const struct gr_features_options *options, struct gr_error *err)
{
    struct gr_data_part part;
    *run = (struct gr_features_run){.model = model, .options = options};
    const int64_t batch = options->batch ? options->batch : gr_model_batch(model);
    if (!gr_layer_find(model, options->layer, &run->layer, err) || !choose_part(run, &part, err))
        return false;
    run->length = gr_shape_count(&run->layer.shape);
    return gr_batches_open_given(&run->batches, model, &part, batch, options->max_corrupt, err) &&
           make_plan(run, err);
}

void gr_features_close(struct gr_features_run *run)
{
    gr_plan_free(run->plan);
    gr_batches_close(&run->batches);
    gr_pool_release(&run->pool);
    *run = (struct gr_features_run){0};
}

int64_t gr_features_run_classes(const struct gr_features_run *run)
{
    const int64_t model = run->part ? gr_model_classes(run->model) : 0;
    const int64_t data = gr_dataset_classes(run->batches.dataset);
    return model > data ? model : data;
}

const char *gr_features_run_class(const struct gr_features_run *run, int64_t label)
{
    const char *name = run->part ? gr_model_class_name(run->model, label) : NULL;
    if (!name)
        name = gr_dataset_class_name(run->batches.dataset, label);
    return name && *name ? name : NULL;
}

/* ---- the images -------------------------------------------------------------------------- */

struct pass {
    struct gr_features_run *run;
    struct gr_features_result *result;
    double start, waited;
    int64_t step;
};

static bool report(const struct pass *pass)
{
    const struct gr_features_options *o = pass->run->options;
    const struct gr_features_result *result = pass->result;
    const struct gr_loader *loader = pass->run->batches.loader;
    const double seconds = result->seconds > 0 ? result->seconds : 1e-9;
    const int64_t steps = gr_loader_batches(loader);
    const struct gr_progress progress = {
        .stage = "features",
        .epoch = 1,
        .epochs = 1,
        .step = pass->step,
        .steps = steps,
        .loss = (double)NAN,
        .images_per_second = (double)result->images / seconds,
        .wait_share = (gr_loader_wait_seconds(loader) - pass->waited) / seconds,
        .seconds_left = seconds / (double)pass->step * (double)(steps - pass->step),
        .last = pass->step == steps};
    return !o->progress || o->progress(o->progress_user, &progress);
}

static bool take_batch(const struct pass *pass, const struct gr_batch *batch, gr_features_fn *take,
                       void *user, struct gr_error *err)
{
    const struct gr_features_run *run = pass->run;
    const float *rows = gr_plan_target(run->plan, 0).data; /* [batch, length] */
    for (int64_t n = 0; n < batch->count; n++)
        if (!take(user, batch->indices[n], batch->labels[n], rows + n * run->length, err))
            return false;
    pass->result->images += batch->count;
    return true;
}

bool gr_features_each(struct gr_features_run *run, gr_features_fn *take, void *user,
                      struct gr_features_result *result, struct gr_error *err)
{
    struct gr_loader *loader = run->batches.loader;
    struct pass pass = {run, result, gr_seconds(), gr_loader_wait_seconds(loader), 0};
    struct gr_batch batch;
    *result = (struct gr_features_result){.shape = run->layer.shape};
    memcpy(result->layer, run->layer.name, sizeof result->layer);
    memcpy(result->about, run->layer.about, sizeof result->about);
    if (!gr_loader_start(loader, 0, 0, err))
        return false;
    for (;;) {
        if (!gr_batches_next(&run->batches, run->plan, &batch, err))
            return false;
        if (batch.count == 0)
            break;
        if (!gr_plan_run(run->plan, err) || !take_batch(&pass, &batch, take, user, err))
            return false;
        pass.step++;
        result->seconds = gr_seconds() - pass.start;
        if (!report(&pass))
            return false;
    }
    result->skipped = gr_loader_skipped(loader);
    return true;
}
