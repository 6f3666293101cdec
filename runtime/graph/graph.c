/*
 * Building a graph: values, nodes, names; see graph.h.
 */
#include "graph/graph.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/initialise.h"
#include "graph/op.h"

enum { MAX_OUTPUTS = 8, MAX_PARAMS = 8 };

struct gr_graph *gr_graph_new(const struct gr_registry *ops, bool training)
{
    struct gr_graph *graph = calloc(1, sizeof *graph);
    if (graph) {
        graph->ops = ops;
        graph->training = training;
    }
    return graph;
}

void gr_graph_free(struct gr_graph *graph)
{
    if (!graph)
        return;
    gr_map_release(&graph->value_names);
    gr_map_release(&graph->node_names);
    free(graph->nodes);
    free(graph->values);
    gr_pool_release(&graph->pool);
    free(graph);
}

struct gr_value *gr_graph_value(const struct gr_graph *graph, const char *name)
{
    return gr_map_get(&graph->value_names, name);
}

struct gr_node *gr_graph_node(const struct gr_graph *graph, const char *name)
{
    return gr_map_get(&graph->node_names, name);
}

struct gr_value *gr_graph_add_value(struct gr_graph *graph, const char *name,
                                    enum gr_value_kind kind, enum gr_dtype dtype,
                                    const struct gr_shape *shape, struct gr_error *err)
{
    if (gr_graph_value(graph, name)) {
        gr_fail(err, GR_ERR_MODEL, "two values are named '%s'", name);
        return NULL;
    }
    if (!gr_shape_check(shape)) {
        gr_fail(err, GR_ERR_MODEL, "'%s' is too large or has an empty dimension", name);
        return NULL;
    }
    struct gr_value *value = gr_pool_alloc(&graph->pool, sizeof *value);
    char *own_name = gr_pool_strdup(&graph->pool, name);
    if (!value || !own_name ||
        !gr_grow((void **)&graph->values, &graph->values_capacity, graph->n_values,
                 sizeof(struct gr_value *)) ||
        !gr_map_put(&graph->value_names, own_name, value)) {
        gr_fail_memory(err, "a graph value");
        return NULL;
    }
    *value = (struct gr_value){.name = own_name,
                               .id = (int)graph->n_values,
                               .kind = kind,
                               .dtype = dtype,
                               .shape = *shape};
    graph->values[graph->n_values++] = value;
    return value;
}

static struct gr_node *node_new(struct gr_graph *graph, const struct gr_op *op, const char *name,
                                const void *attrs, struct gr_value *const *inputs, int n_inputs,
                                int room, struct gr_error *err)
{
    struct gr_node *node = gr_pool_alloc(&graph->pool, sizeof *node);
    char *own_name = gr_pool_strdup(&graph->pool, name);
    struct gr_value **slots =
        gr_pool_array(&graph->pool, (size_t)n_inputs + (size_t)room + MAX_OUTPUTS, sizeof *slots);
    if (node && !attrs)
        attrs = gr_kind_defaults(&op->kind, &graph->pool);
    if (!node || !own_name || !slots || !attrs ||
        !gr_grow((void **)&graph->nodes, &graph->nodes_capacity, graph->n_nodes,
                 sizeof(struct gr_node *)) ||
        !gr_map_put(&graph->node_names, own_name, node)) {
        gr_fail_memory(err, "a graph node");
        return NULL;
    }
    for (int i = 0; i < n_inputs; i++)
        slots[i] = inputs[i];
    *node = (struct gr_node){.name = own_name,
                             .id = (int)graph->n_nodes,
                             .op = op,
                             .attrs = attrs,
                             .n_inputs = n_inputs,
                             .n_data = n_inputs,
                             .inputs = slots,
                             .outputs = slots + n_inputs + room,
                             .graph = graph};
    graph->nodes[graph->n_nodes++] = node;
    return node;
}

struct gr_value *gr_node_output(struct gr_node *node, const char *suffix, enum gr_dtype dtype,
                                const struct gr_shape *shape, struct gr_error *err)
{
    assert(node->n_outputs < MAX_OUTPUTS);
    const char *name = node->name;
    if (suffix && !(name = gr_pool_printf(&node->graph->pool, "%s.%s", node->name, suffix))) {
        gr_fail_memory(err, "a value name");
        return NULL;
    }
    struct gr_value *value =
        gr_graph_add_value(node->graph, name, GR_VALUE_RESULT, dtype, shape, err);
    if (!value)
        return NULL;
    value->producer = node;
    node->outputs[node->n_outputs++] = value;
    return value;
}

