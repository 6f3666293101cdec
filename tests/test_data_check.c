/*
 * graph-runner data check: what it finds in data, and how it ends.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/folder.h"
#include "support/make_jpeg.h"
#include "support/make_png.h"
#include "support/make_tar.h"
#include "support/tool.h"

enum { CHECKED = 9 };

static char path[GR_FOLDER_PATH];

/* A path in the folder; the folders on the way are made. */
static const char *at(const char *name)
{
    gr_folder_file(name, path);
    for (char *p = path + strlen(gr_folder()) + 1; (p = strchr(p, '/')); *p++ = '/') {
        *p = 0;
        mkdir(path, 0700);
    }
    return path;
}

static void picture(const char *name, int side, int red)
{
    assert_true(gr_make_plain_jpeg(at(name), side, side, (uint8_t)red, 0, 0));
}

static void copy(const char *from, const char *to, size_t most)
{
    static uint8_t bytes[1 << 16];
    FILE *file = fopen(at(from), "rb");
    assert_non_null(file);
    const size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    file = fopen(at(to), "wb");
    assert_non_null(file);
    const size_t kept = size < most ? size : most;
    assert_int_equal(fwrite(bytes, 1, kept, file), kept);
    assert_int_equal(fclose(file), 0);
}

/* One image of each kind in train, two in val, of which one is in train too. */
static void make_data(void)
{
    uint8_t pixels[16 * 16 * 4];
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i * 37 % 251);
    picture("train/ash/0.jpg", 16, 10);
    picture("train/ash/1.jpg", 16, 20);
    picture("train/ash/2 small.jpg", 7, 30);
    assert_true(gr_make_jpeg(at("train/birch/cmyk.jpg"), pixels, 16, 16, 4, 90, false));
    assert_true(gr_make_jpeg(at("train/birch/grey.jpg"), pixels, 16, 16, 1, 90, true));
    assert_true(gr_make_rgb_png(at("train/birch/png.JPEG"), pixels, 16, 16));
    const uint8_t exif[] = {'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 1, 18, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0};
    const struct gr_make_png turned = {
        .height = 16, .width = 16, .colour = 2, .depth = 8, .exif = exif, .exif_size = sizeof exif};
    assert_true(gr_make_png(at("train/cedar/turned.png"), &turned, pixels));
    assert_true(gr_make_jpeg(at("noise.jpg"), pixels, 16, 16, 3, 90, false));
    copy("noise.jpg", "train/cedar/cut.jpg", 700);
    copy("train/ash/1.jpg", "train/cedar/twice.jpg", SIZE_MAX);
    picture("val/ash/5.jpg", 16, 90);
    copy("train/ash/0.jpg", "val/birch/leak.jpg", SIZE_MAX);
    picture("val/cedar/6.jpg", 16, 150);
}

static int set_up(void **state)
{
    if (gr_tool_set_up(state) != 0)
        return -1;
    make_data();
    return 0;
}

/* The model's data are the folders made here. */
static const char *const train = "data.train={imagefolder: {path: train}}";
static const char *const val = "data.val={imagefolder: {path: val}}";

static json_int_t count_of(const json_t *report, const char *trait)
{
    return json_integer_value(json_object_get(json_object_get(report, "counts"), trait));
}

/* The image that a finding of the trait names, and its text, "NAME: TEXT" with the folder cut. */
static const char *finding(const json_t *report, const char *trait)
{
    static char text[2 * GR_FOLDER_PATH];
    const size_t folder = strlen(gr_folder()) + 1;
    size_t i;
    const json_t *item;
    json_array_foreach(json_object_get(report, "findings"), i, item)
    {
        if (strcmp(json_string_value(json_object_get(item, "trait")), trait) != 0)
            continue;
        const char *why = json_string_value(json_object_get(item, "text"));
        snprintf(text, sizeof text, "%s: %s",
                 json_string_value(json_object_get(item, "image")) + folder, why ? why : "");
        return text;
    }
    return "";
}

