/*
 * graph-runner features and nearest, as a user runs them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "data/sheet.h"
#include "support/folder.h"
#include "support/make_jpeg.h"
#include "support/tool.h"

enum { COLOURS = 6, TILE = 160 };

/* Two dark, two red, two green pictures; the last of each pair is the paler. */
static const struct {
    const char *name;
    uint8_t rgb[3];
} pictures[COLOURS] = {
    {"photos/ash/dark1.jpg", {20, 20, 20}}, {"photos/ash/dark2.jpg", {30, 30, 30}},
    {"photos/elm/red1.jpg", {220, 30, 30}}, {"photos/elm/red2.jpg", {200, 40, 40}},
    {"photos/ivy/grn1.jpg", {30, 220, 30}}, {"photos/elm/grn2.jpg", {40, 200, 40}},
};

static char weights[GR_FOLDER_PATH], features[GR_FOLDER_PATH], photos[GR_FOLDER_PATH];

static int set_up(void **state)
{
    char run[GR_FOLDER_PATH], path[GR_FOLDER_PATH];
    if (gr_tool_set_up(state) != 0)
        return -1;
    gr_folder_file("run", run);
    gr_folder_file("run/best.safetensors", weights);
    gr_folder_file("f.safetensors", features);
    gr_folder_file("photos", photos);
    struct gr_outcome outcome = gr_tool_run(0, "train", gr_tool_model(), "--out", run, "--epochs",
                                            "1", "--tune", "off", NULL);
    gr_outcome_release(&outcome);
    mkdir(photos, 0700);
    for (int i = 0; i < COLOURS; i++) {
        char *slash = strrchr(gr_folder_file(pictures[i].name, path), '/');
        *slash = 0;
        mkdir(path, 0700);
        *slash = '/';
        assert_true(gr_make_plain_jpeg(path, 24, 40, pictures[i].rgb[0], pictures[i].rgb[1],
                                       pictures[i].rgb[2]));
    }
    return 0;
}

/* Features of the pixels themselves, so that it is known what is near. */
static void write_features(void)
{
    struct gr_outcome outcome = gr_tool_run(0, "features", gr_tool_model(), photos, "--weights",
                                            weights, "--layer", "image", "-o", features, NULL);
    gr_tool_contains(outcome.out, "what the model is fed, before conv1");
    gr_tool_contains(outcome.out, "images        6\n");
    gr_outcome_release(&outcome);
}

static void features_are_told_in_a_table_or_json(void **state)
{
    (void)state;
    struct gr_outcome outcome = gr_tool_run(0, "features", gr_tool_model(), "--weights", weights,
                                            "-o", features, "--json", NULL);
    json_t *json = gr_tool_parse(outcome.out);
    assert_true(gr_tool_number(json, "images") == 61);
    assert_true(gr_tool_number(json, "length") == 8 * 6 * 6);
    assert_string_equal(json_string_value(json_object_get(json, "layer")), "relu1");
    assert_string_equal(json_string_value(json_object_get(json, "about")),
                        "relu of conv1, before fc");
    json_decref(json);
    gr_outcome_release(&outcome);
    outcome = gr_tool_run(2, "features", gr_tool_model(), photos, "--weights", weights, "--part",
                          "val", NULL);
    gr_tool_contains(outcome.err, "either images or --part, not both");
    gr_outcome_release(&outcome);
    outcome =
        gr_tool_run(2, "features", gr_tool_model(), "--weights", weights, "--layer", "rleu1", NULL);
    gr_tool_contains(outcome.err, "did you mean 'relu1'?");
    gr_outcome_release(&outcome);
    outcome = gr_tool_run(4, "features", gr_tool_model(), "--weights", weights, "no.jpg", NULL);
    gr_tool_contains(outcome.err, "no.jpg: cannot open: ");
    gr_outcome_release(&outcome);
    outcome = gr_tool_run(5, "features", gr_tool_model(), "--weights", weights, "-o",
                          "/nowhere/f.safetensors", NULL);
    gr_tool_contains(outcome.err, "/nowhere/f.safetensors: cannot create");
    gr_outcome_release(&outcome);
}

static size_t read_bytes(const char *path, uint8_t *bytes, size_t size)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    const size_t count = fread(bytes, 1, size, file);
    fclose(file);
    return count;
}

