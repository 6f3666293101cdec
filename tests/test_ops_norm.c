/*
 * batch_norm against its definition, in training and in inference, plain and blocked, and what it
 * keeps of the batches it has seen.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "support/naive.h"
#include "support/op_check.h"
#include "support/small_graph.h"

static void batch_norm(const struct gr_check_view *view, double *dst)
{
    const struct gr_shape *s = &view->shape[0];
    const bool affine = view->n_in == 5;
    const int64_t N = s->dim[0], C = s->dim[1], HW = gr_shape_count(s) / N / C;
    double batch_mean[64], batch_variance[64];
    const double *mean = view->in[affine ? 3 : 1], *variance = view->in[affine ? 4 : 2];
    assert_true(C <= 64);
    if (view->check->training) {
        gr_naive_moments(N, C, HW, view->in[0], batch_mean, batch_variance);
        mean = batch_mean;
        variance = batch_variance;
    }
    gr_naive_batch_norm(N, C, HW, gr_check_attr(view->check, "eps", 0, 1e-5), view->in[0], mean,
                        variance, affine ? view->in[1] : NULL, affine ? view->in[2] : NULL, dst);
}

static struct gr_op_check random_norm(uint64_t seed, bool training)
{
    return (struct gr_op_check){
        .op = "batch_norm",
        .attrs = {{"eps", 1, {gr_check_int(seed, 0, 0, 1) ? 1e-5 : 0.1}},
                  {"affine", 1, {(double)gr_check_int(seed, 1, 0, 2)}}},
        .inputs = {{.shape = {gr_check_int(seed, 2, 0, 2) ? 4 : 2,
                              {gr_check_int(seed, 3, 3, 7), gr_check_int(seed, 4, 1, 40),
                               gr_check_int(seed, 5, 1, 7), gr_check_int(seed, 6, 1, 7)}}}},
        .n_inputs = 1,
        .training = training,
        .forward = batch_norm,
        .seed = seed,
    };
}

static void batch_norm_in_training_is_its_definition_and_so_is_its_gradient(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        const struct gr_op_check check = random_norm(seed, true);
        gr_op_check_run(&check);
    }
}

static void batch_norm_in_inference_is_its_definition_and_so_is_its_gradient(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        const struct gr_op_check check = random_norm(seed, false);
        gr_op_check_run(&check);
    }
}

static void batch_norm_behind_a_convolution_is_its_definition(void **state)
{
    (void)state;
    static const int64_t channels[] = {3, 8, 16, 17, 24, 32, 48};
    for (uint64_t seed = 1; seed <= 28; seed++) {
        struct gr_op_check check = random_norm(seed, seed % 2);
        check.inputs[0].shape.rank = 4;
        check.inputs[0].shape.dim[1] = channels[seed % 7];
        check.behind_conv = true;
        check.gradient_tolerance = 5e-4;
        gr_op_check_run(&check);
    }
}

/*
 * What the convolution leaves is rounded to eight bits, and so is the norm's output: of elements
 * around one, by half of 1/128 each. Gradients are held against their definition where none is
 * zero but for rounding, as that of the convolution's bias is in training (test_norm_passes.c has
 * those).
 */
static void in_bf16_batch_norm_is_its_definition_to_eight_bits(void **state)
{
    (void)state;
    if (!gr_check_has_bf16())
        skip();
    for (uint64_t seed = 1; seed <= 24; seed++) {
        struct gr_op_check check = random_norm(seed, seed % 2);
        check.inputs[0].shape.rank = 4;
        check.attrs[0].value[0] = 0.1;
        check.behind_conv = true;
        check.bf16 = true;
        check.tolerance = 8e-3;
        check.gradient_tolerance = 2e-2;
        check.no_gradient = check.training;
        gr_op_check_run(&check);
    }
}

