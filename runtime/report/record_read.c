/*
 * A run's folder read; see record.h.
 */
#define _POSIX_C_SOURCE 200809L
#include "report/record.h"

#include "base/json.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { PATH_SIZE = 4096, LINE_SIZE = 1 << 16, MOST_PAIRS = 32, MOST_CLASSES = 4096 };

/* What reading the files of one folder shares. */
struct reader {
    struct gr_record *record;
    const char *folder;
    gr_log_fn *log;
    void *log_user;
    char line[LINE_SIZE];
};

/* Takes the object of a line. False: it makes no sense, or *err says that memory ran out. */
typedef bool take_fn(struct gr_record *record, const json_t *object, struct gr_error *err);

static void warn(const struct reader *reader, const char *format, ...) GR_PRINTF(2, 3);

static void warn(const struct reader *reader, const char *format, ...)
{
    char text[2 * PATH_SIZE];
    va_list args;
    if (!reader->log)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    reader->log(reader->log_user, GR_LOG_WARNING, text);
}

static bool path_of(const char *folder, const char *name, char path[PATH_SIZE],
                    struct gr_error *err)
{
    const int n = snprintf(path, PATH_SIZE, "%s/%s", folder, name);
    return (n > 0 && n < PATH_SIZE) ||
           gr_fail(err, GR_ERR_USAGE, "the path of a run folder is too long");
}

/* ---- lines of JSON ----------------------------------------------------------------------- */

static bool take_event(struct gr_record *record, const json_t *object, struct gr_error *err)
{
    return json_is_string(json_object_get(object, "event")) && gr_record_event(record, object, err);
}

static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

static bool take_stage(struct gr_record *record, const json_t *object, struct gr_error *err)
{
    struct gr_metric pairs[MOST_PAIRS];
    size_t count = 0;
    const char *stage = json_string_value(json_object_get(object, "stage"));
    void *iterator = json_object_iter((json_t *)(uintptr_t)object);
    for (; iterator && count < MOST_PAIRS;
         iterator = json_object_iter_next((json_t *)(uintptr_t)object, iterator)) {
        const json_t *value = json_object_iter_value(iterator);
        if (json_is_number(value) || json_is_null(value))
            pairs[count++] =
                (struct gr_metric){json_object_iter_key(iterator),
                                   json_is_number(value) ? json_number_value(value) : (double)NAN};
    }
    return stage && gr_record_stage(record, stage, pairs, count, err);
}

static double not_negative(double value)
{
    return value >= 0 ? value : 0;
}

static void add_to(struct gr_record_sum *sum, const struct gr_curve_step *step)
{
    if (step->step <= sum->after)
        return;
    sum->images += step->images;
    sum->seconds += step->seconds;
    sum->wait += step->wait;
}

static bool take_step(struct gr_record *record, const json_t *object, struct gr_error *err)
{
    const double step = number(object, "step");
    if (!(step >= 1 && step < 0x1p53))
        return false;
    const struct gr_curve_step figures = {.step = (int64_t)step,
                                          .loss = number(object, "loss"),
                                          .learning_rate = number(object, "learning_rate"),
                                          .images = not_negative(number(object, "images")),
                                          .seconds = not_negative(number(object, "seconds")),
                                          .wait = not_negative(number(object, "wait_seconds"))};
    add_to(&record->sum, &figures);
    return gr_curve_add(&record->curve, &figures, err);
}

/* The next line without its newline; *whole: it had one, and room. NULL at the end. */
static const char *next_line(struct reader *reader, FILE *file, size_t *length, bool *whole)
{
    *length = 0;
    *whole = false;
    int c;
    bool any = false;
    while ((c = getc_unlocked(file)) != EOF && c != '\n') {
        any = true;
        if (*length < LINE_SIZE)
            reader->line[(*length)++] = (char)c;
    }
    *whole = c == '\n' && *length < LINE_SIZE;
    return c == EOF && !any ? NULL : reader->line;
}

static bool take_lines(struct reader *reader, FILE *file, const char *path, take_fn *take,
                       struct gr_error *err)
{
    int64_t lines = 0, bad = 0, first_bad = 0;
    size_t length;
    bool whole;
    for (const char *line; (line = next_line(reader, file, &length, &whole));) {
        struct gr_error failed = {0};
        json_t *object = whole ? gr_json_parse(line, length, 0, NULL, &failed) : NULL;
        const bool ok = json_is_object(object) && take(reader->record, object, &failed);
        json_decref(object);
        lines++;
        if (failed.status)
            return gr_fail(err, failed.status, "%s", failed.message);
        if (!ok && !bad++)
            first_bad = lines;
    }
    if (ferror(file))
        return gr_fail_system(err, GR_ERR_RUNTIME, errno, "cannot read", path);
    if (bad == 1)
        warn(reader, "%s:%" PRId64 ": the line is damaged or cut short and is left out", path,
             first_bad);
    else if (bad)
        warn(reader,
             "%s: %" PRId64 " lines are damaged and are left out, the first is line %" PRId64, path,
             bad, first_bad);
    return true;
}

/* No pipe, which would keep us waiting, and no device; what is not there will be found out. */
static bool is_readable(const char *path)
{
    struct stat status;
    return stat(path, &status) != 0 || S_ISREG(status.st_mode);
}

