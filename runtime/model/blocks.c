/*
 * Blocks: parameterised groups of nodes. This file turns `nodes`, with the uses of `blocks` in it,
 * into one flat list of drafts, each with the names of what it reads.
 *
 * Names inside a block are local: a node reads the block's inputs by their formal names, and its
 * neighbours by theirs. Expanding the use `unit1` prefixes the nodes' names with "unit1.", and
 * makes "unit1" an alias of the block's output. A node left out by `when` is an alias of its first
 * input.
 */
#include "model/reader.h"

#include <string.h>

/* Bytes of a node's name: with ".weight.momentum" behind it a file of tensors takes it. */
enum { FULL_NAME_MAX = 900 };

/* Where a list of nodes stands: the model, or a block in use. */
struct place {
    const struct place *outer;    /* NULL: the model itself */
    const char *block;            /* NULL: the model itself */
    const char *prefix;           /* "unit1." or "" */
    struct gr_block_scope scope;  /* use NULL: the model itself */
    struct gr_map formals;        /* input name -> struct gr_reference */
    struct gr_map locals;         /* node name -> its document */
    const struct gr_doc *first;   /* the first formal, or NULL */
    struct gr_reference previous; /* what `inputs` defaults to; name NULL: nothing yet */
};

static const char *const block_keys[] = {"params", "inputs", "nodes", "output", "outputs", NULL};

/* ---- references -------------------------------------------------------------------------- */

static const char *nearest_local(struct gr_reader *reader, const struct place *place,
                                 const char *name)
{
    const struct gr_map *const maps[] = {&place->formals, &place->locals};
    return gr_reader_nearest_of(reader, name, maps, 2);
}

/* A local name -> the name it has in the model. name NULL: unknown (noted). */
static struct gr_reference localise(struct gr_reader *reader, const struct place *place,
                                    const char *written, const struct gr_doc *doc)
{
    struct gr_reference reference = {written, doc->mark, doc->use};
    if (!place->block)
        return reference;
    char *head = gr_pool_strdup(reader->pool, written);
    while (head && *head) { /* "drop1.mask": the node is a prefix of it */
        const struct gr_reference *formal = gr_map_get(&place->formals, head);
        const char *tail = written + strlen(head);
        if (formal)
            reference.name =
                formal->name ? gr_pool_printf(reader->pool, "%s%s", formal->name, tail) : NULL;
        else if (gr_map_get(&place->locals, head))
            reference.name = gr_pool_printf(reader->pool, "%s%s", place->prefix, written);
        if (formal || gr_map_get(&place->locals, head))
            return reference;
        char *dot = strrchr(head, '.');
        if (!dot)
            break;
        *dot = '\0';
    }
    gr_diagnose(&reader->diagnostics, doc->mark, place->scope.use,
                nearest_local(reader, place, written), "block '%s' has no node or input '%s'",
                place->block, written);
    reference.name = NULL;
    return reference;
}

/* The names under `inputs`, or the default. *count may be 0. NULL: out of memory. */
static struct gr_reference *read_inputs(struct gr_reader *reader, const struct place *place,
                                        const struct gr_doc *node, size_t *count)
{
    struct gr_doc *inputs = gr_doc_get(node, "inputs");
    const bool list = inputs && inputs->type == GR_DOC_SEQUENCE;
    const size_t most = list ? inputs->count : 1;
    struct gr_reference *references = gr_pool_array(reader->pool, most, sizeof *references);
    *count = 0;
    if (!references) {
        gr_reader_failed(reader);
        return NULL;
    }
    if (!inputs && place->previous.name) {
        references[0] = place->previous;
        *count = 1;
    }
    for (size_t i = 0; inputs && i < most; i++) {
        const struct gr_doc *item = list ? inputs->items[i] : inputs;
        const char *name = gr_reader_text(reader, item, list ? "an input" : "'inputs'");
        if (name && !*name)
            gr_reader_error(reader, item, NULL, "an input's name is empty");
        references[*count] = name && *name ? localise(reader, place, name, item)
                                           : (struct gr_reference){NULL, item->mark, NULL};
        (*count)++;
    }
    return references;
}

