/*
 * A model: a checked model file and the tensors that go with it.
 */
#include "model/model.h"

#include "data/statistics.h"

#include <stdlib.h>
#include <string.h>

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

/* ---- weights ----------------------------------------------------------------------------- */

static const char class_names_key[] = "class_names", statistics_key[] = "statistics";

static bool is_written(const struct gr_stored *stored, bool states)
{
    return states || stored->value.kind == GR_VALUE_PARAMETER;
}

/* What the metadata of weights get from the model; the two texts are on the heap, or NULL. */
struct known {
    const char **pairs; /* heap */
    size_t count;
    char *names, *statistics;
};

static void known_release(struct known *known)
{
    free(known->pairs);
    free(known->names);
    free(known->statistics);
}

static void add_pair(struct known *known, const char *key, const char *value)
{
    known->pairs[2 * known->count] = key;
    known->pairs[2 * known->count++ + 1] = value;
}

/* The metadata, and names of classes and colours of the data where they are known. */
static bool collect_known(const struct gr_model *model, const char *const *metadata,
                          size_t n_metadata, struct known *known, struct gr_error *err)
{
    const struct gr_model_file *file = model->file;
    const struct gr_statistics *statistics = &model->colours.statistics;
    struct gr_class_names names = model->class_names;
    if (file->n_class_names) {
        names.items = file->class_names;
        names.count = (int64_t)file->n_class_names;
    }
    known->pairs = calloc(2 * n_metadata + 4, sizeof *known->pairs);
    known->names = names.count ? gr_class_names_text(&names) : NULL;
    known->statistics = statistics->channels ? gr_statistics_text(statistics) : NULL;
    if (!known->pairs || (names.count && !known->names) ||
        (statistics->channels && !known->statistics))
        return gr_fail_memory(err, "saving weights");
    for (size_t i = 0; i < n_metadata; i++)
        add_pair(known, metadata[2 * i], metadata[2 * i + 1]);
    if (known->names)
        add_pair(known, class_names_key, known->names);
    if (known->statistics)
        add_pair(known, statistics_key, known->statistics);
    return true;
}

bool gr_model_write(struct gr_model *model, const char *path, bool states,
                    const char *const *metadata, size_t n_metadata, struct gr_error *err)
{
    if (!gr_model_materialise(model, err))
        return false;
    struct known known = {0};
    const size_t count = gr_params_count(model->params);
    struct gr_tensor *tensors = calloc(count + 1, sizeof *tensors);
    bool ok = (tensors || gr_fail_memory(err, "saving weights")) &&
              collect_known(model, metadata, n_metadata, &known, err);
    size_t n = 0;
    for (size_t i = 0; ok && i < count; i++) {
        const struct gr_stored *stored = gr_params_at(model->params, i);
        if (!is_written(stored, states))
            continue;
        const size_t elements = (size_t)gr_shape_count(&stored->value.shape);
        float *copy = malloc(elements * sizeof *copy);
        tensors[n++] = (struct gr_tensor){stored->value.name, GR_F32, stored->value.shape, copy};
        ok = copy ? gr_params_get(model->params, stored, copy, elements, err)
                  : gr_fail_memory(err, "saving weights");
    }
    ok = ok && gr_tensor_file_write(path, tensors, n, known.pairs, known.count, err);
    for (size_t i = 0; i < n; i++)
        free(tensors[i].data);
    free(tensors);
    known_release(&known);
    return ok;
}

static bool read_one(struct gr_model *model, struct gr_stored *stored,
                     const struct gr_tensor *tensor, const char *path, struct gr_error *err)
{
    char theirs[GR_SHAPE_TEXT], ours[GR_SHAPE_TEXT];
    if (tensor->dtype != GR_F32)
        return gr_fail(err, GR_ERR_DATA, "%s: '%s' is %s, not f32", path, tensor->name,
                       gr_dtype_name(tensor->dtype));
    if (!gr_shape_equal(&tensor->shape, &stored->value.shape))
        return gr_fail(err, GR_ERR_DATA, "%s: '%s' is %s, but the model's is %s", path,
                       tensor->name, gr_shape_text(&tensor->shape, theirs),
                       gr_shape_text(&stored->value.shape, ours));
    return gr_params_set(model->params, stored, tensor->data,
                         (size_t)gr_shape_count(&tensor->shape), err);
}

/* Weights that say nothing of colours were trained without knowing any. */
static bool read_colours(struct gr_model *model, const char *text, struct gr_error *err)
{
    struct gr_known_colours *colours = &model->colours;
    if (colours->of_training)
        return true;
    struct gr_error failed = {0};
    gr_statistics_parse_text(text, &colours->statistics, &failed);
    colours->of_weights = true;
    return !failed.status || gr_fail(err, failed.status, "%s", failed.message);
}

bool gr_model_read(struct gr_model *model, const struct gr_tensor_file *file, const char *path,
                   bool states, struct gr_error *err)
{
    if (!gr_model_materialise(model, err))
        return false;
    for (size_t i = 0; i < gr_params_count(model->params); i++) {
        struct gr_stored *stored = gr_params_at(model->params, i);
        if (!is_written(stored, states))
            continue;
        const struct gr_tensor *tensor = gr_tensor_file_find(file, stored->value.name);
        if (!tensor)
            return gr_fail(err, GR_ERR_DATA,
                           "%s: there is no tensor '%s', which the model '%s' needs", path,
                           stored->value.name, model->file->name);
        if (!read_one(model, stored, tensor, path, err))
            return false;
    }
    if (!read_colours(model, gr_tensor_file_metadata(file, statistics_key), err))
        return false;
    return model->class_names.of_training ||
           gr_class_names_parse(&model->class_names, gr_tensor_file_metadata(file, class_names_key),
                                model->file->classes, err);
}

bool gr_model_save_weights(struct gr_model *model, const char *path, struct gr_error *err)
{
    const char *const metadata[] = {"format", "graph-runner", "model", model->file->name};
    return gr_model_write(model, path, false, metadata, 2, err);
}

bool gr_model_load_weights(struct gr_model *model, const char *path, struct gr_error *err)
{
    struct gr_tensor_file *file = gr_tensor_file_read(path, err);
    const bool ok = file && gr_model_read(model, file, path, false, err);
    gr_tensor_file_free(file);
    return ok;
}

static struct gr_stored *named(struct gr_model *model, const char *name, struct gr_error *err)
{
    if (!gr_model_materialise(model, err))
        return NULL;
    struct gr_stored *stored = gr_params_find(model->params, name);
    if (!stored)
        gr_fail(err, GR_ERR_USAGE, "the model '%s' has no parameter '%s'", model->file->name, name);
    return stored;
}

bool gr_model_get_parameter(struct gr_model *model, const char *name, float *data, size_t count,
                            struct gr_error *err)
{
    const struct gr_stored *stored = named(model, name, err);
    return stored && gr_params_get(model->params, stored, data, count, err);
}

bool gr_model_set_parameter(struct gr_model *model, const char *name, const float *data,
                            size_t count, struct gr_error *err)
{
    struct gr_stored *stored = named(model, name, err);
    return stored && gr_params_set(model->params, stored, data, count, err);
}
