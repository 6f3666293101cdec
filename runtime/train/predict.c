/*
 * Prediction: image files through the preprocessing of the model's data section, a batch at a time.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "data/source_images.h"
#include "data/ten_crop.h"
#include "train/batches.h"
#include "train/scores.h"

enum { BATCH = 16, BATCH_OF_VIEWS = 2 };

/* The likeliest classes, best first. */
static bool rank(const struct gr_model *model, const float *scores, int64_t classes, int top,
                 struct gr_prediction *rows, struct gr_error *err)
{
    int64_t *best = calloc((size_t)top + 1, sizeof *best);
    if (!best)
        return gr_fail_memory(err, "predictions");
    gr_scores_top(scores, classes, top, best);
    for (int k = 0; k < top; k++)
        rows[k] = best[k] < 0 ? (struct gr_prediction){-1, NULL, 0}
                              : (struct gr_prediction){best[k], gr_model_class_name(model, best[k]),
                                                       scores[best[k]]};
    free(best);
    return true;
}

/* Where the images to classify come from: fills pixels [views, C, H, W] of image number index. */
typedef bool read_fn(void *user, size_t index, float *pixels, struct gr_error *err);

struct predictor {
    struct gr_model *model;
    const struct gr_model_input *image;
    int64_t batch, views; /* images; of each */
    const char *output;
    struct gr_plan *plan;
    float *pixels;   /* [batch, views, C, H, W] */
    int64_t classes; /* of the output */
    float *averages; /* [batch, classes] */
    int top;
    bool skips;
    bool unread[BATCH]; /* those of the batch that were skipped */
};

static bool set_up(struct predictor *p, struct gr_error *err)
{
    const struct gr_plan_options options = {
        .mode = GR_INFER, .batch = p->batch * p->views, .targets = &p->output, .n_targets = 1};
    if (!(p->output = gr_scores_output(p->model, err)) ||
        !(p->plan = gr_plan_new(p->model, &options, err)))
        return false;
    const struct gr_tensor scores = gr_plan_target(p->plan, 0);
    p->classes = gr_shape_count(&scores.shape) / options.batch;
    p->pixels = calloc((size_t)(options.batch * gr_shape_count(&p->image->shape)), sizeof(float));
    p->averages = calloc((size_t)(p->batch * p->classes), sizeof(float));
    return (p->pixels && p->averages) || gr_fail_memory(err, "images");
}

/* Reads an image of the batch; one that is unreadable may be skipped, with a warning. */
static bool read_one(struct predictor *p, read_fn *read, void *user, size_t index, size_t i,
                     struct gr_error *err)
{
    struct gr_error inner = {0};
    const size_t size = (size_t)(p->views * gr_shape_count(&p->image->shape));
    float *pixels = p->pixels + i * size;
    p->unread[i] = !read(user, index, pixels, &inner);
    if (!p->unread[i])
        return true;
    if (!p->skips || inner.status != GR_ERR_DATA)
        return gr_fail(err, inner.status, "%s", inner.message);
    gr_log(p->model->context, GR_LOG_WARNING, "%s", inner.message);
    memset(pixels, 0, size * sizeof *pixels); /* of which the model makes something finite */
    return true;
}

/* Classifies the images whose pixels are there. */
static bool classify(struct predictor *p, int64_t count, struct gr_prediction *rows,
                     struct gr_error *err)
{
    const int64_t size = p->batch * p->views * gr_shape_count(&p->image->shape);
    if (!gr_plan_feed(p->plan, p->image->name, p->pixels, (size_t)size * sizeof(float), err) ||
        !gr_plan_run(p->plan, err))
        return false;
    const float *scores = gr_plan_target(p->plan, 0).data;
    if (p->views > 1
            ? !gr_scores_average(scores, count, p->views, p->classes, p->output, p->averages, err)
            : !gr_scores_check(scores, count, p->classes, p->output, err))
        return false;
    scores = p->views > 1 ? p->averages : scores;
    for (int64_t i = 0; i < count; i++)
        if (!rank(p->model, scores + i * p->classes, p->classes, p->top, rows + i * p->top, err))
            return false;
    for (int64_t i = 0; i < count * p->top; i++)
        if (p->unread[i / p->top])
            rows[i] = (struct gr_prediction){-1, NULL, 0};
    return true;
}

