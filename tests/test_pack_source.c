/*
 * Packs as a source: every image that went in comes out, with its label; what the pack knows of its
 * colours reaches the network and its weights; what is not whole is refused.
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
#include <sys/stat.h>
#include <unistd.h>

#include "data/pack_index.h"
#include "data/source.h"
#include "support/data_case.h"
#include "support/pack_case.h"

enum { SIDE = 48, PIXELS = SIDE * SIDE * 3 };

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

static void pack(const char *out, const char *option, const char *value)
{
    struct gr_outcome outcome = gr_pack_run(0, out, option, value);
    gr_outcome_release(&outcome);
}

/* A dataset of 48×48 pictures; NULL, with *err set, where it cannot be opened. */
static struct gr_dataset *try_open(const char *source, const char *attr, const char *path,
                                   const char *const *transforms, int n, struct gr_error *err)
{
    const struct gr_shape shape = {3, {3, SIDE, SIDE}};
    char attrs[GR_FOLDER_PATH + 64];
    snprintf(attrs, sizeof attrs, "%s=%s", attr, gr_pack_at(path));
    return gr_dataset_open(gr_data_case_part(&test, source, attrs, transforms, n), &shape, 0,
                           gr_data_case_log, &test, err);
}

static struct gr_dataset *open_as(const char *source, const char *attr, const char *path,
                                  const char *const *transforms, int n)
{
    struct gr_error err = {0};
    struct gr_dataset *dataset = try_open(source, attr, path, transforms, n, &err);
    assert_string_equal(err.message, "");
    return dataset;
}

static void read_sample(const struct gr_dataset *dataset, int64_t index, float pixels[PIXELS])
{
    const struct gr_draw draw = {0};
    struct gr_scratch *scratch = gr_scratch_new();
    struct gr_error err = {0};
    if (gr_dataset_read(dataset, index, &draw, scratch, pixels, &err) != GR_READ_DONE)
        fail_msg("%s", err.message);
    gr_scratch_free(scratch);
}

/* The number in the name of a picture: 12 of ".../cedar_012.png" or "...-cedar_012.jpg". */
static int picture_of(const struct gr_dataset *dataset, int64_t index)
{
    char name[1024];
    gr_dataset_sample_name(dataset, index, name, sizeof name);
    return atoi(strrchr(name, '_') + 1);
}

static void refused(const char *source, const char *attr, const char *path, const char *says)
{
    struct gr_error err = {0};
    assert_null(try_open(source, attr, path, NULL, 0, &err));
    assert_int_equal(err.status, GR_ERR_DATA);
    gr_tool_contains(err.message, says);
}

/* ---- what goes in comes out -------------------------------------------------------------- */

/* Every picture once, with its label and about its pixels. */
static void expect_all(const struct gr_dataset *packed, bool names)
{
    static float out[PIXELS], in[PIXELS];
    struct gr_dataset *original = open_as("imagefolder", "path", "photos", as_packed, 2);
    bool seen[GR_PACK_PICTURES] = {false};
    assert_int_equal(gr_dataset_count(packed), GR_PACK_PICTURES);
    for (int64_t i = 0; i < GR_PACK_PICTURES; i++) {
        const int picture = picture_of(packed, i);
        double error = 0;
        assert_int_equal(picture_of(original, picture), picture);
        assert_false(seen[picture]);
        seen[picture] = true;
        const int32_t label = gr_dataset_label(packed, i);
        assert_int_equal(label, gr_dataset_label(original, picture));
        if (names)
            assert_string_equal(gr_dataset_class_name(packed, label),
                                gr_dataset_class_name(original, label));
        read_sample(packed, i, out);
        read_sample(original, picture, in);
        for (int k = 0; k < PIXELS; k++) {
            assert_true(fabsf(out[k] - in[k]) < 24);
            error += (double)((out[k] - in[k]) * (out[k] - in[k])) / PIXELS;
        }
        assert_true(sqrt(error) < 4.5); /* coloured noise is the worst there is */
    }
    gr_dataset_free(original);
}

