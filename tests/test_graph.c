/*
 * The graph and its passes, seen from outside: what is pruned, how nodes are ordered, which
 * gradients autodiff emits and what they are worth, what is fused and what must not be.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "graph/passes.h"
#include "support/small_graph.h"

enum { MOST = 256 };

/* ---- building
 * ------------------------------------------------------------------------------------- */

static struct gr_small small;

static int set_up(void **state)
{
    (void)state;
    gr_small_init(&small, true, 2, GR_KERNELS_AUTO);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    gr_small_release(&small);
    return 0;
}

static struct gr_value *image(const char *name, int64_t c, int64_t h)
{
    return gr_small_input(&small, name, (struct gr_shape){4, {2, c, h, h}});
}

/* A scalar that is sum(value · fixed), fixed being an input named after it. */
static struct gr_value *dot(const char *name, struct gr_value *value)
{
    struct gr_error err = {0};
    char fixed[64];
    snprintf(fixed, sizeof fixed, "%s.fixed", name);
    struct gr_value *inputs[] = {value, gr_small_input(&small, fixed, value->shape)};
    const struct gr_node_spec spec = {
        .name = name, .op = &gr_op_test_dot, .inputs = inputs, .n_inputs = 2};
    struct gr_node *node = gr_graph_add_node(small.graph, &spec, &err);
    gr_check_ok(node != NULL, &err);
    return node->outputs[0];
}

static struct gr_value *node(const char *op, const char *name, struct gr_value *a,
                             struct gr_value *b)
{
    return gr_small_node(&small, op, name, NULL, a, b)->outputs[0];
}

static struct gr_node *conv_node(const char *name, struct gr_value *src, int channels, bool frozen,
                                 const struct gr_node *share)
{
    const struct gr_op *op = gr_registry_find(gr_standard_ops(), "conv");
    const struct gr_check_attr attrs[] = {
        {"out_channels", 1, {channels}}, {"kernel", 1, {3}}, {"pad", 1, {1}}, {0}};
    struct gr_error err = {0};
    const struct gr_node_spec spec = {.name = name,
                                      .op = op,
                                      .attrs = gr_check_attrs(&op->kind, attrs, &small.graph->pool),
                                      .inputs = &src,
                                      .n_inputs = 1,
                                      .share = share,
                                      .frozen = frozen};
    struct gr_node *made = gr_graph_add_node(small.graph, &spec, &err);
    gr_check_ok(made != NULL, &err);
    return made;
}

static struct gr_value *conv(const char *name, struct gr_value *src, int channels)
{
    return conv_node(name, src, channels, false, NULL)->outputs[0];
}

static struct gr_value *value(const char *name)
{
    struct gr_value *found = gr_graph_value(small.graph, name);
    if (!found)
        fail_msg("there is no value '%s'", name);
    return found;
}

static struct gr_value *gradient(const char *name)
{
    return small.gradients[value(name)->id];
}

static void differentiate(const struct gr_loss *losses, size_t n, struct gr_value *const *wanted,
                          size_t n_wanted)
{
    struct gr_error err = {0};
    small.n_gradients = small.graph->n_values;
    gr_check_ok(gr_autodiff(small.graph, losses, n, wanted, n_wanted, &small.gradients, &err),
                &err);
}

/* Plain sgd with momentum for every gradient. */
static void add_updates(void)
{
    struct gr_error err = {0};
    const struct gr_shape scalar = {0};
    const struct gr_op *sgd = gr_registry_find(gr_standard_ops(), "sgd");
    const struct gr_check_attr attrs[] = {{"momentum", 1, {0.9}}, {0}};
    const struct gr_choice optimizer = {&sgd->kind,
                                        gr_check_attrs(&sgd->kind, attrs, &small.graph->pool)};
    struct gr_value *rate = gr_small_input(&small, "rate", scalar);
    gr_check_ok(
        gr_emit_updates(small.graph, &optimizer, small.gradients, small.n_gradients, rate, &err),
        &err);
}

