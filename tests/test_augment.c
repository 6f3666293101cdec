/*
 * The random transforms of colour and of framing, against their definitions in double precision,
 * and how they are distributed. The rest of the transforms is in test_transforms.c.
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
    uint32_t seed = 7;
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)((seed = seed * 1664525 + 1013904223) >> 24);
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
    const struct gr_shape shape = {3, {view->channels, H, W}};
    const struct gr_random_key key = gr_random_key(5, GR_RANDOM_AUGMENT, epoch, index);
    gr_data_case_apply(&test, gr_data_case_part(&test, "synthetic", NULL, transforms, count), view,
                       &shape, &key, out);
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

#define SENTENCE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SENTENCE(lighting_is_normal_along_the_eigenvectors_and_nothing_else),
        SENTENCE(lighting_depends_on_seed_epoch_and_sample_alone),
        SENTENCE(lighting_takes_its_size_and_directions_from_the_attributes),
        SENTENCE(lighting_is_in_units_of_pixels_and_never_clipped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
