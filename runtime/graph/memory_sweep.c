/*
 * A sweep through time; see memory_sweep.h. Memory is a list of regions in the order of their
 * addresses, used or free, no two neighbours free; the free ones are also in a tree by size (a
 * treap, with hashed priorities, so that it is the same each time). The last region is free and has
 * no end.
 *
 * Backward is forward in mirrored time, so there is one loop for both.
 */
#include "graph/memory_sweep.h"

#include <stdint.h>
#include <stdlib.h>

enum { NONE = -1 };

static const size_t endless = SIZE_MAX / 2;

struct region {
    size_t offset, bytes;
    int block;        /* NONE: free */
    int below, above; /* its neighbours */
    int left, right;  /* in the tree */
};

/* One direction of time: the blocks as it sees them. */
struct flow {
    struct gr_block *blocks;            /* [count] */
    struct gr_block **births, **deaths; /* [count] blocks by first step, by last step */
    int start;                          /* the fullest step */
};

struct gr_sweep {
    struct gr_block *blocks, *mirrored; /* [count] the caller's; the same in mirrored time */
    size_t count;
    struct flow forward, backward;
    struct region *regions; /* [2 * count + 1] */
    int *spare;             /* regions made and not in use */
    int n_regions, n_spare;
    int top, root;           /* the region without end; of the tree */
    int *region_of;          /* [count] by block */
    struct gr_block **stack; /* [count] those alive at the fullest step, from below */
    size_t n_stack;
    bool beside_alike; /* at the side of a gap where the neighbour dies at about the same time */
};

/* ---- the tree of gaps -------------------------------------------------------------------- */

/* Scrambled, so that it has nothing to do with sizes and addresses. */
static unsigned priority(int region)
{
    const unsigned x = ((unsigned)region + 1) * 2654435769u;
    return (x ^ x >> 15) * 2246822519u;
}

/* Tighter first, then lower. */
static bool comes_before(const struct region *a, size_t bytes, size_t offset)
{
    return a->bytes != bytes ? a->bytes < bytes : a->offset < offset;
}

/* Into those that come before (bytes, offset) and the others. */
static void split(struct region *regions, int node, size_t bytes, size_t offset, int *before,
                  int *after)
{
    while (node != NONE) {
        struct region *r = &regions[node];
        if (comes_before(r, bytes, offset)) {
            *before = node;
            before = &r->right;
            node = r->right;
        } else {
            *after = node;
            after = &r->left;
            node = r->left;
        }
    }
    *before = *after = NONE;
}

static int merge(struct region *regions, int a, int b)
{
    int root = NONE, *link = &root;
    while (a != NONE && b != NONE) {
        if (priority(a) > priority(b)) {
            *link = a;
            link = &regions[a].right;
            a = *link;
        } else {
            *link = b;
            link = &regions[b].left;
            b = *link;
        }
    }
    *link = a != NONE ? a : b;
    return root;
}

static void enter_gap(struct gr_sweep *s, int gap)
{
    struct region *r = &s->regions[gap];
    int before, after;
    r->left = r->right = NONE;
    split(s->regions, s->root, r->bytes, r->offset, &before, &after);
    s->root = merge(s->regions, merge(s->regions, before, gap), after);
}

static void leave_gap(struct gr_sweep *s, int gap)
{
    const struct region *r = &s->regions[gap];
    int *link = &s->root;
    while (*link != gap)
        link = comes_before(&s->regions[*link], r->bytes, r->offset) ? &s->regions[*link].right
                                                                     : &s->regions[*link].left;
    *link = merge(s->regions, r->left, r->right);
}

static int tightest_gap(const struct gr_sweep *s, size_t bytes)
{
    int best = NONE;
    for (int node = s->root; node != NONE;) {
        const struct region *r = &s->regions[node];
        if (r->bytes >= bytes)
            best = node;
        node = r->bytes >= bytes ? r->left : r->right;
    }
    return best;
}

/* ---- regions ----------------------------------------------------------------------------- */

