/*
 * Weights taken over by name from the file of another model; see gr_model_transfer_weights.
 */
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/pattern.h"
#include "model/model.h"
#include "model/rename.h"
#include "model/snapshot.h"

struct transfer {
    struct gr_model *model;
    const struct gr_transfer_options *options;
    const char *path;
    struct gr_pool pool;
    struct gr_tensor_file *file;
    struct gr_map tensors; /* by the name in the model -> struct gr_tensor */
    const char **renamed;  /* [tensors of the file]: their names in the model */
};

static bool is_parameter(const struct gr_stored *stored)
{
    return stored->value.kind == GR_VALUE_PARAMETER;
}

static struct gr_stored *parameter(const struct transfer *t, const char *name)
{
    struct gr_stored *stored = gr_params_find(t->model->params, name);
    return stored && is_parameter(stored) ? stored : NULL;
}

/* ---- names ------------------------------------------------------------------------------- */

/* Each renaming must have renamed something; else the nearest that it could have been. */
static bool check_used(struct transfer *t, const bool *used, struct gr_error *err)
{
    const struct gr_transfer_options *o = t->options;
    const size_t count = gr_tensor_file_count(t->file);
    const char **names = gr_pool_array(&t->pool, count + 1, sizeof *names);
    for (size_t i = 0; names && i < count; i++)
        names[i] = gr_tensor_file_get(t->file, i)->name;
    for (size_t i = 0; names && i < o->n_rename; i++) {
        const size_t length = strcspn(o->rename[i], "=");
        char old[512];
        if (used[i] || length >= sizeof old)
            continue;
        memcpy(old, o->rename[i], length);
        old[length] = '\0';
        const char *const pattern = old;
        struct gr_error err_in = {0};
        if (gr_patterns_check("rename", &pattern, 1, "tensor of the file", names, count, &err_in))
            return gr_fail(err, GR_ERR_USAGE,
                           "rename: '%s' renames nothing: those before it were there first",
                           o->rename[i]);
        return gr_fail(err, err_in.status, "%s: %s", t->path, err_in.message);
    }
    return names || gr_fail_memory(err, "renaming weights");
}

static bool rename_all(struct transfer *t, struct gr_error *err)
{
    const struct gr_transfer_options *o = t->options;
    const size_t count = gr_tensor_file_count(t->file);
    bool *used = gr_pool_array(&t->pool, o->n_rename + 1, sizeof *used);
    t->renamed = gr_pool_array(&t->pool, count + 1, sizeof *t->renamed);
    if (!used || !t->renamed)
        return gr_fail_memory(err, "renaming weights");
    for (size_t i = 0; i < count; i++) {
        const struct gr_tensor *tensor = gr_tensor_file_get(t->file, i);
        const char *name = gr_rename(o->rename, o->n_rename, tensor->name, used, &t->pool);
        const struct gr_tensor *other = name ? gr_map_get(&t->tensors, name) : NULL;
        if (other)
            return gr_fail(err, GR_ERR_USAGE, "%s: '%s' and '%s' would both become '%s'", t->path,
                           other->name, tensor->name, name);
        if (!name || !gr_map_put(&t->tensors, name, (void *)(uintptr_t)tensor))
            return gr_fail_memory(err, "renaming weights");
        t->renamed[i] = name;
    }
    return check_used(t, used, err);
}

static bool check_patterns(struct transfer *t, struct gr_error *err)
{
    const struct gr_transfer_options *o = t->options;
    const size_t count = gr_params_count(t->model->params);
    const char **names = gr_pool_array(&t->pool, count + 1, sizeof *names);
    size_t n = 0;
    if (!names)
        return gr_fail_memory(err, "loading weights");
    for (size_t i = 0; i < count; i++)
        if (is_parameter(gr_params_at(t->model->params, i)))
            names[n++] = gr_params_at(t->model->params, i)->value.name;
    return gr_patterns_check("only", o->only, o->n_only, "parameter of the model", names, n, err) &&
           gr_patterns_check("except", o->except, o->n_except, "parameter of the model", names, n,
                             err);
}

/* ---- tensors ----------------------------------------------------------------------------- */

