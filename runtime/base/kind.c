/*
 * Attribute tables; see kind.h. The one switch over attribute types in reading direction (text from
 * values) is here; the other (values from YAML) is in model/attributes.c.
 */
#include "base/kind.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

const struct gr_attr *gr_kind_attr(const struct gr_kind *kind, const char *name)
{
    for (const struct gr_attr *attr = kind->attrs; attr && attr->name; attr++)
        if (strcmp(attr->name, name) == 0)
            return attr;
    return NULL;
}

static void set_default(const struct gr_attr *attr, void *field)
{
    switch (attr->type) {
    case GR_ATTR_INT:
        *(int64_t *)field = (int64_t)attr->def;
        break;
    case GR_ATTR_FLOAT:
        *(double *)field = attr->def;
        break;
    case GR_ATTR_BOOL:
        *(bool *)field = attr->def != 0;
        break;
    case GR_ATTR_ENUM:
        *(int *)field = (int)attr->def;
        break;
    case GR_ATTR_SIZE2:
    case GR_ATTR_PAD4:
        for (int i = 0; i < (attr->type == GR_ATTR_SIZE2 ? 2 : 4); i++)
            ((int64_t *)field)[i] = (int64_t)attr->def;
        break;
    case GR_ATTR_INTS:
    case GR_ATTR_FLOATS:
    case GR_ATTR_STRING:
    case GR_ATTR_PATH:
        break; /* absent is zero */
    }
}

void *gr_kind_defaults(const struct gr_kind *kind, struct gr_pool *pool)
{
    char *attrs = gr_pool_alloc(pool, kind->attrs_size);
    for (const struct gr_attr *attr = kind->attrs; attrs && attr && attr->name; attr++)
        set_default(attr, attrs + attr->offset);
    return attrs;
}

static void add_sizes(const int64_t *sizes, int count, struct gr_text *out)
{
    bool equal = true;
    for (int i = 1; i < count; i++)
        equal = equal && sizes[i] == sizes[0];
    if (equal && count) {
        gr_text_add(out, "%" PRId64, sizes[0]);
        return;
    }
    for (int i = 0; i < count; i++)
        gr_text_add(out, "%s%" PRId64, i ? ", " : "[", sizes[i]);
    gr_text_add(out, "]");
}

static bool is_default(const struct gr_attr *attr, const void *field)
{
    union {
        int64_t sizes[4];
        double number;
        bool flag;
        int choice;
    } usual = {{0}};
    set_default(attr, &usual);
    switch (attr->type) {
    case GR_ATTR_INT:
        return *(const int64_t *)field == usual.sizes[0];
    case GR_ATTR_FLOAT:
        return *(const double *)field == usual.number;
    case GR_ATTR_BOOL:
        return *(const bool *)field == usual.flag;
    case GR_ATTR_ENUM:
        return *(const int *)field == usual.choice;
    case GR_ATTR_SIZE2:
        return memcmp(field, usual.sizes, 2 * sizeof(int64_t)) == 0;
    case GR_ATTR_PAD4:
        return memcmp(field, usual.sizes, 4 * sizeof(int64_t)) == 0;
    case GR_ATTR_INTS:
        return ((const struct gr_ints *)field)->count == 0;
    case GR_ATTR_FLOATS:
        return ((const struct gr_floats *)field)->count == 0;
    case GR_ATTR_STRING:
    case GR_ATTR_PATH:
        return *(const char *const *)field == NULL;
    }
    return true;
}

static void add_value(const struct gr_attr *attr, const void *field, struct gr_text *out)
{
    switch (attr->type) {
    case GR_ATTR_INT:
        gr_text_add(out, "%" PRId64, *(const int64_t *)field);
        break;
    case GR_ATTR_FLOAT:
        gr_text_add(out, "%g", *(const double *)field);
        break;
    case GR_ATTR_BOOL:
        gr_text_add(out, "%s", *(const bool *)field ? "true" : "false");
        break;
    case GR_ATTR_ENUM:
        gr_text_add(out, "%s", attr->choices[*(const int *)field]);
        break;
    case GR_ATTR_SIZE2:
        add_sizes(field, 2, out);
        break;
    case GR_ATTR_PAD4:
        add_sizes(field, 4, out);
        break;
    case GR_ATTR_INTS:
        gr_text_add(out, "[");
        for (int i = 0; i < ((const struct gr_ints *)field)->count; i++)
            gr_text_add(out, "%s%" PRId64, i ? ", " : "",
                        ((const struct gr_ints *)field)->items[i]);
        gr_text_add(out, "]");
        break;
    case GR_ATTR_FLOATS:
        gr_text_add(out, "[");
        for (int i = 0; i < ((const struct gr_floats *)field)->count; i++)
            gr_text_add(out, "%s%g", i ? ", " : "", ((const struct gr_floats *)field)->items[i]);
        gr_text_add(out, "]");
        break;
    case GR_ATTR_STRING:
    case GR_ATTR_PATH:
        gr_text_add(out, "%s", *(const char *const *)field);
        break;
    }
}

void gr_kind_describe(const struct gr_kind *kind, const void *attrs, int most, bool yaml,
                      struct gr_text *out)
{
    int said = 0;
    for (const struct gr_attr *attr = kind->attrs; attr && attr->name && said < most; attr++) {
        const void *field = (const char *)attrs + attr->offset;
        if (is_default(attr, field) && !attr->required)
            continue;
        gr_text_add(out, "%s%s%s", said++ ? ", " : "", attr->name, yaml ? ": " : " ");
        add_value(attr, field, out);
    }
}
