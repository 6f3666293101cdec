/*
 * Where a loss that is not finite comes from; see divergence.h.
 */
#include "train/divergence.h"

#include <inttypes.h>
#include <string.h>

/* In parts, so that threads share the work: a state may be a gigabyte. */
static bool is_finite(const struct gr_stored *stored)
{
    enum { PART = 1 << 18 };
    const int64_t count =
        (int64_t)(gr_layout_bytes(stored->layout, &stored->value) / sizeof(uint32_t));
    const uint32_t *bits = stored->data;
    int64_t broken = 0;
#pragma omp parallel for reduction(+ : broken) if (count > PART)
    for (int64_t from = 0; from < count; from += PART) {
        const int64_t end = count - from < PART ? count : from + PART;
        int64_t here = 0;
        for (int64_t i = from; i < end; i++) /* an exponent of ones is no number */
            here += (bits[i] & 0x7f800000u) == 0x7f800000u;
        broken += here;
    }
    return broken == 0;
}

/* The first parameter or state that is not finite, in the order in which the plan writes them. */
static const struct gr_value *find_broken(const struct gr_plan *plan, const struct gr_node **writer)
{
    const struct gr_params *params = plan->model->params;
    for (size_t s = 0; s < gr_program_step_count(plan->program); s++) {
        *writer = gr_program_step(plan->program, s)->node;
        for (int i = 0; i < gr_node_updated(*writer); i++) {
            const struct gr_stored *stored = gr_params_find(params, (*writer)->inputs[i]->name);
            if (stored && !is_finite(stored))
                return &stored->value;
        }
    }
    *writer = NULL;
    for (size_t i = 0; i < gr_params_count(params); i++) /* that are only read: as loaded */
        if (!is_finite(gr_params_at(params, i)))
            return &gr_params_at(params, i)->value;
    return NULL;
}

/* False: all are finite. */
static bool describe_broken(const struct gr_plan *plan, struct gr_error *found)
{
    const struct gr_node *writer;
    const struct gr_value *value = find_broken(plan, &writer);
    if (value && writer)
        gr_fail(found, GR_ERR_DIVERGED, "'%s', updated by node '%s' (%s), holds NaN or infinity",
                value->name, writer->name, writer->op->kind.name);
    else if (value)
        gr_fail(found, GR_ERR_DIVERGED, "'%s' holds NaN or infinity", value->name);
    return value != NULL;
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
    if (!describe_broken(plan, &found))
        find_broken_node(plan, step - 1, &found);
    *err = (struct gr_error){0};
    gr_fail(err, GR_ERR_DIVERGED,
            "diverged in step %" PRId64 " at learning rate %g: %s; try a smaller rate", step, rate,
            found.message);
}

bool gr_check_divergence(const struct gr_plan *plan, int64_t step, double rate,
                         struct gr_error *err)
{
    struct gr_error found = {0};
    if (step == 0) {
        const struct gr_node *writer;
        const struct gr_value *value = find_broken(plan, &writer);
        return !value || gr_fail(err, GR_ERR_DIVERGED,
                                 "'%s' holds NaN or infinity before the first step", value->name);
    }
    return !describe_broken(plan, &found) ||
           gr_fail(err, GR_ERR_DIVERGED,
                   "diverged in step %" PRId64 " at learning rate %g: %s; try a smaller rate", step,
                   rate, found.message);
}
