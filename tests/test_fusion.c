/*
 * Fusion for inference: batch norm into weights, residual add and ReLU into the convolution. The
 * fused plan must do what the plan of the nodes as written does, with either kind of kernel, also
 * after a weight has changed.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/api_case.h"

enum { BATCH = 3, MANY = 20, CHANNELS = 5, PIXELS = CHANNELS * 9 * 9 };

/* A residual block on odd channels with a projection, a bias before a norm, and a normed linear. */
static const char residual[] =
    "format: 1\n"
    "inputs: {image: {shape: [5, 9, 9]}}\n"
    "nodes:\n"
    "  - {name: a, op: conv, inputs: image, out_channels: 20, kernel: 3, pad: 1, bias: false}\n"
    "  - {name: an, op: batch_norm}\n"
    "  - {name: ar, op: relu}\n"
    "  - {name: b, op: conv, out_channels: 20, kernel: 3, pad: 1, groups: 2, bias_init: 0.3}\n"
    "  - {name: bn, op: batch_norm, affine: false}\n"
    "  - {name: p, op: conv, inputs: image, out_channels: 20, kernel: 1}\n"
    "  - {name: pn, op: batch_norm}\n"
    "  - {name: sum, op: add, inputs: [pn, bn]}\n"
    "  - {name: sr, op: leaky_relu}\n"
    "  - {name: f, op: linear, out_features: 7, bias: false}\n"
    "  - {name: out, op: sigmoid}\n";

static struct gr_model *load(void)
{
    struct gr_model *model = gr_api_load("residual", residual, 3, NULL);
    static const char *const names[] = {"an.weight",      "an.bias",         "an.running_mean",
                                        "an.running_var", "bn.running_mean", "bn.running_var",
                                        "pn.weight",      "pn.running_mean", "pn.running_var"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct gr_error err = {0};
        float values[20];
        for (int c = 0; c < 20; c++)
            values[c] = 0.4f + 0.05f * (float)((c * 7 + (int)i * 3) % 20);
        gr_api_ok(gr_model_set_parameter(model, names[i], values, 20, &err), &err);
    }
    return model;
}

static struct gr_plan *plan_of(struct gr_model *model, bool reference)
{
    struct gr_error err = {0};
    const struct gr_plan_options options = {.batch = BATCH, .reference = reference};
    struct gr_plan *plan = gr_plan_new(model, &options, &err);
    float images[BATCH * PIXELS];
    gr_api_ok(plan != NULL, &err);
    for (size_t i = 0; i < BATCH * PIXELS; i++)
        images[i] = (float)((i * 2654435761u >> 8) % 1000) / 500 - 1;
    gr_api_ok(gr_plan_feed(plan, "image", images, sizeof images, &err), &err);
    return plan;
}

static int count_ops(const struct gr_plan *plan, const char *op)
{
    int count = 0;
    for (size_t i = 0; i < gr_plan_node_count(plan); i++)
        count += strcmp(gr_plan_node(plan, i).op, op) == 0;
    return count;
}

static void expect_same(struct gr_plan *fused, struct gr_plan *written)
{
    struct gr_error err = {0};
    gr_api_ok(gr_plan_run(fused, &err), &err);
    gr_api_ok(gr_plan_run(written, &err), &err);
    const struct gr_tensor a = gr_plan_target(fused, 0), b = gr_plan_target(written, 0);
    assert_int_equal(gr_shape_count(&a.shape), BATCH * 7);
    for (int64_t i = 0; i < BATCH * 7; i++)
        assert_float_equal(((float *)a.data)[i], ((float *)b.data)[i], 1e-5);
}

static void norms_adds_and_activations_vanish_into_the_layers_before_them(void **state)
{
    (void)state;
    struct gr_model *model = load();
    struct gr_plan *fused = plan_of(model, false), *written = plan_of(model, true);
    assert_int_equal(count_ops(written, "batch_norm"), 3);
    assert_int_equal(count_ops(written, "add"), 1);
    assert_int_equal(count_ops(fused, "batch_norm"), 0);
    assert_int_equal(count_ops(fused, "add"), 0);
    assert_int_equal(
        count_ops(fused, "relu") + count_ops(fused, "leaky_relu") + count_ops(fused, "sigmoid"), 0);
    assert_int_equal(count_ops(fused, "fold_norm"), 3);
    expect_same(fused, written);
    expect_same(fused, written); /* and again, with the folded weights kept from the first run */
    gr_plan_free(fused);
    gr_plan_free(written);
    gr_model_free(model);
}

