/*
 * Small graphs for tests; see small_graph.h.
 */
#include "small_graph.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"

void gr_small_init(struct gr_small *small, bool training, int threads, enum gr_kernels kernels)
{
    struct gr_error err = {0};
    const struct gr_registry *ops = gr_standard_ops();
    *small = (struct gr_small){.backend = ops->backend_new(threads, kernels, &err)};
    gr_check_ok(small->backend != NULL, &err);
    small->graph = gr_graph_new(ops, training);
    assert_non_null(small->graph);
    small->params = gr_params_new(ops, small->backend, 1, &err);
    gr_check_ok(small->params != NULL, &err);
}

void gr_small_release(struct gr_small *small)
{
    gr_program_free(small->program);
    gr_params_free(small->params);
    gr_graph_free(small->graph);
    gr_standard_ops()->backend_free(small->backend);
    free(small->gradients);
}

struct gr_value *gr_small_input(struct gr_small *small, const char *name, struct gr_shape shape)
{
    struct gr_error err = {0};
    struct gr_value *value =
        gr_graph_add_value(small->graph, name, GR_VALUE_INPUT, GR_F32, &shape, &err);
    gr_check_ok(value != NULL, &err);
    return value;
}

static struct gr_node *add(struct gr_small *small, const struct gr_op *op, const char *name,
                           const struct gr_check_attr *attrs, struct gr_value *a,
                           struct gr_value *b)
{
    struct gr_error err = {0};
    struct gr_value *inputs[] = {a, b};
    const struct gr_node_spec spec = {.name = name,
                                      .op = op,
                                      .attrs =
                                          gr_check_attrs(&op->kind, attrs, &small->graph->pool),
                                      .inputs = inputs,
                                      .n_inputs = b ? 2 : 1};
    struct gr_node *node = gr_graph_add_node(small->graph, &spec, &err);
    gr_check_ok(node != NULL, &err);
    return node;
}

struct gr_node *gr_small_node(struct gr_small *small, const char *op, const char *name,
                              const struct gr_check_attr *attrs, struct gr_value *a,
                              struct gr_value *b)
{
    const struct gr_op *found = gr_registry_find(gr_standard_ops(), op);
    assert_non_null(found);
    return add(small, found, name, attrs, a, b);
}

struct gr_value *gr_small_loss(struct gr_small *small, struct gr_value *value)
{
    struct gr_value *fixed = gr_small_input(small, "fixed", value->shape);
    return add(small, &gr_op_test_dot, "loss", NULL, value, fixed)->outputs[0];
}

void gr_small_differentiate(struct gr_small *small, struct gr_value *loss, struct gr_value *wanted)
{
    struct gr_error err = {0};
    const struct gr_loss weighted = {loss, 1};
    small->n_gradients = small->graph->n_values;
    gr_check_ok(
        gr_autodiff(small->graph, &weighted, 1, &wanted, wanted ? 1 : 0, &small->gradients, &err),
        &err);
}

void gr_small_compile(struct gr_small *small, struct gr_value *const *targets, size_t n_targets,
                      bool updates)
{
    const struct gr_program_options options = {.check_finite = true,
                                               .poison = true,
                                               .run_updates = updates,
                                               .no_fusion = small->no_fusion,
                                               .no_memory_plan = small->no_memory_plan,
                                               .precision = small->precision};
    struct gr_error err = {0};
    small->program = gr_program_new(small->graph, small->params, small->backend, targets, n_targets,
                                    &options, &err);
    gr_check_ok(small->program != NULL, &err);
}

void gr_small_feed(struct gr_small *small, const struct gr_value *value, const float *data)
{
    void *to = gr_program_data(small->program, value);
    assert_non_null(to);
    memcpy(to, data, (size_t)gr_shape_count(&value->shape) * sizeof *data);
}

void gr_small_run(struct gr_small *small, uint64_t seed, uint64_t step)
{
    struct gr_error err = {0};
    const struct gr_run run = {.seed = seed, .step = step};
    gr_check_ok(gr_program_run(small->program, &run, &err), &err);
}

const float *gr_small_fetch(const struct gr_small *small, const struct gr_value *value)
{
    const float *data = gr_program_data(small->program, value);
    assert_non_null(data);
    return data;
}

void gr_small_set(struct gr_small *small, const struct gr_value *parameter, const float *data)
{
    struct gr_error err = {0};
    struct gr_stored *stored = gr_params_obtain(small->params, parameter, &err);
    gr_check_ok(stored != NULL, &err);
    gr_check_ok(
        gr_params_set(small->params, stored, data, (size_t)gr_shape_count(&parameter->shape), &err),
        &err);
}

void gr_small_get(struct gr_small *small, const struct gr_value *parameter, float *data)
{
    struct gr_error err = {0};
    struct gr_stored *stored = gr_params_obtain(small->params, parameter, &err);
    gr_check_ok(stored != NULL, &err);
    gr_check_ok(
        gr_params_get(small->params, stored, data, (size_t)gr_shape_count(&parameter->shape), &err),
        &err);
}

void gr_small_draw(float *data, int64_t count, uint64_t seed)
{
    const struct gr_random_key key = gr_random_key(seed, GR_RANDOM_CHECK, 0, 0);
    for (int64_t i = 0; i < count; i++)
        data[i] = gr_random_normal(&key, (uint64_t)i);
}
