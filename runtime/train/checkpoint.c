/*
 * Checkpoints; see checkpoint.h. Whole numbers travel as decimal text in the file's metadata, the
 * others as hexadecimal floats, so that reading gives the same bits.
 */
#include "train/checkpoint.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const char format_name[] = "graph-runner checkpoint 1";

enum { MEANS_TEXT = 32 * (GR_MAX_METRICS + 2) };

/* "images loss metric...": the means so far. */
static const char *means_text(const struct gr_eval_result *means, char buffer[MEANS_TEXT])
{
    int used = snprintf(buffer, MEANS_TEXT, "%" PRId64 " %a", means->images, means->loss);
    for (int i = 0; i < means->n_metrics && used > 0 && used < MEANS_TEXT; i++)
        used +=
            snprintf(buffer + used, (size_t)(MEANS_TEXT - used), " %a", means->metrics[i].value);
    return buffer;
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

bool gr_checkpoint_save(struct gr_model *model, const char *path,
                        const struct gr_standing *standing, struct gr_error *err)
{
    char epoch[24], batch[24], step[24], best[40] = "", seed[24];
    char schedule[GR_SCHEDULE_STATE_TEXT], means[MEANS_TEXT];
    snprintf(epoch, sizeof epoch, "%" PRId64, standing->epoch);
    snprintf(batch, sizeof batch, "%" PRId64, standing->batch);
    snprintf(step, sizeof step, "%" PRId64, standing->step);
    snprintf(seed, sizeof seed, "%" PRIu64, model->seed);
    if (standing->has_best)
        snprintf(best, sizeof best, "%a", standing->best);
    const char *const metadata[] = {
        "format",   format_name,
        "model",    model->file->name,
        "resolved", gr_model_resolved(model),
        "seed",     seed,
        "epoch",    epoch,
        "batch",    batch,
        "step",     step,
        "best",     best,
        "means",    means_text(&standing->means, means),
        "schedule", gr_schedule_state_text(&standing->schedule, schedule)};
    return gr_model_write(model, path, true, metadata, sizeof metadata / sizeof *metadata / 2, err);
}

/* A non-negative whole number of the metadata. */
static bool read_number(const struct gr_tensor_file *file, const char *path, const char *key,
                        int64_t *number, struct gr_error *err)
{
    const char *text = gr_tensor_file_metadata(file, key);
    char *end = NULL;
    errno = 0;
    const long long value = text ? strtoll(text, &end, 10) : -1;
    if (!text || end == text || *end || errno || value < 0)
        return gr_fail(err, GR_ERR_DATA, "%s: not a checkpoint to resume: its '%s' is %s%s%s", path,
                       key, text ? "'" : "missing", text ? text : "", text ? "'" : "");
    *number = value;
    return true;
}

static bool read_standing(const struct gr_model *model, const struct gr_tensor_file *file,
                          const char *path, struct gr_standing *standing, struct gr_error *err)
{
    int64_t seed = 0;
    if (!read_number(file, path, "epoch", &standing->epoch, err) ||
        !read_number(file, path, "batch", &standing->batch, err) ||
        !read_number(file, path, "step", &standing->step, err) ||
        !read_number(file, path, "seed", &seed, err))
        return false;
    if ((uint64_t)seed != model->seed)
        return gr_fail(err, GR_ERR_USAGE,
                       "%s was made with seed %" PRId64 ", not %" PRIu64 "; give --seed %" PRId64,
                       path, seed, model->seed, seed);
    const char *best = gr_tensor_file_metadata(file, "best");
    standing->has_best = best && *best;
    if (standing->has_best)
        standing->best = strtod(best, NULL);
    standing->means = parse_means(gr_tensor_file_metadata(file, "means"), model->file);
    const char *schedule = gr_tensor_file_metadata(file, "schedule");
    return gr_schedule_state_parse(&standing->schedule, schedule ? schedule : "", err);
}

bool gr_checkpoint_load(struct gr_model *model, const char *path, struct gr_standing *standing,
                        struct gr_error *err)
{
    *standing = (struct gr_standing){0};
    struct gr_tensor_file *file = gr_tensor_file_read(path, err);
    const bool ok = file && read_standing(model, file, path, standing, err) &&
                    gr_model_read(model, file, path, true, err);
    gr_tensor_file_free(file);
    return ok;
}
