/*
 * Looking through a set of images; see survey.h. Threads note what they find at each sample's
 * place; what is reported is put together afterwards, so that it is the same for any number of
 * threads.
 */
#define _DEFAULT_SOURCE
#include "data/survey.h"

#include "base/clock.h"
#include "base/parallel.h"
#include "data/decode.h"
#include "data/orientation.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { THREADS_MAX = 64, NAME = 1024 };

const char *gr_data_trait_name(enum gr_data_trait trait)
{
    static const char *const names[GR_DATA_TRAITS] = {[GR_DATA_UNREADABLE] = "unreadable",
                                                      [GR_DATA_DUPLICATE] = "duplicate",
                                                      [GR_DATA_TINY] = "tiny",
                                                      [GR_DATA_DISGUISED] = "disguised",
                                                      [GR_DATA_TURNED] = "turned",
                                                      [GR_DATA_CMYK] = "cmyk",
                                                      [GR_DATA_GREY] = "grey"};
    return names[trait];
}

/* What was noted of a sample. */
struct note {
    uint64_t hash;
    int64_t height, width;
    char *message; /* heap; why it is unreadable */
    uint8_t orientation;
    bool grey, cmyk, disguised;
};

struct survey {
    const struct gr_survey_options *options;
    struct note *notes; /* [samples] */
    struct gr_source_scratch scratch[THREADS_MAX];
    atomic_int_fast64_t done, bytes;
    atomic_bool failed;
    struct gr_error err; /* of the first thread that failed */
    double start;
};

/* ---- one image --------------------------------------------------------------------------- */

/* 64 bits that differ where the bytes do, but for once in 2^64. */
static uint64_t hash_of(const uint8_t *bytes, size_t size)
{
    uint64_t hash = size * 0x9e3779b97f4a7c15u, word;
    for (; size; bytes += sizeof word) {
        const size_t some = size < sizeof word ? size : sizeof word;
        word = 0;
        memcpy(&word, bytes, some);
        size -= some;
        hash = (hash ^ word) * 0xbf58476d1ce4e5b9u;
        hash ^= hash >> 29;
    }
    return hash ? hash : 1;
}

static bool named_png(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot && strcasecmp(dot, ".png") == 0;
}

/* Decodes all of it, at an eighth of its size where that saves work, and notes what it is. */
static bool look(struct survey *survey, int thread, int64_t i, struct note *note,
                 struct gr_error *err)
{
    static const struct gr_source_target smallest = {.shortest = 1};
    const struct gr_survey_options *o = survey->options;
    struct gr_source_scratch *scratch = &survey->scratch[thread];
    struct gr_image_facts facts;
    struct gr_view view;
    char name[NAME];
    size_t size;
    if (!o->source->load(o->samples, i, scratch, &size, err))
        return false;
    atomic_fetch_add(&survey->bytes, (int_fast64_t)size);
    note->hash = hash_of(scratch->file.data, size);
    if (!gr_image_inspect(scratch->file.data, size, &facts, err) ||
        !gr_image_decode(scratch->file.data, size, 3, &smallest, &scratch->pixels, &view, err))
        return false;
    o->source->name(o->samples, i, name, sizeof name);
    note->height = facts.height;
    note->width = facts.width;
    note->orientation = (uint8_t)facts.orientation;
    note->grey = facts.grey;
    note->cmyk = facts.cmyk;
    note->disguised = named_png(name) != (strcmp(facts.format, "PNG") == 0);
    return true;
}

static bool report_progress(struct survey *survey)
{
    const struct gr_survey_options *o = survey->options;
    const int64_t done = atomic_load(&survey->done), count = o->samples->count;
    const double passed = gr_seconds() - survey->start;
    const double left = passed / (double)done * (double)(count - done);
    return !o->progress || o->progress(o->progress_user, o->name, done, count, left);
}

/* What is not the image's fault ends the work; so does want of memory to say what is. */
static bool stop(struct survey *survey, const struct gr_error *err)
{
    if (atomic_exchange(&survey->failed, true))
        return false;
    if (err->status == GR_ERR_DATA)
        return gr_fail_memory(&survey->err, "looking through data");
    survey->err = *err;
    return false;
}

