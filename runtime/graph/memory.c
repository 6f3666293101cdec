/*
 * The memory planner; see memory.h.
 *
 * Four ways to place buffers. On top of everything placed in their time: a skyline in a segment
 * tree, near perfect for the nested lifetimes of forward and backward. In a sweep through time,
 * outward from the fullest step (memory_sweep.h): near perfect where lifetimes are of any kind and
 * many are alive at once. Long lives on the skyline and short ones into gaps above it, where a
 * short life meets only short lives that begin near it. And into the tightest gap between the
 * placed buffers alive at the same time: good, but quadratic, so for small graphs only; the others
 * take n log n. Gaps are filled from below, or with the room at the top from the lower bound down
 * (right for chains, whose neighbours then lie at either end). Each is tried with several orders,
 * since none is best for all graphs: by size, by lifetime, by both, by first use. Where all leave
 * something to wish, the block that ends up highest goes to the front of the order, some more
 * times.
 */
#include "graph/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "graph/memory_sweep.h"

enum { GAP_LIMIT = 4096, SHORT = 32, PROMOTION_WORK = 1 << 25, MOST_PROMOTIONS = 100 };

static size_t aligned(size_t bytes)
{
    return (bytes + GR_MEMORY_ALIGN - 1) / GR_MEMORY_ALIGN * GR_MEMORY_ALIGN;
}

/* ---- orders ------------------------------------------------------------------------------ */

static int descending(size_t a, size_t b)
{
    return a > b ? -1 : a < b;
}

static size_t duration(const struct gr_block *block)
{
    return (size_t)(block->last - block->first) + 1;
}

/* The last resort of every order; blocks stand in one array, so that no tie is left to qsort. */
static int by_start(const struct gr_block *a, const struct gr_block *b)
{
    if (a->first != b->first)
        return a->first < b->first ? -1 : 1;
    return a < b ? -1 : a > b;
}

static int by_size(const void *a, const void *b)
{
    const struct gr_block *x = *(struct gr_block *const *)a, *y = *(struct gr_block *const *)b;
    int order = descending(x->bytes, y->bytes);
    order = order ? order : descending(duration(x), duration(y));
    return order ? order : by_start(x, y);
}

static int by_duration(const void *a, const void *b)
{
    const struct gr_block *x = *(struct gr_block *const *)a, *y = *(struct gr_block *const *)b;
    int order = descending(duration(x), duration(y));
    order = order ? order : descending(x->bytes, y->bytes);
    return order ? order : by_start(x, y);
}

static int by_area(const void *a, const void *b)
{
    const struct gr_block *x = *(struct gr_block *const *)a, *y = *(struct gr_block *const *)b;
    const double p = (double)x->bytes * (double)duration(x);
    const double q = (double)y->bytes * (double)duration(y);
    return p != q ? (p > q ? -1 : 1) : by_size(a, b);
}

static int by_first_use(const void *a, const void *b)
{
    const struct gr_block *x = *(struct gr_block *const *)a, *y = *(struct gr_block *const *)b;
    return x->first != y->first ? by_start(x, y) : by_size(a, b);
}

static int (*const orders[])(const void *, const void *) = {by_size, by_duration, by_area,
                                                            by_first_use};

/* ---- placing ----------------------------------------------------------------------------- */

/*
 * Where the block goes among others that are sorted by offset, from floor up: into the tightest
 * gap; else right under the ceiling, if it fits there, or at the lowest free end. Ceiling 0: none.
 */
static size_t find_gap(struct gr_block *const *others, size_t count, const struct gr_block *block,
                       size_t floor, size_t ceiling)
{
    size_t cursor = floor, best = SIZE_MAX, best_gap = SIZE_MAX;
    for (size_t i = 0; i < count; i++) {
        const struct gr_block *other = others[i];
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
    if (best != SIZE_MAX)
        return best;
    return cursor + block->bytes <= ceiling ? ceiling - block->bytes : cursor;
}

static void insert(struct gr_block **sorted, size_t count, struct gr_block *block)
{
    for (; count > 0 && sorted[count - 1]->offset > block->offset; count--)
        sorted[count] = sorted[count - 1];
    sorted[count] = block;
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

static bool skyline_init(struct skyline *s, int steps)
{
    s->width = 1;
    while (s->width < steps)
        s->width *= 2;
    s->top = calloc(2 * (size_t)s->width, sizeof *s->top);
    s->lazy = calloc(2 * (size_t)s->width, sizeof *s->lazy);
    return s->top && s->lazy;
}

static void skyline_clear(struct skyline *s)
{
    memset(s->top, 0, 2 * (size_t)s->width * sizeof *s->top);
    memset(s->lazy, 0, 2 * (size_t)s->width * sizeof *s->lazy);
}

static size_t height_over(const struct skyline *s, const struct gr_block *block)
{
    return highest(s, 1, 0, s->width - 1, block->first, block->last);
}

static void place_on_top(struct skyline *s, struct gr_block *block)
{
    block->offset = height_over(s, block);
    raise_to(s, 1, 0, s->width - 1, block->first, block->last, block->offset + block->bytes);
}

static size_t arena_of(const struct gr_block *blocks, size_t count)
{
    size_t arena = 0;
    for (size_t i = 0; i < count; i++)
        if (blocks[i].offset + blocks[i].bytes > arena)
            arena = blocks[i].offset + blocks[i].bytes;
    return arena;
}

/* ---- the plan ---------------------------------------------------------------------------- */

/* Joins lifetimes that share memory; group[i] is the block of lifetime i. */
static bool join(const struct gr_lifetime *lifetimes, size_t count, struct gr_block *blocks,
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
            blocks[group[i]] = (struct gr_block){bytes, 0, life->first, life->last};
            continue;
        }
        struct gr_block *block = &blocks[group[i] = group[life->reuse_of]];
        block->bytes = bytes > block->bytes ? bytes : block->bytes;
        block->first = life->first < block->first ? life->first : block->first;
        block->last = life->last > block->last ? life->last : block->last;
    }
    return true;
}

