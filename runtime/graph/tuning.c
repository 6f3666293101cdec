/*
 * Choices by name; see tuning.h.
 */
#include "graph/tuning.h"

#include <stdlib.h>

#include "base/map.h"
#include "base/pool.h"

struct choice {
    const char *key, *text;
    double seconds;
};

struct gr_tuning {
    struct gr_pool pool;
    struct gr_map by_key;
    struct choice **choices;
    size_t count, capacity;
};

struct gr_tuning *gr_tuning_new(struct gr_error *err)
{
    struct gr_tuning *tuning = calloc(1, sizeof *tuning);
    if (!tuning)
        gr_fail_memory(err, "choices");
    return tuning;
}

void gr_tuning_free(struct gr_tuning *tuning)
{
    if (!tuning)
        return;
    free(tuning->choices);
    gr_map_release(&tuning->by_key);
    gr_pool_release(&tuning->pool);
    free(tuning);
}

const char *gr_tuning_find(const struct gr_tuning *tuning, const char *key)
{
    const struct choice *choice = gr_map_get(&tuning->by_key, key);
    return choice ? choice->text : NULL;
}

bool gr_tuning_record(struct gr_tuning *tuning, const char *key, const char *text, double seconds,
                      struct gr_error *err)
{
    struct choice *choice = gr_map_get(&tuning->by_key, key);
    const char *copy = gr_pool_strdup(&tuning->pool, text);
    if (!copy)
        return gr_fail_memory(err, "choices");
    if (!choice) {
        const char *name = gr_pool_strdup(&tuning->pool, key);
        choice = gr_pool_alloc(&tuning->pool, sizeof *choice);
        if (!name || !choice ||
            !gr_grow((void **)&tuning->choices, &tuning->capacity, tuning->count,
                     sizeof(struct choice *)) ||
            !gr_map_put(&tuning->by_key, name, choice))
            return gr_fail_memory(err, "choices");
        choice->key = name;
        tuning->choices[tuning->count++] = choice;
    }
    choice->text = copy;
    choice->seconds = seconds;
    return true;
}

size_t gr_tuning_count(const struct gr_tuning *tuning)
{
    return tuning->count;
}

const char *gr_tuning_key(const struct gr_tuning *tuning, size_t index)
{
    return tuning->choices[index]->key;
}
