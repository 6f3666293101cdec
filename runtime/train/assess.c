/*
 * Evaluation as a user asks for it: loss and metrics over a part of the data, each image exactly
 * once; at wish over ten views of each image, a line for each, how each class fared, and which
 * classes were taken for which.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/replace.h"
#include "data/ten_crop.h"
#include "train/confusion.h"
#include "train/evaluate.h"
#include "train/scores.h"

enum { SHOWN = 5 }; /* classes in a line of the CSV */

struct assessor {
    struct gr_model *model;
    const struct gr_eval_options *options;
    const char *part;
    struct gr_batches batches;
    struct gr_plan *plan;
    const char *output; /* the last target of the plan; NULL: scores are not looked at */
    int64_t classes;    /* of the output */
    float *averages;    /* [images a batch, classes], of ten views; else NULL */
    int64_t top_k[GR_MAX_METRICS];
    struct gr_confusion confusion;
    struct gr_replace csv;
};

/* ---- figures from scores ----------------------------------------------------------------- */

/* The value that the model's output is made of: the logits behind a softmax. */
static const char *source_of(const struct gr_model_file *file, const char *output)
{
    for (size_t i = 0; i < file->n_nodes; i++)
        if (strcmp(file->nodes[i].name, output) == 0 && file->nodes[i].n_inputs)
            return file->nodes[i].inputs[0];
    return output;
}

/*
 * The accuracies among the model's metrics that are of its output, or of what that is made of:
 * those can be told from averaged scores.
 */
static void find_accuracies(struct assessor *a, struct gr_eval_result *result)
{
    const struct gr_model_file *file = a->model->file;
    const char *source = source_of(file, a->output);
    for (size_t m = 0; m < file->n_metrics && result->n_metrics < GR_MAX_METRICS; m++)
        for (size_t i = 0; i < file->n_nodes; i++) {
            const struct gr_model_node *node = &file->nodes[i];
            if (strcmp(node->name, file->metrics[m]) != 0 || !node->op->top_k)
                continue;
            if (strcmp(node->inputs[0], source) != 0 && strcmp(node->inputs[0], a->output) != 0)
                continue;
            a->top_k[result->n_metrics] = node->op->top_k(node->attrs);
            result->metrics[result->n_metrics++].name = file->metrics[m];
        }
}

static void take_mean(double *mean, double value, int64_t count)
{
    *mean += (value - *mean) / (double)count;
}

/* An image's scores into the means. */
static void judge(const struct assessor *a, const float *row, int32_t label,
                  struct gr_eval_result *result)
{
    const int64_t rank = gr_scores_rank(row, a->classes, label);
    result->images++;
    take_mean(&result->loss, -log((double)row[label]), result->images);
    for (int i = 0; i < result->n_metrics; i++)
        take_mean(&result->metrics[i].value, rank < a->top_k[i], result->images);
}

/* ---- names and lines --------------------------------------------------------------------- */

/* A class's name: the model's, else the data's, else "". */
static const char *class_name(const void *user, int64_t index, char *buffer, size_t size)
{
    const struct assessor *a = user;
    const char *name = gr_model_class_name(a->model, index);
    if (!name)
        name = gr_dataset_class_name(a->batches.dataset, index);
    snprintf(buffer, size, "%s", name ? name : "");
    return buffer;
}

static void write_line(struct assessor *a, int64_t index, int32_t label, const float *row)
{
    char name[4096];
    int64_t top[SHOWN];
    const int shown = a->classes < SHOWN ? (int)a->classes : SHOWN;
    FILE *file = a->csv.file;
    gr_scores_top(row, a->classes, shown, top);
    gr_csv_quoted(file, gr_dataset_sample_name(a->batches.dataset, index, name, sizeof name));
    fprintf(file, ",%" PRId32 ",%" PRId64 ",%.6g,%.6g,%" PRId64 ",", label, top[0],
            (double)row[top[0]], -log((double)row[label]),
            gr_scores_rank(row, a->classes, label) + 1);
    for (int k = 0; k < shown; k++)
        fprintf(file, "%s%" PRId64, k ? " " : "", top[k]);
    fputc('\n', file);
}

/* ---- a batch ----------------------------------------------------------------------------- */

/* The batch's scores, [count, classes]; NULL and *err on failure. Which is the greatest can be told
 * of any; the CSV states probabilities. */
static const float *scores_of(struct assessor *a, const struct gr_plan *plan,
                              const struct gr_batch *batch, struct gr_error *err)
{
    const struct gr_tensor scores = gr_plan_target(plan, gr_plan_target_count(plan) - 1);
    const float *rows = scores.data;
    if (!a->averages)
        return !a->csv.file || gr_scores_check(rows, batch->count, a->classes, a->output, err)
                   ? rows
                   : NULL;
    return gr_scores_average(scores.data, batch->count, GR_TEN_CROP_VIEWS, a->classes, a->output,
                             a->averages, err)
               ? a->averages
               : NULL;
}

static bool measure(void *user, const struct gr_plan *plan, const struct gr_batch *batch,
                    struct gr_eval_result *result, struct gr_error *err)
{
    struct assessor *a = user;
    if (!a->averages)
        gr_batches_accumulate(plan, batch->count, result);
    else if (!result->images)
        find_accuracies(a, result);
    const float *scores = a->output ? scores_of(a, plan, batch, err) : NULL;
    if (!a->output || !scores)
        return !a->output;
    for (int64_t n = 0; n < batch->count; n++) {
        const float *row = scores + n * a->classes;
        const int32_t label = batch->labels[n];
        int64_t best;
        gr_scores_top(row, a->classes, 1, &best);
        if (a->averages)
            judge(a, row, label, result);
        if (a->csv.file)
            write_line(a, batch->indices[n], label, row);
        if (a->confusion.counts)
            a->confusion.counts[label * a->classes + best]++;
    }
    return !a->csv.file || !ferror(a->csv.file) ||
           gr_fail(err, GR_ERR_RUNTIME, "%s: cannot be written", a->options->csv);
}

