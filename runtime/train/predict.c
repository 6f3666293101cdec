/*
 * Prediction: image files through the preprocessing of the model's data section, a batch at a time.
 */
#include <stdlib.h>
#include <string.h>

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
        rows[k] = best < 0 ? (struct gr_prediction){-1, NULL, 0}
                           : (struct gr_prediction){best, gr_model_class_name(model, best),
                                                    scores[best]};
    }
}

bool gr_predict(struct gr_model *model, const char *const *images, size_t n_images, int top,
                struct gr_prediction *predictions, struct gr_error *err)
{
    const struct gr_model_input *image, *label;
    const struct gr_model_part *part = preprocessing(model, err);
    const int64_t batch = n_images < BATCH ? (int64_t)n_images : BATCH;
    const struct gr_plan_options options = {
        .mode = GR_INFER, .batch = batch, .targets = model->file->outputs, .n_targets = 1};
    struct gr_plan *plan = NULL;
    bool ok = false;
    if (!part || !gr_batches_inputs(model, &image, &label, err))
        return false;
    if (!n_images || !model->file->n_outputs)
        return gr_fail(err, n_images ? GR_ERR_MODEL : GR_ERR_USAGE, "%s",
                       n_images ? "the model has no output" : "there is no image to classify");
    const size_t size = (size_t)gr_shape_count(&image->shape);
    float *pixels = calloc((size_t)batch * size, sizeof *pixels); /* [batch, C, H, W] */
    if (!pixels) {
        gr_fail_memory(err, "images");
        goto out;
    }
    plan = gr_plan_new(model, &options, err);
    if (!plan)
        goto out;
    for (size_t done = 0; done < n_images; done += (size_t)batch) {
        const size_t count = n_images - done < (size_t)batch ? n_images - done : (size_t)batch;
        for (size_t i = 0; i < count; i++)
            if (!gr_data_part_image(&part->data, &image->shape, images[done + i], pixels + i * size,
                                    err))
                goto out;
        if (!gr_plan_feed(plan, image->name, pixels, (size_t)batch * size * sizeof *pixels, err) ||
            !gr_plan_run(plan, err))
            goto out;
        const struct gr_tensor scores = gr_plan_target(plan, 0);
        const int64_t classes = gr_shape_count(&scores.shape) / batch;
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