static void running_statistics_move_towards_each_batch(void **state)
{
    (void)state;
    enum { N = 3, C = 4, HW = 6, COUNT = N * C * HW };
    struct gr_small small;
    float x[COUNT], fixed[COUNT], got[C];
    double want_mean[C] = {0}, want_variance[C], wide[COUNT], mean[C], variance[C];
    gr_small_init(&small, true, 2, GR_KERNELS_AUTO);
    struct gr_value *src = gr_small_input(&small, "x", (struct gr_shape){4, {N, C, 2, 3}});
    const struct gr_check_attr attrs[] = {{"momentum", 1, {0.25}}, {0}};
    struct gr_node *norm = gr_small_node(&small, "batch_norm", "bn", attrs, src, NULL);
    struct gr_value *loss = gr_small_loss(&small, norm->outputs[0]);
    gr_small_differentiate(&small, loss, NULL);
    struct gr_value *const running_mean = norm->inputs[3], *const running_var = norm->inputs[4];
    gr_small_compile(&small, &loss, 1, true);
    gr_small_draw(fixed, COUNT, 1);
    gr_small_feed(&small, gr_graph_value(small.graph, "fixed"), fixed);
    for (int c = 0; c < C; c++)
        want_variance[c] = 1;
    for (uint64_t step = 0; step < 3; step++) {
        gr_small_draw(x, COUNT, 10 + step);
        for (int i = 0; i < COUNT; i++)
            wide[i] = (double)x[i];
        gr_naive_moments(N, C, HW, wide, mean, variance);
        for (int c = 0; c < C; c++) {
            want_mean[c] = 0.75 * want_mean[c] + 0.25 * mean[c];
            want_variance[c] = 0.75 * want_variance[c] + 0.25 * variance[c] * 18 / 17;
        }
        gr_small_feed(&small, src, x);
        gr_small_run(&small, 1, step);
    }
    gr_small_get(&small, running_mean, got);
    for (int c = 0; c < C; c++)
        assert_true(fabs((double)got[c] - want_mean[c]) < 1e-6);
    gr_small_get(&small, running_var, got);
    for (int c = 0; c < C; c++)
        assert_true(fabs((double)got[c] - want_variance[c]) < 1e-6);
    gr_small_release(&small);
}

/* A batch norm, maybe frozen, behind a 1×1 convolution, in training or not. */
struct behind {
    float gradient[9];          /* of the convolution's weight */
    float mean[3], variance[3]; /* running, afterwards */
};

static struct behind run_behind(bool training, bool frozen, bool update)
{
    struct gr_small small;
    struct gr_error err = {0};
    struct behind result;
    float data[2 * 3 * 4 * 4];
    static const float mean[3] = {0.5f, -0.25f, 1}, variance[3] = {2, 0.5f, 1.5f};
    gr_small_init(&small, training, 1, GR_KERNELS_AUTO);
    struct gr_value *src = gr_small_input(&small, "x", (struct gr_shape){4, {2, 3, 4, 4}});
    const struct gr_check_attr attrs[] = {{"out_channels", 1, {3}}, {"kernel", 1, {1}}, {0}};
    struct gr_node *conv = gr_small_node(&small, "conv", "conv", attrs, src, NULL);
    const struct gr_node_spec spec = {.name = "bn",
                                      .op = gr_registry_find(gr_standard_ops(), "batch_norm"),
                                      .inputs = conv->outputs,
                                      .n_inputs = 1,
                                      .frozen = frozen};
    struct gr_node *norm = gr_graph_add_node(small.graph, &spec, &err);
    gr_check_ok(norm != NULL, &err);
    struct gr_value *loss = gr_small_loss(&small, norm->outputs[0]);
    gr_small_differentiate(&small, loss, NULL);
    struct gr_value *target = small.gradients[conv->inputs[1]->id];
    gr_small_compile(&small, &target, 1, update);
    gr_small_set(&small, norm->inputs[3], mean);
    gr_small_set(&small, norm->inputs[4], variance);
    gr_small_draw(data, sizeof data / sizeof *data, 1);
    gr_small_feed(&small, src, data);
    gr_small_draw(data, sizeof data / sizeof *data, 2);
    gr_small_feed(&small, gr_graph_value(small.graph, "fixed"), data);
    gr_small_run(&small, 1, 0);
    assert_int_equal(gr_shape_count(&target->shape), 9);
    memcpy(result.gradient, gr_small_fetch(&small, target), sizeof result.gradient);
    gr_small_get(&small, norm->inputs[3], result.mean);
    gr_small_get(&small, norm->inputs[4], result.variance);
    gr_small_release(&small);
    return result;
}

