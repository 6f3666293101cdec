/*
 * conv and linear against their definitions: groups, dilation, asymmetric pads, odd channel counts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/naive.h"
#include "support/op_check.h"

static void conv(const struct gr_check_view *view, double *dst)
{
    struct gr_naive_window window = {.N = view->shape[0].dim[0],
                                     .C = view->shape[0].dim[1],
                                     .H = view->shape[0].dim[2],
                                     .W = view->shape[0].dim[3],
                                     .O = view->shape[1].dim[0],
                                     .groups = (int64_t)gr_check_attr(view->check, "groups", 0, 1)};
    for (int i = 0; i < 4; i++)
        window.pad[i] = (int64_t)gr_check_attr(view->check, "pad", i, 0);
    for (int i = 0; i < 2; i++) {
        window.kernel[i] = (int64_t)gr_check_attr(view->check, "kernel", i, 1);
        window.stride[i] = (int64_t)gr_check_attr(view->check, "stride", i, 1);
        window.dilation[i] = (int64_t)gr_check_attr(view->check, "dilation", i, 1);
    }
    assert_int_equal(gr_naive_size(&window, 0), view->dst.dim[2]);
    assert_int_equal(gr_naive_size(&window, 1), view->dst.dim[3]);
    gr_naive_conv(&window, view->in[0], view->in[1], view->n_in > 2 ? view->in[2] : NULL, dst);
}

/* A convolution drawn at random; the source is as large as the filter needs, or a little larger. */
static struct gr_op_check random_conv(uint64_t seed)
{
    static const int64_t channels[] = {1, 3, 5, 6, 8, 16, 17};
    const int64_t groups = gr_check_int(seed, 0, 0, 2) ? 1 : gr_check_int(seed, 1, 2, 3);
    const int64_t I = channels[gr_check_int(seed, 2, 0, 6)], kh = gr_check_int(seed, 3, 1, 5);
    const int64_t O = channels[gr_check_int(seed, 4, 0, 6)], kw = gr_check_int(seed, 5, 1, 4);
    const int64_t dh = gr_check_int(seed, 6, 0, 2) ? 1 : 2,
                  dw = gr_check_int(seed, 7, 0, 2) ? 1 : 3;
    const int64_t H = dh * (kh - 1) + gr_check_int(seed, 8, 1, 7);
    const int64_t W = dw * (kw - 1) + gr_check_int(seed, 9, 1, 6);
    struct gr_op_check check = {
        .op = "conv",
        .attrs = {{"out_channels", 1, {(double)(O * groups)}},
                  {"kernel", 2, {(double)kh, (double)kw}},
                  {"stride",
                   2,
                   {(double)gr_check_int(seed, 10, 1, 3), (double)gr_check_int(seed, 11, 1, 2)}},
                  {"dilation", 2, {(double)dh, (double)dw}},
                  {"groups", 1, {(double)groups}},
                  {"bias", 1, {(double)gr_check_int(seed, 12, 0, 1)}},
                  {"pad", 4, {0}}},
        .inputs = {{.shape = {4, {gr_check_int(seed, 13, 1, 3), I * groups, H, W}}}},
        .n_inputs = 1,
        .forward = conv,
        .seed = seed,
    };
    const int64_t reach[] = {kh - 1, kw - 1, kh - 1, kw - 1};
    for (int i = 0; i < 4; i++)
        check.attrs[6].value[i] =
            (double)(gr_check_int(seed, 20, 0, 1) ? gr_check_int(seed, 21 + i, 0, reach[i]) : 0);
    return check;
}

static void conv_of_any_shape_is_its_definition_and_so_is_its_gradient(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        const struct gr_op_check check = random_conv(seed);
        gr_op_check_run(&check);
    }
}

static void conv_behind_conv_keeps_its_layout_and_its_values(void **state)
{
    (void)state;
    static const int64_t channels[] = {3, 16, 17, 32, 48};
    for (uint64_t seed = 1; seed <= 5; seed++) {
        const struct gr_op_check check = {
            .op = "conv",
            .attrs = {{"out_channels", 1, {24}}, {"kernel", 1, {3}}, {"pad", 1, {1}}},
            .inputs = {{.shape = {4, {2, channels[seed - 1], 6, 5}}}},
            .n_inputs = 1,
            .behind_conv = true,
            .forward = conv,
            .seed = seed,
        };
        gr_op_check_run(&check);
    }
}

