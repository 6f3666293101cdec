/*
 * The random transforms of colour against their definitions in double precision, and how what they
 * draw is distributed. Other transforms are in test_transforms.c and test_resized_crop.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
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

/* Runs transforms on a view into `out`, which must become H×W. */
static void run(const char *const *transforms, int count, const struct gr_view *view, int64_t H,
                int64_t W, uint32_t epoch, uint32_t index)
{
    gr_data_case_run(&test, transforms, count, view, H, W, epoch, index, out);
}

static uint8_t pixel(const struct gr_view *view, int64_t c, int64_t h, int64_t w)
{
    return view->pixels[c * view->channel_stride + h * view->row_stride + w * view->column_stride];
}

/* ---- pca_lighting ------------------------------------------------------------------------ */

/* ImageNet's, as published: values, and vectors as columns. */
static const double eigenvalues[3] = {0.2175, 0.0188, 0.0045};
static const double eigenvectors[3][3] = {
    {-0.5675, 0.7192, 0.4009}, {-0.5808, -0.0045, -0.8140}, {-0.5836, -0.6948, 0.4203}};

/* The α of a sample by what it does to a black image: to all of a channel's pixels the same. */
static void lighting_of(const char *attrs, uint32_t epoch, uint32_t index, double alpha[3])
{
    static const uint8_t black[3 * 2 * 2];
    const char *const transforms[] = {"pca_lighting", attrs};
    const struct gr_view view = gr_view_interleaved(black, 3, 2, 2);
    run(transforms, 1, &view, 2, 2, epoch, index);
    for (int n = 0; n < 12; n++)
        assert_true(out[n] == out[n / 4 * 4]);
    for (int i = 0; i < 3; i++) { /* the vectors are orthonormal, to four digits */
        alpha[i] = 0;
        for (int c = 0; c < 3; c++)
            alpha[i] += eigenvectors[c][i] * (double)out[4 * c] / 255 / eigenvalues[i];
    }
}

static void lighting_is_normal_along_the_eigenvectors_and_nothing_else(void **state)
{
    enum { N = 4000 };
    double sum[3] = {0}, product[3][3] = {{0}};
    int within[3] = {0};
    (void)state;
    for (uint32_t n = 0; n < N; n++) {
        double alpha[3];
        lighting_of(NULL, 0, n, alpha);
        for (int i = 0; i < 3; i++) {
            sum[i] += alpha[i] / 0.1;
            within[i] += fabs(alpha[i]) < 0.1;
            for (int j = 0; j < 3; j++)
                product[i][j] += alpha[i] * alpha[j] / 0.01;
        }
    }
    for (int i = 0; i < 3; i++) { /* within 4 standard deviations of each figure */
        assert_true(fabs(sum[i] / N) < 4 / sqrt(N));
        assert_true(fabs((double)within[i] / N - 0.6827) < 4 * sqrt(0.6827 * 0.3173 / N));
        for (int j = 0; j < 3; j++)
            assert_true(fabs(product[i][j] / N - (i == j)) < (i == j ? 6 : 4.5) / sqrt(N));
    }
}

static void lighting_depends_on_seed_epoch_and_sample_alone(void **state)
{
    double first[3], again[3], epoch[3], sample[3];
    (void)state;
    lighting_of(NULL, 3, 17, first);
    lighting_of(NULL, 4, 17, epoch);
    lighting_of(NULL, 3, 18, sample);
    lighting_of(NULL, 3, 17, again);
    for (int i = 0; i < 3; i++) {
        assert_true(first[i] == again[i]);
        assert_true(first[i] != epoch[i] && first[i] != sample[i]);
    }
}

static void lighting_takes_its_size_and_directions_from_the_attributes(void **state)
{
    double usual[3], alpha[3];
    (void)state;
    lighting_of(NULL, 0, 5, usual);
    lighting_of("std=0.3", 0, 5, alpha);
    for (int i = 0; i < 3; i++)
        assert_true(fabs(alpha[i] - 3 * usual[i]) < 1e-5);
    lighting_of("std=0", 0, 5, alpha);
    for (int i = 0; i < 3; i++)
        assert_true(alpha[i] == 0);
    lighting_of("eigenvalues=0.1,0.02,0.3;eigenvectors=0,0,1,1,0,0,0,1,0", 0, 5, alpha);
    assert_true(fabs((double)out[8] / 255 - 0.1 * usual[0]) < 1e-5);  /* blue first */
    assert_true(fabs((double)out[0] / 255 - 0.02 * usual[1]) < 1e-5); /* then red */
    assert_true(fabs((double)out[4] / 255 - 0.3 * usual[2]) < 1e-5);
}

