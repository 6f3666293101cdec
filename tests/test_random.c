/*
 * Counter-based random numbers: the published Philox vectors, and the shape of what is drawn.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/random.h"

/* philox4x32-10 of Random123's known-answer file: counter, key, result. */
static void philox_gives_the_published_answers(void **state)
{
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], result[4];
    } rows[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct gr_random_key key = {.word = {rows[i].key[0], rows[i].key[1]},
                                          .major = rows[i].counter[2],
                                          .minor = rows[i].counter[3]};
        const uint64_t index = (uint64_t)rows[i].counter[1] << 32 | rows[i].counter[0];
        uint32_t words[4];
        gr_random_block(&key, index, words);
        assert_memory_equal(words, rows[i].result, sizeof words);
    }
}

static void every_part_of_the_key_matters(void **state)
{
    (void)state;
    const struct gr_random_key keys[] = {
        gr_random_key(1, GR_RANDOM_INIT, 0, 0),
        gr_random_key(2, GR_RANDOM_INIT, 0, 0),
        gr_random_key(UINT64_C(1) << 32, GR_RANDOM_INIT, 0, 0),
        gr_random_key(1, GR_RANDOM_DROPOUT, 0, 0),
        gr_random_key(1, GR_RANDOM_INIT, 1, 0),
        gr_random_key(1, GR_RANDOM_INIT, 0, 1),
    };
    enum { KEYS = sizeof keys / sizeof *keys };
    uint32_t words[KEYS][4];
    for (int i = 0; i < KEYS; i++) {
        gr_random_block(&keys[i], 0, words[i]);
        for (int j = 0; j < i; j++)
            assert_memory_not_equal(words[i], words[j], sizeof words[i]);
    }
    const struct gr_random_key again = gr_random_key(1, GR_RANDOM_INIT, 0, 0);
    assert_memory_equal(&again, &keys[0], sizeof again);
}

enum { DRAWS = 200000, BINS = 50 };

static void uniform_numbers_are_in_range_and_flat(void **state)
{
    (void)state;
    const struct gr_random_key key = gr_random_key(7, GR_RANDOM_CHECK, 3, 4);
    int bins[BINS] = {0};
    double sum = 0;
    for (uint64_t i = 0; i < DRAWS; i++) {
        const float number = gr_random_uniform(&key, i);
        assert_true(number >= 0 && number < 1);
        bins[(int)(number * BINS)]++;
        sum += (double)number;
    }
    double chi2 = 0; /* 49 degrees of freedom: 99.99 % below 94 */
    for (int i = 0; i < BINS; i++) {
        const double difference = bins[i] - (double)DRAWS / BINS;
        chi2 += difference * difference / ((double)DRAWS / BINS);
    }
    assert_true(chi2 < 94);
    assert_true(fabs(sum / DRAWS - 0.5) < 5 / sqrt(12.0 * DRAWS));
}

static void normal_numbers_have_normal_moments(void **state)
{
    (void)state;
    const struct gr_random_key key = gr_random_key(8, GR_RANDOM_CHECK, 0, 0);
    double moment[5] = {0}, neighbours = 0;
    int within_one = 0;
    for (uint64_t i = 0; i < DRAWS; i++) {
        const double number = (double)gr_random_normal(&key, i);
        double power = 1;
        for (int k = 1; k < 5; k++)
            moment[k] += (power *= number) / DRAWS;
        within_one += fabs(number) < 1;
        neighbours += number * (double)gr_random_normal(&key, i ^ 1) / DRAWS;
    }
    const double sigma = 1 / sqrt(DRAWS);
    assert_true(fabs(moment[1]) < 5 * sigma);
    assert_true(fabs(moment[2] - 1) < 5 * sqrt(2) * sigma);
    assert_true(fabs(moment[3]) < 5 * sqrt(15) * sigma);
    assert_true(fabs(moment[4] - 3) < 5 * sqrt(96) * sigma);
    assert_true(fabs(within_one / (double)DRAWS - erf(sqrt(0.5))) < 5 * 0.5 * sigma);
    assert_true(fabs(neighbours) < 5 * sqrt(2) * sigma);
}

