/*
 * The documentation of everything that a model file chooses by name, written from the tables that
 * parse it, so that it cannot drift from what the parser takes.
 */
#include "data/kinds.h"
#include "graph/initialise.h"
#include "graph/op.h"
#include "train/schedule.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_WIDTH = 22, EXAMPLE_ATTRIBUTES = 2 };

/* Where a kind stands in a model file: the heading of its group, and the shape of an example. */
struct section {
    const char *what, *heading, *before, *after;
};

enum { OP, INITIALISER, OPTIMIZER, SCHEDULE, SOURCE, TRANSFORM };
static const struct section sections[] = {
    [OP] = {"op", NULL, NULL, NULL},
    [INITIALISER] = {"initialiser", "initialisers (PARAMETER_init of a node)", "weight_init: ", ""},
    [OPTIMIZER] = {"optimizer", "optimizers (train.optimizer)", "optimizer: ", ""},
    [SCHEDULE] = {"learning-rate policy", "learning-rate policies (train.learning_rate)",
                  "learning_rate: ", ""},
    [SOURCE] = {"data source", "data sources (data.PART)", "train: ", ""},
    [TRANSFORM] = {"transform", "transforms (data.PART.transform)", "transform: [", "]"},
};

struct entry {
    const struct gr_kind *kind;
    const struct gr_op *op; /* of an op or optimizer, else NULL */
    const struct section *section;
};

struct catalogue {
    struct entry *entries;
    size_t count;
};

/* ---- the catalogue ----------------------------------------------------------------------- */

static size_t count_kinds(const struct gr_kind *const *kinds)
{
    size_t count = 0;
    while (kinds[count])
        count++;
    return count;
}

static void add_kinds(struct catalogue *catalogue, const struct gr_kind *const *kinds, int section)
{
    for (; *kinds; kinds++)
        catalogue->entries[catalogue->count++] = (struct entry){*kinds, NULL, &sections[section]};
}

static void add_ops(struct catalogue *catalogue, const struct gr_registry *ops, int section)
{
    for (size_t i = 0; i < ops->n_ops; i++) {
        const struct gr_op *op = ops->ops[i];
        const int belongs = op->flags & GR_OP_OPTIMIZER ? OPTIMIZER : OP;
        if (!(op->flags & GR_OP_INTERNAL) && belongs == section)
            catalogue->entries[catalogue->count++] =
                (struct entry){&op->kind, op, &sections[section]};
    }
}

static bool catalogue_init(struct catalogue *catalogue, const struct gr_registry *ops,
                           struct gr_error *err)
{
    const size_t room = ops->n_ops + count_kinds(gr_initialisers) + count_kinds(gr_schedules) +
                        count_kinds(gr_data_sources) + count_kinds(gr_data_transforms);
    *catalogue = (struct catalogue){calloc(room + 1, sizeof *catalogue->entries), 0};
    if (!catalogue->entries)
        return gr_fail_memory(err, "the documentation");
    add_ops(catalogue, ops, OP);
    add_kinds(catalogue, gr_initialisers, INITIALISER);
    add_ops(catalogue, ops, OPTIMIZER);
    add_kinds(catalogue, gr_schedules, SCHEDULE);
    add_kinds(catalogue, gr_data_sources, SOURCE);
    add_kinds(catalogue, gr_data_transforms, TRANSFORM);
    return true;
}

/* ---- the overview ------------------------------------------------------------------------ */

static const char *group_of(const struct entry *entry)
{
    if (entry->section->heading)
        return entry->section->heading;
    return entry->op->category ? entry->op->category : "other ops";
}

static void add_overview(const struct catalogue *catalogue, struct gr_text *out)
{
    for (size_t i = 0; i < catalogue->count; i++) {
        const char *group = group_of(&catalogue->entries[i]);
        bool first = true;
        for (size_t j = 0; j < i && first; j++)
            first = strcmp(group_of(&catalogue->entries[j]), group) != 0;
        if (!first)
            continue;
        gr_text_add(out, "%s%s\n", i ? "\n" : "", group);
        for (size_t j = i; j < catalogue->count; j++)
            if (strcmp(group_of(&catalogue->entries[j]), group) == 0)
                gr_text_add(out, "  %-*s  %s\n", NAME_WIDTH, catalogue->entries[j].kind->name,
                            catalogue->entries[j].kind->doc);
    }
}

/* ---- attributes -------------------------------------------------------------------------- */

