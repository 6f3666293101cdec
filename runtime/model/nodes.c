/*
 * Drafts -> nodes: the op of each, its attributes and how its parameters are made; then what each
 * reads, and an order in which every node stands behind what it reads.
 */
#include "base/pattern.h"
#include "graph/initialise.h"
#include "model/reader.h"

#include <stdlib.h>
#include <string.h>

/* ---- one node ---------------------------------------------------------------------------- */

/* An op that may stand in a model file. */
static bool is_offered(const struct gr_op *op)
{
    return !(op->flags & (GR_OP_INTERNAL | GR_OP_OPTIMIZER));
}

static const struct gr_op *find_op(struct gr_reader *reader, const struct gr_draft *draft)
{
    const struct gr_doc *written = gr_doc_get(draft->doc, "op");
    const char *name = written ? gr_reader_text(reader, written, "'op'") : NULL;
    const struct gr_op *op = name ? gr_registry_find(reader->ops, name) : NULL;
    if (op && is_offered(op))
        return op;
    if (!written)
        gr_diagnose(&reader->diagnostics, draft->mark, draft->use, NULL,
                    "'%s' needs 'op' or 'block'", draft->name);
    if (!name)
        return NULL;
    const char **names = gr_pool_array(reader->pool, reader->ops->n_ops + 1, sizeof *names);
    size_t count = 0;
    for (size_t i = 0; names && i < reader->ops->n_ops; i++)
        if (is_offered(reader->ops->ops[i]))
            names[count++] = reader->ops->ops[i]->kind.name;
    gr_reader_error(reader, written, gr_reader_nearest(reader, name, names), "there is no op '%s'",
                    name);
    return NULL;
}

static size_t count_parameters(const struct gr_op *op)
{
    size_t count = 0;
    while (op->params && op->params[count].name)
        count++;
    return count;
}

enum { INIT, LR, DECAY, N_PARAMETER_KEYS };
static const char *const parameter_keys[N_PARAMETER_KEYS] = {"init", "lr", "decay"};

/* The keys of a node that are not its op's attributes; NULL-terminated. NULL: out of memory. */
static const char **other_keys(struct gr_reader *reader, const struct gr_op *op)
{
    static const char *const common[] = {"name", "op", "inputs", "when", "freeze", "share"};
    const size_t n_common = sizeof common / sizeof *common, n_params = count_parameters(op);
    const char **keys =
        gr_pool_array(reader->pool, n_common + n_params * N_PARAMETER_KEYS + 1, sizeof *keys);
    if (keys)
        memcpy(keys, common, sizeof common);
    for (size_t i = 0; keys && i < n_params * N_PARAMETER_KEYS; i++)
        keys[n_common + i] =
            gr_pool_printf(reader->pool, "%s_%s", op->params[i / N_PARAMETER_KEYS].name,
                           parameter_keys[i % N_PARAMETER_KEYS]);
    return keys;
}

static bool read_multiplier(struct gr_reader *reader, const struct gr_doc *doc, double *value)
{
    if (!gr_scalar_float(doc, value))
        gr_reader_error(reader, doc, NULL, "a multiplier is a number, not %s",
                        gr_doc_describe(reader->pool, doc));
    else if (*value < 0)
        gr_reader_error(reader, doc, NULL, "a multiplier is at least 0, not %s", doc->text);
    return true;
}

/* NAME_init, NAME_lr and NAME_decay of every parameter. NULL: none are written. */
static const struct gr_parameter_spec *
read_parameters(struct gr_reader *reader, const struct gr_op *op, const struct gr_doc *doc)
{
    const struct gr_menu menu = {"initialiser", gr_initialisers, "constant", "value"};
    const size_t count = count_parameters(op);
    struct gr_parameter_spec *specs = gr_pool_array(reader->pool, count, sizeof *specs);
    const char **keys = other_keys(reader, op);
    bool any = false;
    if (!specs || !keys) {
        gr_reader_failed(reader);
        return NULL;
    }
    while (strcmp(*keys, "share") != 0)
        keys++;
    keys++;
    for (size_t i = 0; i < count; i++, keys += N_PARAMETER_KEYS) {
        struct gr_doc *init = keys[INIT] ? gr_doc_get(doc, keys[INIT]) : NULL;
        const struct gr_doc *lr = keys[LR] ? gr_doc_get(doc, keys[LR]) : NULL;
        const struct gr_doc *decay = keys[DECAY] ? gr_doc_get(doc, keys[DECAY]) : NULL;
        any = any || init || lr || decay;
        if (init)
            specs[i].init = gr_choice_read(reader, &menu, init);
        specs[i].set_lr_mult = lr && read_multiplier(reader, lr, &specs[i].lr_mult);
        specs[i].set_decay_mult = decay && read_multiplier(reader, decay, &specs[i].decay_mult);
    }
    return any ? specs : NULL;
}