/* ---- the nodes of a place ---------------------------------------------------------------- */

static bool put(struct gr_reader *reader, struct gr_map *map, const char *key, const void *value)
{
    return gr_map_put(map, key, (void *)(uintptr_t)value) || gr_reader_failed(reader);
}

static bool add_alias(struct gr_reader *reader, const char *name, struct gr_reference target)
{
    struct gr_alias *alias = gr_pool_alloc(reader->pool, sizeof *alias);
    if (!alias)
        return gr_reader_failed(reader);
    alias->target = target;
    return put(reader, &reader->alias_of, name, alias);
}

static bool add_draft(struct gr_reader *reader, const struct gr_draft *draft)
{
    if (!gr_grow((void **)&reader->drafts, &reader->drafts_capacity, reader->n_drafts,
                 sizeof *reader->drafts))
        return gr_reader_failed(reader);
    reader->drafts[reader->n_drafts++] = *draft;
    return put(reader, &reader->draft_of, draft->name, (void *)(uintptr_t)reader->n_drafts);
}

/* The node's local name if it is usable, else NULL (noted). */
static const char *local_name(struct gr_reader *reader, const struct gr_doc *node)
{
    const struct gr_doc *name = gr_doc_get(node, "name");
    if (!gr_reader_mapping(reader, node, "a node"))
        return NULL;
    if (!name) {
        gr_reader_error(reader, node, NULL, "a node needs 'name'");
        return NULL;
    }
    const char *text = gr_reader_text(reader, name, "'name'");
    return text && gr_reader_check_name(reader, name, "a node's name") ? text : NULL;
}

/* Is the node in the model, by its `when`? A mistake counts as yes. */
static bool wanted(struct gr_reader *reader, const struct gr_doc *node)
{
    const struct gr_doc *when = gr_doc_get(node, "when");
    if (!when)
        return true;
    if (when->type == GR_DOC_SCALAR && !strcmp(when->text, "false"))
        return false;
    if (when->type != GR_DOC_SCALAR || strcmp(when->text, "true") != 0)
        gr_reader_error(reader, when, NULL, "'when' is true or false, not %s",
                        gr_doc_describe(reader->pool, when));
    return true;
}

static bool use_block(struct gr_reader *reader, const struct place *place,
                      const struct gr_draft *draft);

/* One node, block use or left-out node of a place. */
static bool add_node(struct gr_reader *reader, struct place *place, struct gr_doc *node,
                     const char *local)
{
    const struct gr_doc *name = gr_doc_get(node, "name");
    const struct gr_doc *share = gr_doc_get(node, "share");
    struct gr_draft draft = {.mark = name->mark, .use = place->scope.use, .doc = node};
    draft.name = gr_pool_printf(reader->pool, "%s%s", place->prefix, local);
    draft.inputs = read_inputs(reader, place, node, &draft.n_inputs);
    if (!draft.name || !draft.inputs)
        return gr_reader_failed(reader);
    place->previous = (struct gr_reference){draft.name, name->mark, place->scope.use};
    if (strlen(draft.name) > FULL_NAME_MAX) {
        gr_reader_error(reader, name, NULL,
                        "with the names of its blocks it is longer than %d bytes", FULL_NAME_MAX);
        return true;
    }
    if (gr_map_get(&reader->draft_of, draft.name) || gr_map_get(&reader->alias_of, draft.name) ||
        gr_map_get(&reader->input_of, draft.name)) {
        gr_reader_error(reader, name, NULL, "there is something named '%s' already", draft.name);
        return true;
    }
    if (!wanted(reader, node)) {
        if (draft.n_inputs == 0)
            gr_reader_error(reader, name, NULL, "'%s' is left out but has no input to stand for it",
                            local);
        return add_alias(reader, draft.name,
                         draft.n_inputs ? draft.inputs[0] : (struct gr_reference){0});
    }
    if (gr_doc_get(node, "block"))
        return use_block(reader, place, &draft);
    const char *shared = share ? gr_reader_text(reader, share, "'share'") : NULL;
    if (shared && gr_map_get(&place->locals, shared))
        draft.share = localise(reader, place, shared, share);
    else if (shared)
        draft.share = (struct gr_reference){shared, share->mark, share->use};
    return add_draft(reader, &draft);
}

