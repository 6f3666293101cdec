/*
 * The memory planner as a pure function: whatever the lifetimes, what is alive together lies apart,
 * and the arena is no smaller than it must be and hardly larger.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/memory_trial.h"

enum { MANY = 20000 };

/* ---- random lifetimes -------------------------------------------------------------------- */

/* Sizes small, large, odd and zero; times short, long and single. */
static struct gr_memory_trial random_trial(uint64_t seed, bool reuse)
{
    static const size_t scales[] = {2, 64, 1000, 100000, (size_t)1 << 30};
    const size_t steps = 1 + gr_memory_draw(seed, 0, 40);
    struct gr_memory_trial trial = gr_memory_trial_new(gr_memory_draw(seed, 1, 60));
    for (size_t i = 0; i < trial.count; i++) {
        const size_t at = 2 + 5 * i;
        const size_t first = gr_memory_draw(seed, at, steps),
                     length = gr_memory_draw(seed, at + 1, steps - first);
        const bool takes_over = reuse && i > 0 && gr_memory_draw(seed, at + 2, 4) == 0;
        trial.lives[i] = (struct gr_lifetime){
            .bytes = gr_memory_draw(seed, at + 3, scales[gr_memory_draw(seed, at + 4, 5)]),
            .first = (int)first,
            .last = (int)(first + length),
            .reuse_of = takes_over ? (int)gr_memory_draw(seed, at + 1, i) : -1,
        };
    }
    return trial;
}

static void buffers_alive_together_never_overlap(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        struct gr_memory_trial trial = random_trial(seed, false);
        gr_memory_trial_check(&trial, true);
        gr_memory_trial_release(&trial);
    }
}

static void lifetimes_that_take_over_memory_share_one_place(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        struct gr_memory_trial trial = random_trial(seed, true);
        gr_memory_trial_check(&trial, true);
        gr_memory_trial_release(&trial);
    }
}

static void a_plan_is_a_function_of_its_lifetimes(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct gr_memory_trial one = random_trial(seed, true), two = random_trial(seed, true);
        gr_memory_trial_plan(&one);
        /* Other allocations between the two must not matter: addresses are no tie-break. */
        void *between = malloc(1 + gr_memory_draw(seed, 7, 5000));
        assert_non_null(between);
        gr_memory_trial_plan(&two);
        free(between);
        assert_memory_equal(&one.plan, &two.plan, sizeof one.plan);
        if (one.count)
            assert_memory_equal(one.offsets, two.offsets, one.count * sizeof *one.offsets);
        gr_memory_trial_release(&one);
        gr_memory_trial_release(&two);
    }
}

/* ---- shapes of lifetimes with a known answer --------------------------------------------- */

static void nothing_to_place_needs_nothing(void **state)
{
    (void)state;
    struct gr_memory_trial trial = gr_memory_trial_new(0);
    gr_memory_trial_check(&trial, true);
    assert_int_equal(trial.plan.arena, 0);
    assert_int_equal(trial.plan.lower_bound, 0);
    assert_int_equal(trial.plan.without_reuse, 0);
    gr_memory_trial_release(&trial);
}

static void empty_buffers_need_nothing(void **state)
{
    (void)state;
    struct gr_memory_trial trial = gr_memory_trial_new(3);
    for (size_t i = 0; i < trial.count; i++)
        trial.lives[i] = (struct gr_lifetime){0, (int)i, (int)i + 1, -1};
    gr_memory_trial_check(&trial, true);
    assert_int_equal(trial.plan.arena, 0);
    gr_memory_trial_release(&trial);
}

static void one_buffer_lies_at_the_start(void **state)
{
    (void)state;
    struct gr_memory_trial trial = gr_memory_trial_new(1);
    trial.lives[0] = (struct gr_lifetime){1, 3, 3, -1};
    gr_memory_trial_expect_bound(&trial);
    assert_int_equal(trial.offsets[0], 0);
    assert_int_equal(trial.plan.arena, GR_MEMORY_ALIGN);
    gr_memory_trial_release(&trial);
}

static void buffers_one_after_another_share_one_place(void **state)
{
    (void)state;
    struct gr_memory_trial trial = gr_memory_trial_new(200);
    size_t largest = 0;
    for (size_t i = 0; i < trial.count; i++) {
        const size_t bytes = 1 + gr_memory_draw(3, i, 100000);
        trial.lives[i] = (struct gr_lifetime){bytes, (int)i, (int)i, -1};
        largest = bytes > largest ? bytes : largest;
    }
    gr_memory_trial_expect_bound(&trial);
    assert_int_equal(trial.plan.arena, gr_memory_rounded(largest));
    gr_memory_trial_release(&trial);
}