/* Freezes a node that options->freeze means, as if the model file said so. */
static bool freeze(struct gr_reader *reader, const struct gr_op *op, const struct gr_draft *draft)
{
    const struct gr_model_options *o = reader->options;
    if (!o || !count_parameters(op) || !gr_pattern_matches_any(o->freeze, o->n_freeze, draft->name))
        return true;
    struct gr_doc_pair *pair = gr_doc_pair(draft->doc, "freeze");
    struct gr_doc *yes = gr_doc_scalar(&reader->maker, "true", draft->mark);
    if (pair && yes)
        pair->value = yes;
    return pair ? yes != NULL : gr_doc_put(&reader->maker, draft->doc, "freeze", draft->mark, yes);
}

bool gr_nodes_check_freeze(const struct gr_reader *reader, struct gr_error *err)
{
    const struct gr_model_options *o = reader->options;
    const struct gr_model_file *file = reader->file;
    if (!o || !o->n_freeze || !gr_reader_is_clean(reader))
        return true;
    const char **names = calloc(file->n_nodes + 1, sizeof *names);
    size_t n = 0;
    for (size_t i = 0; names && i < file->n_nodes; i++)
        if (count_parameters(file->nodes[i].op))
            names[n++] = file->nodes[i].name;
    const bool ok = names ? gr_patterns_check("freeze", o->freeze, o->n_freeze,
                                              "node with parameters", names, n, err)
                          : gr_fail_memory(err, "a model file");
    free(names);
    return ok;
}

static bool read_freeze(struct gr_reader *reader, const struct gr_op *op, const struct gr_doc *doc)
{
    const struct gr_doc *freeze = gr_doc_get(doc, "freeze");
    if (!freeze)
        return false;
    const bool yes = freeze->type == GR_DOC_SCALAR && strcmp(freeze->text, "true") == 0;
    const bool no = freeze->type == GR_DOC_SCALAR && strcmp(freeze->text, "false") == 0;
    if (!yes && !no)
        gr_reader_error(reader, freeze, NULL, "'freeze' is true or false, not %s",
                        gr_doc_describe(reader->pool, freeze));
    else if (yes && !count_parameters(op))
        gr_reader_error(reader, freeze, NULL, "%s has no parameters to freeze", op->kind.name);
    return yes;
}

/* False: out of memory. node->op stays NULL after a mistake. */
static bool read_node(struct gr_reader *reader, const struct gr_draft *draft,
                      struct gr_model_node *node)
{
    *node = (struct gr_model_node){.name = draft->name, .mark = draft->mark, .use = draft->use};
    const struct gr_op *op = find_op(reader, draft);
    if (!op)
        return true;
    const char **others = other_keys(reader, op);
    bool ok = true;
    node->attrs = others ? gr_attributes_read(reader, &op->kind, draft->doc, others,
                                              gr_doc_get(draft->doc, "name"), &ok)
                         : NULL;
    if (!node->attrs)
        return gr_reader_failed(reader);
    if (!freeze(reader, op, draft))
        return gr_reader_failed(reader);
    node->parameters = read_parameters(reader, op, draft->doc);
    node->frozen = read_freeze(reader, op, draft->doc);
    node->op = ok ? op : NULL;
    return !reader->maker.failed;
}

/* ---- references -------------------------------------------------------------------------- */

/* The longest prefix of name, ended by a dot, that is a key of a map; its length, or 0. */
static size_t known_prefix(struct gr_reader *reader, const char *name, const struct gr_map *map)
{
    char *head = gr_pool_strdup(reader->pool, name);
    for (char *dot = head ? strrchr(head, '.') : NULL; dot; dot = strrchr(head, '.')) {
        *dot = '\0';
        if (gr_map_get(map, head))
            return (size_t)(dot - head);
    }
    return 0;
}

static void *get_prefix(struct gr_reader *reader, const char *name, size_t length,
                        const struct gr_map *map)
{
    const char *head = length ? gr_pool_strndup(reader->pool, name, length) : NULL;
    return head ? gr_map_get(map, head) : NULL;
}

static const char *unknown(struct gr_reader *reader, const struct gr_reference *reference,
                           const char *name, const char *who)
{
    const struct gr_map *const maps[] = {&reader->draft_of, &reader->alias_of, &reader->input_of};
    gr_diagnose(&reader->diagnostics, reference->mark, reference->use,
                gr_reader_nearest_of(reader, name, maps, 3),
                "%s '%s', which no node or input is named", who, name);
    return NULL;
}

