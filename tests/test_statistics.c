/*
 * The colours of data: sums against plain loops, principal components against known ones, and what
 * is written against what is read.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/statistics.h"

enum { H = 37, W = 53 };

static uint8_t pixels[H * W * 3];

static int set_up(void **state)
{
    uint32_t word = 12345;
    (void)state;
    for (size_t i = 0; i < sizeof pixels; i++) {
        word = word * 1664525u + 1013904223u;
        pixels[i] = (uint8_t)((word >> 24) / (1 + i % 3) + 20 * (i % 3)); /* channels differ */
    }
    return 0;
}

static struct gr_statistics compute(const struct gr_pixel_sums *sums, int channels)
{
    struct gr_statistics statistics;
    struct gr_error err = {0};
    assert_true(gr_statistics_compute(sums, channels, &statistics, &err));
    return statistics;
}

static struct gr_statistics of_view(const struct gr_view *view)
{
    struct gr_pixel_sums sums = {0};
    gr_pixel_sums_add(&sums, view);
    return compute(&sums, view->channels);
}

static struct gr_statistics of_colours(const uint8_t *colours, int count)
{
    const struct gr_view view = gr_view_interleaved(colours, 3, 1, count);
    return of_view(&view);
}

static void near(double value, double wanted)
{
    if (!(fabs(value - wanted) <= 1e-12 * (1 + fabs(wanted))))
        fail_msg("%.17g, not %.17g", value, wanted);
}

/* By definition: the mean of what deviates from the mean. */
static void sums_give_mean_and_covariance_as_plain_loops_do(void **state)
{
    const struct gr_view view = gr_view_interleaved(pixels, 3, H, W);
    const struct gr_statistics statistics = of_view(&view);
    double mean[3] = {0}, covariance[3][3] = {{0}};
    (void)state;
    for (int i = 0; i < H * W; i++)
        for (int c = 0; c < 3; c++)
            mean[c] += (double)pixels[3 * i + c] / (H * W);
    for (int i = 0; i < H * W; i++)
        for (int c = 0; c < 3; c++)
            for (int d = 0; d < 3; d++)
                covariance[c][d] += (pixels[3 * i + c] - mean[c]) / 255 *
                                    (pixels[3 * i + d] - mean[d]) / 255 / (H * W);
    assert_int_equal(statistics.channels, 3);
    for (int c = 0; c < 3; c++) {
        near(statistics.mean[c], mean[c]);
        for (int d = 0; d < 3; d++)
            near(statistics.covariance[3 * c + d], covariance[c][d]);
    }
}

static void eigenvectors_are_orthonormal_and_take_the_covariance_apart(void **state)
{
    const struct gr_view view = gr_view_interleaved(pixels, 3, H, W);
    const struct gr_statistics s = of_view(&view);
    (void)state;
    assert_true(s.eigenvalues[0] >= s.eigenvalues[1] && s.eigenvalues[1] >= s.eigenvalues[2]);
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 3; k++) {
            double product = 0, sum = 0;
            for (int c = 0; c < 3; c++) {
                product += s.eigenvectors[3 * i + c] * s.eigenvectors[3 * k + c];
                sum += s.eigenvalues[c] * s.eigenvectors[3 * c + i] * s.eigenvectors[3 * c + k];
            }
            near(product, i == k);
            near(sum, s.covariance[3 * i + k]);
        }
}

/*
 * Colours at ±a·u, ±b·v, ±c·w around grey, with u = (2, 2, 1) / 3, v = (2, -1, -2) / 3 and
 * w = (-1, 2, -2) / 3: the variances along u, v and w are a²/3, b²/3 and c²/3. Of the two
 * components of v and of w that are largest, the first is positive.
 */
static void known_colours_have_known_components(void **state)
{
    static const uint8_t colours[] = {
        128 + 60, 128 + 60, 128 + 30, 128 - 60, 128 - 60, 128 - 30, /* a = 90 */
        128 + 40, 128 - 20, 128 - 40, 128 - 40, 128 + 20, 128 + 40, /* b = 60 */
        128 - 10, 128 + 20, 128 - 20, 128 + 10, 128 - 20, 128 + 20, /* c = 30 */
    };
    static const double vectors[9] = {2 / 3.0,  2 / 3.0,  1 / 3.0, 2 / 3.0, -1 / 3.0,
                                      -2 / 3.0, -1 / 3.0, 2 / 3.0, -2 / 3.0};
    static const double sides[3] = {90, 60, 30};
    const struct gr_statistics s = of_colours(colours, 6);
    (void)state;
    for (int i = 0; i < 3; i++) {
        near(s.mean[i], 128);
        near(s.eigenvalues[i], sides[i] * sides[i] / 3 / (255 * 255));
        for (int c = 0; c < 3; c++)
            near(s.eigenvectors[3 * i + c], vectors[3 * i + c]);
    }
}