static void every_kind_of_image_is_found(void **state)
{
    (void)state;
    struct gr_outcome outcome = gr_tool_run(4, "data", "check", gr_tool_model(), "--set", train,
                                            "--set", val, "--threads", "3", "--json", NULL);
    gr_tool_contains(outcome.err, "graph-runner: 1 unreadable image");
    json_t *reports = gr_tool_parse(outcome.out);
    assert_int_equal(json_array_size(reports), 2);
    const json_t *first = json_array_get(reports, 0), *second = json_array_get(reports, 1);
    assert_string_equal(json_string_value(json_object_get(first, "data")), "train");
    assert_int_equal(gr_tool_number(first, "images"), CHECKED);
    static const char *const once[] = {"unreadable", "duplicate", "tiny", "disguised",
                                       "turned",     "cmyk",      "grey"};
    for (size_t i = 0; i < sizeof once / sizeof *once; i++)
        if (count_of(first, once[i]) != 1)
            fail_msg("%s: %d in %s", once[i], (int)count_of(first, once[i]), outcome.out);
    assert_string_equal(finding(first, "tiny"), "train/ash/2 small.jpg: 7×7");
    assert_string_equal(finding(first, "cmyk"), "train/birch/cmyk.jpg: ");
    assert_string_equal(finding(first, "grey"), "train/birch/grey.jpg: ");
    assert_string_equal(finding(first, "disguised"), "train/birch/png.JPEG: a PNG file");
    assert_string_equal(finding(first, "turned"), "train/cedar/turned.png: orientation 6");
    assert_non_null(strstr(finding(first, "unreadable"), "train/cedar/cut.jpg: corrupt JPEG: "));
    assert_non_null(strstr(finding(first, "duplicate"), "train/cedar/twice.jpg: "));
    assert_non_null(strstr(finding(first, "duplicate"), "train/ash/1.jpg"));
    assert_int_equal(count_of(second, "duplicate"), 1);
    assert_non_null(strstr(finding(second, "duplicate"), "val/birch/leak.jpg: "));
    assert_non_null(strstr(finding(second, "duplicate"), "/train/ash/0.jpg"));
    const json_t *classes = json_object_get(first, "classes");
    assert_int_equal(json_array_size(classes), 3);
    assert_string_equal(json_string_value(json_object_get(json_array_get(classes, 1), "name")),
                        "birch");
    assert_int_equal(gr_tool_number(first, "least"), 3);
    json_decref(reports);
    gr_outcome_release(&outcome);
}

/* The result must not depend on the number of threads, but for the seconds. */
static void threads_do_not_show(void **state)
{
    (void)state;
    json_t *reports[2];
    for (int i = 0; i < 2; i++) {
        struct gr_outcome outcome = gr_tool_run(4, "data", "check", at("train"), at("train"),
                                                "--threads", i ? "7" : "1", "--json", NULL);
        reports[i] = gr_tool_parse(outcome.out);
        for (size_t k = 0; k < json_array_size(reports[i]); k++)
            json_object_del(json_array_get(reports[i], k), "seconds");
        gr_outcome_release(&outcome);
    }
    assert_true(json_equal(reports[0], reports[1]));
    assert_int_equal(count_of(json_array_get(reports[0], 1), "duplicate"), CHECKED - 1);
    json_decref(reports[0]);
    json_decref(reports[1]);
}

static void tables_say_what_there_is(void **state)
{
    (void)state;
    struct gr_outcome outcome =
        gr_tool_run(0, "data", "check", gr_tool_model(), "val", "--set", train, "--set", val, NULL);
    gr_tool_contains(outcome.out, "data  images");
    gr_tool_contains(outcome.out, "val        3");
    gr_tool_contains(outcome.out, "unreadable: skipped in training    0");
    gr_outcome_release(&outcome);
    outcome = gr_tool_run(4, "data", "check", at("train"), "--list", "0", NULL);
    gr_tool_lacks(outcome.out, "twice.jpg");
    gr_outcome_release(&outcome);
    outcome = gr_tool_run(0, "data", "check", gr_tool_model(), NULL); /* made up: only counted */
    gr_tool_contains(outcome.out, "classes");
    gr_tool_lacks(outcome.out, "unreadable");
    gr_outcome_release(&outcome);
}

static json_int_t tiny_of(struct gr_outcome outcome)
{
    json_t *reports = gr_tool_parse(outcome.out);
    const json_int_t tiny = count_of(json_array_get(reports, 0), "tiny");
    json_decref(reports);
    gr_outcome_release(&outcome);
    return tiny;
}