static void first_convolution_of_alexnet_in_small(void **state)
{
    (void)state;
    const struct gr_op_check check = {
        .op = "conv",
        .attrs = {{"out_channels", 1, {96}},
                  {"kernel", 1, {11}},
                  {"stride", 1, {4}},
                  {"pad", 4, {0, 0, 3, 3}}},
        .inputs = {{.shape = {4, {1, 3, 24, 24}}}},
        .n_inputs = 1,
        .forward = conv,
        .seed = 7,
    };
    gr_op_check_run(&check);
}

static void linear(const struct gr_check_view *view, double *dst)
{
    const int64_t N = view->shape[0].dim[0];
    gr_naive_linear(N, gr_shape_count(&view->shape[0]) / N, view->dst.dim[1], view->in[0],
                    view->in[1], view->n_in > 2 ? view->in[2] : NULL, dst);
}

static void linear_of_any_shape_is_its_definition_and_so_is_its_gradient(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 24; seed++) {
        const struct gr_op_check check = {
            .op = "linear",
            .attrs = {{"out_features", 1, {(double)gr_check_int(seed, 0, 1, 70)}},
                      {"bias", 1, {(double)gr_check_int(seed, 1, 0, 1)}}},
            .inputs = {{.shape = {2, {gr_check_int(seed, 2, 1, 9), gr_check_int(seed, 3, 1, 90)}}}},
            .n_inputs = 1,
            .forward = linear,
            .seed = seed,
        };
        gr_op_check_run(&check);
    }
}

/* ---- other ways to compute it ------------------------------------------------------------ */

/* 3×3 filters over whole blocks of channels, in groups and with pads of their own. */
static void winograd_is_its_definition_and_so_is_its_gradient(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        const double groups = (double)gr_check_int(seed, 0, 1, 3);
        const int64_t I = 16 * gr_check_int(seed, 1, 1, 2), O = 16 * gr_check_int(seed, 2, 1, 2);
        const struct gr_op_check check = {
            .op = "conv",
            .attrs = {{"out_channels", 1, {(double)O * groups}},
                      {"kernel", 1, {3}},
                      {"groups", 1, {groups}},
                      {"bias", 1, {(double)gr_check_int(seed, 3, 0, 1)}},
                      {"pad",
                       4,
                       {(double)gr_check_int(seed, 4, 0, 1), (double)gr_check_int(seed, 5, 0, 1),
                        (double)gr_check_int(seed, 4, 0, 1), (double)gr_check_int(seed, 5, 0, 1)}}},
            .inputs = {{.shape = {4,
                                  {gr_check_int(seed, 8, 1, 3), I * (int64_t)groups,
                                   gr_check_int(seed, 9, 3, 14), gr_check_int(seed, 10, 3, 13)}}}},
            .n_inputs = 1,
            .forward = conv,
            .choice = "winograd",
            .tolerance = 1e-4, /* the transformations add and subtract multiples of up to 5 */
            .seed = seed,
        };
        gr_op_check_run(&check);
    }
}

/* Images so large that oneDNN's scratch is bounded by parts of the batch; no gradient: it is slow.
 */
static void winograd_by_parts_of_the_batch_is_its_definition(void **state)
{
    (void)state;
    const struct gr_op_check check = {
        .op = "conv",
        .attrs = {{"out_channels", 1, {64}}, {"kernel", 1, {3}}, {"pad", 1, {1}}},
        .inputs = {{.shape = {4, {9, 128, 96, 96}}}},
        .n_inputs = 1,
        .no_gradient = true,
        .forward = conv,
        .choice = "winograd",
        .tolerance = 1e-4,
        .seed = 1,
    };
    gr_op_check_run(&check);
}

static void with_channels_last_it_is_its_definition(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct gr_op_check check = random_conv(seed + 200);
        check.choice = "channels last";
        check.bf16 = seed % 3 == 0;
        check.tolerance = check.bf16 ? 4e-3 : 0;
        check.no_gradient = true; /* for inference only */
        gr_op_check_run(&check);
    }
}

static void a_data_gradient_by_flipped_filters_is_the_gradient(void **state)
{
    (void)state;
    static const double groups[] = {1, 2, 1, 3};
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct gr_op_check check = random_conv(seed + 100);
        check.attrs[1].value[0] = (double)gr_check_int(seed, 0, 1, 4);
        check.attrs[1].value[1] = (double)gr_check_int(seed, 1, 1, 4);
        for (int i = 0; i < 2; i++) {
            check.attrs[2].value[i] = check.attrs[3].value[i] = 1;
            check.attrs[6].value[i] = (double)gr_check_int(seed, 2 + i, 0, 0);
        }
        check.attrs[0].value[0] = 48 * groups[seed % 4];
        check.attrs[4].value[0] = groups[seed % 4];
        check.inputs[0].shape =
            (struct gr_shape){4, {2, 16 * (int64_t)groups[seed % 4], 6 + (int64_t)seed % 3, 7}};
        for (int i = 0; i < 4; i++)
            check.attrs[6].value[i] =
                (double)gr_check_int(seed, 8 + i, 0, (int64_t)check.attrs[1].value[i % 2] - 1);
        check.choice = "flipped";
        gr_op_check_run(&check);
    }
}

