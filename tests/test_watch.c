/*
 * What --watch tells of the layers, against numbers computed from the parameters themselves, and
 * for dead ReLUs from the batch that the step saw.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graphrunner.h"
#include "support/api_case.h"
#include "support/naive.h"
#include "support/op_check.h"
#include "train/batches.h"

enum { LAYERS = 2, CHANNELS = 8, BATCH = 8, SIDE = 12, MOST = 2048 };

static const char *const layers[LAYERS] = {"conv1", "fc2"};
static const int64_t sizes[LAYERS] = {CHANNELS * 3 * 9, 4 * CHANNELS * 6 * 6};

struct seen {
    struct gr_model *model;
    float before[LAYERS][MOST]; /* the weights before the step */
    int calls;
    int64_t first_dead;
};

static void get(struct seen *seen, int layer, float *weights)
{
    struct gr_error err = {0};
    char name[32];
    snprintf(name, sizeof name, "%s.weight", layers[layer]);
    gr_api_ok(gr_model_get_parameter(seen->model, name, weights, (size_t)sizes[layer], &err), &err);
}

static void expect_near(const char *what, double value, double wanted)
{
    if (fabs(value - wanted) > 1e-6 * wanted)
        fail_msg("%s is %.9g, not %.9g", what, value, wanted);
}

static void check(void *user, const struct gr_watch *watch)
{
    struct seen *seen = user;
    assert_int_equal(watch->n_rows, LAYERS);
    assert_int_equal(watch->step, ++seen->calls);
    assert_true(watch->loss > 0 && watch->learning_rate > 0);
    for (int l = 0; l < LAYERS; l++) {
        static float now[MOST];
        double weight = 0, change = 0;
        get(seen, l, now);
        for (int64_t i = 0; i < sizes[l]; i++) {
            weight += pow(now[i], 2);
            change += pow((double)now[i] - seen->before[l][i], 2);
        }
        memcpy(seen->before[l], now, sizeof now);
        assert_string_equal(watch->rows[l].layer, layers[l]);
        expect_near("|w|", watch->rows[l].weight, sqrt(weight));
        expect_near("|dw|", watch->rows[l].change, sqrt(change));
    }
    assert_int_equal(watch->rows[0].units, CHANNELS);
    assert_int_equal(watch->rows[1].units, 0);
    if (seen->calls == 1)
        seen->first_dead = watch->rows[0].dead;
}

/* Channels of conv1 that are nowhere above zero in the first batch of the training. */
static int64_t count_dead(struct gr_model *model, const float *bias)
{
    static double src[BATCH * 3 * SIDE * SIDE], weights[CHANNELS * 3 * 9],
        dst[BATCH * CHANNELS * SIDE * SIDE];
    static float w[CHANNELS * 3 * 9];
    const struct gr_naive_window window = {.N = BATCH,
                                           .C = 3,
                                           .H = SIDE,
                                           .W = SIDE,
                                           .O = CHANNELS,
                                           .groups = 1,
                                           .kernel = {3, 3},
                                           .stride = {1, 1},
                                           .dilation = {1, 1},
                                           .pad = {1, 1, 1, 1}};
    struct gr_error err = {0};
    struct gr_batches batches;
    struct gr_batch batch;
    double wide[CHANNELS];
    int64_t dead = 0;
    gr_api_ok(gr_batches_open(&batches, model, "train", BATCH, true, 0, &err), &err);
    gr_api_ok(gr_loader_start(batches.loader, 0, 0, &err), &err);
    gr_api_ok(gr_loader_next(batches.loader, &batch, &err), &err);
    for (int i = 0; i < BATCH * 3 * SIDE * SIDE; i++)
        src[i] = batch.images[i];
    gr_batches_close(&batches);
    gr_api_ok(gr_model_get_parameter(model, "conv1.weight", w, CHANNELS * 3 * 9, &err), &err);
    for (int i = 0; i < CHANNELS * 3 * 9; i++)
        weights[i] = w[i];
    for (int i = 0; i < CHANNELS; i++)
        wide[i] = bias[i];
    gr_naive_conv(&window, src, weights, wide, dst);
    for (int c = 0; c < CHANNELS; c++) {
        double most = -1000;
        for (int n = 0; n < BATCH; n++)
            for (int i = 0; i < SIDE * SIDE; i++)
                most = fmax(most, dst[(n * CHANNELS + c) * SIDE * SIDE + i]);
        assert_true(fabs(most) > 0.03); /* rounding to bf16 does not decide it */
        dead += most <= 0;
    }
    return dead;
}

