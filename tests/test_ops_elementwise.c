/*
 * Activations, add, mul, concat, flatten and reshape against their definitions.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "support/naive.h"
#include "support/op_check.h"

/* A shape of rank 2 or 4 with odd sizes. */
static struct gr_shape any_shape(uint64_t seed)
{
    struct gr_shape shape = {.rank = gr_check_int(seed, 40, 0, 2) ? 4 : 2};
    for (int i = 0; i < shape.rank; i++)
        shape.dim[i] = gr_check_int(seed, 41 + i, 1, i == 1 ? 35 : 5);
    return shape;
}

static const struct {
    const char *op;
    double (*function)(double x, double alpha);
    double alpha; /* 0: the op has no such attribute */
} activations[] = {
    {"relu", gr_naive_relu, 0}, {"leaky_relu", gr_naive_leaky_relu, 0.1},
    {"elu", gr_naive_elu, 0.7}, {"sigmoid", gr_naive_sigmoid, 0},
    {"tanh", gr_naive_tanh, 0}, {"gelu", gr_naive_gelu, 0},
    {"silu", gr_naive_silu, 0},
};

static void activation(const struct gr_check_view *view, double *dst)
{
    for (size_t a = 0; a < sizeof activations / sizeof *activations; a++)
        if (strcmp(activations[a].op, view->check->op) == 0)
            for (int64_t i = 0; i < gr_shape_count(&view->dst); i++)
                dst[i] = activations[a].function(view->in[0][i], activations[a].alpha);
}

static void activations_are_their_definitions_and_so_are_their_gradients(void **state)
{
    (void)state;
    for (size_t a = 0; a < sizeof activations / sizeof *activations; a++)
        for (uint64_t seed = 1; seed <= 20; seed++) {
            struct gr_op_check check = {
                .op = activations[a].op,
                .inputs = {{.shape = any_shape(seed), .fill = GR_CHECK_OFF_ZERO}},
                .n_inputs = 1,
                .forward = activation,
                .seed = seed,
            };
            if (activations[a].alpha > 0)
                check.attrs[0] = (struct gr_check_attr){"alpha", 1, {activations[a].alpha}};
            gr_op_check_run(&check);
        }
}

/* The smooth ones: behind a convolution, no one can say where the kinks are. */
static void activations_behind_a_convolution_are_their_definitions(void **state)
{
    (void)state;
    for (size_t a = 3; a < sizeof activations / sizeof *activations; a++)
        for (int64_t C = 3; C <= 19; C += 13) {
            const struct gr_op_check check = {
                .op = activations[a].op,
                .inputs = {{.shape = {4, {2, C, 4, 3}}}},
                .n_inputs = 1,
                .behind_conv = true,
                .forward = activation,
                .gradient_tolerance = 5e-4,
                .seed = 9,
            };
            gr_op_check_run(&check);
        }
}

/* Where element i of the result reads an operand aligned at the last dimension, 1s being repeated.
 */
static int64_t aligned(const struct gr_shape *result, const struct gr_shape *operand, int64_t i)
{
    int64_t at = 0, step = 1;
    for (int d = result->rank - 1, e = operand->rank - 1; e >= 0; d--, e--) {
        at += (operand->dim[e] == 1 ? 0 : i % result->dim[d]) * step;
        step *= operand->dim[e];
        i /= result->dim[d];
    }
    return at;
}

static void add(const struct gr_check_view *view, double *dst)
{
    for (int64_t i = 0; i < gr_shape_count(&view->dst); i++) {
        dst[i] = view->in[0][i];
        for (int k = 1; k < view->n_in; k++)
            dst[i] += view->in[k][aligned(&view->dst, &view->shape[k], i)];
    }
}

static void mul(const struct gr_check_view *view, double *dst)
{
    for (int64_t i = 0; i < gr_shape_count(&view->dst); i++)
        dst[i] = view->in[0][i] * view->in[1][aligned(&view->dst, &view->shape[1], i)];
}

static void equal_shapes_are_added_and_differentiated(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        const struct gr_check_input input = {.shape = any_shape(seed)};
        const struct gr_op_check check = {
            .op = "add",
            .inputs = {input, input, input, input},
            .n_inputs = (int)gr_check_int(seed, 0, 2, 4),
            .behind_conv = input.shape.rank == 4 && seed % 2 == 0,
            .forward = add,
            .seed = seed,
        };
        gr_op_check_run(&check);
    }
}

static void many_elements_are_added_in_blocks(void **state)
{
    (void)state;
    const struct gr_check_input input = {.shape = {2, {3, 1500}}};
    const struct gr_op_check check = {
        .op = "add", .inputs = {input, input, input}, .n_inputs = 3, .forward = add, .seed = 1};
    gr_op_check_run(&check);
}

/* The second operand of the shape, with some dimensions 1 or, at the front, missing. */
static struct gr_shape broadcastable(const struct gr_shape *shape, uint64_t seed)
{
    struct gr_shape small = {.rank = 0};
    const int skip = (int)gr_check_int(seed, 50, 0, shape->rank);
    for (int i = gr_check_int(seed, 51, 0, 1) ? 0 : skip; i < shape->rank; i++)
        small.dim[small.rank++] = gr_check_int(seed, 52 + i, 0, 1) ? shape->dim[i] : 1;
    return small;
}