static size_t count_op(const char *op)
{
    size_t count = 0;
    for (size_t n = 0; n < small.graph->n_nodes; n++)
        count += strcmp(small.graph->nodes[n]->op->kind.name, op) == 0;
    return count;
}

static size_t count_phase(enum gr_phase phase)
{
    size_t count = 0;
    for (size_t n = 0; n < small.graph->n_nodes; n++)
        count += small.graph->nodes[n]->phase == phase;
    return count;
}

/* ---- prune
 * ----------------------------------------------------------------------------------------- */

static void expect_kept(const bool *keep, const char *const *names)
{
    for (size_t n = 0; n < small.graph->n_nodes; n++) {
        bool expected = false;
        for (size_t i = 0; names[i]; i++)
            expected = expected || strcmp(names[i], small.graph->nodes[n]->name) == 0;
        if (keep[n] != expected)
            fail_msg("'%s' is %s", small.graph->nodes[n]->name, keep[n] ? "kept" : "not kept");
    }
}

static void only_what_a_target_depends_on_is_kept(void **state)
{
    (void)state;
    bool keep[MOST];
    struct gr_value *x = image("x", 3, 5);
    struct gr_value *a = conv("a", x, 4), *b = conv("b", a, 4), *c = node("relu", "c", a, NULL);
    struct gr_value *d = node("add", "d", b, c);
    struct gr_value *both[] = {b, c};
    gr_prune(small.graph, &c, 1, false, keep);
    expect_kept(keep, (const char *const[]){"a", "c", NULL});
    gr_prune(small.graph, &d, 1, false, keep);
    expect_kept(keep, (const char *const[]){"a", "b", "c", "d", NULL});
    gr_prune(small.graph, both, 2, false, keep);
    expect_kept(keep, (const char *const[]){"a", "b", "c", NULL});
    gr_prune(small.graph, &x, 1, false, keep);
    expect_kept(keep, (const char *const[]){NULL});
    gr_prune(small.graph, NULL, 0, true, keep);
    expect_kept(keep, (const char *const[]){NULL});
}

static void updates_are_kept_only_when_they_are_to_run(void **state)
{
    (void)state;
    bool keep[MOST];
    struct gr_value *loss = dot("loss", conv("a", image("x", 3, 5), 4));
    differentiate(&(struct gr_loss){loss, 1}, 1, NULL, 0);
    add_updates();
    assert_int_equal(count_phase(GR_UPDATE), 2);
    for (int updates = 0; updates < 2; updates++) {
        gr_prune(small.graph, &loss, 1, updates, keep);
        for (size_t n = 0; n < small.graph->n_nodes; n++)
            assert_int_equal(keep[n], updates || small.graph->nodes[n]->phase == GR_FORWARD);
    }
}

/* ---- order
 * ----------------------------------------------------------------------------------------- */

/* A step of training with two convolutions whose weights the backward pass reads, and a batch norm.
 */
static void build_training_step(void)
{
    struct gr_value *x = image("x", 3, 5);
    struct gr_value *a = conv("a", x, 4), *b = node("batch_norm", "b", a, NULL);
    struct gr_value *c = node("relu", "c", b, NULL), *d = conv("d", c, 4), *e = conv("e", d, 4);
    struct gr_value *loss = dot("loss", node("add", "f", e, c));
    differentiate(&(struct gr_loss){loss, 1}, 1, NULL, 0);
    add_updates();
}

static size_t order_all(struct gr_node **order, struct gr_value *target)
{
    struct gr_error err = {0};
    bool keep[MOST];
    size_t count = 0, kept = 0;
    gr_prune(small.graph, &target, 1, true, keep);
    gr_check_ok(gr_order(small.graph, keep, order, &count, &err), &err);
    for (size_t n = 0; n < small.graph->n_nodes; n++)
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
    build_training_step();
    const size_t count = order_all(order, value("loss"));
    assert_int_equal(count_phase(GR_UPDATE), 9); /* 3 weights, 3 biases, weight, bias, statistics */
    for (size_t i = 0; i < count; i++)
        for (size_t j = i + 1; j < count; j++)
            if (follows(order[i], order[j]))
                fail_msg("'%s' stands before '%s'", order[i]->name, order[j]->name);
}

