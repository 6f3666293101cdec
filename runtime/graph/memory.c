/*
 * The memory planner; see memory.h.
 *
 * Three ways to place a buffer: on top of everything placed in its time (a skyline in a segment
 * tree, n log n; near perfect for the nested lifetimes of forward and backward), into the tightest
 * gap between the placed buffers alive at the same time (good, quadratic), and the same with the
 * room at the top filled from the lower bound down (right for chains, whose neighbours then lie at
 * either end). Each is tried with several orders, since none is best for all graphs: by size, by
 * lifetime, by both, by first use.
 */
#include "graph/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { GAP_LIMIT = 4096 };

/* A group of lifetimes that share one place. */
struct block {
    size_t bytes, offset;
    int first, last;
};

static size_t aligned(size_t bytes)
{
    return (bytes + GR_MEMORY_ALIGN - 1) / GR_MEMORY_ALIGN * GR_MEMORY_ALIGN;
}

/* ---- orders ------------------------------------------------------------------------------ */

static int descending(size_t a, size_t b)
{
    return a > b ? -1 : a < b;
}

static size_t duration(const struct block *block)
{
    return (size_t)(block->last - block->first) + 1;
}

/* The last resort of every order; blocks stand in one array, so that no tie is left to qsort. */
static int by_start(const struct block *a, const struct block *b)
{
    if (a->first != b->first)
        return a->first < b->first ? -1 : 1;
    return a < b ? -1 : a > b;
}

static int by_size(const void *a, const void *b)
{
    const struct block *x = *(struct block *const *)a, *y = *(struct block *const *)b;
    int order = descending(x->bytes, y->bytes);
    order = order ? order : descending(duration(x), duration(y));
    return order ? order : by_start(x, y);
}

static int by_duration(const void *a, const void *b)
{
    const struct block *x = *(struct block *const *)a, *y = *(struct block *const *)b;
    int order = descending(duration(x), duration(y));
    order = order ? order : descending(x->bytes, y->bytes);
    return order ? order : by_start(x, y);
}

static int by_area(const void *a, const void *b)
{
    const struct block *x = *(struct block *const *)a, *y = *(struct block *const *)b;
    const double p = (double)x->bytes * (double)duration(x);
    const double q = (double)y->bytes * (double)duration(y);
    return p != q ? (p > q ? -1 : 1) : by_size(a, b);
}

static int by_first_use(const void *a, const void *b)
{
    const struct block *x = *(struct block *const *)a, *y = *(struct block *const *)b;
    return x->first != y->first ? by_start(x, y) : by_size(a, b);
}

static int (*const orders[])(const void *, const void *) = {by_size, by_duration, by_area,
                                                            by_first_use};

/* ---- placing ----------------------------------------------------------------------------- */

/*
 * placed is sorted by offset. Puts the block into the tightest gap; else right under the ceiling,
 * if it fits there, or at the lowest free end. Ceiling 0: none.
 */
static void place_in_gap(struct block **placed, size_t count, struct block *block, size_t ceiling)
{
    size_t cursor = 0, best = SIZE_MAX, best_gap = SIZE_MAX;
    for (size_t i = 0; i < count; i++) {
        const struct block *other = placed[i];
        if (other->last < block->first || other->first > block->last)
            continue;
        if (other->offset > cursor) {
            const size_t gap = other->offset - cursor;
            if (gap >= block->bytes && gap < best_gap) {
                best = cursor;
                best_gap = gap;
            }
        }
        if (other->offset + other->bytes > cursor)
            cursor = other->offset + other->bytes;
    }
    if (best == SIZE_MAX)
        best = cursor + block->bytes <= ceiling ? ceiling - block->bytes : cursor;
    block->offset = best;
    size_t at = count;
    for (; at > 0 && placed[at - 1]->offset > block->offset; at--)
        placed[at] = placed[at - 1];
    placed[at] = block;
}

/* A segment tree over steps: assign a height to a range, ask for the greatest in a range. */
struct skyline {
    size_t *top, *lazy; /* [2 * width] */
    int width;          /* power of two */
};

static size_t highest(const struct skyline *s, int node, int low, int high, int first, int last)
{
    if (last < low || first > high)
        return 0;
    if (first <= low && high <= last)
        return s->top[node];
    const int middle = (low + high) / 2;
    const size_t left = highest(s, 2 * node, low, middle, first, last);
    const size_t right = highest(s, 2 * node + 1, middle + 1, high, first, last);
    const size_t below = left > right ? left : right;
    return s->lazy[node] > below ? s->lazy[node] : below;
}

/* Heights only grow, so a pending assignment can stay where it is as a floor. */
static void raise_to(struct skyline *s, int node, int low, int high, int first, int last, size_t to)
{
    if (last < low || first > high)
        return;
    if (to > s->top[node])
        s->top[node] = to;
    if (first <= low && high <= last) {
        if (to > s->lazy[node])
            s->lazy[node] = to;
        return;
    }
    const int middle = (low + high) / 2;
    raise_to(s, 2 * node, low, middle, first, last, to);
    raise_to(s, 2 * node + 1, middle + 1, high, first, last, to);
}