/* alive has steps + 1 places. */
static size_t most_alive(const struct gr_block *blocks, size_t count, size_t *alive, int steps)
{
    memset(alive, 0, ((size_t)steps + 1) * sizeof *alive);
    for (size_t i = 0; i < count; i++) {
        alive[blocks[i].first] += blocks[i].bytes; /* wraps below zero and back: unsigned */
        alive[blocks[i].last + 1] -= blocks[i].bytes;
    }
    size_t sum = 0, most = 0;
    for (int t = 0; t < steps; t++) {
        alive[t] = sum += alive[t];
        most = sum > most ? sum : most;
    }
    return most;
}

bool gr_memory_alive(const struct gr_lifetime *lifetimes, size_t count, size_t *alive, int steps,
                     struct gr_error *err)
{
    struct gr_memory_plan plan = {0};
    size_t n_blocks = 0;
    struct gr_block *blocks = calloc(count + 1, sizeof *blocks);
    size_t *group = calloc(count + 1, sizeof *group);
    size_t *each = calloc((size_t)steps + 1, sizeof *each);
    bool ok = blocks && group && each;
    if (!ok) {
        gr_fail_memory(err, "planning memory");
        goto out;
    }
    ok = join(lifetimes, count, blocks, group, &n_blocks, &plan);
    if (!ok) {
        gr_fail(err, GR_ERR_RUNTIME, "the graph needs more memory than can be addressed");
        goto out;
    }
    most_alive(blocks, n_blocks, each, steps);
    memcpy(alive, each, (size_t)steps * sizeof *alive);
out:
    free(blocks);
    free(group);
    free(each);
    return ok;
}

/* The blocks and the smallest placing of them so far. */
struct plan {
    struct gr_block *blocks, **order, **placed; /* [count] */
    size_t *best;                               /* [count] offsets */
    int *head, *next; /* [steps], [count] the short blocks placed, by first step; -1: none */
    struct skyline skyline;
    size_t count, arena, bound;
    int steps, fullest; /* a step at which the bound is alive */
};

static void keep_smaller(struct plan *p)
{
    const size_t arena = arena_of(p->blocks, p->count);
    if (arena >= p->arena)
        return;
    p->arena = arena;
    for (size_t i = 0; i < p->count; i++)
        p->best[i] = p->blocks[i].offset;
}

static void sort_blocks(struct plan *p, size_t order)
{
    for (size_t i = 0; i < p->count; i++)
        p->order[i] = &p->blocks[i];
    qsort(p->order, p->count, sizeof *p->order, orders[order]);
}

static void place_all_on_top(struct plan *p)
{
    skyline_clear(&p->skyline);
    for (size_t i = 0; i < p->count; i++)
        place_on_top(&p->skyline, p->order[i]);
    keep_smaller(p);
}

static bool is_short(const struct gr_block *block)
{
    return duration(block) <= SHORT;
}

/* Above the skyline of the long blocks, among the short ones placed before. */
static void place_short(struct plan *p, struct gr_block *block, size_t ceiling)
{
    const int id = (int)(block - p->blocks);
    size_t near = 0;
    for (int t = block->first < SHORT ? 0 : block->first - SHORT + 1; t <= block->last; t++)
        for (int b = p->head[t]; b >= 0; b = p->next[b])
            if (p->blocks[b].last >= block->first)
                insert(p->placed, near++, &p->blocks[b]);
    block->offset = find_gap(p->placed, near, block, height_over(&p->skyline, block), ceiling);
    p->next[id] = p->head[block->first];
    p->head[block->first] = id;
}

static void place_long_then_short(struct plan *p, size_t ceiling)
{
    skyline_clear(&p->skyline);
    memset(p->head, -1, (size_t)p->steps * sizeof *p->head);
    for (size_t i = 0; i < p->count; i++)
        if (!is_short(p->order[i]))
            place_on_top(&p->skyline, p->order[i]);
    for (size_t i = 0; i < p->count; i++)
        if (is_short(p->order[i]))
            place_short(p, p->order[i], ceiling);
    keep_smaller(p);
}