/* All nodes of a list: first their names, since they may refer forward, then themselves. */
static bool add_nodes(struct gr_reader *reader, struct place *place, const struct gr_doc *list)
{
    const char **names = gr_pool_array(reader->pool, list->count, sizeof *names);
    if (!names)
        return gr_reader_failed(reader);
    for (size_t i = 0; i < list->count; i++) {
        struct gr_doc *node = list->items[i];
        names[i] = local_name(reader, node);
        const struct gr_doc *first = names[i] ? gr_map_get(&place->locals, names[i]) : NULL;
        if (first)
            gr_reader_error(reader, gr_doc_get(node, "name"), NULL,
                            "two nodes are named '%s', the first in line %d", names[i],
                            gr_doc_get(first, "name")->mark.line);
        else if (names[i] &&
                 gr_map_get(place->block ? &place->formals : &reader->input_of, names[i]))
            gr_reader_error(reader, gr_doc_get(node, "name"), NULL,
                            "'%s' is the name of an input already", names[i]);
        else if (names[i] && !put(reader, &place->locals, names[i], node))
            return false;
        if (names[i] && gr_map_get(&place->locals, names[i]) != node)
            names[i] = NULL;
    }
    for (size_t i = 0; i < list->count; i++) {
        if (names[i] && !add_node(reader, place, list->items[i], names[i]))
            return false;
        if (!names[i]) /* stay silent about a default input that cannot be known */
            place->previous.name = "";
    }
    return true;
}

/* ---- using a block ----------------------------------------------------------------------- */

static const struct gr_doc *find_block(struct gr_reader *reader, const struct gr_draft *draft)
{
    const struct gr_doc *blocks = gr_doc_get(reader->root, "blocks");
    const struct gr_doc *written = gr_doc_get(draft->doc, "block");
    const char *name = gr_reader_text(reader, written, "'block'");
    const struct gr_doc *block = name ? gr_doc_get(blocks, name) : NULL;
    if (!name || block)
        return block && block->type == GR_DOC_MAPPING ? block : NULL;
    gr_reader_error(reader, written, gr_reader_nearest_key(reader, name, blocks),
                    "there is no block '%s'", name);
    return NULL;
}

static bool is_recursive(struct gr_reader *reader, const struct place *place, const char *name,
                         const struct gr_doc *written)
{
    struct gr_text chain = {0};
    bool found = false;
    int depth = 0;
    for (const struct place *p = place; p && p->block && !found; p = p->outer, depth++) {
        struct gr_text longer = {0};
        gr_text_add(&longer, "%s -> %s", p->block, chain.data ? chain.data : name);
        gr_text_release(&chain);
        chain = longer;
        found = strcmp(p->block, name) == 0;
    }
    if (found)
        gr_reader_error(reader, written, NULL, "block '%s' uses itself: %s", name,
                        chain.data ? chain.data : "");
    gr_text_release(&chain);
    if (!found && depth >= GR_DOC_MAX_DEPTH)
        gr_reader_error(reader, written, NULL, "blocks use each other more than %d deep",
                        GR_DOC_MAX_DEPTH);
    return found || depth >= GR_DOC_MAX_DEPTH;
}

static bool is_required(const struct gr_doc *value)
{
    return gr_doc_is_null(value) ||
           (value->type == GR_DOC_SCALAR && value->plain && strcmp(value->text, "required") == 0);
}

static bool is_reserved(const char *key)
{
    static const char *const reserved[] = {"name", "block", "inputs", "when"};
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
        if (strcmp(reserved[i], key) == 0)
            return true;
    return false;
}