static void a_frozen_batch_norm_trains_by_its_running_statistics(void **state)
{
    (void)state;
    const struct behind frozen = run_behind(true, true, true);
    const struct behind trained = run_behind(true, false, true);
    const struct behind inference = run_behind(false, false, false);
    double apart = 0;
    for (int i = 0; i < 9; i++) {
        assert_true(fabsf(frozen.gradient[i] - inference.gradient[i]) <=
                    1e-5f * fabsf(inference.gradient[i]));
        apart += fabs((double)(frozen.gradient[i] - trained.gradient[i]));
    }
    assert_true(apart > 0.1); /* it is another function than by the batch's */
    assert_memory_equal(frozen.mean, inference.mean, sizeof frozen.mean);
    assert_memory_equal(frozen.variance, inference.variance, sizeof frozen.variance);
    assert_memory_not_equal(trained.mean, inference.mean, sizeof frozen.mean);
    assert_memory_not_equal(trained.variance, inference.variance, sizeof frozen.variance);
}

static void statistics_are_kept_where_nothing_is_trained(void **state)
{
    (void)state;
    struct gr_small small;
    float x[24], fixed[24], got[2];
    gr_small_init(&small, true, 1, GR_KERNELS_AUTO);
    struct gr_value *src = gr_small_input(&small, "x", (struct gr_shape){4, {2, 2, 2, 3}});
    const struct gr_check_attr attrs[] = {{"affine", 1, {0}}, {0}};
    struct gr_node *norm = gr_small_node(&small, "batch_norm", "bn", attrs, src, NULL);
    struct gr_value *loss = gr_small_loss(&small, norm->outputs[0]);
    gr_small_differentiate(&small, loss, NULL);
    gr_small_compile(&small, &loss, 1, true);
    for (int i = 0; i < 24; i++)
        x[i] = i / 6 % 2 ? 30 : 20 + (float)(i % 3);
    gr_small_draw(fixed, 24, 1);
    gr_small_feed(&small, src, x);
    gr_small_feed(&small, gr_graph_value(small.graph, "fixed"), fixed);
    gr_small_run(&small, 1, 0);
    gr_small_get(&small, norm->inputs[1], got);
    assert_float_equal(got[0], 2.1f, 1e-5f); /* a tenth of the way from 0 to 21 and 30 */
    assert_float_equal(got[1], 3, 1e-5f);
    gr_small_release(&small);
}

static void one_value_a_channel_cannot_be_trained_on(void **state)
{
    (void)state;
    struct gr_graph *graph = gr_graph_new(gr_standard_ops(), true);
    struct gr_error err = {0};
    const struct gr_shape shape = {2, {1, 8}};
    struct gr_value *x = gr_graph_add_value(graph, "x", GR_VALUE_INPUT, GR_F32, &shape, &err);
    const struct gr_node_spec spec = {.name = "bn",
                                      .op = gr_registry_find(gr_standard_ops(), "batch_norm"),
                                      .inputs = &x,
                                      .n_inputs = 1};
    assert_null(gr_graph_add_node(graph, &spec, &err));
    assert_string_equal(err.message, "bn (batch_norm): input 'x' is 1×8: training needs more than "
                                     "one value for each channel");
    gr_graph_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batch_norm_in_training_is_its_definition_and_so_is_its_gradient),
        cmocka_unit_test(batch_norm_in_inference_is_its_definition_and_so_is_its_gradient),
        cmocka_unit_test(batch_norm_behind_a_convolution_is_its_definition),
        cmocka_unit_test(in_bf16_batch_norm_is_its_definition_to_eight_bits),
        cmocka_unit_test(running_statistics_move_towards_each_batch),
        cmocka_unit_test(a_frozen_batch_norm_trains_by_its_running_statistics),
        cmocka_unit_test(statistics_are_kept_where_nothing_is_trained),
        cmocka_unit_test(one_value_a_channel_cannot_be_trained_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
