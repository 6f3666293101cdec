/*
 * Two resolved models compared; see changes.h. Lists whose items have names are compared by these,
 * other lists as one value.
 */
#include "model/changes.h"

#include <string.h>

#include "base/map.h"
#include "model/document.h"

enum { TOLD = 3, VALUE_BYTES = 60 };

/* The way from the top to what is compared, the innermost first. */
struct way {
    const struct way *outer;
    const char *key;
};

struct walk {
    struct gr_pool pool;
    struct gr_text *changes;
    size_t count;
};

/* ---- telling ----------------------------------------------------------------------------- */

static void add_way(struct gr_text *text, const struct way *way)
{
    if (way->outer) {
        add_way(text, way->outer);
        gr_text_add(text, ".");
    }
    gr_text_add(text, "%s", way->key);
}

static void add_value(struct walk *walk, const struct gr_doc *doc)
{
    if (doc->type == GR_DOC_SCALAR && doc->text && *doc->text)
        gr_text_add(walk->changes, "%.*s", VALUE_BYTES, doc->text);
    else
        gr_text_add(walk->changes, "%s", gr_doc_describe(&walk->pool, doc));
}

/* When the state is saved changes no figure. */
static bool is_harmless(const struct way *way)
{
    while (way->outer && way->outer->outer)
        way = way->outer;
    return way->outer && strcmp(way->outer->key, "train") == 0 &&
           strcmp(way->key, "checkpoint") == 0;
}

/* before or after is NULL: it is not there. */
static void tell(struct walk *walk, const struct way *way, const struct gr_doc *before,
                 const struct gr_doc *after)
{
    if (is_harmless(way) || walk->count++ >= TOLD)
        return;
    gr_text_add(walk->changes, "%s", walk->count > 1 ? "; " : "");
    add_way(walk->changes, way);
    if (!before || !after) {
        gr_text_add(walk->changes, before ? " is gone" : " is new");
    } else if (before->type == after->type && before->type != GR_DOC_SCALAR) {
        gr_text_add(walk->changes, " is another list");
    } else {
        gr_text_add(walk->changes, " is ");
        add_value(walk, after);
        gr_text_add(walk->changes, ", not ");
        add_value(walk, before);
    }
}

/* ---- comparing --------------------------------------------------------------------------- */

static bool equal(const struct gr_doc *a, const struct gr_doc *b)
{
    if (a->type != b->type || a->count != b->count)
        return false;
    if (a->type == GR_DOC_SCALAR)
        return strcmp(a->text ? a->text : "", b->text ? b->text : "") == 0;
    for (size_t i = 0; i < a->count; i++) {
        const struct gr_doc *other =
            a->type == GR_DOC_SEQUENCE ? b->items[i] : gr_doc_get(b, a->pairs[i].key);
        if (!other || !equal(a->type == GR_DOC_SEQUENCE ? a->items[i] : a->pairs[i].value, other))
            return false;
    }
    return true;
}

static const char *name_of(const struct gr_doc *item)
{
    const struct gr_doc *name = gr_doc_get(item, "name");
    return name && name->type == GR_DOC_SCALAR ? name->text : NULL;
}

/* Puts the items under their names; false: one has none. */
static bool by_name(struct gr_map *map, const struct gr_doc *list)
{
    for (size_t i = 0; i < list->count; i++)
        if (!name_of(list->items[i]) || !gr_map_put(map, name_of(list->items[i]), list->items[i]))
            return false;
    return list->count > 0;
}

static void compare(struct walk *walk, const struct way *way, const struct gr_doc *before,
                    const struct gr_doc *after);

static void compare_lists(struct walk *walk, const struct way *way, const struct gr_doc *before,
                          const struct gr_doc *after)
{
    struct gr_map old = {0}, new = {0};
    if (by_name(&old, before) && by_name(&new, after)) {
        for (size_t i = 0; i < new.count; i++)
            compare(walk, &(struct way){way, new.entries[i].key},
                    gr_map_get(&old, new.entries[i].key), new.entries[i].value);
        for (size_t i = 0; i < old.count; i++)
            if (!gr_map_get(&new, old.entries[i].key))
                tell(walk, &(struct way){way, old.entries[i].key}, old.entries[i].value, NULL);
    } else if (!equal(before, after)) {
        tell(walk, way, before, after);
    }
    gr_map_release(&old);
    gr_map_release(&new);
}

static void compare_mappings(struct walk *walk, const struct way *way, const struct gr_doc *before,
                             const struct gr_doc *after)
{
    for (size_t i = 0; i < after->count; i++)
        compare(walk, &(struct way){way, after->pairs[i].key},
                gr_doc_get(before, after->pairs[i].key), after->pairs[i].value);
    for (size_t i = 0; i < before->count; i++)
        if (!gr_doc_get(after, before->pairs[i].key))
            tell(walk, &(struct way){way, before->pairs[i].key}, before->pairs[i].value, NULL);
}

/* No deeper than a document is. */
static void compare(struct walk *walk, const struct way *way, const struct gr_doc *before,
                    const struct gr_doc *after)
{
    if (!before || before->type != after->type)
        tell(walk, way, before, after);
    else if (after->type == GR_DOC_MAPPING)
        compare_mappings(walk, way, before, after);
    else if (after->type == GR_DOC_SEQUENCE)
        compare_lists(walk, way, before, after);
    else if (!equal(before, after))
        tell(walk, way, before, after);
}

static const struct gr_doc *parse(struct gr_doc_maker *maker, const char *text)
{
    const struct gr_source *source =
        gr_diagnostics_source(maker->diagnostics, "", text, strlen(text));
    const struct gr_doc *doc = source ? gr_doc_parse(maker, source, 0) : NULL;
    return doc && doc->type == GR_DOC_MAPPING ? doc : NULL;
}

void gr_resolved_changes(struct gr_text *changes, const char *before, const char *after)
{
    struct walk walk = {.changes = changes};
    struct gr_diagnostics diagnostics = {.pool = &walk.pool};
    struct gr_doc_maker old = {.pool = &walk.pool, .diagnostics = &diagnostics}, new = old;
    if (strcmp(before, after) == 0)
        return;
    const struct gr_doc *from = parse(&old, before), *to = from ? parse(&new, after) : NULL;
    if (to && !diagnostics.count && !old.failed && !new.failed)
        compare_mappings(&walk, NULL, from, to);
    if (walk.count > TOLD)
        gr_text_add(changes, "; and %zu more", walk.count - TOLD);
    gr_diagnostics_release(&diagnostics);
    gr_pool_release(&walk.pool);
}
