/*
 * Autodiff and updates as graph-to-graph passes; see autodiff.h.
 *
 * The nodes are walked from the last to the first (they are in topological order, being added after
 * their inputs). A value's gradient is complete when its producer is reached, since all its
 * consumers come later: there the contributions are summed.
 */
#include "graph/autodiff.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* The contributions to one value's gradient, as a list in the graph's pool. */
struct part {
    struct gr_value *gradient;
    struct part *next;
};

struct gr_grad {
    struct gr_graph *graph;
    struct gr_node *node;        /* the one whose rule runs */
    size_t n_values;             /* of the forward graph */
    bool *needed;                /* [n_values] does a wanted value lie at or above it? */
    struct part **parts;         /* [n_values] */
    struct gr_value **gradients; /* [n_values] complete ones */
};

struct gr_value *gr_grad_output(struct gr_grad *grad, int output)
{
    return grad->gradients[grad->node->outputs[output]->id];
}

bool gr_grad_wanted(const struct gr_grad *grad, int input)
{
    return grad->needed[grad->node->inputs[input]->id];
}

bool gr_grad_pass(struct gr_grad *grad, int input, struct gr_value *gradient, struct gr_error *err)
{
    const struct gr_value *value = grad->node->inputs[input];
    char have[GR_SHAPE_TEXT], want[GR_SHAPE_TEXT];
    if (!grad->needed[value->id])
        return true;
    if (!gr_shape_equal(&gradient->shape, &value->shape))
        return gr_node_fail(grad->node, err, "the gradient of '%s' has shape %s, not %s",
                            value->name, gr_shape_text(&gradient->shape, have),
                            gr_shape_text(&value->shape, want));
    struct part *part = gr_pool_alloc(&grad->graph->pool, sizeof *part);
    if (!part)
        return gr_fail_memory(err, "a gradient");
    *part = (struct part){gradient, grad->parts[value->id]};
    grad->parts[value->id] = part;
    return true;
}

/* Adds an output named "grad:NAME", made unique when several nodes contribute. */
static struct gr_value *gradient_output(struct gr_node *node, struct gr_value *of,
                                        struct gr_error *err)
{
    struct gr_graph *graph = node->graph;
    const char *name = gr_pool_printf(&graph->pool, "grad:%s", of->name);
    const char *unique = name;
    for (int i = 1; unique && gr_graph_value(graph, unique); i++)
        unique = gr_pool_printf(&graph->pool, "%s.%d", name, i);
    if (!unique) {
        gr_fail_memory(err, "a gradient name");
        return NULL;
    }
    struct gr_value *value =
        gr_graph_add_value(graph, unique, GR_VALUE_RESULT, of->dtype, &of->shape, err);
    if (!value)
        return NULL;
    value->producer = node;
    value->of = of;
    node->outputs[node->n_outputs++] = value;
    return value;
}

static struct gr_node *emit(struct gr_grad *grad, const struct gr_op *op, enum gr_phase phase,
                            struct gr_value *const *inputs, int n_inputs, struct gr_error *err)
{
    const char *name = gr_pool_printf(&grad->graph->pool, "%s:%s", grad->node->name, op->kind.name);
    if (!name) {
        gr_fail_memory(err, "a node name");
        return NULL;
    }
    struct gr_node *node =
        gr_graph_emit(grad->graph, op, phase, name, grad->node->attrs, inputs, n_inputs, err);
    if (node) {
        node->forward = grad->node;
        node->mark = grad->node->mark;
    }
    return node;
}

struct gr_node *gr_grad_emit(struct gr_grad *grad, const struct gr_op *op,
                             struct gr_value *const *inputs, int n_inputs, const int *targets,
                             int n_targets, struct gr_error *err)
{
    struct gr_node *node = emit(grad, op, GR_BACKWARD, inputs, n_inputs, err);
    for (int k = 0; node && k < n_targets; k++) {
        if (targets[k] < 0) {
            char suffix[32];
            snprintf(suffix, sizeof suffix, "unused%d", k);
            if (!gr_node_workspace(node, suffix, err))
                return NULL;
            continue;
        }
        struct gr_value *value = gradient_output(node, grad->node->inputs[targets[k]], err);
        if (!value || !gr_grad_pass(grad, targets[k], value, err))
            return NULL;
    }
    return node;
}