static void folded_weights_follow_a_changed_parameter(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct gr_model *model = load();
    struct gr_plan *fused = plan_of(model, false), *written = plan_of(model, true);
    expect_same(fused, written);
    const float before = *(float *)gr_plan_target(fused, 0).data;
    float gamma[20];
    for (int c = 0; c < 20; c++)
        gamma[c] = -2.0f + (float)c;
    gr_api_ok(gr_model_set_parameter(model, "an.weight", gamma, 20, &err), &err);
    expect_same(fused, written);
    assert_true(fabsf(*(float *)gr_plan_target(fused, 0).data - before) > 1e-4f);
    gr_plan_free(fused);
    gr_plan_free(written);
    gr_model_free(model);
}

static void openblas_kernels_fuse_alike(void **state)
{
    (void)state;
    struct gr_error err = {0};
    const struct gr_context_options options = {.threads = 1, .kernels = GR_KERNELS_OPENBLAS};
    struct gr_context *context = gr_context_new(gr_standard_ops(), &options, &err);
    gr_api_ok(context != NULL, &err);
    gr_api_write("blas.yaml", residual);
    const struct gr_model_options model_options = {.seed = 3};
    struct gr_model *blas = gr_model_load(context, gr_api_path("blas.yaml"), &model_options, &err);
    gr_api_ok(blas != NULL, &err);
    struct gr_model *dnnl = gr_api_load("residual", residual, 3, NULL);
    struct gr_plan *a = plan_of(blas, false), *b = plan_of(dnnl, false);
    assert_int_equal(count_ops(a, "batch_norm") + count_ops(a, "add"), 0);
    expect_same(a, b);
    gr_plan_free(a);
    gr_plan_free(b);
    gr_model_free(blas);
    gr_model_free(dnnl);
    gr_context_free(context);
}

/* b is written after a: when a takes over the sum with b, one other reader of b is left, a relu. */
static void what_a_fused_add_reads_is_not_fused_away(void **state)
{
    (void)state;
    static const char text[] =
        "format: 1\n"
        "inputs: {image: {shape: [5, 9, 9]}}\n"
        "nodes:\n"
        "  - {name: a, op: conv, inputs: image, out_channels: 20, kernel: 3, pad: 1}\n"
        "  - {name: b, op: conv, inputs: image, out_channels: 20, kernel: 1}\n"
        "  - {name: sum, op: add, inputs: [a, b]}\n"
        "  - {name: br, op: relu, inputs: b}\n"
        "  - {name: all, op: add, inputs: [sum, br]}\n"
        "  - {name: out, op: linear, out_features: 7}\n";
    struct gr_model *model = gr_api_load("branches", text, 3, NULL);
    struct gr_plan *fused = plan_of(model, false), *written = plan_of(model, true);
    assert_int_equal(count_ops(fused, "relu"), 1);
    expect_same(fused, written);
    gr_plan_free(fused);
    gr_plan_free(written);
    gr_model_free(model);
}

/* Rows of the output do not depend on each other, so that one image alone gives the first row. */
static void a_single_image_takes_the_vector_kernel_and_gives_the_same(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct gr_model *model = load();
    const struct gr_plan_options one = {.batch = 1};
    struct gr_plan *single = gr_plan_new(model, &one, &err);
    gr_api_ok(single != NULL, &err);
    struct gr_plan *batch = plan_of(model, true);
    const struct gr_tensor image = gr_plan_input(batch, 0);
    gr_api_ok(gr_plan_feed(single, "image", image.data, PIXELS * sizeof(float), &err), &err);
    gr_api_ok(gr_plan_run(single, &err), &err);
    gr_api_ok(gr_plan_run(batch, &err), &err);
    const float *a = gr_plan_target(single, 0).data, *b = gr_plan_target(batch, 0).data;
    for (int i = 0; i < 7; i++)
        assert_float_equal(a[i], b[i], 1e-5);
    int vectors = 0;
    for (size_t i = 0; i < gr_plan_node_count(single); i++)
        vectors += strcmp(gr_plan_node(single, i).impl, "gemv") == 0;
    assert_int_equal(vectors, 1);
    gr_plan_free(single);
    gr_plan_free(batch);
    gr_model_free(model);
}

/* ---- updates ----------------------------------------------------------------------------- */

/* A layer whose weight is several tiles, one that has no bias, one whose rows do not divide. */
static const char layers[] =
    "format: 1\n"
    "inputs: {image: {shape: [2, 8, 8]}, label: {classes: 10}}\n"
    "nodes:\n"
    "  - {name: a, op: linear, inputs: image, out_features: 24576}\n"
    "  - {name: ar, op: relu}\n"
    "  - {name: b, op: linear, out_features: 256, bias: false}\n"
    "  - {name: br, op: tanh}\n"
    "  - {name: c, op: linear, out_features: 10}\n"
    "  - {name: loss, op: softmax_cross_entropy, inputs: [c, label]}\n"
    "train:\n"
    "  loss: loss\n"
    "  learning_rate: 0.02\n"
    "  optimizer: {sgd: {momentum: %s, weight_decay: 0.01, nesterov: %s}}\n";

