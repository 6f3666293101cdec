/*
 * Autodiff, seen from outside: which gradient nodes it emits and which not, what it refuses, and
 * what the gradients are worth by numeric differences.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "support/graph_case.h"

enum { MOST = 256 };

/* ---- what autodiff emits ----------------------------------------------------------------- */

static void a_value_with_several_consumers_gets_one_sum_of_their_gradients(void **state)
{
    (void)state;
    struct gr_value *x = gr_case_image("x", 3, 5);
    struct gr_value *two = gr_case_conv("two", x, 3), *three = gr_case_conv("three", x, 3);
    struct gr_value *a = gr_case_node("tanh", "a", two, NULL),
                    *b = gr_case_node("sigmoid", "b", two, NULL);
    struct gr_value *c = gr_case_node("tanh", "c", three, NULL),
                    *d = gr_case_node("sigmoid", "d", three, NULL);
    struct gr_value *e = gr_case_node("mul", "e", three, a);
    struct gr_value *all =
        gr_case_node("add", "f", gr_case_node("add", "g", b, c), gr_case_node("add", "h", d, e));
    gr_case_differentiate(&(struct gr_loss){gr_case_dot("loss", all), 1}, 1, NULL, 0);
    assert_int_equal(gr_case_count_op("sum"), 2);
    assert_string_equal(gr_case_gradient("two")->producer->op->kind.name, "sum");
    assert_int_equal(gr_case_gradient("two")->producer->n_inputs, 2);
    assert_string_equal(gr_case_gradient("three")->producer->op->kind.name, "sum");
    assert_int_equal(gr_case_gradient("three")->producer->n_inputs, 3);
    assert_string_not_equal(gr_case_gradient("a")->producer->op->kind.name, "sum");
}

static void a_value_read_twice_by_one_node_is_summed(void **state)
{
    (void)state;
    struct gr_value *a = gr_case_conv("a", gr_case_image("x", 3, 5), 3);
    gr_case_differentiate(
        &(struct gr_loss){gr_case_dot("loss", gr_case_node("mul", "square", a, a)), 1}, 1, NULL, 0);
    assert_int_equal(gr_case_count_op("sum"), 1);
    assert_int_equal(gr_case_gradient("a")->producer->n_inputs, 2);
}

static void shared_parameters_sum_over_the_nodes_that_share_them(void **state)
{
    (void)state;
    struct gr_node *a = gr_case_conv_node("a", gr_case_image("x", 3, 5), 3, false, NULL);
    struct gr_node *b = gr_case_conv_node("b", a->outputs[0], 3, false, a);
    assert_ptr_equal(a->inputs[1], b->inputs[1]);
    assert_null(gr_graph_value(gr_case.graph, "b.weight"));
    gr_case_differentiate(&(struct gr_loss){gr_case_dot("loss", b->outputs[0]), 1}, 1, NULL, 0);
    assert_string_equal(gr_case_gradient("a.weight")->producer->op->kind.name, "sum");
    assert_string_equal(gr_case_gradient("a.bias")->producer->op->kind.name, "sum");
    gr_case_add_updates();
    assert_int_equal(gr_case_count_phase(GR_UPDATE), 2);
}

static void every_gradient_has_the_shape_of_its_value(void **state)
{
    (void)state;
    gr_case_build_training_step();
    size_t count = 0;
    for (size_t v = 0; v < gr_case.n_gradients; v++)
        if (gr_case.gradients[v]) {
            assert_true(
                gr_shape_equal(&gr_case.gradients[v]->shape, &gr_case.graph->values[v]->shape));
            assert_int_equal(gr_case.gradients[v]->producer->phase, GR_BACKWARD);
            count++;
        }
    assert_int_equal(count, 15); /* 8 parameters, 6 results between them, the loss */
    assert_null(gr_case_gradient("b.running_mean"));
}