const char *gr_nodes_resolve(struct gr_reader *reader, const struct gr_reference *reference,
                             const char *who, size_t *draft)
{
    const char *name = reference->name;
    *draft = SIZE_MAX;
    for (size_t steps = 0; name && *name; steps++) {
        size_t node = (size_t)(uintptr_t)gr_map_get(&reader->draft_of, name);
        if (!node && gr_map_get(&reader->input_of, name))
            return name;
        const struct gr_alias *alias = node ? NULL : gr_map_get(&reader->alias_of, name);
        const char *tail = "";
        if (!node && !alias) {
            const size_t length = known_prefix(reader, name, &reader->draft_of);
            const size_t longer = known_prefix(reader, name, &reader->alias_of);
            node = (size_t)(uintptr_t)get_prefix(reader, name, length, &reader->draft_of);
            if (longer > length) {
                node = 0;
                alias = get_prefix(reader, name, longer, &reader->alias_of);
                tail = name + longer;
            }
        }
        if (node) {
            *draft = node - 1;
            return name;
        }
        if (!alias)
            return unknown(reader, reference, name, who);
        if (steps > reader->alias_of.count) {
            gr_diagnose(&reader->diagnostics, reference->mark, reference->use, NULL,
                        "%s '%s', which stands for itself", who, reference->name);
            return NULL;
        }
        name = alias->target.name && *tail
                   ? gr_pool_printf(reader->pool, "%s%s", alias->target.name, tail)
                   : alias->target.name;
    }
    return NULL;
}

/* ---- what a node reads, and the order ---------------------------------------------------- */

/* A node while it is put in order; its dependencies are indices of drafts. */
struct work {
    struct gr_model_node node;
    size_t *needs;
    size_t n_needs, next;
    enum { UNSEEN, OPEN, DONE } state;
};

/* Resolves what the node reads; a node that reads the unknown is in error itself. */
static bool connect(struct gr_reader *reader, const struct gr_draft *draft, struct work *work)
{
    struct gr_model_node *node = &work->node;
    node->inputs = gr_pool_array(reader->pool, draft->n_inputs, sizeof *node->inputs);
    node->input_marks = gr_pool_array(reader->pool, draft->n_inputs, sizeof *node->input_marks);
    work->needs = gr_pool_array(reader->pool, draft->n_inputs + 1, sizeof *work->needs);
    const char *who = gr_pool_printf(reader->pool, "'%s' reads", draft->name);
    const char *sharer = gr_pool_printf(reader->pool, "'%s' shares", draft->name);
    if (!node->inputs || !node->input_marks || !work->needs || !who || !sharer)
        return gr_reader_failed(reader);
    node->n_inputs = (int)draft->n_inputs;
    for (size_t i = 0; i < draft->n_inputs; i++) {
        size_t need;
        node->inputs[i] = gr_nodes_resolve(reader, &draft->inputs[i], who, &need);
        node->input_marks[i] = draft->inputs[i].mark;
        if (need != SIZE_MAX)
            work->needs[work->n_needs++] = need;
        if (!node->inputs[i])
            node->op = NULL;
    }
    if (!draft->share.name)
        return true;
    size_t need;
    node->share = gr_nodes_resolve(reader, &draft->share, sharer, &need);
    if (need != SIZE_MAX)
        work->needs[work->n_needs++] = need;
    if (node->share && (need == SIZE_MAX || strcmp(reader->drafts[need].name, node->share) != 0)) {
        gr_diagnose(&reader->diagnostics, draft->share.mark, draft->share.use, NULL,
                    "'%s' is no node; 'share' takes one with parameters", node->share);
        node->share = NULL;
    }
    if (!node->share)
        node->op = NULL;
    return true;
}

/* stack[from .. depth) need each other in turn, the last needs the first. Told along the data. */
static bool note_cycle(struct gr_reader *reader, const size_t *stack, size_t from, size_t depth,
                       struct work *works)
{
    enum { SHOWN = 12 };
    const size_t count = depth - from;
    size_t first = from;
    struct gr_text text = {0};
    for (size_t i = from; i < depth; i++) {
        first = stack[i] < stack[first] ? i : first;
        works[stack[i]].node.op = NULL;
    }
    for (size_t i = 0; i <= count && i <= SHOWN; i++) {
        const size_t at = from + (first - from + count * 2 - i) % count;
        gr_text_add(&text, "%s%s", i ? " -> " : "", reader->drafts[stack[at]].name);
    }
    if (count > SHOWN)
        gr_text_add(&text, " -> ... -> %s", reader->drafts[stack[first]].name);
    const struct gr_draft *draft = &reader->drafts[stack[first]];
    const bool ok = text.data && !text.failed;
    if (ok)
        gr_diagnose(&reader->diagnostics, draft->mark, draft->use, NULL,
                    "the graph has a cycle: %s", text.data);
    gr_text_release(&text);
    return ok || gr_reader_failed(reader);
}

