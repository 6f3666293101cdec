/*
 * Attribute structs from documents: the one place that reads attributes, by the tables of
 * base/kind.h. The one switch over attribute types in writing direction is here.
 */
#define _POSIX_C_SOURCE 200809L
#include "model/reader.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- numbers ----------------------------------------------------------------------------- */

bool gr_scalar_int(const struct gr_doc *doc, int64_t *value)
{
    if (doc->type != GR_DOC_SCALAR || !doc->plain || doc->unset)
        return false;
    const char *digits = doc->text + (*doc->text == '-' || *doc->text == '+');
    if (!*digits || strspn(digits, "0123456789") != strlen(digits))
        return false;
    errno = 0;
    *value = strtoll(doc->text, NULL, 10);
    return errno == 0;
}

bool gr_scalar_float(const struct gr_doc *doc, double *value)
{
    if (doc->type != GR_DOC_SCALAR || !doc->plain || doc->unset || !*doc->text ||
        strspn(doc->text, "+-.0123456789eE") != strlen(doc->text))
        return false;
    char *end = NULL;
    *value = strtod(doc->text, &end);
    return !*end && isfinite(*value);
}

/* ---- one attribute ----------------------------------------------------------------------- */

struct attribute {
    struct gr_reader *reader;
    const struct gr_attr *attr;
    struct gr_doc *doc;
    bool ok;
};

static void mistake(struct attribute *a, const struct gr_doc *doc, const char *takes)
{
    gr_reader_error(a->reader, doc, NULL, "'%s' takes %s, not %s", a->attr->name, takes,
                    gr_doc_describe(a->reader->pool, doc));
    a->ok = false;
}

static bool in_range(struct attribute *a, const struct gr_doc *doc, double value)
{
    const double min = a->attr->min, max = a->attr->max;
    if ((min == 0 && max == 0) || (value >= min && value <= max))
        return true;
    a->ok = false;
    if (value < min && (max >= 1e9 || max < min))
        gr_reader_error(a->reader, doc, NULL, "'%s' is at least %g, not %s", a->attr->name, min,
                        doc->text);
    else
        gr_reader_error(a->reader, doc, NULL, "'%s' is from %.10g to %.10g, not %s", a->attr->name,
                        min, max, doc->text);
    return false;
}

/* An unset variable is told (or noted for the data section) in place of a wrong type. */
static bool is_set(struct attribute *a, const struct gr_doc *doc)
{
    if (doc->type != GR_DOC_SCALAR || !doc->unset)
        return true;
    gr_reader_text(a->reader, doc, a->attr->name);
    a->ok = a->ok && a->reader->unset;
    return false;
}

static int64_t read_int(struct attribute *a, const struct gr_doc *doc, const char *takes)
{
    int64_t value = 0;
    if (!is_set(a, doc))
        return 0;
    if (!gr_scalar_int(doc, &value))
        mistake(a, doc, takes);
    else
        in_range(a, doc, (double)value);
    return value;
}

static double read_float(struct attribute *a, const struct gr_doc *doc, const char *takes)
{
    double value = 0;
    if (!is_set(a, doc))
        return 0;
    if (!gr_scalar_float(doc, &value))
        mistake(a, doc, takes);
    else
        in_range(a, doc, value);
    return value;
}

static void read_bool(struct attribute *a, bool *field)
{
    const struct gr_doc *doc = a->doc;
    if (!is_set(a, doc))
        return;
    if (doc->type == GR_DOC_SCALAR && doc->plain && strcmp(doc->text, "true") == 0)
        *field = true;
    else if (doc->type == GR_DOC_SCALAR && doc->plain && strcmp(doc->text, "false") == 0)
        *field = false;
    else
        mistake(a, doc, "true or false");
}

