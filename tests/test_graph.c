/*
 * The graph and the passes over it, seen from outside: what is pruned, how nodes are ordered, what
 * is fused and what must not be. (Gradients: test_autodiff.c.)
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "graph/passes.h"
#include "support/graph_case.h"

enum { MOST = 256 };

/* ---- prune ------------------------------------------------------------------------------- */

static void expect_kept(const bool *keep, const char *const *names)
{
    for (size_t n = 0; n < gr_case.graph->n_nodes; n++) {
        bool expected = false;
        for (size_t i = 0; names[i]; i++)
            expected = expected || strcmp(names[i], gr_case.graph->nodes[n]->name) == 0;
        if (keep[n] != expected)
            fail_msg("'%s' is %s", gr_case.graph->nodes[n]->name, keep[n] ? "kept" : "not kept");
    }
}

static void only_what_a_target_depends_on_is_kept(void **state)
{
    (void)state;
    bool keep[MOST];
    struct gr_value *x = gr_case_image("x", 3, 5);
    struct gr_value *a = gr_case_conv("a", x, 4), *b = gr_case_conv("b", a, 4),
                    *c = gr_case_node("relu", "c", a, NULL);
    struct gr_value *d = gr_case_node("add", "d", b, c);
    struct gr_value *both[] = {b, c};
    gr_prune(gr_case.graph, &c, 1, false, keep);
    expect_kept(keep, (const char *const[]){"a", "c", NULL});
    gr_prune(gr_case.graph, &d, 1, false, keep);
    expect_kept(keep, (const char *const[]){"a", "b", "c", "d", NULL});
    gr_prune(gr_case.graph, both, 2, false, keep);
    expect_kept(keep, (const char *const[]){"a", "b", "c", NULL});
    gr_prune(gr_case.graph, &x, 1, false, keep);
    expect_kept(keep, (const char *const[]){NULL});
    gr_prune(gr_case.graph, NULL, 0, true, keep);
    expect_kept(keep, (const char *const[]){NULL});
}

static void updates_are_kept_only_when_they_are_to_run(void **state)
{
    (void)state;
    bool keep[MOST];
    struct gr_value *loss = gr_case_dot("loss", gr_case_conv("a", gr_case_image("x", 3, 5), 4));
    gr_case_differentiate(&(struct gr_loss){loss, 1}, 1, NULL, 0);
    gr_case_add_updates();
    assert_int_equal(gr_case_count_phase(GR_UPDATE), 2);
    for (int updates = 0; updates < 2; updates++) {
        gr_prune(gr_case.graph, &loss, 1, updates, keep);
        for (size_t n = 0; n < gr_case.graph->n_nodes; n++)
            assert_int_equal(keep[n], updates || gr_case.graph->nodes[n]->phase == GR_FORWARD);
    }
}

/* ---- order ------------------------------------------------------------------------------- */

static size_t order_all(struct gr_node **order, struct gr_value *target)
{
    struct gr_error err = {0};
    bool keep[MOST];
    size_t count = 0, kept = 0;
    gr_prune(gr_case.graph, &target, 1, true, keep);
    gr_check_ok(gr_order(gr_case.graph, keep, order, &count, &err), &err);
    for (size_t n = 0; n < gr_case.graph->n_nodes; n++)
        kept += keep[n];
    assert_int_equal(count, kept);
    return count;
}

static bool reads(const struct gr_node *reader, const struct gr_value *read)
{
    for (int i = 0; i < reader->n_inputs; i++)
        if (reader->inputs[i] == read)
            return true;
    return false;
}

static bool writes(const struct gr_node *update, const struct gr_value *written)
{
    for (int i = 0; i < gr_node_updated(update); i++)
        if (update->inputs[i] == written)
            return true;
    return false;
}

/* Must `later` stand behind `earlier`? It reads its results, or writes what it reads. */
static bool follows(const struct gr_node *later, const struct gr_node *earlier)
{
    for (int o = 0; o < earlier->n_outputs; o++)
        if (reads(later, earlier->outputs[o]))
            return true;
    for (int i = 0; i < earlier->n_inputs && later != earlier; i++)
        if (writes(later, earlier->inputs[i]))
            return true;
    return false;
}

