/*
 * --set KEY=VALUE: changes of the document before it is understood. A key is dotted; in a list a
 * part of it is an item's `name` (which may hold dots) or an index; the value is YAML. A key that
 * leads to a node inside a block waits until blocks are expanded.
 */
#include "model/reader.h"

#include <stdlib.h>
#include <string.h>

/* One override on its way down the document. Marks point into "KEY=VALUE", a source of its own. */
struct gr_override {
    struct gr_reader *reader;
    const struct gr_source *source;
    const char *key;  /* without "=VALUE" */
    const char *rest; /* of the key, from here on */
    struct gr_doc *value;
    struct gr_override *next; /* of those that wait */
};

static struct gr_mark here(const struct gr_override *set)
{
    return (struct gr_mark){set->source->name, 1, (int)(set->rest - set->key) + 1};
}

/* Notes a mistake at the current part of the key. */
static bool refuse(const struct gr_override *set, const char *suggestion, const char *what)
{
    gr_diagnose(&set->reader->diagnostics, here(set), NULL, suggestion, "%s '%.*s'", what,
                (int)strcspn(set->rest, "."), set->rest);
    return true;
}

/* Is name the next part of the key? Its length, or 0. */
static size_t matches(const struct gr_override *set, const char *name)
{
    const size_t length = strlen(name);
    const bool same = strncmp(set->rest, name, length) == 0;
    return same && (set->rest[length] == '.' || !set->rest[length]) ? length : 0;
}

static const char *name_of(const struct gr_doc *item)
{
    const struct gr_doc *name = gr_doc_get(item, "name");
    return name && name->type == GR_DOC_SCALAR ? name->text : "";
}

/* Goes past a part of that length. True if there is more. */
static bool advance(struct gr_override *set, size_t length)
{
    set->rest += length;
    if (*set->rest != '.')
        return false;
    set->rest++;
    return true;
}

static bool descend(struct gr_override *set, struct gr_doc *doc);

static bool set_pair(struct gr_override *set, struct gr_doc *mapping)
{
    struct gr_doc_pair *pair = NULL;
    size_t length = 0;
    for (size_t i = 0; i < mapping->count; i++) {
        const size_t match = matches(set, mapping->pairs[i].key);
        if (match > length) {
            length = match;
            pair = &mapping->pairs[i];
        }
    }
    const struct gr_mark mark = here(set);
    if (!pair) {
        length = strcspn(set->rest, ".");
        if (!length)
            return refuse(set, NULL, "a part of the key is empty:");
        const char *key = gr_pool_strndup(set->reader->pool, set->rest, length);
        struct gr_doc *empty = gr_doc_new(&set->reader->maker, GR_DOC_MAPPING, mark);
        if (!key || !gr_doc_put(&set->reader->maker, mapping, key, mark, empty))
            return gr_reader_failed(set->reader);
        pair = &mapping->pairs[mapping->count - 1];
    }
    if (advance(set, length))
        return descend(set, pair->value);
    pair->value = set->value;
    pair->mark = mark;
    return true;
}

static bool waits(struct gr_override *set)
{
    set->rest = set->key + strlen("nodes.");
    set->next = set->reader->waiting;
    set->reader->waiting = set;
    return true;
}

static bool set_item(struct gr_override *set, struct gr_doc *list)
{
    const bool nodes = list == gr_doc_get(set->reader->root, "nodes");
    size_t index = list->count, length = 0;
    for (size_t i = 0; i < list->count; i++) {
        const size_t match = matches(set, name_of(list->items[i]));
        if (match > length) {
            length = match;
            index = i;
        }
    }
    if (!length && *set->rest >= '0' && *set->rest <= '9') {
        char *end = NULL;
        index = strtoul(set->rest, &end, 10);
        length = *end == '.' || !*end ? (size_t)(end - set->rest) : 0;
    }
    const bool in_block = nodes && length && index < list->count && set->rest[length] == '.' &&
                          gr_doc_get(list->items[index], "block") &&
                          strchr(set->rest + length + 1, '.');
    if (in_block || (nodes && !length))
        return waits(set);
    if (!length || index >= list->count)
        return refuse(set, NULL, "the list has no item");
    if (advance(set, length))
        return descend(set, list->items[index]);
    list->items[index] = set->value;
    return true;
}

