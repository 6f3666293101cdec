/*
 * Lifetimes, the plan made for them, and what a plan must be: what is alive together lies apart,
 * groups share a place, and the figures are those of the definition. A failure ends the test.
 */
#ifndef GR_TESTS_MEMORY_TRIAL_H
#define GR_TESTS_MEMORY_TRIAL_H

#include <stdbool.h>
#include <stdint.h>

#include "graph/memory.h"

struct gr_memory_trial {
    struct gr_lifetime *lives; /* [count] */
    size_t count;
    size_t *offsets; /* [count] */
    struct gr_memory_plan plan;
};

/* Lifetimes all zero: to be filled in. */
struct gr_memory_trial gr_memory_trial_new(size_t count);
void gr_memory_trial_release(struct gr_memory_trial *trial);

void gr_memory_trial_plan(struct gr_memory_trial *trial);

/* Plans and checks the plan; pair by pair, which takes time count², only where `pairs` says so. */
void gr_memory_trial_check(struct gr_memory_trial *trial, bool pairs);

/* And the arena is the lower bound. */
void gr_memory_trial_expect_bound(struct gr_memory_trial *trial);

/* To the next multiple of GR_MEMORY_ALIGN. */
size_t gr_memory_rounded(size_t bytes);

/* The at-th number of a seed, from 0 to below bound. */
size_t gr_memory_draw(uint64_t seed, size_t at, size_t bound);

#endif