static const char *const types[] = {
    [GR_ATTR_INT] = "integer",
    [GR_ATTR_FLOAT] = "number",
    [GR_ATTR_BOOL] = "true or false",
    [GR_ATTR_ENUM] = NULL, /* its choices */
    [GR_ATTR_SIZE2] = "integer or [height, width]",
    [GR_ATTR_PAD4] = "integer, [height, width] or [top, left, bottom, right]",
    [GR_ATTR_INTS] = "list of integers",
    [GR_ATTR_FLOATS] = "number or list of numbers",
    [GR_ATTR_STRING] = "text",
    [GR_ATTR_PATH] = "path",
};

static void add_type(const struct gr_attr *attr, struct gr_text *out)
{
    if (types[attr->type])
        gr_text_add(out, "%s", types[attr->type]);
    for (int i = 0; attr->type == GR_ATTR_ENUM && attr->choices[i]; i++)
        gr_text_add(out, "%s%s", i ? " or " : "", attr->choices[i]);
}

static bool is_text(const struct gr_attr *attr)
{
    return attr->type == GR_ATTR_STRING || attr->type == GR_ATTR_PATH;
}

static bool is_list(const struct gr_attr *attr)
{
    return attr->type == GR_ATTR_INTS || attr->type == GR_ATTR_FLOATS;
}

static void add_default(const struct gr_attr *attr, struct gr_text *out)
{
    if (attr->type == GR_ATTR_BOOL)
        gr_text_add(out, "%s", attr->def != 0 ? "true" : "false");
    else if (attr->type == GR_ATTR_ENUM)
        gr_text_add(out, "%s", attr->choices[(int)attr->def]);
    else
        gr_text_add(out, "%.10g", attr->def);
}

static void add_attribute(const struct gr_attr *attr, struct gr_text *out)
{
    gr_text_add(out, "  %-*s  ", NAME_WIDTH, attr->name);
    add_type(attr, out);
    if (attr->required) {
        gr_text_add(out, "; required");
    } else if (is_text(attr) || is_list(attr)) {
        gr_text_add(out, "; optional");
    } else {
        gr_text_add(out, "; default ");
        add_default(attr, out);
    }
    if (!is_text(attr) && (attr->min < 0 || attr->min > 0 || attr->max < 0 || attr->max > 0))
        gr_text_add(out, "; %.10g to %.10g", attr->min, attr->max);
    gr_text_add(out, "\n  %-*s  %s\n", NAME_WIDTH, "", attr->doc);
}

/* ---- an example -------------------------------------------------------------------------- */

static double clamp(double value, const struct gr_attr *attr)
{
    const bool bounded = attr->min < attr->max;
    return bounded && value < attr->min   ? attr->min
           : bounded && value > attr->max ? attr->max
                                          : value;
}

/* Some value that the attribute may have. */
static void add_sample(const struct gr_attr *attr, struct gr_text *out)
{
    switch (attr->type) {
    case GR_ATTR_INT:
        gr_text_add(out, "%.0f", clamp(64, attr));
        break;
    case GR_ATTR_FLOAT:
        gr_text_add(out, "%.10g", clamp(0.1, attr));
        break;
    case GR_ATTR_BOOL:
        gr_text_add(out, "true");
        break;
    case GR_ATTR_ENUM:
        gr_text_add(out, "%s", attr->choices[0]);
        break;
    case GR_ATTR_SIZE2:
    case GR_ATTR_PAD4:
        gr_text_add(out, "%.0f", clamp(3, attr));
        break;
    case GR_ATTR_INTS:
        gr_text_add(out, "[%.0f]", clamp(-1, attr));
        break;
    case GR_ATTR_FLOATS:
        gr_text_add(out, "[%.10g]", clamp(0.5, attr));
        break;
    case GR_ATTR_STRING:
        gr_text_add(out, "some_%s", attr->name);
        break;
    case GR_ATTR_PATH:
        gr_text_add(out, "some/%s", attr->name);
        break;
    }
}

/* "std: 0.01": what is required, what has a default worth showing, or else the first attribute. */
static int add_example_attributes(const struct gr_kind *kind, struct gr_text *out)
{
    int shown = 0;
    for (const struct gr_attr *attr = kind->attrs; attr && attr->name; attr++) {
        if (!attr->required)
            continue;
        gr_text_add(out, "%s%s: ", shown++ ? ", " : "", attr->name);
        add_sample(attr, out);
    }
    for (const struct gr_attr *attr = kind->attrs; attr && attr->name; attr++) {
        if (attr->required || shown >= EXAMPLE_ATTRIBUTES || !(attr->def < 0 || attr->def > 0) ||
            attr->type == GR_ATTR_BOOL)
            continue;
        gr_text_add(out, "%s%s: ", shown++ ? ", " : "", attr->name);
        add_default(attr, out);
    }
    if (shown == 0 && kind->attrs && kind->attrs->name) {
        gr_text_add(out, "%s: ", kind->attrs->name);
        add_sample(kind->attrs, out);
        shown++;
    }
    return shown;
}