static void a_node_stands_after_what_it_reads_and_an_update_after_every_reader(void **state)
{
    (void)state;
    struct gr_node *order[MOST];
    gr_case_build_training_step();
    const size_t count = order_all(order, gr_case_value("loss"));
    assert_int_equal(gr_case_count_phase(GR_UPDATE),
                     9); /* 3 weights, 3 biases, weight, bias, statistics */
    for (size_t i = 0; i < count; i++)
        for (size_t j = i + 1; j < count; j++)
            if (follows(order[i], order[j]))
                fail_msg("'%s' stands before '%s'", order[i]->name, order[j]->name);
}

static void an_update_waits_for_a_reader_that_was_added_last(void **state)
{
    (void)state;
    struct gr_node *order[MOST];
    gr_case_build_training_step();
    struct gr_value *weight = gr_case_value("d.weight"), *late = gr_case_dot("late", weight);
    const size_t count = order_all(order, late);
    size_t read = 0, written = 0;
    for (size_t i = 0; i < count; i++) {
        read = order[i] == late->producer ? i : read;
        written = writes(order[i], weight) ? i : written;
    }
    assert_true(read < written);
}

static void a_ready_update_comes_before_anything_else(void **state)
{
    (void)state;
    struct gr_node *order[MOST];
    gr_case_build_training_step();
    const size_t count = order_all(order, gr_case_value("loss"));
    for (size_t i = 0; i < count; i++) {
        if (order[i]->phase != GR_UPDATE)
            continue;
        size_t ready = 0; /* the place behind the last that it waits for */
        for (size_t j = 0; j < i; j++)
            if (follows(order[i], order[j]))
                ready = j + 1;
        for (size_t j = ready; j < i; j++)
            if (order[j]->phase != GR_UPDATE)
                fail_msg("'%s' is ready, but '%s' runs before it", order[i]->name, order[j]->name);
    }
}

static void an_order_is_that_of_emission_where_nothing_else_decides(void **state)
{
    (void)state;
    struct gr_node *order[MOST];
    struct gr_value *x = gr_case_image("x", 3, 5), *sum = gr_case_conv("n0", x, 3);
    for (int i = 1; i < 20; i++) {
        char name[16], total[16];
        snprintf(name, sizeof name, "n%d", i);
        snprintf(total, sizeof total, "s%d", i);
        sum = gr_case_node("add", total, sum, gr_case_node("relu", name, x, NULL));
    }
    const size_t count = order_all(order, sum);
    assert_int_equal(count, 39);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(order[i]->id, i);
}

static void a_cycle_is_an_error(void **state)
{
    (void)state;
    struct gr_node *order[MOST];
    bool keep[MOST] = {true, true, true};
    size_t count = 0;
    struct gr_error err = {0};
    struct gr_value *x = gr_case_image("x", 3, 5);
    struct gr_node *a = gr_small_node(&gr_case, "relu", "a", NULL, x, NULL);
    struct gr_node *b = gr_small_node(&gr_case, "relu", "b", NULL, a->outputs[0], NULL);
    gr_small_node(&gr_case, "relu", "c", NULL, x, NULL);
    a->inputs[0] = b->outputs[0];
    assert_false(gr_order(gr_case.graph, keep, order, &count, &err));
    assert_int_equal(err.status, GR_ERR_MODEL);
    assert_string_equal(err.message, "the graph has a cycle through 2 nodes");
}

/* ---- fuse -------------------------------------------------------------------------------- */

static bool is_fused(const struct gr_value *target_a, const struct gr_value *target_b)
{
    struct gr_error err = {0};
    struct gr_value *targets[] = {gr_case_value(target_a->name),
                                  target_b ? gr_case_value(target_b->name) : NULL};
    const size_t n_targets = target_b ? 2 : 1;
    bool keep[MOST];
    gr_prune(gr_case.graph, targets, n_targets, true, keep);
    gr_check_ok(gr_fuse(gr_case.graph, targets, n_targets, keep, &err), &err);
    return !keep[gr_graph_node(gr_case.graph, "relu")->id];
}

static void relu_goes_into_the_convolution_before_it(void **state)
{
    (void)state;
    struct gr_value *a = gr_case_conv("a", gr_case_image("x", 3, 5), 4),
                    *relu = gr_case_node("relu", "relu", a, NULL);
    assert_true(is_fused(relu, NULL));
    assert_ptr_equal(relu->producer, gr_graph_node(gr_case.graph, "a"));
    assert_ptr_equal(gr_graph_node(gr_case.graph, "a")->outputs[0], relu);
}

