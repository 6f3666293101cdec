/*
 * bf16: whole networks compute in it what they compute in f32, to its eight bits; parameters stay
 * f32; what cannot is told so.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/api_case.h"
#include "support/op_check.h"

/* AlexNet's kinds of layers in small. */
static const char net[] =
    "format: 1\n"
    "inputs: {image: {shape: [3, 35, 35]}, label: {classes: 6}}\n"
    "nodes:\n"
    "  - {name: a, op: conv, inputs: image, out_channels: 32, kernel: 7, stride: 2, weight_init: "
    "he}\n"
    "  - {name: ar, op: relu}\n"
    "  - {name: an, op: lrn, k: 2}\n"
    "  - {name: ap, op: max_pool, kernel: 3, stride: 2}\n"
    "  - {name: b, op: conv, out_channels: 48, kernel: 3, pad: 1, groups: 2, weight_init: he}\n"
    "  - {name: br, op: relu}\n"
    "  - {name: c, op: conv, inputs: br, out_channels: 48, kernel: 1, weight_init: he}\n"
    "  - {name: cn, op: batch_norm}\n"
    "  - {name: s, op: add, inputs: [cn, br]}\n"
    "  - {name: sr, op: relu}\n"
    "  - {name: sp, op: avg_pool, kernel: 2}\n"
    "  - {name: f, op: linear, out_features: 40, weight_init: he}\n"
    "  - {name: fr, op: relu}\n"
    "  - {name: d, op: dropout, p: 0.3}\n"
    "  - {name: g, op: linear, out_features: 6}\n"
    "  - {name: loss, op: softmax_cross_entropy, inputs: [g, label]}\n"
    "train:\n"
    "  loss: loss\n"
    "  batch: 8\n"
    "  optimizer: {sgd: {momentum: 0.9, weight_decay: 0.0005}}\n"
    "  learning_rate: 0.02\n";

enum { BATCH = 8, PIXELS = 3 * 35 * 35, STEPS = 30 };

static struct gr_plan *plan_of(struct gr_model *model, enum gr_precision precision,
                               const char *const *targets, size_t n_targets, bool update)
{
    static float images[BATCH * PIXELS];
    int32_t labels[BATCH];
    struct gr_error err = {0};
    const struct gr_plan_options options = {.mode = GR_TRAIN,
                                            .precision = precision,
                                            .batch = BATCH,
                                            .targets = targets,
                                            .n_targets = n_targets,
                                            .check_finite = true,
                                            .update = update};
    struct gr_plan *plan = gr_plan_new(model, &options, &err);
    gr_api_ok(plan != NULL, &err);
    for (int n = 0; n < BATCH; n++) {
        labels[n] = n % 6;
        for (int i = 0; i < PIXELS; i++)
            images[n * PIXELS + i] =
                sinf(0.01f * (float)(i * (1 + labels[n]))) +
                0.3f * ((float)(((uint32_t)(n * PIXELS + i) * 2654435761u >> 8) % 1000) / 500 - 1);
    }
    gr_plan_set_learning_rate(plan, 0.02);
    gr_api_ok(gr_plan_feed(plan, "image", images, sizeof images, &err), &err);
    gr_api_ok(gr_plan_feed(plan, "label", labels, sizeof labels, &err), &err);
    return plan;
}

/* |a - b| / |b|, as vectors. */
static double distance(const struct gr_tensor *a, const struct gr_tensor *b)
{
    const float *x = a->data, *y = b->data;
    double difference = 0, length = 0;
    for (int64_t i = 0; i < gr_shape_count(&b->shape); i++) {
        difference += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
        length += (double)y[i] * (double)y[i];
    }
    return sqrt(difference / length);
}

static void values_and_gradients_are_those_of_f32_to_eight_bits(void **state)
{
    (void)state;
    static const char *const targets[] = {"an",
                                          "s",
                                          "g",
                                          "loss",
                                          "grad:g.weight",
                                          "grad:f.weight",
                                          "grad:cn.weight",
                                          "grad:cn.bias",
                                          "grad:c.weight",
                                          "grad:b.weight",
                                          "grad:a.weight",
                                          "grad:a.bias"};
    enum { TARGETS = sizeof targets / sizeof *targets };
    struct gr_error err = {0};
    if (!gr_check_has_bf16())
        skip();
    struct gr_model *model = gr_api_load("net", net, 3, NULL);
    struct gr_plan *exact = plan_of(model, GR_PRECISION_F32, targets, TARGETS, false);
    struct gr_plan *narrow = plan_of(model, GR_PRECISION_BF16, targets, TARGETS, false);
    gr_api_ok(gr_plan_run(exact, &err), &err);
    gr_api_ok(gr_plan_run(narrow, &err), &err);
    for (size_t i = 0; i < TARGETS; i++) {
        const struct gr_tensor a = gr_plan_target(narrow, i), b = gr_plan_target(exact, i);
        assert_int_equal(a.dtype, GR_F32);
        /*
         * Half a unit of the last of eight bits is 0.2 %, once an op, and what falls the other way
         * in a window or at a ReLU's zero; the first layer's gradient has come through all of it.
         */
        const double bound = strncmp(targets[i], "grad:a.", 7) == 0 ? 0.08 : 0.04;
        if (!(distance(&a, &b) < bound))
            fail_msg("'%s' is %g off", targets[i], distance(&a, &b));
    }
    bool computed = false;
    for (size_t i = 0; i < gr_plan_node_count(narrow); i++)
        computed = computed || strncmp(gr_plan_node(narrow, i).layout, "bf16:", 5) == 0;
    assert_true(computed);
    gr_plan_free(exact);
    gr_plan_free(narrow);
    gr_model_free(model);
}