/* Where in the stack a node stands, which is open. */
static size_t find_open(const size_t *stack, size_t depth, size_t node)
{
    size_t at = depth - 1;
    while (stack[at] != node)
        at--;
    return at;
}

/* Appends a node behind everything it needs: depth first, with a stack of our own. */
static bool visit(struct gr_reader *reader, struct work *works, size_t *stack, size_t root)
{
    struct gr_model_file *file = reader->file;
    size_t depth = 0;
    bool ok = true;
    if (works[root].state == UNSEEN) {
        works[root].state = OPEN;
        stack[depth++] = root;
    }
    while (ok && depth) {
        struct work *top = &works[stack[depth - 1]];
        if (top->next == top->n_needs) {
            top->state = DONE;
            file->nodes[file->n_nodes++] = top->node;
            depth--;
            continue;
        }
        const size_t need = top->needs[top->next++];
        if (works[need].state == OPEN) {
            ok = note_cycle(reader, stack, find_open(stack, depth, need), depth, works);
        } else if (works[need].state == UNSEEN) {
            works[need].state = OPEN;
            stack[depth++] = need;
        }
    }
    return ok;
}

/* ---- back into the document -------------------------------------------------------------- */

static struct gr_doc *text_doc(struct gr_reader *reader, const char *text, struct gr_mark mark)
{
    return text ? gr_doc_scalar(&reader->maker, text, mark) : NULL;
}

/* The node as a mapping that needs nothing around it: full names, every input said. */
static struct gr_doc *node_doc(struct gr_reader *reader, const struct gr_model_node *node,
                               const struct gr_doc *written)
{
    struct gr_doc_maker *maker = &reader->maker;
    struct gr_doc *doc = gr_doc_new(maker, GR_DOC_MAPPING, node->mark);
    struct gr_doc *inputs = gr_doc_new(maker, GR_DOC_SEQUENCE, node->mark);
    if (!doc || !inputs)
        return NULL;
    for (int i = 0; i < node->n_inputs; i++)
        if (!gr_doc_append(maker, inputs, text_doc(reader, node->inputs[i], node->mark)))
            return NULL;
    bool ok =
        gr_doc_put(maker, doc, "name", node->mark, text_doc(reader, node->name, node->mark)) &&
        gr_doc_put(maker, doc, "op", node->mark,
                   text_doc(reader, node->op->kind.name, node->mark)) &&
        gr_doc_put(maker, doc, "inputs", node->mark,
                   inputs->count == 1 ? inputs->items[0] : inputs);
    for (size_t i = 0; ok && i < written->count; i++) {
        const struct gr_doc_pair *pair = &written->pairs[i];
        if (gr_doc_get(doc, pair->key) || strcmp(pair->key, "when") == 0)
            continue;
        struct gr_doc *value = strcmp(pair->key, "share") == 0
                                   ? text_doc(reader, node->share, pair->mark)
                                   : pair->value;
        ok = gr_doc_put(maker, doc, pair->key, pair->mark, value);
    }
    return ok ? doc : NULL;
}

/* Replaces the document's nodes by the expanded ones, in order. */
static bool rewrite(struct gr_reader *reader)
{
    struct gr_doc_pair *nodes = gr_doc_pair(reader->root, "nodes");
    struct gr_doc *list = gr_doc_new(&reader->maker, GR_DOC_SEQUENCE, nodes->mark);
    for (size_t i = 0; list && i < reader->file->n_nodes; i++) {
        const struct gr_model_node *node = &reader->file->nodes[i];
        const size_t index = (size_t)(uintptr_t)gr_map_get(&reader->draft_of, node->name);
        if (!gr_doc_append(&reader->maker, list,
                           node_doc(reader, node, reader->drafts[index - 1].doc)))
            list = NULL;
    }
    if (list)
        nodes->value = list;
    return list != NULL;
}

bool gr_nodes_read(struct gr_reader *reader)
{
    const size_t count = reader->n_drafts;
    struct work *works = calloc(count + 1, sizeof *works);
    size_t *stack = calloc(count + 1, sizeof *stack);
    reader->file->nodes = gr_pool_array(reader->pool, count, sizeof *reader->file->nodes);
    bool ok = (works && stack && reader->file->nodes) || gr_reader_failed(reader);
    for (size_t i = 0; ok && i < count; i++)
        ok = read_node(reader, &reader->drafts[i], &works[i].node) &&
             connect(reader, &reader->drafts[i], &works[i]);
    for (size_t i = 0; ok && i < count; i++)
        ok = visit(reader, works, stack, i);
    if (ok && count && gr_reader_is_clean(reader))
        ok = rewrite(reader);
    free(stack);
    free(works);
    return ok;
}