static void relu_goes_into_the_convolution_in_training_too(void **state)
{
    (void)state;
    struct gr_value *a = gr_case_conv("a", gr_case_image("x", 3, 5), 4),
                    *relu = gr_case_node("relu", "relu", a, NULL);
    struct gr_value *loss = gr_case_dot("loss", gr_case_conv("b", relu, 4));
    gr_case_differentiate(&(struct gr_loss){loss, 1}, 1, NULL, 0);
    gr_case_add_updates();
    assert_true(is_fused(loss, NULL));
}

static void relu_stays_when_the_convolution_itself_is_a_target(void **state)
{
    (void)state;
    struct gr_value *a = gr_case_conv("a", gr_case_image("x", 3, 5), 4),
                    *relu = gr_case_node("relu", "relu", a, NULL);
    assert_false(is_fused(relu, a));
}

static void relu_stays_when_the_convolution_has_a_second_consumer(void **state)
{
    (void)state;
    struct gr_value *a = gr_case_conv("a", gr_case_image("x", 3, 5), 4),
                    *relu = gr_case_node("relu", "relu", a, NULL);
    assert_false(is_fused(gr_case_node("add", "b", relu, a), NULL));
}

static void a_second_consumer_that_is_pruned_does_not_hinder(void **state)
{
    (void)state;
    struct gr_value *a = gr_case_conv("a", gr_case_image("x", 3, 5), 4),
                    *relu = gr_case_node("relu", "relu", a, NULL);
    gr_case_node("tanh", "unused", a, NULL);
    assert_true(is_fused(relu, NULL));
}

static void relu_stays_when_its_backward_needs_what_comes_before_it(void **state)
{
    (void)state;
    struct gr_value *a = gr_case_conv("a", gr_case_image("x", 3, 5), 4),
                    *relu = gr_case_node("relu", "relu", a, NULL);
    struct gr_value *loss = gr_case_dot("loss", gr_case_node("mul", "square", a, relu));
    gr_case_differentiate(&(struct gr_loss){loss, 1}, 1, NULL, 0);
    assert_false(is_fused(gr_case_gradient("a.weight"), NULL));
}

/* ---- what a graph refuses ---------------------------------------------------------------- */

static void a_node_with_a_taken_name_or_the_wrong_inputs_is_refused(void **state)
{
    (void)state;
    const struct gr_op *add = gr_registry_find(gr_standard_ops(), "add");
    struct gr_value *x = gr_case_image("x", 3, 5);
    struct gr_error taken = {0}, few = {0}, shape = {0};
    struct gr_value *inputs[] = {x, gr_case_image("y", 3, 4)};
    struct gr_node_spec spec = {.name = "x", .op = add, .inputs = inputs, .n_inputs = 2};
    assert_null(gr_graph_add_node(gr_case.graph, &spec, &taken));
    assert_string_equal(taken.message, "the name 'x' is taken");
    spec.name = "a";
    spec.n_inputs = 1;
    assert_null(gr_graph_add_node(gr_case.graph, &spec, &few));
    assert_string_equal(few.message, "a (add): takes at least 2 inputs, 1 given");
    spec.name = "b";
    spec.n_inputs = 2;
    assert_null(gr_graph_add_node(gr_case.graph, &spec, &shape));
    assert_int_equal(shape.status, GR_ERR_MODEL);
    assert_non_null(strstr(shape.message, "b (add): "));
    assert_non_null(strstr(shape.message, "'y'"));
}

#define CASE_TEST(NAME) cmocka_unit_test_setup_teardown(NAME, gr_case_set_up, gr_case_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE_TEST(only_what_a_target_depends_on_is_kept),
        CASE_TEST(updates_are_kept_only_when_they_are_to_run),
        CASE_TEST(a_node_stands_after_what_it_reads_and_an_update_after_every_reader),
        CASE_TEST(an_update_waits_for_a_reader_that_was_added_last),
        CASE_TEST(a_ready_update_comes_before_anything_else),
        CASE_TEST(an_order_is_that_of_emission_where_nothing_else_decides),
        CASE_TEST(a_cycle_is_an_error),
        CASE_TEST(a_node_with_a_taken_name_or_the_wrong_inputs_is_refused),
        CASE_TEST(relu_goes_into_the_convolution_before_it),
        CASE_TEST(relu_goes_into_the_convolution_in_training_too),
        CASE_TEST(relu_stays_when_the_convolution_itself_is_a_target),
        CASE_TEST(relu_stays_when_the_convolution_has_a_second_consumer),
        CASE_TEST(a_second_consumer_that_is_pruned_does_not_hinder),
        CASE_TEST(relu_stays_when_its_backward_needs_what_comes_before_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