static void a_frozen_parameter_gets_no_gradient_and_no_nodes(void **state)
{
    (void)state;
    struct gr_value *x = gr_case_image("x", 3, 5);
    struct gr_value *a = gr_case_conv_node("a", x, 3, true, NULL)->outputs[0];
    struct gr_value *b = gr_case_conv("b", a, 3);
    struct gr_value *c = gr_case_conv_node("c", b, 3, true, NULL)->outputs[0];
    gr_case_differentiate(&(struct gr_loss){gr_case_dot("loss", c), 1}, 1, NULL, 0);
    static const char *const without[] = {"x", "a", "a.weight", "a.bias", "c.weight", "c.bias"};
    for (size_t i = 0; i < sizeof without / sizeof *without; i++)
        if (gr_case_gradient(without[i]))
            fail_msg("'%s' has a gradient", without[i]);
    assert_non_null(gr_case_gradient("b.weight"));
    assert_non_null(gr_case_gradient("b.bias"));
    assert_int_equal(gr_case_count_op("conv_backward_weights"), 1); /* b */
    assert_int_equal(gr_case_count_op("conv_backward_data"), 1);    /* c, for b */
    gr_case_add_updates();
    assert_int_equal(gr_case_count_phase(GR_UPDATE), 2);
}

static void an_input_gets_a_gradient_only_when_it_is_wanted(void **state)
{
    (void)state;
    struct gr_value *x = gr_case_image("x", 3, 5), *y = gr_case_image("y", 3, 5);
    struct gr_value *sum =
        gr_case_node("add", "sum", gr_case_conv("a", x, 3), gr_case_conv("b", y, 3));
    gr_case_differentiate(&(struct gr_loss){gr_case_dot("loss", sum), 1}, 1, &y, 1);
    assert_null(gr_case_gradient("x"));
    assert_non_null(gr_case_gradient("y"));
    assert_string_equal(gr_case_gradient("y")->name, "grad:y");
    assert_int_equal(gr_case_count_op("conv_backward_data"), 1);
    assert_null(gr_case_gradient("loss.fixed"));
}

static void a_loss_that_depends_on_nothing_trained_emits_nothing(void **state)
{
    (void)state;
    struct gr_value *loss =
        gr_case_dot("loss", gr_case_node("relu", "a", gr_case_image("x", 3, 5), NULL));
    gr_case_differentiate(&(struct gr_loss){loss, 1}, 1, NULL, 0);
    assert_int_equal(gr_case_count_phase(GR_BACKWARD), 0);
    for (size_t v = 0; v < gr_case.n_gradients; v++)
        assert_null(gr_case.gradients[v]);
}

static void all_names_are_unique(void **state)
{
    (void)state;
    struct gr_node *a = gr_case_conv_node("a", gr_case_image("x", 3, 5), 3, false, NULL);
    struct gr_node *b = gr_case_conv_node("b", a->outputs[0], 3, false, a);
    struct gr_value *c = gr_case_node("mul", "c", b->outputs[0], b->outputs[0]);
    struct gr_value *d =
        gr_case_node("add", "a:sum", c, a->outputs[0]); /* as autodiff would name a sum */
    const struct gr_loss losses[] = {{gr_case_dot("one", d), 1}, {gr_case_dot("two", c), 2}};
    gr_case_differentiate(losses, 2, NULL, 0);
    gr_case_add_updates();
    const struct gr_graph *graph = gr_case.graph;
    for (size_t i = 0; i < graph->n_nodes; i++)
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(graph->nodes[i]->name, graph->nodes[j]->name);
    for (size_t i = 0; i < graph->n_values; i++) {
        assert_ptr_equal(gr_graph_value(graph, graph->values[i]->name), graph->values[i]);
        assert_int_equal(graph->values[i]->id, i);
    }
}

/* ---- what autodiff refuses --------------------------------------------------------------- */