static struct gr_transfer_row judge(const struct transfer *t, const struct gr_stored *stored)
{
    const struct gr_transfer_options *o = t->options;
    struct gr_transfer_row row = {.name = stored->value.name, .ours = stored->value.shape};
    const bool wanted = (!o->n_only || gr_pattern_matches_any(o->only, o->n_only, row.name)) &&
                        !gr_pattern_matches_any(o->except, o->n_except, row.name);
    const struct gr_tensor *tensor = wanted ? gr_map_get(&t->tensors, row.name) : NULL;
    row.outcome = wanted ? GR_TRANSFER_MISSING : GR_TRANSFER_LEFT_OUT;
    if (tensor) {
        row.source = tensor->name;
        row.theirs = tensor->shape;
        row.outcome =
            gr_shape_equal(&row.ours, &row.theirs) ? GR_TRANSFER_LOADED : GR_TRANSFER_SHAPE;
    }
    return row;
}

/* Nothing is loaded before it is known that all can be. */
static bool check_tensors(const struct transfer *t, struct gr_error *err)
{
    size_t loaded = 0;
    for (size_t i = 0; i < gr_params_count(t->model->params); i++) {
        const struct gr_stored *stored = gr_params_at(t->model->params, i);
        const struct gr_transfer_row row =
            is_parameter(stored) ? judge(t, stored) : (struct gr_transfer_row){0};
        if (!row.source || row.outcome != GR_TRANSFER_LOADED)
            continue;
        const struct gr_tensor *tensor = gr_map_get(&t->tensors, row.name);
        if (tensor->dtype != GR_F32)
            return gr_fail(err, GR_ERR_DATA, "%s: '%s' is %s, not f32", t->path, tensor->name,
                           gr_dtype_name(tensor->dtype));
        loaded++;
    }
    return loaded ||
           gr_fail(err, GR_ERR_DATA,
                   "%s: no tensor has the name and the shape of a parameter of '%s'%s", t->path,
                   t->model->file->name, t->options->n_only ? " that is to be loaded" : "");
}

static void tell(const struct transfer *t, const struct gr_transfer_row *row)
{
    if (t->options->row)
        t->options->row(t->options->row_user, row);
}

static bool load(const struct transfer *t, struct gr_error *err)
{
    bool told = false;
    for (size_t i = 0; i < gr_params_count(t->model->params); i++) {
        struct gr_stored *stored = gr_params_at(t->model->params, i);
        if (!is_parameter(stored))
            continue;
        const struct gr_transfer_row row = judge(t, stored);
        if (row.outcome == GR_TRANSFER_LOADED) {
            const struct gr_tensor *tensor = gr_map_get(&t->tensors, row.name);
            if (!gr_params_set(t->model->params, stored, tensor->data,
                               (size_t)gr_shape_count(&tensor->shape), err))
                return false;
            gr_model_warn_broken(t->model, t->path, tensor, &told);
        }
        tell(t, &row);
    }
    for (size_t i = 0; i < gr_tensor_file_count(t->file); i++) {
        const struct gr_tensor *tensor = gr_tensor_file_get(t->file, i);
        const struct gr_transfer_row row = {
            .outcome = GR_TRANSFER_UNUSED, .source = tensor->name, .theirs = tensor->shape};
        if (!parameter(t, t->renamed[i]) && !strchr(tensor->name, ':')) /* an optimizer's state */
            tell(t, &row);
    }
    return true;
}

bool gr_model_transfer_weights(struct gr_model *model, const char *path,
                               const struct gr_transfer_options *options, struct gr_error *err)
{
    struct transfer t = {.model = model, .options = options, .path = path};
    bool ok = gr_renames_check(options->rename, options->n_rename, err) &&
              gr_model_materialise(model, err) && (t.file = gr_tensor_file_read(path, err));
    ok = ok && check_patterns(&t, err) && rename_all(&t, err) && check_tensors(&t, err) &&
         load(&t, err);
    gr_map_release(&t.tensors);
    gr_pool_release(&t.pool);
    gr_tensor_file_free(t.file);
    return ok;
}
