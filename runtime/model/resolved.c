/*
 * A document -> YAML that reads as the same document: the file a run keeps beside its results. The
 * sections stand in block form, each node, input, part or class name on a line of its own in flow
 * form, broken where it grows long.
 */
#include "model/reader.h"

#include <string.h>

enum { LINE_LENGTH = 96 };

struct writer {
    struct gr_text text;
    size_t line_start;
    size_t indent; /* of a broken flow line */
    bool unbroken; /* everything on one line */
};

/* One character of UTF-8 at *at, which moves behind it. Broken bytes come out as themselves. */
static unsigned next_character(const unsigned char **at)
{
    const unsigned char *c = *at;
    const int more = *c >= 0xf0 ? 3 : *c >= 0xe0 ? 2 : *c >= 0xc0 ? 1 : 0;
    unsigned value = more == 3 ? *c & 7u : more == 2 ? *c & 15u : more == 1 ? *c & 31u : *c;
    int i = 1;
    for (; i <= more && (c[i] & 0xc0) == 0x80; i++)
        value = value << 6 | (c[i] & 63u);
    *at = c + i;
    return value;
}

static void add_double_quoted(struct writer *w, const char *text, bool raw)
{
    const unsigned char *at = (const unsigned char *)text;
    gr_text_add(&w->text, "\"");
    while (*at) {
        const unsigned char *start = at;
        const unsigned c = next_character(&at);
        const bool opens = c == '$' && (*at == '{' || *at == '(') && !raw;
        if (c == '"' || c == '\\')
            gr_text_add(&w->text, "\\%c", (int)c);
        else if (c == '\n')
            gr_text_add(&w->text, "\\n");
        else if (c < ' ' || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029 || c == 0xfeff)
            gr_text_add(&w->text, "\\u%04X", c);
        else
            gr_text_append(&w->text, (const char *)start, (size_t)(at - start));
        if (opens) /* "${" and "$(" would be replaced when read again */
            gr_text_add(&w->text, "$");
    }
    gr_text_add(&w->text, "\"");
}

/* Is the text safe without quotes wherever it stands? */
static bool is_simple(const char *text)
{
    static const char simple[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./+-";
    return *text && strspn(text, simple) == strlen(text) && strcmp(text, "-") != 0 &&
           strncmp(text, "---", 3) != 0 && strncmp(text, "...", 3) != 0;
}

/* Would a reader take the plain text for something other than a text? */
static bool looks_typed(const char *text)
{
    static const char *const words[] = {"true", "false", "null", "required", "~"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(text, words[i]) == 0)
            return true;
    return strchr("+-.0123456789", *text) != NULL;
}

static void add_scalar(struct writer *w, const struct gr_doc *doc)
{
    if (gr_doc_is_null(doc))
        gr_text_add(&w->text, "null");
    else if (is_simple(doc->text) && (doc->plain || !looks_typed(doc->text)))
        gr_text_add(&w->text, "%s", doc->text);
    else
        add_double_quoted(w, doc->text, doc->unset != NULL);
}

static void add_key(struct writer *w, const char *key)
{
    if (is_simple(key))
        gr_text_add(&w->text, "%s", key);
    else
        add_double_quoted(w, key, true);
    gr_text_add(&w->text, ": ");
}

static void add_newline(struct writer *w, size_t indent)
{
    gr_text_add(&w->text, "\n");
    w->line_start = w->text.length;
    for (size_t i = 0; i < indent; i++)
        gr_text_add(&w->text, " ");
}

static void add_flow(struct writer *w, const struct gr_doc *doc);

/* How long the entry is on one line. */
static size_t measure(struct writer *w, const char *key, const struct gr_doc *value)
{
    struct writer probe = {.unbroken = true};
    if (key)
        add_key(&probe, key);
    add_flow(&probe, value);
    const size_t length = probe.text.length;
    w->text.failed = w->text.failed || probe.text.failed;
    gr_text_release(&probe.text);
    return length;
}

/* One entry of a flow list or mapping, on a new line if this one would grow too long. */
static void add_entry(struct writer *w, bool first, const char *key, const struct gr_doc *value)
{
    const size_t column = w->text.length - w->line_start;
    if (!first)
        gr_text_add(&w->text, ",");
    if (!first && !w->unbroken && column + measure(w, key, value) + 2 > LINE_LENGTH)
        add_newline(w, w->indent);
    else if (!first)
        gr_text_add(&w->text, " ");
    if (key)
        add_key(w, key);
    add_flow(w, value);
}

static void add_flow(struct writer *w, const struct gr_doc *doc)
{
    if (doc->type == GR_DOC_SCALAR) {
        add_scalar(w, doc);
        return;
    }
    const bool list = doc->type == GR_DOC_SEQUENCE;
    gr_text_add(&w->text, list ? "[" : "{");
    for (size_t i = 0; i < doc->count; i++)
        add_entry(w, i == 0, list ? NULL : doc->pairs[i].key,
                  list ? doc->items[i] : doc->pairs[i].value);
    gr_text_add(&w->text, list ? "]" : "}");
}

/* A section's entries, one a line. */
static void add_section(struct writer *w, const struct gr_doc *doc)
{
    w->indent = doc->type == GR_DOC_SEQUENCE ? 5 : 6;
    for (size_t i = 0; i < doc->count; i++) {
        add_newline(w, 2);
        if (doc->type == GR_DOC_SEQUENCE)
            gr_text_add(&w->text, "- ");
        else
            add_key(w, doc->pairs[i].key);
        add_flow(w, doc->type == GR_DOC_SEQUENCE ? doc->items[i] : doc->pairs[i].value);
    }
}

char *gr_resolved_text(const struct gr_doc *root)
{
    struct writer w = {0};
    for (size_t i = 0; i < root->count; i++) {
        const struct gr_doc_pair *pair = &root->pairs[i];
        if (pair->key[0] == '.' || strcmp(pair->key, "blocks") == 0 ||
            strcmp(pair->key, "vars") == 0)
            continue;
        if (w.text.length)
            add_newline(&w, 0);
        add_key(&w, pair->key);
        if (pair->value->type == GR_DOC_SCALAR || pair->value->count == 0) {
            add_flow(&w, pair->value);
        } else {
            w.text.length--; /* the space behind the key */
            add_section(&w, pair->value);
        }
    }
    gr_text_add(&w.text, "\n");
    if (w.text.failed)
        gr_text_release(&w.text);
    return w.text.data;
}