static bool descend(struct gr_override *set, struct gr_doc *doc)
{
    if (doc->type == GR_DOC_SEQUENCE)
        return set_item(set, doc);
    if (doc->type == GR_DOC_SCALAR) {
        const bool choice = matches(set, doc->text); /* `optimizer: sgd` becomes {sgd: {}} */
        if (!choice && !gr_doc_is_null(doc))
            return refuse(set, NULL, "a value stands here, which has no key");
        *doc = (struct gr_doc){.type = GR_DOC_MAPPING, .mark = doc->mark, .use = doc->use};
    }
    return set_pair(set, doc);
}

/* Reads "KEY=VALUE"; NULL: a mistake, noted, or no memory. */
static struct gr_override *override_new(struct gr_reader *reader, const char *text)
{
    struct gr_override *set = gr_pool_alloc(reader->pool, sizeof *set);
    const struct gr_source *source =
        gr_diagnostics_source(&reader->diagnostics, "--set", text, strlen(text));
    const char *equals = strchr(text, '=');
    if (!set || !source) {
        gr_reader_failed(reader);
        return NULL;
    }
    *set = (struct gr_override){.reader = reader, .source = source};
    set->key = gr_pool_strndup(reader->pool, text, equals ? (size_t)(equals - text) : 0);
    set->rest = set->key;
    if (!set->key) {
        gr_reader_failed(reader);
        return NULL;
    }
    int parts = 1;
    for (const char *c = set->key; *c; c++)
        parts += *c == '.';
    if (parts > GR_DOC_MAX_DEPTH) {
        gr_diagnose(&reader->diagnostics, (struct gr_mark){source->name, 1, 1}, NULL, NULL,
                    "the key has more than %d parts", GR_DOC_MAX_DEPTH);
        return NULL;
    }
    if (!equals || equals == text) {
        gr_diagnose(&reader->diagnostics, (struct gr_mark){source->name, 1, 1}, NULL, NULL,
                    "an override is written KEY=VALUE");
        return NULL;
    }
    const size_t before = (size_t)(equals + 1 - text);
    const size_t noted = reader->diagnostics.count;
    set->value = gr_doc_parse(&reader->maker, source, before);
    if (!set->value && noted == reader->diagnostics.count)
        set->value =
            gr_doc_scalar(&reader->maker, "", (struct gr_mark){source->name, 1, (int)before + 1});
    return set->value ? set : NULL;
}

bool gr_overrides_apply(struct gr_reader *reader, const struct gr_model_options *options)
{
    for (size_t i = 0; options && i < options->n_sets; i++) {
        struct gr_override *set = override_new(reader, options->sets[i]);
        if (set && !descend(set, reader->root))
            return false;
    }
    return !reader->maker.failed;
}

/* What of a node is settled when its block is expanded. */
static bool is_settled(const struct gr_override *set)
{
    static const char *const keys[] = {"name", "inputs", "when", "share", "block"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (matches(set, keys[i]))
            return true;
    return false;
}

/* The draft whose name begins the rest of the key, the longest such. */
static struct gr_draft *draft_for(const struct gr_override *set, size_t *length)
{
    struct gr_draft *found = NULL;
    *length = 0;
    for (size_t i = 0; i < set->reader->n_drafts; i++) {
        const size_t match = matches(set, set->reader->drafts[i].name);
        if (match > *length) {
            *length = match;
            found = &set->reader->drafts[i];
        }
    }
    return found;
}

/* No node is meant. Names hold dots: the longest head of the key that is like a name is taken. */
static bool refuse_node(const struct gr_override *set)
{
    struct gr_reader *reader = set->reader;
    const struct gr_map *const maps[] = {&reader->draft_of, &reader->alias_of};
    char *head = gr_pool_strdup(reader->pool, set->rest);
    const char *nearest = NULL;
    if (!head)
        return gr_reader_failed(reader);
    for (char *dot = strrchr(head, '.'); dot && !nearest; dot = strrchr(head, '.')) {
        *dot = '\0';
        nearest = gr_reader_nearest_of(reader, head, maps, 2);
    }
    gr_diagnose(&reader->diagnostics, here(set), NULL, nearest, "there is no node '%s'", head);
    return true;
}

bool gr_overrides_apply_waiting(struct gr_reader *reader)
{
    bool ok = true;
    for (struct gr_override *set = reader->waiting; ok && set; set = set->next) {
        size_t length;
        struct gr_draft *draft = draft_for(set, &length);
        if (!draft)
            ok = refuse_node(set);
        else if (!draft->doc)
            continue;
        else if (advance(set, length) && is_settled(set))
            ok = refuse(set, NULL, "of a node inside a block one cannot set");
        else if (*set->rest)
            ok = gr_variables_environment(reader, set->value) && descend(set, draft->doc);
    }
    return ok;
}
