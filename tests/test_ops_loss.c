/*
 * softmax, softmax_cross_entropy and accuracy against their definitions, and their odd rows.
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

static void softmax(const struct gr_check_view *view, double *dst)
{
    const struct gr_shape *s = &view->shape[0];
    gr_naive_softmax(s->dim[0], s->dim[1], gr_shape_count(s) / s->dim[0] / s->dim[1], view->in[0],
                     dst);
}

static void softmax_is_its_definition_and_so_is_its_gradient(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 24; seed++) {
        const struct gr_op_check check = {
            .op = "softmax",
            .inputs = {{.shape = {seed % 3 ? 2 : 4,
                                  {gr_check_int(seed, 0, 1, 6), gr_check_int(seed, 1, 1, 40),
                                   gr_check_int(seed, 2, 1, 4), gr_check_int(seed, 3, 1, 4)}}}},
            .n_inputs = 1,
            .behind_conv = seed % 6 == 0,
            .forward = softmax,
            .seed = seed,
        };
        gr_op_check_run(&check);
    }
}

static void cross_entropy(const struct gr_check_view *view, double *dst)
{
    *dst = gr_naive_cross_entropy(view->shape[0].dim[0], view->shape[0].dim[1], view->in[0],
                                  view->in[1]);
}

static void cross_entropy_is_its_definition_and_so_is_its_gradient(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        const int64_t N = gr_check_int(seed, 0, 1, 9), C = gr_check_int(seed, 1, 1, 40);
        const struct gr_op_check check = {
            .op = "softmax_cross_entropy",
            .inputs = {{.shape = {seed % 4 ? 2 : 4, {N, C, 1, 1}}},
                       {.shape = {1, {N}}, .fill = GR_CHECK_LABELS, .classes = C}},
            .n_inputs = 2,
            .behind_conv = seed % 8 == 0,
            .forward = cross_entropy,
            .seed = seed,
        };
        gr_op_check_run(&check);
    }
}

static void accuracy(const struct gr_check_view *view, double *dst)
{
    *dst =
        gr_naive_accuracy(view->shape[0].dim[0], view->shape[0].dim[1],
                          (int64_t)gr_check_attr(view->check, "k", 0, 1), view->in[0], view->in[1]);
}

static void accuracy_is_its_definition(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        const int64_t N = gr_check_int(seed, 0, 1, 40), C = gr_check_int(seed, 1, 5, 12);
        const struct gr_op_check check = {
            .op = "accuracy",
            .attrs = {{"k", 1, {(double)gr_check_int(seed, 2, 1, 5)}}},
            .inputs = {{.shape = {2, {N, C}}},
                       {.shape = {1, {N}}, .fill = GR_CHECK_LABELS, .classes = C}},
            .n_inputs = 2,
            .no_gradient = true,
            .forward = accuracy,
            .seed = seed,
        };
        gr_op_check_run(&check);
    }
}

/* ---- single cases ------------------------------------------------------------------------ */

/* Runs an op on scores [N, C] and labels [N]; false with err set when it fails. */
static bool run_op(const char *name, const struct gr_check_attr *attrs, int64_t N, int64_t C,
                   const float *scores, const int32_t *labels, float *result, struct gr_error *err)
{
    const struct gr_registry *ops = gr_standard_ops();
    const struct gr_shape two = {2, {N, C}}, one = {1, {N}};
    const struct gr_run run = {0};
    struct gr_backend *backend = ops->backend_new(1, GR_KERNELS_AUTO, err);
    struct gr_graph *graph = gr_graph_new(ops, false);
    struct gr_params *params = gr_params_new(ops, backend, 1, err);
    struct gr_value *inputs[] = {
        gr_graph_add_value(graph, "scores", GR_VALUE_INPUT, GR_F32, &two, err),
        gr_graph_add_value(graph, "labels", GR_VALUE_INPUT, GR_S32, &one, err)};
    const struct gr_op *op = gr_registry_find(ops, name);
    assert_non_null(op);
    const struct gr_node_spec spec = {.name = "node",
                                      .op = op,
                                      .attrs = gr_check_attrs(&op->kind, attrs, &graph->pool),
                                      .inputs = inputs,
                                      .n_inputs = 2};
    const struct gr_node *node = gr_graph_add_node(graph, &spec, err);
    gr_check_ok(node != NULL, err);
    struct gr_program *program =
        gr_program_new(graph, params, backend, node->outputs, 1, NULL, err);
    gr_check_ok(program != NULL, err);
    memcpy(gr_program_data(program, inputs[0]), scores, (size_t)(N * C) * sizeof *scores);
    memcpy(gr_program_data(program, inputs[1]), labels, (size_t)N * sizeof *labels);
    const bool ok = gr_program_run(program, &run, err);
    *result = *(const float *)gr_program_data(program, node->outputs[0]);
    gr_program_free(program);
    gr_params_free(params);
    gr_graph_free(graph);
    ops->backend_free(backend);
    return ok;
}

