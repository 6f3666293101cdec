/*
 * Ten views of an image, and the averages over them, held against windows cut by loops and ten runs
 * one by one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "data/ten_crop.h"
#include "support/api_case.h"
#include "support/data_case.h"
#include "support/make_jpeg.h"

enum { COUNT = 23, H = 17, W = 20, SIDE = 12, PIXELS = SIDE * SIDE, CLASSES = 7 };

static struct gr_data_case data;
static const char *idx; /* "images=...;labels=..." of COUNT images H×W */

static int set_up(void **state)
{
    gr_data_case_init(&data);
    idx = gr_data_case_idx(&data, COUNT, H, W, CLASSES);
    return gr_api_set_up(state);
}

static int tear_down(void **state)
{
    gr_data_case_release(&data);
    return gr_api_tear_down(state);
}

/* ---- views ------------------------------------------------------------------------------- */

/* Pixel h, w of view k of image n of gr_data_case_idx, by the definition. */
static int pixel(int n, int k, int h, int w)
{
    static const int tops[] = {(H - SIDE) / 2, 0, 0, H - SIDE, H - SIDE};
    static const int lefts[] = {(W - SIDE) / 2, 0, W - SIDE, 0, W - SIDE};
    const int column = k < 5 ? w : SIDE - 1 - w;
    return (n * H * W + (tops[k % 5] + h) * W + lefts[k % 5] + column) % 251;
}

static void the_views_are_the_centre_the_corners_and_their_reflections(void **state)
{
    (void)state;
    static float views[10 * PIXELS];
    static const char *const transforms[] = {"crop",     "size=12", "mean",
                                             "values=2", "scale",   "factor=0.5"};
    const struct gr_shape shape = {3, {1, SIDE, SIDE}};
    const struct gr_draw draw = {0};
    struct gr_error err = {0};
    struct gr_scratch *scratch = gr_scratch_new();
    struct gr_data_part *part = gr_data_case_part(&data, "idx", idx, transforms, 3);
    part->ten_crop = true;
    struct gr_dataset *dataset = gr_dataset_open(part, &shape, CLASSES, NULL, NULL, &err);
    gr_api_ok(dataset != NULL, &err);
    assert_int_equal(gr_dataset_views(dataset), 10);
    for (int n = 0; n < COUNT; n++) {
        assert_int_equal(gr_dataset_read(dataset, n, &draw, scratch, views, &err), GR_READ_DONE);
        for (int k = 0; k < 10; k++)
            for (int i = 0; i < PIXELS; i++)
                assert_true(fabsf(views[k * PIXELS + i] -
                                  ((float)pixel(n, k, i / SIDE, i % SIDE) - 2) / 2) < 1e-4f);
    }
    gr_dataset_free(dataset);
    gr_scratch_free(scratch);
}

static void the_last_crop_gives_way_and_what_follows_it_sees_each_view(void **state)
{
    (void)state;
    static float views[10 * 3 * 8 * 8];
    static const char *const transforms[] = {"crop",   "size=16",   "crop",
                                             "size=8", "grayscale", "channels=3"};
    const struct gr_shape shape = {3, {3, 8, 8}};
    const struct gr_draw draw = {0};
    struct gr_error err = {0};
    struct gr_scratch *scratch = gr_scratch_new();
    struct gr_data_part *part = gr_data_case_part(&data, "idx", idx, transforms, 3);
    part->ten_crop = true;
    struct gr_dataset *dataset = gr_dataset_open(part, &shape, CLASSES, NULL, NULL, &err);
    gr_api_ok(dataset != NULL, &err);
    assert_int_equal(gr_dataset_read(dataset, 1, &draw, scratch, views, &err), GR_READ_DONE);
    /* The 16×16 in the middle of 17×20 begins at 0, 2; its lower right 8×8 at 8, 10. */
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < 64; i++)
            assert_int_equal((int)views[(9 * 3 + c) * 64 + i],
                             (H * W + (8 + i / 8) * W + 10 + 7 - i % 8) % 251);
    gr_dataset_free(dataset);
    gr_scratch_free(scratch);
}