static void every_source_that_takes_a_folder_reads_a_pack(void **state)
{
    static const char *const sources[][2] = {
        {"pack", "path"}, {"imagefolder", "path"}, {"imagenet", "path"}, {"webdataset", "shards"}};
    (void)state;
    pack("out", NULL, NULL);
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
        struct gr_dataset *packed = open_as(sources[i][0], sources[i][1], "out", NULL, 0);
        expect_all(packed, true);
        assert_true(gr_dataset_mixed(packed));
        gr_dataset_free(packed);
    }
}

/* Without the index, as other people's programs would. */
static void its_archives_are_webdatasets(void **state)
{
    (void)state;
    pack("out", NULL, NULL);
    struct gr_dataset *packed = open_as("webdataset", "shards", "out/*.tar", as_packed + 2, 1);
    expect_all(packed, false);
    gr_dataset_free(packed);
    struct gr_outcome outcome = gr_tool_run(0, "data", "check", gr_pack_at("out"), NULL);
    gr_tool_contains(outcome.out, "unreadable: skipped in training");
    gr_outcome_release(&outcome);
}

static void its_order_is_mixed_once_or_that_of_the_source(void **state)
{
    (void)state;
    int moved = 0;
    pack("mixed", NULL, NULL);
    pack("plain", "--order", "source");
    struct gr_dataset *mixed = open_as("pack", "path", "mixed", NULL, 0);
    struct gr_dataset *plain = open_as("pack", "path", "plain", NULL, 0);
    for (int i = 0; i < GR_PACK_PICTURES; i++) {
        assert_int_equal(picture_of(plain, i), i);
        moved += picture_of(mixed, i) != i;
    }
    assert_true(moved > GR_PACK_PICTURES / 2);
    assert_false(gr_dataset_mixed(plain));
    gr_dataset_free(mixed);
    gr_dataset_free(plain);
}

static void the_whole_of_a_picture_can_be_kept(void **state)
{
    static const char *const resized[] = {"resize", "shortest=48"};
    (void)state;
    pack("out", "--keep", "whole");
    struct gr_error err = {0};
    assert_null(try_open("pack", "path", "out", resized, 1, &err)); /* they differ in size */
    gr_tool_contains(err.message, "images differ in size");
    struct gr_dataset *packed = open_as("pack", "path", "out", as_packed, 2);
    expect_all(packed, true); /* their centres are those of the originals */
    gr_dataset_free(packed);
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
    static float pixels[GR_PACK_PICTURES][PIXELS];
    double mean[3] = {0}, covariance[9] = {0};
    const double count = GR_PACK_PICTURES * SIDE * SIDE;
    (void)state;
    pack("out", NULL, NULL);
    const struct gr_statistics known = known_of("out");
    struct gr_dataset *original = open_as("imagefolder", "path", "photos", as_packed, 2);
    for (int i = 0; i < GR_PACK_PICTURES; i++) {
        read_sample(original, i, pixels[i]);
        for (int k = 0; k < PIXELS; k++)
            mean[k / (SIDE * SIDE)] += (double)pixels[i][k] / count;
    }
    for (int i = 0; i < GR_PACK_PICTURES; i++)
        for (int k = 0; k < SIDE * SIDE; k++)
            for (int c = 0; c < 9; c++)
                covariance[c] += ((double)pixels[i][c / 3 * SIDE * SIDE + k] - mean[c / 3]) / 255 *
                                 ((double)pixels[i][c % 3 * SIDE * SIDE + k] - mean[c % 3]) / 255 /
                                 count;
    for (int c = 0; c < 3; c++)
        assert_true(fabs(known.mean[c] - mean[c]) < 1e-9);
    for (int c = 0; c < 9; c++)
        assert_true(fabs(known.covariance[c] - covariance[c]) < 1e-12);
    gr_dataset_free(original);
}

