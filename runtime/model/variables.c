/*
 * What stands in a text for something else: ${VAR} for the environment, $(expression) for the
 * parameters of a block and the model's `vars`.
 *
 * A variable that is not set is no mistake yet: the scalar keeps its text and remembers the name,
 * and whoever reads it reports it. $${ and $$( stand for ${ and $(; the first pass leaves the
 * latter to the second.
 */
#include "model/expressions.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- the environment --------------------------------------------------------------------- */

/* Appends a value from outside so that the second pass does not see expressions in it. */
static void add_quoted(struct gr_text *out, const char *value)
{
    for (const char *part; (part = strstr(value, "$(")); value = part + 2) {
        gr_text_append(out, value, (size_t)(part - value));
        gr_text_append(out, "$$(", 3);
    }
    gr_text_append(out, value, strlen(value));
}

/*
 * Appends what ${...} at text stands for and returns the text behind it. NULL: a mistake, noted, or
 * a variable that is not set, noted in doc->unset.
 */
static const char *add_variable(struct gr_reader *reader, struct gr_doc *doc, const char *text,
                                struct gr_text *out)
{
    const char *name = text + 2, *end = strchr(name, '}');
    if (!end) {
        gr_reader_error(reader, doc, NULL, "'${' has no '}'");
        return NULL;
    }
    const size_t length = strspn(name, gr_name_word);
    const bool has_default = strncmp(name + length, ":-", 2) == 0;
    if (!length || !strchr(gr_name_letters, *name) || (name + length != end && !has_default)) {
        gr_reader_error(reader, doc, NULL, "'%.*s' is not ${NAME} or ${NAME:-default}",
                        (int)(end + 1 - text), text);
        return NULL;
    }
    const char *key = gr_pool_strndup(reader->pool, name, length);
    const char *value = key ? getenv(key) : NULL;
    if (has_default && (!value || !*value))
        value = gr_pool_strndup(reader->pool, name + length + 2, (size_t)(end - name) - length - 2);
    if (!value)
        doc->unset = key;
    else if (!gr_reader_is_utf8(value))
        gr_reader_error(reader, doc, NULL, "environment variable '%s' is not UTF-8 text", key);
    else if (gr_doc_count_text(&reader->maker, strlen(value), doc->mark)) {
        add_quoted(out, value);
        return end + 1;
    }
    return NULL;
}

static bool replace_variables(struct gr_reader *reader, struct gr_doc *doc)
{
    if (!strstr(doc->text, "${"))
        return true;
    struct gr_text out = {0};
    const char *text = doc->text;
    bool replaced = false;
    gr_text_append(&out, "", 0);
    while (text && *text) {
        if (strncmp(text, "$${", 3) == 0) {
            gr_text_add(&out, "${");
            text += 3;
        } else if (strncmp(text, "${", 2) == 0) {
            text = add_variable(reader, doc, text, &out);
            replaced = true;
        } else {
            gr_text_append(&out, text++, 1);
        }
    }
    const char *result = text && !out.failed ? gr_pool_strdup(reader->pool, out.data) : NULL;
    const bool ok = !out.failed && (result || !text);
    gr_text_release(&out);
    doc->broken = doc->broken || (!text && !doc->unset);
    if (result) {
        doc->text = result;
        doc->plain = doc->plain || replaced; /* quotes are YAML's demand: it may be a number */
    }
    return ok || gr_reader_failed(reader);
}

bool gr_variables_environment(struct gr_reader *reader, struct gr_doc *doc)
{
    bool ok = true;
    if (doc->type == GR_DOC_SCALAR)
        return replace_variables(reader, doc);
    for (size_t i = 0; ok && i < doc->count; i++)
        ok = gr_variables_environment(reader, doc->type == GR_DOC_SEQUENCE ? doc->items[i]
                                                                           : doc->pairs[i].value);
    return ok;
}

/* ---- texts with expressions -------------------------------------------------------------- */

/* The name in a text that is nothing but $(name), or NULL. */
static const char *only_parameter(struct gr_reader *reader, const char *text)
{
    const size_t length = strlen(text);
    if (length < 4 || strncmp(text, "$(", 2) != 0 || !strchr(gr_name_letters, text[2]))
        return NULL;
    const size_t name = strspn(text + 2, gr_name_word);
    return name == length - 3 && text[length - 1] == ')'
               ? gr_pool_strndup(reader->pool, text + 2, name)
               : NULL;
}

/* Appends the value of $(...) at text; the text behind it, or NULL after noting a mistake. */
static const char *add_expression(struct gr_expression *e, const char *text, struct gr_text *out)
{
    e->at = text + 2;
    e->truth = false;
    const char *name = NULL;
    const size_t length = strspn(e->at, gr_name_word);
    if (e->at[length] == ')' && length && strchr(gr_name_letters, *e->at))
        name = gr_pool_strndup(e->reader->pool, e->at, length);
    if (name) { /* any scalar can stand within a text */
        const struct gr_doc *value = gr_expression_parameter(e, name);
        if (value && value->type != GR_DOC_SCALAR)
            gr_expression_fail(e, "a list or a mapping cannot stand within a text");
        else if (value && !gr_doc_count_text(&e->reader->maker, strlen(value->text), e->doc->mark))
            return NULL;
        else if (value)
            gr_text_append(out, value->text, strlen(value->text));
        return e->failed ? NULL : e->at + length + 1;
    }
    const int64_t value = gr_expression_value(e);
    if (!e->failed && !gr_expression_accept(e, ")"))
        gr_expression_fail(e, "a ')' is missing");
    if (e->failed)
        return NULL;
    if (e->truth && (value == 0 || value == 1))
        gr_text_add(out, "%s", value ? "true" : "false");
    else
        gr_text_add(out, "%" PRId64, value);
    return e->at;
}

