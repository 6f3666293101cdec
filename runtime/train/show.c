/*
 * A contact sheet of a part of the data, as training sees it: the loader of training hands out the
 * samples, one by one.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/pipeline.h"
#include "data/sheet.h"
#include "train/batches.h"

enum { USUAL_COUNT = 32, TEXT = 256 };

/* The class of a sample: its name as the model has it, or the data; else its number. */
static const char *class_of(const struct gr_batches *batches, int64_t label, char text[TEXT])
{
    const char *name = gr_model_class_name(batches->model, label);
    if (!name)
        name = gr_dataset_class_name(batches->dataset, label);
    if (name)
        return name;
    snprintf(text, TEXT, "%" PRId64, label);
    return text;
}

static void put_sample(struct gr_sheet *sheet, int64_t index, const struct gr_batches *batches,
                       const struct gr_batch *batch, uint8_t *pixels)
{
    char text[TEXT];
    const struct gr_pipeline *pipeline = gr_dataset_pipeline(batches->dataset);
    const struct gr_shape *shape = gr_dataset_shape(batches->dataset);
    const struct gr_view view =
        gr_view_planar(pixels, (int)shape->dim[0], shape->dim[1], shape->dim[2]);
    gr_pipeline_pixels(pipeline, batch->images, pixels);
    gr_sheet_put(sheet, index, &view, class_of(batches, batch->labels[0], text));
}

/* Up to count samples; *shown says how many there were. */
static bool put_samples(struct gr_sheet *sheet, struct gr_batches *batches, int64_t epoch,
                        int64_t count, int64_t *shown, struct gr_error *err)
{
    const struct gr_shape *shape = gr_dataset_shape(batches->dataset);
    struct gr_batch batch = {0};
    uint8_t *pixels = malloc((size_t)gr_shape_count(shape));
    bool ok = pixels ? gr_loader_start(batches->loader, epoch, 0, err)
                     : gr_fail_memory(err, "showing samples");
    for (*shown = 0; ok && *shown < count; ++*shown) {
        ok = gr_loader_next(batches->loader, &batch, err);
        if (!ok || !batch.count) /* the end of the epoch: some could not be read */
            break;
        put_sample(sheet, *shown, batches, &batch, pixels);
    }
    free(pixels);
    return ok;
}

bool gr_show_data(struct gr_model *model, const struct gr_show_options *options, const char *path,
                  int64_t *shown, struct gr_error *err)
{
    const char *part = options->part ? options->part : "train";
    const bool training = strcmp(part, "train") == 0;
    const int64_t epoch = options->epoch ? options->epoch : 1;
    struct gr_batches batches;
    struct gr_sheet sheet = {0};
    int64_t count = options->count ? options->count : USUAL_COUNT, found = 0;
    char title[TEXT];
    if (!gr_batches_open(&batches, model, part, 1, training, 0, err)) {
        gr_batches_close(&batches);
        return false;
    }
    const struct gr_shape *shape = gr_dataset_shape(batches.dataset);
    const int64_t have = gr_dataset_count(batches.dataset);
    count = have < count ? have : count;
    snprintf(title, sizeof title, "%s: %s, epoch %" PRId64 ", seed %" PRIu64, gr_model_name(model),
             part, epoch, model->seed);
    const struct gr_sheet_options layout = {.count = count,
                                            .height = shape->dim[1],
                                            .width = shape->dim[2],
                                            .captions = 1,
                                            .title = title};
    const bool ok = gr_sheet_init(&sheet, &layout, err) &&
                    put_samples(&sheet, &batches, epoch - 1, count, &found, err) &&
                    gr_picture_write(&sheet.picture, path, err);
    if (shown)
        *shown = found;
    gr_sheet_release(&sheet);
    gr_batches_close(&batches);
    return ok;
}