static void read_enum(struct attribute *a, int *field)
{
    size_t count = 0;
    struct gr_text list = {0};
    if (!is_set(a, a->doc))
        return;
    for (; a->attr->choices[count]; count++)
        gr_text_add(&list, "%s%s", count ? " or " : "", a->attr->choices[count]);
    bool found = false;
    for (size_t i = 0; a->doc->type == GR_DOC_SCALAR && i < count; i++)
        if (strcmp(a->attr->choices[i], a->doc->text) == 0) {
            *field = (int)i;
            found = true;
        }
    const char *nearest =
        a->doc->type == GR_DOC_SCALAR ? gr_nearest(a->doc->text, a->attr->choices, count) : NULL;
    if (!found) {
        gr_reader_error(a->reader, a->doc, nearest, "'%s' takes %s, not %s", a->attr->name,
                        list.data ? list.data : "a choice",
                        gr_doc_describe(a->reader->pool, a->doc));
        a->ok = false;
    }
    gr_text_release(&list);
}

/* One number for all; two of four are height and width, each for both sides. */
static void read_sizes(struct attribute *a, int64_t *field, size_t count)
{
    const char *takes = count == 2 ? "an integer or [height, width]"
                                   : "an integer, [height, width] or [top, left, bottom, right]";
    const struct gr_doc *doc = a->doc;
    if (doc->type != GR_DOC_SEQUENCE) {
        const int64_t value = read_int(a, doc, takes);
        for (size_t i = 0; i < count; i++)
            field[i] = value;
        return;
    }
    if (doc->count != count && doc->count != 2) {
        gr_reader_error(a->reader, doc, NULL, "'%s' takes %s, not a list of %zu", a->attr->name,
                        takes, doc->count);
        a->ok = false;
        return;
    }
    for (size_t i = 0; i < count; i++)
        field[i] = read_int(a, doc->items[i % doc->count], takes);
}

static bool check_length(struct attribute *a, const struct gr_doc *doc)
{
    if (doc->count <= GR_ATTR_LIST_MAX)
        return true;
    gr_reader_error(a->reader, doc, NULL, "'%s' takes at most %d numbers, not %zu", a->attr->name,
                    GR_ATTR_LIST_MAX, doc->count);
    a->ok = false;
    return false;
}

static bool read_ints(struct attribute *a, struct gr_ints *field)
{
    if (a->doc->type != GR_DOC_SEQUENCE) {
        if (is_set(a, a->doc))
            mistake(a, a->doc, "a list of integers");
        return true;
    }
    if (!check_length(a, a->doc))
        return true;
    int64_t *items = gr_pool_array(a->reader->pool, a->doc->count, sizeof *items);
    for (size_t i = 0; items && i < a->doc->count; i++)
        items[i] = read_int(a, a->doc->items[i], "a list of integers");
    *field = (struct gr_ints){(int)a->doc->count, items};
    return items || gr_reader_failed(a->reader);
}

static bool read_floats(struct attribute *a, struct gr_floats *field)
{
    const bool list = a->doc->type == GR_DOC_SEQUENCE;
    if (list && !check_length(a, a->doc))
        return true;
    const size_t count = list ? a->doc->count : 1;
    double *items = gr_pool_array(a->reader->pool, count, sizeof *items);
    for (size_t i = 0; items && i < count; i++)
        items[i] = read_float(a, list ? a->doc->items[i] : a->doc, "a number or a list of numbers");
    *field = (struct gr_floats){(int)count, items};
    return items || gr_reader_failed(a->reader);
}

const char *gr_reader_path(struct gr_reader *reader, const char *folder, struct gr_doc *doc)
{
    char here[4096];
    const char *written = doc->text;
    if (*written == '/' || !*written)
        return written;
    const char *path =
        strcmp(folder, ".") == 0 ? written : gr_pool_printf(reader->pool, "%s/%s", folder, written);
    const char *whole = path;
    if (path && *path != '/' && getcwd(here, sizeof here))
        whole = gr_pool_printf(reader->pool, "%s/%s", here, path);
    if (!path || !whole)
        gr_reader_failed(reader);
    doc->text = whole;
    doc->plain = false;
    return path;
}

