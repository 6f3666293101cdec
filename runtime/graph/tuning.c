/*
 * Choices by name; see tuning.h.
 */
#include "graph/tuning.h"

#include <stdlib.h>

#include "base/map.h"
#include "base/pool.h"

struct gr_tuning {
    struct gr_pool pool;
    struct gr_map by_key;
    struct gr_tuning_entry **entries;
    size_t count, capacity;
    bool measure, news;
    gr_tuning_report_fn *report;
    void *user;
};

struct gr_tuning *gr_tuning_new(bool measure, struct gr_error *err)
{
    struct gr_tuning *tuning = calloc(1, sizeof *tuning);
    if (tuning)
        tuning->measure = measure;
    else
        gr_fail_memory(err, "choices");
    return tuning;
}

void gr_tuning_free(struct gr_tuning *tuning)
{
    if (!tuning)
        return;
    free(tuning->entries);
    gr_map_release(&tuning->by_key);
    gr_pool_release(&tuning->pool);
    free(tuning);
}

bool gr_tuning_measures(const struct gr_tuning *tuning)
{
    return tuning && tuning->measure;
}

void gr_tuning_set_report(struct gr_tuning *tuning, gr_tuning_report_fn *report, void *user)
{
    tuning->report = report;
    tuning->user = user;
}

bool gr_tuning_begin(const struct gr_tuning *tuning, const char *what, struct gr_error *err)
{
    return !tuning->report || tuning->report(tuning->user, what, NULL) ||
           gr_fail(err, GR_ERR_RUNTIME,
                   "stopped while kernels were chosen, before '%s'; what was found so far is kept",
                   what);
}

void gr_tuning_report(const struct gr_tuning *tuning, const char *what, const char *result)
{
    if (tuning->report)
        tuning->report(tuning->user, what, result);
}

const char *gr_tuning_find(struct gr_tuning *tuning, const char *key)
{
    struct gr_tuning_entry *entry = gr_map_get(&tuning->by_key, key);
    if (entry)
        entry->used = true;
    return entry ? entry->choice : NULL;
}

double gr_tuning_seconds(const struct gr_tuning *tuning, const char *key)
{
    const struct gr_tuning_entry *entry = gr_map_get(&tuning->by_key, key);
    return entry ? entry->seconds : -1;
}

bool gr_tuning_record(struct gr_tuning *tuning, const char *key, const char *choice, double seconds,
                      enum gr_tuning_origin origin, struct gr_error *err)
{
    struct gr_tuning_entry *entry = gr_map_get(&tuning->by_key, key);
    const char *copy = gr_pool_strdup(&tuning->pool, choice);
    if (!copy)
        return gr_fail_memory(err, "choices");
    if (!entry) {
        const char *name = gr_pool_strdup(&tuning->pool, key);
        entry = gr_pool_alloc(&tuning->pool, sizeof *entry);
        if (!name || !entry ||
            !gr_grow((void **)&tuning->entries, &tuning->capacity, tuning->count,
                     sizeof(struct gr_tuning_entry *)) ||
            !gr_map_put(&tuning->by_key, name, entry))
            return gr_fail_memory(err, "choices");
        entry->key = name;
        tuning->entries[tuning->count++] = entry;
    }
    entry->choice = copy;
    entry->seconds = seconds;
    entry->origin = origin;
    entry->used = entry->used || origin != GR_TUNING_READ;
    tuning->news = tuning->news || origin != GR_TUNING_READ;
    return true;
}

size_t gr_tuning_count(const struct gr_tuning *tuning)
{
    return tuning->count;
}

struct gr_tuning_entry gr_tuning_entry(const struct gr_tuning *tuning, size_t index)
{
    return *tuning->entries[index];
}

bool gr_tuning_take_news(struct gr_tuning *tuning)
{
    const bool news = tuning->news;
    tuning->news = false;
    return news;
}