/* The loss after some steps from the same weights. */
static double trained_loss(enum gr_precision precision)
{
    struct gr_error err = {0};
    float loss = 0;
    struct gr_model *model = gr_api_load("net", net, 3, NULL);
    struct gr_plan *plan = plan_of(model, precision, NULL, 0, true);
    for (int step = 0; step < STEPS; step++)
        gr_api_ok(gr_plan_run(plan, &err), &err);
    gr_api_ok(gr_plan_fetch(plan, "loss", &loss, sizeof loss, &err), &err);
    gr_plan_free(plan);
    gr_model_free(model);
    return (double)loss;
}

static void training_in_bf16_learns_what_it_learns_in_f32(void **state)
{
    (void)state;
    if (!gr_check_has_bf16())
        skip();
    const double exact = trained_loss(GR_PRECISION_F32), narrow = trained_loss(GR_PRECISION_BF16);
    assert_true(exact < 0.5); /* from log 6 = 1.79 */
    assert_true(fabs(narrow - exact) < 0.1);
}

static void small_updates_are_not_lost_since_weights_stay_f32(void **state)
{
    (void)state;
    struct gr_error err = {0};
    static float before[40 * 48 * 3 * 3], after[40 * 48 * 3 * 3];
    if (!gr_check_has_bf16())
        skip();
    struct gr_model *model = gr_api_load("net", net, 3, NULL);
    struct gr_plan *plan = plan_of(model, GR_PRECISION_BF16, NULL, 0, true);
    gr_plan_set_learning_rate(plan, 1e-4);
    const size_t count = sizeof before / sizeof *before;
    gr_api_ok(gr_model_get_parameter(model, "f.weight", before, count, &err), &err);
    gr_api_ok(gr_plan_run(plan, &err), &err);
    gr_api_ok(gr_model_get_parameter(model, "f.weight", after, count, &err), &err);
    size_t moved = 0, below = 0; /* below half a bf16 step of the weight */
    for (size_t i = 0; i < count; i++) {
        moved += after[i] != before[i];
        below += after[i] != before[i] && fabsf(after[i] - before[i]) < fabsf(before[i]) / 512;
    }
    assert_true(moved > count / 2);
    assert_true(below > moved / 2);
    gr_plan_free(plan);
    gr_model_free(model);
}

/* Layers with what stands between them: only weights, images and the loss's gradient are copied. */
static void between_layers_nothing_is_converted(void **state)
{
    (void)state;
    static const char text[] =
        "format: 1\n"
        "inputs: {image: {shape: [3, 35, 35]}, label: {classes: 6}}\n"
        "nodes:\n"
        "  - {name: a, op: linear, inputs: image, out_features: 64, weight_init: he}\n"
        "  - {name: ar, op: relu}\n"
        "  - {name: ad, op: dropout}\n"
        "  - {name: b, op: linear, out_features: 48, weight_init: he}\n"
        "  - {name: bs, op: sigmoid}\n"
        "  - {name: bd, op: dropout}\n"
        "  - {name: c, op: linear, out_features: 32}\n"
        "  - {name: cr, op: relu}\n"
        "  - {name: g, op: linear, out_features: 6}\n"
        "  - {name: loss, op: softmax_cross_entropy, inputs: [g, label]}\n"
        "train:\n"
        "  loss: loss\n"
        "  batch: 8\n"
        "  optimizer: {sgd: {momentum: 0.9}}\n"
        "  learning_rate: 0.02\n";
    if (!gr_check_has_bf16())
        skip();
    struct gr_model *model = gr_api_load("layers", text, 3, NULL);
    struct gr_plan *plan = plan_of(model, GR_PRECISION_BF16, NULL, 0, true);
    size_t reorders = 0;
    for (size_t i = 0; i < gr_plan_node_count(plan); i++) {
        const struct gr_node_info node = gr_plan_node(plan, i);
        if (strcmp(node.op, "reorder") != 0)
            continue;
        reorders++;
        if (!strstr(node.name, ".weight@") && strncmp(node.name, "image@", 6) != 0 &&
            strncmp(node.name, "grad:g@", 7) != 0)
            fail_msg("'%s' is not wanted", node.name);
    }
    assert_true(reorders > 0);
    gr_plan_free(plan);
    gr_model_free(model);
}

static void kernels_without_bf16_say_so(void **state)
{
    (void)state;
    struct gr_error err = {0};
    const struct gr_context_options options = {.kernels = GR_KERNELS_OPENBLAS};
    struct gr_context *context = gr_context_new(gr_standard_ops(), &options, &err);
    gr_api_ok(context != NULL, &err);
    gr_api_write("net.yaml", net);
    struct gr_model *model = gr_model_load(context, gr_api_path("net.yaml"), NULL, &err);
    gr_api_ok(model != NULL, &err);
    const struct gr_plan_options plan = {.precision = GR_PRECISION_BF16};
    gr_api_refused(gr_plan_new(model, &plan, &err) != NULL, &err, GR_ERR_USAGE, "%s",
                   "the openblas kernels compute in f32 only, not in bf16");
    gr_model_free(model);
    gr_context_free(context);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, gr_api_set_up, gr_api_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(values_and_gradients_are_those_of_f32_to_eight_bits),
        TEST(training_in_bf16_learns_what_it_learns_in_f32),
        TEST(small_updates_are_not_lost_since_weights_stay_f32),
        TEST(between_layers_nothing_is_converted),
        TEST(kernels_without_bf16_say_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
