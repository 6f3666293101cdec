/*
 * The record of a training run; see metrics.h.
 */
#include "train/metrics.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#include "base/append.h"
#include "base/json.h"
#include "base/text.h"

enum { DIGITS = 9 }; /* a float survives them */

struct gr_metrics {
    struct gr_append *file;
    int64_t count; /* lines */
};

struct gr_metrics *gr_metrics_open(const char *path, int64_t keep, struct gr_error *err)
{
    struct gr_metrics *metrics = calloc(1, sizeof *metrics);
    if (!metrics) {
        gr_fail_memory(err, "a metrics file");
        return NULL;
    }
    metrics->file = gr_append_open(path, keep == 0, err);
    if (metrics->file &&
        (keep == 0 || gr_append_cut_lines(metrics->file, keep, &metrics->count, err)))
        return metrics;
    gr_metrics_close(metrics, NULL);
    return NULL;
}

static json_t *number(double value)
{
    if (!isfinite(value))
        return json_null();
    return fabs(value) < 0x1p53 && value == floor(value) ? json_integer((json_int_t)value)
                                                         : json_real(value);
}

/* The line without its newline, for the caller to free; NULL: out of memory, or not UTF-8. */
static char *line_of(const char *stage, const struct gr_metric *pairs, size_t count)
{
    char *line = NULL;
    json_t *object = json_object();
    bool ok = json_object_set_new(object, "stage", json_string(stage)) == 0;
    for (size_t i = 0; ok && i < count; i++)
        ok = json_object_set_new(object, pairs[i].name, number(pairs[i].value)) == 0;
    if (ok)
        line = gr_json_dump(object, JSON_COMPACT | JSON_REAL_PRECISION(DIGITS));
    json_decref(object);
    return line;
}

bool gr_metrics_write(struct gr_metrics *metrics, const char *stage, const struct gr_metric *pairs,
                      size_t count, struct gr_error *err)
{
    char *line = line_of(stage, pairs, count);
    if (!line)
        return gr_fail_memory(err, "a line of metrics");
    struct gr_text text = {0};
    gr_text_add(&text, "%s\n", line);
    free(line);
    metrics->count++;
    const bool ok =
        gr_text_ok(&text, err) && gr_append_write(metrics->file, text.data, text.length, err);
    gr_text_release(&text);
    return ok;
}

int64_t gr_metrics_count(const struct gr_metrics *metrics)
{
    return metrics->count;
}

int gr_metrics_fd(const struct gr_metrics *metrics)
{
    return gr_append_fd(metrics->file);
}

bool gr_metrics_renew(struct gr_metrics *metrics, struct gr_error *err)
{
    return gr_append_renew(metrics->file, err);
}

bool gr_metrics_close(struct gr_metrics *metrics, struct gr_error *err)
{
    if (!metrics)
        return true;
    const bool ok = gr_append_close(metrics->file, err);
    free(metrics);
    return ok;
}
