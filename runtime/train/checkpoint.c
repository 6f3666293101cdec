/*
 * Checkpoints; see checkpoint.h. Numbers travel as decimal text in the file's metadata, the best
 * figure as a hexadecimal float, so that reading gives the same bits.
 */
#include "train/checkpoint.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const char format_name[] = "graph-runner checkpoint 1";

bool gr_checkpoint_save(struct gr_model *model, const char *path,
                        const struct gr_standing *standing, struct gr_error *err)
{
    char epoch[24], batch[24], step[24], best[40] = "", seed[24];
    char schedule[GR_SCHEDULE_STATE_TEXT];
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
