/*
 * What a pack knows of its colours: it is true, transforms take it, and it goes with the weights to
 * all who use them.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/pack_index.h"
#include "support/pack_data.h"

static struct gr_data_case test;
static const char *const as_packed[] = {"resize", "shortest=48", "crop", "size=48"};

static int set_up(void **state)
{
    gr_data_case_init(&test);
    return gr_pack_set_up(state);
}

static int tear_down(void **state)
{
    gr_data_case_release(&test);
    return gr_folder_tear_down(state);
}

/* ---- statistics -------------------------------------------------------------------------- */

static struct gr_statistics known_of(const char *pack)
{
    struct gr_statistics statistics;
    struct gr_error err = {0};
    json_t *head = gr_pack_head(gr_pack_at(pack), &err);
    assert_true(gr_statistics_parse(json_object_get(head, "statistics"), &statistics));
    json_decref(head);
    return statistics;
}

/* The definition, over the pictures as they were before they became JPEG. */
static void its_statistics_are_those_of_plain_loops(void **state)
{
    static float pixels[GR_PACK_PICTURES][GR_PACK_PIXELS];
    double mean[3] = {0}, covariance[9] = {0};
    const double count = GR_PACK_PICTURES * GR_PACK_SIDE * GR_PACK_SIDE;
    (void)state;
    gr_pack_make("out", NULL, NULL);
    const struct gr_statistics known = known_of("out");
    struct gr_dataset *original =
        gr_pack_data_open(&test, "imagefolder", "path", "photos", as_packed, 2);
    for (int i = 0; i < GR_PACK_PICTURES; i++) {
        gr_pack_data_read(original, i, pixels[i]);
        for (int k = 0; k < GR_PACK_PIXELS; k++)
            mean[k / (GR_PACK_SIDE * GR_PACK_SIDE)] += (double)pixels[i][k] / count;
    }
    for (int i = 0; i < GR_PACK_PICTURES; i++)
        for (int k = 0; k < GR_PACK_SIDE * GR_PACK_SIDE; k++)
            for (int c = 0; c < 9; c++)
                covariance[c] +=
                    ((double)pixels[i][c / 3 * GR_PACK_SIDE * GR_PACK_SIDE + k] - mean[c / 3]) /
                    255 *
                    ((double)pixels[i][c % 3 * GR_PACK_SIDE * GR_PACK_SIDE + k] - mean[c % 3]) /
                    255 / count;
    for (int c = 0; c < 3; c++)
        assert_true(fabs(known.mean[c] - mean[c]) < 1e-9);
    for (int c = 0; c < 9; c++)
        assert_true(fabs(known.covariance[c] - covariance[c]) < 1e-12);
    gr_dataset_free(original);
}

/* Values of sample 0 in epoch 0, with the statistics given to the part. */
static void transform(const char *const *transforms, int n, const struct gr_statistics *statistics,
                      float out[GR_PACK_PIXELS])
{
    const struct gr_shape shape = {3, {3, GR_PACK_SIDE, GR_PACK_SIDE}};
    const struct gr_draw draw = {.seed = 5};
    char attrs[GR_FOLDER_PATH + 64];
    struct gr_error err = {0};
    snprintf(attrs, sizeof attrs, "path=%s", gr_pack_at("out"));
    struct gr_data_part *part = gr_data_case_part(&test, "pack", attrs, transforms, n);
    part->statistics = statistics;
    struct gr_dataset *dataset = gr_dataset_open(part, &shape, 0, NULL, NULL, &err);
    assert_string_equal(err.message, "");
    struct gr_scratch *scratch = gr_scratch_new();
    assert_int_equal(gr_dataset_read(dataset, 0, &draw, scratch, out, &err), GR_READ_DONE);
    gr_scratch_free(scratch);
    gr_dataset_free(dataset);
}

static const char *numbers(const double *from, int count)
{
    char *text = gr_pool_strdup(&test.pool, "");
    for (int i = 0; i < count; i++)
        text = gr_pool_printf(&test.pool, "%s%s%.17g", text, i ? "," : "", from[i]);
    return text;
}

