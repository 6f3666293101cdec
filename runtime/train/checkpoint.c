/*
 * Checkpoints as files; see checkpoint.h. Whole numbers travel as decimal text in the file's
 * metadata, the others as hexadecimal floats, so that reading gives the same bits.
 */
#define _POSIX_C_SOURCE 200809L
#include "train/checkpoint.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/changes.h"
#include "model/safetensors.h"
#include "model/tuning_file.h"
#include "train/made_on.h"

static const char format_name[] = "graph-runner checkpoint 2";
static const char old_format_name[] = "graph-runner checkpoint 1"; /* without a checksum */

enum { NUMBER = 40, MEANS_TEXT = 32 * (GR_MAX_METRICS + 2), MOST_PAIRS = 32 };

/* ---- writing ----------------------------------------------------------------------------- */

/* Metadata in the making. */
struct pairs {
    const char *items[2 * MOST_PAIRS];
    size_t count;
};

static void add(struct pairs *pairs, const char *key, const char *value)
{
    pairs->items[2 * pairs->count] = key;
    pairs->items[2 * pairs->count++ + 1] = value;
}

/* "images loss metric...": the means so far. */
static const char *means_text(const struct gr_eval_result *means, char buffer[MEANS_TEXT])
{
    int used = snprintf(buffer, MEANS_TEXT, "%" PRId64 " %a", means->images, means->loss);
    for (int i = 0; i < means->n_metrics && used > 0 && used < MEANS_TEXT; i++)
        used +=
            snprintf(buffer + used, (size_t)(MEANS_TEXT - used), " %a", means->metrics[i].value);
    return buffer;
}

/* The texts of a standing's numbers. */
struct texts {
    char epoch[NUMBER], batch[NUMBER], step[NUMBER], best[NUMBER], seed[NUMBER], smoothed[NUMBER];
    char records[3 * NUMBER], schedule[GR_SCHEDULE_STATE_TEXT], means[MEANS_TEXT];
};

static void add_standing(struct pairs *pairs, const struct gr_standing *standing,
                         struct texts *texts)
{
    const struct gr_records *records = &standing->records;
    snprintf(texts->epoch, NUMBER, "%" PRId64, standing->epoch);
    snprintf(texts->batch, NUMBER, "%" PRId64, standing->batch);
    snprintf(texts->step, NUMBER, "%" PRId64, standing->step);
    snprintf(texts->smoothed, NUMBER, "%a", standing->smoothed);
    if (standing->has_best)
        snprintf(texts->best, NUMBER, "%a", standing->best);
    snprintf(texts->records, sizeof texts->records,
             "steps %" PRId64 " metrics %" PRId64 " events %" PRId64, records->steps,
             records->metrics, records->events);
    add(pairs, "epoch", texts->epoch);
    add(pairs, "batch", texts->batch);
    add(pairs, "step", texts->step);
    add(pairs, "best", texts->best);
    add(pairs, "smoothed", texts->smoothed);
    add(pairs, "records", texts->records);
    add(pairs, "means", means_text(&standing->means, texts->means));
    add(pairs, "schedule", gr_schedule_state_text(&standing->schedule, texts->schedule));
}

bool gr_checkpoint_take(struct gr_snapshot *snapshot, const struct gr_plan *plan,
                        const struct gr_standing *standing, struct gr_error *err)
{
    struct gr_model *model = plan->model;
    const struct gr_context *context = model->context;
    struct texts texts = {.best = ""};
    struct pairs pairs = {.count = 0};
    struct gr_made_on made_on;
    char *kernels =
        context->tuning
            ? gr_tuning_text(context->tuning, context->ops->machine(context->backend), true, err)
            : NULL;
    *snapshot = (struct gr_snapshot){0};
    if (context->tuning && !kernels)
        return false;
    snprintf(texts.seed, NUMBER, "%" PRIu64, model->seed);
    add(&pairs, "format", format_name);
    add(&pairs, "model", model->file->name);
    add(&pairs, "resolved", gr_model_resolved(model));
    add(&pairs, "seed", texts.seed);
    add_standing(&pairs, standing, &texts);
    if (kernels)
        add(&pairs, "kernels", kernels);
    gr_made_on_init(&made_on, context, &plan->options);
    for (int i = 0; i < GR_MADE_ON_FACTS; i++)
        add(&pairs, gr_made_on_keys[i], made_on.facts[i]);
    const bool ok = gr_snapshot_take(snapshot, model, true, pairs.items, pairs.count, err);
    free(kernels);
    return ok;
}

/* ---- reading ----------------------------------------------------------------------------- */

/* A non-negative whole number of the metadata. */
static bool read_number(const struct gr_checkpoint *checkpoint, const char *key, int64_t most,
                        int64_t *number, struct gr_error *err)
{
    const char *text = gr_tensor_file_metadata(checkpoint->file, key);
    char *end = NULL;
    errno = 0;
    const long long value = text ? strtoll(text, &end, 10) : -1;
    if (!text || end == text || *end || errno || value < 0 || value > most)
        return gr_fail(err, GR_ERR_DATA, "%s: not a checkpoint to resume: its '%s' is %s%.40s%s",
                       checkpoint->path, key, text ? "'" : "missing", text ? text : "",
                       text ? "'" : "");
    *number = value;
    return true;
}