/* A file that is not there has no lines. */
static bool read_lines(struct reader *reader, const char *name, take_fn *take, bool *there,
                       struct gr_error *err)
{
    char path[PATH_SIZE];
    if (!path_of(reader->folder, name, path, err))
        return false;
    if (!is_readable(path))
        return gr_fail(err, GR_ERR_DATA, "%s: is no regular file", path);
    FILE *file = fopen(path, "re");
    *there = file != NULL;
    if (!file && errno != ENOENT && errno != ENOTDIR)
        return gr_fail_system(err, GR_ERR_DATA, errno, "cannot open", path);
    const bool ok = !file || take_lines(reader, file, path, take, err);
    if (file)
        fclose(file);
    return ok;
}

/* ---- the confusion matrix ---------------------------------------------------------------- */

/*
 * The next field of a CSV file into text (cut to its size), without quotes; *end is what follows
 * it: ',' '\n' or EOF. Quoted fields may hold both. True if it was quoted.
 */
static bool next_field(FILE *file, char *text, size_t size, int *end)
{
    size_t used = 0;
    int c = getc(file);
    const bool quoted = c == '"';
    if (quoted)
        c = getc(file);
    for (; c != EOF; c = getc(file)) {
        if (quoted && c == '"') {
            c = getc(file);
            if (c != '"')
                break;
        } else if (!quoted && (c == ',' || c == '\n')) {
            break;
        }
        if (used + 1 < size)
            text[used++] = (char)c;
    }
    text[used] = '\0';
    *end = c;
    return quoted;
}

/* The names in the first line, NULL for a bare number; how many, or -1: none or too many. */
static int64_t read_names(struct gr_record *record, FILE *file, const char *names[MOST_CLASSES])
{
    char text[256];
    int end;
    int64_t count = 0;
    next_field(file, text, sizeof text, &end);
    while (end == ',') {
        const bool named = next_field(file, text, sizeof text, &end);
        if (count == MOST_CLASSES ||
            (named && !(names[count] = gr_pool_strdup(&record->pool, text))))
            return -1;
        count++;
    }
    return count && end == '\n' ? count : -1;
}

static bool read_counts(FILE *file, struct gr_confusion *confusion)
{
    char text[256];
    int end;
    for (int64_t label = 0; label < confusion->classes; label++) {
        next_field(file, text, sizeof text, &end);
        for (int64_t c = 0; c < confusion->classes; c++) {
            char *tail;
            if (end != ',')
                return false;
            next_field(file, text, sizeof text, &end);
            const unsigned long long value = strtoull(text, &tail, 10);
            if (tail == text || *tail || value > UINT32_MAX)
                return false;
            confusion->counts[label * confusion->classes + c] = (uint32_t)value;
        }
        if (end != '\n')
            return false;
    }
    return true;
}

static bool read_table(struct gr_record *record, FILE *file)
{
    const char **names = calloc(MOST_CLASSES, sizeof *names);
    const int64_t classes = names ? read_names(record, file, names) : -1;
    bool ok = classes > 0 && gr_confusion_init(&record->confusion, classes, NULL) &&
              read_counts(file, &record->confusion);
    if (ok) {
        record->class_names = gr_pool_array(&record->pool, (size_t)classes, sizeof *names);
        if ((ok = record->class_names != NULL))
            memcpy(record->class_names, names, (size_t)classes * sizeof *names);
    }
    if (!ok)
        gr_confusion_release(&record->confusion);
    free(names);
    return ok;
}

static bool read_confusion(struct reader *reader, struct gr_error *err)
{
    char path[PATH_SIZE];
    if (!path_of(reader->folder, GR_CONFUSION_NAME, path, err))
        return false;
    FILE *file = is_readable(path) ? fopen(path, "re") : NULL;
    if (file && !read_table(reader->record, file))
        warn(reader, "%s: not a confusion matrix, which the report goes without", path);
    if (file)
        fclose(file);
    return true;
}

/* ---- the folder -------------------------------------------------------------------------- */

bool gr_record_read(struct gr_record *record, const char *folder, gr_log_fn *log, void *log_user,
                    struct gr_error *err)
{
    bool events, metrics = false, steps = false;
    struct reader *reader = calloc(1, sizeof *reader);
    if (!reader)
        return gr_fail_memory(err, "reading a run");
    reader->record = record;
    reader->folder = folder;
    reader->log = log;
    reader->log_user = log_user;
    bool ok = read_lines(reader, GR_RUN_NAME, take_event, &events, err) &&
              read_lines(reader, GR_METRICS_NAME, take_stage, &metrics, err) &&
              read_lines(reader, GR_STEPS_NAME, take_step, &steps, err) &&
              read_confusion(reader, err);
    if (ok && !metrics && !steps)
        ok = gr_fail(err, GR_ERR_DATA,
                     "%s: there is no %s in it: not the folder of a run, as 'train --out' makes it",
                     folder, GR_METRICS_NAME);
    else if (ok && !record->n_epochs && !record->curve.count)
        ok = gr_fail(err, GR_ERR_DATA, "%s/%s: there are no figures in it yet", folder,
                     GR_METRICS_NAME);
    free(reader);
    return ok;
}