struct gr_value *gr_node_workspace(struct gr_node *node, const char *suffix, struct gr_error *err)
{
    const struct gr_shape one = {.rank = 1, .dim = {1}};
    struct gr_value *value = gr_node_output(node, suffix, GR_U8, &one, err);
    if (value)
        value->kind = GR_VALUE_WORKSPACE;
    return value;
}

bool gr_node_set_inputs(struct gr_node *node, struct gr_value *const *inputs, int n_inputs)
{
    struct gr_value **copy =
        gr_pool_array(&node->graph->pool, (size_t)n_inputs, sizeof(struct gr_value *));
    if (!copy)
        return false;
    for (int i = 0; i < n_inputs; i++)
        copy[i] = inputs[i];
    node->inputs = copy;
    node->n_inputs = n_inputs;
    return true;
}

bool gr_node_fail(const struct gr_node *node, struct gr_error *err, const char *format, ...)
{
    char message[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    return gr_fail(err, GR_ERR_MODEL, "%s (%s): %s", node->name, node->op->kind.name, message);
}

/* ---- forward nodes ----------------------------------------------------------------------- */

static bool check_inputs(const struct gr_node *node, struct gr_error *err)
{
    const int n = node->n_data, min = node->op->min_inputs, max = node->op->max_inputs;
    if (n >= min && (max < 0 || n <= max))
        return true;
    if (min == max)
        return gr_node_fail(node, err, "takes %d input%s, %d given", min, min == 1 ? "" : "s", n);
    if (max < 0)
        return gr_node_fail(node, err, "takes at least %d inputs, %d given", min, n);
    return gr_node_fail(node, err, "takes %d to %d inputs, %d given", min, max, n);
}

/* Fan-in and fan-out of a weight [O, I, k...]; of a vector, its length for both. */
static void set_fans(struct gr_parameter *parameter, const struct gr_shape *shape)
{
    const int64_t count = gr_shape_count(shape);
    parameter->fan_in = shape->rank > 1 ? count / shape->dim[0] : count;
    parameter->fan_out = shape->rank > 1 ? count / shape->dim[1] : count;
}

static struct gr_choice default_init(const struct gr_param_rule *rule, struct gr_pool *pool)
{
    if (!rule->init || strcmp(rule->init, "constant") == 0)
        return gr_initialiser_constant(rule->init_value, pool);
    const struct gr_kind *kind = gr_initialiser_find(rule->init);
    assert(kind);
    void *attrs = gr_kind_defaults(kind, pool);
    return (struct gr_choice){attrs ? kind : NULL, attrs};
}

static struct gr_value *declare(struct gr_node *node, const struct gr_param_rule *rule,
                                const struct gr_parameter_spec *spec, bool frozen,
                                const struct gr_shape *shape, struct gr_error *err)
{
    struct gr_pool *pool = &node->graph->pool;
    const char *name = gr_pool_printf(pool, "%s.%s", node->name, rule->name);
    struct gr_parameter *parameter = gr_pool_alloc(pool, sizeof *parameter);
    if (!name || !parameter) {
        gr_fail_memory(err, "a parameter");
        return NULL;
    }
    struct gr_value *value =
        gr_graph_add_value(node->graph, name, GR_VALUE_PARAMETER, GR_F32, shape, err);
    if (!value)
        return NULL;
    parameter->init = spec && spec->init.kind ? spec->init : default_init(rule, pool);
    parameter->lr_mult = spec && spec->set_lr_mult ? spec->lr_mult : 1;
    parameter->decay_mult = spec && spec->set_decay_mult ? spec->decay_mult : rule->decay_mult;
    parameter->statistic = rule->statistic;
    parameter->trainable = !rule->statistic && !frozen;
    set_fans(parameter, shape);
    value->parameter = parameter;
    if (!parameter->init.kind) {
        gr_fail_memory(err, "an initialiser");
        return NULL;
    }
    return value;
}

/* The parameter of the same rule of the node whose parameters are shared; its shape must agree. */
static struct gr_value *shared(const struct gr_node *node, const struct gr_node *from, int position,
                               const struct gr_shape *shape, struct gr_error *err)
{
    char mine[GR_SHAPE_TEXT], theirs[GR_SHAPE_TEXT];
    if (from->op != node->op || from->n_data + position >= from->n_inputs) {
        gr_node_fail(node, err, "cannot share the parameters of '%s' (%s)", from->name,
                     from->op->kind.name);
        return NULL;
    }
    struct gr_value *value = from->inputs[from->n_data + position];
    if (!gr_shape_equal(&value->shape, shape)) {
        gr_node_fail(node, err, "shares '%s' of shape %s but needs %s", value->name,
                     gr_shape_text(&value->shape, theirs), gr_shape_text(shape, mine));
        return NULL;
    }
    return value;
}

static bool add_parameters(struct gr_node *node, const struct gr_node_spec *spec,
                           struct gr_error *err)
{
    int position = 0;
    for (int i = 0; node->op->params && node->op->params[i].name; i++) {
        assert(i < MAX_PARAMS);
        const struct gr_param_rule *rule = &node->op->params[i];
        struct gr_shape shape;
        if (!rule->shape(node, &shape))
            continue;
        if (!gr_shape_check(&shape))
            return gr_node_fail(node, err, "parameter '%s' is too large", rule->name);
        struct gr_value *value =
            spec->share ? shared(node, spec->share, position, &shape, err)
                        : declare(node, rule, spec->parameters ? &spec->parameters[i] : NULL,
                                  spec->frozen, &shape, err);
        if (!value)
            return false;
        node->inputs[node->n_inputs++] = value;
        position++;
    }
    return true;
}

struct gr_node *gr_graph_add_node(struct gr_graph *graph, const struct gr_node_spec *spec,
                                  struct gr_error *err)
{
    if (gr_graph_node(graph, spec->name) || gr_graph_value(graph, spec->name)) {
        gr_fail(err, GR_ERR_MODEL, "the name '%s' is taken", spec->name);
        return NULL;
    }
    struct gr_node *node = node_new(graph, spec->op, spec->name, spec->attrs, spec->inputs,
                                    spec->n_inputs, MAX_PARAMS, err);
    if (!node)
        return NULL;
    node->mark = spec->mark;
    node->frozen = spec->frozen || (spec->share && spec->share->frozen);
    if (!check_inputs(node, err) || !node->op->infer(node, err) || !add_parameters(node, spec, err))
        return NULL;
    return node;
}

struct gr_node *gr_graph_emit(struct gr_graph *graph, const struct gr_op *op, enum gr_phase phase,
                              const char *name, const void *attrs, struct gr_value *const *inputs,
                              int n_inputs, struct gr_error *err)
{
    const char *unique = name;
    for (int i = 2; unique && (gr_graph_node(graph, unique) || gr_graph_value(graph, unique)); i++)
        unique = gr_pool_printf(&graph->pool, "%s.%d", name, i);
    if (!unique) {
        gr_fail_memory(err, "a node name");
        return NULL;
    }
    struct gr_node *node = node_new(graph, op, unique, attrs, inputs, n_inputs, 0, err);
    if (node)
        node->phase = phase;
    return node;
}

/* ---- uses -------------------------------------------------------------------------------- */

bool gr_uses_init(struct gr_uses *uses, const struct gr_graph *graph, struct gr_error *err)
{
    size_t total = 0;
    *uses = (struct gr_uses){calloc(graph->n_values + 2, sizeof *uses->first), NULL};
    for (size_t n = 0; uses->first && n < graph->n_nodes; n++)
        for (int i = 0; i < graph->nodes[n]->n_inputs; i++, total++)
            uses->first[graph->nodes[n]->inputs[i]->id + 2]++;
    uses->nodes = malloc((total + 1) * sizeof(struct gr_node *));
    if (!uses->first || !uses->nodes) {
        gr_uses_release(uses);
        return gr_fail_memory(err, "the uses of values");
    }
    for (size_t v = 2; v < graph->n_values + 2; v++)
        uses->first[v] += uses->first[v - 1];
    for (size_t n = 0; n < graph->n_nodes; n++)
        for (int i = 0; i < graph->nodes[n]->n_inputs; i++)
            uses->nodes[uses->first[graph->nodes[n]->inputs[i]->id + 1]++] = graph->nodes[n];
    return true;
}

void gr_uses_release(struct gr_uses *uses)
{
    free(uses->first);
    free(uses->nodes);
    *uses = (struct gr_uses){0};
}
