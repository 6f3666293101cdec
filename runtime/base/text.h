/*
 * A growing string, for messages, DOT and JSON. Running out of memory is remembered, not reported
 * at each call: ask gr_text_ok once at the end. gr_nearest and gr_plain_text are public.
 */
#ifndef GR_BASE_TEXT_H
#define GR_BASE_TEXT_H

#include "base/error.h"

#include <stddef.h>

/* Zero-initialised is the empty string. data is NUL-terminated, or NULL while empty. */
struct gr_text {
    char *data;
    size_t length, capacity;
    bool failed;
};

void gr_text_add(struct gr_text *text, const char *format, ...) GR_PRINTF(2, 3);
void gr_text_append(struct gr_text *text, const char *data, size_t length);
bool gr_text_ok(const struct gr_text *text, struct gr_error *err);
void gr_text_release(struct gr_text *text);

/* Bytes of the character of UTF-8 that text begins with; 0: none, or a broken one. */
size_t gr_utf8_length(const char *text, size_t left);

#endif