/* Values of sample 0 in epoch 0, with the statistics given to the part. */
static void transform(const char *const *transforms, int n, const struct gr_statistics *statistics,
                      float out[PIXELS])
{
    const struct gr_shape shape = {3, {3, SIDE, SIDE}};
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
    static float own[PIXELS], given[PIXELS], usual[PIXELS];
    (void)state;
    pack("out", NULL, NULL);
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
    for (int k = 0; k < PIXELS; k++) {
        assert_true(fabsf(own[k] - given[k]) < 1e-6f);
        sum += (double)own[k] / PIXELS;
        apart += fabs((double)(own[k] - usual[k])) / PIXELS;
    }
    assert_true(fabs(sum) < 0.5);
    assert_true(apart > 0.01); /* ImageNet's are others */
}

static void a_mean_of_other_channels_is_refused(void **state)
{
    static const char *const mean[] = {"mean", NULL};
    const struct gr_statistics grey = {.channels = 1};
    const struct gr_shape shape = {3, {3, SIDE, SIDE}};
    struct gr_error err = {0};
    char attrs[GR_FOLDER_PATH + 64];
    (void)state;
    pack("out", NULL, NULL);
    snprintf(attrs, sizeof attrs, "path=%s", gr_pack_at("out"));
    struct gr_data_part *part = gr_data_case_part(&test, "pack", attrs, mean, 1);
    part->statistics = &grey;
    assert_null(gr_dataset_open(part, &shape, 0, NULL, NULL, &err));
    gr_tool_contains(err.message, "data.train: mean: the pack of the training data knows that of 1 "
                                  "channel, but samples have 3: give values");
}

/* ---- models ------------------------------------------------------------------------------ */

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

static void weights_remember_the_colours_of_the_pack(void **state)
{
    struct gr_error err = {0};
    char explicit_mean[512];
    (void)state;
    struct gr_outcome outcome = gr_tool_run(0, "data", "pack", gr_tool_model(), "train", "--set",
                                            "data.train={imagefolder: {path: photos}}", "-o",
                                            gr_pack_at("packed"), "--size", "16", NULL);
    gr_outcome_release(&outcome);
    const struct gr_statistics known = known_of("packed/train");
    outcome = gr_tool_run(0, "train", gr_tool_model(), "--set", parts, "--out", gr_pack_at("run"),
                          "--epochs", "1", NULL);
    gr_outcome_release(&outcome);
    assert_int_equal(rename(gr_pack_at("packed"), gr_pack_at("away")), 0);
    struct gr_tensor_file *file = gr_tensor_file_read(gr_pack_at("run/best.safetensors"), &err);
    struct gr_statistics kept;
    assert_true(gr_statistics_parse_text(gr_tensor_file_metadata(file, "statistics"), &kept, NULL));
    assert_memory_equal(&kept, &known, sizeof kept);
    gr_tensor_file_free(file);
    /* Without the pack the mean is still the pack's, and not ImageNet's. */
    snprintf(explicit_mean, sizeof explicit_mean,
             "data.val.transform=[{resize: {shortest: 16}}, {crop: {size: 8}}, {mean: {values: "
             "[%.17g, %.17g, %.17g]}}, scale]",
             known.mean[0], known.mean[1], known.mean[2]);
    const double remembered = loss_of("run/best.safetensors", "train.batch=8");
    const double told = loss_of("run/best.safetensors", explicit_mean);
    const double usual = loss_of("run/best.safetensors",
                                 "data.val.transform=[{resize: {shortest: 16}}, {crop: {size: 8}}, "
                                 "{mean: {values: [123.68, 116.779, 103.939]}}, scale]");
    assert_true(fabs(remembered - told) < 1e-6);
    assert_true(fabs(remembered - usual) > 1e-4);
    outcome =
        gr_tool_run(0, "predict", gr_tool_model(), "--weights", gr_pack_at("run/best.safetensors"),
                    "--set", parts, gr_pack_at("photos/ash/ash_000.png"), NULL);
    gr_outcome_release(&outcome);
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
    const double usual = loss_of("run/best.safetensors",
                                 "data.val.transform=[{resize: {shortest: 16}}, {crop: {size: 8}}, "
                                 "{mean: {values: [123.68, 116.779, 103.939]}}, scale]");
    assert_true(fabs(loss_of("run/best.safetensors", "train.batch=8") - usual) < 1e-6);
}

