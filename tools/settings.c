/*
 * The lists in the settings; see settings.h.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* strndup */
#endif
#include "settings.h"

#include <stdlib.h>
#include <string.h>

bool gr_words_add(struct gr_words *words, const char *text, size_t length)
{
    char **items = realloc(words->items, (words->count + 1) * sizeof *items);
    if (!items)
        return false;
    words->items = items;
    items[words->count] = strndup(text, length);
    if (!items[words->count])
        return false;
    words->count++;
    return true;
}

static void words_release(struct gr_words *words)
{
    for (size_t i = 0; i < words->count; i++)
        free(words->items[i]);
    free(words->items);
    *words = (struct gr_words){0};
}

void gr_settings_release(struct gr_settings *settings)
{
    words_release(&settings->operands);
    words_release(&settings->sets);
    words_release(&settings->fetch);
    words_release(&settings->confusion);
    words_release(&settings->only);
    words_release(&settings->except);
    words_release(&settings->rename);
    words_release(&settings->freeze);
}
