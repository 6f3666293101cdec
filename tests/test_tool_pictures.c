/*
 * The pictures that the graph-runner tool writes, read back with libpng.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>

#include "data/pipeline.h"
#include "data/sheet.h"
#include "support/folder.h"
#include "support/tool.h"
#include "train/batches.h"

static char first[GR_FOLDER_PATH], second[GR_FOLDER_PATH];

static int set_up(void **state)
{
    if (gr_tool_set_up(state) != 0)
        return -1;
    gr_folder_file("first.png", first);
    gr_folder_file("second.png", second);
    return 0;
}

/* A PNG file; the picture is to be released. */
static struct gr_picture read_png(const char *path)
{
    png_image image = {.version = PNG_IMAGE_VERSION};
    assert_true(png_image_begin_read_from_file(&image, path) != 0);
    assert_int_equal(image.format, PNG_FORMAT_RGB);
    struct gr_picture picture = {(int64_t)image.height, (int64_t)image.width,
                                 malloc(PNG_IMAGE_SIZE(image))};
    assert_non_null(picture.pixels);
    assert_true(png_image_finish_read(&image, NULL, picture.pixels, 0, NULL) != 0);
    return picture;
}

static bool same_picture(const char *one, const char *other)
{
    struct gr_picture a = read_png(one), b = read_png(other);
    const bool same = a.height == b.height && a.width == b.width &&
                      memcmp(a.pixels, b.pixels, (size_t)(a.height * a.width * 3)) == 0;
    gr_picture_release(&a);
    gr_picture_release(&b);
    return same;
}

static void done(struct gr_outcome outcome, const char *message)
{
    gr_tool_contains(outcome.err, message);
    assert_string_equal(outcome.out, "");
    gr_outcome_release(&outcome);
}

/* ---- data show --------------------------------------------------------------------------- */

static const char *const transforms =
    "data.train.transform=[{crop: {size: 8, mode: random, pad: 2}}, flip, pca_lighting, "
    "{scale: {factor: 0.5}}, {mean: {values: [10, 20, 30]}}]";

/* The pixel (c, h, w) that training's values stand for; the transforms above are undone by hand. */
static double shown_pixel(const float *image, int c, int h, int w)
{
    const double value = ((double)image[(c * 8 + h) * 8 + w] + 10 * (c + 1)) / 0.5;
    return value < 0 ? 0 : value > 255 ? 255 : value;
}

/* Compares the tiles of a sheet with the batches of an epoch of training. */
static void expect_training(const char *path, struct gr_model *model, int64_t epoch, int count)
{
    const struct gr_sheet_options options = {
        .count = count, .height = 8, .width = 8, .captions = 1, .title = "t"};
    struct gr_picture picture = read_png(path);
    struct gr_batches batches;
    struct gr_batch batch = {0};
    struct gr_error err = {0};
    struct gr_sheet sheet;
    assert_true(gr_sheet_init(&sheet, &options, &err));
    assert_int_equal(picture.height, sheet.picture.height);
    assert_true(gr_batches_open(&batches, model, "train", 8, true, 0, &err));
    assert_true(gr_loader_start(batches.loader, epoch, 0, &err));
    for (int i = 0; i < count; i++) {
        if (i % 8 == 0)
            assert_true(gr_loader_next(batches.loader, &batch, &err));
        const float *image = batch.images + i % 8 * 192;
        const int64_t top = sheet.top + i / sheet.columns * sheet.step_down;
        const int64_t left = sheet.left + i % sheet.columns * sheet.step_right;
        for (int n = 0; n < 192; n++) {
            const int c = n / 64, h = n / 8 % 8, w = n % 8;
            const int64_t at = ((top + h * sheet.scale + 1) * picture.width + left +
                                w * sheet.scale + sheet.scale - 1) *
                               3;
            const double off = picture.pixels[at + c] - shown_pixel(image, c, h, w);
            assert_true(off > -0.51 && off < 0.51);
        }
    }
    gr_batches_close(&batches);
    gr_sheet_release(&sheet);
    gr_picture_release(&picture);
}