static void each_part_of_a_model_becomes_a_folder(void **state)
{
    (void)state;
    struct gr_outcome outcome = gr_tool_run(0, "data", "pack", gr_tool_model(), "--set",
                                            "data.train={imagefolder: {path: photos}}", "--set",
                                            "data.val={imagefolder: {path: photos}}", "-o",
                                            gr_pack_at("packed"), "--size", "48", NULL);
    gr_tool_contains(outcome.out, "mean of train");
    gr_tool_lacks(outcome.out, "mean of val");
    gr_outcome_release(&outcome);
    struct gr_dataset *train = open_as("pack", "path", "packed/train", NULL, 0);
    struct gr_dataset *val = open_as("pack", "path", "packed/val", NULL, 0);
    assert_true(gr_dataset_mixed(train));
    assert_false(gr_dataset_mixed(val)); /* nobody shuffles it */
    gr_dataset_free(train);
    gr_dataset_free(val);
}

/* Made-up pictures are no files; those of one channel stay grey. */
static void data_that_are_no_files_can_be_packed(void **state)
{
    (void)state;
    struct gr_outcome outcome = gr_tool_run(0, "data", "pack", gr_tool_model(), "train", "--set",
                                            "inputs.image.shape=[1, 8, 8]", "-o",
                                            gr_pack_at("packed"), "--size", "8", "--json", NULL);
    json_t *packs = gr_tool_parse(outcome.out);
    const json_t *one = json_array_get(packs, 0);
    assert_int_equal(gr_tool_number(one, "images"), 64);
    assert_int_equal(json_array_size(json_object_get(one, "mean")), 1);
    assert_int_equal(json_array_size(json_object_get(one, "eigenvalues")), 0);
    json_decref(packs);
    gr_outcome_release(&outcome);
    outcome = gr_tool_run(0, "train", gr_tool_model(), "--set", "inputs.image.shape=[1, 8, 8]",
                          "--set", "data={train: {pack: {path: packed/train}, transform: [mean]}}",
                          "--out", gr_pack_at("run"), "--epochs", "1", NULL);
    gr_outcome_release(&outcome);
}

/* ---- what is not whole ------------------------------------------------------------------- */

static void a_pack_that_is_not_finished_is_refused(void **state)
{
    static const char says[] = "out: the pack is not finished: the `graph-runner data pack` that "
                               "began it, run again, goes on where it stopped";
    (void)state;
    pack("out", NULL, NULL);
    assert_int_equal(rename(gr_pack_at("out/index.jsonl"), gr_pack_at("out/unfinished.jsonl")), 0);
    refused("pack", "path", "out", says);
    refused("imagefolder", "path", "out", says);
    refused("imagenet", "path", "out", says);
    refused("webdataset", "shards", "out", says);
    refused("webdataset", "shards", "out/*.tar", says);
    struct gr_outcome outcome = gr_tool_run(4, "data", "check", gr_pack_at("out"), NULL);
    gr_tool_contains(outcome.err, says);
    gr_outcome_release(&outcome);
}

static void change_index(const char *from, const char *to)
{
    char *text = gr_tool_read(gr_pack_at("out/index.jsonl"));
    char *at = strstr(text, from);
    assert_true(at && strlen(from) == strlen(to));
    memcpy(at, to, strlen(to));
    gr_tool_save(gr_pack_at("out/index.jsonl"), text);
    free(text);
}