/* A region in front of `above`, which there always is: the last one is never taken. */
static int insert_region(struct gr_sweep *s, int above, size_t offset, size_t bytes, int block)
{
    const int id = s->n_spare ? s->spare[--s->n_spare] : s->n_regions++;
    const int below = s->regions[above].below;
    s->regions[id] = (struct region){offset, bytes, block, below, above, NONE, NONE};
    s->regions[above].below = id;
    if (below != NONE)
        s->regions[below].above = id;
    return id;
}

static void drop_region(struct gr_sweep *s, int id)
{
    const struct region *r = &s->regions[id];
    s->regions[r->above].below = r->below;
    if (r->below != NONE)
        s->regions[r->below].above = r->above;
    s->spare[s->n_spare++] = id;
}

/* A gap, joined with those beside it. */
static void release(struct gr_sweep *s, int id)
{
    struct region *r = &s->regions[id], *above = &s->regions[r->above];
    r->block = NONE;
    if (r->below != NONE && s->regions[r->below].block == NONE) {
        const int below = r->below;
        leave_gap(s, below);
        r->offset = s->regions[below].offset;
        r->bytes += s->regions[below].bytes;
        drop_region(s, below);
    }
    if (above->block == NONE) {
        leave_gap(s, r->above);
        above->offset = r->offset;
        above->bytes += r->above == s->top ? 0 : r->bytes;
        const int joined = r->above;
        drop_region(s, id);
        id = joined;
    }
    enter_gap(s, id);
}

static int distance(int a, int b)
{
    return a > b ? a - b : b - a;
}

/* Does the block belong at the upper end of the gap? */
static bool goes_above(const struct gr_sweep *s, const struct flow *flow, int gap, int block)
{
    const struct region *r = &s->regions[gap];
    if (!s->beside_alike || gap == s->top)
        return false;
    if (r->below == NONE)
        return true;
    const int last = flow->blocks[block].last;
    return distance(flow->blocks[s->regions[r->below].block].last, last) >
           distance(flow->blocks[s->regions[r->above].block].last, last);
}

static void take(struct gr_sweep *s, const struct flow *flow, int block)
{
    const size_t bytes = flow->blocks[block].bytes;
    const int gap = tightest_gap(s, bytes);
    struct region *r = &s->regions[gap];
    int id = gap;
    leave_gap(s, gap);
    if (r->bytes == bytes) {
        r->block = block;
    } else if (goes_above(s, flow, gap, block)) {
        r->bytes -= bytes;
        id = insert_region(s, r->above, r->offset + r->bytes, bytes, block);
    } else {
        id = insert_region(s, gap, r->offset, bytes, block);
        r->offset += bytes;
        r->bytes -= gap == s->top ? 0 : bytes;
    }
    if (id != gap)
        enter_gap(s, gap);
    s->region_of[block] = id;
    s->blocks[block].offset = s->regions[id].offset;
}

/* ---- the sweep --------------------------------------------------------------------------- */

static void lay_stack(struct gr_sweep *s)
{
    size_t end = 0;
    s->n_regions = 1;
    s->n_spare = s->top = s->root = 0;
    s->regions[0] = (struct region){0, endless, NONE, NONE, NONE, NONE, NONE};
    for (size_t i = 0; i < s->n_stack; i++) {
        struct gr_block *block = s->stack[i];
        const int id = (int)(block - s->blocks);
        block->offset = end;
        s->region_of[id] = insert_region(s, s->top, end, block->bytes, id);
        end += block->bytes;
    }
    s->regions[s->top].offset = end;
}

static void bury(struct gr_sweep *s, const struct flow *flow, const struct gr_block *block)
{
    if (block->last >= flow->start && block->bytes)
        release(s, s->region_of[block - flow->blocks]);
}

static void run(struct gr_sweep *s, const struct flow *flow)
{
    struct gr_block *const *death = flow->deaths;
    lay_stack(s);
    for (size_t i = 0; i < s->count; i++) {
        const struct gr_block *block = flow->births[i];
        if (block->first <= flow->start || !block->bytes)
            continue;
        while ((*death)->last < block->first)
            bury(s, flow, *death++);
        take(s, flow, (int)(block - flow->blocks));
    }
}

/* ---- orders ------------------------------------------------------------------------------ */