static bool look_at(void *user, int thread, int64_t i)
{
    struct survey *survey = user;
    struct note *note = &survey->notes[i];
    struct gr_error err = {0};
    if (!look(survey, thread, i, note, &err)) {
        note->message = err.status == GR_ERR_DATA ? strdup(err.message) : NULL;
        if (!note->message)
            return stop(survey, &err);
    }
    atomic_fetch_add(&survey->done, 1);
    return thread != 0 || report_progress(survey);
}

/* ---- the findings ------------------------------------------------------------------------ */

void gr_seen_release(struct gr_seen_images *seen)
{
    gr_pool_release(&seen->pool);
    free(seen->items);
    *seen = (struct gr_seen_images){0};
}

/* A place to look a hash up: open addressing over indices of seen->items plus one. */
struct lookup {
    size_t *slots, size;
};

static bool lookup_init(struct lookup *lookup, const struct gr_seen_images *seen, size_t more)
{
    lookup->size = 16;
    while (lookup->size < 2 * (seen->count + more))
        lookup->size *= 2;
    lookup->slots = calloc(lookup->size, sizeof *lookup->slots);
    for (size_t i = 0; lookup->slots && i < seen->count; i++) {
        size_t at = seen->items[i].hash & (lookup->size - 1);
        while (lookup->slots[at])
            at = (at + 1) & (lookup->size - 1);
        lookup->slots[at] = i + 1;
    }
    return lookup->slots != NULL;
}

/* The slot of a hash: that of an image seen, or an empty one. */
static size_t *lookup_slot(const struct lookup *lookup, const struct gr_seen_images *seen,
                           uint64_t hash)
{
    size_t at = hash & (lookup->size - 1);
    while (lookup->slots[at] && seen->items[lookup->slots[at] - 1].hash != hash)
        at = (at + 1) & (lookup->size - 1);
    return &lookup->slots[at];
}

struct reporting {
    const struct gr_survey_options *options;
    struct gr_pool *pool;
    struct gr_seen_images *seen;
    struct lookup lookup;
    struct gr_data_report *report;
    struct gr_data_finding *findings; /* heap */
    size_t capacity;
};

static bool add(struct reporting *r, enum gr_data_trait trait, const char *name, const char *text)
{
    void *items = r->findings;
    if (!name || !gr_grow(&items, &r->capacity, r->report->n_findings, sizeof *r->findings))
        return false;
    r->findings = items;
    r->findings[r->report->n_findings++] = (struct gr_data_finding){trait, name, text};
    r->report->traits[trait]++;
    return true;
}

/* Notes the image as seen, unless it has been. False: out of memory. */
static bool meet(struct reporting *r, const struct note *note, const char *name)
{
    size_t *slot = lookup_slot(&r->lookup, r->seen, note->hash);
    if (*slot)
        return add(r, GR_DATA_DUPLICATE, gr_pool_strdup(r->pool, name),
                   r->seen->items[*slot - 1].name);
    void *items = r->seen->items;
    const char *copy = gr_pool_strdup(&r->seen->pool, name);
    if (!copy || !gr_grow(&items, &r->seen->capacity, r->seen->count, sizeof *r->seen->items))
        return false;
    r->seen->items = items;
    r->seen->items[r->seen->count++] = (struct gr_seen){note->hash, copy};
    *slot = r->seen->count;
    return true;
}

/* What is wrong, without the name, which stands beside it. */
static const char *reason(const char *message, const char *name)
{
    const size_t length = strlen(name);
    const bool named =
        strncmp(message, name, length) == 0 && strncmp(message + length, ": ", 2) == 0;
    return named ? message + length + 2 : message;
}

static bool report_image(struct reporting *r, const struct note *note, const char *name)
{
    const struct gr_survey_options *o = r->options;
    struct gr_pool *pool = r->pool;
    const char *own = name;
    const bool tiny = note->height < o->height || note->width < o->width;
    if (note->message)
        return add(r, GR_DATA_UNREADABLE, gr_pool_strdup(pool, own),
                   gr_pool_strdup(pool, reason(note->message, own)));
    return meet(r, note, own) &&
           (!tiny ||
            add(r, GR_DATA_TINY, gr_pool_strdup(pool, own),
                gr_pool_printf(pool, "%" PRId64 "×%" PRId64, note->height, note->width))) &&
           (!note->disguised || add(r, GR_DATA_DISGUISED, gr_pool_strdup(pool, own),
                                    named_png(own) ? "a JPEG file" : "a PNG file")) &&
           (note->orientation == GR_UPRIGHT ||
            add(r, GR_DATA_TURNED, gr_pool_strdup(pool, own),
                gr_pool_printf(pool, "orientation %d", note->orientation))) &&
           (!note->cmyk || add(r, GR_DATA_CMYK, gr_pool_strdup(pool, own), NULL)) &&
           (!note->grey || add(r, GR_DATA_GREY, gr_pool_strdup(pool, own), NULL));
}

