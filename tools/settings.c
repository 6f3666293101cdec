/*
 * The lists in the settings, and the settings as they were given; see settings.h.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* strndup, open_memstream */
#endif
#include "commands.h"

#include <stdio.h>
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

static void add_word(FILE *file, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "-_=+./:,@%";
    if (*word && word[strspn(word, plain)] == '\0') {
        fputs(word, file);
        return;
    }
    fputc('\'', file);
    for (; *word; word++)
        fputs(*word == '\'' ? "'\\''" : (char[]){*word, '\0'}, file);
    fputc('\'', file);
}

char *gr_settings_command_line(const struct gr_settings *settings)
{
    char *text = NULL;
    size_t size;
    FILE *file = open_memstream(&text, &size);
    if (!file)
        return NULL;
    fprintf(file, "graph-runner %s", settings->command->name);
    for (size_t i = 0; i < settings->n_arguments; i++) {
        fputc(' ', file);
        add_word(file, settings->arguments[i]);
    }
    if (fclose(file) == 0)
        return text;
    free(text);
    return NULL;
}