/* ---- before and after -------------------------------------------------------------------- */

static bool make_plan(struct assessor *a, int64_t batch, struct gr_error *err)
{
    const struct gr_eval_options *o = a->options;
    const struct gr_plan_options scores_only = {.mode = GR_INFER,
                                                .precision = o->precision,
                                                .batch = batch * GR_TEN_CROP_VIEWS,
                                                .targets = &a->output,
                                                .n_targets = 1};
    a->plan = o->ten_crop ? gr_plan_new(a->model, &scores_only, err)
                          : gr_evaluation_plan(a->model, batch, o->precision, a->output, err);
    return a->plan != NULL;
}

/* The scores have a row for each row of the batch, and a place for every label. */
static bool check_scores(struct assessor *a, struct gr_error *err)
{
    char text[GR_SHAPE_TEXT];
    const struct gr_tensor scores = gr_plan_target(a->plan, gr_plan_target_count(a->plan) - 1);
    a->classes = gr_shape_count(&scores.shape) / a->plan->options.batch;
    return a->classes >= gr_model_classes(a->model) ||
           gr_fail(err, GR_ERR_MODEL,
                   "%s: the output '%s' is %s, which are no scores of %" PRId64 " classes",
                   a->model->file->path, a->output, gr_shape_text(&scores.shape, text),
                   gr_model_classes(a->model));
}

static bool open_outputs(struct assessor *a, int64_t batch, struct gr_error *err)
{
    const struct gr_eval_options *o = a->options;
    if (a->output && !check_scores(a, err))
        return false;
    if (o->ten_crop) {
        a->averages = calloc((size_t)(batch * a->classes), sizeof *a->averages);
        if (!a->averages)
            return gr_fail_memory(err, "averaging scores");
    }
    if ((o->n_confusion || o->per_class) && !gr_confusion_init(&a->confusion, a->classes, err))
        return false;
    if (!o->csv)
        return true;
    if (!gr_replace_open(&a->csv, o->csv, err))
        return false;
    fputs("file,label,predicted,probability,loss,rank,top5\n", a->csv.file);
    return true;
}

static bool set_up(struct assessor *a, struct gr_error *err)
{
    const struct gr_eval_options *o = a->options;
    const int64_t rows = o->batch ? o->batch : gr_model_batch(a->model);
    const int64_t batch = !o->ten_crop               ? rows
                          : rows > GR_TEN_CROP_VIEWS ? rows / GR_TEN_CROP_VIEWS
                                                     : 1;
    for (size_t i = 0; i < o->n_confusion; i++)
        if (!gr_confusion_path_check(o->confusion[i], err))
            return false;
    if ((o->ten_crop || o->csv || o->n_confusion || o->per_class) &&
        !(a->output = gr_scores_output(a->model, err)))
        return false;
    return (o->ten_crop
                ? gr_batches_open_views(&a->batches, a->model, a->part, batch, o->max_corrupt, err)
                : gr_batches_open(&a->batches, a->model, a->part, batch, false, o->max_corrupt,
                                  err)) &&
           make_plan(a, batch, err) && open_outputs(a, batch, err);
}

/* "alexnet on val, ten views each: 6 of 10 images right, 60.00 %". */
static void make_title(const struct assessor *a, const struct gr_eval_result *result, char *title,
                       size_t size)
{
    int64_t right = 0;
    for (int64_t c = 0; c < a->classes; c++)
        right += a->confusion.counts[c * a->classes + c];
    snprintf(title, size, "%s on %s%s: %" PRId64 " of %" PRId64 " images right, %.2f %%",
             gr_model_name(a->model), a->part, a->options->ten_crop ? ", ten views each" : "",
             right, result->images, 100 * (double)right / (double)result->images);
}

static bool write_outputs(struct assessor *a, const struct gr_eval_result *result,
                          struct gr_error *err)
{
    const struct gr_eval_options *o = a->options;
    char title[512];
    for (int64_t c = 0; o->per_class && c < gr_model_classes(a->model); c++) {
        class_name(a, c, o->per_class[c].name, sizeof o->per_class[c].name);
        gr_confusion_class(&a->confusion, c, &o->per_class[c]);
    }
    for (size_t i = 0; i < o->n_confusion; i++) {
        make_title(a, result, title, sizeof title);
        if (!gr_confusion_write(&a->confusion, title, class_name, a, o->confusion[i], err))
            return false;
    }
    return !a->csv.file || gr_replace_commit(&a->csv, err);
}

bool gr_evaluate(struct gr_model *model, const struct gr_eval_options *options,
                 struct gr_eval_result *result, struct gr_error *err)
{
    struct assessor a = {.model = model,
                         .options = options,
                         .part = options->part ? options->part : gr_batches_default_part(model)};
    const struct gr_progress progress = {.stage = a.part, .epoch = 1, .epochs = 1};
    bool stopped = false;
    const bool ok = set_up(&a, err) &&
                    gr_evaluate_part(&a.batches, a.plan, &progress, options->progress,
                                     options->progress_user, measure, &a, result, &stopped, err) &&
                    (stopped || write_outputs(&a, result, err));
    result->part = a.part;
    result->views = options->ten_crop ? GR_TEN_CROP_VIEWS : 1;
    gr_replace_release(&a.csv);
    gr_confusion_release(&a.confusion);
    free(a.averages);
    gr_plan_free(a.plan);
    gr_batches_close(&a.batches);
    return ok;
}