static bool report_images(struct reporting *r, const struct note *notes)
{
    const struct gr_survey_options *o = r->options;
    const size_t count = (size_t)o->samples->count;
    bool done = lookup_init(&r->lookup, r->seen, count);
    for (size_t i = 0; done && i < count; i++) {
        char name[NAME];
        o->source->name(o->samples, (int64_t)i, name, sizeof name);
        done = report_image(r, &notes[i], name);
    }
    struct gr_data_finding *kept =
        done ? gr_pool_array(r->pool, r->report->n_findings, sizeof *kept) : NULL;
    if (kept && r->findings)
        memcpy(kept, r->findings, r->report->n_findings * sizeof *kept);
    r->report->findings = kept;
    free(r->findings);
    free(r->lookup.slots);
    return kept != NULL;
}

/* ---- classes ----------------------------------------------------------------------------- */

static int by_number(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static bool report_classes(const struct gr_samples *samples, struct gr_pool *pool,
                           struct gr_data_report *report)
{
    const size_t classes = (size_t)samples->classes;
    int64_t *counts = gr_pool_array(pool, classes, sizeof *counts);
    int64_t *sorted = gr_pool_array(pool, classes, sizeof *sorted);
    const char **names = gr_pool_array(pool, classes, sizeof *names);
    if (!counts || !sorted || !names)
        return false;
    for (int64_t i = 0; i < samples->count; i++)
        if (samples->labels[i] < samples->classes)
            counts[samples->labels[i]]++;
    for (size_t c = 0; c < classes; c++) {
        report->empty += counts[c] == 0;
        sorted[c] = counts[c];
        if (samples->class_names && !(names[c] = gr_pool_strdup(pool, samples->class_names[c])))
            return false;
    }
    report->classes = samples->classes;
    report->class_images = counts;
    report->class_names = samples->class_names ? names : NULL;
    if (!classes)
        return true;
    qsort(sorted, classes, sizeof *sorted, by_number);
    report->least = sorted[0];
    report->median = sorted[classes / 2];
    report->most = sorted[classes - 1];
    return true;
}

/* ---- all of it --------------------------------------------------------------------------- */

/* Reads every image. False: stopped, or *err is set. */
static bool look_through(struct survey *survey, struct gr_error *err)
{
    const struct gr_survey_options *o = survey->options;
    const int threads = o->threads < THREADS_MAX ? o->threads : THREADS_MAX;
    const bool done = gr_parallel(o->samples->count, threads, look_at, survey);
    for (int i = 0; i < THREADS_MAX; i++) {
        gr_buffer_release(&survey->scratch[i].file);
        gr_buffer_release(&survey->scratch[i].pixels);
    }
    if (atomic_load(&survey->failed))
        gr_fail(err, survey->err.status, "%s", survey->err.message);
    return done;
}

bool gr_survey(const struct gr_survey_options *options, struct gr_seen_images *seen,
               struct gr_pool *pool, struct gr_data_report *report, struct gr_error *err)
{
    const struct gr_samples *samples = options->samples;
    struct survey survey = {.options = options, .start = gr_seconds()};
    struct reporting reporting = {.options = options, .pool = pool, .seen = seen, .report = report};
    *report = (struct gr_data_report){.name = gr_pool_strdup(pool, options->name),
                                      .has_files = options->source->load != NULL,
                                      .height = options->height,
                                      .width = options->width,
                                      .images = samples->count};
    survey.notes = calloc((size_t)samples->count, sizeof *survey.notes);
    bool done = (survey.notes && report->name && report_classes(samples, pool, report)) ||
                gr_fail_memory(err, "looking through data");
    if (report->has_files) {
        done = done && look_through(&survey, err);
        done = done && (report_images(&reporting, survey.notes) ||
                        gr_fail_memory(err, "looking through data"));
    }
    for (int64_t i = 0; survey.notes && i < samples->count; i++)
        free(survey.notes[i].message);
    free(survey.notes);
    report->bytes = atomic_load(&survey.bytes);
    report->seconds = gr_seconds() - survey.start;
    return done;
}
