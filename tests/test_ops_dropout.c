/*
 * dropout: how many elements it keeps, what depends on what, and that the gradient passes exactly
 * where the value did.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/small_graph.h"

enum { N = 6, C = 1001, COUNT = N * C };

/* x -> dropout "drop" of probability p, run once; y receives the result. */
static void drop(bool training, int threads, double p, const char *name, uint64_t seed,
                 uint64_t step, const float *x, float *y)
{
    struct gr_small small;
    const struct gr_check_attr attrs[] = {{"p", 1, {p}}, {0}};
    gr_small_init(&small, training, threads, GR_KERNELS_AUTO);
    struct gr_value *src = gr_small_input(&small, "x", (struct gr_shape){2, {N, C}});
    struct gr_node *node = gr_small_node(&small, "dropout", name, attrs, src, NULL);
    gr_small_compile(&small, node->outputs, 1, false);
    gr_small_feed(&small, src, x);
    gr_small_run(&small, seed, step);
    memcpy(y, gr_small_fetch(&small, node->outputs[0]), COUNT * sizeof *y);
    gr_small_release(&small);
}

static void each_element_is_dropped_or_scaled(void **state)
{
    (void)state;
    static const double probabilities[] = {0, 0.1, 0.5, 0.9};
    static float x[COUNT], y[COUNT];
    for (int i = 0; i < COUNT; i++)
        x[i] = 1 + (float)i;
    for (int k = 0; k < 4; k++) {
        const double p = probabilities[k];
        int kept = 0;
        drop(true, 2, p, "drop", 1, 0, x, y);
        for (int i = 0; i < COUNT; i++) {
            if (fabsf(y[i]) <= 0)
                continue;
            assert_true(fabs((double)y[i] - (double)x[i] / (1 - p)) <= 1e-6 * (double)y[i]);
            kept++;
        }
        /* Within five standard deviations of the binomial. */
        assert_true(fabs(kept - COUNT * (1 - p)) <= 5 * sqrt(COUNT * p * (1 - p)));
    }
}

static void outside_training_it_is_the_identity(void **state)
{
    (void)state;
    static float x[COUNT], y[COUNT];
    gr_small_draw(x, COUNT, 3);
    drop(false, 2, 0.5, "drop", 1, 0, x, y);
    assert_memory_equal(x, y, sizeof x);
}

static void the_draw_depends_on_seed_step_and_name_but_not_on_threads(void **state)
{
    (void)state;
    static float x[COUNT], base[COUNT], y[COUNT];
    gr_small_draw(x, COUNT, 3);
    drop(true, 1, 0.5, "drop", 1, 5, x, base);
    drop(true, 2, 0.5, "drop", 1, 5, x, y);
    assert_memory_equal(base, y, sizeof y);
    drop(true, 1, 0.5, "drop", 2, 5, x, y);
    assert_memory_not_equal(base, y, sizeof y);
    drop(true, 1, 0.5, "drop", 1, 6, x, y);
    assert_memory_not_equal(base, y, sizeof y);
    drop(true, 1, 0.5, "drop2", 1, 5, x, y);
    assert_memory_not_equal(base, y, sizeof y);
}

/* y, its gradient and the loss's upstream must agree: dx = fixed / (1 - p) where y is not 0. */
static void expect_masked(const float *y, const float *fixed, const float *dx, int64_t count,
                          float tolerance)
{
    for (int64_t i = 0; i < count; i++) {
        const float want = fabsf(y[i]) <= 0 ? 0 : 2 * fixed[i];
        assert_true(fabsf(dx[i] - want) <= tolerance * (1 + fabsf(want)));
    }
}

static void the_gradient_passes_where_the_value_did(void **state)
{
    (void)state;
    static float x[COUNT], fixed[COUNT];
    struct gr_small small;
    gr_small_init(&small, true, 2, GR_KERNELS_AUTO);
    struct gr_value *src = gr_small_input(&small, "x", (struct gr_shape){2, {N, C}});
    struct gr_node *node = gr_small_node(&small, "dropout", "drop", NULL, src, NULL);
    struct gr_value *loss = gr_small_loss(&small, node->outputs[0]);
    gr_small_differentiate(&small, loss, src);
    struct gr_value *targets[] = {node->outputs[0], small.gradients[src->id]};
    gr_small_compile(&small, targets, 2, false);
    gr_small_draw(x, COUNT, 1);
    gr_small_draw(fixed, COUNT, 2);
    for (uint64_t step = 0; step < 2; step++) {
        gr_small_feed(&small, src, x);
        gr_small_feed(&small, gr_graph_value(small.graph, "fixed"), fixed);
        gr_small_run(&small, 1, step);
        expect_masked(gr_small_fetch(&small, targets[0]), fixed, gr_small_fetch(&small, targets[1]),
                      COUNT, 1e-5f);
    }
    gr_small_release(&small);
}

/*
 * conv1 -> dropout -> loss: memory is blocked in the forward and plain in the backward, and the
 * mask must mean the same elements. The value before the dropout is wanted, for its gradient.
 */
static void expect_masks_agree(enum gr_precision precision, float tolerance)
{
    static const int64_t channels[] = {16, 17, 32};
    for (int k = 0; k < 3; k++) {
        const int64_t O = channels[k], count = 2 * O * 25;
        const struct gr_check_attr attrs[] = {
            {"out_channels", 1, {(double)O}}, {"kernel", 1, {3}}, {"pad", 1, {1}}, {0}};
        float *x = calloc((size_t)count, sizeof *x), *fixed = calloc((size_t)count, sizeof *fixed);
        struct gr_small small;
        assert_true(x && fixed);
        gr_small_init(&small, true, 2, GR_KERNELS_AUTO);
        small.precision = precision;
        struct gr_value *src = gr_small_input(&small, "x", (struct gr_shape){4, {2, O, 5, 5}});
        struct gr_node *conv = gr_small_node(&small, "conv", "conv", attrs, src, NULL);
        struct gr_node *node =
            gr_small_node(&small, "dropout", "drop", NULL, conv->outputs[0], NULL);
        struct gr_value *loss = gr_small_loss(&small, node->outputs[0]);
        gr_small_differentiate(&small, loss, src);
        struct gr_value *targets[] = {node->outputs[0], small.gradients[conv->outputs[0]->id]};
        gr_small_compile(&small, targets, 2, false);
        gr_small_draw(x, count, 1);
        gr_small_draw(fixed, count, 2);
        gr_small_feed(&small, src, x);
        gr_small_feed(&small, gr_graph_value(small.graph, "fixed"), fixed);
        gr_small_run(&small, 1, 0);
        expect_masked(gr_small_fetch(&small, targets[0]), fixed, gr_small_fetch(&small, targets[1]),
                      count, tolerance);
        gr_small_release(&small);
        free(x);
        free(fixed);
    }
}

static void masks_agree_though_layouts_differ(void **state)
{
    (void)state;
    expect_masks_agree(GR_PRECISION_F32, 1e-5f);
}

/* The gradient may be rounded to eight bits: 0.4 %. */
static void masks_agree_in_bf16(void **state)
{
    (void)state;
    if (!gr_check_has_bf16())
        skip();
    expect_masks_agree(GR_PRECISION_BF16, 4e-3f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_element_is_dropped_or_scaled),
        cmocka_unit_test(outside_training_it_is_the_identity),
        cmocka_unit_test(the_draw_depends_on_seed_step_and_name_but_not_on_threads),
        cmocka_unit_test(the_gradient_passes_where_the_value_did),
        cmocka_unit_test(masks_agree_though_layouts_differ),
        cmocka_unit_test(masks_agree_in_bf16),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
