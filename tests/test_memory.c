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

#include "base/random.h"
#include "graph/memory.h"

enum { MANY = 20000 };

/* ---- the definition ---------------------------------------------------------------------- */

/* A plan and what it was made for. */
struct trial {
    struct gr_lifetime *lives;
    size_t count;
    size_t *offsets;
    struct gr_memory_plan plan;
};

static size_t rounded(size_t bytes)
{
    return (bytes + 63) & ~(size_t)63;
}

static struct trial trial_new(size_t count)
{
    struct trial trial = {.count = count,
                          .lives = calloc(count + 1, sizeof(struct gr_lifetime)),
                          .offsets = calloc(count + 1, sizeof(size_t))};
    assert_non_null(trial.lives);
    assert_non_null(trial.offsets);
    return trial;
}

static void trial_free(struct trial *trial)
{
    free(trial->lives);
    free(trial->offsets);
}

static void plan_trial(struct trial *trial)
{
    struct gr_error err = {0};
    if (!gr_memory_plan(trial->lives, trial->count, trial->offsets, &trial->plan, &err))
        fail_msg("%s", err.message);
    assert_int_equal(err.status, GR_OK);
}

/* The lifetime at the end of the chain of reuse_of. */
static size_t owner_of(const struct trial *trial, size_t i)
{
    while (trial->lives[i].reuse_of >= 0)
        i = (size_t)trial->lives[i].reuse_of;
    return i;
}

/* Each owner with the largest size and the whole time of those that share its memory. */
static struct gr_lifetime *groups_of(const struct trial *trial)
{
    struct gr_lifetime *groups = calloc(trial->count + 1, sizeof *groups);
    assert_non_null(groups);
    for (size_t i = 0; i < trial->count; i++) {
        const struct gr_lifetime *life = &trial->lives[i];
        struct gr_lifetime *group = &groups[owner_of(trial, i)];
        if (life->reuse_of < 0)
            *group = *life;
        group->bytes = rounded(life->bytes) > group->bytes ? rounded(life->bytes) : group->bytes;
        group->first = life->first < group->first ? life->first : group->first;
        group->last = life->last > group->last ? life->last : group->last;
    }
    return groups;
}

/* What is alive at the fullest step, step by step. */
static size_t most_alive(const struct trial *trial, const struct gr_lifetime *groups)
{
    size_t most = 0;
    int end = 0;
    for (size_t i = 0; i < trial->count; i++)
        end = trial->lives[i].last > end ? trial->lives[i].last : end;
    for (int step = 0; step <= end; step++) {
        size_t alive = 0;
        for (size_t i = 0; i < trial->count; i++)
            if (trial->lives[i].reuse_of < 0 && groups[i].first <= step && step <= groups[i].last)
                alive += groups[i].bytes;
        most = alive > most ? alive : most;
    }
    return most;
}

static void expect_apart(const struct trial *trial, const struct gr_lifetime *groups)
{
    for (size_t i = 0; i < trial->count; i++)
        for (size_t j = 0; j < i; j++) {
            const size_t a = owner_of(trial, i), b = owner_of(trial, j);
            if (a == b) {
                assert_int_equal(trial->offsets[i], trial->offsets[j]);
                continue;
            }
            const bool together =
                groups[a].first <= groups[b].last && groups[b].first <= groups[a].last;
            const bool overlap = trial->offsets[a] < trial->offsets[b] + groups[b].bytes &&
                                 trial->offsets[b] < trial->offsets[a] + groups[a].bytes;
            if (together && overlap && groups[a].bytes && groups[b].bytes)
                fail_msg("buffers %zu and %zu are alive together and overlap", i, j);
        }
}

/* Plans and holds the plan against its definition; the O(n²) part only where `pairs` says so. */
static void check_trial(struct trial *trial, bool pairs)
{
    size_t total = 0, end = 0;
    plan_trial(trial);
    struct gr_lifetime *groups = groups_of(trial);
    for (size_t i = 0; i < trial->count; i++) {
        assert_int_equal(trial->offsets[i] % GR_MEMORY_ALIGN, 0);
        total += rounded(trial->lives[i].bytes);
        const size_t top = trial->offsets[i] + rounded(trial->lives[i].bytes);
        end = top > end ? top : end;
    }
    if (pairs) {
        expect_apart(trial, groups);
        assert_int_equal(trial->plan.lower_bound, most_alive(trial, groups));
    }
    assert_int_equal(trial->plan.arena, end);
    assert_int_equal(trial->plan.without_reuse, total);
    assert_true(trial->plan.arena >= trial->plan.lower_bound);
    assert_true(trial->plan.arena <= total);
    free(groups);
}

/* ---- random lifetimes -------------------------------------------------------------------- */

/* The draw-th number of a seed, from 0 to below bound. */
static size_t draw(uint64_t seed, size_t at, size_t bound)
{
    const struct gr_random_key key = gr_random_key(seed, GR_RANDOM_CHECK, 0, 1);
    return (size_t)gr_random_below(&key, at, bound);
}

