/*
 * JSON where memory may run out. Jansson takes that for a mistake in the text or for bytes that are
 * not UTF-8, or leaves out what there was no room for; here it is an error.
 */
#ifndef GR_BASE_JSON_H
#define GR_BASE_JSON_H

#include "base/error.h"

#include <jansson.h>

/* json_loadb. NULL: not JSON, as *problem (may be NULL) says, or no memory, as *err says. */
json_t *gr_json_parse(const char *text, size_t length, size_t flags, json_error_t *problem,
                      struct gr_error *err);

/* json_dumps, on the heap; NULL: no memory. Jansson's own may then give a part of the text. */
char *gr_json_dump(const json_t *value, size_t flags);

/* Appends the item, which is given up; if it cannot, gives up the list, too, and *list is NULL. */
void gr_json_append(json_t **list, json_t *item);

/*
 * Sets a key of the object to a text. False: the text or key is not UTF-8, or no memory, as *err
 * says.
 */
bool gr_json_set_text(json_t *object, const char *key, const char *text, struct gr_error *err);

#endif
