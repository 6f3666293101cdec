/*
 * From a model file to a graph: for a caller, who gets the first failure, and for the check, which
 * wants all of them and goes on with what does not depend on a node in error.
 */
#include "model/reader.h"

#include <stdlib.h>
#include <string.h>

static bool add_input(struct gr_graph *graph, const struct gr_model_input *input, int64_t batch,
                      struct gr_error *err)
{
    struct gr_shape shape = {.rank = input->shape.rank + 1, .dim = {batch}};
    memcpy(shape.dim + 1, input->shape.dim, (size_t)input->shape.rank * sizeof *shape.dim);
    struct gr_value *value =
        gr_graph_add_value(graph, input->name, GR_VALUE_INPUT, input->dtype, &shape, err);
    if (value)
        value->classes = input->classes;
    return value != NULL;
}

/* A value that a node may read, by name. */
static struct gr_value *readable(const struct gr_graph *graph, const char *name)
{
    struct gr_value *value = gr_graph_value(graph, name);
    return value && (value->kind == GR_VALUE_INPUT || value->kind == GR_VALUE_RESULT) ? value
                                                                                      : NULL;
}

/* values has room for the node's inputs. *missing is the first input that is not there, or -1. */
static bool add_node(struct gr_graph *graph, const struct gr_model_node *node,
                     struct gr_value **values, int *missing, struct gr_error *err)
{
    *missing = -1;
    for (int i = 0; i < node->n_inputs; i++) {
        values[i] = readable(graph, node->inputs[i]);
        if (values[i])
            continue;
        *missing = i;
        return gr_fail(err, GR_ERR_MODEL, "'%s' reads '%s', which is no output of that node",
                       node->name, node->inputs[i]);
    }
    const struct gr_node_spec spec = {
        .name = node->name,
        .op = node->op,
        .attrs = node->attrs,
        .inputs = values,
        .n_inputs = node->n_inputs,
        .mark = node->mark,
        .parameters = node->parameters,
        .share = node->share ? gr_graph_node(graph, node->share) : NULL,
        .frozen = node->frozen,
    };
    return gr_graph_add_node(graph, &spec, err) != NULL;
}

/* Room for the inputs of any one node; heap. */
static struct gr_value **values_new(const struct gr_model_file *file)
{
    size_t most = 1;
    for (size_t i = 0; i < file->n_nodes; i++)
        if ((size_t)file->nodes[i].n_inputs > most)
            most = (size_t)file->nodes[i].n_inputs;
    return calloc(most, sizeof(struct gr_value *));
}

struct gr_graph *gr_model_file_graph(const struct gr_model_file *file, int64_t batch, bool training,
                                     struct gr_error *err)
{
    struct gr_graph *graph = gr_graph_new(file->ops, training);
    struct gr_value **values = values_new(file);
    bool ok = (graph && values) || gr_fail_memory(err, "a graph");
    int missing;
    for (size_t i = 0; ok && i < file->n_inputs; i++)
        ok = add_input(graph, &file->inputs[i], batch, err);
    for (size_t i = 0; ok && i < file->n_nodes; i++)
        ok = add_node(graph, &file->nodes[i], values, &missing, err);
    free(values);
    if (ok)
        return graph;
    gr_graph_free(graph);
    return NULL;
}

/* ---- the check --------------------------------------------------------------------------- */

/* Failures of the graph: of the model (noted, reading goes on), or of the machine. */
static bool note(struct gr_reader *reader, struct gr_mark mark, const struct gr_block_use *use,
                 struct gr_error *failure, struct gr_error *err)
{
    if (failure->status != GR_ERR_MODEL)
        return gr_fail(err, failure->status, "%s", failure->message);
    gr_diagnose(&reader->diagnostics, mark, use, NULL, "%s", failure->message);
    *failure = (struct gr_error){0};
    return true;
}

/* Names of nodes and inputs in error: what reads them is passed over in silence. */
static bool reads_any(const struct gr_model_node *node, const struct gr_map *bad)
{
    for (int i = 0; i < node->n_inputs; i++) {
        const char *name = node->inputs[i];
        for (size_t length = strlen(name); length; length--) {
            char head[1024];
            if ((name[length] && name[length] != '.') || length >= sizeof head)
                continue;
            memcpy(head, name, length);
            head[length] = '\0';
            if (gr_map_get(bad, head))
                return true;
        }
    }
    return node->share && gr_map_get(bad, node->share);
}

static bool mark_bad(struct gr_map *bad, const char *name, struct gr_error *err)
{
    static char here;
    return gr_map_put(bad, name, &here) || gr_fail_memory(err, "checking a model");
}