static void a_ready_update_comes_before_anything_else(void **state)
{
    (void)state;
    struct gr_node *order[MOST];
    build_training_step();
    const size_t count = order_all(order, value("loss"));
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
    struct gr_value *x = image("x", 3, 5), *sum = conv("n0", x, 3);
    for (int i = 1; i < 20; i++) {
        char name[8], total[8];
        snprintf(name, sizeof name, "n%d", i);
        snprintf(total, sizeof total, "s%d", i);
        sum = node("add", total, sum, node("relu", name, x, NULL));
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
    struct gr_value *x = image("x", 3, 5);
    struct gr_node *a = gr_small_node(&small, "relu", "a", NULL, x, NULL);
    struct gr_node *b = gr_small_node(&small, "relu", "b", NULL, a->outputs[0], NULL);
    gr_small_node(&small, "relu", "c", NULL, x, NULL);
    a->inputs[0] = b->outputs[0];
    assert_false(gr_order(small.graph, keep, order, &count, &err));
    assert_int_equal(err.status, GR_ERR_MODEL);
    assert_string_equal(err.message, "the graph has a cycle through 2 nodes");
}

/* ---- what autodiff emits
 * ---------------------------------------------------------------------------- */

static void a_value_with_several_consumers_gets_one_sum_of_their_gradients(void **state)
{
    (void)state;
    struct gr_value *x = image("x", 3, 5);
    struct gr_value *two = conv("two", x, 3), *three = conv("three", x, 3);
    struct gr_value *a = node("tanh", "a", two, NULL), *b = node("sigmoid", "b", two, NULL);
    struct gr_value *c = node("tanh", "c", three, NULL), *d = node("sigmoid", "d", three, NULL);
    struct gr_value *e = node("mul", "e", three, a);
    struct gr_value *all = node("add", "f", node("add", "g", b, c), node("add", "h", d, e));
    differentiate(&(struct gr_loss){dot("loss", all), 1}, 1, NULL, 0);
    assert_int_equal(count_op("sum"), 2);
    assert_string_equal(gradient("two")->producer->op->kind.name, "sum");
    assert_int_equal(gradient("two")->producer->n_inputs, 2);
    assert_string_equal(gradient("three")->producer->op->kind.name, "sum");
    assert_int_equal(gradient("three")->producer->n_inputs, 3);
    assert_string_not_equal(gradient("a")->producer->op->kind.name, "sum");
}

static void a_value_read_twice_by_one_node_is_summed(void **state)
{
    (void)state;
    struct gr_value *a = conv("a", image("x", 3, 5), 3);
    differentiate(&(struct gr_loss){dot("loss", node("mul", "square", a, a)), 1}, 1, NULL, 0);
    assert_int_equal(count_op("sum"), 1);
    assert_int_equal(gradient("a")->producer->n_inputs, 2);
}

static void shared_parameters_sum_over_the_nodes_that_share_them(void **state)
{
    (void)state;
    struct gr_node *a = conv_node("a", image("x", 3, 5), 3, false, NULL);
    struct gr_node *b = conv_node("b", a->outputs[0], 3, false, a);
    assert_ptr_equal(a->inputs[1], b->inputs[1]);
    assert_null(gr_graph_value(small.graph, "b.weight"));
    differentiate(&(struct gr_loss){dot("loss", b->outputs[0]), 1}, 1, NULL, 0);
    assert_string_equal(gradient("a.weight")->producer->op->kind.name, "sum");
    assert_string_equal(gradient("a.bias")->producer->op->kind.name, "sum");
    add_updates();
    assert_int_equal(count_phase(GR_UPDATE), 2);
}

static void every_gradient_has_the_shape_of_its_value(void **state)
{
    (void)state;
    build_training_step();
    size_t count = 0;
    for (size_t v = 0; v < small.n_gradients; v++)
        if (small.gradients[v]) {
            assert_true(gr_shape_equal(&small.gradients[v]->shape, &small.graph->values[v]->shape));
            assert_int_equal(small.gradients[v]->producer->phase, GR_BACKWARD);
            count++;
        }
    assert_int_equal(count, 15); /* 8 parameters, 6 results between them, the loss */
    assert_null(gradient("b.running_mean"));
}

static void a_frozen_parameter_gets_no_gradient_and_no_nodes(void **state)
{
    (void)state;
    struct gr_value *x = image("x", 3, 5);
    struct gr_value *a = conv_node("a", x, 3, true, NULL)->outputs[0];
    struct gr_value *b = conv("b", a, 3);
    struct gr_value *c = conv_node("c", b, 3, true, NULL)->outputs[0];
    differentiate(&(struct gr_loss){dot("loss", c), 1}, 1, NULL, 0);
    static const char *const without[] = {"x", "a", "a.weight", "a.bias", "c.weight", "c.bias"};
    for (size_t i = 0; i < sizeof without / sizeof *without; i++)
        if (gradient(without[i]))
            fail_msg("'%s' has a gradient", without[i]);
    assert_non_null(gradient("b.weight"));
    assert_non_null(gradient("b.bias"));
    assert_int_equal(count_op("conv_backward_weights"), 1); /* b */
    assert_int_equal(count_op("conv_backward_data"), 1);    /* c, for b */
    add_updates();
    assert_int_equal(count_phase(GR_UPDATE), 2);
}

static void an_input_gets_a_gradient_only_when_it_is_wanted(void **state)
{
    (void)state;
    struct gr_value *x = image("x", 3, 5), *y = image("y", 3, 5);
    struct gr_value *sum = node("add", "sum", conv("a", x, 3), conv("b", y, 3));
    differentiate(&(struct gr_loss){dot("loss", sum), 1}, 1, &y, 1);
    assert_null(gradient("x"));
    assert_non_null(gradient("y"));
    assert_string_equal(gradient("y")->name, "grad:y");
    assert_int_equal(count_op("conv_backward_data"), 1);
    assert_null(gradient("loss.fixed"));
}

static void a_loss_that_depends_on_nothing_trained_emits_nothing(void **state)
{
    (void)state;
    struct gr_value *loss = dot("loss", node("relu", "a", image("x", 3, 5), NULL));
    differentiate(&(struct gr_loss){loss, 1}, 1, NULL, 0);
    assert_int_equal(count_phase(GR_BACKWARD), 0);
    for (size_t v = 0; v < small.n_gradients; v++)
        assert_null(small.gradients[v]);
}

static void all_names_are_unique(void **state)
{
    (void)state;
    struct gr_node *a = conv_node("a", image("x", 3, 5), 3, false, NULL);
    struct gr_node *b = conv_node("b", a->outputs[0], 3, false, a);
    struct gr_value *c = node("mul", "c", b->outputs[0], b->outputs[0]);
    struct gr_value *d = node("add", "a:sum", c, a->outputs[0]); /* as autodiff would name a sum */
    const struct gr_loss losses[] = {{dot("one", d), 1}, {dot("two", c), 2}};
    differentiate(losses, 2, NULL, 0);
    add_updates();
    const struct gr_graph *graph = small.graph;
    for (size_t i = 0; i < graph->n_nodes; i++)
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(graph->nodes[i]->name, graph->nodes[j]->name);
    for (size_t i = 0; i < graph->n_values; i++) {
        assert_ptr_equal(gr_graph_value(graph, graph->values[i]->name), graph->values[i]);
        assert_int_equal(graph->values[i]->id, i);
    }
}

/* ---- what autodiff refuses
 * --------------------------------------------------------------------------- */

static void expect_refusal(struct gr_value *loss, const char *message)
{
    struct gr_error err = {0};
    const struct gr_loss losses[] = {{loss, 1}};
    struct gr_value **gradients = (struct gr_value **)&small;
    assert_false(gr_autodiff(small.graph, losses, 1, NULL, 0, &gradients, &err));
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
        gr_graph_add_value(small.graph, "label", GR_VALUE_INPUT, GR_S32, &labels, &err);
    gr_check_ok(label != NULL, &err);
    struct gr_node *fc = gr_small_node(&small, "linear", "fc", attrs, image("x", 3, 5), NULL);
    expect_refusal(node("accuracy", "top1", fc->outputs[0], label),
                   "top1 (accuracy): is not differentiable, and the loss depends on it");
}

static void a_loss_with_several_elements_is_an_error(void **state)
{
    (void)state;
    expect_refusal(conv("a", image("x", 3, 5), 4), "the loss 'a' is not a scalar");
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
    struct gr_value *x = image("x", 3, 5);
    struct gr_value *inputs[] = {conv("a", x, 4), conv("b", x, 2)};
    const struct gr_node_spec spec = {
        .name = "bad", .op = &wrong_op, .inputs = inputs, .n_inputs = 2};
    struct gr_node *bad = gr_graph_add_node(small.graph, &spec, &err);
    gr_check_ok(bad != NULL, &err);
    expect_refusal(dot("loss", bad->outputs[0]),
                   "bad (wrong): the gradient of 'b' has shape 2×4×5×5, not 2×2×5×5");
}

static void a_node_with_a_taken_name_or_the_wrong_inputs_is_refused(void **state)
{
    (void)state;
    const struct gr_op *add = gr_registry_find(gr_standard_ops(), "add");
    struct gr_value *x = image("x", 3, 5);
    struct gr_error taken = {0}, few = {0}, shape = {0};
    struct gr_value *inputs[] = {x, image("y", 3, 4)};
    struct gr_node_spec spec = {.name = "x", .op = add, .inputs = inputs, .n_inputs = 2};
    assert_null(gr_graph_add_node(small.graph, &spec, &taken));
    assert_string_equal(taken.message, "the name 'x' is taken");
    spec.name = "a";
    spec.n_inputs = 1;
    assert_null(gr_graph_add_node(small.graph, &spec, &few));
    assert_string_equal(few.message, "a (add): takes at least 2 inputs, 1 given");
    spec.name = "b";
    spec.n_inputs = 2;
    assert_null(gr_graph_add_node(small.graph, &spec, &shape));
    assert_int_equal(shape.status, GR_ERR_MODEL);
    assert_non_null(strstr(shape.message, "b (add): "));
    assert_non_null(strstr(shape.message, "'y'"));
}

/* ---- what the gradients are worth
 * ---------------------------------------------------------------------- */

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
    for (size_t v = 0; v < small.graph->n_values; v++) {
        const struct gr_value *input = small.graph->values[v];
        if (input->kind != GR_VALUE_INPUT || !gr_program_data(small.program, input))
            continue;
        float *numbers = numbers_of(input);
        gr_small_feed(&small, input, numbers);
        free(numbers);
    }
}