static void add_node_example(const struct entry *entry, const char *attributes, struct gr_text *out)
{
    const char *name = entry->kind->name;
    gr_text_add(out, "- {name: %s1, op: %s", name, name);
    for (int i = 0; entry->op->min_inputs > 1 && i < entry->op->min_inputs; i++)
        gr_text_add(out, "%s%c", i ? ", " : ", inputs: [", 'a' + i);
    gr_text_add(out, "%s%s%s}\n", entry->op->min_inputs > 1 ? "]" : "", *attributes ? ", " : "",
                attributes);
}

static void add_example(const struct entry *entry, struct gr_text *out)
{
    const struct section *section = entry->section;
    struct gr_text text = {0};
    add_example_attributes(entry->kind, &text);
    const char *attributes = text.data ? text.data : "";
    gr_text_add(out, "\nexample\n  ");
    if (!section->before)
        add_node_example(entry, attributes, out);
    else if (*attributes)
        gr_text_add(out, "%s{%s: {%s}}%s\n", section->before, entry->kind->name, attributes,
                    section->after);
    else
        gr_text_add(out, "%s%s%s\n", section->before, entry->kind->name, section->after);
    out->failed = out->failed || text.failed;
    gr_text_release(&text);
}

/* ---- a page ------------------------------------------------------------------------------ */

static void add_parameter(const struct gr_param_rule *rule, struct gr_text *out)
{
    gr_text_add(out, "  %-*s  %s\n  %-*s  ", NAME_WIDTH, rule->name, rule->doc, NAME_WIDTH, "");
    gr_text_add(out, "%s_init (default ", rule->name);
    if (!rule->init || strcmp(rule->init, "constant") == 0)
        gr_text_add(out, "%g)", rule->init_value);
    else
        gr_text_add(out, "%s)", rule->init);
    if (rule->statistic)
        gr_text_add(out, "; a statistic, not trained\n");
    else
        gr_text_add(out, ", %s_lr (default 1), %s_decay (default %g)\n", rule->name, rule->name,
                    rule->decay_mult);
}

static void add_page(const struct entry *entry, struct gr_text *out)
{
    const struct gr_kind *kind = entry->kind;
    const struct gr_op *node = entry->section == &sections[OP] ? entry->op : NULL;
    gr_text_add(out, "%s (%s): %s\n", kind->name, entry->section->what, kind->doc);
    if (node && node->input_doc)
        gr_text_add(out, "\ninputs\n  %s\n", node->input_doc);
    if (node && node->params)
        gr_text_add(out, "\nparameters\n");
    for (int i = 0; node && node->params && node->params[i].name; i++)
        add_parameter(&node->params[i], out);
    if (kind->attrs && kind->attrs->name)
        gr_text_add(out, "\nattributes\n");
    for (const struct gr_attr *attr = kind->attrs; attr && attr->name; attr++)
        add_attribute(attr, out);
    add_example(entry, out);
}

/* ---- finding one ------------------------------------------------------------------------- */

static bool fail_unknown(const struct catalogue *catalogue, const char *name, struct gr_error *err)
{
    const char **names = calloc(catalogue->count + 1, sizeof *names);
    for (size_t i = 0; names && i < catalogue->count; i++)
        names[i] = catalogue->entries[i].kind->name;
    const char *nearest = names ? gr_nearest(name, names, catalogue->count) : NULL;
    free(names);
    if (nearest)
        return gr_fail(err, GR_ERR_USAGE, "nothing is named '%s'; did you mean '%s'?", name,
                       nearest);
    return gr_fail(err, GR_ERR_USAGE, "nothing is named '%s'", name);
}

/* One name may mean several kinds, in different places: a page each. */
static bool add_pages(const struct catalogue *catalogue, const char *name, struct gr_text *out,
                      struct gr_error *err)
{
    int found = 0;
    for (size_t i = 0; i < catalogue->count; i++) {
        if (strcmp(catalogue->entries[i].kind->name, name) != 0)
            continue;
        gr_text_add(out, "%s", found++ ? "\n\n" : "");
        add_page(&catalogue->entries[i], out);
    }
    return found > 0 || fail_unknown(catalogue, name, err);
}

char *gr_document(const struct gr_registry *ops, const char *name, struct gr_error *err)
{
    struct catalogue catalogue;
    struct gr_text text = {0};
    if (!catalogue_init(&catalogue, ops, err))
        return NULL;
    bool ok = true;
    if (name)
        ok = add_pages(&catalogue, name, &text, err);
    else
        add_overview(&catalogue, &text);
    ok = ok && gr_text_ok(&text, err);
    free(catalogue.entries);
    if (ok)
        return text.data;
    gr_text_release(&text);
    return NULL;
}