static void without_a_model_tiny_is_what_the_command_line_says(void **state)
{
    (void)state;
    char folder[GR_FOLDER_PATH];
    snprintf(folder, sizeof folder, "%s", at("train"));
    struct gr_outcome outcome = gr_tool_run(4, "data", "check", folder, NULL);
    gr_tool_contains(outcome.out, "input                           -\n");
    gr_outcome_release(&outcome);
    assert_int_equal(
        tiny_of(gr_tool_run(4, "data", "check", folder, "--size", "16", "--json", NULL)), 1);
    assert_int_equal(
        tiny_of(gr_tool_run(4, "data", "check", folder, "--size", "7x17", "--json", NULL)), 8);
    /* Or the model, whose input is 8×8, says it. */
    assert_int_equal(
        tiny_of(gr_tool_run(4, "data", "check", gr_tool_model(), folder, "--json", NULL)), 1);
    outcome = gr_tool_run(2, "data", "check", folder, "--size", "16x", NULL);
    gr_tool_contains(outcome.err, "'16x' is not a size in pixels");
    gr_outcome_release(&outcome);
    outcome = gr_tool_run(2, "data", "check", gr_tool_model(), "--size", "16", NULL);
    gr_tool_contains(outcome.err, "--size is for paths without a model");
    gr_outcome_release(&outcome);
    outcome = gr_tool_run(3, "data", "check", gr_tool_model(), "vla", NULL);
    gr_tool_contains(outcome.err, "the data section has no part 'vla'");
    gr_outcome_release(&outcome);
}

static void archives_are_looked_through_in_place(void **state)
{
    (void)state;
    struct gr_make_tar classes = {0}, shard = {0};
    char tar[GR_FOLDER_PATH];
    gr_make_tar_add_file(&classes, "ash/0.jpg", at("train/ash/0.jpg"));
    gr_make_tar_add_file(&classes, "birch/cut.jpg", at("train/cedar/cut.jpg"));
    gr_make_tar_end(&classes);
    gr_make_tar_write(&classes, at("classes.tar"));
    gr_make_tar_release(&classes);
    snprintf(tar, sizeof tar, "%s", path);
    struct gr_outcome outcome = gr_tool_run(4, "data", "check", tar, NULL);
    gr_tool_contains(outcome.out, "classes.tar:birch/cut.jpg");
    gr_outcome_release(&outcome);
    gr_make_tar_add_file(&shard, "7.jpg", at("train/ash/0.jpg"));
    gr_make_tar_add(&shard, '0', "7.cls", "2", 1);
    gr_make_tar_end(&shard);
    gr_make_tar_write(&shard, at("shard-1.tar"));
    outcome = gr_tool_run(0, "data", "check", at("shard-1.tar"), "--json", NULL);
    json_t *reports = gr_tool_parse(outcome.out);
    assert_int_equal(gr_tool_number(json_array_get(reports, 0), "empty"), 2);
    json_decref(reports);
    gr_outcome_release(&outcome);
    shard.size -= 1024;
    gr_make_tar_write(&shard, at("shard-2.tar"));
    gr_make_tar_release(&shard);
    outcome = gr_tool_run(4, "data", "check", at("shard-{1..2}.tar"), NULL);
    gr_tool_contains(outcome.err, "shard-2.tar: cut short: ");
    gr_outcome_release(&outcome);
}

/* Its name stands before the reason, not in it as well. */
static void a_file_that_cannot_be_opened_is_unreadable(void **state)
{
    (void)state;
    assert_int_equal(symlink("nowhere", at("train/ash/dead.jpg")), 0);
    struct gr_outcome outcome = gr_tool_run(4, "data", "check", at("train"), NULL);
    gr_tool_contains(outcome.out, "/train/ash/dead.jpg ");
    gr_tool_contains(outcome.out, "  cannot open: No such file or directory");
    gr_outcome_release(&outcome);
}

static void what_cannot_be_opened_ends_with_the_code_of_data(void **state)
{
    (void)state;
    struct gr_outcome outcome = gr_tool_run(4, "data", "check", at("none"), NULL);
    gr_tool_contains(outcome.err, "/none: cannot open: No such file or directory");
    gr_outcome_release(&outcome);
    at("val/dogwood/x");
    outcome = gr_tool_run(4, "data", "check", gr_tool_model(), "val", "--set", val, NULL);
    gr_tool_contains(outcome.err, "class \"dogwood\" is empty");
    gr_outcome_release(&outcome);
    outcome = gr_tool_run(3, "data", "check", gr_tool_model(), "vall", NULL);
    gr_tool_contains(outcome.err, "the data section has no part 'vall'");
    gr_outcome_release(&outcome);
    outcome = gr_tool_run(2, "data", "check", NULL);
    gr_tool_contains(outcome.err, "MODEL|PATH is missing");
    gr_outcome_release(&outcome);
}

#define SENTENCE(name) cmocka_unit_test_setup_teardown(name, set_up, gr_folder_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SENTENCE(every_kind_of_image_is_found),
        SENTENCE(threads_do_not_show),
        SENTENCE(tables_say_what_there_is),
        SENTENCE(without_a_model_tiny_is_what_the_command_line_says),
        SENTENCE(archives_are_looked_through_in_place),
        SENTENCE(a_file_that_cannot_be_opened_is_unreadable),
        SENTENCE(what_cannot_be_opened_ends_with_the_code_of_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
