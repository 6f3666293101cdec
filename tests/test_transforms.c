/*
 * Transforms against plain loops over arrays in double precision, and what each says when it cannot
 * do its work.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "data/pipeline.h"
#include "support/data_case.h"

enum { SIDE_MOST = 64 };

static struct gr_data_case test;
static uint8_t pixels[SIDE_MOST * SIDE_MOST * 3];
static float out[3 * SIDE_MOST * SIDE_MOST];

static int setup(void **state)
{
    (void)state;
    gr_data_case_init(&test);
    gr_data_case_noise(pixels, sizeof pixels);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    gr_data_case_release(&test);
    return 0;
}

static const struct gr_data_part *part_of(const char *const *transforms, int count)
{
    return gr_data_case_part(&test, "synthetic", NULL, transforms, count);
}

static bool make(struct gr_pipeline *pipeline, const char *const *transforms, int count,
                 const struct gr_extent *extent, int64_t C, int64_t H, int64_t W,
                 struct gr_error *err)
{
    const struct gr_shape shape = {3, {C, H, W}};
    return gr_pipeline_init(pipeline, part_of(transforms, count), extent, &shape, err);
}

/* Runs transforms on a view into `out`, which must become C×H×W. */
static void run(const char *const *transforms, int count, const struct gr_view *view, int64_t C,
                int64_t H, int64_t W, uint32_t index)
{
    const struct gr_shape shape = {3, {C, H, W}};
    const struct gr_random_key key = gr_random_key(5, GR_RANDOM_AUGMENT, 0, index);
    gr_data_case_apply(&test, part_of(transforms, count), view, &shape, &key, out);
}

static uint8_t pixel(const struct gr_view *view, int64_t c, int64_t h, int64_t w)
{
    return view->pixels[c * view->channel_stride + h * view->row_stride + w * view->column_stride];
}

/* ---- views ------------------------------------------------------------------------------- */

static void planar_and_interleaved_sources_are_written_alike(void **state)
{
    (void)state;
    const struct gr_view views[] = {gr_view_planar(pixels, 3, 5, 7),
                                    gr_view_interleaved(pixels, 3, 5, 7)};
    for (int v = 0; v < 2; v++) {
        run(NULL, 0, &views[v], 3, 5, 7, 0);
        for (int c = 0; c < 3; c++)
            for (int h = 0; h < 5; h++)
                for (int w = 0; w < 7; w++)
                    assert_true(out[(c * 5 + h) * 7 + w] ==
                                (float)pixels[v ? (h * 7 + w) * 3 + c : (c * 5 + h) * 7 + w]);
    }
}

/* ---- resize ------------------------------------------------------------------------------ */

/* The weight of source position k for output position i, by the definition, not normalised. */
static double weight(int64_t i, int64_t k, int64_t in, int64_t size)
{
    const double ratio = (double)in / (double)size, width = ratio > 1 ? ratio : 1;
    const double x = fabs((double)k + 0.5 - ((double)i + 0.5) * ratio) / width;
    return x < 1 ? 1 - x : 0;
}

static double naive_resize(const struct gr_view *view, int64_t c, int64_t h, int64_t w, int64_t H,
                           int64_t W)
{
    double sum = 0, total = 0;
    for (int64_t y = 0; y < view->height; y++)
        for (int64_t x = 0; x < view->width; x++) {
            const double p = weight(h, y, view->height, H) * weight(w, x, view->width, W);
            sum += p * pixel(view, c, y, x);
            total += p;
        }
    return sum / total;
}

