/*
 * sgd over several steps against its definition in double precision: momentum, Nesterov, weight
 * decay, multipliers, and a rate that changes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "support/small_graph.h"

enum { IN = 7, OUT = 5, BATCH = 3, WEIGHTS = IN * OUT, STEPS = 5 };

struct variant {
    double momentum, weight_decay, nesterov, lr_mult, decay_mult;
};

/* One element's step by definition; g is its gradient. */
static void descend(const struct variant *v, double rate, double g, double *w, double *velocity)
{
    const double step = rate * v->lr_mult * (g + v->weight_decay * v->decay_mult * *w);
    *velocity = v->momentum * *velocity - step;
    *w += v->nesterov > 0 ? v->momentum * *velocity - step : *velocity;
}

/* The gradient of sum(fixed · (x wᵀ + b)) is constant: fixedᵀ x. */
static void gradient_of(const float *x, const float *fixed, double *g)
{
    for (int o = 0; o < OUT; o++)
        for (int i = 0; i < IN; i++) {
            g[o * IN + i] = 0;
            for (int n = 0; n < BATCH; n++)
                g[o * IN + i] += (double)fixed[n * OUT + o] * (double)x[n * IN + i];
        }
}

static void run_variant(const struct variant *v)
{
    static const double rates[STEPS] = {0.1, 0.1, 0.01, 0.01, 0.05};
    struct gr_small small;
    struct gr_error err = {0};
    float x[BATCH * IN], fixed[BATCH * OUT], w[WEIGHTS];
    double want[WEIGHTS], velocity[WEIGHTS] = {0}, g[WEIGHTS];
    const struct gr_check_attr linear[] = {{"out_features", 1, {OUT}}, {0}};
    const struct gr_check_attr attrs[] = {{"momentum", 1, {v->momentum}},
                                          {"weight_decay", 1, {v->weight_decay}},
                                          {"nesterov", 1, {v->nesterov}},
                                          {0}};
    gr_small_init(&small, true, 2, GR_KERNELS_AUTO);
    struct gr_value *src = gr_small_input(&small, "x", (struct gr_shape){2, {BATCH, IN}});
    struct gr_value *rate = gr_small_input(&small, "rate", (struct gr_shape){0});
    struct gr_node *fc = gr_small_node(&small, "linear", "fc", linear, src, NULL);
    struct gr_value *weight = fc->inputs[1], *loss = gr_small_loss(&small, fc->outputs[0]);
    weight->parameter->lr_mult = v->lr_mult;
    weight->parameter->decay_mult = v->decay_mult;
    gr_small_differentiate(&small, loss, NULL);
    const struct gr_op *op = gr_registry_find(gr_standard_ops(), "sgd");
    assert_non_null(op);
    const struct gr_choice sgd = {&op->kind, gr_check_attrs(&op->kind, attrs, &small.graph->pool)};
    gr_check_ok(gr_emit_updates(small.graph, &sgd, small.gradients, small.n_gradients, rate, &err),
                &err);
    gr_small_compile(&small, &loss, 1, true);
    gr_small_draw(x, BATCH * IN, 1);
    gr_small_draw(fixed, BATCH * OUT, 2);
    gr_small_draw(w, WEIGHTS, 3);
    gr_small_set(&small, weight, w);
    gradient_of(x, fixed, g);
    for (int i = 0; i < WEIGHTS; i++)
        want[i] = (double)w[i];
    gr_small_feed(&small, src, x);
    gr_small_feed(&small, gr_graph_value(small.graph, "fixed"), fixed);
    for (int step = 0; step < STEPS; step++) {
        const float now = (float)rates[step];
        gr_small_feed(&small, rate, &now);
        gr_small_run(&small, 1, (uint64_t)step);
        for (int i = 0; i < WEIGHTS; i++)
            descend(v, (double)now, g[i], &want[i], &velocity[i]);
        gr_small_get(&small, weight, w);
        for (int i = 0; i < WEIGHTS; i++)
            assert_true(fabs((double)w[i] - want[i]) < 2e-6 * (1 + fabs(want[i])));
    }
    gr_small_release(&small);
}

static void every_variant_of_sgd_follows_its_definition(void **state)
{
    (void)state;
    static const struct variant variants[] = {
        {0, 0, 0, 1, 1},      {0, 0.1, 0, 1, 1},    {0.9, 0, 0, 1, 1},     {0.9, 0.05, 0, 1, 1},
        {0.9, 0.05, 1, 1, 1}, {0.9, 0.05, 0, 2, 0}, {0.5, 0.1, 1, 0.5, 3},
    };
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++)
        run_variant(&variants[i]);
}

static void a_frozen_layer_is_not_updated(void **state)
{
    (void)state;
    struct gr_small small;
    struct gr_error err = {0};
    gr_small_init(&small, true, 1, GR_KERNELS_AUTO);
    struct gr_value *src = gr_small_input(&small, "x", (struct gr_shape){2, {BATCH, IN}});
    struct gr_value *rate = gr_small_input(&small, "rate", (struct gr_shape){0});
    const struct gr_op *linear = gr_registry_find(gr_standard_ops(), "linear");
    const struct gr_check_attr attrs[] = {{"out_features", 1, {OUT}}, {0}};
    const struct gr_node_spec spec = {.name = "fc",
                                      .op = linear,
                                      .attrs =
                                          gr_check_attrs(&linear->kind, attrs, &small.graph->pool),
                                      .inputs = &src,
                                      .n_inputs = 1,
                                      .frozen = true};
    struct gr_node *fc = gr_graph_add_node(small.graph, &spec, &err);
    gr_check_ok(fc != NULL, &err);
    struct gr_value *loss = gr_small_loss(&small, fc->outputs[0]);
    gr_small_differentiate(&small, loss, NULL);
    const struct gr_op *op = gr_registry_find(gr_standard_ops(), "sgd");
    const struct gr_choice sgd = {&op->kind, gr_check_attrs(&op->kind, NULL, &small.graph->pool)};
    const size_t before = small.graph->n_nodes;
    gr_check_ok(gr_emit_updates(small.graph, &sgd, small.gradients, small.n_gradients, rate, &err),
                &err);
    assert_int_equal(small.graph->n_nodes, before);
    gr_small_release(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_variant_of_sgd_follows_its_definition),
        cmocka_unit_test(a_frozen_layer_is_not_updated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