static void without_any_label_loss_and_accuracy_are_zero(void **state)
{
    (void)state;
    const float scores[] = {1, 2, 3, 4, 5, 6};
    const int32_t labels[] = {-1, -1};
    struct gr_error err = {0};
    float result = 1;
    assert_true(run_op("softmax_cross_entropy", NULL, 2, 3, scores, labels, &result, &err));
    assert_true(fabsf(result) <= 0);
    result = 1;
    assert_true(run_op("accuracy", NULL, 2, 3, scores, labels, &result, &err));
    assert_true(fabsf(result) <= 0);
}

static void huge_scores_do_not_overflow(void **state)
{
    (void)state;
    const float scores[] = {1e30f, 0, 0, -3e4f, 3e4f, 0};
    const int32_t labels[] = {0, 0};
    struct gr_error err = {0};
    float result;
    assert_true(run_op("softmax_cross_entropy", NULL, 2, 3, scores, labels, &result, &err));
    assert_true(fabsf(result - 3e4f) < 1);
}

static void of_equal_scores_the_lower_class_ranks_first(void **state)
{
    (void)state;
    const float scores[] = {5, 5, 5, 5, 5, 5};
    struct gr_error err = {0};
    float result;
    assert_true(run_op("accuracy", NULL, 2, 3, scores, (int32_t[]){0, 1}, &result, &err));
    assert_true(fabsf(result - 0.5f) <= 0);
    const struct gr_check_attr k[] = {{"k", 1, {2}}, {0}};
    assert_true(run_op("accuracy", k, 2, 3, scores, (int32_t[]){1, 2}, &result, &err));
    assert_true(fabsf(result - 0.5f) <= 0);
}

static void a_network_that_says_nan_is_not_right(void **state)
{
    (void)state;
    const float scores[] = {NAN, NAN, NAN, 1, 2, 3};
    struct gr_error err = {0};
    float result;
    assert_true(run_op("accuracy", NULL, 2, 3, scores, (int32_t[]){0, 2}, &result, &err));
    assert_true(fabsf(result - 0.5f) <= 0);
}

static void a_label_beyond_the_classes_is_an_error_that_names_the_sample(void **state)
{
    (void)state;
    const float scores[] = {1, 2, 3, 4, 5, 6};
    static const char *const ops[] = {"softmax_cross_entropy", "accuracy"};
    for (int i = 0; i < 2; i++) {
        struct gr_error err = {0};
        float result;
        assert_false(run_op(ops[i], NULL, 2, 3, scores, (int32_t[]){0, 3}, &result, &err));
        assert_int_equal(err.status, GR_ERR_DATA);
        assert_string_equal(err.message,
                            "node: the label of sample 1 is 3, outside -1 (none) to 2");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(softmax_is_its_definition_and_so_is_its_gradient),
        cmocka_unit_test(cross_entropy_is_its_definition_and_so_is_its_gradient),
        cmocka_unit_test(accuracy_is_its_definition),
        cmocka_unit_test(without_any_label_loss_and_accuracy_are_zero),
        cmocka_unit_test(huge_scores_do_not_overflow),
        cmocka_unit_test(of_equal_scores_the_lower_class_ranks_first),
        cmocka_unit_test(a_network_that_says_nan_is_not_right),
        cmocka_unit_test(a_label_beyond_the_classes_is_an_error_that_names_the_sample),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