static void resizing_agrees_with_the_definition(void **state)
{
    (void)state;
    const int64_t cases[][4] = {{20, 30, 9, 11}, {9, 7, 31, 13}, {16, 16, 8, 32},
                                {1, 1, 5, 4},    {40, 3, 1, 1},  {13, 64, 13, 63}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int C = 1; C <= 3; C += 2) {
            const int64_t H = cases[i][2], W = cases[i][3];
            const struct gr_view view =
                C == 1 ? gr_view_planar(pixels, C, cases[i][0], cases[i][1])
                       : gr_view_interleaved(pixels, C, cases[i][0], cases[i][1]);
            char attrs[64];
            snprintf(attrs, sizeof attrs, "size=%d,%d", (int)H, (int)W);
            const char *const transforms[] = {"resize", attrs};
            run(transforms, 1, &view, C, H, W, 0);
            for (int64_t n = 0; n < C * H * W; n++) {
                const double wanted = naive_resize(&view, n / (H * W), n / W % H, n % W, H, W);
                assert_true(fabs((double)out[n] - wanted) <= 1.1); /* two roundings to 8 bits */
            }
        }
}

static void a_flat_image_stays_flat_when_resized(void **state)
{
    (void)state;
    memset(pixels, 255, sizeof pixels);
    const struct gr_view view = gr_view_planar(pixels, 1, 37, 53);
    const char *const transforms[] = {"resize", "size=19,11"};
    run(transforms, 1, &view, 1, 19, 11, 0);
    for (int i = 0; i < 19 * 11; i++)
        assert_true(out[i] == 255);
}

static void the_shortest_side_decides_and_proportions_stay(void **state)
{
    (void)state;
    const struct gr_view tall = gr_view_planar(pixels, 1, 60, 20),
                         wide = gr_view_planar(pixels, 1, 20, 61);
    const char *const transforms[] = {"resize", "shortest=10"};
    run(transforms, 1, &tall, 1, 30, 10, 0);
    run(transforms, 1, &wide, 1, 10, 30, 0);
}

/* ---- crop and flip ----------------------------------------------------------------------- */

static void the_centre_crop_is_the_middle(void **state)
{
    (void)state;
    const struct gr_view view = gr_view_interleaved(pixels, 3, 9, 12);
    const char *const transforms[] = {"crop", "size=4,5"};
    run(transforms, 1, &view, 3, 4, 5, 0);
    for (int64_t c = 0; c < 3; c++)
        for (int64_t h = 0; h < 4; h++)
            for (int64_t w = 0; w < 5; w++)
                assert_true(out[(c * 4 + h) * 5 + w] == (float)pixel(&view, c, h + 2, w + 3));
}

/* Where in a padded image the crop was taken from; fails when it is nowhere. */
static int64_t find_crop(const struct gr_view *view, int64_t pad, int64_t side, bool mirrored)
{
    for (int64_t top = -pad; top + side <= view->height + pad; top++)
        for (int64_t left = -pad; left + side <= view->width + pad; left++) {
            bool same = true;
            for (int64_t n = 0; same && n < side * side; n++) {
                const int64_t y = top + n / side;
                const int64_t x = left + (mirrored ? side - 1 - n % side : n % side);
                const bool inside = y >= 0 && x >= 0 && y < view->height && x < view->width;
                same = out[n] == (inside ? (float)pixel(view, 0, y, x) : 0);
            }
            if (same)
                return (top + pad) * (view->width + 2 * pad - side + 1) + left + pad;
        }
    return -1;
}

static void random_crops_reach_every_place_and_pad_with_black(void **state)
{
    (void)state;
    const struct gr_view view = gr_view_planar(pixels, 1, 8, 7);
    const char *const transforms[] = {"crop", "size=6;mode=random;pad=2"};
    int seen[7 * 6] = {0};
    for (uint32_t i = 0; i < 4200; i++) {
        run(transforms, 1, &view, 1, 6, 6, i);
        const int64_t place = find_crop(&view, 2, 6, false);
        assert_true(place >= 0);
        seen[place]++;
    }
    for (int place = 0; place < 42; place++)
        assert_in_range(seen[place], 60, 145); /* 100 expected; 4 standard deviations */
}

