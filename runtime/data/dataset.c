/*
 * A part of the data section, opened: its source's samples and the pipeline of its transforms; see
 * dataset.h.
 */
#include "data/dataset.h"

#include "data/decode.h"
#include "data/pipeline.h"
#include "data/places.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct gr_dataset {
    const struct gr_source *source;
    struct gr_samples samples;
    struct gr_pipeline pipeline;
};

struct gr_scratch {
    struct gr_source_scratch source;
    struct gr_pipeline_scratch pipeline;
};

static const struct gr_source *source_of(const struct gr_data_part *part)
{
    return (const struct gr_source *)(const void *)part->source.kind;
}

void gr_samples_release(struct gr_samples *samples)
{
    gr_pool_release(&samples->pool);
    free(samples->labels);
    free(samples->pixels);
    *samples = (struct gr_samples){0};
}

void gr_source_log(const struct gr_source_wish *wish, enum gr_log_level level, const char *format,
                   ...)
{
    char line[1024];
    va_list args;
    if (!wish->log)
        return;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    wish->log(wish->log_user, level, line);
}

/* Every label below the model's classes, and so few samples that 32 bits can number them. */
static bool check_samples(const struct gr_dataset *dataset, const struct gr_data_part *part,
                          int64_t classes, struct gr_error *err)
{
    const struct gr_samples *samples = &dataset->samples;
    if (samples->count < 1 || samples->count > UINT32_MAX)
        return gr_fail(err, GR_ERR_DATA,
                       "data.%s: %" PRId64 " samples; 1 to %" PRIu32 " are possible", part->name,
                       samples->count, UINT32_MAX);
    for (int64_t i = 0; classes && !dataset->source->given && i < samples->count; i++) {
        char name[1024];
        if (samples->labels[i] < classes)
            continue;
        dataset->source->name(samples, i, name, sizeof name);
        return gr_fail(err, GR_ERR_DATA,
                       "data.%s: %s: label %" PRId32 ", but the model's label has %" PRId64
                       " classes, 0 to %" PRId64,
                       part->name, name, samples->labels[i], classes, classes - 1);
    }
    return true;
}

static bool open_source(struct gr_dataset *dataset, const struct gr_data_part *part,
                        const struct gr_source_wish *wish, struct gr_error *err)
{
    struct gr_error inner = {0};
    dataset->source = source_of(part);
    if (!dataset->source->open(part->source.attrs, wish, &dataset->samples, &inner))
        return dataset->source->given
                   ? gr_fail(err, inner.status, "%s", inner.message)
                   : gr_fail(err, inner.status, "data.%s: %s", part->name, inner.message);
    if (dataset->samples.class_names && dataset->samples.classes < wish->classes &&
        !dataset->source->given)
        gr_source_log(wish, GR_LOG_WARNING,
                      "data.%s: %" PRId64 " classes were found, the model's label has %" PRId64,
                      part->name, dataset->samples.classes, wish->classes);
    return check_samples(dataset, part, wish->classes, err);
}

struct gr_dataset *gr_dataset_open(const struct gr_data_part *part,
                                   const struct gr_shape *sample_shape, int64_t classes,
                                   gr_log_fn *log, void *log_user, struct gr_error *err)
{
    if (!gr_data_part_fits(part, sample_shape, err) || !gr_data_part_check(part, err))
        return NULL;
    struct gr_dataset *dataset = calloc(1, sizeof *dataset);
    if (!dataset) {
        gr_fail_memory(err, "opening a dataset");
        return NULL;
    }
    const struct gr_source_wish wish = {gr_data_part_channels(part, sample_shape),
                                        sample_shape->dim[1],
                                        sample_shape->dim[2],
                                        classes,
                                        log,
                                        log_user};
    const struct gr_samples *samples = &dataset->samples;
    if (!open_source(dataset, part, &wish, err))
        goto fail;
    struct gr_extent extent = {.channels = samples->channels,
                               .height = samples->height,
                               .width = samples->width,
                               .low_height = samples->height,
                               .low_width = samples->width};
    if (!samples->height)
        extent.low_height = extent.low_width = 1;
    if (!gr_pipeline_init(&dataset->pipeline, part, &extent, sample_shape, err))
        goto fail;
    return dataset;
fail:
    gr_dataset_free(dataset);
    return NULL;
}

void gr_dataset_free(struct gr_dataset *dataset)
{
    if (dataset)
        gr_samples_release(&dataset->samples);
    free(dataset);
}

int64_t gr_dataset_count(const struct gr_dataset *dataset)
{
    return dataset->samples.count;
}

int64_t gr_dataset_classes(const struct gr_dataset *dataset)
{
    return dataset->samples.classes;
}

const struct gr_shape *gr_dataset_shape(const struct gr_dataset *dataset)
{
    return &dataset->pipeline.shape;
}

int gr_dataset_views(const struct gr_dataset *dataset)
{
    return dataset->pipeline.ten_crop.height ? GR_TEN_CROP_VIEWS : 1;
}

int32_t gr_dataset_label(const struct gr_dataset *dataset, int64_t index)
{
    return dataset->samples.labels[index];
}

const char *gr_dataset_class_name(const struct gr_dataset *dataset, int64_t index)
{
    const struct gr_samples *samples = &dataset->samples;
    const bool named = samples->class_names && index >= 0 && index < samples->classes;
    return named ? samples->class_names[index] : NULL;
}

