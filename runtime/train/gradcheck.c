/*
 * Gradient check of a whole model: for each trained parameter w with gradient g, the derivative of
 * the loss along g / |g| must be |g|. It is measured by central differences with several steps,
 * since in single precision no one step suits every parameter: a short one drowns in rounding, a
 * long one in curvature and in the kinks of ReLU and max pooling. The nearest is reported, and
 * steps are tried until one is near enough beyond doubt.
 */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "model/model.h"
#include "train/batches.h"

/* Change of the loss that a step aims at, the likeliest to suit first. */
static const double changes[] = {3e-3, 1e-3, 1e-2, 3e-4, 3e-2, 1e-4};

/* An error of this share of the tolerance leaves nothing to try. */
static const double beyond_doubt = 0.1;

struct checker {
    struct gr_model *model;
    struct gr_plan *plan;   /* losses and gradients */
    struct gr_plan *losses; /* them alone, which takes a third of the time */
    double tolerance;
};

/* Random images and labels: the same for every call. */
static void feed_random(struct gr_plan *plan, uint64_t seed)
{
    for (size_t i = 0; i < gr_plan_input_count(plan); i++) {
        const struct gr_tensor input = gr_plan_input(plan, i);
        const int64_t count = gr_shape_count(&input.shape);
        const struct gr_random_key key =
            gr_random_key(seed, GR_RANDOM_CHECK, 0, gr_random_name(input.name));
        const int64_t classes = plan->inputs[i]->classes;
        for (int64_t k = 0; k < count; k++) {
            if (input.dtype == GR_F32)
                ((float *)input.data)[k] = gr_random_normal(&key, (uint64_t)k);
            else
                ((int32_t *)input.data)[k] = (int32_t)gr_random_below(
                    &key, (uint64_t)k, classes > 0 ? (uint64_t)classes : 2);
        }
    }
}

/* The loss with w + step · direction in the parameter's place. */
static bool loss_at(struct checker *c, struct gr_stored *stored, const float *w, const float *g,
                    double step, float *moved, size_t count, double *loss, struct gr_error *err)
{
    for (size_t i = 0; i < count; i++)
        moved[i] = (float)((double)w[i] + step * (double)g[i]);
    if (!gr_params_set(c->model->params, stored, moved, count, err) || !gr_plan_run(c->losses, err))
        return false;
    *loss = gr_batches_loss(c->losses);
    return true;
}

static bool check_parameter(struct checker *c, struct gr_stored *stored, const float *gradient,
                            struct gr_gradcheck_row *row, struct gr_error *err)
{
    const size_t count = (size_t)gr_shape_count(&stored->value.shape);
    float *w = malloc(count * sizeof *w), *g = malloc(count * sizeof *g),
          *moved = malloc(count * sizeof *moved);
    bool ok = (w && g && moved) || gr_fail_memory(err, "a gradient check");
    double norm = 0;
    *row = (struct gr_gradcheck_row){.name = stored->value.name, .error = INFINITY};
    if (!ok || !(ok = gr_params_get(c->model->params, stored, w, count, err)))
        goto out;
    for (size_t i = 0; i < count; i++)
        norm += (double)gradient[i] * (double)gradient[i];
    row->symbolic = norm = sqrt(norm);
    for (size_t i = 0; i < count; i++)
        g[i] = norm > 0 ? (float)((double)gradient[i] / norm) : 1;
    const double enough = beyond_doubt * c->tolerance;
    for (size_t k = 0; ok && k < sizeof changes / sizeof *changes && row->error > enough; k++) {
        const double step = norm > 1e-6 ? changes[k] / norm : changes[k];
        double ahead = 0, behind = 0;
        ok = loss_at(c, stored, w, g, step, moved, count, &ahead, err) &&
             loss_at(c, stored, w, g, -step, moved, count, &behind, err);
        const double numeric = (ahead - behind) / (2 * step);
        /* Below what rounding of the loss alone would show, a derivative counts as zero. */
        const double floor = 200 * FLT_EPSILON * fabs(ahead) / step;
        const double scale = fmax(fmax(fabs(numeric), norm), floor);
        if (ok && fabs(numeric - norm) / scale < row->error) {
            row->numeric = numeric;
            row->error = fabs(numeric - norm) / scale;
        }
    }
    row->ok = row->error <= c->tolerance;
    ok = ok && gr_params_set(c->model->params, stored, w, count, err);
out:
    free(w);
    free(g);
    free(moved);
    return ok;
}