/* Box-Muller in double precision, from the words. */
static void normal_numbers_are_box_muller_of_the_words(void **state)
{
    (void)state;
    const struct gr_random_key key = gr_random_key(9, GR_RANDOM_CHECK, 1, 2);
    for (uint64_t i = 0; i < 4000; i++) {
        uint32_t words[4];
        gr_random_block(&key, i / 4, words);
        const uint32_t *pair = words + (i % 4 < 2 ? 0 : 2);
        const double a = (pair[0] >> 8) / 16777216.0, b = (pair[1] >> 8) / 16777216.0;
        const double radius = sqrt(-2 * log(1 - a)), angle = 2 * acos(-1) * b;
        const double wanted = radius * (i % 2 ? sin(angle) : cos(angle));
        assert_true(fabs((double)gr_random_normal(&key, i) - wanted) < 5e-6);
    }
}

static void blocks_are_the_single_numbers(void **state)
{
    (void)state;
    const struct gr_random_key key = gr_random_key(10, GR_RANDOM_CHECK, 0, 0);
    for (uint64_t block = 0; block < 500; block++) {
        float uniforms[4], normals[4];
        gr_random_uniforms(&key, block, uniforms);
        gr_random_normals(&key, block, normals);
        for (unsigned i = 0; i < 4; i++) {
            assert_true(uniforms[i] == gr_random_uniform(&key, 4 * block + i));
            assert_true(normals[i] == gr_random_normal(&key, 4 * block + i));
        }
    }
}

/* In vectors as wide as the processor has them, to the bit. */
static void many_blocks_are_the_single_ones(void **state)
{
    (void)state;
    enum { BLOCKS = 203 };
    static float uniforms[4 * BLOCKS], normals[4 * BLOCKS];
    static uint32_t words[4 * BLOCKS];
    const struct gr_random_key key = gr_random_key(12, GR_RANDOM_CHECK, 0, 7);
    const uint64_t first = (UINT64_C(1) << 32) - 100; /* over the end of the counter's first word */
    for (int64_t count = 0; count <= BLOCKS; count += 29) {
        gr_random_uniform_blocks(&key, first, count, uniforms);
        gr_random_normal_blocks(&key, first, count, normals);
        gr_random_word_blocks(&key, first, count, words);
        for (int64_t b = 0; b < count; b++) {
            float four[4];
            uint32_t bits[4];
            gr_random_block(&key, first + (uint64_t)b, bits);
            assert_memory_equal(bits, words + 4 * b, sizeof bits);
            gr_random_uniforms(&key, first + (uint64_t)b, four);
            assert_memory_equal(four, uniforms + 4 * b, sizeof four);
            gr_random_normals(&key, first + (uint64_t)b, four);
            assert_memory_equal(four, normals + 4 * b, sizeof four);
        }
    }
}

static void integers_stay_below_their_bound_and_reach_all(void **state)
{
    (void)state;
    const struct gr_random_key key = gr_random_key(11, GR_RANDOM_SHUFFLE, 0, 0);
    int counts[7] = {0};
    for (uint64_t i = 0; i < 70000; i++) {
        const uint64_t number = gr_random_below(&key, i, 7);
        assert_true(number < 7);
        counts[number]++;
        assert_int_equal(gr_random_below(&key, i, 1), 0);
    }
    for (int i = 0; i < 7; i++)
        assert_in_range(counts[i], 9500, 10500);
    bool high = false;
    for (uint64_t i = 0; i < 64; i++)
        high = high || gr_random_below(&key, i, UINT64_MAX) >> 63;
    assert_true(high);
}

static void names_hash_by_fnv_1a(void **state)
{
    (void)state;
    assert_int_equal(gr_random_name(""), 0x811c9dc5);
    assert_int_equal(gr_random_name("a"), 0xe40c292c);
    assert_int_equal(gr_random_name("foobar"), 0xbf9cf968);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_gives_the_published_answers),
        cmocka_unit_test(every_part_of_the_key_matters),
        cmocka_unit_test(uniform_numbers_are_in_range_and_flat),
        cmocka_unit_test(normal_numbers_have_normal_moments),
        cmocka_unit_test(normal_numbers_are_box_muller_of_the_words),
        cmocka_unit_test(blocks_are_the_single_numbers),
        cmocka_unit_test(many_blocks_are_the_single_ones),
        cmocka_unit_test(integers_stay_below_their_bound_and_reach_all),
        cmocka_unit_test(names_hash_by_fnv_1a),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