/* A JPEG is decoded no further than its reader is told; views need all that the crop leaves out. */
static void views_of_a_file_are_those_of_the_dataset(void **state)
{
    (void)state;
    static float alone[10 * 3 * 64], listed[10 * 3 * 64];
    static const char *const transforms[] = {"resize", "shortest=12", "crop", "size=8"};
    uint8_t pixels[3 * 40 * 60];
    const struct gr_shape shape = {3, {3, 8, 8}};
    const struct gr_draw draw = {0};
    struct gr_error err = {0};
    struct gr_scratch *scratch = gr_scratch_new();
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i * i % 241);
    const char *path = gr_data_case_path(&data, "a.jpg"), *list = gr_data_case_path(&data, "list");
    assert_true(gr_make_jpeg(path, pixels, 40, 60, 3, 90, false));
    gr_data_case_write(list, "a.jpg 1\n", 8);
    struct gr_data_part *part = gr_data_case_part(
        &data, "list", gr_pool_printf(&data.pool, "file=%s", list), transforms, 2);
    part->ten_crop = true;
    struct gr_dataset *dataset = gr_dataset_open(part, &shape, CLASSES, NULL, NULL, &err);
    gr_api_ok(dataset != NULL, &err);
    assert_int_equal(gr_dataset_read(dataset, 0, &draw, scratch, listed, &err), GR_READ_DONE);
    gr_api_ok(gr_data_part_image(part, &shape, path, alone, &err), &err);
    assert_memory_equal(alone, listed, sizeof alone);
    part->ten_crop = false;
    gr_api_ok(gr_data_part_image(part, &shape, path, alone, &err), &err);
    assert_memory_equal(alone, listed, 3 * 64 * sizeof *alone);
    for (size_t i = 1; i < 10; i++)
        assert_memory_not_equal(alone, listed + i * 3 * 64, 3 * 64 * sizeof *alone);
    gr_dataset_free(dataset);
    gr_scratch_free(scratch);
}

static void views_without_a_crop_are_refused(void **state)
{
    (void)state;
    const struct gr_shape shape = {3, {1, H, W}};
    struct gr_error err = {0};
    struct gr_data_part *part = gr_data_case_part(&data, "idx", idx, NULL, 0);
    part->ten_crop = true;
    gr_api_refused(gr_dataset_open(part, &shape, CLASSES, NULL, NULL, &err) != NULL, &err,
                   GR_ERR_MODEL,
                   "data.train: ten views of an image need a crop among the transforms, whose "
                   "place they take");
}

/* ---- averages ---------------------------------------------------------------------------- */

/* A model of those images, its output named. */
static struct gr_model *load(const char *last)
{
    const char *text = gr_pool_printf(
        &data.pool,
        "format: 1\n"
        "name: views\n"
        "inputs: {image: {shape: [1, 12, 12]}, label: {classes: 7}}\n"
        "nodes:\n"
        "  - {name: conv1, op: conv, inputs: image, out_channels: 4, kernel: 5, stride: 2}\n"
        "  - {name: relu1, op: relu}\n"
        "  - {name: drop1, op: dropout}\n"
        "  - {name: fc2, op: linear, out_features: 7}\n"
        "  - {name: prob, op: %s}\n"
        "  - {name: loss, op: softmax_cross_entropy, inputs: [fc2, label]}\n"
        "  - {name: top1, op: accuracy, inputs: [fc2, label]}\n"
        "  - {name: top3, op: accuracy, inputs: [fc2, label], k: 3}\n"
        "train: {loss: loss, metrics: [top1, top3], batch: 8, optimizer: sgd,\n"
        "        learning_rate: 0.1}\n"
        "data:\n"
        "  val:\n"
        "    idx: {images: %s/images, labels: %s/labels}\n"
        "    transform: [{crop: {size: 12}}, {scale: {factor: 0.02}}]\n",
        last, data.folder, data.folder);
    return gr_api_load("views", text, 5, NULL);
}

/* The mean of the probabilities of ten runs, one for each view. */
static void reference(struct gr_plan *plan, int n, double prob[CLASSES])
{
    struct gr_error err = {0};
    memset(prob, 0, CLASSES * sizeof *prob);
    for (int k = 0; k < 10; k++) {
        float image[PIXELS], one[CLASSES];
        for (int i = 0; i < PIXELS; i++)
            image[i] = 0.02f * (float)pixel(n, k, i / SIDE, i % SIDE);
        gr_api_ok(gr_plan_feed(plan, "image", image, sizeof image, &err), &err);
        gr_api_ok(gr_plan_run(plan, &err), &err);
        gr_api_ok(gr_plan_fetch(plan, "prob", one, sizeof one, &err), &err);
        for (int c = 0; c < CLASSES; c++)
            prob[c] += (double)one[c] / 10;
    }
}

static int best_of(const double prob[CLASSES])
{
    int best = 0;
    for (int c = 1; c < CLASSES; c++)
        best = prob[c] > prob[best] ? c : best;
    return best;
}

static int rank_of(const double prob[CLASSES], int label)
{
    int rank = 0;
    for (int c = 0; c < CLASSES; c++)
        rank += prob[c] > prob[label];
    return rank;
}

static void every_references(struct gr_model *model, double prob[COUNT][CLASSES])
{
    struct gr_error err = {0};
    struct gr_plan *plan = gr_plan_new(model, &(struct gr_plan_options){.batch = 1}, &err);
    gr_api_ok(plan != NULL, &err);
    for (int n = 0; n < COUNT; n++)
        reference(plan, n, prob[n]);
    gr_plan_free(plan);
}