static bool replace_expressions(struct gr_reader *reader, struct gr_doc *doc,
                                const struct gr_block_scope *scope)
{
    struct gr_expression e = {.reader = reader, .doc = doc, .scope = scope};
    struct gr_text out = {0};
    const char *text = doc->text;
    bool replaced = false;
    gr_text_append(&out, "", 0);
    while (text && *text) {
        if (strncmp(text, "$$(", 3) == 0) {
            gr_text_add(&out, "$(");
            text += 3;
        } else if (strncmp(text, "$(", 2) != 0) {
            gr_text_append(&out, text++, 1);
        } else if (scope || reader->vars) {
            text = add_expression(&e, text, &out);
            replaced = true;
        } else {
            gr_reader_error(
                reader, doc, NULL,
                "'$(...)' has a meaning only inside a block, or where there are 'vars'");
            text = NULL;
        }
    }
    const char *result = out.failed ? NULL : gr_pool_strdup(reader->pool, out.data);
    gr_text_release(&out);
    if (!result)
        return gr_reader_failed(reader);
    doc->text = result;
    doc->broken = !text;
    doc->plain = doc->plain || replaced;
    return true;
}

static struct gr_doc *copy_scalar(struct gr_reader *reader, const struct gr_doc *doc,
                                  const struct gr_block_scope *scope)
{
    const char *name = doc->unset ? NULL : only_parameter(reader, doc->text);
    const struct gr_doc *value = name ? gr_variables_look_up(reader, scope, name) : NULL;
    if (value)
        return gr_doc_copy(&reader->maker, value);
    struct gr_doc *copy = gr_doc_copy(&reader->maker, doc);
    if (!copy)
        return NULL;
    copy->use = scope ? scope->use : doc->use;
    if (!doc->unset && strstr(doc->text, "$(") && !replace_expressions(reader, copy, scope))
        return NULL;
    return copy;
}

struct gr_doc *gr_variables_block(struct gr_reader *reader, const struct gr_doc *doc,
                                  const struct gr_block_scope *scope)
{
    if (doc->type == GR_DOC_SCALAR)
        return copy_scalar(reader, doc, scope);
    struct gr_doc *copy = gr_doc_new(&reader->maker, doc->type, doc->mark);
    if (copy)
        copy->use = scope ? scope->use : doc->use;
    for (size_t i = 0; copy && i < doc->count; i++) {
        const bool list = doc->type == GR_DOC_SEQUENCE;
        struct gr_doc *part =
            gr_variables_block(reader, list ? doc->items[i] : doc->pairs[i].value, scope);
        const bool ok =
            list ? gr_doc_append(&reader->maker, copy, part)
                 : gr_doc_put(&reader->maker, copy, doc->pairs[i].key, doc->pairs[i].mark, part);
        if (!ok)
            copy = NULL;
    }
    return copy;
}

/* ---- vars -------------------------------------------------------------------------------- */

bool gr_variables_read(struct gr_reader *reader)
{
    const struct gr_doc *written = gr_doc_get(reader->root, "vars");
    if (!written || !gr_reader_mapping(reader, written, "'vars'"))
        return true;
    struct gr_doc *vars = gr_doc_new(&reader->maker, GR_DOC_MAPPING, written->mark);
    reader->vars_used = gr_pool_array(reader->pool, written->count + 1, sizeof(bool));
    if (!vars || !reader->vars_used)
        return gr_reader_failed(reader);
    reader->vars = vars;
    for (size_t i = 0; i < written->count; i++) { /* each may stand in those after it */
        const struct gr_doc_pair *pair = &written->pairs[i];
        const bool named =
            strchr(gr_name_letters, pair->key[0]) && !pair->key[strspn(pair->key, gr_name_word)];
        if (!named)
            gr_diagnose(&reader->diagnostics, pair->mark, NULL, NULL,
                        "a variable is named by letters, digits and '_', not '%s'", pair->key);
        struct gr_doc *value = gr_variables_block(reader, pair->value, NULL);
        if (!value || !gr_doc_put(&reader->maker, vars, pair->key, pair->mark, value))
            return gr_reader_failed(reader);
        reader->vars_used[i] = !named;
    }
    return true;
}

void gr_variables_check_used(struct gr_reader *reader)
{
    const struct gr_doc *vars = reader->vars;
    for (size_t i = 0; vars && i < vars->count; i++) {
        if (reader->vars_used[i])
            continue;
        const char **others = gr_reader_suggests(reader)
                                  ? gr_pool_array(reader->pool, vars->count, sizeof *others)
                                  : NULL;
        size_t n = 0;
        for (size_t k = 0; others && k < vars->count; k++)
            if (reader->vars_used[k])
                others[n++] = vars->pairs[k].key;
        gr_diagnose(&reader->diagnostics, vars->pairs[i].mark, NULL,
                    others ? gr_nearest(vars->pairs[i].key, others, n) : NULL,
                    "nothing uses the variable '%s'", vars->pairs[i].key);
    }
}
