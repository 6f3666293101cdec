/*
 * The row kernels of normalisation and max pooling, each set that this processor has, against the
 * plain ones, in f32 and in bf16.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "rows.h"
#include "support/naive.h"
#include "support/small_graph.h"

enum { MOST = 1 << 14 };

static const int64_t lanes_of[] = {8, 16};

/* Draws count floats, in steps of `step` if that is not 0, and stores them. */
static void fill(void *data, int64_t count, bool bf16, float step, uint64_t seed)
{
    static float drawn[MOST];
    assert_true(count <= MOST);
    gr_small_draw(drawn, count, seed);
    for (int64_t i = 0; i < count; i++) {
        const float x = step > 0 ? (float)(int)(drawn[i] / step) * step : drawn[i];
        if (bf16)
            ((uint16_t *)data)[i] = gr_to_bf16(x);
        else
            ((float *)data)[i] = x;
    }
}

static float element(const void *data, int64_t i, bool bf16)
{
    return bf16 ? gr_from_bf16(((const uint16_t *)data)[i]) : ((const float *)data)[i];
}

static void expect_near(const void *got, const void *want, int64_t count, bool bf16,
                        float tolerance)
{
    float largest = 0;
    for (int64_t i = 0; i < count; i++)
        largest = fmaxf(largest, fabsf(element(want, i, bf16)));
    for (int64_t i = 0; i < count; i++) {
        const float a = element(got, i, bf16), b = element(want, i, bf16);
        /* Of bf16 the last of eight bits may differ. */
        const float room = tolerance * largest + (bf16 ? fabsf(b) / 128 : 0);
        if (!(fabsf(a - b) <= room))
            fail_msg("element %lld is %.9g, not %.9g", (long long)i, (double)a, (double)b);
    }
}

/* ---- local response normalisation -------------------------------------------------------- */

static void normalise(int64_t lanes, int64_t channels, bool bf16, bool dy_bf16, bool relu)
{
    static float src[MOST], dy[MOST], got[MOST], want[MOST], scratch[MOST];
    const struct gr_lrn_form form = {
        .channels = channels, .lanes = lanes, .radius = 2, .scale = 0.4f, .beta = 0.75f, .k = 1.5f};
    const struct gr_lrn_kernel *kernel = gr_lrn_kernel(&form, bf16);
    const int64_t width = 7, stride = width * lanes, count = width * channels;
    assert_true(gr_lrn_scratch(&form) <= MOST);
    memset(scratch, 0, sizeof scratch);
    fill(src, count, bf16, 0, 1);
    fill(dy, count, dy_bf16, 0, 2);
    const struct gr_lrn_columns x = {src, stride, bf16}, d = {dy, stride, dy_bf16},
                                a = {got, stride, bf16}, b = {want, stride, bf16};
    kernel->forward(&form, &x, &a, width, scratch);
    gr_lrn_kernel_rows.forward(&form, &x, &b, width, scratch);
    expect_near(got, want, count, bf16, 1e-6f);
    kernel->backward(&form, &d, &x, &a, width, relu, scratch);
    gr_lrn_kernel_rows.backward(&form, &d, &x, &b, width, relu, scratch);
    expect_near(got, want, count, bf16, bf16 ? 1e-3f : 1e-6f);
    kernel->backward(&form, &d, &x, &x, width, relu, scratch); /* onto src itself */
    assert_memory_equal(src, got, (size_t)count * gr_element_size(bf16));
}

static void vector_normalisation_is_the_plain_one(void **state)
{
    (void)state;
    for (size_t l = 0; l < sizeof lanes_of / sizeof *lanes_of; l++)
        for (int64_t blocks = 1; blocks <= 6; blocks++)
            for (int k = 0; k < 8; k++)
                normalise(lanes_of[l], blocks * lanes_of[l], k & 1, k & 2, k & 4);
}

static void bf16_normalisation_is_the_definition_within_its_bits(void **state)
{
    (void)state;
    enum { C = 16, W = 9 };
    static float scratch[MOST];
    uint16_t src[C * W], dst[C * W];
    double plain[C * W], want[C * W];
    const struct gr_lrn_form form = {
        .channels = C, .lanes = C, .radius = 2, .scale = 0.2f, .beta = 0.75f, .k = 2};
    fill(src, C * W, true, 0, 3);
    for (int w = 0; w < W; w++)
        for (int c = 0; c < C; c++)
            plain[c * W + w] = (double)gr_from_bf16(src[w * C + c]);
    gr_naive_lrn(1, C, W, 5, 1, 0.75, 2, plain, want);
    const struct gr_lrn_columns from = {src, 0, true}, to = {dst, 0, true};
    gr_lrn_kernel(&form, true)->forward(&form, &from, &to, W, scratch);
    for (int w = 0; w < W; w++)
        for (int c = 0; c < C; c++)
            assert_true(fabs((double)gr_from_bf16(dst[w * C + c]) - want[c * W + w]) <=
                        fabs(want[c * W + w]) / 240);
}