static void a_damaged_pack_is_told(void **state)
{
    struct stat status;
    (void)state;
    refused("pack", "path", "none", "none/index.jsonl: cannot open: No such file or directory");
    pack("out", NULL, NULL);
    gr_pack_copy_file("out/index.jsonl", "kept");
    change_index("\"labels\":[", "\"labels\":{");
    refused("pack", "path", "out", "out/index.jsonl: damaged: it is cut short");
    gr_pack_copy_file("kept", "out/index.jsonl");
    change_index("\"offsets\":[", "\"offsetx\":[");
    refused("pack", "path", "out", "index.jsonl: damaged: its images are not as many");
    gr_pack_copy_file("kept", "out/index.jsonl");
    change_index("\"offsets\":[512", "\"offsets\":[-12");
    refused("pack", "path", "out", "index.jsonl: damaged: a line is not that of a shard");
    gr_pack_copy_file("kept", "out/index.jsonl");
    change_index("\"classes\":4", "\"classes\":2");
    refused("pack", "path", "out", "index.jsonl: damaged: a label is beyond its classes");
    gr_pack_copy_file("kept", "out/index.jsonl");
    change_index("runner pack 1", "runner pack 9");
    refused("pack", "path", "out", "index.jsonl: damaged: it does not begin as one");
    gr_pack_copy_file("kept", "out/index.jsonl");
    assert_int_equal(stat(gr_pack_at("out/index.jsonl"), &status), 0);
    assert_int_equal(truncate(gr_pack_at("out/index.jsonl"), status.st_size - 3), 0);
    refused("pack", "path", "out", "index.jsonl: damaged: it is cut short");
    gr_pack_copy_file("kept", "out/index.jsonl");
    assert_int_equal(truncate(gr_pack_at("out/000001.tar"), 5000), 0);
    refused("pack", "path", "out", "out/000001.tar: 5000 bytes, but the index of its pack says");
    assert_int_equal(unlink(gr_pack_at("out/000001.tar")), 0);
    refused("pack", "path", "out", "out/000001.tar: cannot open: No such file or directory");
}

static void more_classes_than_the_model_has_are_told(void **state)
{
    (void)state;
    pack("out", NULL, NULL);
    struct gr_outcome outcome =
        gr_tool_run(4, "train", gr_tool_model(), "--set",
                    "data={train: {pack: {path: out}, transform: [{crop: "
                    "{size: 8}}]}}",
                    "--set", "inputs.label.classes=2", "--set", "class_names=[a, b]", "--set",
                    "nodes.fc.out_features=2", "--out", gr_pack_at("run"), NULL);
    gr_tool_contains(outcome.err, "/out: 4 classes, but the model's label has 2");
    gr_outcome_release(&outcome);
}

#define SENTENCE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SENTENCE(every_source_that_takes_a_folder_reads_a_pack),
        SENTENCE(its_archives_are_webdatasets),
        SENTENCE(its_order_is_mixed_once_or_that_of_the_source),
        SENTENCE(the_whole_of_a_picture_can_be_kept),
        SENTENCE(its_statistics_are_those_of_plain_loops),
        SENTENCE(transforms_without_numbers_take_those_of_the_pack),
        SENTENCE(a_mean_of_other_channels_is_refused),
        SENTENCE(weights_remember_the_colours_of_the_pack),
        SENTENCE(weights_of_other_data_do_not_get_the_colours_of_a_pack),
        SENTENCE(each_part_of_a_model_becomes_a_folder),
        SENTENCE(data_that_are_no_files_can_be_packed),
        SENTENCE(a_pack_that_is_not_finished_is_refused),
        SENTENCE(a_damaged_pack_is_told),
        SENTENCE(more_classes_than_the_model_has_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