static const char *const layer_names[] = {"a.weight", "a.bias", "b.weight", "c.weight", "c.bias"};

/* Five training steps; the parameters one after the other. Freed by the caller. */
static float *trained(const char *text, int64_t batch, bool reference, enum gr_kernels kernels,
                      size_t *count)
{
    struct gr_error err = {0};
    const struct gr_context_options context_options = {.threads = 2, .kernels = kernels};
    const struct gr_plan_options options = {
        .mode = GR_TRAIN, .batch = batch, .update = true, .reference = reference};
    struct gr_context *context = gr_context_new(gr_standard_ops(), &context_options, &err);
    gr_api_ok(context != NULL, &err);
    gr_api_write("layers.yaml", text);
    struct gr_model *model = gr_model_load(context, gr_api_path("layers.yaml"), NULL, &err);
    gr_api_ok(model != NULL, &err);
    struct gr_plan *plan = gr_plan_new(model, &options, &err);
    gr_api_ok(plan != NULL, &err);
    assert_int_equal(count_ops(plan, "linear_backward_update"), reference ? 0 : 3);
    float images[MANY * 128];
    int32_t labels[MANY];
    for (int n = 0; n < MANY; n++)
        labels[n] = (1 + 8 * n) % 10;
    for (size_t i = 0; i < MANY * 128; i++)
        images[i] = (float)((i * 2654435761u >> 8) % 1000) / 500 - 1;
    gr_plan_set_learning_rate(plan, 0.02);
    gr_api_ok(gr_plan_feed(plan, "image", images, (size_t)batch * 128 * sizeof *images, &err),
              &err);
    gr_api_ok(gr_plan_feed(plan, "label", labels, (size_t)batch * sizeof *labels, &err), &err);
    for (int step = 0; step < 5; step++)
        gr_api_ok(gr_plan_run(plan, &err), &err);
    const size_t sizes[] = {24576 * 128, 24576, 256 * 24576, 2560, 10};
    *count = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        *count += sizes[i];
    float *all = malloc(*count * sizeof *all), *at = all;
    assert_non_null(all);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; at += sizes[i++])
        gr_api_ok(gr_model_get_parameter(model, layer_names[i], at, sizes[i], &err), &err);
    gr_plan_free(plan);
    gr_model_free(model);
    gr_context_free(context);
    return all;
}

static void a_weight_updated_tile_by_tile_is_the_weight_updated_at_once(void **state)
{
    (void)state;
    static const char *const optimizers[][2] = {{"0", "false"}, {"0.9", "false"}, {"0.9", "true"}};
    for (size_t k = 0; k < 6; k++) {
        char text[2048];
        const size_t o = k / 2;
        const int64_t batch = k % 2 ? MANY : BATCH; /* in tiles; few images take another kernel */
        snprintf(text, sizeof text, layers, optimizers[o][0], optimizers[o][1]);
        size_t count;
        float *written = trained(text, batch, true, GR_KERNELS_OPENBLAS, &count);
        float *tiles = trained(text, batch, false, GR_KERNELS_AUTO, &count);
        float *openblas = trained(text, batch, false, GR_KERNELS_OPENBLAS, &count);
        for (size_t i = 0; i < count; i++) {
            assert_float_equal(tiles[i], written[i], 2e-5);
            assert_float_equal(openblas[i], written[i], 2e-5);
        }
        free(written);
        free(tiles);
        free(openblas);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            norms_adds_and_activations_vanish_into_the_layers_before_them, gr_api_set_up,
            gr_api_tear_down),
        cmocka_unit_test_setup_teardown(folded_weights_follow_a_changed_parameter, gr_api_set_up,
                                        gr_api_tear_down),
        cmocka_unit_test_setup_teardown(a_single_image_takes_the_vector_kernel_and_gives_the_same,
                                        gr_api_set_up, gr_api_tear_down),
        cmocka_unit_test_setup_teardown(openblas_kernels_fuse_alike, gr_api_set_up,
                                        gr_api_tear_down),
        cmocka_unit_test_setup_teardown(what_a_fused_add_reads_is_not_fused_away, gr_api_set_up,
                                        gr_api_tear_down),
        cmocka_unit_test_setup_teardown(a_weight_updated_tile_by_tile_is_the_weight_updated_at_once,
                                        gr_api_set_up, gr_api_tear_down)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