static void buffers_all_alive_at_once_need_their_sum(void **state)
{
    (void)state;
    struct gr_memory_trial trial = gr_memory_trial_new(200);
    for (size_t i = 0; i < trial.count; i++)
        trial.lives[i] = (struct gr_lifetime){1 + gr_memory_draw(4, i, 100000), 0, 9, -1};
    gr_memory_trial_expect_bound(&trial);
    assert_int_equal(trial.plan.arena, trial.plan.without_reuse);
    gr_memory_trial_release(&trial);
}

/* Made on the way forward, read on the way back. */
static void nested_lifetimes_take_no_more_than_they_must(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct gr_memory_trial trial = gr_memory_trial_new(1 + gr_memory_draw(seed, 0, 300));
        const int end = 2 * (int)trial.count;
        for (size_t i = 0; i < trial.count; i++)
            trial.lives[i] = (struct gr_lifetime){1 + gr_memory_draw(seed, 1 + i, 1 << 20), (int)i,
                                                  end - (int)i, -1};
        gr_memory_trial_expect_bound(&trial);
        gr_memory_trial_release(&trial);
    }
}

/* Each is read by the next alone: the shape of inference through a chain of layers. */
static void chains_take_no_more_than_they_must(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct gr_memory_trial trial = gr_memory_trial_new(2 + gr_memory_draw(seed, 0, 60));
        for (size_t i = 0; i < trial.count; i++)
            trial.lives[i] = (struct gr_lifetime){1 + gr_memory_draw(seed, 1 + i, 1 << 20), (int)i,
                                                  (int)i + 1, -1};
        gr_memory_trial_expect_bound(&trial);
        gr_memory_trial_release(&trial);
    }
}

/* ---- as real networks have them ---------------------------------------------------------- */

/*
 * A training step of `layers` layers: activations made forward (two a layer, the second with a
 * workspace of any size) and read backward, gradients that live for a step or two, scratch for one.
 */
static struct gr_memory_trial training_trial(uint64_t seed, size_t layers)
{
    struct gr_memory_trial trial = gr_memory_trial_new(6 * layers);
    const int end = (int)(4 * layers);
    size_t bytes = (size_t)64 << 20, n = 0;
    for (size_t l = 0; l < layers; l++) {
        const int forward = 2 * (int)l, backward = end - 2 * (int)l - 2;
        bytes = 4096 + bytes / 10 * (4 + gr_memory_draw(seed, l, 9)) % ((size_t)256 << 20);
        trial.lives[n++] = (struct gr_lifetime){bytes, forward, backward + 1, -1};
        trial.lives[n++] = (struct gr_lifetime){bytes, forward + 1, backward, -1};
        trial.lives[n++] = (struct gr_lifetime){bytes / (1 + gr_memory_draw(seed, 500 + l, 9)),
                                                forward + 1, backward, -1};
        trial.lives[n++] = (struct gr_lifetime){bytes, backward, backward + 1, -1};
        trial.lives[n++] = (struct gr_lifetime){bytes, backward + 1, backward + 2, -1};
        trial.lives[n++] = (struct gr_lifetime){gr_memory_draw(seed, 900 + l, bytes), backward + 1,
                                                backward + 1, -1};
    }
    return trial;
}

static void training_steps_come_within_a_few_per_cent(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct gr_memory_trial trial = training_trial(seed, 4 + gr_memory_draw(seed, 3000, 60));
        gr_memory_trial_check(&trial, true);
        if (trial.plan.arena > trial.plan.lower_bound + trial.plan.lower_bound / 20)
            fail_msg("seed %d: %zu bytes where %zu are alive at most", (int)seed, trial.plan.arena,
                     trial.plan.lower_bound);
        gr_memory_trial_release(&trial);
    }
}

/* AlexNet's forward pass, batch 128: what is alive is an activation and the next. */
static void inference_of_alexnet_needs_its_two_largest_neighbours(void **state)
{
    (void)state;
    static const size_t elements[] = {3 * 224 * 224, 96 * 55 * 55,  96 * 55 * 55,  96 * 27 * 27,
                                      256 * 27 * 27, 256 * 27 * 27, 256 * 13 * 13, 384 * 13 * 13,
                                      384 * 13 * 13, 256 * 13 * 13, 256 * 6 * 6,   4096,
                                      4096,          1000};
    const size_t n = sizeof elements / sizeof *elements;
    struct gr_memory_trial trial = gr_memory_trial_new(n);
    for (size_t i = 0; i < n; i++)
        trial.lives[i] = (struct gr_lifetime){elements[i] * 128 * 4, (int)i, (int)i + 1, -1};
    gr_memory_trial_expect_bound(&trial);
    assert_int_equal(trial.plan.arena, 2 * 96 * 55 * 55 * 128 * 4);
    gr_memory_trial_release(&trial);
}