struct gr_node *gr_grad_emit_update(struct gr_grad *grad, const struct gr_op *op,
                                    struct gr_value *const *inputs, int n_inputs,
                                    struct gr_error *err)
{
    return emit(grad, op, GR_UPDATE, inputs, n_inputs, err);
}

/* Marks what needs a gradient: trainable parameters, wanted values, and what is computed from them.
 */
static void mark_needed(struct gr_grad *grad, struct gr_value *const *wanted, size_t n_wanted)
{
    const struct gr_graph *graph = grad->graph;
    for (size_t v = 0; v < grad->n_values; v++) {
        const struct gr_parameter *parameter = graph->values[v]->parameter;
        grad->needed[v] = parameter && parameter->trainable;
    }
    for (size_t i = 0; i < n_wanted; i++)
        grad->needed[wanted[i]->id] = true;
    for (size_t n = 0; n < graph->n_nodes; n++) {
        const struct gr_node *node = graph->nodes[n];
        bool any = false;
        for (int i = 0; i < node->n_inputs; i++)
            any = any || grad->needed[node->inputs[i]->id];
        for (int o = 0; any && o < node->n_outputs; o++)
            grad->needed[node->outputs[o]->id] = true;
    }
}

/* Completes the gradient of a value: nothing, the one contribution, or their sum. */
static bool complete(struct gr_grad *grad, struct gr_value *value, struct gr_error *err)
{
    int count = 0;
    for (struct part *part = grad->parts[value->id]; part; part = part->next)
        count++;
    if (count == 0)
        return true;
    if (count == 1) {
        grad->gradients[value->id] = grad->parts[value->id]->gradient;
        return true;
    }
    struct gr_value **parts =
        gr_pool_array(&grad->graph->pool, (size_t)count, sizeof(struct gr_value *));
    const char *name = gr_pool_printf(&grad->graph->pool, "%s:sum", value->name);
    if (!parts || !name)
        return gr_fail_memory(err, "a sum of gradients");
    int i = count;
    for (struct part *part = grad->parts[value->id]; part; part = part->next)
        parts[--i] = part->gradient;
    struct gr_node *node = gr_graph_emit(grad->graph, grad->graph->ops->sum, GR_BACKWARD, name,
                                         NULL, parts, count, err);
    if (!node)
        return false;
    node->forward = value->producer;
    return (grad->gradients[value->id] = gradient_output(node, value, err)) != NULL;
}

static bool seed(struct gr_grad *grad, const struct gr_loss *loss, struct gr_error *err)
{
    if (gr_shape_count(&loss->value->shape) != 1)
        return gr_fail(err, GR_ERR_MODEL, "the loss '%s' is not a scalar", loss->value->name);
    if (!grad->needed[loss->value->id])
        return true; /* depends on nothing that is trained */
    double *weight = gr_pool_alloc(&grad->graph->pool, sizeof *weight);
    const char *name = gr_pool_printf(&grad->graph->pool, "%s:seed", loss->value->name);
    if (!weight || !name)
        return gr_fail_memory(err, "the seed of a loss");
    *weight = loss->weight;
    struct gr_node *node =
        gr_graph_emit(grad->graph, grad->graph->ops->fill, GR_BACKWARD, name, weight, NULL, 0, err);
    if (!node)
        return false;
    struct gr_value *value = gradient_output(node, loss->value, err);
    struct part *part = value ? gr_pool_alloc(&grad->graph->pool, sizeof *part) : NULL;
    if (!part)
        return gr_fail_memory(err, "a gradient");
    *part = (struct part){value, grad->parts[loss->value->id]};
    grad->parts[loss->value->id] = part;
    return true;
}

static bool differentiate(struct gr_grad *grad, struct gr_node *node, struct gr_error *err)
{
    bool seen = false, wanted = false, keeps = false;
    for (int o = 0; o < node->n_outputs; o++) {
        if (!complete(grad, node->outputs[o], err))
            return false;
        seen = seen || grad->gradients[node->outputs[o]->id];
    }
    for (int i = 0; i < node->n_inputs; i++) {
        const struct gr_parameter *parameter = node->inputs[i]->parameter;
        wanted = wanted || grad->needed[node->inputs[i]->id];
        keeps =
            keeps || (node->graph->training && !node->frozen && parameter && parameter->statistic);
    }
    if (!(seen && wanted) && !keeps) /* statistics are kept also where nothing is trained */
        return true;
    if (!node->op->grad)
        return gr_node_fail(node, err, "is not differentiable, and the loss depends on it");
    grad->node = node;
    return node->op->grad(node, grad, err);
}

