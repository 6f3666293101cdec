/*
 * The order of an epoch: a permutation, in windows made of runs where the data are a pack.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "data/epoch_order.h"

static const int64_t counts[] = {1, 2, 63, 64, 65, 127, 128, 4095, 4096, 4097, 4161, 20001, 40960};

enum { COUNTS = sizeof counts / sizeof *counts };

static uint32_t *order_of(int64_t count, bool mixed, uint32_t epoch)
{
    const struct gr_random_key key = gr_random_key(7, GR_RANDOM_SHUFFLE, epoch, 0);
    uint32_t *order = malloc((size_t)count * sizeof *order);
    assert_non_null(order);
    gr_epoch_order(order, count, mixed, &key);
    return order;
}

static void every_sample_comes_once(void **state)
{
    (void)state;
    for (int n = 0; n < COUNTS; n++)
        for (uint32_t epoch = 0; epoch < 6; epoch++) {
            uint32_t *order = order_of(counts[n], epoch % 2, epoch);
            bool *seen = calloc((size_t)counts[n], sizeof *seen);
            assert_non_null(seen);
            for (int64_t i = 0; i < counts[n]; i++) {
                assert_true(order[i] < counts[n] && !seen[order[i]]);
                seen[order[i]] = true;
            }
            free(seen);
            free(order);
        }
}

/* Of a window, all but the runs at its two ends are there as a whole. */
static void windows_are_made_of_whole_runs(void **state)
{
    (void)state;
    for (int n = 0; n < COUNTS; n++) {
        const int64_t count = counts[n], runs = (count + GR_ORDER_RUN - 1) / GR_ORDER_RUN;
        uint32_t *order = order_of(count, true, 3);
        int *windows = calloc((size_t)runs, sizeof *windows); /* that have to do with a run */
        int64_t *last = calloc((size_t)runs, sizeof *last), broken = 0;
        assert_true(windows && last);
        for (int64_t i = 0; i < count; i++) {
            const uint32_t run = order[i] / GR_ORDER_RUN;
            const int64_t window = 1 + i / GR_ORDER_WINDOW;
            windows[run] += last[run] != window;
            last[run] = window;
        }
        for (int64_t r = 0; r < runs; r++) {
            assert_true(windows[r] <= 2);
            broken += windows[r] == 2;
        }
        assert_true(broken <= count / GR_ORDER_WINDOW);
        free(windows);
        free(last);
        free(order);
    }
}

/* Neighbours of the data are neighbours of the order hardly more often than by chance. */
static void within_a_window_samples_are_mixed(void **state)
{
    const int64_t count = 40960;
    uint32_t *order = order_of(count, true, 1);
    int64_t neighbours = 0, first_half = 0;
    (void)state;
    for (int64_t i = 1; i < count; i++)
        neighbours += order[i] == order[i - 1] + 1;
    for (int64_t i = 0; i < GR_ORDER_WINDOW; i++)
        first_half += order[i] < count / 2;
    assert_true(neighbours < 40); /* ten expected */
    assert_true(first_half > GR_ORDER_WINDOW / 4 && first_half < 3 * GR_ORDER_WINDOW / 4);
    free(order);
}

static void another_epoch_has_another_order_and_the_same_one_the_same(void **state)
{
    (void)state;
    for (int mixed = 0; mixed < 2; mixed++) {
        uint32_t *one = order_of(5000, mixed, 1), *again = order_of(5000, mixed, 1);
        uint32_t *other = order_of(5000, mixed, 2);
        assert_memory_equal(one, again, 5000 * sizeof *one);
        assert_memory_not_equal(one, other, 5000 * sizeof *one);
        free(one);
        free(again);
        free(other);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_sample_comes_once),
        cmocka_unit_test(windows_are_made_of_whole_runs),
        cmocka_unit_test(within_a_window_samples_are_mixed),
        cmocka_unit_test(another_epoch_has_another_order_and_the_same_one_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