static bool place_on_skyline(struct block **order, size_t count, int steps)
{
    struct skyline s = {.width = 1};
    while (s.width < steps)
        s.width *= 2;
    s.top = calloc(2 * (size_t)s.width, sizeof *s.top);
    s.lazy = calloc(2 * (size_t)s.width, sizeof *s.lazy);
    const bool ok = s.top && s.lazy;
    for (size_t i = 0; ok && i < count; i++) {
        struct block *block = order[i];
        block->offset = highest(&s, 1, 0, s.width - 1, block->first, block->last);
        raise_to(&s, 1, 0, s.width - 1, block->first, block->last, block->offset + block->bytes);
    }
    free(s.top);
    free(s.lazy);
    return ok;
}

static size_t arena_of(const struct block *blocks, size_t count)
{
    size_t arena = 0;
    for (size_t i = 0; i < count; i++)
        if (blocks[i].offset + blocks[i].bytes > arena)
            arena = blocks[i].offset + blocks[i].bytes;
    return arena;
}

/* ---- the plan ---------------------------------------------------------------------------- */

/* Joins lifetimes that share memory; group[i] is the block of lifetime i. */
static bool join(const struct gr_lifetime *lifetimes, size_t count, struct block *blocks,
                 size_t *group, size_t *n_blocks, struct gr_memory_plan *plan)
{
    *n_blocks = 0;
    for (size_t i = 0; i < count; i++) {
        const struct gr_lifetime *life = &lifetimes[i];
        const size_t bytes = aligned(life->bytes);
        if (bytes < life->bytes || bytes > SIZE_MAX / 4 ||
            plan->without_reuse > SIZE_MAX / 4 - bytes)
            return false;
        plan->without_reuse += bytes;
        if (life->reuse_of < 0) {
            group[i] = (*n_blocks)++;
            blocks[group[i]] = (struct block){bytes, 0, life->first, life->last};
            continue;
        }
        struct block *block = &blocks[group[i] = group[life->reuse_of]];
        block->bytes = bytes > block->bytes ? bytes : block->bytes;
        block->first = life->first < block->first ? life->first : block->first;
        block->last = life->last > block->last ? life->last : block->last;
    }
    return true;
}

static size_t most_alive(const struct block *blocks, size_t count, size_t *change, int steps)
{
    memset(change, 0, ((size_t)steps + 1) * sizeof *change);
    for (size_t i = 0; i < count; i++) {
        change[blocks[i].first] += blocks[i].bytes; /* wraps below zero and back: unsigned */
        change[blocks[i].last + 1] -= blocks[i].bytes;
    }
    size_t alive = 0, most = 0;
    for (int t = 0; t < steps; t++) {
        alive += change[t];
        most = alive > most ? alive : most;
    }
    return most;
}

bool gr_memory_plan(const struct gr_lifetime *lifetimes, size_t count, size_t *offsets,
                    struct gr_memory_plan *plan, struct gr_error *err)
{
    bool ok = false;
    int steps = 1;
    size_t n_blocks = 0;
    *plan = (struct gr_memory_plan){0};
    for (size_t i = 0; i < count; i++)
        steps = lifetimes[i].last >= steps ? lifetimes[i].last + 1 : steps;
    struct block *blocks = calloc(count + 1, sizeof *blocks);
    struct block **order = calloc(count + 1, sizeof(struct block *));
    struct block **placed = calloc(count + 1, sizeof(struct block *));
    size_t *group = calloc(count + 1, sizeof *group);
    size_t *change = calloc((size_t)steps + 1, sizeof *change);
    if (!blocks || !order || !placed || !group || !change) {
        gr_fail_memory(err, "planning memory");
        goto out;
    }
    if (!join(lifetimes, count, blocks, group, &n_blocks, plan)) {
        gr_fail(err, GR_ERR_RUNTIME, "the graph needs more memory than can be addressed");
        goto out;
    }
    plan->lower_bound = most_alive(blocks, n_blocks, change, steps);
    plan->arena = SIZE_MAX;
    const size_t n_orders = sizeof orders / sizeof *orders;
    for (size_t k = 0; k < 3 * n_orders && plan->arena > plan->lower_bound; k++) {
        const bool gaps = k >= n_orders;
        const size_t ceiling = k >= 2 * n_orders ? plan->lower_bound : 0;
        if (gaps && n_blocks > GAP_LIMIT)
            break;
        for (size_t i = 0; i < n_blocks; i++)
            order[i] = &blocks[i];
        qsort(order, n_blocks, sizeof *order, orders[k % n_orders]);
        if (!gaps && !place_on_skyline(order, n_blocks, steps)) {
            gr_fail_memory(err, "planning memory");
            goto out;
        }
        for (size_t i = 0; gaps && i < n_blocks; i++)
            place_in_gap(placed, i, order[i], ceiling);
        const size_t arena = arena_of(blocks, n_blocks);
        if (arena >= plan->arena)
            continue;
        plan->arena = arena;
        for (size_t i = 0; i < count; i++)
            offsets[i] = blocks[group[i]].offset;
    }
    if (n_blocks == 0)
        plan->arena = 0;
    ok = true;
out:
    free(blocks);
    free(order);
    free(placed);
    free(group);
    free(change);
    return ok;
}