static bool check_nodes(struct gr_reader *reader, struct gr_graph *graph, struct gr_value **values,
                        struct gr_map *bad, struct gr_error *err)
{
    const struct gr_model_file *file = reader->file;
    bool ok = true;
    for (size_t i = 0; ok && i < file->n_inputs; i++) {
        struct gr_error failure = {0};
        if (file->inputs[i].bad)
            ok = mark_bad(bad, file->inputs[i].name, err);
        else if (!add_input(graph, &file->inputs[i], file->batch, &failure))
            ok = note(reader, file->inputs[i].mark, NULL, &failure, err) &&
                 mark_bad(bad, file->inputs[i].name, err);
    }
    for (size_t i = 0; ok && i < file->n_nodes; i++) {
        const struct gr_model_node *node = &file->nodes[i];
        struct gr_error failure = {0};
        int missing;
        if (!node->op || reads_any(node, bad))
            ok = mark_bad(bad, node->name, err);
        else if (!add_node(graph, node, values, &missing, &failure))
            ok = note(reader, missing < 0 ? node->mark : node->input_marks[missing], node->use,
                      &failure, err) &&
                 mark_bad(bad, node->name, err);
    }
    return ok;
}

/* What train names must be single numbers. */
static void check_figure(struct gr_reader *reader, const struct gr_graph *graph,
                         const struct gr_map *bad, const char *name, struct gr_mark mark,
                         const char *what)
{
    char text[GR_SHAPE_TEXT];
    const struct gr_value *value = readable(graph, name);
    if (value && value->shape.rank == 0 && value->dtype == GR_F32)
        return;
    if (value)
        gr_diagnose(&reader->diagnostics, mark, NULL, NULL,
                    "%s is a single number, but '%s' has shape %s", what, name,
                    gr_shape_text(&value->shape, text));
    else if (!bad->count)
        gr_diagnose(&reader->diagnostics, mark, NULL, NULL, "there is no output '%s'", name);
}

/* Does the node serve the loss alone: a figure of train, or something computed from labels? */
static bool serves_training(const struct gr_model_file *file, const struct gr_node *node,
                            const bool *serves)
{
    for (int i = 0; i < node->n_data; i++)
        if (node->inputs[i]->classes > 0 ||
            (node->inputs[i]->producer && serves[node->inputs[i]->producer->id]))
            return true;
    for (size_t i = 0; i < file->n_losses; i++)
        if (gr_graph_node(node->graph, file->losses[i].name) == node)
            return true;
    for (size_t i = 0; i < file->n_metrics; i++)
        if (gr_graph_node(node->graph, file->metrics[i]) == node)
            return true;
    return false;
}

/* The values that no node reads, apart from the nodes that serve training; or, if none, all ends.
 */
static bool find_outputs(struct gr_reader *reader, const struct gr_graph *graph, bool whole,
                         struct gr_error *err)
{
    struct gr_model_file *file = reader->file;
    bool *serves = calloc(graph->n_nodes + 1, sizeof *serves);
    bool *read = calloc(graph->n_values + 1, sizeof *read);
    file->outputs = gr_pool_array(reader->pool, graph->n_nodes, sizeof *file->outputs);
    const bool ok = (serves && read && file->outputs) || gr_fail_memory(err, "finding outputs");
    for (size_t n = 0; ok && n < graph->n_nodes; n++) {
        const struct gr_node *node = graph->nodes[n];
        serves[n] = !whole && serves_training(file, node, serves);
        for (int i = 0; !serves[n] && i < node->n_data; i++)
            read[node->inputs[i]->id] = true;
    }
    for (size_t n = 0; ok && n < graph->n_nodes; n++)
        if (!serves[n] && graph->nodes[n]->n_outputs && !read[graph->nodes[n]->outputs[0]->id])
            file->outputs[file->n_outputs++] =
                gr_pool_strdup(reader->pool, graph->nodes[n]->outputs[0]->name);
    free(serves);
    free(read);
    for (size_t i = 0; i < file->n_outputs; i++)
        if (!file->outputs[i])
            return gr_fail_memory(err, "finding outputs");
    return ok && (file->n_outputs || whole || find_outputs(reader, graph, true, err));
}

bool gr_model_graph_check(struct gr_reader *reader, struct gr_error *err)
{
    const struct gr_model_file *file = reader->file;
    struct gr_graph *graph = gr_graph_new(reader->ops, file->has_train);
    struct gr_value **values = values_new(file);
    struct gr_map bad = {0};
    bool ok = (graph && values) || gr_fail_memory(err, "checking a model");
    ok = ok && check_nodes(reader, graph, values, &bad, err);
    for (size_t i = 0; ok && i < file->n_losses; i++)
        check_figure(reader, graph, &bad, file->losses[i].name, file->losses[i].mark, "a loss");
    for (size_t i = 0; ok && i < file->n_metrics; i++)
        check_figure(reader, graph, &bad, file->metrics[i], file->metric_marks[i], "a metric");
    if (ok && gr_reader_is_clean(reader))
        ok = find_outputs(reader, graph, false, err);
    gr_map_release(&bad);
    free(values);
    gr_graph_free(graph);
    return ok;
}