/* The means of a text; names come from the model. Missing or odd: no means. */
static struct gr_eval_result parse_means(const char *text, const struct gr_model_file *file)
{
    struct gr_eval_result means = {0};
    char *end = NULL;
    if (!text)
        return means;
    means.images = strtoll(text, &end, 10);
    means.loss = strtod(end, &end);
    for (size_t i = 0; i < file->n_metrics && i < GR_MAX_METRICS && *end == ' '; i++)
        means.metrics[means.n_metrics++] = (struct gr_metric){file->metrics[i], strtod(end, &end)};
    return means;
}

static struct gr_records parse_records(const char *text)
{
    struct gr_records records;
    if (text && sscanf(text, "steps %18" SCNd64 " metrics %18" SCNd64 " events %18" SCNd64,
                       &records.steps, &records.metrics, &records.events) == 3)
        return records;
    return (struct gr_records){-1, -1, -1};
}

static bool read_standing(struct gr_checkpoint *checkpoint, const struct gr_model_file *model,
                          struct gr_error *err)
{
    const struct gr_tensor_file *file = checkpoint->file;
    struct gr_standing *standing = &checkpoint->standing;
    const int64_t most = 1000000000000000; /* so that no sum or product of them overflows */
    if (!read_number(checkpoint, "epoch", most, &standing->epoch, err) ||
        !read_number(checkpoint, "batch", most, &standing->batch, err) ||
        !read_number(checkpoint, "step", most, &standing->step, err) ||
        !read_number(checkpoint, "seed", INT64_MAX, &checkpoint->seed, err))
        return false;
    const char *best = gr_tensor_file_metadata(file, "best");
    const char *smoothed = gr_tensor_file_metadata(file, "smoothed");
    const char *schedule = gr_tensor_file_metadata(file, "schedule");
    standing->has_best = best && *best;
    standing->best = standing->has_best ? strtod(best, NULL) : 0;
    standing->smoothed = smoothed ? strtod(smoothed, NULL) : 0;
    standing->means = parse_means(gr_tensor_file_metadata(file, "means"), model);
    standing->records = parse_records(gr_tensor_file_metadata(file, "records"));
    return gr_schedule_state_parse(&standing->schedule, schedule ? schedule : "", err);
}

/* Of a kind that we write, and with its checksum, which reading has checked. */
static bool check_format(const struct gr_checkpoint *checkpoint, struct gr_error *err)
{
    const char *format = gr_tensor_file_metadata(checkpoint->file, "format");
    if (format && strcmp(format, old_format_name) == 0)
        return true;
    if (!format || strcmp(format, format_name) != 0)
        return gr_fail(err, GR_ERR_DATA, "%s: not a checkpoint to resume: its format is '%.60s'",
                       checkpoint->path, format ? format : "");
    return gr_tensor_file_metadata(checkpoint->file, GR_SAFETENSORS_CHECKSUM) ||
           gr_fail(err, GR_ERR_DATA, "%s: its checksum is missing", checkpoint->path);
}

bool gr_checkpoint_open(struct gr_checkpoint *checkpoint, const struct gr_model *model,
                        const char *path, struct gr_error *err)
{
    *checkpoint = (struct gr_checkpoint){.path = strdup(path)};
    if (!checkpoint->path)
        return gr_fail_memory(err, "a checkpoint");
    checkpoint->file = gr_tensor_file_read(path, err);
    if (checkpoint->file && check_format(checkpoint, err) &&
        read_standing(checkpoint, model->file, err))
        return true;
    gr_checkpoint_release(checkpoint);
    return false;
}

void gr_checkpoint_release(struct gr_checkpoint *checkpoint)
{
    gr_tensor_file_free(checkpoint->file);
    free(checkpoint->path);
    *checkpoint = (struct gr_checkpoint){0};
}

bool gr_checkpoint_restore(const struct gr_checkpoint *checkpoint, struct gr_model *model,
                           struct gr_error *err)
{
    if ((uint64_t)checkpoint->seed != model->seed)
        return gr_fail(err, GR_ERR_USAGE,
                       "%s was made with seed %" PRId64 ", not %" PRIu64 "; give --seed %" PRId64,
                       checkpoint->path, checkpoint->seed, model->seed, checkpoint->seed);
    return gr_model_read(model, checkpoint->file, checkpoint->path, true, err);
}

/* ---- going on ---------------------------------------------------------------------------- */

/* It may be meant (another rate), or a mistake that would show too late or never. */
static void tell_changes(const struct gr_checkpoint *checkpoint, const struct gr_model *model)
{
    const char *before = gr_tensor_file_metadata(checkpoint->file, "resolved");
    struct gr_text changes = {0};
    if (before)
        gr_resolved_changes(&changes, before, gr_model_resolved(model));
    if (changes.data)
        gr_log(model->context, GR_LOG_WARNING,
               "the run goes on with another model than it was trained with: %s", changes.data);
    gr_text_release(&changes);
}

void gr_checkpoint_recall(const struct gr_checkpoint *checkpoint, const struct gr_model *model,
                          const struct gr_plan_options *options)
{
    const struct gr_context *context = model->context;
    const char *kernels = gr_tensor_file_metadata(checkpoint->file, "kernels");
    const bool same = gr_made_on_compare(checkpoint->file, context, options);
    struct gr_error err = {0};
    tell_changes(checkpoint, model);
    if (kernels && context->tuning &&
        !gr_tuning_parse(context->tuning, kernels, checkpoint->path,
                         context->ops->machine(context->backend), &err) &&
        same)
        gr_log(context, GR_LOG_WARNING,
               "the run goes on with other kernels, so that last digits may differ: %s",
               err.message);
}
