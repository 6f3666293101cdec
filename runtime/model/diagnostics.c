/*
 * Collecting and printing the mistakes of a model file; see diagnostics.h. The only subtle part is
 * finding the source line as libyaml counts lines, and a caret under the right character of it.
 */
#include "model/diagnostics.h"

#include <stdlib.h>
#include <string.h>

struct gr_source *gr_diagnostics_source(struct gr_diagnostics *all, const char *name,
                                        const char *text, size_t length)
{
    struct gr_source *source = gr_pool_alloc(all->pool, sizeof *source);
    char *copy = gr_pool_strdup(all->pool, name);
    if (!source || !copy)
        return NULL;
    *source = (struct gr_source){.name = copy, .text = text, .length = length};
    struct gr_source **end = &all->sources;
    for (; *end; end = &(*end)->next)
        source->order++;
    *end = source;
    return source;
}

static const struct gr_source *source_of(const struct gr_diagnostics *all, struct gr_mark mark)
{
    const struct gr_source *source = all->sources;
    while (source && source->name != mark.file)
        source = source->next;
    return source;
}

GR_PRINTF(2, 0)
static char *format_message(struct gr_pool *pool, const char *format, va_list args)
{
    struct gr_error text = {0};
    gr_failv(&text, GR_ERR_MODEL, format, args);
    for (char *c = text.message; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = ' ';
    return gr_pool_strdup(pool, text.message);
}

void gr_diagnose(struct gr_diagnostics *all, struct gr_mark mark, const struct gr_block_use *use,
                 const char *suggestion, const char *format, ...)
{
    if (all->count == GR_DIAGNOSTICS_MAX) {
        all->dropped++;
        return;
    }
    va_list args;
    va_start(args, format);
    char *message = format_message(all->pool, format, args);
    va_end(args);
    const struct gr_source *source = source_of(all, mark);
    if (!message ||
        !gr_grow((void **)&all->items, &all->capacity, all->count, sizeof *all->items)) {
        all->failed = true;
        return;
    }
    all->items[all->count] = (struct gr_diagnostic){.mark = mark,
                                                    .use = use,
                                                    .message = message,
                                                    .suggestion = suggestion,
                                                    .order = source ? source->order : 0,
                                                    .serial = all->count};
    all->count++;
}

static int by_position(const void *left, const void *right)
{
    const struct gr_diagnostic *a = left, *b = right;
    if (a->order != b->order)
        return a->order < b->order ? -1 : 1;
    if (a->mark.line != b->mark.line)
        return a->mark.line < b->mark.line ? -1 : 1;
    if (a->mark.column != b->mark.column)
        return a->mark.column < b->mark.column ? -1 : 1;
    return a->serial < b->serial ? -1 : a->serial > b->serial;
}

/* The same mistake met twice, through an alias or two uses of a block. */
static bool repeats(const struct gr_diagnostic *a, const struct gr_diagnostic *b)
{
    return a->order == b->order && a->mark.line == b->mark.line &&
           a->mark.column == b->mark.column && strcmp(a->message, b->message) == 0;
}

/* Bytes of the line break that starts at text[at]; 0: none. The breaks are YAML 1.1's. */
static size_t break_length(const struct gr_source *source, size_t at)
{
    const unsigned char *t = (const unsigned char *)source->text + at;
    const size_t left = source->length - at;
    if (left >= 2 && t[0] == '\r' && t[1] == '\n')
        return 2;
    if (left >= 1 && (t[0] == '\r' || t[0] == '\n'))
        return 1;
    if (left >= 2 && t[0] == 0xc2 && t[1] == 0x85)
        return 2;
    if (left >= 3 && t[0] == 0xe2 && t[1] == 0x80 && (t[2] == 0xa8 || t[2] == 0xa9))
        return 3;
    return 0;
}

static void find_line(const struct gr_source *source, int line, size_t *first, size_t *last)
{
    size_t at = 0;
    while (line > 1 && at < source->length) {
        const size_t width = break_length(source, at);
        line -= width > 0;
        at += width ? width : 1;
    }
    *first = at;
    while (line == 1 && at < source->length && !break_length(source, at))
        at++;
    *last = at;
}

enum { LINE_SHOWN = 160, LINE_BEFORE_CARET = 100 };

/* Appends the characters of a line from character `skip` on, then the caret's line. */
static void add_line(const struct gr_source *source, size_t first, size_t last, int column,
                     struct gr_text *out)
{
    const int skip = column > LINE_SHOWN ? column - LINE_BEFORE_CARET : 0;
    struct gr_text pad = {0};
    int character = 0; /* how many started so far */
    if (skip)
        gr_text_add(out, "...");
    for (size_t i = first; i < last && character < skip + LINE_SHOWN;) {
        const size_t length = gr_utf8_length(source->text + i, last - i);
        const char *shown = source->text + i;
        const bool tab = *shown == '\t';
        i += length ? length : 1;
        if (++character <= skip)
            continue;
        if (length == 0 || (length == 1 && !tab && (*shown < ' ' || *shown == 0x7f)))
            gr_text_add(out, "?");
        else
            gr_text_append(out, shown, length);
        if (character < column)
            gr_text_append(&pad, tab ? "\t" : " ", 1);
    }
    gr_text_add(out, "\n%s%s", skip ? "   " : "", pad.data ? pad.data : "");
    for (int i = character + 1; i < column && i < skip + LINE_SHOWN; i++)
        gr_text_add(out, " ");
    gr_text_add(out, "^");
    out->failed = out->failed || pad.failed;
    gr_text_release(&pad);
}

static void add_position(struct gr_mark mark, struct gr_text *out)
{
    gr_text_add(out, "%s", mark.file ? mark.file : "model");
    if (mark.line > 0)
        gr_text_add(out, ":%d:%d", mark.line, mark.column);
}

static void print(const struct gr_diagnostics *all, const struct gr_diagnostic *one,
                  struct gr_text *out)
{
    add_position(one->mark, out);
    gr_text_add(out, ": error: %s", one->message);
    const struct gr_source *source = source_of(all, one->mark);
    if (source && one->mark.line > 0) {
        size_t first, last;
        find_line(source, one->mark.line, &first, &last);
        gr_text_add(out, "\n");
        add_line(source, first, last, one->mark.column, out);
    }
    for (const struct gr_block_use *use = one->use; use; use = use->outer) {
        gr_text_add(out, "\n  in block '%s' used at ", use->block);
        add_position(use->mark, out);
    }
    if (one->suggestion)
        gr_text_add(out, "\n  did you mean '%s'?", one->suggestion);
}

bool gr_diagnostics_deliver(struct gr_diagnostics *all, gr_log_fn *log, void *log_user,
                            struct gr_error *err)
{
    if (all->failed)
        return gr_fail_memory(err, "noting the mistakes of a model file");
    if (all->count)
        qsort(all->items, all->count, sizeof *all->items, by_position);
    size_t kept = 0;
    for (size_t i = 0; i < all->count; i++)
        if (!kept || !repeats(&all->items[kept - 1], &all->items[i]))
            all->items[kept++] = all->items[i];
    all->count = kept;
    bool ok = true;
    for (size_t i = 0; log && ok && i < all->count; i++) {
        struct gr_text text = {0};
        print(all, &all->items[i], &text);
        ok = gr_text_ok(&text, err);
        if (ok)
            log(log_user, GR_LOG_ERROR, text.data);
        gr_text_release(&text);
    }
    return ok;
}

void gr_diagnostics_release(struct gr_diagnostics *all)
{
    free(all->items);
    all->items = NULL;
    all->count = all->capacity = 0;
}