/* Notes the keys of a use that are no parameters of the block. */
static void check_use_keys(struct gr_reader *reader, const struct gr_doc *use, const char *block,
                           const struct gr_doc *params)
{
    for (size_t i = 0; i < use->count; i++) {
        const struct gr_doc_pair *pair = &use->pairs[i];
        if (is_reserved(pair->key) || gr_doc_get(params, pair->key))
            continue;
        gr_diagnose(&reader->diagnostics, pair->mark, use->use,
                    gr_reader_nearest_key(reader, pair->key, params),
                    "block '%s' has no parameter '%s'", block, pair->key);
    }
}

/* The values of the block's parameters; *ok becomes false if one is missing. NULL: out of memory.
 */
static struct gr_doc *bind_parameters(struct gr_reader *reader, const struct gr_doc *block,
                                      const struct gr_draft *draft, const struct gr_block_use *use,
                                      bool *ok)
{
    const struct gr_doc *params = gr_doc_get(block, "params");
    struct gr_doc *values = gr_doc_new(&reader->maker, GR_DOC_MAPPING, draft->doc->mark);
    if (params && params->type != GR_DOC_MAPPING)
        params = NULL;
    check_use_keys(reader, draft->doc, use->block, params);
    for (size_t i = 0; values && params && i < params->count; i++) {
        const struct gr_doc_pair *param = &params->pairs[i];
        struct gr_doc *value = gr_doc_get(draft->doc, param->key);
        const struct gr_block_scope so_far = {use, values};
        if (!value && is_required(param->value)) {
            gr_diagnose(&reader->diagnostics, draft->mark, draft->use, NULL,
                        "block '%s' needs '%s'", use->block, param->key);
            *ok = false;
            continue;
        }
        if (!value)
            value = gr_variables_block(reader, param->value, &so_far);
        if (!value || !gr_doc_put(&reader->maker, values, param->key, param->mark, value))
            return NULL;
    }
    return values;
}

/* Formal input names -> what the use gives. */
static bool bind_inputs(struct gr_reader *reader, struct place *inner, const struct gr_doc *block,
                        const struct gr_draft *draft, bool *ok)
{
    const struct gr_doc *inputs = gr_doc_get(block, "inputs");
    const bool list = inputs && inputs->type == GR_DOC_SEQUENCE;
    const size_t count = list ? inputs->count : inputs ? 1 : 0;
    if (count != draft->n_inputs && !(count == 0 && !gr_doc_get(draft->doc, "inputs"))) {
        gr_diagnose(&reader->diagnostics, draft->mark, draft->use, NULL,
                    "block '%s' takes %zu input%s, not %zu", inner->block, count,
                    count == 1 ? "" : "s", draft->n_inputs);
        *ok = false;
        return true;
    }
    for (size_t i = 0; i < count; i++) {
        const struct gr_doc *item = list ? inputs->items[i] : inputs;
        const char *name = gr_reader_text(reader, item, "an input of a block");
        *ok = *ok && name;
        if (name && !put(reader, &inner->formals, name, &draft->inputs[i]))
            return false;
    }
    if (count)
        inner->previous = draft->inputs[0];
    return true;
}

/* The block use's name stands for the block's output: `output`, or its last node. */
static bool bind_output(struct gr_reader *reader, struct place *inner, const struct gr_doc *block,
                        const struct gr_draft *draft)
{
    const struct gr_doc *output = gr_doc_get(block, "output");
    if (!output)
        output = gr_doc_get(block, "outputs");
    struct gr_reference target = inner->previous;
    if (output) {
        const char *name = gr_reader_text(reader, output, "'output'");
        target = name ? localise(reader, inner, name, output) : (struct gr_reference){0};
    }
    return add_alias(reader, draft->name, target);
}

/* The block's nodes with its parameters put in. */
static bool fill_place(struct gr_reader *reader, struct place *inner, const struct gr_doc *block,
                       const struct gr_draft *draft)
{
    const struct gr_doc *nodes = gr_doc_get(block, "nodes");
    bool ok = true;
    inner->scope.values = bind_parameters(reader, block, draft, inner->scope.use, &ok);
    if (!inner->scope.values || !bind_inputs(reader, inner, block, draft, &ok))
        return false;
    if (!ok || !nodes || nodes->type != GR_DOC_SEQUENCE)
        return add_alias(reader, draft->name, (struct gr_reference){0});
    const struct gr_doc *copy = gr_variables_block(reader, nodes, &inner->scope);
    return copy && add_nodes(reader, inner, copy) && bind_output(reader, inner, block, draft);
}

