/*
 * The parameter store; see params.h.
 */
#include "graph/params.h"

#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "graph/arena.h"
#include "graph/initialise.h"

struct gr_params {
    const struct gr_registry *registry;
    struct gr_backend *backend;
    uint64_t seed;
    struct gr_pool pool;
    struct gr_map names;
    struct gr_stored **stored;
    size_t count, capacity;
};

struct gr_params *gr_params_new(const struct gr_registry *registry, struct gr_backend *backend,
                                uint64_t seed, struct gr_error *err)
{
    struct gr_params *params = calloc(1, sizeof *params);
    if (!params) {
        gr_fail_memory(err, "the parameters");
        return NULL;
    }
    params->registry = registry;
    params->backend = backend;
    params->seed = seed;
    return params;
}

void gr_params_free(struct gr_params *params)
{
    if (!params)
        return;
    for (size_t i = 0; i < params->count; i++)
        gr_arena_free(params->stored[i]->data);
    free(params->stored);
    gr_map_release(&params->names);
    gr_pool_release(&params->pool);
    free(params);
}

struct gr_stored *gr_params_find(const struct gr_params *params, const char *name)
{
    return gr_map_get(&params->names, name);
}

size_t gr_params_count(const struct gr_params *params)
{
    return params->count;
}

struct gr_stored *gr_params_at(const struct gr_params *params, size_t index)
{
    return params->stored[index];
}

static void *data_new(size_t bytes, struct gr_error *err)
{
    void *data = gr_arena_new(bytes);
    if (!data)
        gr_fail(err, GR_ERR_RUNTIME, "out of memory: %zu bytes for a parameter", bytes);
    return data;
}

struct gr_stored *gr_params_obtain(struct gr_params *params, const struct gr_value *value,
                                   struct gr_error *err)
{
    struct gr_stored *stored = gr_params_find(params, value->name);
    if (stored) {
        if (gr_shape_equal(&stored->value.shape, &value->shape))
            return stored;
        gr_fail(err, GR_ERR_MODEL, "'%s' changed its shape", value->name);
        return NULL;
    }
    stored = gr_pool_alloc(&params->pool, sizeof *stored);
    const char *name = gr_pool_strdup(&params->pool, value->name);
    if (!stored || !name ||
        !gr_grow((void **)&params->stored, &params->capacity, params->count,
                 sizeof(struct gr_stored *))) {
        gr_fail_memory(err, "a parameter");
        return NULL;
    }
    stored->data = data_new(gr_layout_bytes(NULL, value), err);
    if (!stored->data)
        return NULL;
    stored->value = *value;
    stored->value.name = name;
    stored->value.of = NULL;
    stored->value.producer = NULL;
    stored->zero = !value->parameter;
    if (value->parameter)
        gr_initialise(value, params->seed, stored->data);
    stored->value.parameter = NULL; /* lives in the graph, which may go first */
    stored->version = 1;
    if (!gr_map_put(&params->names, name, stored)) {
        gr_arena_free(stored->data);
        gr_fail_memory(err, "a parameter");
        return NULL;
    }
    params->stored[params->count++] = stored;
    return stored;
}

bool gr_params_lay_out(struct gr_params *params, struct gr_stored *stored,
                       const struct gr_layout *layout, struct gr_error *err)
{
    if (layout != &gr_layout_plain) {
        void *data = data_new(gr_layout_bytes(layout, &stored->value), err);
        if (!data)
            return false;
        if (!stored->zero && /* zeros are zeros in any layout */
            !params->registry->convert(params->backend, &stored->value, &gr_layout_plain,
                                       stored->data, layout, data, err)) {
            gr_arena_free(data);
            return false;
        }
        gr_arena_free(stored->data);
        stored->data = data;
    }
    stored->layout = layout;
    stored->zero = false;
    return true;
}

static bool check_count(const struct gr_stored *stored, size_t count, struct gr_error *err)
{
    const size_t have = (size_t)gr_shape_count(&stored->value.shape);
    if (have == count)
        return true;
    return gr_fail(err, GR_ERR_USAGE, "'%s' has %zu elements, not %zu", stored->value.name, have,
                   count);
}

static const struct gr_layout *layout_of(const struct gr_stored *stored)
{
    return stored->layout ? stored->layout : &gr_layout_plain;
}

bool gr_params_get(const struct gr_params *params, const struct gr_stored *stored, float *data,
                   size_t count, struct gr_error *err)
{
    return check_count(stored, count, err) &&
           params->registry->convert(params->backend, &stored->value, layout_of(stored),
                                     stored->data, &gr_layout_plain, data, err);
}

bool gr_params_set(struct gr_params *params, struct gr_stored *stored, const float *data,
                   size_t count, struct gr_error *err)
{
    /* convert takes its source as const; a blocked destination is fully written, padding too. */
    if (!check_count(stored, count, err) ||
        !params->registry->convert(params->backend, &stored->value, &gr_layout_plain, data,
                                   layout_of(stored), stored->data, err))
        return false;
    stored->zero = false;
    stored->version++;
    return true;
}