static void transforms_without_numbers_take_those_of_the_pack(void **state)
{
    static const char *const none[] = {"pca_lighting", NULL, "scale", NULL, "mean", NULL};
    static float own[GR_PACK_PIXELS], given[GR_PACK_PIXELS], usual[GR_PACK_PIXELS];
    (void)state;
    gr_pack_make("out", NULL, NULL);
    const struct gr_statistics known = known_of("out");
    const char *lighting =
        gr_pool_printf(&test.pool, "eigenvalues=%s;eigenvectors=%s", numbers(known.eigenvalues, 3),
                       numbers(known.eigenvectors, 9));
    const char *mean = gr_pool_printf(&test.pool, "values=%s", numbers(known.mean, 3));
    /* A mean of pixels that is given stands before their scaling, of which the pack's knows. */
    const char *const same[] = {"pca_lighting", lighting, "mean", mean, "scale", NULL};
    transform(none, 3, &known, own);
    transform(same, 3, &known, given);
    transform(none, 3, NULL, usual);
    double sum = 0, apart = 0;
    for (int k = 0; k < GR_PACK_PIXELS; k++) {
        assert_true(fabsf(own[k] - given[k]) < 1e-6f);
        sum += (double)own[k] / GR_PACK_PIXELS;
        apart += fabs((double)(own[k] - usual[k])) / GR_PACK_PIXELS;
    }
    assert_true(fabs(sum) < 0.5);
    assert_true(apart > 0.01); /* ImageNet's are others */
}

static void a_mean_of_other_channels_is_refused(void **state)
{
    static const char *const mean[] = {"mean", NULL};
    const struct gr_statistics grey = {.channels = 1};
    const struct gr_shape shape = {3, {3, GR_PACK_SIDE, GR_PACK_SIDE}};
    struct gr_error err = {0};
    char attrs[GR_FOLDER_PATH + 64];
    (void)state;
    gr_pack_make("out", NULL, NULL);
    snprintf(attrs, sizeof attrs, "path=%s", gr_pack_at("out"));
    struct gr_data_part *part = gr_data_case_part(&test, "pack", attrs, mean, 1);
    part->statistics = &grey;
    assert_null(gr_dataset_open(part, &shape, 0, NULL, NULL, &err));
    gr_tool_contains(err.message, "data.train: mean: the pack of the training data knows that of 1 "
                                  "channel, but samples have 3: give values");
}

/* ---- with the weights -------------------------------------------------------------------- */

static const char parts[] = "data={train: {imagefolder: {path: packed/train}, transform: [{crop: "
                            "{size: 8, mode: random}}, pca_lighting, mean, scale]}, val: "
                            "{imagefolder: {path: photos}, transform: [{resize: {shortest: 16}}, "
                            "{crop: {size: 8}}, mean, scale]}}";

static double loss_of(const char *weights, const char *set)
{
    struct gr_outcome outcome =
        gr_tool_run(0, "eval", gr_tool_model(), "--weights", gr_pack_at(weights), "--set", parts,
                    "--set", set, "--json", NULL);
    json_t *figures = gr_tool_parse(outcome.out);
    const double loss = gr_tool_number(figures, "loss");
    json_decref(figures);
    gr_outcome_release(&outcome);
    return loss;
}

/* Trains the model on a pack, which then goes away; its weights are run/best.safetensors. */
static struct gr_statistics train_on_a_pack(void)
{
    struct gr_outcome outcome = gr_tool_run(0, "data", "pack", gr_tool_model(), "train", "--set",
                                            "data.train={imagefolder: {path: photos}}", "-o",
                                            gr_pack_at("packed"), "--size", "16", NULL);
    gr_outcome_release(&outcome);
    const struct gr_statistics known = known_of("packed/train");
    outcome = gr_tool_run(0, "train", gr_tool_model(), "--set", parts, "--out", gr_pack_at("run"),
                          "--epochs", "1", NULL);
    gr_outcome_release(&outcome);
    assert_int_equal(rename(gr_pack_at("packed"), gr_pack_at("away")), 0);
    return known;
}

/* A --set of the transforms of evaluation with this mean. */
static const char *with_mean(double red, double green, double blue)
{
    return gr_pool_printf(&test.pool,
                          "data.val.transform=[{resize: {shortest: 16}}, {crop: {size: 8}}, {mean: "
                          "{values: [%.17g, %.17g, %.17g]}}, scale]",
                          red, green, blue);
}

static const char *with_usual_mean(void)
{
    return with_mean(123.68, 116.779, 103.939);
}

static void weights_remember_the_colours_of_the_pack(void **state)
{
    struct gr_error err = {0};
    (void)state;
    const struct gr_statistics known = train_on_a_pack();
    struct gr_tensor_file *file = gr_tensor_file_read(gr_pack_at("run/best.safetensors"), &err);
    struct gr_statistics kept;
    assert_true(gr_statistics_parse_text(gr_tensor_file_metadata(file, "statistics"), &kept, NULL));
    assert_memory_equal(&kept, &known, sizeof kept);
    gr_tensor_file_free(file);
    /* Without the pack the mean is still the pack's, and not ImageNet's. */
    const double remembered = loss_of("run/best.safetensors", "train.batch=8");
    const double told =
        loss_of("run/best.safetensors", with_mean(known.mean[0], known.mean[1], known.mean[2]));
    const double usual = loss_of("run/best.safetensors", with_usual_mean());
    assert_true(fabs(remembered - told) < 1e-6);
    assert_true(fabs(remembered - usual) > 1e-4);
    struct gr_outcome outcome =
        gr_tool_run(0, "predict", gr_tool_model(), "--weights", gr_pack_at("run/best.safetensors"),
                    "--set", parts, gr_pack_at("photos/ash/ash_000.png"), NULL);
    gr_outcome_release(&outcome);
}