/* The last resort of every order; blocks stand in one array, so that no tie is left to qsort. */
static int by_address(const struct gr_block *a, const struct gr_block *b)
{
    return a < b ? -1 : a > b;
}

static int ascending(int a, int b)
{
    return a < b ? -1 : a > b;
}

static int by_size(const void *a, const void *b)
{
    const struct gr_block *x = *(struct gr_block *const *)a, *y = *(struct gr_block *const *)b;
    return x->bytes != y->bytes ? (x->bytes > y->bytes ? -1 : 1) : by_address(x, y);
}

static int by_birth(const void *a, const void *b)
{
    const struct gr_block *x = *(struct gr_block *const *)a, *y = *(struct gr_block *const *)b;
    const int order = ascending(x->first, y->first);
    return order ? order : by_size(a, b);
}

static int by_death(const void *a, const void *b)
{
    const struct gr_block *x = *(struct gr_block *const *)a, *y = *(struct gr_block *const *)b;
    const int order = ascending(x->last, y->last);
    return order ? order : by_address(x, y);
}

static int by_death_from_last(const void *a, const void *b)
{
    return by_death(b, a);
}

static int by_duration(const void *a, const void *b)
{
    const struct gr_block *x = *(struct gr_block *const *)a, *y = *(struct gr_block *const *)b;
    const int order = ascending(y->last - y->first, x->last - x->first);
    return order ? order : by_address(x, y);
}

static int (*const stacks[])(const void *, const void *) = {by_death_from_last, by_birth,
                                                            by_duration, by_size};

void gr_sweep_place(struct gr_sweep *s, int way)
{
    for (size_t i = 0; i < s->count; i++)
        s->blocks[i].offset = 0;
    qsort(s->stack, s->n_stack, sizeof *s->stack, stacks[way / 2]);
    s->beside_alike = way % 2;
    run(s, &s->forward);
    run(s, &s->backward);
}

/* ---- making one -------------------------------------------------------------------------- */

static bool flow_init(struct flow *flow, struct gr_block *blocks, size_t count, int start)
{
    const size_t size = sizeof(struct gr_block *);
    *flow = (struct flow){blocks, calloc(count + 1, size), calloc(count + 1, size), start};
    if (!flow->births || !flow->deaths)
        return false;
    for (size_t i = 0; i < count; i++)
        flow->births[i] = flow->deaths[i] = &blocks[i];
    qsort(flow->births, count, size, by_birth);
    qsort(flow->deaths, count, size, by_death);
    return true;
}

static void flow_release(struct flow *flow)
{
    free(flow->births);
    free(flow->deaths);
}

struct gr_sweep *gr_sweep_new(struct gr_block *blocks, size_t count, int steps, int fullest)
{
    struct gr_sweep *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->blocks = blocks;
    s->count = count;
    s->mirrored = calloc(count + 1, sizeof *s->mirrored);
    s->regions = calloc(2 * count + 1, sizeof *s->regions);
    s->spare = calloc(2 * count + 1, sizeof *s->spare);
    s->region_of = calloc(count + 1, sizeof *s->region_of);
    s->stack = calloc(count + 1, sizeof(struct gr_block *));
    for (size_t i = 0; s->mirrored && i < count; i++)
        s->mirrored[i] = (struct gr_block){blocks[i].bytes, 0, steps - 1 - blocks[i].last,
                                           steps - 1 - blocks[i].first};
    if (!s->mirrored || !s->regions || !s->spare || !s->region_of || !s->stack ||
        !flow_init(&s->forward, blocks, count, fullest) ||
        !flow_init(&s->backward, s->mirrored, count, steps - 1 - fullest)) {
        gr_sweep_free(s);
        return NULL;
    }
    for (size_t i = 0; i < count; i++)
        if (blocks[i].first <= fullest && fullest <= blocks[i].last && blocks[i].bytes)
            s->stack[s->n_stack++] = &blocks[i];
    return s;
}

void gr_sweep_free(struct gr_sweep *s)
{
    if (!s)
        return;
    flow_release(&s->forward);
    flow_release(&s->backward);
    free(s->mirrored);
    free(s->regions);
    free(s->spare);
    free(s->region_of);
    free(s->stack);
    free(s);
}
