/*
 * Expressions; see expressions.h.
 */
#include "model/expressions.h"

#include <string.h>

const char gr_name_letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_";
const char gr_name_word[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789";

static const struct gr_block_use *use_of(const struct gr_expression *e)
{
    return e->scope ? e->scope->use : NULL;
}

int64_t gr_expression_fail(struct gr_expression *e, const char *message)
{
    if (!e->failed)
        gr_diagnose(&e->reader->diagnostics, e->doc->mark, use_of(e), NULL, "in '%s': %s",
                    e->doc->text, message);
    e->failed = true;
    return 0;
}

static void skip_spaces(struct gr_expression *e)
{
    while (*e->at == ' ')
        e->at++;
}

bool gr_expression_accept(struct gr_expression *e, const char *token)
{
    skip_spaces(e);
    const size_t length = strlen(token);
    if (strncmp(e->at, token, length) != 0)
        return false;
    e->at += length;
    return true;
}

const struct gr_doc *gr_variables_look_up(struct gr_reader *reader,
                                          const struct gr_block_scope *scope, const char *name)
{
    const struct gr_doc *value = scope ? gr_doc_get(scope->values, name) : NULL;
    for (size_t i = 0; !value && reader->vars && i < reader->vars->count; i++)
        if (strcmp(reader->vars->pairs[i].key, name) == 0) {
            reader->vars_used[i] = true;
            value = reader->vars->pairs[i].value;
        }
    return value;
}

static size_t add_keys(const struct gr_doc *mapping, const char **names, size_t count)
{
    for (size_t i = 0; mapping && i < mapping->count; i++)
        names[count++] = mapping->pairs[i].key;
    return count;
}

/* The nearest of the names that may stand here. */
static const char *nearest_parameter(const struct gr_expression *e, const char *name)
{
    const struct gr_doc *values = e->scope ? e->scope->values : NULL, *vars = e->reader->vars;
    if (!gr_reader_suggests(e->reader))
        return NULL;
    const char **names =
        gr_pool_array(e->reader->pool, (values ? values->count : 0) + (vars ? vars->count : 0) + 1,
                      sizeof *names);
    if (!names)
        return NULL;
    return gr_nearest(name, names, add_keys(vars, names, add_keys(values, names, 0)));
}

const struct gr_doc *gr_expression_parameter(struct gr_expression *e, const char *name)
{
    const struct gr_doc *value = gr_variables_look_up(e->reader, e->scope, name);
    if (!value && !e->failed) {
        gr_diagnose(&e->reader->diagnostics, e->doc->mark, use_of(e), nearest_parameter(e, name),
                    e->scope ? "the block has no parameter '%s'" : "'vars' holds no '%s'", name);
        e->failed = true;
    }
    return value;
}

static int64_t parameter_value(struct gr_expression *e)
{
    const size_t length = strspn(e->at, gr_name_word);
    const char *name = gr_pool_strndup(e->reader->pool, e->at, length);
    int64_t value = 0;
    e->at += length;
    const struct gr_doc *doc = name ? gr_expression_parameter(e, name) : NULL;
    if (!doc || gr_scalar_int(doc, &value))
        return value;
    e->truth = true;
    if (doc->type == GR_DOC_SCALAR && strcmp(doc->text, "true") == 0)
        return 1;
    if (doc->type == GR_DOC_SCALAR && strcmp(doc->text, "false") == 0)
        return 0;
    return gr_expression_fail(e, gr_pool_printf(e->reader->pool, "'%s' is %s, not an integer", name,
                                                gr_doc_describe(e->reader->pool, doc)));
}

static int64_t primary(struct gr_expression *e)
{
    int64_t value = 0;
    if (++e->depth > 100)
        return gr_expression_fail(e, "too deeply nested");
    if (gr_expression_accept(e, "-")) {
        value = primary(e);
        value = value == INT64_MIN ? gr_expression_fail(e, "the number is too large") : -value;
    } else if (gr_expression_accept(e, "(")) {
        value = gr_expression_value(e);
        if (!gr_expression_accept(e, ")"))
            gr_expression_fail(e, "a ')' is missing");
    } else if (*e->at >= '0' && *e->at <= '9') {
        for (; *e->at >= '0' && *e->at <= '9'; e->at++)
            if (__builtin_mul_overflow(value, 10, &value) ||
                __builtin_add_overflow(value, *e->at - '0', &value))
                return gr_expression_fail(e, "the number is too large");
    } else if (*e->at && strchr(gr_name_letters, *e->at)) {
        value = parameter_value(e);
    } else {
        gr_expression_fail(e, "a number or a parameter is missing");
    }
    e->depth--;
    return value;
}

static int64_t product(struct gr_expression *e)
{
    int64_t value = primary(e);
    while (!e->failed) {
        bool overflow = false;
        if (gr_expression_accept(e, "*")) {
            overflow = __builtin_mul_overflow(value, primary(e), &value);
        } else if (gr_expression_accept(e, "/")) {
            const int64_t divisor = primary(e);
            overflow = divisor == 0 || (divisor == -1 && value == INT64_MIN);
            value = overflow ? 0 : value / divisor;
        } else if (gr_expression_accept(e, "%")) {
            const int64_t divisor = primary(e);
            overflow = divisor == 0 || divisor == -1;
            value = overflow ? 0 : value % divisor;
        } else {
            break;
        }
        if (overflow)
            gr_expression_fail(e, "division by zero or too large a number");
    }
    return value;
}

static int64_t sum(struct gr_expression *e)
{
    int64_t value = product(e);
    while (!e->failed) {
        bool overflow;
        if (gr_expression_accept(e, "+"))
            overflow = __builtin_add_overflow(value, product(e), &value);
        else if (gr_expression_accept(e, "-"))
            overflow = __builtin_sub_overflow(value, product(e), &value);
        else
            break;
        if (overflow)
            gr_expression_fail(e, "the number is too large");
    }
    return value;
}

static bool holds(int order, const char *relation)
{
    const bool equal = strchr(relation, '=') && order == 0;
    switch (relation[0]) {
    case '!':
        return order != 0;
    case '<':
        return equal || order < 0;
    case '>':
        return equal || order > 0;
    default:
        return equal;
    }
}

int64_t gr_expression_value(struct gr_expression *e)
{
    static const char *const relations[] = {"==", "!=", "<=", ">=", "<", ">"};
    const int64_t left = sum(e);
    for (size_t i = 0; i < sizeof relations / sizeof *relations && !e->failed; i++)
        if (gr_expression_accept(e, relations[i])) {
            const int64_t right = sum(e);
            e->truth = true;
            return holds((left > right) - (left < right), relations[i]);
        }
    return left;
}
