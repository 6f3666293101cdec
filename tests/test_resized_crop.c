/*
 * random_resized_crop against its definition, and how its windows are distributed.
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

/* Runs transforms on a view into `out`, which must become H×W. */
static void run(const char *const *transforms, int count, const struct gr_view *view, int64_t H,
                int64_t W, uint32_t epoch, uint32_t index)
{
    gr_data_case_run(&test, transforms, count, view, H, W, epoch, index, out);
}

static void framed(const char *attrs, const struct gr_view *view, int64_t side, uint32_t index)
{
    char text[128];
    snprintf(text, sizeof text, "size=%d%s%s", (int)side, attrs ? ";" : "", attrs ? attrs : "");
    const char *const transforms[] = {"random_resized_crop", text};
    run(transforms, 1, view, side, side, 0, index);
}

/* The window by the definition, from what the sample draws. */
static struct gr_window drawn_window(uint32_t index, int64_t height, int64_t width)
{
    const struct gr_random_key key = gr_random_key(5, GR_RANDOM_AUGMENT, 0, index);
    for (uint64_t attempt = 0; attempt < 10; attempt++) {
        float draw[4];
        gr_random_uniforms(&key, 64 * attempt, draw);
        const double area = (double)(height * width) * (0.08 + 0.92 * (double)draw[0]);
        const double log_ratio = log(0.75) + (log(4.0 / 3) - log(0.75)) * (double)draw[1];
        const int64_t w = llround(sqrt(area * exp(log_ratio)));
        const int64_t h = llround(sqrt(area / exp(log_ratio)));
        if (w < 1 || w > width || h < 1 || h > height)
            continue;
        return (struct gr_window){
            (int64_t)gr_random_below(&key, 128 * attempt + 2, (uint64_t)(height - h + 1)),
            (int64_t)gr_random_below(&key, 128 * attempt + 3, (uint64_t)(width - w + 1)), h, w};
    }
    return (struct gr_window){0};
}

static void a_random_window_is_cut_out_and_resized(void **state)
{
    static float framed_out[3 * 20 * 20];
    (void)state;
    const struct gr_view view = gr_view_interleaved(pixels, 3, 48, 60);
    for (uint32_t index = 0; index < 100; index++) {
        framed(NULL, &view, 20, index);
        memcpy(framed_out, out, sizeof framed_out);
        const struct gr_window w = drawn_window(index, 48, 60);
        assert_true(w.height > 0);
        const struct gr_view part = gr_view_window(&view, w.top, w.left, w.height, w.width);
        const char *const transforms[] = {"resize", "size=20"};
        run(transforms, 1, &part, 20, 20, 0, index);
        assert_memory_equal(framed_out, out, sizeof framed_out);
    }
}

/* Red says in which column a pixel stood, green in which row. */
static struct gr_view ramps(int64_t height, int64_t width)
{
    for (int64_t i = 0; i < height * width; i++) {
        pixels[3 * i] = (uint8_t)(4 * (i % width));
        pixels[3 * i + 1] = (uint8_t)(4 * (i / width));
    }
    return gr_view_interleaved(pixels, 3, height, width);
}

/* Width (channel 0) or height (1) and the begin of the window shown, to a pixel or so. */
static double extent_of(int channel, double *begin)
{
    const float *v = out + 256 * channel;
    const int step = channel ? 16 : 1, row = channel ? 8 : 16 * 8;
    const double slope = (double)(v[row + 12 * step] - v[row + 3 * step]) / 9;
    *begin = ((double)v[row + 3 * step] - 3.5 * slope) / 4 + 0.5;
    return slope * 16 / 4;
}

static void windows_have_the_shares_of_the_area_and_the_places_asked_for(void **state)
{
    enum { N = 2000 };
    int quarter[4] = {0}, half[2] = {0}, small = 0;
    (void)state;
    const struct gr_view view = ramps(64, 64);
    for (uint32_t index = 0; index < N; index++) { /* squares in a square: the first fits */
        double left, top;
        framed("ratio=1,1", &view, 16, index);
        const double width = extent_of(0, &left), height = extent_of(1, &top);
        const double share = width * height / (64 * 64);
        assert_true(fabs(width - height) < 2);
        assert_true(share > 0.06 && share < 1.05);
        const int q = (int)((share - 0.08) / 0.23);
        quarter[q < 0 ? 0 : q > 3 ? 3 : q]++;
        if (width < 40) {
            small++;
            half[left > (64 - width) / 2]++;
        }
    }
    for (int q = 0; q < 4; q++)
        assert_in_range(quarter[q], 500 - 90, 500 + 90); /* 4 standard deviations and a bit */
    assert_true(fabs(half[0] - small / 2.0) < 4 * sqrt(small) / 2 + 5);
}