/* Of the photographs, with the weights trained on the pack. */
static struct gr_features *features_of(const char *out, const char *set)
{
    struct gr_error err = {0};
    struct gr_outcome outcome = gr_tool_run(
        0, "features", gr_tool_model(), "--weights", gr_pack_at("run/best.safetensors"), "--set",
        parts, "--set", set, gr_pack_at("photos"), "-o", gr_pack_at(out), NULL);
    gr_outcome_release(&outcome);
    struct gr_features *features = gr_features_read(gr_pack_at(out), &err);
    assert_string_equal(err.message, "");
    return features;
}

/* The largest difference between numbers of the first image. */
static double apart(const struct gr_features *a, const struct gr_features *b)
{
    enum { MOST = 1000 };
    static float rows[2][MOST];
    const size_t length = gr_features_length(a);
    double most = 0;
    assert_true(length <= MOST && length == gr_features_length(b));
    assert_true(gr_features_rows(a, 0, 1, rows[0], NULL) &&
                gr_features_rows(b, 0, 1, rows[1], NULL));
    for (size_t i = 0; i < length; i++)
        most = fmax(most, fabs((double)(rows[0][i] - rows[1][i])));
    return most;
}

/* How far the nearest image is from a copy of the first, which is no image of the features. */
static double distance_to_a_copy(const char *features, const char *set)
{
    struct gr_outcome outcome =
        gr_tool_run(0, "nearest", gr_pack_at(features), gr_pack_at("copy.png"), "--model",
                    gr_tool_model(), "--weights", gr_pack_at("run/best.safetensors"), "--distance",
                    "euclidean", "--set", parts, "--set", set, "--json", NULL);
    json_t *found = gr_tool_parse(outcome.out);
    const json_t *near = json_array_get(json_object_get(json_array_get(found, 0), "nearest"), 0);
    const double distance = gr_tool_number(near, "distance");
    json_decref(found);
    gr_outcome_release(&outcome);
    return distance;
}

static void features_are_of_images_less_the_mean_of_the_pack(void **state)
{
    (void)state;
    const struct gr_statistics known = train_on_a_pack();
    struct gr_features *remembered = features_of("remembered.st", "train.batch=8");
    struct gr_features *told =
        features_of("told.st", with_mean(known.mean[0], known.mean[1], known.mean[2]));
    struct gr_features *usual = features_of("usual.st", with_usual_mean());
    assert_true(apart(remembered, told) < 1e-6);
    assert_true(apart(remembered, usual) > 1e-3);
    gr_features_free(remembered);
    gr_features_free(told);
    gr_features_free(usual);
    /* And those of an image that is looked for. */
    gr_pack_copy_file("photos/ash/ash_000.png", "copy.png");
    assert_true(distance_to_a_copy("remembered.st", "train.batch=8") < 1e-5);
    assert_true(distance_to_a_copy("usual.st", "train.batch=8") > 1e-3);
}

/* Trained on folders, a model has had ImageNet's mean, and keeps it where a pack is near. */
static void weights_of_other_data_do_not_get_the_colours_of_a_pack(void **state)
{
    (void)state;
    struct gr_outcome outcome = gr_tool_run(0, "data", "pack", gr_tool_model(), "train", "--set",
                                            "data.train={imagefolder: {path: photos}}", "-o",
                                            gr_pack_at("packed"), "--size", "16", NULL);
    gr_outcome_release(&outcome);
    outcome = gr_tool_run(0, "train", gr_tool_model(), "--set", parts, "--set",
                          "data.train={imagefolder: {path: photos}, transform: [{crop: {size: 8}}, "
                          "mean, scale]}",
                          "--out", gr_pack_at("run"), "--epochs", "1", NULL);
    gr_outcome_release(&outcome);
    const double usual = loss_of("run/best.safetensors", with_usual_mean());
    assert_true(fabs(loss_of("run/best.safetensors", "train.batch=8") - usual) < 1e-6);
}

#define SENTENCE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SENTENCE(its_statistics_are_those_of_plain_loops),
        SENTENCE(transforms_without_numbers_take_those_of_the_pack),
        SENTENCE(a_mean_of_other_channels_is_refused),
        SENTENCE(weights_remember_the_colours_of_the_pack),
        SENTENCE(features_are_of_images_less_the_mean_of_the_pack),
        SENTENCE(weights_of_other_data_do_not_get_the_colours_of_a_pack),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
