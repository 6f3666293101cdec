/*
 * Finding a layer; see layer.h.
 */
#include "train/layer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/op.h"

enum { BATCH = 2 }; /* to tell what has a row for each image from what has not */

/* ---- the representation ------------------------------------------------------------------ */

static bool has_weights(const struct gr_node *node)
{
    for (int i = node->n_data; i < node->n_inputs; i++)
        if (node->inputs[i]->shape.rank >= 2)
            return true;
    return false;
}

/* Dropout and the like, and views: they change no value outside training. */
static bool changes_nothing(const struct gr_node *node)
{
    return node->n_data && (node->op->flags & (GR_OP_TRAINING_ONLY | GR_OP_VIEW)) != 0;
}

static const struct gr_value *representation(const struct gr_model *model,
                                             const struct gr_graph *graph)
{
    const struct gr_model_file *file = model->file;
    const struct gr_value *value = file->n_outputs ? gr_graph_value(graph, file->outputs[0]) : NULL;
    while (value && value->producer && !has_weights(value->producer))
        value = value->producer->n_data ? value->producer->inputs[0] : NULL;
    value = value && value->producer ? value->producer->inputs[0] : NULL;
    while (value && value->producer && changes_nothing(value->producer))
        value = value->producer->inputs[0];
    return value && value->producer ? value : NULL;
}

/* ---- by name ----------------------------------------------------------------------------- */

/* Does it have a row of numbers for each image? */
static bool is_of_images(const struct gr_value *value)
{
    return (value->kind == GR_VALUE_RESULT || value->kind == GR_VALUE_INPUT) &&
           value->dtype == GR_F32 && value->shape.rank >= 2 && value->shape.dim[0] == BATCH;
}

static bool fail_unknown(const struct gr_graph *graph, const char *model, const char *name,
                         struct gr_error *err)
{
    size_t count = 0;
    char shape[GR_SHAPE_TEXT];
    const struct gr_value *value = gr_graph_value(graph, name);
    if (value)
        return gr_fail(err, GR_ERR_USAGE,
                       "'%s' of the model '%s' is %s, which has no row for each image: not a layer",
                       name, model, gr_shape_text(&value->shape, shape));
    const char **names = calloc(graph->n_values + 1, sizeof *names);
    for (size_t v = 0; names && v < graph->n_values; v++)
        if (is_of_images(graph->values[v]))
            names[count++] = graph->values[v]->name;
    const char *near = gr_nearest(name, names, count);
    gr_fail(err, GR_ERR_USAGE, "the model '%s' has no layer '%s'%s%s%s", model, name,
            near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    free(names);
    return false;
}

/* What it is, and who reads it. */
static void describe(const struct gr_graph *graph, const struct gr_value *value,
                     char about[GR_LAYER_TEXT])
{
    const struct gr_node *node = value->producer, *reader = NULL;
    int readers = 0, length;
    for (size_t n = 0; n < graph->n_nodes; n++)
        for (int i = 0; i < graph->nodes[n]->n_data; i++)
            if (graph->nodes[n]->inputs[i] == value) {
                reader = graph->nodes[n];
                readers++;
            }
    length = node ? snprintf(about, GR_LAYER_TEXT, "%s of %s", node->op->kind.name,
                             node->n_data ? node->inputs[0]->name : "nothing")
                  : snprintf(about, GR_LAYER_TEXT, "what the model is fed");
    if (readers == 1 && length > 0 && length < GR_LAYER_TEXT)
        snprintf(about + length, (size_t)(GR_LAYER_TEXT - length), ", before %s", reader->name);
}

bool gr_layer_find(const struct gr_model *model, const char *name, struct gr_layer *layer,
                   struct gr_error *err)
{
    struct gr_graph *graph = gr_model_file_graph(model->file, BATCH, false, err);
    if (!graph)
        return false;
    const struct gr_value *value =
        name ? gr_graph_value(graph, name) : representation(model, graph);
    bool ok = value && is_of_images(value);
    if (ok) {
        snprintf(layer->name, sizeof layer->name, "%s", value->name);
        describe(graph, value, layer->about);
        layer->shape = (struct gr_shape){.rank = value->shape.rank - 1};
        memcpy(layer->shape.dim, value->shape.dim + 1,
               (size_t)layer->shape.rank * sizeof *layer->shape.dim);
    } else if (name) {
        ok = fail_unknown(graph, model->file->name, name, err);
    } else {
        ok = gr_fail(err, GR_ERR_USAGE,
                     "the model '%s' has no layer before its last one with weights; name one",
                     model->file->name);
    }
    gr_graph_free(graph);
    return ok;
}