static void standard_output_takes_the_same_bytes(void **state)
{
    (void)state;
    static uint8_t file[1 << 18], pipe[1 << 18];
    char path[GR_FOLDER_PATH];
    gr_folder_file("piped", path);
    write_features();
    const struct gr_tool_streams streams = {path, NULL};
    struct gr_outcome outcome =
        gr_tool_end(0, gr_tool_start(&streams, "features", gr_tool_model(), photos, "--weights",
                                     weights, "--layer", "image", "-o", "-", NULL));
    gr_outcome_release(&outcome);
    const size_t size = read_bytes(features, file, sizeof file);
    assert_int_equal(read_bytes(path, pipe, sizeof pipe), size);
    assert_true(size > 6 * 192 * 4 && size < sizeof file);
    assert_memory_equal(file, pipe, size);
}

/* The name of neighbour k of query q, without its folder. */
static const char *found(const json_t *list, size_t q, size_t k)
{
    const json_t *near = json_array_get(json_object_get(json_array_get(list, q), "nearest"), k);
    const char *name = json_string_value(json_object_get(near, "file"));
    return name ? strrchr(name, '/') + 1 : "";
}

static void the_nearest_are_of_the_same_colour(void **state)
{
    (void)state;
    write_features();
    struct gr_outcome outcome = gr_tool_run(0, "nearest", features, "red1.jpg", "elm/grn2.jpg",
                                            "-k", "9", "--distance", "euclidean", "--json", NULL);
    json_t *list = gr_tool_parse(outcome.out);
    assert_string_equal(found(list, 0, 0), "red2.jpg");
    assert_string_equal(found(list, 1, 0), "grn1.jpg");
    for (size_t k = 0; k < 5; k++)
        assert_string_not_equal(found(list, 0, k), "red1.jpg"); /* the query itself */
    assert_int_equal(json_array_size(json_object_get(json_array_get(list, 0), "nearest")), 5);
    json_decref(list);
    gr_outcome_release(&outcome);
    outcome = gr_tool_run(0, "nearest", features, "ash/dark1.jpg", "--top", "1", NULL);
    gr_tool_contains(outcome.out, "query          rank");
    gr_tool_contains(outcome.out, "ash/dark1.jpg     1");
    gr_tool_contains(outcome.out, "  ash    ");
    gr_tool_contains(outcome.out, "/ash/dark2.jpg\n");
    gr_outcome_release(&outcome);
}

static void a_new_image_is_looked_for_with_the_model(void **state)
{
    (void)state;
    char fresh[GR_FOLDER_PATH];
    write_features();
    assert_true(gr_make_plain_jpeg(gr_folder_file("new.jpg", fresh), 30, 30, 210, 33, 33));
    struct gr_outcome outcome =
        gr_tool_run(0, "nearest", features, fresh, "-k", "2", "--distance", "euclidean", "--model",
                    gr_tool_model(), "--weights", weights, "--json", NULL);
    json_t *list = gr_tool_parse(outcome.out);
    assert_int_equal(strncmp(found(list, 0, 0), "red", 3), 0);
    assert_int_equal(strncmp(found(list, 0, 1), "red", 3), 0);
    json_decref(list);
    gr_outcome_release(&outcome);
    outcome = gr_tool_run(2, "nearest", features, fresh, NULL);
    gr_tool_contains(outcome.err, "takes the model and its weights");
    gr_outcome_release(&outcome);
    outcome = gr_tool_run(2, "nearest", features, fresh, "--model", gr_tool_model(), NULL);
    gr_tool_contains(outcome.err, "--model and --weights go together");
    gr_outcome_release(&outcome);
    outcome = gr_tool_run(2, "nearest", features, "reed1.jpg", NULL);
    gr_tool_contains(outcome.err, "did you mean 'red1.jpg'?");
    gr_outcome_release(&outcome);
    outcome = gr_tool_run(4, "nearest", weights, "red1.jpg", NULL);
    gr_tool_contains(outcome.err, "not a file of features");
    gr_outcome_release(&outcome);
    /* Another layer is not what the features are of. */
    outcome = gr_tool_run(4, "nearest", features, fresh, "--model", gr_tool_model(), "--weights",
                          weights, "--set", "inputs.image.shape=[3, 8, 8]", "--set",
                          "data.val.transform=[{crop: {size: 99}}]", NULL);
    gr_outcome_release(&outcome);
}

/* ---- the sheet --------------------------------------------------------------------------- */

static struct gr_picture read_png(const char *path)
{
    png_image image = {.version = PNG_IMAGE_VERSION};
    assert_true(png_image_begin_read_from_file(&image, path) != 0);
    struct gr_picture picture = {(int64_t)image.height, (int64_t)image.width,
                                 malloc(PNG_IMAGE_SIZE(image))};
    assert_non_null(picture.pixels);
    assert_true(png_image_finish_read(&image, NULL, picture.pixels, 0, NULL) != 0);
    return picture;
}