static void the_largest_component_of_an_eigenvector_is_positive(void **state)
{
    (void)state;
    for (int turn = 0; turn < 60; turn++) {
        uint8_t colours[12];
        for (int i = 0; i < 12; i++)
            colours[i] = pixels[turn * 12 + i];
        const struct gr_statistics s = of_colours(colours, 4);
        for (int i = 0; i < 3; i++) {
            const double *p = &s.eigenvectors[3 * i];
            double largest = 0;
            for (int c = 0; c < 3; c++)
                largest = fabs(p[c]) > fabs(largest) ? p[c] : largest;
            assert_true(largest > 0.57);
        }
    }
}

static void one_colour_and_grey_pictures_have_no_negative_variance(void **state)
{
    static const uint8_t one[] = {17, 99, 203, 17, 99, 203, 17, 99, 203};
    static const uint8_t grey[] = {3, 3, 3, 90, 90, 90, 201, 201, 201};
    const struct gr_statistics flat = of_colours(one, 3), line = of_colours(grey, 3);
    (void)state;
    for (int i = 0; i < 3; i++)
        assert_true(flat.eigenvalues[i] >= 0 && flat.eigenvalues[i] < 1e-15);
    assert_true(line.eigenvalues[0] > 0.1 && line.eigenvalues[1] < 1e-15);
    for (int c = 0; c < 3; c++)
        near(line.eigenvectors[c], sqrt(1 / 3.0));
}

static void sums_are_the_same_in_parts_and_in_any_order(void **state)
{
    const struct gr_view whole = gr_view_interleaved(pixels, 3, H, W);
    const struct gr_view above = gr_view_window(&whole, 0, 0, 11, W);
    const struct gr_view below = gr_view_window(&whole, 11, 0, H - 11, W);
    struct gr_pixel_sums sums = {0}, first = {0}, second = {0};
    (void)state;
    gr_pixel_sums_add(&sums, &whole);
    gr_pixel_sums_add(&first, &below);
    gr_pixel_sums_add(&second, &above);
    gr_pixel_sums_merge(&first, &second);
    assert_memory_equal(&first, &sums, sizeof sums);
}

/* The row is longer than what 32 bits can sum of squares. */
static void bright_rows_of_any_length_do_not_overflow(void **state)
{
    const int64_t width = 200000;
    uint8_t *row = malloc((size_t)width * 3);
    struct gr_pixel_sums sums = {0};
    (void)state;
    assert_non_null(row);
    memset(row, 255, (size_t)width * 3);
    const struct gr_view view = gr_view_interleaved(row, 3, 1, width);
    gr_pixel_sums_add(&sums, &view);
    for (int p = 0; p < GR_PRODUCTS; p++)
        assert_true(sums.product[p] == (uint64_t)width * 255 * 255);
    free(row);
}

static void one_channel_has_a_mean_and_a_variance(void **state)
{
    static const uint8_t grey[] = {0, 255, 0, 255};
    const struct gr_view view = gr_view_interleaved(grey, 1, 2, 2);
    const struct gr_statistics s = of_view(&view);
    (void)state;
    assert_int_equal(s.channels, 1);
    near(s.mean[0], 127.5);
    near(s.covariance[0], 0.25);
}

static void text_keeps_every_bit(void **state)
{
    const struct gr_view colour = gr_view_interleaved(pixels, 3, H, W);
    const struct gr_view grey = gr_view_interleaved(pixels, 1, H, W);
    const struct gr_statistics all[] = {of_view(&colour), of_view(&grey)};
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct gr_statistics read;
        char *text = gr_statistics_text(&all[i]);
        assert_true(gr_statistics_parse_text(text, &read, NULL));
        assert_memory_equal(&read, &all[i], sizeof read);
        free(text);
    }
}

static void what_makes_no_sense_is_not_taken(void **state)
{
    static const char *const texts[] = {NULL,
                                        "",
                                        "[]",
                                        "{}",
                                        "{\"mean\":[1,2]}",
                                        "{\"mean\":[1,2,3]}",
                                        "{\"mean\":[1]}",
                                        "{\"mean\":[\"1\"],\"variance\":[2]}"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct gr_statistics read = {.channels = 3};
        assert_false(gr_statistics_parse_text(texts[i], &read, NULL));
        assert_int_equal(read.channels, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_give_mean_and_covariance_as_plain_loops_do),
        cmocka_unit_test(eigenvectors_are_orthonormal_and_take_the_covariance_apart),
        cmocka_unit_test(known_colours_have_known_components),
        cmocka_unit_test(the_largest_component_of_an_eigenvector_is_positive),
        cmocka_unit_test(one_colour_and_grey_pictures_have_no_negative_variance),
        cmocka_unit_test(sums_are_the_same_in_parts_and_in_any_order),
        cmocka_unit_test(bright_rows_of_any_length_do_not_overflow),
        cmocka_unit_test(one_channel_has_a_mean_and_a_variance),
        cmocka_unit_test(text_keeps_every_bit),
        cmocka_unit_test(what_makes_no_sense_is_not_taken),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