static double run_loss(const struct gr_loss *losses, size_t n)
{
    double total = 0;
    gr_small_run(&small, 1, 0);
    for (size_t i = 0; i < n; i++)
        total += losses[i].weight * (double)*gr_small_fetch(&small, losses[i].value);
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
        gr_small_set(&small, moved, at);
    else
        gr_small_feed(&small, moved, at);
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
        gr_small_get(&small, of, base);
    run_loss(losses, n);
    const float *slope = gr_small_fetch(&small, grad);
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
    const size_t n_gradients = small.n_gradients;
    for (size_t i = 0; i < n; i++)
        targets[count++] = losses[i].value;
    for (size_t v = 0; v < n_gradients; v++)
        if (small.gradients[v] && !small.graph->values[v]->producer)
            targets[count++] = small.gradients[v];
    gr_small_compile(&small, targets, count, false);
    feed_all();
    for (size_t v = 0; v < n_gradients; v++)
        if (small.gradients[v] && !small.graph->values[v]->producer) {
            expect_derivative(small.graph->values[v], small.gradients[v], losses, n);
            checked++;
        }
    assert_int_equal(checked, count - n);
    assert_true(checked > 0);
}

static void gradients_through_branches_are_the_numeric_ones(void **state)
{
    (void)state;
    struct gr_value *x = image("x", 3, 6);
    struct gr_value *stem = node("tanh", "stem.tanh", conv("stem", x, 4), NULL);
    struct gr_value *left = node("sigmoid", "left.sigmoid", conv("left", stem, 4), NULL);
    struct gr_value *right = node("tanh", "right.tanh", conv("right", stem, 4), NULL);
    struct gr_value *gate = node("mul", "gate", left, right);
    struct gr_value *skip = node("add", "skip", gate, stem);
    struct gr_value *twice = node("mul", "twice", skip, skip);
    struct gr_value *all = node("concat", "all", twice, node("tanh", "deep", skip, NULL));
    const struct gr_loss losses[] = {{dot("loss", conv("head", all, 2)), 1}};
    differentiate(losses, 1, &x, 1);
    check_gradients(losses, 1);
}

