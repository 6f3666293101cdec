/*
 * Evaluation: loss and metrics over a part of the data, each image exactly once.
 */
#include "train/evaluate.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/replace.h"

struct gr_plan *gr_evaluation_plan(struct gr_model *model, int64_t batch,
                                   enum gr_precision precision, const char *extra,
                                   struct gr_error *err)
{
    const struct gr_model_file *file = model->file;
    const char *targets[64];
    size_t n = 0;
    const size_t most = sizeof targets / sizeof *targets - 1;
    for (size_t i = 0; i < file->n_losses && n < most; i++)
        targets[n++] = file->losses[i].name;
    for (size_t i = 0; i < file->n_metrics && n < most; i++)
        targets[n++] = file->metrics[i];
    if (!n) {
        gr_fail(err, GR_ERR_MODEL, "%s: there is no train section that names a loss or metrics",
                file->path);
        return NULL;
    }
    if (extra)
        targets[n++] = extra;
    const struct gr_plan_options options = {.mode = GR_INFER,
                                            .precision = precision,
                                            .batch = batch,
                                            .targets = targets,
                                            .n_targets = n};
    return gr_plan_new(model, &options, err);
}

static bool report(const struct gr_progress *base, const struct gr_eval_result *result,
                   int64_t step, int64_t steps, double wait, gr_progress_fn *show, void *user)
{
    struct gr_progress p = *base;
    if (!show)
        return true;
    p.step = step;
    p.steps = steps;
    p.loss = result->loss;
    p.n_metrics = result->n_metrics;
    memcpy(p.metrics, result->metrics, sizeof p.metrics);
    p.images_per_second = result->seconds > 0 ? (double)result->images / result->seconds : 0;
    p.wait_share = result->seconds > 0 ? wait / result->seconds : 0;
    p.seconds_left = step ? result->seconds / (double)step * (double)(steps - step) : -1;
    p.last = step == steps;
    return show(user, &p);
}

bool gr_evaluate_part(struct gr_batches *batches, struct gr_plan *plan,
                      const struct gr_progress *progress, gr_progress_fn *show, void *show_user,
                      gr_batch_fn *batch_done, void *batch_user, struct gr_eval_result *result,
                      bool *stopped, struct gr_error *err)
{
    const double start = gr_seconds(), waited = gr_loader_wait_seconds(batches->loader);
    const int64_t steps = gr_loader_batches(batches->loader);
    struct gr_batch batch;
    *result = (struct gr_eval_result){0};
    *stopped = false;
    if (!gr_loader_start(batches->loader, 0, 0, err))
        return false;
    for (int64_t step = 1;; step++) {
        if (!gr_batches_next(batches, plan, &batch, err))
            return false;
        if (batch.count == 0)
            break;
        if (!gr_plan_run(plan, err))
            return false;
        gr_batches_accumulate(plan, batch.count, result);
        result->seconds = gr_seconds() - start;
        if (batch_done && !batch_done(batch_user, plan, &batch, err))
            return false;
        if (!report(progress, result, step, steps, gr_loader_wait_seconds(batches->loader) - waited,
                    show, show_user)) {
            *stopped = true;
            break;
        }
    }
    result->skipped = gr_loader_skipped(batches->loader);
    return true;
}

/* ---- per image --------------------------------------------------------------------------- */

struct csv {
    FILE *file;
    const char *path;
    const struct gr_model *model;
    const struct gr_dataset *dataset;
};

static void write_quoted(FILE *file, const char *text)
{
    fputc('"', file);
    for (; *text; text++) {
        if (*text == '"')
            fputc('"', file);
        fputc(*text, file);
    }
    fputc('"', file);
}

/* Rows of the last target: scores [N, classes] that sum to one. */
static bool write_rows(void *user, const struct gr_plan *plan, const struct gr_batch *batch,
                       struct gr_error *err)
{
    const struct csv *csv = user;
    const struct gr_tensor scores = gr_plan_target(plan, gr_plan_target_count(plan) - 1);
    const int64_t classes = gr_shape_count(&scores.shape) / scores.shape.dim[0];
    char name[4096];
    for (int64_t n = 0; n < batch->count; n++) {
        const float *row = (const float *)scores.data + n * classes;
        int64_t best = 0;
        for (int64_t c = 1; c < classes; c++)
            best = row[c] > row[best] ? c : best;
        const int32_t label = batch->labels[n];
        const bool known = label >= 0 && label < classes;
        write_quoted(csv->file,
                     gr_dataset_sample_name(csv->dataset, batch->indices[n], name, sizeof name));
        fprintf(csv->file, ",%" PRId32 ",%" PRId64 ",%.6g,%.6g\n", label, best, (double)row[best],
                known ? -log((double)row[label]) : NAN);
    }
    return !ferror(csv->file) || gr_fail(err, GR_ERR_RUNTIME, "%s: cannot be written", csv->path);
}

/* The output that holds class scores, [N, classes]. */
static const char *score_output(const struct gr_model *model, struct gr_error *err)
{
    if (model->file->n_outputs)
        return model->file->outputs[0];
    gr_fail(err, GR_ERR_MODEL, "%s: the model has no output such as a softmax", model->file->path);
    return NULL;
}

bool gr_evaluate(struct gr_model *model, const struct gr_eval_options *options,
                 struct gr_eval_result *result, struct gr_error *err)
{
    const char *part = options->part ? options->part : gr_batches_default_part(model);
    const int64_t batch = options->batch ? options->batch : gr_model_batch(model);
    const struct gr_progress progress = {.stage = part, .epoch = 1, .epochs = 1};
    struct gr_batches batches = {0};
    struct gr_plan *plan = NULL;
    struct gr_replace replace = {0};
    struct csv csv = {.path = options->csv, .model = model};
    const char *scores = options->csv ? score_output(model, err) : NULL;
    bool stopped = false, ok = false;
    if (options->csv && !scores)
        return false;
    if (!gr_batches_open(&batches, model, part, batch, false, options->max_corrupt, err) ||
        !(plan = gr_evaluation_plan(model, batch, options->precision, scores, err)))
        goto out;
    if (options->csv) {
        if (!gr_replace_open(&replace, options->csv, err))
            goto out;
        csv.file = replace.file;
        csv.dataset = batches.dataset;
        fputs("file,label,predicted,probability,loss\n", csv.file);
    }
    ok = gr_evaluate_part(&batches, plan, &progress, options->progress, options->progress_user,
                          csv.file ? write_rows : NULL, &csv, result, &stopped, err) &&
         (!csv.file || gr_replace_commit(&replace, err));
out:
    gr_replace_release(&replace);
    gr_plan_free(plan);
    gr_batches_close(&batches);
    return ok;
}