static void expect_refusal(struct gr_value *loss, const char *message)
{
    struct gr_error err = {0};
    const struct gr_loss losses[] = {{loss, 1}};
    struct gr_value **gradients = (struct gr_value **)&gr_case;
    assert_false(gr_autodiff(gr_case.graph, losses, 1, NULL, 0, &gradients, &err));
    assert_null(gradients);
    assert_int_equal(err.status, GR_ERR_MODEL);
    assert_string_equal(err.message, message);
}

static void a_missing_gradient_is_an_error_that_names_the_node(void **state)
{
    (void)state;
    struct gr_error err = {0};
    const struct gr_shape labels = {1, {2}};
    const struct gr_check_attr attrs[] = {{"out_features", 1, {4}}, {0}};
    struct gr_value *label =
        gr_graph_add_value(gr_case.graph, "label", GR_VALUE_INPUT, GR_S32, &labels, &err);
    gr_check_ok(label != NULL, &err);
    struct gr_node *fc =
        gr_small_node(&gr_case, "linear", "fc", attrs, gr_case_image("x", 3, 5), NULL);
    expect_refusal(gr_case_node("accuracy", "top1", fc->outputs[0], label),
                   "top1 (accuracy): is not differentiable, and the loss depends on it");
}

static void a_loss_with_several_elements_is_an_error(void **state)
{
    (void)state;
    expect_refusal(gr_case_conv("a", gr_case_image("x", 3, 5), 4), "the loss 'a' is not a scalar");
}

/* An op whose rule passes the gradient of one input on to the other, whatever its shape. */
static bool wrong_infer(struct gr_node *made, struct gr_error *err)
{
    return gr_node_output(made, NULL, GR_F32, &made->inputs[0]->shape, err) != NULL;
}

static bool wrong_grad(struct gr_node *made, struct gr_grad *grad, struct gr_error *err)
{
    (void)made;
    return gr_grad_pass(grad, 1, gr_grad_output(grad, 0), err);
}

static const struct gr_op wrong_op = {.kind = {.name = "wrong", .doc = "a wrong gradient"},
                                      .min_inputs = 2,
                                      .max_inputs = 2,
                                      .infer = wrong_infer,
                                      .grad = wrong_grad};

static void a_gradient_of_another_shape_is_an_error_that_names_the_node(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct gr_value *x = gr_case_image("x", 3, 5);
    struct gr_value *inputs[] = {gr_case_conv("a", x, 4), gr_case_conv("b", x, 2)};
    const struct gr_node_spec spec = {
        .name = "bad", .op = &wrong_op, .inputs = inputs, .n_inputs = 2};
    struct gr_node *bad = gr_graph_add_node(gr_case.graph, &spec, &err);
    gr_check_ok(bad != NULL, &err);
    expect_refusal(gr_case_dot("loss", bad->outputs[0]),
                   "bad (wrong): the gradient of 'b' has shape 2×4×5×5, not 2×2×5×5");
}

/* ---- what the gradients are worth -------------------------------------------------------- */

/* Random numbers for a value, the same for every call with its name. */
static float *numbers_of(const struct gr_value *of)
{
    const int64_t count = gr_shape_count(&of->shape);
    float *numbers = malloc((size_t)count * sizeof *numbers);
    assert_non_null(numbers);
    gr_small_draw(numbers, count, gr_random_name(of->name));
    return numbers;
}

static void feed_all(void)
{
    for (size_t v = 0; v < gr_case.graph->n_values; v++) {
        const struct gr_value *input = gr_case.graph->values[v];
        if (input->kind != GR_VALUE_INPUT || !gr_program_data(gr_case.program, input))
            continue;
        float *numbers = numbers_of(input);
        gr_small_feed(&gr_case, input, numbers);
        free(numbers);
    }
}

static double run_loss(const struct gr_loss *losses, size_t n)
{
    double total = 0;
    gr_small_run(&gr_case, 1, 0);
    for (size_t i = 0; i < n; i++)
        total += losses[i].weight * (double)*gr_small_fetch(&gr_case, losses[i].value);
    return total;
}

