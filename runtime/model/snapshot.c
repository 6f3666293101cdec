/*
 * A model's tensors to and from files; see snapshot.h for what is written.
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/statistics.h"
#include "graph/arena.h"
#include "model/safetensors.h"
#include "model/snapshot.h"

static const char class_names_key[] = "class_names", statistics_key[] = "statistics";

static bool is_written(const struct gr_stored *stored, bool states)
{
    return states || stored->value.kind == GR_VALUE_PARAMETER;
}

/* ---- writing ----------------------------------------------------------------------------- */

static bool add_pair(struct gr_snapshot *snapshot, const char *key, const char *value)
{
    key = gr_pool_strdup(&snapshot->pool, key);
    value = gr_pool_strdup(&snapshot->pool, value);
    snapshot->metadata[2 * snapshot->n_metadata] = key;
    snapshot->metadata[2 * snapshot->n_metadata++ + 1] = value;
    return key && value;
}

/* Names of classes, where the file or the data have them, as text on the heap; NULL: none. */
static char *names_text(const struct gr_model *model)
{
    const struct gr_model_file *file = model->file;
    struct gr_class_names names = model->class_names;
    if (file->n_class_names) {
        names.items = file->class_names;
        names.count = (int64_t)file->n_class_names;
    }
    return names.count ? gr_class_names_text(&names) : NULL;
}

/* The metadata, and names of classes and colours of the data where they are known. */
static bool copy_metadata(const struct gr_model *model, const char *const *metadata,
                          size_t n_metadata, struct gr_snapshot *snapshot)
{
    const struct gr_statistics *statistics = &model->colours.statistics;
    const bool named = model->file->n_class_names || model->class_names.count;
    char *names = names_text(model);
    char *colours = statistics->channels ? gr_statistics_text(statistics) : NULL;
    snapshot->metadata = gr_pool_array(&snapshot->pool, 2 * n_metadata + 4, sizeof(char *));
    bool ok = snapshot->metadata && (names || !named) && (colours || !statistics->channels);
    for (size_t i = 0; ok && i < n_metadata; i++)
        ok = add_pair(snapshot, metadata[2 * i], metadata[2 * i + 1]);
    ok = ok && (!names || add_pair(snapshot, class_names_key, names)) &&
         (!colours || add_pair(snapshot, statistics_key, colours));
    free(names);
    free(colours);
    return ok;
}

/* Bytes of a tensor in the snapshot's memory, so that each is aligned. */
static size_t room_of(const struct gr_stored *stored)
{
    return ((size_t)gr_shape_count(&stored->value.shape) * sizeof(float) + 63) / 64 * 64;
}

static bool copy_tensors(const struct gr_model *model, bool states, struct gr_snapshot *snapshot,
                         struct gr_error *err)
{
    const struct gr_params *params = model->params;
    const size_t count = gr_params_count(params);
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        if (is_written(gr_params_at(params, i), states))
            bytes += room_of(gr_params_at(params, i));
    snapshot->tensors = gr_pool_array(&snapshot->pool, count + 1, sizeof *snapshot->tensors);
    char *place = snapshot->data = gr_arena_new(bytes + 1);
    if (!snapshot->tensors || !snapshot->data)
        return gr_fail_memory(err, "saving weights");
    for (size_t i = 0; i < count; i++) {
        const struct gr_stored *stored = gr_params_at(params, i);
        const size_t elements = (size_t)gr_shape_count(&stored->value.shape);
        if (!is_written(stored, states))
            continue;
        const char *name = gr_pool_strdup(&snapshot->pool, stored->value.name);
        if (!name)
            return gr_fail_memory(err, "saving weights");
        snapshot->tensors[snapshot->count++] =
            (struct gr_tensor){name, GR_F32, stored->value.shape, place};
        if (!gr_params_get(params, stored, (float *)(void *)place, elements, err))
            return false;
        place += room_of(stored);
    }
    return true;
}

bool gr_snapshot_take(struct gr_snapshot *snapshot, struct gr_model *model, bool states,
                      const char *const *metadata, size_t n_metadata, struct gr_error *err)
{
    *snapshot = (struct gr_snapshot){0};
    if (!gr_model_materialise(model, err))
        return false;
    if ((copy_metadata(model, metadata, n_metadata, snapshot) ||
         gr_fail_memory(err, "saving weights")) &&
        copy_tensors(model, states, snapshot, err))
        return true;
    gr_snapshot_release(snapshot);
    return false;
}

bool gr_snapshot_write(const struct gr_snapshot *snapshot, const char *path, struct gr_error *err)
{
    return gr_safetensors_write_summed(path, snapshot->tensors, snapshot->count, snapshot->metadata,
                                       snapshot->n_metadata, err);
}

void gr_snapshot_release(struct gr_snapshot *snapshot)
{
    gr_arena_free(snapshot->data);
    gr_pool_release(&snapshot->pool);
    *snapshot = (struct gr_snapshot){0};
}

/* ---- reading ----------------------------------------------------------------------------- */

void gr_model_warn_broken(const struct gr_model *model, const char *path,
                          const struct gr_tensor *tensor, bool *told)
{
    const float *values = tensor->data;
    const int64_t count = *told ? 0 : gr_shape_count(&tensor->shape);
    int64_t broken = 0;
    for (int64_t i = 0; i < count; i++)
        broken += !isfinite(values[i]);
    if (!broken)
        return;
    *told = true;
    gr_log(model->context, GR_LOG_WARNING,
           "%s: '%s' holds NaN or infinity (%" PRId64 " of %" PRId64 " values): results mean "
           "nothing",
           path, tensor->name, broken, count);
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
    struct gr_error failed = {0};
    if (colours->of_training)
        return true;
    gr_statistics_parse_text(text, &colours->statistics, &failed);
    colours->of_weights = true;
    return !failed.status || gr_fail(err, failed.status, "%s", failed.message);
}

bool gr_model_read(struct gr_model *model, const struct gr_tensor_file *file, const char *path,
                   bool states, struct gr_error *err)
{
    bool told = false;
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
        gr_model_warn_broken(model, path, tensor, &told);
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
    struct gr_snapshot snapshot;
    const bool ok = gr_snapshot_take(&snapshot, model, false, metadata, 2, err) &&
                    gr_snapshot_write(&snapshot, path, err);
    gr_snapshot_release(&snapshot);
    return ok;
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