static void place_all_in_gaps(struct plan *p, size_t ceiling)
{
    for (size_t i = 0; i < p->count; i++) {
        p->order[i]->offset = find_gap(p->placed, i, p->order[i], 0, ceiling);
        insert(p->placed, i, p->order[i]);
    }
    keep_smaller(p);
}

/*
 * Places in gaps again and again, each time with the block that lay highest moved to the front: the
 * others left no room for it.
 */
static void promote(struct plan *p, size_t ceiling, size_t tries)
{
    for (size_t k = 0; k < tries && p->arena > p->bound; k++) {
        size_t highest_at = 0;
        for (size_t i = 1; i < p->count; i++)
            if (p->order[i]->offset + p->order[i]->bytes >
                p->order[highest_at]->offset + p->order[highest_at]->bytes)
                highest_at = i;
        if (highest_at == 0)
            return;
        struct gr_block *block = p->order[highest_at];
        memmove(p->order + 1, p->order, highest_at * sizeof *p->order);
        p->order[0] = block;
        place_all_in_gaps(p, ceiling);
    }
}

static bool place_by_sweeps(struct plan *p)
{
    struct gr_sweep *sweep = gr_sweep_new(p->blocks, p->count, p->steps, p->fullest);
    for (int way = 0; sweep && way < GR_SWEEP_WAYS && p->arena > p->bound; way++) {
        gr_sweep_place(sweep, way);
        keep_smaller(p);
    }
    gr_sweep_free(sweep);
    return sweep != NULL;
}

/* False: out of memory. */
static bool place(struct plan *p)
{
    const size_t n_orders = sizeof orders / sizeof *orders;
    for (size_t k = 0; k < n_orders && p->arena > p->bound; k++) {
        sort_blocks(p, k);
        place_all_on_top(p);
    }
    if (p->arena > p->bound && !place_by_sweeps(p))
        return false;
    for (size_t k = 0; k < 2 * n_orders && p->arena > p->bound; k++) {
        sort_blocks(p, k / 2);
        place_long_then_short(p, k % 2 ? p->bound : 0);
    }
    if (p->count > GAP_LIMIT)
        return true;
    for (size_t k = 0; k < 2 * n_orders && p->arena > p->bound; k++) {
        sort_blocks(p, k / 2);
        place_all_in_gaps(p, k % 2 ? p->bound : 0);
    }
    const size_t tries = PROMOTION_WORK / (p->count * p->count + 1) / n_orders / 2;
    for (size_t k = 0; k < 2 * n_orders && p->arena > p->bound; k++) {
        const size_t ceiling = k % 2 ? p->bound : 0;
        sort_blocks(p, k / 2);
        place_all_in_gaps(p, ceiling);
        promote(p, ceiling, tries < MOST_PROMOTIONS ? tries : MOST_PROMOTIONS);
    }
    return true;
}

bool gr_memory_plan(const struct gr_lifetime *lifetimes, size_t count, size_t *offsets,
                    struct gr_memory_plan *plan, struct gr_error *err)
{
    bool ok = false;
    int steps = 1;
    *plan = (struct gr_memory_plan){0};
    for (size_t i = 0; i < count; i++)
        steps = lifetimes[i].last >= steps ? lifetimes[i].last + 1 : steps;
    struct plan p = {.blocks = calloc(count + 1, sizeof *p.blocks),
                     .order = calloc(count + 1, sizeof(struct gr_block *)),
                     .placed = calloc(count + 1, sizeof(struct gr_block *)),
                     .best = calloc(count + 1, sizeof *p.best),
                     .head = calloc((size_t)steps, sizeof *p.head),
                     .next = calloc(count + 1, sizeof *p.next),
                     .arena = SIZE_MAX,
                     .steps = steps};
    size_t *group = calloc(count + 1, sizeof *group);
    size_t *alive = calloc((size_t)steps + 1, sizeof *alive);
    if (!p.blocks || !p.order || !p.placed || !p.best || !p.head || !p.next || !group || !alive ||
        !skyline_init(&p.skyline, steps)) {
        gr_fail_memory(err, "planning memory");
        goto out;
    }
    if (!join(lifetimes, count, p.blocks, group, &p.count, plan)) {
        gr_fail(err, GR_ERR_RUNTIME, "the graph needs more memory than can be addressed");
        goto out;
    }
    p.bound = plan->lower_bound = most_alive(p.blocks, p.count, alive, steps);
    while (alive[p.fullest] < p.bound)
        p.fullest++;
    if (!place(&p)) {
        gr_fail_memory(err, "planning memory");
        goto out;
    }
    plan->arena = p.count ? p.arena : 0;
    for (size_t i = 0; i < count; i++)
        offsets[i] = p.best[group[i]];
    ok = true;
out:
    free(p.blocks);
    free(p.order);
    free(p.placed);
    free(p.best);
    free(p.head);
    free(p.next);
    free(p.skyline.top);
    free(p.skyline.lazy);
    free(group);
    free(alive);
    return ok;
}