static void flips_are_drawn_apart_from_crops(void **state)
{
    (void)state;
    const struct gr_view view = gr_view_planar(pixels, 1, 8, 7);
    const char *const transforms[] = {"resize", "size=8,7", "crop", "size=6;mode=random",
                                      "flip",   NULL};
    int seen[2][6] = {{0}};
    for (uint32_t i = 0; i < 1200; i++) {
        run(transforms, 3, &view, 1, 6, 6, i);
        const int64_t straight = find_crop(&view, 0, 6, false);
        const int64_t mirrored = find_crop(&view, 0, 6, true);
        assert_true((straight >= 0) != (mirrored >= 0));
        seen[mirrored >= 0][straight >= 0 ? straight : mirrored]++;
    }
    for (int k = 0; k < 12; k++)
        assert_in_range(seen[k / 6][k % 6], 62, 138); /* 100 expected */
}

static void flip_follows_its_probability(void **state)
{
    (void)state;
    const struct gr_view view = gr_view_interleaved(pixels, 3, 2, 5);
    for (int p = 0; p < 2; p++) {
        const char *const transforms[] = {"flip", p ? "p=1" : "p=0"};
        for (uint32_t i = 0; i < 20; i++) {
            run(transforms, 1, &view, 3, 2, 5, i);
            for (int64_t n = 0; n < 30; n++) {
                const int64_t w = p ? 4 - n % 5 : n % 5;
                assert_true(out[n] == (float)pixel(&view, n / 10, n / 5 % 2, w));
            }
        }
    }
}

/* ---- colour and values ------------------------------------------------------------------- */

static void grayscale_weighs_the_colours(void **state)
{
    (void)state;
    const struct gr_view view = gr_view_interleaved(pixels, 3, 6, 5);
    for (int C = 1; C <= 3; C += 2) {
        const char *const transforms[] = {"grayscale", C == 1 ? NULL : "channels=3"};
        run(transforms, 1, &view, C, 6, 5, 0);
        for (int64_t n = 0; n < C * 30; n++) {
            const int64_t h = n / 5 % 6, w = n % 5;
            const double wanted = 0.299 * pixel(&view, 0, h, w) + 0.587 * pixel(&view, 1, h, w) +
                                  0.114 * pixel(&view, 2, h, w);
            assert_true(fabs((double)out[n] - wanted) <= 0.501);
        }
    }
}

static void one_grey_plane_becomes_three(void **state)
{
    (void)state;
    const struct gr_view view = gr_view_planar(pixels, 1, 3, 4);
    const char *const transforms[] = {"grayscale", "channels=3", "resize",
                                      "size=3,4",  "flip",       "p=1"};
    run(transforms, 3, &view, 3, 3, 4, 0);
    for (int64_t n = 0; n < 36; n++)
        assert_true(out[n] == (float)pixel(&view, 0, n / 4 % 3, 3 - n % 4));
}

static void what_follows_a_change_of_colour_still_frames(void **state)
{
    (void)state;
    const struct gr_view view = gr_view_interleaved(pixels, 3, 12, 14);
    const char *const cropped[] = {"grayscale", NULL, "crop", "size=6,8", "flip", "p=1"};
    const char *const resized[] = {"grayscale", NULL,       "resize",    "size=24,28",
                                   "crop",      "size=6,8", "grayscale", "channels=1"};
    float wanted[48], whole[12 * 14];
    const char *const grey[] = {"grayscale", NULL, "resize", "size=24,28"};
    run(grey, 1, &view, 1, 12, 14, 0);
    memcpy(whole, out, sizeof whole);
    run(cropped, 3, &view, 1, 6, 8, 0);
    for (int n = 0; n < 48; n++)
        assert_true(out[n] == whole[(n / 8 + 3) * 14 + 3 + 7 - n % 8]);
    run(resized, 4, &view, 1, 6, 8, 0);
    memcpy(wanted, out, sizeof wanted);
    run(grey, 2, &view, 1, 24, 28, 0);
    for (int n = 0; n < 48; n++)
        assert_true(wanted[n] == out[(n / 8 + 9) * 28 + 10 + n % 8]);
}

