/*
 * The models that come with Graph Runner: each loads, has the published number of parameters and
 * multiply-accumulates, infers probabilities and takes a training step, in a memory plan within two
 * percent of its lower bound.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <math.h>

#include "graphrunner.h"

enum { BATCH = 2, SEED = 7, LARGEST_PLANNED = 128 };

struct published {
    const char *test, *name;
    int64_t parameters, macs, classes; /* macs: of one image */
    const char *weight;                /* a parameter that is there by this name */
    size_t weight_count;
};

static struct published models[] = {
    {"alexnet_is_as_published_and_trains", "alexnet", 60965224, 724406816, 1000, "conv2.weight",
     256 * 48 * 5 * 5},
    {"alexnet_in_two_towers_is_as_published_and_trains", "alexnet-two-tower", 60965224, 724406816,
     1000, "gpu2.low.conv2.weight", 128 * 48 * 5 * 5},
    {"alexnet_of_caffe_is_as_published_and_trains", "alexnet-caffe", 60965224, 724406816, 1000,
     "fc6.weight", 4096 * 9216},
    {"alexnet_of_torchvision_is_as_published_and_trains", "alexnet-torchvision", 61100840,
     714188480, 1000, "features.3.weight", 192 * 64 * 5 * 5},
    {"alexnet_of_the_textbook_is_as_published_and_trains", "alexnet-textbook", 46764746, 938146176,
     10, "fc6.weight", 4096 * 6400},
    {"alexnet_for_fashion_mnist_is_small_and_trains", "alexnet-fashion", 550538, 9830912, 10,
     "fc8.bias", 10},
    {"lenet_is_as_published_and_trains", "lenet", 61706, 416520, 10, "fc4.weight", 84 * 120},
    {"vgg16_is_as_published_and_trains", "vgg16", 138357544, 15470264320, 1000, "conv5.3.weight",
     512 * 512 * 3 * 3},
    {"squeezenet_is_as_published_and_trains", "squeezenet", 1235496, 349151936, 1000,
     "features.9.expand3x3.weight", 192 * 48 * 3 * 3},
    {"resnet18_is_as_published_and_trains", "resnet18", 11689512, 1814073344, 1000,
     "layer2.0.downsample.0.weight", 128 * 64},
};

enum { N_MODELS = sizeof models / sizeof *models };

static void show(void *user, enum gr_log_level level, const char *text)
{
    (void)user, (void)level;
    print_message("%s\n", text);
}

static void assert_ok(bool ok, const struct gr_error *err)
{
    if (!ok)
        fail_msg("%s", err->message);
}

static struct gr_model *load(struct gr_context *context, const char *name)
{
    struct gr_error err = {0};
    char path[1024];
    const struct gr_model_options options = {.seed = SEED};
    snprintf(path, sizeof path, "%s/models/%s.yaml", GR_SOURCE_DIR, name);
    struct gr_model *model = gr_model_load(context, path, &options, &err);
    assert_ok(model != NULL, &err);
    return model;
}

/* Gives every input of the plan numbers: labels that differ, images within -1 and 1. */
static void feed(struct gr_plan *plan, int64_t classes)
{
    struct gr_error err = {0};
    uint32_t random = 1;
    for (size_t i = 0; i < gr_plan_input_count(plan); i++) {
        const struct gr_tensor input = gr_plan_input(plan, i);
        const int64_t count = gr_shape_count(&input.shape);
        const size_t bytes = (size_t)count * gr_dtype_size(input.dtype);
        float *numbers = malloc(bytes);
        assert_non_null(numbers);
        int32_t *labels = (int32_t *)(void *)numbers;
        for (int64_t j = 0; j < count; j++) {
            random = random * 1664525 + 1013904223;
            if (input.dtype == GR_S32)
                labels[j] = (int32_t)((j * 3 + 1) % classes);
            else
                numbers[j] = (float)(random >> 8) / 8388608.0f - 1;
        }
        assert_ok(gr_plan_feed(plan, input.name, numbers, bytes, &err), &err);
        free(numbers);
    }
}

static struct gr_plan *compile(struct gr_model *model, bool training)
{
    struct gr_error err = {0};
    const struct gr_plan_options options = {.mode = training ? GR_TRAIN : GR_INFER,
                                            .batch = BATCH,
                                            .update = training,
                                            .check_finite = true};
    struct gr_plan *plan = gr_plan_new(model, &options, &err);
    assert_ok(plan != NULL, &err);
    return plan;
}

static double count_macs(const struct gr_plan *plan)
{
    double macs = 0;
    for (size_t i = 0; i < gr_plan_node_count(plan); i++)
        macs += gr_plan_node(plan, i).macs;
    return macs;
}