static void train(struct seen *seen, const char *out, enum gr_precision precision, bool watched)
{
    struct gr_error err = {0};
    struct gr_train_result result;
    /* Some are dead for certain, some alive, and some as the images have it. */
    const float bias[CHANNELS] = {-100, 100, -1.2f, -0.8f, -1.6f, -100, -2.4f, -100};
    seen->model = gr_api_load("model", gr_api_tiny, 3, NULL);
    gr_api_ok(gr_model_set_parameter(seen->model, "conv1.bias", bias, CHANNELS, &err), &err);
    const int64_t dead = count_dead(seen->model, bias);
    assert_true(dead >= 3 && dead < CHANNELS);
    for (int l = 0; l < LAYERS; l++)
        get(seen, l, seen->before[l]);
    const struct gr_train_options options = {.out = out,
                                             .epochs = 1,
                                             .precision = precision,
                                             .watch_every = watched,
                                             .watch = check,
                                             .watch_user = seen};
    gr_api_ok(gr_train(seen->model, &options, &result, &err), &err);
    gr_model_free(seen->model);
    if (watched) {
        assert_int_equal(seen->calls, 7);
        assert_int_equal(seen->first_dead, dead);
    }
}

static void norms_changes_and_dead_units_are_those_of_the_step(void **state)
{
    (void)state;
    static struct seen seen, other;
    train(&seen, gr_api_path("watched"), GR_PRECISION_F32, true);
    train(&other, gr_api_path("unwatched"), GR_PRECISION_F32, false);
    gr_api_expect_same_tensors(gr_api_path("watched/latest.safetensors"),
                               gr_api_path("unwatched/latest.safetensors"));
}

/* Weights stay f32, and outputs are read as they lie. */
static void in_bf16_they_are_those_of_the_step_too(void **state)
{
    (void)state;
    static struct seen seen, other;
    if (!gr_check_has_bf16())
        skip();
    train(&seen, gr_api_path("watched"), GR_PRECISION_BF16, true);
    train(&other, gr_api_path("unwatched"), GR_PRECISION_BF16, false);
    gr_api_expect_same_tensors(gr_api_path("watched/latest.safetensors"),
                               gr_api_path("unwatched/latest.safetensors"));
}

/* The zoo: a convolution whose tanh is no ReLU, and a batch norm that has taken one over. */
static void note(void *user, const struct gr_watch *watch)
{
    static const char *const names[] = {"conv1", "left", "right", "bn", "fc2"};
    *(int64_t *)user += watch->step;
    assert_int_equal(watch->n_rows, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_string_equal(watch->rows[i].layer, names[i]);
        assert_int_equal(watch->rows[i].units, strcmp(names[i], "bn") == 0 ? 16 : 0);
        assert_true(watch->rows[i].weight > 0 && watch->rows[i].change > 0);
        assert_true(watch->rows[i].dead <= watch->rows[i].units);
    }
}

static void every_so_many_steps_are_watched(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct gr_train_result result;
    int64_t steps = 0;
    struct gr_model *model = gr_api_load("model", gr_api_zoo, 3, NULL);
    const struct gr_train_options options = {.out = gr_api_path("run"),
                                             .epochs = 2,
                                             .watch_every = 5,
                                             .watch = note,
                                             .watch_user = &steps};
    gr_api_ok(gr_train(model, &options, &result, &err), &err);
    gr_model_free(model);
    assert_int_equal(steps, 5 + 10);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, gr_api_set_up, gr_api_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(norms_changes_and_dead_units_are_those_of_the_step),
        TEST(in_bf16_they_are_those_of_the_step_too),
        TEST(every_so_many_steps_are_watched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