static void expect_pixel(const struct gr_picture *picture, int64_t h, int64_t w, int r, int g,
                         int b)
{
    const uint8_t *pixel = picture->pixels + (h * picture->width + w) * 3;
    const int want[3] = {r, g, b};
    for (int c = 0; c < 3; c++)
        assert_in_range(pixel[c] + 4, want[c], want[c] + 8);
}

static void the_sheet_shows_query_and_neighbours(void **state)
{
    (void)state;
    char sheet[GR_FOLDER_PATH];
    gr_folder_file("sheet.png", sheet);
    write_features();
    struct gr_outcome outcome = gr_tool_run(0, "nearest", features, "grn1.jpg", "red1.jpg", "-k",
                                            "2", "--distance", "euclidean", "-o", sheet, NULL);
    gr_outcome_release(&outcome);
    const struct gr_sheet_options options = {.count = 6,
                                             .height = TILE,
                                             .width = TILE,
                                             .columns = 3,
                                             .captions = 2,
                                             .lead = 24,
                                             .title = "t"};
    struct gr_error err = {0};
    struct gr_sheet layout;
    struct gr_picture picture = read_png(sheet);
    assert_true(gr_sheet_init(&layout, &options, &err));
    assert_int_equal(picture.height, layout.picture.height);
    assert_int_equal(picture.width, layout.picture.width);
    static const int rgb[4][3] = {{30, 220, 30}, {40, 200, 40}, {220, 30, 30}, {200, 40, 40}};
    static const int64_t tiles[4] = {0, 1, 3, 4};
    for (int i = 0; i < 4; i++) { /* 24×40 fills the width of a tile */
        const struct gr_window place = gr_sheet_place(&layout, tiles[i], 96, TILE);
        expect_pixel(&picture, place.top + 4, place.left + 4, rgb[i][0], rgb[i][1], rgb[i][2]);
        expect_pixel(&picture, place.top + 91, place.left + 155, rgb[i][0], rgb[i][1], rgb[i][2]);
        expect_pixel(&picture, place.top - 8, place.left + 80, 255, 255, 255);
    }
    /* Frames: the query's own; grn2 is in another folder than grn1, red2 in that of red1. */
    static const int frames[4][3] = {{32, 38, 46}, {178, 24, 43}, {32, 38, 46}, {8, 69, 148}};
    for (int i = 0; i < 4; i++) {
        const struct gr_window place = gr_sheet_place(&layout, tiles[i], 96, TILE);
        expect_pixel(&picture, place.top - 2, place.left + 50, frames[i][0], frames[i][1],
                     frames[i][2]);
    }
    gr_picture_release(&picture);
    gr_sheet_release(&layout);
}

/* Pictures of data that are no files come from the model's data section; without it they are grey.
 */
static void the_sheet_shows_samples_of_the_data(void **state)
{
    (void)state;
    char with[GR_FOLDER_PATH], without[GR_FOLDER_PATH];
    gr_folder_file("with.png", with);
    gr_folder_file("without.png", without);
    struct gr_outcome outcome =
        gr_tool_run(0, "features", gr_tool_model(), "--weights", weights, "-o", features, NULL);
    gr_outcome_release(&outcome);
    outcome = gr_tool_run(0, "nearest", features, "synthetic[3]", "-o", with, "--model",
                          gr_tool_model(), "--weights", weights, NULL);
    gr_outcome_release(&outcome);
    outcome = gr_tool_run(0, "nearest", features, "synthetic[3]", "-o", without, NULL);
    gr_outcome_release(&outcome);
    struct gr_picture a = read_png(with), b = read_png(without);
    int64_t colours = 0;
    for (int64_t i = 0; i < a.height * a.width; i++)
        colours += abs(a.pixels[3 * i] - a.pixels[3 * i + 1]) > 30;
    assert_true(colours > 6 * 8 * 8 * 12); /* patterns, each pixel many large */
    colours = 0;
    for (int64_t i = 0; i < b.height * b.width; i++)
        colours += b.pixels[3 * i] == 222 && b.pixels[3 * i + 2] == 231;
    assert_true(colours > 6 * 150 * 150);
    gr_picture_release(&a);
    gr_picture_release(&b);
}

#define TEST(NAME) cmocka_unit_test_setup_teardown(NAME, set_up, gr_folder_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(features_are_told_in_a_table_or_json), TEST(standard_output_takes_the_same_bytes),
        TEST(the_nearest_are_of_the_same_colour),   TEST(a_new_image_is_looked_for_with_the_model),
        TEST(the_sheet_shows_query_and_neighbours), TEST(the_sheet_shows_samples_of_the_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
