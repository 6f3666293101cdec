/*
 * Names of classes that travel; see class_names.h.
 */
#include "model/class_names.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/map.h"

void gr_class_names_release(struct gr_class_names *names)
{
    gr_pool_release(&names->pool);
    *names = (struct gr_class_names){0};
}

bool gr_class_names_set(struct gr_class_names *names, const char *const *items, int64_t count,
                        struct gr_error *err)
{
    struct gr_class_names made = {.count = count, .of_training = names->of_training};
    made.items = gr_pool_array(&made.pool, (size_t)count, sizeof *made.items);
    bool done = made.items != NULL;
    for (int64_t i = 0; done && i < count; i++) {
        made.items[i] = items[i] ? gr_pool_strdup(&made.pool, items[i]) : NULL;
        done = made.items[i] || !items[i];
    }
    if (!done) {
        gr_class_names_release(&made);
        return gr_fail_memory(err, "names of classes");
    }
    gr_class_names_release(names);
    *names = made;
    return true;
}

/* A string of JSON even where the name, which may be that of a folder, is no UTF-8. */
static json_t *text_json(const char *name)
{
    errno = 0;
    json_t *json = json_string(name);
    if (json || errno == ENOMEM)
        return json;
    char *copy = malloc(strlen(name) + 1);
    if (!copy)
        return NULL;
    strcpy(copy, name);
    for (char *c = copy; *c; c++)
        if (*c & 0x80)
            *c = '?';
    json = json_string(copy);
    free(copy);
    return json;
}

char *gr_class_names_text(const struct gr_class_names *names)
{
    json_t *list = json_array();
    bool done = list != NULL;
    for (int64_t i = 0; done && i < names->count; i++)
        done = json_array_append_new(list, names->items[i] ? text_json(names->items[i])
                                                           : json_null()) == 0;
    char *text = done ? gr_json_dump(list, JSON_COMPACT) : NULL;
    json_decref(list);
    return text;
}

bool gr_class_names_parse(struct gr_class_names *names, const char *text, int64_t most,
                          struct gr_error *err)
{
    struct gr_error failed = {0};
    json_t *list = text ? gr_json_parse(text, strlen(text), 0, NULL, &failed) : NULL;
    const size_t count = json_array_size(list);
    const char **items = calloc(count + 1, sizeof *items);
    bool sound = count && (int64_t)count <= most, done = !failed.status;
    for (size_t i = 0; items && sound && i < count; i++) {
        const json_t *item = json_array_get(list, i);
        items[i] = json_string_value(item);
        sound = items[i] || json_is_null(item);
    }
    if (!items || failed.status)
        done = gr_fail_memory(err, "names of classes");
    else if (sound)
        done = gr_class_names_set(names, items, (int64_t)count, err);
    free(items);
    json_decref(list);
    return done;
}

int64_t gr_class_names_misplaced(const struct gr_class_names *names, const char *const *items,
                                 int64_t count, int64_t *at)
{
    struct gr_map places = {0};
    int64_t found = -1;
    for (int64_t i = 0; i < names->count; i++)
        if (names->items[i] && !gr_map_get(&places, names->items[i]))
            gr_map_put(&places, names->items[i], &names->items[i]);
    for (int64_t i = 0; found < 0 && i < count; i++) {
        const char *known = i < names->count ? names->items[i] : NULL;
        if (!items[i] || (known && strcmp(known, items[i]) == 0))
            continue;
        const char **place = gr_map_get(&places, items[i]);
        found = place ? place - names->items : -1;
        *at = i;
    }
    gr_map_release(&places);
    return found;
}