/* Classifies n images, a batch at a time. */
static bool predict(struct gr_model *model, const struct gr_model_input *image, read_fn *read,
                    void *user, size_t n, const struct gr_predict_options *options,
                    struct gr_prediction *predictions, struct gr_error *err)
{
    const size_t most = options->ten_crop ? BATCH_OF_VIEWS : BATCH, batch = n < most ? n : most;
    struct predictor p = {.model = model,
                          .image = image,
                          .batch = (int64_t)batch,
                          .views = options->ten_crop ? GR_TEN_CROP_VIEWS : 1,
                          .top = options->top,
                          .skips = options->skip_unreadable};
    if (!n || options->top < 1)
        return gr_fail(err, GR_ERR_USAGE, "there is no image to classify, or no class to tell");
    bool ok = set_up(&p, err);
    for (size_t done = 0; ok && done < n; done += batch) {
        const size_t count = n - done < batch ? n - done : batch;
        for (size_t i = 0; ok && i < count; i++)
            ok = read_one(&p, read, user, done + i, i, err);
        ok = ok && classify(&p, (int64_t)count, predictions + done * (size_t)p.top, err);
    }
    gr_plan_free(p.plan);
    free(p.averages);
    free(p.pixels);
    return ok;
}

/* ---- files ------------------------------------------------------------------------------- */

struct files {
    struct gr_images_attrs none; /* they are read one by one, by path */
    struct gr_data_part part;
    const struct gr_model_input *image;
    const char *const *paths;
};

static bool read_file(void *user, size_t index, float *pixels, struct gr_error *err)
{
    const struct files *files = user;
    return gr_data_part_image(&files->part, &files->image->shape, files->paths[index], pixels, err);
}

bool gr_predict(struct gr_model *model, const char *const *images, size_t n_images,
                const struct gr_predict_options *options, struct gr_prediction *predictions,
                struct gr_error *err)
{
    const struct gr_model_input *label;
    const struct gr_model_part *part = gr_batches_preprocessing(model, err);
    struct files files = {.paths = images};
    struct gr_pool pool = {0};
    bool ok =
        part && gr_batches_inputs(model, &files.image, &label, err) &&
        gr_images_part(&part->data, &files.image->shape, &files.none, &pool, &files.part, err);
    files.part.ten_crop = options->ten_crop;
    ok = ok && gr_batches_statistics(model, false, &files.part.statistics, err) &&
         predict(model, files.image, read_file, &files, n_images, options, predictions, err);
    gr_pool_release(&pool);
    return ok;
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

bool gr_predict_part(struct gr_model *model, const char *part, int64_t first, size_t count,
                     const struct gr_predict_options *options, struct gr_sample *samples,
                     struct gr_prediction *predictions, struct gr_error *err)
{
    struct gr_batches batches = {0};
    struct samples from = {.scratch = gr_scratch_new(), .first = first};
    const char *name = part ? part : gr_batches_default_part(model);
    bool ok = (from.scratch || gr_fail_memory(err, "images")) &&
              (options->ten_crop ? gr_batches_open_views(&batches, model, name, 1, 0, err)
                                 : gr_batches_open(&batches, model, name, 1, false, 0, err));
    const int64_t have = ok ? gr_dataset_count(batches.dataset) : 0;
    if (ok && (first < 0 || first > have || (int64_t)count > have - first))
        ok = gr_fail(err, GR_ERR_USAGE, "data.%s has %" PRId64 " samples, not %" PRId64, name, have,
                     first + (int64_t)count);
    from.dataset = batches.dataset;
    ok = ok && predict(model, batches.image, read_sample, &from, count, options, predictions, err);
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