/* ---- bf16 -------------------------------------------------------------------------------- */

/* Inputs are bf16 numbers, so that products are exact; a result is rounded to 8 bits once. */
static void in_bf16_a_convolution_is_its_definition_to_eight_bits(void **state)
{
    (void)state;
    static const char *const choices[] = {NULL, "flipped"};
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct gr_op_check check = random_conv(seed);
        check.bf16 = true;
        check.choice = choices[seed % 2];
        check.tolerance = 4e-3;
        check.gradient_tolerance = 8e-3;
        gr_op_check_run(&check);
    }
}

/* The tolerances of the tiles that it is computed by are reasoned in test_conv_tiles.c. */
static void squares_of_pixels_as_channels_are_the_same_convolution(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 16; seed++) {
        const bool bf16 = gr_check_has_bf16() && seed % 2;
        const double stride = seed % 3 == 0 ? 2 : 4, channels = seed % 3 == 0 ? 4 : 3;
        const int64_t taps = gr_check_int(seed, 7, 0, 3) ? 3 : 5;
        const int64_t kernel = (int64_t)stride * taps - gr_check_int(seed, 0, 0, (int)stride - 1);
        const struct gr_op_check check = {
            .op = "conv",
            .attrs = {{"out_channels", 1, {32}},
                      {"kernel", 1, {(double)kernel}},
                      {"stride", 1, {stride}},
                      {"bias", 1, {(double)(seed % 2)}},
                      {"pad",
                       4,
                       {(double)gr_check_int(seed, 1, 0, 3), (double)gr_check_int(seed, 2, 0, 3),
                        (double)gr_check_int(seed, 3, 0, 3), (double)gr_check_int(seed, 4, 0, 3)}}},
            .inputs = {{.shape = {4,
                                  {2, (int64_t)channels, gr_check_int(seed, 5, 20, 40),
                                   gr_check_int(seed, 6, 20, 40)}}}},
            .n_inputs = 1,
            .forward = conv,
            .choice = "space to depth",
            .bf16 = bf16,
            .tolerance = bf16 ? 4e-2 : 2e-5,
            .gradient_tolerance = bf16 ? 4e-2 : 2e-4,
            .seed = seed,
        };
        gr_op_check_run(&check);
    }
}

static void in_bf16_a_linear_layer_is_its_definition(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 16; seed++) {
        const struct gr_op_check check = {
            .op = "linear",
            .attrs = {{"out_features", 1, {(double)gr_check_int(seed, 0, 1, 70)}},
                      {"bias", 1, {(double)gr_check_int(seed, 1, 0, 1)}}},
            .inputs = {{.shape = {4,
                                  {gr_check_int(seed, 2, 1, 9), gr_check_int(seed, 3, 1, 20),
                                   gr_check_int(seed, 4, 1, 3), 2}}}},
            .n_inputs = 1,
            .forward = linear,
            .bf16 = true, /* operands are bf16, results f32 */
            .seed = seed,
        };
        gr_op_check_run(&check);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conv_of_any_shape_is_its_definition_and_so_is_its_gradient),
        cmocka_unit_test(conv_behind_conv_keeps_its_layout_and_its_values),
        cmocka_unit_test(first_convolution_of_alexnet_in_small),
        cmocka_unit_test(linear_of_any_shape_is_its_definition_and_so_is_its_gradient),
        cmocka_unit_test(winograd_is_its_definition_and_so_is_its_gradient),
        cmocka_unit_test(winograd_by_parts_of_the_batch_is_its_definition),
        cmocka_unit_test(with_channels_last_it_is_its_definition),
        cmocka_unit_test(a_data_gradient_by_flipped_filters_is_the_gradient),
        cmocka_unit_test(in_bf16_a_convolution_is_its_definition_to_eight_bits),
        cmocka_unit_test(squares_of_pixels_as_channels_are_the_same_convolution),
        cmocka_unit_test(in_bf16_a_linear_layer_is_its_definition),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