static void lighting_is_in_units_of_pixels_and_never_clipped(void **state)
{
    enum { H = 5, W = 6 };
    const double mean[] = {0.4, 0.5, 0.6}, std[] = {0.2, 0.3, 0.4};
    const char *const attrs = "mean=0.4,0.5,0.6;std=0.2,0.3,0.4";
    const char *const lists[][6] = {
        {"pca_lighting", "std=2", "scale", NULL, "normalize", attrs},
        {"scale", NULL, "pca_lighting", "std=2", "normalize", attrs},
        {"scale", NULL, "normalize", attrs, "pca_lighting", "std=2"},
    };
    int beyond = 0;
    (void)state;
    const struct gr_view view = gr_view_interleaved(pixels, 3, H, W);
    for (int place = 0; place < 3; place++)
        for (uint32_t index = 0; index < 8; index++) {
            float normal[4];
            const struct gr_random_key key = gr_random_key(5, GR_RANDOM_AUGMENT, 0, index);
            gr_random_normals(&key, (uint64_t)place * GR_TRANSFORM_BLOCKS, normal);
            run(lists[place], 3, &view, H, W, 0, index);
            for (int n = 0; n < 3 * H * W; n++) {
                const int c = n / (H * W);
                double value = (double)pixel(&view, c, n / W % H, n % W);
                for (int i = 0; i < 3; i++)
                    value += 255 * eigenvectors[c][i] * 2 * (double)normal[i] * eigenvalues[i];
                beyond += value < 0 || value > 255;
                assert_true(fabs((double)out[n] - (value / 255 - mean[c]) / std[c]) < 1e-4);
            }
        }
    assert_true(beyond > 100);
}

/* ---- color_jitter ------------------------------------------------------------------------ */

enum { BRIGHTNESS, CONTRAST, SATURATION, HUE };

static double clip(double value)
{
    return fmin(fmax(value, 0), 255);
}

static double luminance(const double rgb[3])
{
    return 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2];
}

/* Through HSV by sectors of the colour wheel. */
static void turn_hue(double rgb[3], double turn)
{
    const double high = fmax(rgb[0], fmax(rgb[1], rgb[2]));
    const double low = fmin(rgb[0], fmin(rgb[1], rgb[2])), chroma = high - low;
    double sector = 0;
    if (chroma > 0 && high == rgb[0])
        sector = (rgb[1] - rgb[2]) / chroma;
    else if (chroma > 0 && high == rgb[1])
        sector = 2 + (rgb[2] - rgb[0]) / chroma;
    else if (chroma > 0)
        sector = 4 + (rgb[0] - rgb[1]) / chroma;
    sector = fmod(sector + 6 * turn + 12, 6);
    const double part = sector - floor(sector);
    const double up = low + chroma * part, down = high - chroma * part;
    const double wheel[6][3] = {{high, up, low},   {down, high, low}, {low, high, up},
                                {low, down, high}, {up, low, high},   {high, low, down}};
    memcpy(rgb, wheel[(int)sector % 6], sizeof wheel[0]);
}

static void naive_change(double image[][3], int n, int change, double factor)
{
    double mean = 0;
    for (int i = 0; i < n; i++)
        mean += luminance(image[i]) / n;
    for (int i = 0; i < n; i++) {
        const double y = luminance(image[i]);
        if (change == HUE)
            turn_hue(image[i], factor);
        for (int c = 0; c < 3 && change != HUE; c++) {
            const double towards = change == CONTRAST ? mean : change == SATURATION ? y : 0;
            image[i][c] = clip(factor * image[i][c] + (1 - factor) * towards);
        }
    }
}

enum { JITTER_H = 9, JITTER_W = 7, JITTER = JITTER_H * JITTER_W };

/* Is `out` what the changes make of the view in that order? */
static bool is_jittered(const struct gr_view *view, const int order[4], const double factor[4])
{
    double image[JITTER][3];
    bool same = true;
    for (int i = 0; i < JITTER; i++)
        for (int c = 0; c < 3; c++)
            image[i][c] = pixel(view, c, i / JITTER_W, i % JITTER_W);
    for (int k = 0; k < 4; k++)
        naive_change(image, JITTER, order[k], factor[order[k]]);
    for (int i = 0; i < 3 * JITTER; i++)
        same = same && fabs((double)out[i] - image[i % JITTER][i / JITTER]) <= 0.501;
    return same;
}

