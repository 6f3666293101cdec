/*
 * The same seed gives the same files, and what is drawn at random does not depend on the number of
 * threads.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graphrunner.h"
#include "support/api_case.h"
#include "support/run_files.h"

/* A context with so many threads and the zoo in it, with more augmentation. */
static struct gr_model *load(struct gr_context **context, int threads)
{
    static const char *const sets[] = {
        "data.train.transform=[{crop: {size: 12, mode: random, pad: 2}}, flip, "
        "{color_jitter: {brightness: 0.4}}, scale]"};
    struct gr_error err = {0};
    const struct gr_context_options options = {.threads = threads};
    const struct gr_model_options seeded = {.seed = 5, .sets = sets, .n_sets = 1};
    gr_api_write("zoo.yaml", gr_api_zoo);
    *context = gr_context_new(gr_standard_ops(), &options, &err);
    struct gr_model *model =
        *context ? gr_model_load(*context, gr_api_path("zoo.yaml"), &seeded, &err) : NULL;
    gr_api_ok(model != NULL, &err);
    return model;
}

static void train(const char *out, int threads)
{
    struct gr_error err = {0};
    struct gr_train_result result;
    struct gr_context *context;
    struct gr_model *model = load(&context, threads);
    gr_api_ok(gr_train(model, &(struct gr_train_options){.out = out, .epochs = 2}, &result, &err),
              &err);
    gr_model_free(model);
    gr_context_free(context);
}

static void two_runs_leave_the_same_files(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 2; threads++) {
        const char *one = gr_api_path(threads == 1 ? "one1" : "one2");
        const char *two = gr_api_path(threads == 1 ? "two1" : "two2");
        train(one, threads);
        train(two, threads);
        gr_run_files_expect_same(one, two);
    }
}

/* The samples of an epoch in its order, as training sees them: shuffled and augmented. */
static char *draw_epoch(int threads, int64_t epoch, size_t *length)
{
    struct gr_error err = {0};
    struct gr_context *context;
    struct gr_model *model = load(&context, threads);
    const struct gr_show_options options = {.epoch = epoch, .count = 60};
    const char *path = gr_api_path("epoch.png");
    gr_api_ok(gr_show_data(model, &options, path, NULL, &err), &err);
    gr_model_free(model);
    gr_context_free(context);
    return gr_run_files_read(path, length);
}

static void order_and_augmentation_do_not_depend_on_threads(void **state)
{
    (void)state;
    for (int64_t epoch = 1; epoch <= 2; epoch++) {
        size_t length, again;
        char *one = draw_epoch(1, epoch, &length);
        for (int threads = 2; threads <= 5; threads++) {
            char *other = draw_epoch(threads, epoch, &again);
            assert_int_equal(again, length);
            assert_memory_equal(other, one, length);
            free(other);
        }
        char *next = draw_epoch(1, epoch + 1, &again);
        assert_true(again != length || memcmp(next, one, length) != 0);
        free(next);
        free(one);
    }
}

enum { BATCH = 8, ROW = 16 * 6 * 6, IMAGE = 3 * 12 * 12 };

/* Which elements dropout keeps in a step; the images are the same. */
static void draw_mask(int threads, uint64_t step, bool kept[BATCH * ROW])
{
    static const char *const targets[] = {"drop2"};
    static float image[BATCH * IMAGE], out[BATCH * ROW];
    struct gr_error err = {0};
    struct gr_context *context;
    struct gr_model *model = load(&context, threads);
    const struct gr_plan_options options = {
        .mode = GR_TRAIN, .batch = BATCH, .targets = targets, .n_targets = 1};
    struct gr_plan *plan = gr_plan_new(model, &options, &err);
    gr_api_ok(plan != NULL, &err);
    for (int i = 0; i < BATCH * IMAGE; i++)
        image[i] = (float)(i % 17) / 17;
    gr_plan_set_step(plan, step);
    gr_api_ok(gr_plan_feed(plan, "image", image, sizeof image, &err), &err);
    gr_api_ok(gr_plan_run(plan, &err), &err);
    gr_api_ok(gr_plan_fetch(plan, "drop2", out, sizeof out, &err), &err);
    for (int i = 0; i < BATCH * ROW; i++)
        kept[i] = out[i] != 0;
    gr_plan_free(plan);
    gr_model_free(model);
    gr_context_free(context);
}

static void dropout_does_not_depend_on_threads(void **state)
{
    (void)state;
    static bool one[BATCH * ROW], other[BATCH * ROW];
    for (uint64_t step = 0; step < 3; step++) {
        int n = 0;
        draw_mask(1, step, one);
        for (int i = 0; i < BATCH * ROW; i++)
            n += one[i];
        assert_true(n > BATCH * ROW / 3 && n < BATCH * ROW * 2 / 3);
        for (int threads = 2; threads <= 4; threads++) {
            draw_mask(threads, step, other);
            assert_memory_equal(one, other, sizeof one);
        }
        draw_mask(1, step + 1, other);
        assert_memory_not_equal(one, other, sizeof one);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, gr_api_set_up, gr_api_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(two_runs_leave_the_same_files),
        TEST(order_and_augmentation_do_not_depend_on_threads),
        TEST(dropout_does_not_depend_on_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
