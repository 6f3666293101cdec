/*
 * Batches from the data section to a plan; see batches.h.
 */
#include "train/batches.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "data/source.h"

enum { USUAL_MAX_CORRUPT = 100 };

bool gr_batches_inputs(const struct gr_model *model, const struct gr_model_input **image,
                       const struct gr_model_input **label, struct gr_error *err)
{
    const struct gr_model_file *file = model->file;
    *image = *label = NULL;
    for (size_t i = 0; i < file->n_inputs; i++) {
        const struct gr_model_input *input = &file->inputs[i];
        const struct gr_model_input **place = input->classes ? label : image;
        if (*place)
            return gr_fail(err, GR_ERR_MODEL,
                           "%s:%d:%d: error: the data section feeds one image and one label, and "
                           "'%s' is a second %s",
                           file->path, input->mark.line, input->mark.column, input->name,
                           input->classes ? "label" : "image");
        *place = input;
    }
    if (!*image || (*image)->shape.rank != 3)
        return gr_fail(err, GR_ERR_MODEL,
                       "%s: the data section needs an input of shape [channels, height, width]",
                       file->path);
    return true;
}

bool gr_model_image_shape(const struct gr_model *model, struct gr_shape *shape,
                          struct gr_error *err)
{
    const struct gr_model_input *image, *label;
    if (!gr_batches_inputs(model, &image, &label, err))
        return false;
    *shape = image->shape;
    return true;
}

/*
 * Takes the names of the classes from the data being trained on, or where nobody has named them.
 * Otherwise warns when a name is that of another label: class folders that are numbered anew,
 * because one is missing, give every sample a wrong label.
 */
static bool meet_names(struct gr_model *model, const struct gr_dataset *dataset, const char *part,
                       bool training, struct gr_error *err)
{
    struct gr_class_names *names = &model->class_names;
    const int64_t count = gr_dataset_classes(dataset);
    int64_t at = 0;
    if (model->file->n_class_names || !gr_dataset_class_name(dataset, 0))
        return true;
    const char **items = calloc((size_t)count, sizeof *items);
    if (!items)
        return gr_fail_memory(err, "names of classes");
    for (int64_t i = 0; i < count; i++)
        items[i] = gr_dataset_class_name(dataset, i);
    bool ok = true;
    if (training || !names->count) {
        ok = gr_class_names_set(names, items, count, err);
        names->of_training = training;
    } else {
        const int64_t place = gr_class_names_misplaced(names, items, count, &at);
        if (place >= 0)
            gr_log(model->context, GR_LOG_WARNING,
                   "data.%s: label %" PRId64 " is '%s', which was label %" PRId64
                   " in training: are the same classes there?",
                   part, at, items[at], place);
    }
    free(items);
    return ok;
}

bool gr_batches_statistics(struct gr_model *model, bool training,
                           const struct gr_statistics **known, struct gr_error *err)
{
    struct gr_known_colours *colours = &model->colours;
    const struct gr_model_part *part = gr_model_file_part(model->file, "train");
    const bool here = part && part->data.source.kind && !part->source_unset.name;
    const struct gr_source *source =
        here ? (const struct gr_source *)(const void *)part->data.source.kind : NULL;
    struct gr_error inner = {0};
    if (training || !(colours->of_training || colours->of_weights)) {
        struct gr_statistics found = {0};
        if (source && source->statistics &&
            !source->statistics(part->data.source.attrs, &found, &inner))
            return gr_fail(err, inner.status, "data.train: %s", inner.message);
        colours->statistics = found;
        colours->of_training = colours->of_training || training;
    }
    *known = colours->statistics.channels ? &colours->statistics : NULL;
    return true;
}

/* What both ways of opening share. */
static bool open_part(struct gr_batches *batches, struct gr_model *model, const char *part,
                      bool training, bool ten_crop, struct gr_error *err)
{
    struct gr_context *context = model->context;
    const struct gr_model_part *found = gr_model_file_part(model->file, part);
    *batches = (struct gr_batches){.model = model};
    if (!found)
        return gr_fail(err, GR_ERR_MODEL, "%s: the data section has no part '%s'",
                       model->file->path, part);
    if (!gr_batches_inputs(model, &batches->image, &batches->label, err))
        return false;
    if (!batches->label)
        return gr_fail(err, GR_ERR_MODEL, "%s: there is no label among the inputs (classes: N)",
                       model->file->path);
    if (!gr_model_unset_check(&found->source_unset, err) ||
        !gr_model_unset_check(&found->transforms_unset, err))
        return false;
    batches->part = found->data;
    batches->part.ten_crop = ten_crop;
    if (!gr_batches_statistics(model, training, &batches->part.statistics, err))
        return false;
    batches->dataset =
        gr_dataset_open(&batches->part, &batches->image->shape, batches->label->classes,
                        context->log, context->log_user, err);
    return batches->dataset && meet_names(model, batches->dataset, part, training, err);
}