static void gradients_of_shared_parameters_are_the_numeric_ones(void **state)
{
    (void)state;
    struct gr_value *x = image("x", 4, 6);
    struct gr_node *a = conv_node("a", x, 4, false, NULL);
    struct gr_value *b = node("tanh", "b", a->outputs[0], NULL);
    struct gr_node *c = conv_node("c", b, 4, false, a);
    struct gr_node *d = conv_node("d", node("tanh", "e", c->outputs[0], NULL), 4, false, a);
    const struct gr_loss losses[] = {{dot("loss", d->outputs[0]), 1}};
    differentiate(losses, 1, NULL, 0);
    check_gradients(losses, 1);
}

static void several_weighted_losses_add_up(void **state)
{
    (void)state;
    struct gr_value *x = image("x", 3, 6);
    struct gr_value *a = node("tanh", "a.tanh", conv("a", x, 4), NULL);
    struct gr_value *b = node("sigmoid", "b.sigmoid", conv("b", a, 4), NULL);
    const struct gr_loss losses[] = {
        {dot("one", a), 0.3}, {dot("two", b), -2}, {dot("three", conv("c", b, 2)), 1}};
    differentiate(losses, 3, NULL, 0);
    check_gradients(losses, 3);
}

static void several_inputs_each_get_their_gradient(void **state)
{
    (void)state;
    struct gr_value *inputs[] = {image("x", 3, 6), image("y", 2, 6), image("z", 4, 6)};
    struct gr_value *a = node("tanh", "a.tanh", conv("a", inputs[0], 4), NULL);
    struct gr_value *b = node("add", "b.add", conv("b", inputs[1], 4), inputs[2]);
    const struct gr_loss losses[] = {{dot("loss", node("mul", "m", a, b)), 1}};
    differentiate(losses, 1, inputs, 3);
    for (int i = 0; i < 3; i++)
        assert_non_null(small.gradients[inputs[i]->id]);
    check_gradients(losses, 1);
}