static bool read_string(struct attribute *a, const char **field, bool path)
{
    char what[128] = "'";
    strncat(strncat(what, a->attr->name, sizeof what - 3), "'", 2);
    const char *text = gr_reader_text(a->reader, a->doc, what);
    a->ok = a->ok && (text || (a->doc->unset && a->reader->unset));
    *field = text && path ? gr_reader_path(a->reader, a->reader->data_dir, a->doc) : text;
    return true;
}

/* False: out of memory. */
static bool read_attribute(struct attribute *a, void *field)
{
    switch (a->attr->type) {
    case GR_ATTR_INT:
        *(int64_t *)field = read_int(a, a->doc, "an integer");
        break;
    case GR_ATTR_FLOAT:
        *(double *)field = read_float(a, a->doc, "a number");
        break;
    case GR_ATTR_BOOL:
        read_bool(a, field);
        break;
    case GR_ATTR_ENUM:
        read_enum(a, field);
        break;
    case GR_ATTR_SIZE2:
        read_sizes(a, field, 2);
        break;
    case GR_ATTR_PAD4:
        read_sizes(a, field, 4);
        break;
    case GR_ATTR_INTS:
        return read_ints(a, field);
    case GR_ATTR_FLOATS:
        return read_floats(a, field);
    case GR_ATTR_STRING:
    case GR_ATTR_PATH:
        return read_string(a, field, a->attr->type == GR_ATTR_PATH);
    }
    return true;
}

/* ---- all attributes of a kind ------------------------------------------------------------ */

static bool listed(const char *const *names, const char *name)
{
    for (; names && *names; names++)
        if (strcmp(*names, name) == 0)
            return true;
    return false;
}

/* Out of the kind's attributes and the other keys. NULL: none is close. */
static const char *suggest(struct gr_reader *reader, const struct gr_kind *kind,
                           const char *const *others, const char *word)
{
    size_t count = 0;
    if (!gr_reader_suggests(reader))
        return NULL;
    for (const struct gr_attr *attr = kind->attrs; attr && attr->name; attr++)
        count++;
    for (const char *const *other = others; other && *other; other++)
        count++;
    const char **names = gr_pool_array(reader->pool, count + 1, sizeof *names);
    if (!names)
        return NULL;
    count = 0;
    for (const struct gr_attr *attr = kind->attrs; attr && attr->name; attr++)
        names[count++] = attr->name;
    for (const char *const *other = others; other && *other; other++)
        names[count++] = *other;
    return gr_reader_nearest(reader, word, names);
}

/* Was an unknown key taken for this attribute, so that saying it is missing would say it twice? */
static bool is_misspelt(struct gr_reader *reader, const struct gr_kind *kind,
                        const struct gr_doc *mapping, const char *const *others, const char *name)
{
    for (size_t i = 0; mapping && i < mapping->count; i++) {
        const char *key = mapping->pairs[i].key;
        if (gr_kind_attr(kind, key) || listed(others, key))
            continue;
        const char *nearest = suggest(reader, kind, others, key);
        if (nearest && strcmp(nearest, name) == 0)
            return true;
    }
    return false;
}

void *gr_attributes_read(struct gr_reader *reader, const struct gr_kind *kind,
                         const struct gr_doc *mapping, const char *const *others,
                         const struct gr_doc *where, bool *ok)
{
    char *attrs = gr_kind_defaults(kind, reader->pool);
    if (!attrs) {
        gr_reader_failed(reader);
        return NULL;
    }
    for (size_t i = 0; mapping && i < mapping->count; i++) {
        const struct gr_doc_pair *pair = &mapping->pairs[i];
        const struct gr_attr *attr = gr_kind_attr(kind, pair->key);
        struct attribute a = {.reader = reader, .attr = attr, .doc = pair->value, .ok = true};
        if (attr && !read_attribute(&a, attrs + attr->offset))
            return NULL;
        if (!attr && !listed(others, pair->key)) {
            gr_diagnose(&reader->diagnostics, pair->mark, mapping->use,
                        suggest(reader, kind, others, pair->key), "%s has no attribute '%s'",
                        kind->name, pair->key);
            a.ok = false;
        }
        *ok = *ok && a.ok;
    }
    for (const struct gr_attr *attr = kind->attrs; attr && attr->name; attr++)
        if (attr->required && !gr_doc_get(mapping, attr->name)) {
            if (!is_misspelt(reader, kind, mapping, others, attr->name))
                gr_reader_error(reader, where, NULL, "%s needs '%s'", kind->name, attr->name);
            *ok = false;
        }
    return attrs;
}