static void the_sheet_shows_what_training_sees(void **state)
{
    const char *const sets[] = {transforms};
    const struct gr_model_options options = {.sets = sets, .n_sets = 1, .seed = 9};
    struct gr_error err = {0};
    (void)state;
    done(gr_tool_run(0, "data", "show", gr_tool_model(), "--set", transforms, "--seed", "9",
                     "--epoch", "3", "--count", "20", "-o", first, NULL),
         "");
    struct gr_context *context = gr_context_new(gr_standard_ops(), NULL, &err);
    struct gr_model *model = gr_model_load(context, gr_tool_model(), &options, &err);
    expect_training(first, model, 2, 20);
    gr_model_free(model);
    gr_context_free(context);
}

static void sheets_depend_on_seed_epoch_and_part_alone(void **state)
{
    static const char *const others[][2] = {
        {"--epoch", "2"}, {"--seed", "1"}, {"--part", "val"}, {"--count", "31"}};
    (void)state;
    done(gr_tool_run(0, "data", "show", gr_tool_model(), "--set", transforms, "-o", first, NULL),
         "");
    done(gr_tool_run(0, "data", "show", gr_tool_model(), "--set", transforms, "-o", second,
                     "--threads", "3", "--seed", "0", "--epoch", "1", "--count", "32", NULL),
         "");
    assert_true(same_picture(first, second));
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        done(gr_tool_run(0, "data", "show", gr_tool_model(), "--set", transforms, "-o", second,
                         others[i][0], others[i][1], NULL),
             "");
        assert_false(same_picture(first, second));
    }
}

static void what_cannot_be_shown_is_said(void **state)
{
    (void)state;
    done(gr_tool_run(0, "data", "show", gr_tool_model(), "--count", "1000", "-o", first, NULL),
         "warning: there are 64 samples, not 1000");
    done(gr_tool_run(3, "data", "show", gr_tool_model(), "--part", "test", "-o", first, NULL),
         "the data section has no part 'test'");
    done(gr_tool_run(5, "data", "show", gr_tool_model(), "-o", gr_folder(), NULL),
         "Is a directory");
}

/* ---- filters ----------------------------------------------------------------------------- */

static const char two_convolutions[] =
    "format: 1\n"
    "name: two\n"
    "inputs:\n"
    "  image: {shape: [1, 9, 9]}\n"
    "nodes:\n"
    "  - {name: conv1, op: conv, out_channels: 4, kernel: 3}\n"
    "  - {name: conv2, op: conv, out_channels: 5, kernel: [3, 2]}\n"
    "  - {name: fc, op: linear, out_features: 3}\n";

/* Weights that tell where they stand: some negative, each filter with a largest of its own. */
static float weight_of(int64_t o, int64_t n)
{
    return (float)(1 + o) * (float)(n * 37 % 11 - 5);
}

/* Saves such weights for a convolution of the model at path. */
static void save_weights(const char *model_path, const char *parameter, int64_t O, int64_t count,
                         const char *path)
{
    static float weights[4096];
    struct gr_error err = {0};
    struct gr_context *context = gr_context_new(gr_standard_ops(), NULL, &err);
    struct gr_model *model = gr_model_load(context, model_path, NULL, &err);
    for (int64_t i = 0; i < O * count; i++)
        weights[i] = weight_of(i / count, i % count);
    assert_true(gr_model_set_parameter(model, parameter, weights, (size_t)(O * count), &err));
    assert_true(gr_model_save_weights(model, path, &err));
    gr_model_free(model);
    gr_context_free(context);
}

/* What a weight of filter o looks like when `most` is the largest magnitude. */
static int shade(int64_t o, int64_t n, double most)
{
    return (int)lrint(128 + 127 * (double)weight_of(o, n) / most);
}

