/*
 * Looking through data before training: parts of a model's data section, or what is at a path.
 */
#include <stdlib.h>

#include "data/source_at.h"
#include "data/survey.h"
#include "train/batches.h"

struct gr_data_check {
    struct gr_context *context;
    gr_data_progress_fn *progress;
    void *user;
    struct gr_pool pool;
    struct gr_seen_images seen;
    struct gr_data_report *reports;
    size_t count, capacity;
};

struct gr_data_check *gr_data_check_new(struct gr_context *context, gr_data_progress_fn *progress,
                                        void *user, struct gr_error *err)
{
    struct gr_data_check *check = calloc(1, sizeof *check);
    if (!check) {
        gr_fail_memory(err, "looking through data");
        return NULL;
    }
    check->context = context;
    check->progress = progress;
    check->user = user;
    return check;
}

void gr_data_check_free(struct gr_data_check *check)
{
    if (!check)
        return;
    gr_seen_release(&check->seen);
    gr_pool_release(&check->pool);
    free(check->reports);
    free(check);
}

size_t gr_data_check_count(const struct gr_data_check *check)
{
    return check->count;
}

const struct gr_data_report *gr_data_check_report(const struct gr_data_check *check, size_t index)
{
    return &check->reports[index];
}

/* A source with its attributes, and what a model wants of it. */
static bool survey(struct gr_data_check *check, const char *name, const struct gr_choice *choice,
                   const struct gr_source_wish *wish, struct gr_error *err)
{
    struct gr_samples samples = {0};
    struct gr_error inner = {0};
    void *reports = check->reports;
    const struct gr_source *source = (const struct gr_source *)(const void *)choice->kind;
    const struct gr_survey_options options = {.source = source,
                                              .samples = &samples,
                                              .name = name,
                                              .height = wish->height,
                                              .width = wish->width,
                                              .threads = check->context->threads,
                                              .progress = check->progress,
                                              .progress_user = check->user};
    bool done = gr_grow(&reports, &check->capacity, check->count, sizeof *check->reports) ||
                gr_fail_memory(err, "looking through data");
    check->reports = reports;
    if (done && !source->open(choice->attrs, wish, &samples, &inner))
        done = gr_fail(err, inner.status, "%s", inner.message);
    done =
        done && gr_survey(&options, &check->seen, &check->pool, &check->reports[check->count], err);
    check->count += done;
    gr_samples_release(&samples);
    return done;
}

bool gr_data_check_part(struct gr_data_check *check, struct gr_model *model, const char *part,
                        struct gr_error *err)
{
    const struct gr_model_part *found = gr_model_file_part(model->file, part);
    const struct gr_model_input *image, *label;
    struct gr_error inner = {0};
    if (!found)
        return gr_fail(err, GR_ERR_MODEL, "%s: the data section has no part '%s'",
                       model->file->path, part);
    if (!gr_batches_inputs(model, &image, &label, err) ||
        !gr_model_unset_check(&found->source_unset, err))
        return false;
    const struct gr_source_wish wish = {.channels = image->shape.dim[0] == 1 ? 1 : 3,
                                        .height = image->shape.dim[1],
                                        .width = image->shape.dim[2],
                                        .classes = label ? label->classes : 0,
                                        .log = check->context->log,
                                        .log_user = check->context->log_user};
    if (survey(check, part, &found->data.source, &wish, &inner))
        return true;
    return inner.status && gr_fail(err, inner.status, "data.%s: %s", part, inner.message);
}

bool gr_data_check_path(struct gr_data_check *check, const char *path, int64_t height,
                        int64_t width, struct gr_error *err)
{
    const struct gr_source_wish wish = {.channels = 3,
                                        .height = height,
                                        .width = width,
                                        .log = check->context->log,
                                        .log_user = check->context->log_user};
    struct gr_choice choice;
    return gr_source_at(path, &check->pool, &choice, err) &&
           survey(check, path, &choice, &wish, err);
}