/* Rows of probabilities: not negative, one in sum. */
static void assert_infers(struct gr_model *model, const struct published *published)
{
    struct gr_error err = {0};
    struct gr_plan *plan = compile(model, false);
    assert_true(count_macs(plan) == (double)published->macs * BATCH);
    assert_int_equal(gr_plan_target_count(plan), 1);
    assert_string_equal(gr_plan_target(plan, 0).name, "prob");
    feed(plan, published->classes);
    assert_ok(gr_plan_run(plan, &err), &err);
    const size_t bytes = (size_t)published->classes * BATCH * sizeof(float);
    float *probabilities = malloc(bytes);
    assert_non_null(probabilities);
    assert_ok(gr_plan_fetch(plan, "prob", probabilities, bytes, &err), &err);
    for (int n = 0; n < BATCH; n++) {
        double sum = 0;
        for (int64_t c = 0; c < published->classes; c++) {
            const float p = probabilities[n * published->classes + c];
            assert_true(p >= 0);
            sum += (double)p;
        }
        assert_true(fabs(sum - 1) < 1e-4);
    }
    free(probabilities);
    gr_plan_free(plan);
}

static float *get_weight(struct gr_model *model, const struct published *published)
{
    struct gr_error err = {0};
    float *data = malloc(published->weight_count * sizeof *data);
    assert_non_null(data);
    assert_ok(gr_model_get_parameter(model, published->weight, data, published->weight_count, &err),
              &err);
    return data;
}

/* A step has a finite loss near that of guessing, and moves a weight by finite amounts. */
static void assert_trains(struct gr_model *model, const struct published *published)
{
    struct gr_error err = {0};
    struct gr_plan *plan = compile(model, true);
    float *before = get_weight(model, published);
    size_t moved = 0;
    gr_plan_set_learning_rate(plan, 0.01);
    feed(plan, published->classes);
    assert_ok(gr_plan_run(plan, &err), &err);
    assert_int_equal(gr_plan_step(plan), 1);
    for (size_t i = 0; i < gr_plan_target_count(plan); i++) {
        float value = NAN;
        const char *name = gr_plan_target(plan, i).name;
        assert_ok(gr_plan_fetch(plan, name, &value, sizeof value, &err), &err);
        const bool is_loss = strcmp(name, "loss") == 0;
        assert_true(value >= 0 &&
                    (double)value <= (is_loss ? 4 * log((double)published->classes) : 1));
    }
    float *after = get_weight(model, published);
    for (size_t i = 0; i < published->weight_count; i++) {
        assert_true(isfinite(after[i]));
        moved += after[i] < before[i] || after[i] > before[i];
    }
    assert_true(moved > published->weight_count / 100);
    free(before);
    free(after);
    gr_plan_free(plan);
}

/* Compiling alone touches little of the arena; large batches are still cut off. */
static void assert_plans_are_tight(struct gr_model *model)
{
    const int64_t own = gr_model_batch(model);
    const int64_t batches[] = {1, 16, own < LARGEST_PLANNED ? own : LARGEST_PLANNED};
    for (int training = 0; training < 2; training++)
        for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) {
            struct gr_error err = {0};
            const struct gr_plan_options options = {
                .mode = training ? GR_TRAIN : GR_INFER, .batch = batches[i], .update = training};
            struct gr_plan *plan = gr_plan_new(model, &options, &err);
            assert_ok(plan != NULL, &err);
            const struct gr_memory_report report = gr_plan_memory(plan);
            gr_plan_free(plan);
            if ((double)report.planned > 1.02 * (double)report.lower_bound)
                fail_msg("%s, batch %d, %s: %zu bytes planned, bound %zu", gr_model_name(model),
                         (int)batches[i], training ? "train" : "infer", report.planned,
                         report.lower_bound);
        }
}

static void model_is_as_published_and_trains(void **state)
{
    const struct published *published = *state;
    struct gr_error err = {0};
    const struct gr_context_options options = {.log = show};
    struct gr_context *context = gr_context_new(gr_standard_ops(), &options, &err);
    assert_ok(context != NULL, &err);
    struct gr_model *model = load(context, published->name);
    assert_string_equal(gr_model_name(model), published->name);
    assert_int_equal(gr_model_parameter_count(model), published->parameters);
    assert_int_equal(gr_model_classes(model), published->classes);
    assert_infers(model, published);
    assert_trains(model, published);
    assert_plans_are_tight(model);
    gr_model_free(model);
    gr_context_free(context);
}

int main(void)
{
    struct CMUnitTest tests[N_MODELS] = {0};
    for (size_t i = 0; i < N_MODELS; i++)
        tests[i] = (struct CMUnitTest){.name = models[i].test,
                                       .test_func = model_is_as_published_and_trains,
                                       .initial_state = &models[i]};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