/* ---- choices ----------------------------------------------------------------------------- */

static const struct gr_kind *menu_find(struct gr_reader *reader, const struct gr_menu *menu,
                                       const char *name, struct gr_mark mark,
                                       const struct gr_doc *doc)
{
    size_t count = 0;
    for (; menu->kinds[count]; count++)
        if (strcmp(menu->kinds[count]->name, name) == 0)
            return menu->kinds[count];
    const char **names = gr_pool_array(reader->pool, count + 1, sizeof *names);
    if (!names) {
        gr_reader_failed(reader);
        return NULL;
    }
    for (size_t i = 0; i < count; i++)
        names[i] = menu->kinds[i]->name;
    gr_diagnose(&reader->diagnostics, mark, doc->use, gr_reader_nearest(reader, name, names),
                "there is no %s '%s'", menu->what, name);
    return NULL;
}

/* The choice that a number alone stands for. */
static struct gr_choice choose_number(struct gr_reader *reader, const struct gr_menu *menu,
                                      struct gr_doc *doc)
{
    bool ok = true;
    const struct gr_kind *kind = menu_find(reader, menu, menu->number_kind, doc->mark, doc);
    struct gr_doc *mapping = gr_doc_new(&reader->maker, GR_DOC_MAPPING, doc->mark);
    if (!kind || !mapping ||
        !gr_doc_put(&reader->maker, mapping, menu->number_attr, doc->mark, doc))
        return (struct gr_choice){0};
    void *attrs = gr_attributes_read(reader, kind, mapping, NULL, doc, &ok);
    return (struct gr_choice){ok && attrs ? kind : NULL, attrs};
}

struct gr_choice gr_choice_read(struct gr_reader *reader, const struct gr_menu *menu,
                                struct gr_doc *doc)
{
    const struct gr_kind *kind = NULL;
    const struct gr_doc *mapping = NULL;
    double number;
    bool ok = true;
    if (doc->type == GR_DOC_SCALAR && !gr_doc_is_null(doc)) {
        if (menu->number_kind && gr_scalar_float(doc, &number))
            return choose_number(reader, menu, doc);
        const char *name = gr_reader_text(reader, doc, menu->what);
        kind = name ? menu_find(reader, menu, name, doc->mark, doc) : NULL;
    } else if (doc->type == GR_DOC_MAPPING && doc->count == 1) {
        kind = menu_find(reader, menu, doc->pairs[0].key, doc->pairs[0].mark, doc);
        mapping = doc->pairs[0].value;
        if (gr_doc_is_null(mapping))
            mapping = NULL;
        else if (kind && !gr_reader_mapping(reader, mapping, kind->name))
            kind = NULL;
    } else {
        gr_reader_error(reader, doc, NULL,
                        "a choice of %s is written NAME or {NAME: {...}}, not %s", menu->what,
                        doc->type != GR_DOC_MAPPING ? gr_doc_describe(reader->pool, doc)
                        : doc->count                ? "a mapping of several"
                                                    : "an empty mapping");
    }
    void *attrs = kind ? gr_attributes_read(reader, kind, mapping, NULL, doc, &ok) : NULL;
    return (struct gr_choice){ok && attrs ? kind : NULL, attrs};
}