/* Sizes small, large, odd and zero; times short, long and single. */
static struct trial random_trial(uint64_t seed, bool reuse)
{
    static const size_t scales[] = {2, 64, 1000, 100000, (size_t)1 << 30};
    const size_t steps = 1 + draw(seed, 0, 40);
    struct trial trial = trial_new(draw(seed, 1, 60));
    for (size_t i = 0; i < trial.count; i++) {
        const size_t at = 2 + 5 * i;
        const size_t first = draw(seed, at, steps), length = draw(seed, at + 1, steps - first);
        const bool takes_over = reuse && i > 0 && draw(seed, at + 2, 4) == 0;
        trial.lives[i] = (struct gr_lifetime){
            .bytes = draw(seed, at + 3, scales[draw(seed, at + 4, 5)]),
            .first = (int)first,
            .last = (int)(first + length),
            .reuse_of = takes_over ? (int)draw(seed, at + 1, i) : -1,
        };
    }
    return trial;
}

static void buffers_alive_together_never_overlap(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        struct trial trial = random_trial(seed, false);
        check_trial(&trial, true);
        trial_free(&trial);
    }
}

static void lifetimes_that_take_over_memory_share_one_place(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        struct trial trial = random_trial(seed, true);
        check_trial(&trial, true);
        trial_free(&trial);
    }
}

static void a_plan_is_a_function_of_its_lifetimes(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct trial one = random_trial(seed, true), two = random_trial(seed, true);
        plan_trial(&one);
        /* Other allocations between the two must not matter: addresses are no tie-break. */
        void *between = malloc(1 + draw(seed, 7, 5000));
        assert_non_null(between);
        plan_trial(&two);
        free(between);
        assert_memory_equal(&one.plan, &two.plan, sizeof one.plan);
        if (one.count)
            assert_memory_equal(one.offsets, two.offsets, one.count * sizeof *one.offsets);
        trial_free(&one);
        trial_free(&two);
    }
}

/* ---- shapes of lifetimes with a known answer --------------------------------------------- */

static void expect_bound(struct trial *trial)
{
    check_trial(trial, trial->count <= 512);
    assert_int_equal(trial->plan.arena, trial->plan.lower_bound);
}

static void nothing_to_place_needs_nothing(void **state)
{
    (void)state;
    struct trial trial = trial_new(0);
    check_trial(&trial, true);
    assert_int_equal(trial.plan.arena, 0);
    assert_int_equal(trial.plan.lower_bound, 0);
    assert_int_equal(trial.plan.without_reuse, 0);
    trial_free(&trial);
}

static void empty_buffers_need_nothing(void **state)
{
    (void)state;
    struct trial trial = trial_new(3);
    for (size_t i = 0; i < trial.count; i++)
        trial.lives[i] = (struct gr_lifetime){0, (int)i, (int)i + 1, -1};
    check_trial(&trial, true);
    assert_int_equal(trial.plan.arena, 0);
    trial_free(&trial);
}

static void one_buffer_lies_at_the_start(void **state)
{
    (void)state;
    struct trial trial = trial_new(1);
    trial.lives[0] = (struct gr_lifetime){1, 3, 3, -1};
    expect_bound(&trial);
    assert_int_equal(trial.offsets[0], 0);
    assert_int_equal(trial.plan.arena, GR_MEMORY_ALIGN);
    trial_free(&trial);
}

static void buffers_one_after_another_share_one_place(void **state)
{
    (void)state;
    struct trial trial = trial_new(200);
    size_t largest = 0;
    for (size_t i = 0; i < trial.count; i++) {
        const size_t bytes = 1 + draw(3, i, 100000);
        trial.lives[i] = (struct gr_lifetime){bytes, (int)i, (int)i, -1};
        largest = bytes > largest ? bytes : largest;
    }
    expect_bound(&trial);
    assert_int_equal(trial.plan.arena, rounded(largest));
    trial_free(&trial);
}

static void buffers_all_alive_at_once_need_their_sum(void **state)
{
    (void)state;
    struct trial trial = trial_new(200);
    for (size_t i = 0; i < trial.count; i++)
        trial.lives[i] = (struct gr_lifetime){1 + draw(4, i, 100000), 0, 9, -1};
    expect_bound(&trial);
    assert_int_equal(trial.plan.arena, trial.plan.without_reuse);
    trial_free(&trial);
}

/* Made on the way forward, read on the way back. */
static void nested_lifetimes_take_no_more_than_they_must(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct trial trial = trial_new(1 + draw(seed, 0, 300));
        const int end = 2 * (int)trial.count;
        for (size_t i = 0; i < trial.count; i++)
            trial.lives[i] =
                (struct gr_lifetime){1 + draw(seed, 1 + i, 1 << 20), (int)i, end - (int)i, -1};
        expect_bound(&trial);
        trial_free(&trial);
    }
}