static bool use_block(struct gr_reader *reader, const struct place *place,
                      const struct gr_draft *draft)
{
    const struct gr_doc *written = gr_doc_get(draft->doc, "block");
    const struct gr_doc *block = find_block(reader, draft);
    struct gr_block_use *use = gr_pool_alloc(reader->pool, sizeof *use);
    const char *prefix = gr_pool_printf(reader->pool, "%s.", draft->name);
    if (!use || !prefix)
        return gr_reader_failed(reader);
    if (!block || is_recursive(reader, place, written->text, written))
        return add_alias(reader, draft->name, (struct gr_reference){0});
    *use = (struct gr_block_use){written->text, draft->mark, place->scope.use};
    struct place inner = {
        .outer = place, .block = written->text, .prefix = prefix, .scope = {use, NULL}};
    const bool ok = fill_place(reader, &inner, block, draft);
    gr_map_release(&inner.formals);
    gr_map_release(&inner.locals);
    return ok;
}

/* ---- the model --------------------------------------------------------------------------- */

/* Each block's own form, whether it is used or not. */
static void check_blocks(struct gr_reader *reader)
{
    const struct gr_doc *blocks = gr_doc_get(reader->root, "blocks");
    if (!blocks || !gr_reader_mapping(reader, blocks, "'blocks'"))
        return;
    for (size_t i = 0; i < blocks->count; i++) {
        const struct gr_doc *block = blocks->pairs[i].value;
        const char *name = blocks->pairs[i].key;
        const char *what = gr_pool_printf(reader->pool, "block '%s'", name);
        if (!what || !gr_reader_mapping(reader, block, what))
            continue;
        gr_reader_check_keys(reader, block, what, block_keys);
        const struct gr_doc *params = gr_doc_get(block, "params");
        const struct gr_doc *nodes = gr_doc_get(block, "nodes");
        if (params && gr_reader_mapping(reader, params, "'params'"))
            for (size_t p = 0; p < params->count; p++)
                if (is_reserved(params->pairs[p].key))
                    gr_diagnose(&reader->diagnostics, params->pairs[p].mark, NULL, NULL,
                                "'%s' cannot be a parameter: every node has that key",
                                params->pairs[p].key);
        if (!nodes)
            gr_diagnose(&reader->diagnostics, blocks->pairs[i].mark, NULL, NULL, "%s needs 'nodes'",
                        what);
        else if (nodes->type != GR_DOC_SEQUENCE || nodes->count == 0)
            gr_reader_error(reader, nodes, NULL, "'nodes' is a list of nodes, not %s",
                            nodes->type == GR_DOC_SEQUENCE ? "empty"
                                                           : gr_doc_describe(reader->pool, nodes));
    }
}

bool gr_blocks_expand(struct gr_reader *reader)
{
    const struct gr_doc *nodes = gr_doc_get(reader->root, "nodes");
    struct place model = {.prefix = ""};
    check_blocks(reader);
    if (!nodes)
        return true; /* noted as a missing key */
    if (nodes->type != GR_DOC_SEQUENCE || nodes->count == 0) {
        gr_reader_error(reader, nodes, NULL, "'nodes' is a list of nodes, not %s",
                        nodes->type == GR_DOC_SEQUENCE ? "empty"
                                                       : gr_doc_describe(reader->pool, nodes));
        return true;
    }
    model.previous = (struct gr_reference){
        /* "": stay silent where the inputs are in error */
        reader->file->n_inputs ? reader->file->inputs[0].name : "", nodes->mark, NULL};
    const struct gr_doc *copy = gr_variables_block(reader, nodes, NULL);
    const bool ok = copy && add_nodes(reader, &model, copy);
    gr_map_release(&model.locals);
    return ok;
}