static void the_second_operand_is_repeated_where_it_has_ones(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        const struct gr_shape shape = any_shape(seed);
        struct gr_op_check check = {
            .op = "add",
            .inputs = {{.shape = shape}, {.shape = broadcastable(&shape, seed)}},
            .n_inputs = 2,
            .behind_conv = shape.rank == 4 && seed % 3 == 0,
            .forward = add,
            .seed = seed,
        };
        gr_op_check_run(&check);
        check.op = "mul";
        check.forward = mul;
        gr_op_check_run(&check);
    }
}

static void equal_shapes_are_multiplied_and_differentiated(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        const struct gr_check_input input = {.shape = any_shape(seed)};
        const struct gr_op_check check = {
            .op = "mul",
            .inputs = {input, input},
            .n_inputs = 2,
            .behind_conv = input.shape.rank == 4 && seed % 2 == 0,
            .forward = mul,
            .seed = seed,
        };
        gr_op_check_run(&check);
    }
}

/* Operands are bf16 numbers; what comes out of the convolution is rounded, and so is the result. */
static void in_bf16_sums_products_and_relus_are_their_definitions_to_eight_bits(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        const struct gr_check_input input = {.shape = any_shape(seed), .fill = GR_CHECK_OFF_ZERO};
        struct gr_op_check check = {
            .op = "add",
            .inputs = {input, input, input},
            .n_inputs = (int)gr_check_int(seed, 0, 2, 3),
            .behind_conv = input.shape.rank == 4 && seed % 2 == 0,
            .forward = add,
            .bf16 = true,
            .tolerance = 8e-3,
            .gradient_tolerance = 8e-3,
            .seed = seed,
        };
        gr_op_check_run(&check);
        check.op = "mul";
        check.n_inputs = 2;
        check.forward = mul;
        gr_op_check_run(&check);
        check.op = "relu";
        check.n_inputs = 1;
        check.behind_conv = false;
        check.forward = activation;
        gr_op_check_run(&check);
    }
}

static void concat(const struct gr_check_view *view, double *dst)
{
    const int axis = (int)gr_check_attr(view->check, "axis", 0, 1);
    int64_t rows = 1, row = 0;
    for (int i = 0; i < axis; i++)
        rows *= view->dst.dim[i];
    for (int64_t r = 0; r < rows; r++)
        for (int k = 0; k < view->n_in; k++) {
            const int64_t length = gr_shape_count(&view->shape[k]) / rows;
            for (int64_t i = 0; i < length; i++)
                dst[row++] = view->in[k][r * length + i];
        }
}

static void inputs_are_joined_along_any_axis_and_gradients_cut_again(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        const struct gr_shape shape = any_shape(seed);
        const int axis = (int)gr_check_int(seed, 0, 1, shape.rank - 1);
        struct gr_op_check check = {
            .op = "concat",
            .attrs = {{"axis", 1, {(double)axis}}},
            .n_inputs = (int)gr_check_int(seed, 1, 1, 4),
            .behind_conv = shape.rank == 4 && seed % 2 == 0,
            .forward = concat,
            .seed = seed,
        };
        for (int k = 0; k < check.n_inputs; k++) {
            check.inputs[k].shape = shape;
            check.inputs[k].shape.dim[axis] = gr_check_int(seed, 2 + k, 1, 20);
        }
        gr_op_check_run(&check);
    }
}

static void copy(const struct gr_check_view *view, double *dst)
{
    for (int64_t i = 0; i < gr_shape_count(&view->dst); i++)
        dst[i] = view->in[0][i];
}

static void flatten_keeps_the_batch_and_every_element(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        const struct gr_op_check check = {
            .op = "flatten",
            .inputs = {{.shape = any_shape(seed)}},
            .n_inputs = 1,
            .behind_conv = gr_check_int(seed, 40, 0, 2) && seed % 2,
            .forward = copy,
            .seed = seed,
        };
        gr_op_check_run(&check);
    }
}

