/*
 * Pooling and local response normalisation against their definitions.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/naive.h"
#include "support/op_check.h"

static struct gr_naive_window window_of(const struct gr_check_view *view)
{
    struct gr_naive_window window = {.N = view->shape[0].dim[0],
                                     .C = view->shape[0].dim[1],
                                     .H = view->shape[0].dim[2],
                                     .W = view->shape[0].dim[3],
                                     .ceil = gr_check_attr(view->check, "ceil_mode", 0, 0) > 0};
    for (int i = 0; i < 4; i++)
        window.pad[i] = (int64_t)gr_check_attr(view->check, "pad", i, 0);
    for (int i = 0; i < 2; i++) {
        window.kernel[i] = (int64_t)gr_check_attr(view->check, "kernel", i, 1);
        window.stride[i] = (int64_t)gr_check_attr(view->check, "stride", i, 1);
        window.dilation[i] = 1;
    }
    assert_int_equal(gr_naive_size(&window, 0), view->dst.dim[2]);
    assert_int_equal(gr_naive_size(&window, 1), view->dst.dim[3]);
    return window;
}

static void max_pool(const struct gr_check_view *view, double *dst)
{
    const struct gr_naive_window window = window_of(view);
    gr_naive_max_pool(&window, view->in[0], dst);
}

static void avg_pool(const struct gr_check_view *view, double *dst)
{
    const struct gr_naive_window window = window_of(view);
    gr_naive_avg_pool(&window, gr_check_attr(view->check, "count_include_pad", 0, 0) > 0,
                      view->in[0], dst);
}

/* Windows of 1 to 4, pads of at most half of them, ceil in half of the cases. */
static struct gr_op_check random_pool(const char *op, uint64_t seed)
{
    static const int64_t channels[] = {1, 3, 8, 16, 17, 32};
    const int64_t kh = gr_check_int(seed, 0, 1, 4), kw = gr_check_int(seed, 1, 1, 4);
    struct gr_op_check check = {
        .op = op,
        .attrs = {{"kernel", 2, {(double)kh, (double)kw}},
                  {"stride",
                   2,
                   {(double)gr_check_int(seed, 2, 1, 3), (double)gr_check_int(seed, 3, 1, 3)}},
                  {"ceil_mode", 1, {(double)gr_check_int(seed, 4, 0, 1)}},
                  {"pad", 4, {0}}},
        .inputs = {{.shape = {4,
                              {gr_check_int(seed, 5, 1, 3), channels[gr_check_int(seed, 6, 0, 5)],
                               kh + gr_check_int(seed, 7, 0, 6), kw + gr_check_int(seed, 8, 0, 6)}},
                    .fill = GR_CHECK_DISTINCT}},
        .n_inputs = 1,
        .seed = seed,
    };
    for (int i = 0; i < 4; i++)
        check.attrs[3].value[i] =
            (double)(gr_check_int(seed, 9, 0, 1)
                         ? gr_check_int(seed, 10 + i, 0, (i % 2 ? kw : kh) / 2)
                         : 0);
    return check;
}

static void max_pool_of_any_shape_is_its_definition_and_so_is_its_gradient(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct gr_op_check check = random_pool("max_pool", seed);
        check.forward = max_pool;
        gr_op_check_run(&check);
    }
}

static void avg_pool_of_any_shape_is_its_definition_and_so_is_its_gradient(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct gr_op_check check = random_pool("avg_pool", seed);
        check.forward = avg_pool;
        check.attrs[4] =
            (struct gr_check_attr){"count_include_pad", 1, {(double)gr_check_int(seed, 30, 0, 1)}};
        gr_op_check_run(&check);
    }
}

static void global(const struct gr_check_view *view, double *dst)
{
    const struct gr_shape *s = &view->shape[0];
    gr_naive_global_avg_pool(s->dim[0], s->dim[1], s->dim[2] * s->dim[3], view->in[0], dst);
}

