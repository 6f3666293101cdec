/*
 * Where a loss that is not finite comes from; see divergence.h.
 */
#include "train/divergence.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* The first parameter with a value that is not finite, or NULL. */
static const char *broken_parameter(const struct gr_params *params)
{
    for (size_t i = 0; i < gr_params_count(params); i++) {
        const struct gr_stored *stored = gr_params_at(params, i);
        const size_t count = gr_layout_bytes(stored->layout, &stored->value) / sizeof(float);
        for (size_t k = 0; stored->value.kind == GR_VALUE_PARAMETER && k < count; k++)
            if (!isfinite(((const float *)stored->data)[k]))
                return stored->value.name;
    }
    return NULL;
}

/* The same batch once more, with every output checked: says which node breaks first. */
static void find_broken_node(struct gr_plan *failed, int64_t step, struct gr_error *found)
{
    const struct gr_plan_options options = {.mode = GR_TRAIN,
                                            .precision = failed->options.precision,
                                            .batch = failed->options.batch,
                                            .check_finite = true};
    struct gr_plan *plan = gr_plan_new(failed->model, &options, found);
    if (!plan)
        return;
    gr_plan_set_step(plan, (uint64_t)step); /* the same dropout */
    for (size_t i = 0; i < gr_plan_input_count(plan); i++) {
        const struct gr_tensor to = gr_plan_input(plan, i);
        for (size_t k = 0; k < gr_plan_input_count(failed); k++) {
            const struct gr_tensor from = gr_plan_input(failed, k);
            if (strcmp(from.name, to.name) == 0)
                memcpy(to.data, from.data,
                       (size_t)gr_shape_count(&to.shape) * gr_dtype_size(to.dtype));
        }
    }
    if (gr_plan_run(plan, found))
        gr_fail(found, GR_ERR_DIVERGED, "the loss was not finite, though its parts are");
    gr_plan_free(plan);
}

void gr_diagnose_divergence(struct gr_plan *plan, int64_t step, double rate, struct gr_error *err)
{
    struct gr_error found = {0};
    const char *parameter = broken_parameter(plan->model->params);
    if (parameter)
        gr_fail(&found, GR_ERR_DIVERGED, "the last update left NaN or infinity in '%s'", parameter);
    else
        find_broken_node(plan, step, &found);
    *err = (struct gr_error){0};
    gr_fail(err, GR_ERR_DIVERGED,
            "diverged in step %" PRId64 " at learning rate %g: %s; try a smaller rate", step, rate,
            found.message);
}
