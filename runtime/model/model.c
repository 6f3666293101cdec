/*
 * A model: a checked model file and the tensors that go with it.
 */
#include "model/model.h"

#include <stdlib.h>

/* The elements of the trained parameters, each counted once however many nodes share it. */
static bool count_trained(struct gr_model *model, struct gr_error *err)
{
    struct gr_graph *graph = gr_model_file_graph(model->file, 1, false, err);
    for (size_t v = 0; graph && v < graph->n_values; v++) {
        const struct gr_value *value = graph->values[v];
        if (value->parameter && !value->parameter->statistic)
            model->n_trained += gr_shape_count(&value->shape);
    }
    gr_graph_free(graph);
    return graph != NULL;
}

struct gr_model *gr_model_load(struct gr_context *context, const char *path,
                               const struct gr_model_options *options, struct gr_error *err)
{
    struct gr_model *model = calloc(1, sizeof *model);
    if (!model) {
        gr_fail_memory(err, "a model");
        return NULL;
    }
    model->context = context;
    model->file =
        gr_model_file_read(context->ops, path, options, context->log, context->log_user, err);
    if (!model->file)
        goto fail;
    model->seed = options ? options->seed : 0;
    if (!model->seed && model->file->seed > 0)
        model->seed = (uint64_t)model->file->seed;
    model->params = gr_params_new(context->ops, context->backend, model->seed, err);
    if (model->params && count_trained(model, err))
        return model;
fail:
    gr_model_free(model);
    return NULL;
}

void gr_model_free(struct gr_model *model)
{
    if (!model)
        return;
    gr_params_free(model->params);
    gr_model_file_free(model->file);
    gr_class_names_release(&model->class_names);
    free(model);
}

const char *gr_model_name(const struct gr_model *model)
{
    return model->file->name;
}

int64_t gr_model_batch(const struct gr_model *model)
{
    return model->file->batch;
}

int64_t gr_model_classes(const struct gr_model *model)
{
    return model->file->classes;
}

const char *gr_model_class_name(const struct gr_model *model, int64_t index)
{
    const struct gr_model_file *file = model->file;
    const struct gr_class_names *names = &model->class_names;
    if (file->n_class_names)
        return index >= 0 && (size_t)index < file->n_class_names ? file->class_names[index] : NULL;
    return index >= 0 && index < names->count ? names->items[index] : NULL;
}

const char *gr_model_part(const struct gr_model *model, size_t index)
{
    return index < model->file->n_parts ? model->file->parts[index].data.name : NULL;
}

size_t gr_model_node_count(const struct gr_model *model)
{
    return model->file->n_nodes;
}

int64_t gr_model_parameter_count(const struct gr_model *model)
{
    return model->n_trained;
}

const char *gr_model_resolved(const struct gr_model *model)
{
    return model->file->resolved;
}

bool gr_model_materialise(struct gr_model *model, struct gr_error *err)
{
    struct gr_graph *graph = gr_model_file_graph(model->file, 1, false, err);
    bool ok = graph != NULL;
    for (size_t v = 0; ok && v < graph->n_values; v++)
        if (graph->values[v]->kind == GR_VALUE_PARAMETER)
            ok = gr_params_obtain(model->params, graph->values[v], err) != NULL;
    gr_graph_free(graph);
    return ok;
}