/* The factors of a sample, when color_jitter comes first. */
static void draw_factors(uint32_t index, const double low[4], const double high[4],
                         double factor[4])
{
    float draw[4];
    const struct gr_random_key key = gr_random_key(5, GR_RANDOM_AUGMENT, 0, index);
    gr_random_uniforms(&key, 0, draw);
    for (int i = 0; i < 4; i++)
        factor[i] = low[i] + (high[i] - low[i]) * (double)draw[i];
}

static void jitter_agrees_with_the_definition_in_its_fixed_order(void **state)
{
    const char *const transforms[] = {"color_jitter",
                                      "brightness=0.4;contrast=0.5,1.8;saturation=2;hue=0.5;"
                                      "order=fixed"};
    const double low[] = {0.6, 0.5, 0, -0.5}, high[] = {1.4, 1.8, 3, 0.5};
    const int order[] = {BRIGHTNESS, CONTRAST, SATURATION, HUE};
    (void)state;
    const struct gr_view straight = gr_view_interleaved(pixels, 3, JITTER_H, JITTER_W);
    const struct gr_view views[] = {straight, gr_view_mirrored(&straight),
                                    gr_view_planar(pixels, 3, JITTER_H, JITTER_W)};
    for (int v = 0; v < 3; v++)
        for (uint32_t index = 0; index < 50; index++) {
            double factor[4];
            run(transforms, 1, &views[v], JITTER_H, JITTER_W, 0, index);
            draw_factors(index, low, high, factor);
            assert_true(is_jittered(&views[v], order, factor));
        }
}

/* The permutation of that number in the order of a dictionary. */
static void permutation(int number, int order[4])
{
    int left[4] = {0, 1, 2, 3};
    for (int i = 0, share = 6; i < 4; i++) {
        const int pick = number / share;
        order[i] = left[pick];
        memmove(left + pick, left + pick + 1, (size_t)(3 - pick) * sizeof *left);
        number %= share;
        share /= i < 3 ? 3 - i : 1;
    }
}

static void jitter_takes_each_of_the_24_orders_alike(void **state)
{
    enum { N = 2400 };
    const char *const transforms[] = {
        "color_jitter", "brightness=1.3,1.6;contrast=1.8,2.5;saturation=2,3;hue=0.1,0.4"};
    const double low[] = {1.3, 1.8, 2, 0.1}, high[] = {1.6, 2.5, 3, 0.4};
    int seen[24] = {0};
    (void)state;
    const struct gr_view view = gr_view_interleaved(pixels, 3, JITTER_H, JITTER_W);
    for (uint32_t index = 0; index < N; index++) {
        double factor[4];
        int found = 0;
        run(transforms, 1, &view, JITTER_H, JITTER_W, 0, index);
        draw_factors(index, low, high, factor);
        for (int number = 0; number < 24; number++) {
            int order[4];
            permutation(number, order);
            const bool is = is_jittered(&view, order, factor);
            seen[number] += is;
            found += is;
        }
        assert_int_equal(found, 1);
    }
    for (int number = 0; number < 24; number++)
        assert_in_range(seen[number], 60, 145); /* 100 expected; 4 standard deviations */
}

static void jitter_draws_its_factors_uniformly(void **state)
{
    enum { N = 4000 };
    static const uint8_t grey[3] = {100, 100, 100};
    const char *const transforms[] = {"color_jitter", "brightness=0.4"};
    double sum = 0, squares = 0;
    (void)state;
    const struct gr_view view = gr_view_interleaved(grey, 3, 1, 1);
    for (uint32_t index = 0; index < N; index++) {
        run(transforms, 1, &view, 1, 1, 0, index);
        const double factor = (double)out[0] / 100;
        assert_true(factor >= 0.6 && factor <= 1.4);
        sum += factor;
        squares += (factor - 1) * (factor - 1);
    }
    assert_true(fabs(sum / N - 1) < 4 * 0.8 / sqrt(12.0 * N));
    assert_true(fabs(squares / N - 0.64 / 12) < 0.003);
}