static void twenty_thousand_lifetimes_are_planned(void **state)
{
    (void)state;
    struct gr_memory_trial nested = gr_memory_trial_new(MANY), mixed = gr_memory_trial_new(MANY);
    for (size_t i = 0; i < MANY; i++) {
        const size_t bytes = 1 + gr_memory_draw(5, 3 * i, 1 << 20);
        nested.lives[i] = (struct gr_lifetime){bytes, (int)i, 2 * MANY - (int)i, -1};
        const int first = (int)gr_memory_draw(5, 3 * i + 1, MANY);
        mixed.lives[i] =
            (struct gr_lifetime){bytes, first, first + (int)gr_memory_draw(5, 3 * i + 2, 64), -1};
    }
    gr_memory_trial_check(&nested, false);
    assert_int_equal(nested.plan.arena, nested.plan.lower_bound);
    gr_memory_trial_check(&mixed, false);
    gr_memory_trial_release(&nested);
    gr_memory_trial_release(&mixed);
}

/* Short lives one after the other among long ones, as of a deep network: many of them. */
static void deep_networks_take_no_more_than_they_must(void **state)
{
    (void)state;
    struct gr_memory_trial inference = gr_memory_trial_new(MANY),
                           training = gr_memory_trial_new(MANY);
    const int half = MANY / 4;
    for (int i = 0; i < MANY; i++)
        inference.lives[i] = (struct gr_lifetime){i % 7 ? 4096 : 3000, i, i + (i % 5 ? 1 : 4), -1};
    for (int i = 0; i < half; i++) {
        const int back = 2 * half - 1 - i;
        training.lives[4 * i] = (struct gr_lifetime){4096, i, back, -1};
        training.lives[4 * i + 1] = (struct gr_lifetime){4096, back, back + 1, -1};
        training.lives[4 * i + 2] = (struct gr_lifetime){9000, back, back + 1, -1};
        training.lives[4 * i + 3] = (struct gr_lifetime){i % 3 ? 64 : 7000, back, back, -1};
    }
    gr_memory_trial_check(&inference, false);
    gr_memory_trial_check(&training, false);
    assert_true(inference.plan.arena <= inference.plan.lower_bound / 100 * 102);
    assert_true(training.plan.arena <= training.plan.lower_bound / 100 * 102);
    gr_memory_trial_release(&inference);
    gr_memory_trial_release(&training);
}

/* ---- sizes beyond memory ----------------------------------------------------------------- */

static void expect_overflow(struct gr_memory_trial *trial)
{
    struct gr_error err = {0};
    assert_false(gr_memory_plan(trial->lives, trial->count, trial->offsets, &trial->plan, &err));
    assert_int_equal(err.status, GR_ERR_RUNTIME);
    assert_string_equal(err.message, "the graph needs more memory than can be addressed");
}

static void sizes_beyond_the_address_space_are_an_error(void **state)
{
    (void)state;
    struct gr_memory_trial one = gr_memory_trial_new(1), many = gr_memory_trial_new(16);
    const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 62, SIZE_MAX / 2};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        one.lives[0] = (struct gr_lifetime){sizes[i], 0, 0, -1};
        expect_overflow(&one);
    }
    for (size_t i = 0; i < many.count; i++)
        many.lives[i] = (struct gr_lifetime){SIZE_MAX / 16, (int)i, (int)i, -1};
    expect_overflow(&many);
    gr_memory_trial_release(&one);
    gr_memory_trial_release(&many);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buffers_alive_together_never_overlap),
        cmocka_unit_test(lifetimes_that_take_over_memory_share_one_place),
        cmocka_unit_test(a_plan_is_a_function_of_its_lifetimes),
        cmocka_unit_test(nothing_to_place_needs_nothing),
        cmocka_unit_test(empty_buffers_need_nothing),
        cmocka_unit_test(one_buffer_lies_at_the_start),
        cmocka_unit_test(buffers_one_after_another_share_one_place),
        cmocka_unit_test(buffers_all_alive_at_once_need_their_sum),
        cmocka_unit_test(nested_lifetimes_take_no_more_than_they_must),
        cmocka_unit_test(chains_take_no_more_than_they_must),
        cmocka_unit_test(training_steps_come_within_a_few_per_cent),
        cmocka_unit_test(inference_of_alexnet_needs_its_two_largest_neighbours),
        cmocka_unit_test(twenty_thousand_lifetimes_are_planned),
        cmocka_unit_test(deep_networks_take_no_more_than_they_must),
        cmocka_unit_test(sizes_beyond_the_address_space_are_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