bool gr_autodiff(struct gr_graph *graph, const struct gr_loss *losses, size_t n_losses,
                 struct gr_value *const *wanted, size_t n_wanted, struct gr_value ***gradients,
                 struct gr_error *err)
{
    const size_t n_nodes = graph->n_nodes, n_values = graph->n_values;
    struct gr_grad grad = {.graph = graph,
                           .n_values = n_values,
                           .needed = calloc(n_values, sizeof *grad.needed),
                           .parts = calloc(n_values, sizeof(struct part *)),
                           .gradients = calloc(n_values, sizeof(struct gr_value *))};
    bool ok = grad.needed && grad.parts && grad.gradients;
    if (!ok) {
        gr_fail_memory(err, "autodiff");
        goto out;
    }
    mark_needed(&grad, wanted, n_wanted);
    for (size_t i = 0; ok && i < n_losses; i++)
        ok = seed(&grad, &losses[i], err);
    for (size_t n = n_nodes; ok && n-- > 0;)
        ok = differentiate(&grad, graph->nodes[n], err);
    for (size_t v = 0; ok && v < n_values; v++)
        if (!graph->values[v]->producer)
            ok = complete(&grad, graph->values[v], err);
out:
    free(grad.needed);
    free(grad.parts);
    if (!ok) {
        free(grad.gradients);
        grad.gradients = NULL;
    }
    *gradients = grad.gradients;
    return ok;
}

/* ---- updates ----------------------------------------------------------------------------- */

enum { MAX_STATES = 4 };

/* The optimizer's attributes with this parameter's multipliers. */
static void *update_attrs(struct gr_graph *graph, const struct gr_choice *optimizer,
                          const struct gr_parameter *parameter)
{
    const size_t size = optimizer->kind->attrs_size;
    struct gr_update_attrs *attrs = gr_pool_alloc(&graph->pool, size);
    if (attrs) {
        for (size_t i = 0; i < size; i++)
            ((char *)attrs)[i] = ((const char *)optimizer->attrs)[i];
        attrs->lr_mult = parameter->lr_mult;
        attrs->decay_mult = parameter->decay_mult;
    }
    return attrs;
}

static bool emit_update(struct gr_graph *graph, const struct gr_choice *optimizer,
                        struct gr_value *parameter, struct gr_value *gradient,
                        struct gr_value *rate, struct gr_error *err)
{
    const struct gr_op *op = (const struct gr_op *)optimizer->kind; /* kind is its first member */
    const int n_states = op->n_states(optimizer->attrs);
    struct gr_value *inputs[MAX_STATES + 3] = {parameter};
    assert(n_states <= MAX_STATES);
    for (int s = 0; s < n_states; s++) {
        const char *name = gr_pool_printf(&graph->pool, "state%d:%s", s, parameter->name);
        if (!name)
            return gr_fail_memory(err, "an optimizer state");
        inputs[1 + s] =
            gr_graph_add_value(graph, name, GR_VALUE_STATE, GR_F32, &parameter->shape, err);
        if (!inputs[1 + s])
            return false;
        inputs[1 + s]->of = parameter;
    }
    inputs[1 + n_states] = gradient;
    inputs[2 + n_states] = rate;
    const char *name = gr_pool_printf(&graph->pool, "%s:%s", parameter->name, op->kind.name);
    void *attrs = update_attrs(graph, optimizer, parameter->parameter);
    if (!name || !attrs)
        return gr_fail_memory(err, "an update node");
    return gr_graph_emit(graph, op, GR_UPDATE, name, attrs, inputs, n_states + 3, err) != NULL;
}

bool gr_emit_updates(struct gr_graph *graph, const struct gr_choice *optimizer,
                     struct gr_value *const *gradients, size_t n_gradients, struct gr_value *rate,
                     struct gr_error *err)
{
    for (size_t v = 0; v < n_gradients; v++) {
        struct gr_value *value = graph->values[v];
        if (gradients[v] && value->parameter && value->parameter->trainable &&
            !emit_update(graph, optimizer, value, gradients[v], rate, err))
            return false;
    }
    return true;
}
