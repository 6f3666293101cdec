/*
 * A pass over a part of the data; see evaluate.h.
 */
#include "train/evaluate.h"

#include <string.h>

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
                      gr_measure_fn *measure, void *measure_user, struct gr_eval_result *result,
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
        if (!measure)
            gr_batches_accumulate(plan, batch.count, result);
        else if (!measure(measure_user, plan, &batch, result, err))
            return false;
        result->seconds = gr_seconds() - start;
        if (!report(progress, result, step, steps, gr_loader_wait_seconds(batches->loader) - waited,
                    show, show_user)) {
            *stopped = true;
            break;
        }
    }
    result->skipped = gr_loader_skipped(batches->loader);
    return true;
}