/* Moves a parameter or input to base + step · along. */
static void move(const struct gr_value *moved, const float *base, const float *along, double step)
{
    const int64_t count = gr_shape_count(&moved->shape);
    float *at = malloc((size_t)count * sizeof *at);
    assert_non_null(at);
    for (int64_t i = 0; i < count; i++)
        at[i] = (float)((double)base[i] + step * (double)along[i]);
    if (moved->parameter)
        gr_small_set(&gr_case, moved, at);
    else
        gr_small_feed(&gr_case, moved, at);
    free(at);
}

/* The derivative along a random direction, by central differences, against the gradient's. */
static void expect_derivative(const struct gr_value *of, const struct gr_value *grad,
                              const struct gr_loss *losses, size_t n)
{
    const int64_t count = gr_shape_count(&of->shape);
    const double step = 4e-3;
    float *base = numbers_of(of), *along = malloc((size_t)count * sizeof *along);
    double symbolic = 0, norm = 0;
    assert_non_null(along);
    gr_small_draw(along, count, 77);
    if (of->parameter)
        gr_small_get(&gr_case, of, base);
    run_loss(losses, n);
    const float *slope = gr_small_fetch(&gr_case, grad);
    for (int64_t i = 0; i < count; i++) {
        symbolic += (double)slope[i] * (double)along[i];
        norm += (double)slope[i] * (double)slope[i];
    }
    assert_true(norm > 0);
    move(of, base, along, step);
    const double ahead = run_loss(losses, n);
    move(of, base, along, -step);
    const double behind = run_loss(losses, n);
    move(of, base, along, 0);
    const double numeric = (ahead - behind) / (2 * step);
    if (fabs(numeric - symbolic) > 1e-2 * fmax(sqrt(norm), 1e-2))
        fail_msg("grad of '%s' along a line: %g by differences, %g by autodiff", of->name, numeric,
                 symbolic);
    free(base);
    free(along);
}

/* Compiles losses and every gradient as targets, and checks each gradient by differences. */
static void check_gradients(const struct gr_loss *losses, size_t n)
{
    struct gr_value *targets[MOST];
    size_t count = 0, checked = 0;
    const size_t n_gradients = gr_case.n_gradients;
    for (size_t i = 0; i < n; i++)
        targets[count++] = losses[i].value;
    for (size_t v = 0; v < n_gradients; v++)
        if (gr_case.gradients[v] && !gr_case.graph->values[v]->producer)
            targets[count++] = gr_case.gradients[v];
    gr_small_compile(&gr_case, targets, count, false);
    feed_all();
    for (size_t v = 0; v < n_gradients; v++)
        if (gr_case.gradients[v] && !gr_case.graph->values[v]->producer) {
            expect_derivative(gr_case.graph->values[v], gr_case.gradients[v], losses, n);
            checked++;
        }
    assert_int_equal(checked, count - n);
    assert_true(checked > 0);
}

static void gradients_through_branches_are_the_numeric_ones(void **state)
{
    (void)state;
    struct gr_value *x = gr_case_image("x", 3, 6);
    struct gr_value *stem = gr_case_node("tanh", "stem.tanh", gr_case_conv("stem", x, 4), NULL);
    struct gr_value *left =
        gr_case_node("sigmoid", "left.sigmoid", gr_case_conv("left", stem, 4), NULL);
    struct gr_value *right =
        gr_case_node("tanh", "right.tanh", gr_case_conv("right", stem, 4), NULL);
    struct gr_value *gate = gr_case_node("mul", "gate", left, right);
    struct gr_value *skip = gr_case_node("add", "skip", gate, stem);
    struct gr_value *twice = gr_case_node("mul", "twice", skip, skip);
    struct gr_value *all =
        gr_case_node("concat", "all", twice, gr_case_node("tanh", "deep", skip, NULL));
    const struct gr_loss losses[] = {{gr_case_dot("loss", gr_case_conv("head", all, 2)), 1}};
    gr_case_differentiate(losses, 1, &x, 1);
    check_gradients(losses, 1);
}

