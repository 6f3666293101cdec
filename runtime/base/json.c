/*
 * JSON where memory may run out; see json.h. The allocator sets errno, which Jansson leaves alone.
 */
#include "base/json.h"

#include <errno.h>
#include <stdlib.h>

json_t *gr_json_parse(const char *text, size_t length, size_t flags, json_error_t *problem,
                      struct gr_error *err)
{
    errno = 0;
    json_t *value = json_loadb(text, length, flags, problem);
    if (errno != ENOMEM)
        return value;
    json_decref(value);
    gr_fail_memory(err, "JSON");
    return NULL;
}

char *gr_json_dump(const json_t *value, size_t flags)
{
    errno = 0;
    char *text = json_dumps(value, flags);
    if (errno != ENOMEM)
        return text;
    free(text);
    return NULL;
}

void gr_json_append(json_t **list, json_t *item)
{
    if (!*list) {
        json_decref(item);
    } else if (json_array_append_new(*list, item) != 0) {
        json_decref(*list);
        *list = NULL;
    }
}

bool gr_json_set_text(json_t *object, const char *key, const char *text, struct gr_error *err)
{
    errno = 0;
    if (json_object_set_new(object, key, json_string(text)) == 0)
        return true;
    return errno == ENOMEM && gr_fail_memory(err, "JSON");
}