/* Each is read by the next alone: the shape of inference through a chain of layers. */
static void chains_take_no_more_than_they_must(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct trial trial = trial_new(2 + draw(seed, 0, 60));
        for (size_t i = 0; i < trial.count; i++)
            trial.lives[i] =
                (struct gr_lifetime){1 + draw(seed, 1 + i, 1 << 20), (int)i, (int)i + 1, -1};
        expect_bound(&trial);
        trial_free(&trial);
    }
}

/* ---- as real networks have them ---------------------------------------------------------- */

/*
 * A training step of `layers` layers: activations made forward (two a layer, the second with a
 * workspace of any size) and read backward, gradients that live for a step or two, scratch for one.
 */
static struct trial training_trial(uint64_t seed, size_t layers)
{
    struct trial trial = trial_new(6 * layers);
    const int end = (int)(4 * layers);
    size_t bytes = (size_t)64 << 20, n = 0;
    for (size_t l = 0; l < layers; l++) {
        const int forward = 2 * (int)l, backward = end - 2 * (int)l - 2;
        bytes = 4096 + bytes / 10 * (4 + draw(seed, l, 9)) % ((size_t)256 << 20);
        trial.lives[n++] = (struct gr_lifetime){bytes, forward, backward + 1, -1};
        trial.lives[n++] = (struct gr_lifetime){bytes, forward + 1, backward, -1};
        trial.lives[n++] =
            (struct gr_lifetime){bytes / (1 + draw(seed, 500 + l, 9)), forward + 1, backward, -1};
        trial.lives[n++] = (struct gr_lifetime){bytes, backward, backward + 1, -1};
        trial.lives[n++] = (struct gr_lifetime){bytes, backward + 1, backward + 2, -1};
        trial.lives[n++] =
            (struct gr_lifetime){draw(seed, 900 + l, bytes), backward + 1, backward + 1, -1};
    }
    return trial;
}

static void training_steps_come_within_a_few_per_cent(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct trial trial = training_trial(seed, 4 + draw(seed, 3000, 60));
        check_trial(&trial, true);
        if (trial.plan.arena > trial.plan.lower_bound + trial.plan.lower_bound / 20)
            fail_msg("seed %d: %zu bytes where %zu are alive at most", (int)seed, trial.plan.arena,
                     trial.plan.lower_bound);
        trial_free(&trial);
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
    struct trial trial = trial_new(n);
    for (size_t i = 0; i < n; i++)
        trial.lives[i] = (struct gr_lifetime){elements[i] * 128 * 4, (int)i, (int)i + 1, -1};
    expect_bound(&trial);
    assert_int_equal(trial.plan.arena, 2 * 96 * 55 * 55 * 128 * 4);
    trial_free(&trial);
}

static void twenty_thousand_lifetimes_are_planned(void **state)
{
    (void)state;
    struct trial nested = trial_new(MANY), mixed = trial_new(MANY);
    for (size_t i = 0; i < MANY; i++) {
        const size_t bytes = 1 + draw(5, 3 * i, 1 << 20);
        nested.lives[i] = (struct gr_lifetime){bytes, (int)i, 2 * MANY - (int)i, -1};
        const int first = (int)draw(5, 3 * i + 1, MANY);
        mixed.lives[i] =
            (struct gr_lifetime){bytes, first, first + (int)draw(5, 3 * i + 2, 64), -1};
    }
    check_trial(&nested, false);
    assert_int_equal(nested.plan.arena, nested.plan.lower_bound);
    check_trial(&mixed, false);
    trial_free(&nested);
    trial_free(&mixed);
}

/* Short lives one after the other among long ones, as of a deep network: many of them. */
static void deep_networks_take_no_more_than_they_must(void **state)
{
    (void)state;
    struct trial inference = trial_new(MANY), training = trial_new(MANY);
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
    check_trial(&inference, false);
    check_trial(&training, false);
    assert_true(inference.plan.arena <= inference.plan.lower_bound / 100 * 102);
    assert_true(training.plan.arena <= training.plan.lower_bound / 100 * 102);
    trial_free(&inference);
    trial_free(&training);
}

/* ---- sizes beyond memory ----------------------------------------------------------------- */

static void expect_overflow(struct trial *trial)
{
    struct gr_error err = {0};
    assert_false(gr_memory_plan(trial->lives, trial->count, trial->offsets, &trial->plan, &err));
    assert_int_equal(err.status, GR_ERR_RUNTIME);
    assert_string_equal(err.message, "the graph needs more memory than can be addressed");
}

static void sizes_beyond_the_address_space_are_an_error(void **state)
{
    (void)state;
    struct trial one = trial_new(1), many = trial_new(16);
    const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 62, SIZE_MAX / 2};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        one.lives[0] = (struct gr_lifetime){sizes[i], 0, 0, -1};
        expect_overflow(&one);
    }
    for (size_t i = 0; i < many.count; i++)
        many.lives[i] = (struct gr_lifetime){SIZE_MAX / 16, (int)i, (int)i, -1};
    expect_overflow(&many);
    trial_free(&one);
    trial_free(&many);
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