static void global_avg_pool_is_its_definition_and_so_is_its_gradient(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        const struct gr_op_check check = {
            .op = "global_avg_pool",
            .inputs = {{.shape = {4,
                                  {gr_check_int(seed, 0, 1, 4), gr_check_int(seed, 1, 1, 33),
                                   gr_check_int(seed, 2, 1, 9), gr_check_int(seed, 3, 1, 9)}}}},
            .n_inputs = 1,
            .behind_conv = seed % 2 == 0,
            .forward = global,
            .seed = seed,
        };
        gr_op_check_run(&check);
    }
}

static void lrn(const struct gr_check_view *view, double *dst)
{
    const struct gr_shape *s = &view->shape[0];
    const struct gr_op_check *check = view->check;
    gr_naive_lrn(s->dim[0], s->dim[1], s->dim[2] * s->dim[3],
                 (int64_t)gr_check_attr(check, "size", 0, 5),
                 gr_check_attr(check, "alpha", 0, 1e-4), gr_check_attr(check, "beta", 0, 0.75),
                 gr_check_attr(check, "k", 0, 1), view->in[0], dst);
}

static void lrn_of_any_size_is_its_definition_and_so_is_its_gradient(void **state)
{
    (void)state;
    static const int64_t channels[] = {1, 3, 6, 16, 17, 32, 48};
    static const double betas[] = {0.75, 0.75, 1, 0.5};
    for (uint64_t seed = 1; seed <= 28; seed++) {
        const struct gr_op_check check = {
            .op = "lrn",
            .attrs = {{"size", 1, {(double)(3 + 2 * gr_check_int(seed, 0, 0, 2))}},
                      {"alpha", 1, {0.1 + 0.3 * (double)gr_check_int(seed, 1, 0, 3)}},
                      {"beta", 1, {betas[gr_check_int(seed, 2, 0, 3)]}},
                      {"k", 1, {(double)gr_check_int(seed, 3, 1, 2)}}},
            .inputs = {{.shape = {4,
                                  {gr_check_int(seed, 4, 1, 2), channels[seed % 7],
                                   gr_check_int(seed, 5, 1, 6), gr_check_int(seed, 6, 1, 6)}}}},
            .n_inputs = 1,
            .behind_conv = seed % 3 == 0,
            .forward = lrn,
            .seed = seed,
        };
        gr_op_check_run(&check);
    }
}

/* The case with kernels of its own: five channels, exponent 0.75, blocked memory. */
static void alexnets_lrn_behind_a_convolution_is_its_definition_and_so_is_its_gradient(void **state)
{
    (void)state;
    static const int64_t channels[] = {3, 15, 16, 17, 18, 32, 50};
    for (uint64_t seed = 1; seed <= 14; seed++) {
        const struct gr_op_check check = {
            .op = "lrn",
            .attrs = {{"size", 1, {5}},
                      {"alpha", 1, {0.5 * (double)gr_check_int(seed, 1, 1, 4)}},
                      {"beta", 1, {0.75}},
                      {"k", 1, {(double)gr_check_int(seed, 3, 1, 2)}}},
            .inputs = {{.shape = {4,
                                  {gr_check_int(seed, 4, 1, 3), channels[seed % 7],
                                   gr_check_int(seed, 5, 1, 6), gr_check_int(seed, 6, 1, 6)}}}},
            .n_inputs = 1,
            .behind_conv = true,
            .forward = lrn,
            .seed = seed,
        };
        gr_op_check_run(&check);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(max_pool_of_any_shape_is_its_definition_and_so_is_its_gradient),
        cmocka_unit_test(avg_pool_of_any_shape_is_its_definition_and_so_is_its_gradient),
        cmocka_unit_test(global_avg_pool_is_its_definition_and_so_is_its_gradient),
        cmocka_unit_test(lrn_of_any_size_is_its_definition_and_so_is_its_gradient),
        cmocka_unit_test(
            alexnets_lrn_behind_a_convolution_is_its_definition_and_so_is_its_gradient),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