static void evaluation_averages_ten_single_runs(void **state)
{
    (void)state;
    static const int64_t batches[] = {0, 1, 10, 47, 64, 1000}; /* windows */
    double prob[COUNT][CLASSES], loss = 0, top1 = 0, top3 = 0;
    struct gr_model *model = load("softmax");
    every_references(model, prob);
    for (int n = 0; n < COUNT; n++) {
        const int label = n % CLASSES;
        loss -= log(prob[n][label]) / COUNT;
        top1 += rank_of(prob[n], label) < 1;
        top3 += rank_of(prob[n], label) < 3;
    }
    for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) {
        struct gr_error err = {0};
        struct gr_eval_result result;
        const struct gr_eval_options options = {.ten_crop = true, .batch = batches[i]};
        gr_api_ok(gr_evaluate(model, &options, &result, &err), &err);
        assert_int_equal(result.images, COUNT);
        assert_int_equal(result.views, 10);
        assert_true(fabs(result.loss - loss) < 1e-5);
        assert_int_equal(result.n_metrics, 2);
        assert_string_equal(result.metrics[0].name, "top1");
        assert_string_equal(result.metrics[1].name, "top3");
        assert_true(fabs(result.metrics[0].value - top1 / COUNT) < 1e-9);
        assert_true(fabs(result.metrics[1].value - top3 / COUNT) < 1e-9);
    }
    gr_model_free(model);
}

static void prediction_averages_ten_single_runs(void **state)
{
    (void)state;
    const struct gr_predict_options options = {.top = CLASSES, .ten_crop = true};
    double prob[COUNT][CLASSES];
    struct gr_error err = {0};
    struct gr_sample samples[COUNT];
    struct gr_prediction rows[COUNT * CLASSES];
    struct gr_model *model = load("softmax");
    every_references(model, prob);
    gr_api_ok(gr_predict_part(model, NULL, 2, COUNT - 2, &options, samples, rows, &err), &err);
    for (int n = 2; n < COUNT; n++)
        for (int k = 0; k < CLASSES; k++) {
            const struct gr_prediction *row = &rows[(n - 2) * CLASSES + k];
            assert_true(fabs((double)row->probability - prob[n][row->index]) < 1e-5);
            assert_true(k || row->index == best_of(prob[n]));
            assert_true(k == 0 || row[-1].probability >= row->probability);
        }
    gr_model_free(model);
}

static void one_view_is_the_default(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct gr_eval_result result;
    double loss = 0;
    struct gr_model *model = load("softmax");
    struct gr_plan *plan = gr_plan_new(model, &(struct gr_plan_options){.batch = 1}, &err);
    gr_api_ok(plan != NULL, &err);
    for (int n = 0; n < COUNT; n++) {
        float image[PIXELS], prob[CLASSES];
        for (int i = 0; i < PIXELS; i++)
            image[i] = 0.02f * (float)pixel(n, 0, i / SIDE, i % SIDE);
        gr_api_ok(gr_plan_feed(plan, "image", image, sizeof image, &err), &err);
        gr_api_ok(gr_plan_run(plan, &err), &err);
        gr_api_ok(gr_plan_fetch(plan, "prob", prob, sizeof prob, &err), &err);
        loss -= log((double)prob[n % CLASSES]) / COUNT;
    }
    gr_plan_free(plan);
    gr_api_ok(gr_evaluate(model, &(struct gr_eval_options){0}, &result, &err), &err);
    assert_int_equal(result.views, 1);
    assert_true(fabs(result.loss - loss) < 1e-5);
    gr_model_free(model);
}

static void an_output_that_is_no_softmax_has_no_probabilities(void **state)
{
    (void)state;
    const struct gr_eval_options wants[] = {{.ten_crop = true}, {.csv = gr_api_path("x.csv")}, {0}};
    const struct gr_predict_options top = {.top = 1};
    struct gr_eval_result result;
    struct gr_sample sample;
    struct gr_prediction prediction;
    struct gr_model *model = load("tanh");
    for (int i = 0; i < 3; i++) {
        struct gr_error err = {0};
        const bool done =
            i < 2 ? gr_evaluate(model, &wants[i], &result, &err)
                  : gr_predict_part(model, NULL, 0, 1, &top, &sample, &prediction, &err);
        assert_false(done);
        assert_int_equal(err.status, GR_ERR_MODEL);
        assert_non_null(strstr(err.message, "'prob' is no softmax: its values, which add up to "));
    }
    assert_int_not_equal(access(gr_api_path("x.csv"), F_OK), 0);
    struct gr_error err = {0};
    gr_api_ok(gr_evaluate(model, &wants[2], &result, &err), &err); /* loss and accuracy are */
    gr_model_free(model);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_views_are_the_centre_the_corners_and_their_reflections),
        TEST(the_last_crop_gives_way_and_what_follows_it_sees_each_view),
        TEST(views_of_a_file_are_those_of_the_dataset),
        TEST(views_without_a_crop_are_refused),
        TEST(evaluation_averages_ten_single_runs),
        TEST(prediction_averages_ten_single_runs),
        TEST(one_view_is_the_default),
        TEST(an_output_that_is_no_softmax_has_no_probabilities),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
