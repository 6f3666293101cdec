/*
 * The record of a training run; see metrics.h.
 */
#define _POSIX_C_SOURCE 200809L
#include "train/metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "data/files.h"

enum { DIGITS = 9 }; /* a float survives them */

struct gr_metrics {
    FILE *file;
    char *path;
};

/* Cuts off what follows the last newline, searching back from the end, and stands there. */
static bool trim(int fd)
{
    char buffer[4096];
    off_t end = lseek(fd, 0, SEEK_END);
    while (end > 0) {
        const size_t part = end < (off_t)sizeof buffer ? (size_t)end : sizeof buffer;
        if (gr_file_pread(fd, buffer, part, end - (off_t)part) != (ssize_t)part)
            return false;
        size_t keep = part;
        while (keep && buffer[keep - 1] != '\n')
            keep--;
        end -= (off_t)(part - keep);
        if (keep)
            break;
    }
    return end >= 0 && ftruncate(fd, end) == 0 && lseek(fd, end, SEEK_SET) == end;
}

struct gr_metrics *gr_metrics_open(const char *path, bool append, struct gr_error *err)
{
    struct gr_metrics *metrics = calloc(1, sizeof *metrics);
    int fd = -1;
    if (!metrics || !(metrics->path = strdup(path))) {
        gr_fail_memory(err, "a metrics file");
        goto failed;
    }
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | (append ? 0 : O_TRUNC), 0666);
    if (fd >= 0 && (!append || trim(fd)))
        metrics->file = fdopen(fd, "r+");
    if (metrics->file)
        return metrics;
    gr_fail_system(err, GR_ERR_RUNTIME, errno, "cannot open for writing", path);
    if (fd >= 0)
        close(fd);
failed:
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
    errno = 0;
    const bool ok = fputs(line, metrics->file) >= 0 && putc('\n', metrics->file) != EOF &&
                    fflush(metrics->file) == 0;
    free(line);
    return ok ? true
              : gr_fail_system(err, GR_ERR_RUNTIME, errno ? errno : EIO, "cannot write",
                               metrics->path);
}

bool gr_metrics_close(struct gr_metrics *metrics, struct gr_error *err)
{
    bool ok = true;
    if (!metrics)
        return true;
    if (metrics->file && fclose(metrics->file) != 0)
        ok = gr_fail_system(err, GR_ERR_RUNTIME, errno, "cannot write", metrics->path);
    free(metrics->path);
    free(metrics);
    return ok;
}
