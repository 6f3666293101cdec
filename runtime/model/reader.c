/*
 * Small services of a reading: noting mistakes, texts, names and keys; see reader.h.
 */
#include "model/reader.h"

#include <stdio.h>
#include <string.h>

void gr_reader_error(struct gr_reader *reader, const struct gr_doc *doc, const char *suggestion,
                     const char *format, ...)
{
    char message[1024];
    if (doc->broken)
        return;
    if (doc->unset) { /* whatever is wrong with it is because of that */
        gr_diagnose(&reader->diagnostics, doc->mark, doc->use, NULL,
                    "environment variable '%s' is not set", doc->unset);
        return;
    }
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    gr_diagnose(&reader->diagnostics, doc->mark, doc->use, suggestion, "%s", message);
}

bool gr_reader_failed(struct gr_reader *reader)
{
    if (!reader->maker.full)
        reader->maker.failed = true;
    return false;
}

bool gr_reader_is_clean(const struct gr_reader *reader)
{
    return !reader->diagnostics.count && !reader->diagnostics.failed && !reader->maker.failed &&
           !reader->maker.full;
}

const char *gr_reader_text(struct gr_reader *reader, const struct gr_doc *doc, const char *what)
{
    if (doc->type != GR_DOC_SCALAR || gr_doc_is_null(doc)) {
        gr_reader_error(reader, doc, NULL, "%s is a text, not %s", what,
                        gr_doc_describe(reader->pool, doc));
        return NULL;
    }
    if (!doc->unset)
        return doc->text;
    if (!reader->unset)
        gr_reader_error(reader, doc, NULL, "%s is not known", what);
    else if (!reader->unset->name)
        *reader->unset = (struct gr_model_unset){doc->unset, doc->mark};
    return NULL;
}

bool gr_reader_is_utf8(const char *text)
{
    const size_t length = strlen(text);
    size_t at = 0;
    while (at < length) {
        const size_t width = gr_utf8_length(text + at, length - at);
        if (!width)
            return false;
        at += width;
    }
    return true;
}

bool gr_reader_mapping(struct gr_reader *reader, const struct gr_doc *doc, const char *what)
{
    if (doc->type == GR_DOC_MAPPING)
        return true;
    gr_reader_error(reader, doc, NULL, "%s is a mapping, not %s", what,
                    gr_doc_describe(reader->pool, doc));
    return false;
}

void gr_reader_check_plain(struct gr_reader *reader, const struct gr_doc *doc, const char *what)
{
    char *plain = gr_pool_strdup(reader->pool, doc->text);
    if (!plain)
        gr_reader_failed(reader);
    else if (strcmp(gr_plain_text(plain, false), doc->text) != 0)
        gr_reader_error(reader, doc, NULL, "%s holds control characters: '%s'", what, plain);
}

enum { LONGEST_NAME = 200 };

bool gr_reader_check_name(struct gr_reader *reader, const struct gr_doc *doc, const char *what)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./-";
    const size_t length = strlen(doc->text), good = strspn(doc->text, allowed);
    if (length > LONGEST_NAME)
        gr_reader_error(reader, doc, NULL, "%s is longer than %d characters", what, LONGEST_NAME);
    else if (length == 0)
        gr_reader_error(reader, doc, NULL, "%s is empty", what);
    else if (good < length)
        gr_reader_error(reader, doc, NULL, "%s '%s' may hold letters, digits and _ . / - only",
                        what, doc->text);
    return length > 0 && length <= LONGEST_NAME && good == length;
}

/* Beyond this many mistakes suggestions cost more than they help. */
enum { SUGGESTIONS_MAX = 100 };

bool gr_reader_suggests(const struct gr_reader *reader)
{
    return reader->diagnostics.count < SUGGESTIONS_MAX;
}

const char *gr_reader_nearest(const struct gr_reader *reader, const char *word,
                              const char *const *names)
{
    size_t count = 0;
    while (names && names[count])
        count++;
    return gr_reader_suggests(reader) ? gr_nearest(word, names, count) : NULL;
}

const char *gr_reader_nearest_key(struct gr_reader *reader, const char *word,
                                  const struct gr_doc *mapping)
{
    const size_t count = mapping && mapping->type == GR_DOC_MAPPING ? mapping->count : 0;
    const char **names =
        gr_reader_suggests(reader) ? gr_pool_array(reader->pool, count + 1, sizeof *names) : NULL;
    for (size_t i = 0; names && i < count; i++)
        names[i] = mapping->pairs[i].key;
    return gr_reader_nearest(reader, word, names);
}

const char *gr_reader_nearest_of(struct gr_reader *reader, const char *word,
                                 const struct gr_map *const *maps, size_t n_maps)
{
    size_t count = 0;
    if (!gr_reader_suggests(reader))
        return NULL;
    for (size_t m = 0; m < n_maps; m++)
        count += maps[m]->count;
    const char **names = gr_pool_array(reader->pool, count + 1, sizeof *names);
    count = 0;
    for (size_t m = 0; names && m < n_maps; m++)
        for (size_t i = 0; i < maps[m]->count; i++)
            names[count++] = maps[m]->entries[i].key;
    return gr_reader_nearest(reader, word, names);
}

void gr_reader_check_keys(struct gr_reader *reader, const struct gr_doc *mapping, const char *what,
                          const char *const *names)
{
    for (size_t i = 0; i < mapping->count; i++) {
        const struct gr_doc_pair *pair = &mapping->pairs[i];
        bool known = false;
        for (size_t n = 0; names[n] && !known; n++)
            known = strcmp(names[n], pair->key) == 0;
        if (!known)
            gr_diagnose(&reader->diagnostics, pair->mark, mapping->use,
                        gr_reader_nearest(reader, pair->key, names), "%s has no key '%s'", what,
                        pair->key);
    }
}