static void gradients_of_shared_parameters_are_the_numeric_ones(void **state)
{
    (void)state;
    struct gr_value *x = gr_case_image("x", 4, 6);
    struct gr_node *a = gr_case_conv_node("a", x, 4, false, NULL);
    struct gr_value *b = gr_case_node("tanh", "b", a->outputs[0], NULL);
    struct gr_node *c = gr_case_conv_node("c", b, 4, false, a);
    struct gr_node *d =
        gr_case_conv_node("d", gr_case_node("tanh", "e", c->outputs[0], NULL), 4, false, a);
    const struct gr_loss losses[] = {{gr_case_dot("loss", d->outputs[0]), 1}};
    gr_case_differentiate(losses, 1, NULL, 0);
    check_gradients(losses, 1);
}

static void several_weighted_losses_add_up(void **state)
{
    (void)state;
    struct gr_value *x = gr_case_image("x", 3, 6);
    struct gr_value *a = gr_case_node("tanh", "a.tanh", gr_case_conv("a", x, 4), NULL);
    struct gr_value *b = gr_case_node("sigmoid", "b.sigmoid", gr_case_conv("b", a, 4), NULL);
    const struct gr_loss losses[] = {{gr_case_dot("one", a), 0.3},
                                     {gr_case_dot("two", b), -2},
                                     {gr_case_dot("three", gr_case_conv("c", b, 2)), 1}};
    gr_case_differentiate(losses, 3, NULL, 0);
    check_gradients(losses, 3);
}

static void several_inputs_each_get_their_gradient(void **state)
{
    (void)state;
    struct gr_value *inputs[] = {gr_case_image("x", 3, 6), gr_case_image("y", 2, 6),
                                 gr_case_image("z", 4, 6)};
    struct gr_value *a = gr_case_node("tanh", "a.tanh", gr_case_conv("a", inputs[0], 4), NULL);
    struct gr_value *b = gr_case_node("add", "b.add", gr_case_conv("b", inputs[1], 4), inputs[2]);
    const struct gr_loss losses[] = {{gr_case_dot("loss", gr_case_node("mul", "m", a, b)), 1}};
    gr_case_differentiate(losses, 1, inputs, 3);
    for (int i = 0; i < 3; i++)
        assert_non_null(gr_case.gradients[inputs[i]->id]);
    check_gradients(losses, 1);
}

#define CASE_TEST(NAME) cmocka_unit_test_setup_teardown(NAME, gr_case_set_up, gr_case_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE_TEST(a_value_with_several_consumers_gets_one_sum_of_their_gradients),
        CASE_TEST(a_value_read_twice_by_one_node_is_summed),
        CASE_TEST(shared_parameters_sum_over_the_nodes_that_share_them),
        CASE_TEST(every_gradient_has_the_shape_of_its_value),
        CASE_TEST(a_frozen_parameter_gets_no_gradient_and_no_nodes),
        CASE_TEST(an_input_gets_a_gradient_only_when_it_is_wanted),
        CASE_TEST(a_loss_that_depends_on_nothing_trained_emits_nothing),
        CASE_TEST(all_names_are_unique),
        CASE_TEST(a_missing_gradient_is_an_error_that_names_the_node),
        CASE_TEST(a_loss_with_several_elements_is_an_error),
        CASE_TEST(a_gradient_of_another_shape_is_an_error_that_names_the_node),
        CASE_TEST(gradients_through_branches_are_the_numeric_ones),
        CASE_TEST(gradients_of_shared_parameters_are_the_numeric_ones),
        CASE_TEST(several_weighted_losses_add_up),
        CASE_TEST(several_inputs_each_get_their_gradient),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