/* The losses, then the gradient of every trainable parameter. */
static bool make_plans(struct checker *c, int64_t batch, struct gr_error *err)
{
    const struct gr_model_file *file = c->model->file;
    struct gr_pool pool = {0};
    struct gr_graph *graph = gr_model_file_graph(file, batch, true, err);
    const char **targets =
        graph ? gr_pool_array(&pool, graph->n_values + file->n_losses, sizeof *targets) : NULL;
    size_t n = 0;
    for (size_t i = 0; targets && i < file->n_losses; i++)
        targets[n++] = file->losses[i].name;
    bool ok = graph && (targets || gr_fail_memory(err, "a gradient check"));
    for (size_t v = 0; ok && v < graph->n_values; v++) {
        const struct gr_value *value = graph->values[v];
        if (!value->parameter || !value->parameter->trainable)
            continue;
        targets[n] = gr_pool_printf(&pool, "grad:%s", value->name);
        ok = targets[n++] || gr_fail_memory(err, "a gradient check");
    }
    if (ok) {
        struct gr_plan_options options = {
            .mode = GR_TRAIN, .batch = batch, .targets = targets, .n_targets = n};
        c->plan = gr_plan_new(c->model, &options, err);
        options.n_targets = file->n_losses;
        c->losses = c->plan ? gr_plan_new(c->model, &options, err) : NULL;
    }
    gr_graph_free(graph);
    gr_pool_release(&pool);
    return c->losses != NULL;
}

/* Gradients as the unmoved parameters give them; freed by the caller. */
static float **copy_gradients(const struct gr_plan *plan, size_t first, struct gr_error *err)
{
    const size_t count = gr_plan_target_count(plan) - first;
    float **copies = calloc(count + 1, sizeof *copies);
    for (size_t i = 0; copies && i < count; i++) {
        const struct gr_tensor tensor = gr_plan_target(plan, first + i);
        const size_t bytes = (size_t)gr_shape_count(&tensor.shape) * sizeof(float);
        if ((copies[i] = malloc(bytes)))
            memcpy(copies[i], tensor.data, bytes);
        else
            gr_fail_memory(err, "a gradient check");
    }
    if (!copies)
        gr_fail_memory(err, "a gradient check");
    return copies;
}

bool gr_gradcheck(struct gr_model *model, int64_t batch, double tolerance,
                  void (*row)(void *user, const struct gr_gradcheck_row *row), void *user,
                  struct gr_error *err)
{
    struct checker c = {.model = model, .tolerance = tolerance};
    const size_t first = model->file->n_losses;
    struct gr_error failed = {0};
    if (!first)
        return gr_fail(err, GR_ERR_MODEL, "%s: there is no loss (train.loss) to check",
                       model->file->path);
    if (!make_plans(&c, batch, err)) {
        gr_plan_free(c.plan);
        return false;
    }
    feed_random(c.plan, model->seed);
    feed_random(c.losses, model->seed);
    float **gradients =
        gr_plan_run(c.plan, &failed) ? copy_gradients(c.plan, first, &failed) : NULL;
    const size_t count = gr_plan_target_count(c.plan) - first;
    bool ok = failed.status == GR_OK;
    for (size_t i = 0; ok && i < count; i++) {
        const char *name = gr_plan_target(c.plan, first + i).name + strlen("grad:");
        struct gr_stored *stored = gr_params_find(model->params, name);
        struct gr_gradcheck_row result;
        ok = check_parameter(&c, stored, gradients[i], &result, &failed);
        if (ok)
            row(user, &result);
    }
    for (size_t i = 0; gradients && i < count; i++)
        free(gradients[i]);
    free(gradients);
    gr_plan_free(c.losses);
    gr_plan_free(c.plan);
    return ok || gr_fail(err, failed.status, "%s", failed.message);
}