static void jitter_leaves_alone_what_it_is_not_asked_to_change(void **state)
{
    const char *const cases[] = {NULL, "brightness=0;hue=0", "saturation=1,1;contrast=1,1"};
    (void)state;
    const struct gr_view view = gr_view_interleaved(pixels, 3, 8, 6);
    for (int i = 0; i < 3; i++) {
        const char *const transforms[] = {"color_jitter", cases[i]};
        run(transforms, 1, &view, 8, 6, 0, 3);
        for (int n = 0; n < 3 * 48; n++)
            assert_true(out[n] == (float)pixel(&view, n / 48, n / 6 % 8, n % 6));
    }
}

static void known_colours_come_out_as_known(void **state)
{
    static const struct {
        uint8_t from[3];
        const char *attrs;
        float to[3];
    } cases[] = {
        {{255, 0, 0}, "hue=0.5,0.5", {0, 255, 255}},
        {{255, 0, 0}, "hue=-0.5,-0.5", {0, 255, 255}},
        {{200, 100, 0}, "hue=0.33333333,0.33333333", {0, 200, 100}},
        {{200, 100, 0}, "hue=-0.33333333,-0.33333333", {100, 0, 200}},
        {{70, 70, 70}, "hue=0.2,0.2;saturation=3,3", {70, 70, 70}},
        {{10, 200, 90}, "saturation=0,0", {131, 131, 131}},
        {{10, 200, 90}, "brightness=2,2", {20, 255, 180}},
        {{10, 200, 90}, "contrast=0,0", {131, 131, 131}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *const transforms[] = {"color_jitter", cases[i].attrs};
        const struct gr_view view = gr_view_interleaved(cases[i].from, 3, 1, 1);
        run(transforms, 1, &view, 1, 1, 0, 0);
        for (int c = 0; c < 3; c++)
            assert_true(out[c] == cases[i].to[c]);
    }
}

static void grey_images_change_in_brightness_and_contrast_only(void **state)
{
    const char *const transforms[] = {"color_jitter", "saturation=0.9;hue=0.5;order=fixed"};
    const char *const contrast[] = {"color_jitter", "contrast=0.5,0.5"};
    double mean = 0;
    (void)state;
    const struct gr_view view = gr_view_planar(pixels, 1, 10, 9);
    run(transforms, 1, &view, 10, 9, 0, 1);
    for (int n = 0; n < 90; n++)
        assert_true(out[n] == (float)pixels[n]);
    for (int n = 0; n < 90; n++)
        mean += (double)pixels[n] / 90;
    run(contrast, 1, &view, 10, 9, 0, 1);
    for (int n = 0; n < 90; n++)
        assert_true(fabs((double)out[n] - (pixels[n] + mean) / 2) <= 0.501);
}

/* ---- attributes -------------------------------------------------------------------------- */

static void ranges_that_make_no_sense_are_refused(void **state)
{
    static const struct {
        const char *name, *attrs, *message;
    } cases[] = {
        {"color_jitter", "hue=0.6", "color_jitter: hue 0.6 is not from 0 to 0.5"},
        {"color_jitter", "hue=-0.6,0", "color_jitter: hue -0.6 is not from -0.5 to 0.5"},
        {"color_jitter", "brightness=-0.5", "color_jitter: brightness -0.5 is not from 0 to 1000"},
        {"color_jitter", "contrast=1,2,3", "color_jitter: contrast takes one number or two, not 3"},
        {"color_jitter", "saturation=2,1", "color_jitter: saturation goes from 2 down to 1"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *const transforms[] = {cases[i].name, cases[i].attrs};
        struct gr_error err = {0};
        assert_false(
            gr_data_part_check(gr_data_case_part(&test, "synthetic", NULL, transforms, 1), &err));
        assert_int_equal(err.status, GR_ERR_MODEL);
        assert_string_equal(err.message + strlen("data.train: "), cases[i].message);
    }
}

#define SENTENCE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SENTENCE(lighting_is_normal_along_the_eigenvectors_and_nothing_else),
        SENTENCE(lighting_depends_on_seed_epoch_and_sample_alone),
        SENTENCE(lighting_takes_its_size_and_directions_from_the_attributes),
        SENTENCE(lighting_is_in_units_of_pixels_and_never_clipped),
        SENTENCE(jitter_agrees_with_the_definition_in_its_fixed_order),
        SENTENCE(jitter_takes_each_of_the_24_orders_alike),
        SENTENCE(jitter_draws_its_factors_uniformly),
        SENTENCE(jitter_leaves_alone_what_it_is_not_asked_to_change),
        SENTENCE(known_colours_come_out_as_known),
        SENTENCE(grey_images_change_in_brightness_and_contrast_only),
        SENTENCE(ranges_that_make_no_sense_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