/* Checks tiles of channels×H×W, `tiles` a filter; most is that of filter 0, or of all. */
static void expect_filters(const char *path, const struct gr_sheet_options *options, int channels,
                           int64_t tiles, bool together)
{
    const int64_t H = options->height, W = options->width, O = options->count / tiles;
    struct gr_picture picture = read_png(path);
    struct gr_error err = {0};
    struct gr_sheet sheet;
    assert_true(gr_sheet_init(&sheet, options, &err));
    assert_int_equal(picture.height, sheet.picture.height);
    assert_int_equal(picture.width, sheet.picture.width);
    for (int64_t t = 0; t < options->count; t++)
        for (int64_t n = 0; n < channels * H * W; n++) {
            const int64_t o = t / tiles, c = n / (H * W), h = n / W % H, w = n % W;
            const int64_t y = sheet.top + t / sheet.columns * sheet.step_down + h * sheet.scale;
            const int64_t x = sheet.left + t % sheet.columns * sheet.step_right + w * sheet.scale;
            const double most = 5.0 * (double)(together ? O : o + 1);
            const int got = picture.pixels[(y * picture.width + x) * 3 + c];
            assert_int_equal(got, shade(o, t % tiles * channels * H * W + n, most));
        }
    gr_sheet_release(&sheet);
    gr_picture_release(&picture);
}

static void colour_filters_are_drawn_in_colour(void **state)
{
    const struct gr_sheet_options options = {
        .count = 8, .height = 3, .width = 3, .columns = 8, .gap = 4, .bare = true, .title = "t"};
    char weights[GR_FOLDER_PATH];
    (void)state;
    save_weights(gr_tool_model(), "conv1.weight", 8, 27, gr_folder_file("w.safetensors", weights));
    done(gr_tool_run(0, "filters", gr_tool_model(), "--weights", weights, "-o", first, NULL), "");
    expect_filters(first, &options, 3, 1, false);
    done(gr_tool_run(0, "filters", gr_tool_model(), "--weights", weights, "--node", "conv1",
                     "--together", "-o", first, NULL),
         "");
    expect_filters(first, &options, 3, 1, true);
}

static void other_filters_are_drawn_as_grey_planes(void **state)
{
    const struct gr_sheet_options options = {.count = 20,
                                             .height = 3,
                                             .width = 2,
                                             .columns = 4,
                                             .scale = 4,
                                             .gap = 2,
                                             .bare = true,
                                             .title = "t"};
    const struct gr_sheet_options grey = {
        .count = 4, .height = 3, .width = 3, .columns = 4, .gap = 4, .bare = true, .title = "t"};
    char weights[GR_FOLDER_PATH], model[GR_FOLDER_PATH];
    (void)state;
    gr_tool_save(gr_folder_file("two.yaml", model), two_convolutions);
    save_weights(model, "conv2.weight", 5, 24, gr_folder_file("w.safetensors", weights));
    done(gr_tool_run(0, "filters", model, "--weights", weights, "--node", "conv2", "-o", first,
                     NULL),
         "");
    expect_filters(first, &options, 1, 4, false);
    save_weights(model, "conv1.weight", 4, 9, weights);
    done(gr_tool_run(0, "filters", model, "--weights", weights, "-o", first, NULL), "");
    expect_filters(first, &grey, 1, 1, false);
    done(gr_tool_run(2, "filters", model, "--weights", weights, "--node", "conv3", "-o", first,
                     NULL),
         "the model 'two' has no convolution 'conv3' with weights of its own; did you mean "
         "'conv1'?");
    done(gr_tool_run(2, "filters", model, "--weights", weights, "--node", "fc", "-o", first, NULL),
         "no convolution 'fc'");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, gr_folder_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_sheet_shows_what_training_sees),
        TEST(sheets_depend_on_seed_epoch_and_part_alone),
        TEST(what_cannot_be_shown_is_said),
        TEST(colour_filters_are_drawn_in_colour),
        TEST(other_filters_are_drawn_as_grey_planes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