const char *gr_dataset_sample_name(const struct gr_dataset *dataset, int64_t index, char *buffer,
                                   size_t size)
{
    dataset->source->name(&dataset->samples, index, buffer, size);
    return buffer;
}

const struct gr_pipeline *gr_dataset_pipeline(const struct gr_dataset *dataset)
{
    return &dataset->pipeline;
}

bool gr_dataset_in_memory(const struct gr_dataset *dataset)
{
    return dataset->samples.pixels != NULL;
}

enum gr_read gr_dataset_read(const struct gr_dataset *dataset, int64_t index,
                             const struct gr_draw *draw, struct gr_scratch *scratch, float *out,
                             struct gr_error *err)
{
    struct gr_error inner = {0};
    struct gr_view view;
    struct gr_pipeline_run run;
    const struct gr_random_key key =
        gr_random_key(draw->seed, GR_RANDOM_AUGMENT, draw->epoch, (uint32_t)index);
    gr_pipeline_start(&run, &dataset->pipeline, &key, &scratch->pipeline);
    if (!dataset->source->read(&dataset->samples, index, &run.target, &scratch->source, &view,
                               &inner)) {
        gr_fail(err, inner.status, "%s", inner.message);
    } else if (!gr_pipeline_finish(&run, &view, out, &inner)) {
        char name[1024];
        dataset->source->name(&dataset->samples, index, name, sizeof name);
        gr_fail(err, inner.status, "%s: %s", name, inner.message);
    } else {
        return GR_READ_DONE;
    }
    return inner.status == GR_ERR_DATA ? GR_READ_CORRUPT : GR_READ_FAILED;
}

bool gr_dataset_mixed(const struct gr_dataset *dataset)
{
    return dataset->samples.mixed;
}

void gr_dataset_announce(const struct gr_dataset *dataset, const uint32_t *indices, int64_t count)
{
    if (dataset->samples.mixed)
        gr_places_announce(&dataset->samples, indices, count);
}

bool gr_dataset_has_files(const struct gr_dataset *dataset)
{
    return dataset->source->load != NULL;
}

const uint8_t *gr_dataset_load(const struct gr_dataset *dataset, int64_t index,
                               struct gr_scratch *scratch, size_t *size, struct gr_error *err)
{
    const bool done = dataset->source->load(&dataset->samples, index, &scratch->source, size, err);
    return done ? scratch->source.file.data : NULL;
}

struct gr_scratch *gr_scratch_new(void)
{
    return calloc(1, sizeof(struct gr_scratch));
}

void gr_scratch_free(struct gr_scratch *scratch)
{
    if (!scratch)
        return;
    gr_buffer_release(&scratch->source.file);
    gr_buffer_release(&scratch->source.pixels);
    gr_pipeline_scratch_release(&scratch->pipeline);
    free(scratch);
}

/* ---- one image file ---------------------------------------------------------------------- */

/* Makes the view as large as the images of the part's source are, where a file may not be. */
static bool fit(const struct gr_data_part *part, const struct gr_shape *shape,
                struct gr_scratch *scratch, struct gr_view *view, struct gr_extent *extent,
                struct gr_error *err)
{
    const struct gr_source *source = source_of(part);
    if (source->fixed_size && !gr_data_part_has(part, &gr_transform_resize)) {
        const int64_t height = source->side ? source->side : shape->dim[1];
        const int64_t width = source->side ? source->side : shape->dim[2];
        struct gr_placement placement = gr_placement_whole(view->height, view->width);
        placement.height = placement.window.height = height;
        placement.width = placement.window.width = width;
        if (!gr_image_place(view, &placement, &scratch->pipeline.resize, &scratch->pipeline.fitted,
                            err))
            return false;
    }
    *extent = (struct gr_extent){.channels = view->channels,
                                 .height = view->height,
                                 .width = view->width,
                                 .low_height = view->height,
                                 .low_width = view->width};
    return true;
}

bool gr_data_part_image(const struct gr_data_part *part, const struct gr_shape *sample_shape,
                        const char *path, float *out, struct gr_error *err)
{
    struct gr_error inner = {0};
    struct gr_pipeline pipeline;
    struct gr_pipeline_run run;
    struct gr_view view;
    struct gr_extent extent;
    const struct gr_source_target target = gr_data_part_target(part);
    const struct gr_random_key key = gr_random_key(0, GR_RANDOM_AUGMENT, 0, 0);
    if (!gr_data_part_fits(part, sample_shape, err))
        return false;
    struct gr_scratch *scratch = gr_scratch_new();
    if (!scratch)
        return gr_fail_memory(err, "reading an image");
    bool done = gr_image_read(path, gr_data_part_channels(part, sample_shape), &target,
                              &scratch->source, &view, err);
    if (done && !(fit(part, sample_shape, scratch, &view, &extent, &inner) &&
                  gr_pipeline_init(&pipeline, part, &extent, sample_shape, &inner))) {
        done = gr_fail(err, inner.status, "%s: %s", path, inner.message);
    } else if (done) {
        gr_pipeline_start(&run, &pipeline, &key, &scratch->pipeline);
        if (!gr_pipeline_finish(&run, &view, out, &inner))
            done = gr_fail(err, inner.status, "%s: %s", path, inner.message);
    }
    gr_scratch_free(scratch);
    return done;
}