/* ---- max pooling ------------------------------------------------------------------------- */

static struct gr_pool_form random_form(int64_t lanes, uint64_t seed)
{
    struct gr_pool_form f = {.lanes = lanes};
    int64_t *const size[] = {&f.h, &f.w}, *const out[] = {&f.oh, &f.ow};
    for (int d = 0; d < 2; d++) {
        f.kernel[d] = gr_check_int(seed, d, 1, 4);
        f.stride[d] = gr_check_int(seed, 2 + d, 1, 4);
        f.pad[d] = gr_check_int(seed, 4 + d, 0, f.kernel[d] / 2);
        *size[d] = f.kernel[d] + gr_check_int(seed, 6 + d, 0, 6);
        /* As many windows as start within the source: the last may reach over its end. */
        *out[d] = (*size[d] + f.pad[d] - 1) / f.stride[d] + 1;
    }
    return f;
}

static void pool(const struct gr_pool_form *f, bool bf16, bool relu)
{
    static float src[MOST], got[MOST], want[MOST], dy[MOST], row[MOST], plain_row[MOST];
    static uint8_t where[MOST], plain_where[MOST];
    const struct gr_pool_kernel *kernel = gr_pool_kernel(f->lanes, bf16);
    const int64_t out = f->oh * f->ow * f->lanes, width = f->ow * f->lanes;
    const void *rows[8];
    fill(src, f->h * f->w * f->lanes, bf16, 0.5f, 4); /* many ties */
    for (int64_t oh = 0; oh < f->oh; oh++) {
        int64_t from, to;
        gr_pool_covered(f, oh, &from, &to);
        for (int64_t h = from; h < to; h++)
            rows[h - from] = gr_element_const(src, h * f->w * f->lanes, bf16);
        const int64_t first = from - (oh * f->stride[0] - f->pad[0]);
        kernel->max(f, rows, first, to - from, gr_element(got, oh * width, bf16),
                    where + oh * width, bf16);
        gr_pool_kernel_plain.max(f, rows, first, to - from, gr_element(want, oh * width, bf16),
                                 plain_where + oh * width, bf16);
        kernel->max(f, rows, first, to - from, gr_element(dy, oh * width, bf16), NULL, bf16);
    }
    assert_memory_equal(got, want, (size_t)out * gr_element_size(bf16));
    assert_memory_equal(dy, want, (size_t)out * gr_element_size(bf16));
    assert_memory_equal(where, plain_where, (size_t)out);
    fill(dy, out, bf16, 0, 5);
    for (int64_t h = 0; h < f->h; h++) {
        const void *y = relu ? want : NULL;
        gr_pool_backward_row(kernel, f, dy, where, y, 0, h, row, bf16);
        gr_pool_backward_row(&gr_pool_kernel_plain, f, dy, where, y, 0, h, plain_row, bf16);
        for (int64_t i = 0; i < gr_pool_row_floats(f); i++)
            assert_float_equal(row[i], plain_row[i], 0);
    }
}

static void vector_pooling_is_the_plain_one_to_the_bit(void **state)
{
    (void)state;
    for (size_t l = 0; l < sizeof lanes_of / sizeof *lanes_of; l++)
        for (uint64_t seed = 1; seed <= 60; seed++) {
            const struct gr_pool_form form = random_form(lanes_of[l], seed);
            for (int k = 0; k < 4; k++)
                pool(&form, k & 1, k & 2);
        }
}

static void bf16_is_rounded_to_the_nearest_and_of_two_to_the_even(void **state)
{
    (void)state;
    static const struct {
        float x;
        uint16_t bf16;
    } cases[] = {{1, 0x3f80},           {-2.5f, 0xc020},       {1.00390625f, 0x3f80},
                 {1.01171875f, 0x3f82}, {1.00390637f, 0x3f81}, {3.4e38f, 0x7f80},
                 {INFINITY, 0x7f80},    {-0.0f, 0x8000}};
    for (size_t l = 0; l < sizeof lanes_of / sizeof *lanes_of; l++) {
        float row[16];
        uint16_t dst[16];
        for (int i = 0; i < 16; i++)
            row[i] = i < 8 ? cases[i].x : NAN;
        gr_pool_kernel(lanes_of[l], true)->store(row, dst, 16, true);
        for (int i = 0; i < 8; i++) {
            assert_int_equal(dst[i], cases[i].bf16);
            assert_int_equal(gr_to_bf16(row[i]), cases[i].bf16);
            assert_true(isnan(gr_from_bf16(dst[8 + i])));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vector_normalisation_is_the_plain_one),
        cmocka_unit_test(bf16_normalisation_is_the_definition_within_its_bits),
        cmocka_unit_test(vector_pooling_is_the_plain_one_to_the_bit),
        cmocka_unit_test(bf16_is_rounded_to_the_nearest_and_of_two_to_the_even),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