static void reshape_fills_in_what_is_left_over(void **state)
{
    (void)state;
    static const struct {
        struct gr_check_attr shape;
        int rank;
        int64_t dims[4];
    } cases[] = {
        {{"shape", 1, {-1}}, 2, {2, 120}},          {{"shape", 2, {0, -1}}, 3, {2, 6, 20}},
        {{"shape", 3, {6, 4, 5}}, 4, {2, 6, 4, 5}}, {{"shape", 3, {-1, 0, 1}}, 4, {2, 30, 4, 1}},
        {{"shape", 2, {24, 5}}, 3, {2, 24, 5}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct gr_op_check check = {
            .op = "reshape",
            .attrs = {cases[i].shape},
            .inputs = {{.shape = {4, {2, 6, 4, 5}}}},
            .n_inputs = 1,
            .behind_conv = i % 2,
            .forward = copy,
            .seed = i + 1,
        };
        gr_op_check_run(&check);
        struct gr_graph *graph = gr_graph_new(gr_standard_ops(), false);
        struct gr_error err = {0};
        const struct gr_shape src = {4, {2, 6, 4, 5}};
        struct gr_value *x = gr_graph_add_value(graph, "x", GR_VALUE_INPUT, GR_F32, &src, &err);
        const struct gr_op *op = gr_registry_find(gr_standard_ops(), "reshape");
        const struct gr_node_spec spec = {
            .name = "node",
            .op = op,
            .attrs = gr_check_attrs(&op->kind, (struct gr_check_attr[]){cases[i].shape, {0}},
                                    &graph->pool),
            .inputs = &x,
            .n_inputs = 1};
        const struct gr_node *node = gr_graph_add_node(graph, &spec, &err);
        gr_check_ok(node != NULL, &err);
        const struct gr_shape want = gr_shape_of(cases[i].rank, cases[i].dims);
        assert_true(gr_shape_equal(&node->outputs[0]->shape, &want));
        gr_graph_free(graph);
    }
}

/* The message of adding a node of the op to inputs of these shapes. */
static void expect_error(const char *name, const struct gr_check_attr *attrs,
                         const struct gr_shape *shapes, int n, const char *message)
{
    struct gr_graph *graph = gr_graph_new(gr_standard_ops(), true);
    const struct gr_op *op = gr_registry_find(gr_standard_ops(), name);
    struct gr_value *inputs[4];
    struct gr_error err = {0};
    assert_non_null(op);
    for (int i = 0; i < n; i++)
        inputs[i] = gr_graph_add_value(graph, (const char *[]){"a", "b", "c", "d"}[i],
                                       GR_VALUE_INPUT, GR_F32, &shapes[i], &err);
    const struct gr_node_spec spec = {.name = "node",
                                      .op = op,
                                      .attrs = gr_check_attrs(&op->kind, attrs, &graph->pool),
                                      .inputs = inputs,
                                      .n_inputs = n};
    assert_null(gr_graph_add_node(graph, &spec, &err));
    assert_int_equal(err.status, GR_ERR_MODEL);
    assert_string_equal(err.message, message);
    gr_graph_free(graph);
}

static void shapes_that_do_not_fit_are_named_with_their_numbers(void **state)
{
    (void)state;
    const struct gr_shape a = {4, {2, 3, 4, 5}}, b = {4, {2, 3, 4, 6}}, c = {2, {2, 3}};
    expect_error("add", NULL, (struct gr_shape[]){a, b}, 2,
                 "node (add): 'b' is 2×3×4×6 and does not fit 'a', which is 2×3×4×5");
    expect_error("mul", NULL, (struct gr_shape[]){c, a}, 2,
                 "node (mul): 'b' is 2×3×4×5 and does not fit 'a', which is 2×3");
    expect_error("add", NULL, (struct gr_shape[]){a, a, b}, 3,
                 "node (add): 'a' is 2×3×4×5 and 'c' is 2×3×4×6; more than two inputs must have "
                 "one shape");
    expect_error("concat", NULL, (struct gr_shape[]){a, b}, 2,
                 "node (concat): 'a' is 2×3×4×5 and 'b' is 2×3×4×6; they may differ only along "
                 "axis 1");
    expect_error("concat", (struct gr_check_attr[]){{"axis", 1, {3}}, {0}},
                 (struct gr_shape[]){c, c}, 2, "node (concat): input 'a' is 2×3 and has no axis 3");
    expect_error("reshape", (struct gr_check_attr[]){{"shape", 2, {7, -1}}, {0}}, &a, 1,
                 "node (reshape): 'a' is 2×3×4×5, 120 elements, which do not fill the shape with "
                 "a whole number for -1");
    expect_error("reshape", (struct gr_check_attr[]){{"shape", 2, {7, 8}}, {0}}, &a, 1,
                 "node (reshape): 'a' is 2×3×4×5, 120 elements, which do not fill 2×7×8");
    expect_error("reshape", (struct gr_check_attr[]){{"shape", 2, {-1, -1}}, {0}}, &a, 1,
                 "node (reshape): shape has -1 more than once");
    expect_error("sgd", NULL, &c, 0,
                 "node (sgd): is an optimizer: it stands under train, not among the nodes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(activations_are_their_definitions_and_so_are_their_gradients),
        cmocka_unit_test(activations_behind_a_convolution_are_their_definitions),
        cmocka_unit_test(equal_shapes_are_added_and_differentiated),
        cmocka_unit_test(many_elements_are_added_in_blocks),
        cmocka_unit_test(the_second_operand_is_repeated_where_it_has_ones),
        cmocka_unit_test(equal_shapes_are_multiplied_and_differentiated),
        cmocka_unit_test(in_bf16_sums_products_and_relus_are_their_definitions_to_eight_bits),
        cmocka_unit_test(inputs_are_joined_along_any_axis_and_gradients_cut_again),
        cmocka_unit_test(flatten_keeps_the_batch_and_every_element),
        cmocka_unit_test(reshape_fills_in_what_is_left_over),
        cmocka_unit_test(shapes_that_do_not_fit_are_named_with_their_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