/* ---- fuse
 * ---------------------------------------------------------------------------------------------- */

static bool is_fused(const struct gr_value *target_a, const struct gr_value *target_b)
{
    struct gr_error err = {0};
    struct gr_value *targets[] = {value(target_a->name), target_b ? value(target_b->name) : NULL};
    const size_t n_targets = target_b ? 2 : 1;
    bool keep[MOST];
    gr_prune(small.graph, targets, n_targets, true, keep);
    gr_check_ok(gr_fuse(small.graph, targets, n_targets, keep, &err), &err);
    return !keep[gr_graph_node(small.graph, "relu")->id];
}

static void relu_goes_into_the_convolution_before_it(void **state)
{
    (void)state;
    struct gr_value *a = conv("a", image("x", 3, 5), 4), *relu = node("relu", "relu", a, NULL);
    assert_true(is_fused(relu, NULL));
    assert_ptr_equal(relu->producer, gr_graph_node(small.graph, "a"));
    assert_ptr_equal(gr_graph_node(small.graph, "a")->outputs[0], relu);
}

static void relu_goes_into_the_convolution_in_training_too(void **state)
{
    (void)state;
    struct gr_value *a = conv("a", image("x", 3, 5), 4), *relu = node("relu", "relu", a, NULL);
    struct gr_value *loss = dot("loss", conv("b", relu, 4));
    differentiate(&(struct gr_loss){loss, 1}, 1, NULL, 0);
    add_updates();
    assert_true(is_fused(loss, NULL));
}

