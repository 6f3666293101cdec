/*
 * Sections; see sections.h. From each step on a stretch is grown step by step, its branches a
 * union-find; then the best set of stretches that do not overlap is a shortest path.
 */
#include "graph/sections.h"

#include <stdlib.h>
#include <string.h>

enum { REACH = 128 }; /* steps in a section */

/* What starting and joining lanes costs, and the least that a section must promise, in seconds. */
static const double overhead = 5e-6;

/* A growing stretch; steps by their distance from its first. */
struct stretch {
    int first;
    int parent[REACH];
    double load[REACH]; /* by root */
    double total, largest;
    int branches; /* that cost something */
};

static int root_of(struct stretch *stretch, int i)
{
    while (stretch->parent[i] != i)
        i = stretch->parent[i] = stretch->parent[stretch->parent[i]];
    return i;
}

static void join(struct stretch *stretch, int a, int b)
{
    a = root_of(stretch, a);
    b = root_of(stretch, b);
    if (a == b)
        return;
    stretch->branches -= stretch->load[a] > 0 && stretch->load[b] > 0;
    stretch->parent[a] = b;
    stretch->load[b] += stretch->load[a];
    if (stretch->load[b] > stretch->largest)
        stretch->largest = stretch->load[b];
}

static void grow(struct stretch *stretch, const struct gr_work *work, int step)
{
    const int i = step - stretch->first;
    stretch->parent[i] = i;
    stretch->load[i] = work->cost[step];
    stretch->total += work->cost[step];
    stretch->branches += work->cost[step] > 0;
    if (work->cost[step] > stretch->largest)
        stretch->largest = work->cost[step];
    for (size_t d = work->first[step]; d < work->first[step + 1]; d++)
        if (work->before[d] >= stretch->first)
            join(stretch, work->before[d] - stretch->first, i);
}

/*
 * What two lanes could gain: a step on two threads takes at best half the time of one thread, and
 * is taken to take two thirds.
 */
static double promise(const struct stretch *stretch)
{
    const double half = stretch->total / 2;
    const double lane = stretch->largest > half ? stretch->largest : half;
    return stretch->branches > 1 ? stretch->total * 2 / 3 - lane - overhead : 0;
}

/* The promise of the best sections from each step on, and where the one that starts there ends. */
static void choose(const struct gr_work *work, double *best, int *end)
{
    struct stretch stretch;
    for (int i = work->n_steps - 1; i >= 0; i--) {
        best[i] = best[i + 1];
        end[i] = -1;
        bool split = false;
        stretch.first = i;
        stretch.total = stretch.largest = 0;
        stretch.branches = 0;
        for (int s = i; s < work->n_steps && s - i < REACH && work->cost[s] >= 0; s++) {
            grow(&stretch, work, s);
            split = split || stretch.branches > 1;
            if (split && stretch.branches == 1)
                break; /* joined: what follows hangs on it */
            const double gain = promise(&stretch);
            if (gain > 0 && gain + best[s + 1] > best[i]) {
                best[i] = gain + best[s + 1];
                end[i] = s;
            }
        }
    }
}

/* Numbers the branches of a section; those that cost nothing go with the first. */
static void number(const struct gr_work *work, struct gr_section *section, int *branch)
{
    struct stretch stretch = {.first = section->first};
    int numbers[REACH];
    for (int s = section->first; s <= section->last; s++)
        grow(&stretch, work, s);
    for (int i = 0; i <= section->last - section->first; i++)
        numbers[i] = -1;
    section->branches = 0;
    for (int s = section->first; s <= section->last; s++) {
        const int root = root_of(&stretch, s - section->first);
        if (numbers[root] < 0)
            numbers[root] = stretch.load[root] > 0 ? section->branches++ : 0;
        branch[s] = numbers[root];
    }
}

bool gr_sections_find(const struct gr_work *work, struct gr_section *sections, size_t *count,
                      int *branch, struct gr_error *err)
{
    const size_t n = (size_t)work->n_steps;
    double *best = calloc(n + 1, sizeof *best);
    int *end = calloc(n + 1, sizeof *end);
    const bool ok = best && end;
    *count = 0;
    if (ok) {
        choose(work, best, end);
        memset(branch, -1, n * sizeof *branch);
        for (int s = 0; s < work->n_steps; s++) {
            if (end[s] < 0)
                continue;
            struct gr_section *section = &sections[(*count)++];
            *section = (struct gr_section){.first = s, .last = end[s]};
            number(work, section, branch);
            s = end[s];
        }
    } else {
        gr_fail_memory(err, "looking for branches");
    }
    free(best);
    free(end);
    return ok;
}

void gr_section_spread(const struct gr_work *work, const struct gr_section *section,
                       const int *branch, int *lane)
{
    double load[REACH] = {0}, busy[REACH] = {0};
    int lane_of[REACH];
    for (int b = 0; b < section->branches; b++)
        lane_of[b] = -1;
    for (int s = section->first; s <= section->last; s++)
        load[branch[s]] += work->cost[s];
    for (int n = 0; n < section->branches; n++) {
        int heaviest = -1, least = 0;
        for (int b = 0; b < section->branches; b++)
            if (lane_of[b] < 0 && (heaviest < 0 || load[b] > load[heaviest]))
                heaviest = b;
        for (int l = 1; l < section->lanes; l++)
            if (busy[l] < busy[least])
                least = l;
        lane_of[heaviest] = least;
        busy[least] += load[heaviest];
    }
    for (int s = section->first; s <= section->last; s++)
        lane[s] = lane_of[branch[s]];
}
