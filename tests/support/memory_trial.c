/*
 * What a plan of memory must be, as loops over all pairs of buffers; see memory_trial.h.
 */
#include "support/memory_trial.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/random.h"

size_t gr_memory_draw(uint64_t seed, size_t at, size_t bound)
{
    const struct gr_random_key key = gr_random_key(seed, GR_RANDOM_CHECK, 0, 1);
    return (size_t)gr_random_below(&key, at, bound);
}

size_t gr_memory_rounded(size_t bytes)
{
    return (bytes + 63) & ~(size_t)63;
}

struct gr_memory_trial gr_memory_trial_new(size_t count)
{
    struct gr_memory_trial trial = {.count = count,
                                    .lives = calloc(count + 1, sizeof(struct gr_lifetime)),
                                    .offsets = calloc(count + 1, sizeof(size_t))};
    assert_non_null(trial.lives);
    assert_non_null(trial.offsets);
    return trial;
}

void gr_memory_trial_release(struct gr_memory_trial *trial)
{
    free(trial->lives);
    free(trial->offsets);
}

void gr_memory_trial_plan(struct gr_memory_trial *trial)
{
    struct gr_error err = {0};
    if (!gr_memory_plan(trial->lives, trial->count, trial->offsets, &trial->plan, &err))
        fail_msg("%s", err.message);
    assert_int_equal(err.status, GR_OK);
}

/* The lifetime at the end of the chain of reuse_of. */
static size_t owner_of(const struct gr_memory_trial *trial, size_t i)
{
    while (trial->lives[i].reuse_of >= 0)
        i = (size_t)trial->lives[i].reuse_of;
    return i;
}

/* Each owner with the largest size and the whole time of those that share its memory. */
static struct gr_lifetime *groups_of(const struct gr_memory_trial *trial)
{
    struct gr_lifetime *groups = calloc(trial->count + 1, sizeof *groups);
    assert_non_null(groups);
    for (size_t i = 0; i < trial->count; i++) {
        const struct gr_lifetime *life = &trial->lives[i];
        struct gr_lifetime *group = &groups[owner_of(trial, i)];
        if (life->reuse_of < 0)
            *group = *life;
        group->bytes = gr_memory_rounded(life->bytes) > group->bytes
                           ? gr_memory_rounded(life->bytes)
                           : group->bytes;
        group->first = life->first < group->first ? life->first : group->first;
        group->last = life->last > group->last ? life->last : group->last;
    }
    return groups;
}

/* What is alive at the fullest step, step by step. */
static size_t most_alive(const struct gr_memory_trial *trial, const struct gr_lifetime *groups)
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

static void expect_apart(const struct gr_memory_trial *trial, const struct gr_lifetime *groups)
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

void gr_memory_trial_check(struct gr_memory_trial *trial, bool pairs)
{
    size_t total = 0, end = 0;
    gr_memory_trial_plan(trial);
    struct gr_lifetime *groups = groups_of(trial);
    for (size_t i = 0; i < trial->count; i++) {
        assert_int_equal(trial->offsets[i] % GR_MEMORY_ALIGN, 0);
        total += gr_memory_rounded(trial->lives[i].bytes);
        const size_t top = trial->offsets[i] + gr_memory_rounded(trial->lives[i].bytes);
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

void gr_memory_trial_expect_bound(struct gr_memory_trial *trial)
{
    gr_memory_trial_check(trial, trial->count <= 512);
    assert_int_equal(trial->plan.arena, trial->plan.lower_bound);
}
