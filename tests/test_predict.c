/*
 * Prediction of image files through the public API.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/api_case.h"
#include "support/make_jpeg.h"

enum { IMAGES = 20, TOP = 3, PIXELS = 144 };

/* Files of one colour each. */
static void write_images(const char *images[IMAGES], uint8_t colours[IMAGES][3])
{
    static char names[IMAGES][32], paths[IMAGES][1024];
    for (int i = 0; i < IMAGES; i++) {
        for (int c = 0; c < 3; c++)
            colours[i][c] = (uint8_t)((i * 97 + c * 71 + 30) % 220 + 10);
        snprintf(names[i], sizeof names[i], "image%d.jpg", i);
        snprintf(paths[i], sizeof paths[i], "%s", gr_api_path(names[i]));
        assert_true(
            gr_make_plain_jpeg(paths[i], 12, 12, colours[i][0], colours[i][1], colours[i][2]));
        images[i] = paths[i];
    }
}

/* The probabilities of an image of one colour by a plan of our own. */
static void probabilities(struct gr_model *model, const uint8_t colour[3], float prob[4])
{
    struct gr_error err = {0};
    float image[3 * PIXELS];
    struct gr_plan *plan = gr_plan_new(model, &(struct gr_plan_options){.batch = 1}, &err);
    gr_api_ok(plan != NULL, &err);
    for (int i = 0; i < 3 * PIXELS; i++)
        image[i] = ((float)colour[i / PIXELS] / 255 - 0.5f) / 0.25f;
    gr_api_ok(gr_plan_feed(plan, "image", image, sizeof image, &err), &err);
    gr_api_ok(gr_plan_run(plan, &err), &err);
    gr_api_ok(gr_plan_fetch(plan, "prob", prob, 4 * sizeof *prob, &err), &err);
    gr_plan_free(plan);
}

static void predictions_are_the_models_probabilities_best_first(void **state)
{
    (void)state;
    static const char *const names[] = {"north", "east", "south", "west"};
    struct gr_error err = {0};
    const char *images[IMAGES];
    uint8_t colours[IMAGES][3];
    const struct gr_predict_options top = {.top = TOP};
    struct gr_prediction all[IMAGES * TOP], one[TOP];
    struct gr_model *model = gr_api_load("model", gr_api_tiny, 3, NULL);
    write_images(images, colours);
    gr_api_ok(gr_predict(model, images, IMAGES, &top, all, &err), &err);
    for (int i = 0; i < IMAGES; i++) {
        float prob[4];
        probabilities(model, colours[i], prob);
        gr_api_ok(gr_predict(model, &images[i], 1, &top, one, &err), &err);
        for (int k = 0; k < TOP; k++) {
            const struct gr_prediction *row = &all[i * TOP + k];
            assert_true(row->index >= 0 && row->index < 4);
            assert_string_equal(row->class_name, names[row->index]);
            assert_true(fabsf(row->probability - prob[row->index]) < 0.02f); /* JPEG rounds */
            assert_true(k == 0 || row[-1].probability >= row->probability);
            assert_int_equal(one[k].index, row->index);
            assert_true(fabsf(one[k].probability - row->probability) < 1e-5f);
        }
        assert_true(all[i * TOP].index != all[i * TOP + 1].index);
    }
    gr_model_free(model);
}

static void an_image_that_cannot_be_read_is_named(void **state)
{
    (void)state;
    struct gr_error err = {0};
    const struct gr_predict_options first = {.top = 1};
    struct gr_prediction rows[1];
    const char *missing[] = {gr_api_path("missing.jpg")}, *text[] = {gr_api_path("text.jpg")};
    struct gr_model *model = gr_api_load("model", gr_api_tiny, 3, NULL);
    gr_api_write("text.jpg", "not a picture");
    assert_false(gr_predict(model, missing, 1, &first, rows, &err));
    assert_int_equal(err.status, GR_ERR_DATA);
    assert_non_null(strstr(err.message, "missing.jpg"));
    err = (struct gr_error){0};
    assert_false(gr_predict(model, text, 1, &first, rows, &err));
    assert_int_equal(err.status, GR_ERR_DATA);
    assert_non_null(strstr(err.message, "text.jpg"));
    gr_model_free(model);
}

/* Over several batches, of which the second has nothing to read. */
static void an_unreadable_image_is_skipped_where_that_is_wanted(void **state)
{
    (void)state;
    enum { ALL = 40 };
    struct gr_error err = {0};
    const struct gr_predict_options usual = {.top = TOP},
                                    skip = {.top = TOP, .skip_unreadable = true};
    struct gr_prediction one[TOP], all[ALL * TOP];
    const char *good = gr_api_path("good.jpg"), *bad = gr_api_path("bad.jpg"), *images[ALL];
    struct gr_model *model = gr_api_load("model", gr_api_tiny, 3, NULL);
    assert_true(gr_make_plain_jpeg(good, 8, 8, 200, 60, 20));
    gr_api_write("bad.jpg", "not a picture");
    gr_api_ok(gr_predict(model, &good, 1, &usual, one, &err), &err);
    for (size_t i = 0; i < ALL; i++)
        images[i] = i % 3 == 1 || (i >= 16 && i < 32) ? bad : good;
    gr_api_ok(gr_predict(model, images, ALL, &skip, all, &err), &err);
    for (size_t i = 0; i < ALL * TOP; i++) {
        const struct gr_prediction *expected = &one[i % TOP];
        const bool unread = images[i / TOP] == bad;
        const float probability = unread ? 0 : expected->probability;
        assert_int_equal(all[i].index, unread ? -1 : expected->index);
        assert_float_equal(all[i].probability, probability, 1e-6);
        assert_true(unread == !all[i].class_name);
    }
    gr_model_free(model);
}

#define API_TEST(NAME) cmocka_unit_test_setup_teardown(NAME, gr_api_set_up, gr_api_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        API_TEST(predictions_are_the_models_probabilities_best_first),
        API_TEST(an_image_that_cannot_be_read_is_named),
        API_TEST(an_unreadable_image_is_skipped_where_that_is_wanted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