const struct gr_model_part *gr_batches_preprocessing(const struct gr_model *model,
                                                     struct gr_error *err)
{
    static const char *const names[] = {"test", "val", "train"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const struct gr_model_part *part = gr_model_file_part(model->file, names[i]);
        if (part)
            return gr_model_unset_check(&part->transforms_unset, err) ? part : NULL;
    }
    gr_fail(err, GR_ERR_MODEL, "%s: the data section has no part to take the preprocessing from",
            model->file->path);
    return NULL;
}

static bool start_loader(struct gr_batches *batches, int64_t batch, bool training,
                         int64_t max_corrupt, struct gr_error *err)
{
    const struct gr_context *context = batches->model->context;
    const struct gr_loader_options options = {
        .batch = batch,
        .threads = gr_dataset_in_memory(batches->dataset) ? 1 : context->threads,
        .seed = batches->model->seed,
        .shuffle = training,
        .drop_last = training && gr_dataset_count(batches->dataset) >= batch,
        .replace_corrupt = training,
        .max_corrupt = max_corrupt == 0  ? USUAL_MAX_CORRUPT
                       : max_corrupt < 0 ? 0
                                         : max_corrupt,
        .log = context->log,
        .log_user = context->log_user};
    batches->batch = batch;
    batches->loader = gr_loader_new(batches->dataset, &options, err);
    return batches->loader != NULL;
}

bool gr_batches_open(struct gr_batches *batches, struct gr_model *model, const char *part,
                     int64_t batch, bool training, int64_t max_corrupt, struct gr_error *err)
{
    return open_part(batches, model, part, training, false, err) &&
           start_loader(batches, batch, training, max_corrupt, err);
}

bool gr_batches_open_given(struct gr_batches *batches, struct gr_model *model,
                           const struct gr_data_part *part, int64_t batch, int64_t max_corrupt,
                           struct gr_error *err)
{
    const struct gr_context *context = model->context;
    *batches = (struct gr_batches){.model = model, .part = *part};
    if (!gr_batches_inputs(model, &batches->image, &batches->label, err) ||
        !gr_batches_statistics(model, false, &batches->part.statistics, err))
        return false;
    batches->dataset = gr_dataset_open(&batches->part, &batches->image->shape,
                                       batches->label ? batches->label->classes : 0, context->log,
                                       context->log_user, err);
    const int64_t count = batches->dataset ? gr_dataset_count(batches->dataset) : 0;
    return count && start_loader(batches, batch < count ? batch : count, false, max_corrupt, err);
}

bool gr_batches_open_views(struct gr_batches *batches, struct gr_model *model, const char *part,
                           int64_t batch, int64_t max_corrupt, struct gr_error *err)
{
    return open_part(batches, model, part, false, true, err) &&
           start_loader(batches, batch, false, max_corrupt, err);
}

void gr_batches_close(struct gr_batches *batches)
{
    gr_loader_free(batches->loader);
    gr_dataset_free(batches->dataset);
    *batches = (struct gr_batches){0};
}

bool gr_batches_next(struct gr_batches *batches, struct gr_plan *plan, struct gr_batch *batch,
                     struct gr_error *err)
{
    if (!gr_loader_next(batches->loader, batch, err))
        return false;
    if (batch->count == 0)
        return true;
    const size_t rows = (size_t)plan->options.batch;
    const size_t image = (size_t)gr_shape_count(&batches->image->shape) * sizeof(float);
    return gr_plan_feed(plan, batches->image->name, batch->images, rows * image, err) &&
           (gr_dataset_views(batches->dataset) > 1 || !batches->label ||
            gr_plan_feed(plan, batches->label->name, batch->labels, rows * sizeof(int32_t), err));
}

static double scalar(const struct gr_plan *plan, size_t target)
{
    return *(const float *)gr_plan_target(plan, target).data;
}

double gr_batches_loss(const struct gr_plan *plan)
{
    const struct gr_model_file *file = plan->model->file;
    double loss = 0;
    for (size_t i = 0; i < file->n_losses; i++)
        loss += file->losses[i].weight * scalar(plan, i);
    return loss;
}

int gr_batches_metrics(const struct gr_plan *plan, struct gr_metric metrics[GR_MAX_METRICS])
{
    const struct gr_model_file *file = plan->model->file;
    const size_t count = file->n_metrics < GR_MAX_METRICS ? file->n_metrics : GR_MAX_METRICS;
    for (size_t i = 0; i < count; i++)
        metrics[i] = (struct gr_metric){file->metrics[i], scalar(plan, file->n_losses + i)};
    return (int)count;
}

void gr_batches_accumulate(const struct gr_plan *plan, int64_t count, struct gr_eval_result *result)
{
    struct gr_metric now[GR_MAX_METRICS];
    const double share = (double)count / (double)(result->images + count);
    result->images += count;
    result->loss += share * (gr_batches_loss(plan) - result->loss);
    result->n_metrics = gr_batches_metrics(plan, now);
    for (int i = 0; i < result->n_metrics; i++) {
        result->metrics[i].name = now[i].name;
        result->metrics[i].value += share * (now[i].value - result->metrics[i].value);
    }
}

const char *gr_batches_default_part(const struct gr_model *model)
{
    return gr_model_file_part(model->file, "test") ? "test" : "val";
}