static void windows_have_the_proportions_asked_for(void **state)
{
    enum { N = 1000 };
    double sum = 0;
    int wide = 0;
    (void)state;
    const struct gr_view view = ramps(64, 64);
    for (uint32_t index = 0; index < N; index++) {
        double left, top;
        framed("scale=0.25,0.25;ratio=0.5,2", &view, 16, index);
        const double shape = log(extent_of(0, &left) / extent_of(1, &top)) / log(2);
        assert_true(shape > -1.15 && shape < 1.15);
        sum += shape;
        wide += shape > 0.5;
    }
    assert_true(fabs(sum / N) < 4 * sqrt(4.0 / 12 / N));
    assert_in_range(wide, N / 4 - 70, N / 4 + 70);
}

static void where_no_window_fits_the_central_one_is_taken(void **state)
{
    const struct {
        int64_t height, width;
        struct gr_window window;
    } cases[] = {{2, 60, {0, 28, 2, 3}}, {60, 4, {27, 0, 5, 4}}, {1, 1, {0, 0, 1, 1}}};
    static float framed_out[3 * 8 * 8];
    (void)state;
    for (int i = 0; i < 3; i++)
        for (uint32_t index = 0; index < 5; index++) {
            const struct gr_window *w = &cases[i].window;
            const struct gr_view view =
                gr_view_interleaved(pixels, 3, cases[i].height, cases[i].width);
            framed("scale=0.9,1", &view, 8, index);
            memcpy(framed_out, out, sizeof framed_out);
            const struct gr_view part = gr_view_window(&view, w->top, w->left, w->height, w->width);
            const char *const transforms[] = {"resize", "size=8"};
            run(transforms, 1, &part, 8, 8, 0, index);
            assert_memory_equal(framed_out, out, sizeof framed_out);
        }
}

static void framing_a_mirrored_image_is_framing_its_mirror_image(void **state)
{
    static float mirrored[3 * 16 * 16];
    const char *const flipped[] = {"flip",    "p=1",  "random_resized_crop",
                                   "size=16", "crop", "size=10;mode=random"};
    const char *const straight[] = {"flip",    "p=0",  "random_resized_crop",
                                    "size=16", "crop", "size=10;mode=random"};
    (void)state;
    const struct gr_view view = gr_view_interleaved(pixels, 3, 40, 50);
    const struct gr_view mirror = gr_view_mirrored(&view);
    for (uint32_t index = 0; index < 20; index++) {
        run(flipped, 3, &view, 10, 10, 0, index);
        memcpy(mirrored, out, sizeof mirrored);
        run(straight, 3, &mirror, 10, 10, 0, index);
        for (int n = 0; n < 300; n++)
            assert_true(fabs((double)(mirrored[n] - out[n])) <= 1); /* columns sum the other way */
    }
}

static void framing_depends_on_seed_epoch_and_sample_alone(void **state)
{
    static float first[3 * 8 * 8];
    const char *const transforms[] = {"random_resized_crop", "size=8", "color_jitter",
                                      "brightness=0.4;contrast=0.4;saturation=0.4;hue=0.1"};
    (void)state;
    const struct gr_view view = gr_view_interleaved(pixels, 3, 40, 50);
    run(transforms, 2, &view, 8, 8, 6, 9);
    memcpy(first, out, sizeof first);
    run(transforms, 2, &view, 8, 8, 7, 9);
    assert_memory_not_equal(first, out, sizeof first);
    run(transforms, 2, &view, 8, 8, 6, 10);
    assert_memory_not_equal(first, out, sizeof first);
    run(transforms, 2, &view, 8, 8, 6, 9);
    assert_memory_equal(first, out, sizeof first);
}

static void ranges_that_make_no_sense_are_refused(void **state)
{
    static const struct {
        const char *name, *attrs, *message;
    } cases[] = {
        {"random_resized_crop", "size=8;scale=0.5",
         "random_resized_crop: scale takes two numbers, not 1"},
        {"random_resized_crop", "size=8;scale=0.5,1.5",
         "random_resized_crop: scale 1.5 is not above 0, up to 1"},
        {"random_resized_crop", "size=8;ratio=0,1",
         "random_resized_crop: ratio 0 is not above 0, up to 1000"},
        {"random_resized_crop", "size=8;ratio=2,0.5",
         "random_resized_crop: ratio goes from 2 down to 0.5"},
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
        SENTENCE(a_random_window_is_cut_out_and_resized),
        SENTENCE(windows_have_the_shares_of_the_area_and_the_places_asked_for),
        SENTENCE(windows_have_the_proportions_asked_for),
        SENTENCE(where_no_window_fits_the_central_one_is_taken),
        SENTENCE(framing_a_mirrored_image_is_framing_its_mirror_image),
        SENTENCE(framing_depends_on_seed_epoch_and_sample_alone),
        SENTENCE(ranges_that_make_no_sense_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