static void relu_stays_when_the_convolution_itself_is_a_target(void **state)
{
    (void)state;
    struct gr_value *a = conv("a", image("x", 3, 5), 4), *relu = node("relu", "relu", a, NULL);
    assert_false(is_fused(relu, a));
}

static void relu_stays_when_the_convolution_has_a_second_consumer(void **state)
{
    (void)state;
    struct gr_value *a = conv("a", image("x", 3, 5), 4), *relu = node("relu", "relu", a, NULL);
    assert_false(is_fused(node("add", "b", relu, a), NULL));
}

static void a_second_consumer_that_is_pruned_does_not_hinder(void **state)
{
    (void)state;
    struct gr_value *a = conv("a", image("x", 3, 5), 4), *relu = node("relu", "relu", a, NULL);
    node("tanh", "unused", a, NULL);
    assert_true(is_fused(relu, NULL));
}

static void relu_stays_when_its_backward_needs_what_comes_before_it(void **state)
{
    (void)state;
    struct gr_value *a = conv("a", image("x", 3, 5), 4), *relu = node("relu", "relu", a, NULL);
    struct gr_value *loss = dot("loss", node("mul", "square", a, relu));
    differentiate(&(struct gr_loss){loss, 1}, 1, NULL, 0);
    assert_false(is_fused(gradient("a.weight"), NULL));
}

#define SMALL_TEST(NAME) cmocka_unit_test_setup_teardown(NAME, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SMALL_TEST(only_what_a_target_depends_on_is_kept),
        SMALL_TEST(updates_are_kept_only_when_they_are_to_run),
        SMALL_TEST(a_node_stands_after_what_it_reads_and_an_update_after_every_reader),
        SMALL_TEST(a_ready_update_comes_before_anything_else),
        SMALL_TEST(an_order_is_that_of_emission_where_nothing_else_decides),
        SMALL_TEST(a_cycle_is_an_error),
        SMALL_TEST(a_value_with_several_consumers_gets_one_sum_of_their_gradients),
        SMALL_TEST(a_value_read_twice_by_one_node_is_summed),
        SMALL_TEST(shared_parameters_sum_over_the_nodes_that_share_them),
        SMALL_TEST(every_gradient_has_the_shape_of_its_value),
        SMALL_TEST(a_frozen_parameter_gets_no_gradient_and_no_nodes),
        SMALL_TEST(an_input_gets_a_gradient_only_when_it_is_wanted),
        SMALL_TEST(a_loss_that_depends_on_nothing_trained_emits_nothing),
        SMALL_TEST(all_names_are_unique),
        SMALL_TEST(a_missing_gradient_is_an_error_that_names_the_node),
        SMALL_TEST(a_loss_with_several_elements_is_an_error),
        SMALL_TEST(a_gradient_of_another_shape_is_an_error_that_names_the_node),
        SMALL_TEST(a_node_with_a_taken_name_or_the_wrong_inputs_is_refused),
        SMALL_TEST(gradients_through_branches_are_the_numeric_ones),
        SMALL_TEST(gradients_of_shared_parameters_are_the_numeric_ones),
        SMALL_TEST(several_weighted_losses_add_up),
        SMALL_TEST(several_inputs_each_get_their_gradient),
        SMALL_TEST(relu_goes_into_the_convolution_before_it),
        SMALL_TEST(relu_goes_into_the_convolution_in_training_too),
        SMALL_TEST(relu_stays_when_the_convolution_itself_is_a_target),
        SMALL_TEST(relu_stays_when_the_convolution_has_a_second_consumer),
        SMALL_TEST(a_second_consumer_that_is_pruned_does_not_hinder),
        SMALL_TEST(relu_stays_when_its_backward_needs_what_comes_before_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