static void values_are_changed_in_the_order_written(void **state)
{
    (void)state;
    const struct gr_view view = gr_view_interleaved(pixels, 3, 4, 4);
    const char *const transforms[] = {"mean", "values=100,110,120", "scale",
                                      NULL,   "normalize",          "mean=0.1;std=0.2,0.3,0.4"};
    const double mean[] = {100, 110, 120}, std[] = {0.2, 0.3, 0.4};
    run(transforms, 3, &view, 3, 4, 4, 0);
    for (int64_t n = 0; n < 48; n++) {
        const int64_t c = n / 16;
        const double value = (double)pixel(&view, c, n / 4 % 4, n % 4);
        const double wanted = ((value - mean[c]) / 255 - 0.1) / std[c];
        assert_true(fabs((double)out[n] - wanted) < 1e-5);
    }
}

/* ---- errors ------------------------------------------------------------------------------ */

static void refuses(const char *const *transforms, int count, const struct gr_extent *extent,
                    enum gr_status status, const char *message)
{
    struct gr_pipeline pipeline;
    struct gr_error err = {0};
    assert_false(make(&pipeline, transforms, count, extent, 3, 224, 224, &err));
    assert_string_equal(err.message, message);
    assert_int_equal(err.status, status);
}

static void what_cannot_work_is_refused_before_any_image_is_read(void **state)
{
    (void)state;
    const struct gr_extent varies = {3, 0, 0, 1, 1, NULL}, fixed = {3, 32, 32, 32, 32, NULL};
    const struct {
        const char *transforms[6];
        int count;
        const struct gr_extent *extent;
        enum gr_status status;
        const char *message;
    } cases[] = {
        {{"resize", NULL},
         1,
         &varies,
         GR_ERR_MODEL,
         "data.train: resize: give shortest or size, at least 1"},
        {{"resize", "shortest=256;size=224"},
         1,
         &varies,
         GR_ERR_MODEL,
         "data.train: resize: shortest and size exclude each other"},
        {{"grayscale", "channels=2"},
         1,
         &varies,
         GR_ERR_MODEL,
         "data.train: grayscale: channels is 1 or 3, not 2"},
        {{"normalize", "mean=0;std=1,0,1"},
         1,
         &varies,
         GR_ERR_MODEL,
         "data.train: normalize: std 0 is not above 0"},
        {{"scale", NULL, "crop", "size=224"},
         2,
         &varies,
         GR_ERR_MODEL,
         "data.train: crop comes after scale: put scale, mean, normalize and pca_lighting last"},
        {{"pca_lighting", "eigenvalues=0.2,0.01,0.005"},
         1,
         &varies,
         GR_ERR_MODEL,
         "data.train: pca_lighting: 3 eigenvalues and 0 numbers of eigenvectors; give 3 and 9, or "
         "neither"},
        {{"pca_lighting", "eigenvalues=1.4e4,1000,200;eigenvectors=1,0,0,0,1,0,0,0,1"},
         1,
         &varies,
         GR_ERR_MODEL,
         "data.train: pca_lighting: eigenvalues add up to 15200, more than the 0.75 possible for "
         "values from 0 to 1: divide those of values from 0 to 255 by 255² = 65025"},
        {{"pca_lighting", "eigenvalues=0.2,-0.1,0;eigenvectors=1,0,0,0,1,0,0,0,1"},
         1,
         &varies,
         GR_ERR_MODEL,
         "data.train: pca_lighting: eigenvalue -0.1 is below 0"},
        {{"pca_lighting", "eigenvalues=0.2,0.1,0;eigenvectors=1,0,0,0,1,0,0,1,0"},
         1,
         &varies,
         GR_ERR_MODEL,
         "data.train: pca_lighting: the product of eigenvectors 2 and 3 is 1, not 0: they are no "
         "orthonormal three"},
        {{"pca_lighting", NULL, "flip", NULL},
         2,
         &varies,
         GR_ERR_MODEL,
         "data.train: flip comes after pca_lighting: put scale, mean, normalize and pca_lighting "
         "last"},
        {{"crop", "size=224", "grayscale", NULL, "pca_lighting", NULL},
         3,
         &varies,
         GR_ERR_DATA,
         "data.train: pca_lighting: samples have 1 channel, colour has 3"},
        {{"mean", "values=1,2"},
         1,
         &varies,
         GR_ERR_DATA,
         "data.train: mean: values: 2 numbers for 3 channels"},
        {{"normalize", "mean=1;std=1,2,3,4"},
         1,
         &varies,
         GR_ERR_DATA,
         "data.train: normalize: std: 4 numbers for 3 channels"},
        {{"crop", "size=40;pad=2"},
         1,
         &fixed,
         GR_ERR_DATA,
         "data.train: crop: 40×40 does not fit into images that may be 36×36 with the padding: "
         "resize to more before, or pad"},
        {{"resize", "shortest=200", "crop", "size=224"},
         2,
         &varies,
         GR_ERR_DATA,
         "data.train: crop: 224×224 does not fit into images that may be 200×200: resize to more "
         "before, or pad"},
        {{"resize", "shortest=256"},
         1,
         &varies,
         GR_ERR_DATA,
         "data.train: images differ in size, the model's input is 224×224: end with crop: {size: "
         "[224, 224]}"},
        {{"crop", "size=200"},
         1,
         &varies,
         GR_ERR_DATA,
         "data.train: samples are 200×200 after the transforms, the model's input is 224×224: add "
         "a resize or a crop"},
        {{"crop", "size=224", "grayscale", NULL},
         2,
         &varies,
         GR_ERR_DATA,
         "data.train: samples have 1 channel, the model's input has 3: add grayscale: {channels: "
         "3}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refuses(cases[i].transforms, cases[i].count, cases[i].extent, cases[i].status,
                cases[i].message);
}

static void more_transforms_than_there_is_room_for_are_refused(void **state)
{
    (void)state;
    const char *transforms[2 * (GR_TRANSFORMS_MAX + 1)];
    struct gr_error err = {0};
    for (int i = 0; i <= GR_TRANSFORMS_MAX; i++) {
        transforms[2 * i] = "flip";
        transforms[2 * i + 1] = NULL;
    }
    assert_false(gr_data_part_check(part_of(transforms, GR_TRANSFORMS_MAX + 1), &err));
    assert_string_equal(err.message, "data.train: 17 transforms are more than the 16 possible");
    assert_true(gr_data_part_check(part_of(transforms, GR_TRANSFORMS_MAX), NULL));
}

static void a_usual_training_list_ends_in_the_models_shape(void **state)
{
    (void)state;
    const struct gr_extent varies = {3, 0, 0, 1, 1, NULL};
    const char *const transforms[] = {"resize", "shortest=256", "crop", "size=224;mode=random",
                                      "flip",   NULL,           "mean", "values=124,117,104"};
    struct gr_pipeline pipeline;
    assert_true(make(&pipeline, transforms, 4, &varies, 3, 224, 224, NULL));
    assert_int_equal(pipeline.target.shortest, 256);
    assert_true(pipeline.scale[1] == 1 && pipeline.offset[1] == -117);
}

#define SENTENCE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SENTENCE(planar_and_interleaved_sources_are_written_alike),
        SENTENCE(resizing_agrees_with_the_definition),
        SENTENCE(a_flat_image_stays_flat_when_resized),
        SENTENCE(the_shortest_side_decides_and_proportions_stay),
        SENTENCE(the_centre_crop_is_the_middle),
        SENTENCE(random_crops_reach_every_place_and_pad_with_black),
        SENTENCE(flips_are_drawn_apart_from_crops),
        SENTENCE(flip_follows_its_probability),
        SENTENCE(grayscale_weighs_the_colours),
        SENTENCE(one_grey_plane_becomes_three),
        SENTENCE(what_follows_a_change_of_colour_still_frames),
        SENTENCE(values_are_changed_in_the_order_written),
        SENTENCE(what_cannot_work_is_refused_before_any_image_is_read),
        SENTENCE(more_transforms_than_there_is_room_for_are_refused),
        SENTENCE(a_usual_training_list_ends_in_the_models_shape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
