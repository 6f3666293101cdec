/*
 * Packs as a source: every image that went in comes out, with its label; what is not whole is
 * refused.
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

#include "data/source_images.h"
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
    assert_null(gr_pack_data_try_open(&test, source, attr, path, NULL, 0, &err));
    assert_int_equal(err.status, GR_ERR_DATA);
    gr_tool_contains(err.message, says);
}

/* ---- what goes in comes out -------------------------------------------------------------- */

/* Every picture once, with its label and about its pixels. */
static void expect_all(const struct gr_dataset *packed, bool names)
{
    static float out[GR_PACK_PIXELS], in[GR_PACK_PIXELS];
    struct gr_dataset *original =
        gr_pack_data_open(&test, "imagefolder", "path", "photos", as_packed, 2);
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
        gr_pack_data_read(packed, i, out);
        gr_pack_data_read(original, picture, in);
        for (int k = 0; k < GR_PACK_PIXELS; k++) {
            assert_true(fabsf(out[k] - in[k]) < 24);
            error += (double)((out[k] - in[k]) * (out[k] - in[k])) / GR_PACK_PIXELS;
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
    gr_pack_make("out", NULL, NULL);
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
        struct gr_dataset *packed =
            gr_pack_data_open(&test, sources[i][0], sources[i][1], "out", NULL, 0);
        expect_all(packed, true);
        assert_true(gr_dataset_mixed(packed));
        gr_dataset_free(packed);
    }
}

/* Without the index, as other people's programs would. */
static void its_archives_are_webdatasets(void **state)
{
    (void)state;
    gr_pack_make("out", NULL, NULL);
    struct gr_dataset *packed =
        gr_pack_data_open(&test, "webdataset", "shards", "out/*.tar", as_packed + 2, 1);
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
    gr_pack_make("mixed", NULL, NULL);
    gr_pack_make("plain", "--order", "source");
    struct gr_dataset *mixed = gr_pack_data_open(&test, "pack", "path", "mixed", NULL, 0);
    struct gr_dataset *plain = gr_pack_data_open(&test, "pack", "path", "plain", NULL, 0);
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
    gr_pack_make("out", "--keep", "whole");
    struct gr_error err = {0};
    assert_null(gr_pack_data_try_open(&test, "pack", "path", "out", resized, 1,
                                      &err)); /* they differ in size */
    gr_tool_contains(err.message, "images differ in size");
    struct gr_dataset *packed = gr_pack_data_open(&test, "pack", "path", "out", as_packed, 2);
    expect_all(packed, true); /* their centres are those of the originals */
    gr_dataset_free(packed);
}

/* ---- models ------------------------------------------------------------------------------ */

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
    struct gr_dataset *train = gr_pack_data_open(&test, "pack", "path", "packed/train", NULL, 0);
    struct gr_dataset *val = gr_pack_data_open(&test, "pack", "path", "packed/val", NULL, 0);
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

/* As predict and features need it, whose photographs were never packed. */
static void a_further_image_is_made_as_packing_made_the_others(void **state)
{
    static const char *const sources[] = {"pack", "imagefolder", "imagenet"};
    static float further[GR_PACK_PIXELS], original[GR_PACK_PIXELS];
    const struct gr_shape shape = {3, {3, GR_PACK_SIDE, GR_PACK_SIDE}};
    struct gr_images_attrs none = {0};
    struct gr_data_part part;
    struct gr_error err = {0};
    char attrs[GR_FOLDER_PATH + 64], name[1024];
    (void)state;
    gr_pack_make("out", NULL, NULL);
    gr_pack_make("whole", "--keep", "whole");
    struct gr_dataset *photos =
        gr_pack_data_open(&test, "imagefolder", "path", "photos", as_packed, 2);
    for (int i = 0; i < 6; i++) {
        snprintf(attrs, sizeof attrs, "path=%s", gr_pack_at("out"));
        const struct gr_data_part *like = gr_data_case_part(&test, sources[i % 3], attrs, NULL, 0);
        assert_true(gr_images_part(like, &shape, &none, &test.pool, &part, &err));
        gr_dataset_sample_name(photos, i, name, sizeof name);
        assert_true(gr_data_part_image(&part, &shape, name, further, &err));
        gr_pack_data_read(photos, i, original);
        assert_memory_equal(further, original, sizeof original);
    }
    /* Where pictures were left whole, only transforms can know. */
    snprintf(attrs, sizeof attrs, "path=%s", gr_pack_at("whole"));
    assert_true(gr_images_part(gr_data_case_part(&test, "pack", attrs, NULL, 0), &shape, &none,
                               &test.pool, &part, &err));
    assert_int_equal(part.n_transforms, 0);
    gr_dataset_free(photos);
}

/* ---- what is not whole ------------------------------------------------------------------- */

static void a_pack_that_is_not_finished_is_refused(void **state)
{
    static const char says[] = "out: the pack is not finished: the `graph-runner data pack` that "
                               "began it, run again, goes on where it stopped";
    (void)state;
    gr_pack_make("out", NULL, NULL);
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
    gr_pack_make("out", NULL, NULL);
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
    gr_pack_make("out", NULL, NULL);
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
        SENTENCE(each_part_of_a_model_becomes_a_folder),
        SENTENCE(data_that_are_no_files_can_be_packed),
        SENTENCE(a_further_image_is_made_as_packing_made_the_others),
        SENTENCE(a_pack_that_is_not_finished_is_refused),
        SENTENCE(a_damaged_pack_is_told),
        SENTENCE(more_classes_than_the_model_has_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
