/*
 * Prediction: image files through the preprocessing of the model's data section, a batch at a time.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "train/batches.h"

enum { BATCH = 16 };

/* The preprocessing to predict with: that of evaluation. */
static const struct gr_model_part *preprocessing(const struct gr_model *model, struct gr_error *err)
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

/* The `top` largest of count scores, best first. */
static void rank(const struct gr_model *model, const float *scores, int64_t count, int top,
                 struct gr_prediction *rows)
{
    for (int k = 0; k < top; k++) {
        int64_t best = -1;
        for (int64_t c = 0; c < count; c++) {
            bool taken = false;
            for (int j = 0; j < k; j++)
                taken = taken || rows[j].index == c;
            if (!taken && (best < 0 || scores[c] > scores[best]))
                best = c;
        }
        rows[k] =
            best < 0 ? (struct gr_prediction){-1, NULL, 0}
                     : (struct gr_prediction){best, gr_model_class_name(model, best), scores[best]};
    }
}

/* Where the images to classify come from: fills pixels [C, H, W] of image number index. */
typedef bool read_fn(void *user, size_t index, float *pixels, struct gr_error *err);

/* Classifies n images, a batch at a time. */
static bool predict(struct gr_model *model, const struct gr_model_input *image, read_fn *read,
                    void *user, size_t n, int top, struct gr_prediction *predictions,
                    struct gr_error *err)
{
    const size_t batch = n < BATCH ? n : BATCH, size = (size_t)gr_shape_count(&image->shape);
    const struct gr_plan_options options = {
        .mode = GR_INFER, .batch = (int64_t)batch, .targets = model->file->outputs, .n_targets = 1};
    if (!n)
        return gr_fail(err, GR_ERR_USAGE, "there is no image to classify");
    if (!model->file->n_outputs)
        return gr_fail(err, GR_ERR_MODEL, "%s: the model has no output", model->file->path);
    bool ok = false;
    struct gr_plan *plan = NULL;
    float *pixels = calloc(batch * size, sizeof *pixels); /* [batch, C, H, W] */
    if (!pixels) {
        gr_fail_memory(err, "images");
        goto out;
    }
    plan = gr_plan_new(model, &options, err);
    if (!plan)
        goto out;
    for (size_t done = 0; done < n; done += batch) {
        const size_t count = n - done < batch ? n - done : batch;
        for (size_t i = 0; i < count; i++)
            if (!read(user, done + i, pixels + i * size, err))
                goto out;
        if (!gr_plan_feed(plan, image->name, pixels, batch * size * sizeof *pixels, err) ||
            !gr_plan_run(plan, err))
            goto out;
        const struct gr_tensor scores = gr_plan_target(plan, 0);
        const int64_t classes = gr_shape_count(&scores.shape) / (int64_t)batch;
        for (size_t i = 0; i < count; i++)
            rank(model, (const float *)scores.data + (int64_t)i * classes, classes, top,
                 predictions + (done + i) * (size_t)top);
    }
    ok = true;
out:
    gr_plan_free(plan);
    free(pixels);
    return ok;
}

/* ---- files ------------------------------------------------------------------------------- */

struct files {
    const struct gr_model_part *part;
    const struct gr_model_input *image;
    const char *const *paths;
};

static bool read_file(void *user, size_t index, float *pixels, struct gr_error *err)
{
    const struct files *files = user;
    return gr_data_part_image(&files->part->data, &files->image->shape, files->paths[index], pixels,
                              err);
}

bool gr_predict(struct gr_model *model, const char *const *images, size_t n_images, int top,
                struct gr_prediction *predictions, struct gr_error *err)
{
    const struct gr_model_input *label;
    struct files files = {.part = preprocessing(model, err), .paths = images};
    return files.part && gr_batches_inputs(model, &files.image, &label, err) &&
           predict(model, files.image, read_file, &files, n_images, top, predictions, err);
}

/* ---- samples ----------------------------------------------------------------------------- */

struct samples {
    const struct gr_dataset *dataset;
    struct gr_scratch *scratch;
    int64_t first;
};

static bool read_sample(void *user, size_t index, float *pixels, struct gr_error *err)
{
    const struct samples *samples = user;
    const struct gr_draw draw = {0};
    return gr_dataset_read(samples->dataset, samples->first + (int64_t)index, &draw,
                           samples->scratch, pixels, err) == GR_READ_DONE;
}

bool gr_predict_part(struct gr_model *model, const char *part, int64_t first, size_t count, int top,
                     struct gr_sample *samples, struct gr_prediction *predictions,
                     struct gr_error *err)
{
    struct gr_batches batches = {0};
    struct samples from = {.scratch = gr_scratch_new(), .first = first};
    const char *name = part ? part : gr_batches_default_part(model);
    bool ok = (from.scratch || gr_fail_memory(err, "images")) &&
              gr_batches_open(&batches, model, name, 1, false, 0, err);
    const int64_t have = ok ? gr_dataset_count(batches.dataset) : 0;
    if (ok && (first < 0 || first > have || (int64_t)count > have - first))
        ok = gr_fail(err, GR_ERR_USAGE, "data.%s has %" PRId64 " samples, not %" PRId64, name, have,
                     first + (int64_t)count);
    from.dataset = batches.dataset;
    ok = ok && predict(model, batches.image, read_sample, &from, count, top, predictions, err);
    for (size_t i = 0; ok && i < count; i++) {
        const int64_t index = first + (int64_t)i;
        samples[i].label = gr_dataset_label(batches.dataset, index);
        samples[i].label_name = gr_model_class_name(model, samples[i].label);
        gr_dataset_sample_name(batches.dataset, index, samples[i].name, sizeof samples[i].name);
    }
    gr_scratch_free(from.scratch);
    gr_batches_close(&batches);
    return ok;
}
