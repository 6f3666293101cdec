/*
 * Choosing what to compute again; see recompute.h.
 *
 * Every choice is judged by a trial (recompute_draft.h); what to try is a matter of heuristics:
 * - descending: while the target is exceeded, drop what frees most bytes over the steps that exceed
 *   it, for each second of computing it again or whatever the time; where none helps, keep one
 *   again that does;
 * - checkpoints: drop all but a value every so many bytes, for several distances (Chen, Xu, Zhang,
 *   Guestrin 2016: a chain of n layers then takes memory of the order of √n);
 * - pruning: keep again whatever need not be dropped, the dearest first;
 * - exchanging: forbid one of the dropped, and see whether others do it for less.
 * The number of trials is bounded, the more narrowly the larger the program.
 */
#include "graph/recompute.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/recompute_draft.h"

enum {
    STEPS_TRIED = 2000000, /* steps of all trials of a search together */
    FEWEST_TRIALS = 48,
    SMALL = 1000,  /* steps of a program whose choices are tried one by one */
    CHUNKS = 64,   /* else together, in that many parts */
    DISTANCES = 24 /* between checkpoints */
};

struct ranked {
    size_t choice;
    double score;
};

struct search {
    struct gr_draft draft;
    size_t n;                      /* choices */
    bool *dropped, *best, *backup; /* [n] the choice at work; the cheapest that fits; room */
    struct ranked *ranking;        /* [n] */
    double *sum_over, *count_over; /* [n_steps + 1] up to a step: bytes above the target, steps */
    double best_again;             /* seconds; infinite: nothing fits yet */
    size_t forbidden;              /* a choice not to be dropped, or n */
    bool at_any_time;              /* rank by bytes alone */
    size_t trials;                 /* left */
};

static bool search_init(struct search *s, struct gr_program *program, const bool *fixed,
                        struct gr_error *err)
{
    *s = (struct search){.best_again = INFINITY};
    if (!gr_draft_init(&s->draft, program, fixed, err))
        return false;
    const size_t n = s->n = s->forbidden = s->draft.n_choices, steps = program->n_steps + 1;
    bool *bools = gr_pool_array(&s->draft.pool, 3 * n + 1, sizeof *bools);
    s->ranking = gr_pool_array(&s->draft.pool, n + 1, sizeof *s->ranking);
    s->sum_over = gr_pool_array(&s->draft.pool, 2 * steps, sizeof *s->sum_over);
    if (!bools || !s->ranking || !s->sum_over)
        return gr_fail_memory(err, "a memory budget");
    memset(bools, 0, 3 * n + 1);
    s->dropped = bools;
    s->best = bools + n;
    s->backup = bools + 2 * n;
    s->count_over = s->sum_over + steps;
    return true;
}

static void allow_trials(struct search *s)
{
    const size_t trials = STEPS_TRIED / ((size_t)s->draft.n_steps + 1);
    s->trials = trials > FEWEST_TRIALS ? trials : FEWEST_TRIALS;
}

static bool judge(struct search *s, struct gr_error *err)
{
    s->trials -= s->trials > 0;
    return gr_draft_judge(&s->draft, s->dropped, err);
}

static bool fits(const struct search *s, size_t target)
{
    return s->draft.valid && s->draft.peak <= target;
}

/* ---- descending -------------------------------------------------------------------------- */

/* Sums what lies above the target; returns all of it. */
static double sum_excess(struct search *s, size_t target)
{
    s->sum_over[0] = s->count_over[0] = 0;
    for (int t = 0; t < s->draft.n_steps; t++) {
        const size_t alive = s->draft.alive[t];
        s->sum_over[t + 1] = s->sum_over[t] + (alive > target ? (double)(alive - target) : 0);
        s->count_over[t + 1] = s->count_over[t] + (alive > target);
    }
    return s->sum_over[s->draft.n_steps];
}

static int by_score(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return x->choice < y->choice ? -1 : x->choice > y->choice;
}

/* What helps against the excess, the best for its time first. */
static size_t rank(struct search *s)
{
    const double least_seconds = 1e-9 * (s->draft.total > 0 ? s->draft.total : 1);
    size_t count = 0;
    for (size_t c = 0; c < s->n; c++) {
        const struct gr_droppable *choice = &s->draft.choices[c];
        if (s->dropped[c] || c == s->forbidden || choice->until <= choice->from)
            continue;
        const double most = s->sum_over[choice->until] - s->sum_over[choice->from];
        const double frees =
            (double)choice->bytes * (s->count_over[choice->until] - s->count_over[choice->from]);
        if (frees <= 0)
            continue;
        const double seconds = s->at_any_time ? 1 : gr_draft_cost(&s->draft, c) + least_seconds;
        s->ranking[count++] = (struct ranked){c, fmin(most, frees) / seconds};
    }
    qsort(s->ranking, count, sizeof *s->ranking, by_score);
    return count;
}

/*
 * Takes the first of the ranking that lessen the excess, `chunk` at a time; *found is false if none
 * does.
 */
static bool take_best(struct search *s, size_t count, size_t chunk, double excess, size_t target,
                      bool *found, struct gr_error *err)
{
    *found = false;
    for (size_t i = 0; i < count && !*found && s->trials;) {
        const size_t end = i + chunk < count ? i + chunk : count;
        for (size_t k = i; k < end; k++)
            s->dropped[s->ranking[k].choice] = true;
        if (!judge(s, err))
            return false;
        *found = s->draft.valid && sum_excess(s, target) < excess;
        for (size_t k = i; k < end && !*found; k++)
            s->dropped[s->ranking[k].choice] = false;
        i = chunk == 1 ? end : i;
        chunk = chunk > 1 ? chunk / 2 : 1;
    }
    return true;
}

/* Keeps one again if that lessens the excess: its copy may be made at a worse time than now. */
static bool keep_one(struct search *s, double excess, size_t target, bool *found,
                     struct gr_error *err)
{
    *found = false;
    for (size_t c = 0; c < s->n && !*found && s->trials; c++) {
        if (!s->dropped[c])
            continue;
        s->dropped[c] = false;
        if (!judge(s, err))
            return false;
        *found = s->draft.valid && sum_excess(s, target) < excess;
        s->dropped[c] = !*found;
    }
    return true;
}

/*
 * Drops more, and keeps some again, until the target is met or nothing helps; the choice at work is
 * judged last.
 */
static bool descend(struct search *s, size_t target, struct gr_error *err)
{
    const size_t chunk = s->draft.n_steps <= SMALL ? 1 : s->n / CHUNKS + 1;
    for (bool found = true; found;) {
        if (!judge(s, err))
            return false;
        const double excess = sum_excess(s, target);
        if (fits(s, target) || !s->trials)
            return true;
        if (!take_best(s, rank(s), chunk, excess, target, &found, err) ||
            (!found && !keep_one(s, excess, target, &found, err)))
            return false;
    }
    return judge(s, err);
}

/* ---- pruning ----------------------------------------------------------------------------- */

/* Keeps again what need not be dropped. */
static bool prune(struct search *s, size_t target, struct gr_error *err)
{
    size_t count = 0;
    for (size_t c = 0; c < s->n; c++)
        if (s->dropped[c])
            s->ranking[count++] =
                (struct ranked){c, s->draft.seconds[s->draft.maker[s->draft.choices[c].value]]};
    qsort(s->ranking, count, sizeof *s->ranking, by_score);
    if (!judge(s, err))
        return false;
    double again = s->draft.again;
    for (size_t i = 0; i < count && s->trials; i++) {
        s->dropped[s->ranking[i].choice] = false;
        if (!judge(s, err))
            return false;
        if (fits(s, target) && s->draft.again <= again)
            again = s->draft.again;
        else
            s->dropped[s->ranking[i].choice] = true;
    }
    return judge(s, err);
}

/* Remembers the choice at work if it fits and takes less time than the best. */
static bool keep_better(struct search *s, size_t target)
{
    if (!fits(s, target) || s->draft.again >= s->best_again)
        return false;
    memcpy(s->best, s->dropped, s->n * sizeof *s->best);
    s->best_again = s->draft.again;
    return true;
}

/* ---- checkpoints ------------------------------------------------------------------------- */

/* Drops all but a value every `distance` bytes. */
static void drop_between(struct search *s, double distance)
{
    double since = 0;
    for (size_t c = 0; c < s->n; c++) {
        const double bytes = (double)s->draft.choices[c].bytes;
        s->dropped[c] = since + bytes <= distance;
        since = s->dropped[c] ? since + bytes : 0;
    }
}

static double distance_of(const struct search *s, int index)
{
    double all = 0;
    for (size_t c = 0; c < s->n; c++)
        all += (double)s->draft.choices[c].bytes;
    return all * pow(2, -0.5 * index);
}

/* ---- searching --------------------------------------------------------------------------- */

/* Forbids each of the dropped in turn, the dearest first, and looks for less time without it. */
static bool exchange(struct search *s, size_t target, struct gr_error *err)
{
    for (bool better = true; better && s->trials;) {
        better = false;
        for (size_t c = 0; c < s->n && !better && s->trials; c++) {
            if (!s->best[c])
                continue;
            memcpy(s->dropped, s->best, s->n * sizeof *s->best);
            s->dropped[c] = false;
            s->forbidden = c;
            const bool ok = descend(s, target, err);
            s->forbidden = s->n;
            if (!ok || (fits(s, target) && !prune(s, target, err)))
                return false;
            better = keep_better(s, target);
        }
    }
    return true;
}

/* Looks for the choice with the lowest peak, and leaves it at work. */
static bool find_least(struct search *s, struct gr_error *err)
{
    size_t least = SIZE_MAX;
    allow_trials(s);
    for (int i = -1; i < DISTANCES; i++) {
        if (i < 0)
            memset(s->dropped, 0, s->n * sizeof *s->dropped);
        else
            drop_between(s, distance_of(s, i));
        if (!judge(s, err))
            return false;
        if (s->draft.valid && s->draft.peak < least) {
            least = s->draft.peak;
            memcpy(s->backup, s->dropped, s->n * sizeof *s->dropped);
        }
    }
    /* Step by step: what helps is what lies above a target a little below the peak. */
    for (size_t before = SIZE_MAX; least < before && s->trials;) {
        before = least;
        memcpy(s->dropped, s->backup, s->n * sizeof *s->dropped);
        if (!descend(s, least - least / 64, err))
            return false;
        if (s->draft.valid && s->draft.peak < least) {
            least = s->draft.peak;
            memcpy(s->backup, s->dropped, s->n * sizeof *s->dropped);
        }
    }
    memcpy(s->dropped, s->backup, s->n * sizeof *s->dropped);
    allow_trials(s);
    return judge(s, err);
}

/* Prunes the choice at work, judged last, and remembers it if it is the best so far. */
static bool finish(struct search *s, size_t target, struct gr_error *err)
{
    if (fits(s, target) && !prune(s, target, err))
        return false;
    keep_better(s, target);
    return true;
}

/* Looks for the cheapest choice with a peak within target; best_again stays infinite without. */
static bool find_best(struct search *s, size_t target, struct gr_error *err)
{
    const bool small = s->draft.n_steps <= SMALL;
    s->best_again = INFINITY;
    allow_trials(s);
    for (int at_any_time = 0; at_any_time <= small; at_any_time++) {
        memset(s->dropped, 0, s->n * sizeof *s->dropped);
        s->at_any_time = at_any_time;
        const bool ok = descend(s, target, err) && finish(s, target, err);
        s->at_any_time = false;
        if (!ok)
            return false;
    }
    for (int i = 0; i < DISTANCES && (small || isinf(s->best_again)); i++) {
        drop_between(s, distance_of(s, i));
        if (!judge(s, err) || !finish(s, target, err))
            return false;
    }
    if (isinf(s->best_again) && (!find_least(s, err) || !finish(s, target, err)))
        return false;
    return isinf(s->best_again) || exchange(s, target, err);
}

/*
 * Leaves at work the cheapest choice found whose arena is within limit, or else that with the least
 * arena; *arena is its. An arena may be larger than the peak: then the target is lowered by as
 * much.
 */
static bool choose(struct search *s, size_t limit, size_t *arena, struct gr_error *err)
{
    size_t target = limit;
    for (int attempt = 0; attempt < 4; attempt++) {
        if (!find_best(s, target, err))
            return false;
        if (isinf(s->best_again))
            break;
        memcpy(s->dropped, s->best, s->n * sizeof *s->dropped);
        if (!judge(s, err) || !gr_draft_arena(&s->draft, arena, err))
            return false;
        if (*arena <= limit || *arena - limit >= target)
            return true;
        target -= *arena - limit;
    }
    return find_least(s, err) && prune(s, s->draft.peak, err) &&
           gr_draft_arena(&s->draft, arena, err);
}

/*
 * Lowers *arena, an arena that is possible, to the least that is found: aiming a little below one
 * finds what aiming at nothing may miss.
 */
static bool choose_least(struct search *s, size_t *arena, struct gr_error *err)
{
    static const size_t parts[] = {16, 64, 256, 1024};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        size_t found;
        if (!choose(s, *arena - *arena / parts[i], &found, err))
            return false;
        if (found < *arena)
            *arena = found;
    }
    return true;
}

/* ---- the budget -------------------------------------------------------------------------- */

static size_t stored_bytes(const struct gr_program *program)
{
    size_t bytes = 0;
    for (size_t v = 0; v < program->n_slots; v++)
        if (program->slots[v].stored)
            bytes += gr_layout_bytes(program->slots[v].layout, program->graph->values[v]);
    return bytes;
}

/* "742 MB", rounded up, so that what is said to be possible is. */
static const char *bytes_text(size_t bytes, char text[32])
{
    const size_t unit = bytes < 10000000 ? 1000 : 1000000;
    snprintf(text, 32, "%zu %s", (bytes + unit - 1) / unit, unit == 1000 ? "kB" : "MB");
    return text;
}

static bool fail_too_small(const struct gr_program *program, size_t stored, size_t arena,
                           struct gr_error *err)
{
    char budget[32], kept[32], least[32];
    return gr_fail(err, GR_ERR_USAGE,
                   "a memory budget of %s is too small: parameters and states take %s, and the "
                   "least possible in all is %s; try a smaller batch",
                   bytes_text(program->options.memory_budget, budget), bytes_text(stored, kept),
                   bytes_text(stored + arena, least));
}

/* One search and its result; *refused as of gr_draft_apply. */
static bool recompute(struct gr_program *program, const bool *fixed, size_t unbudgeted,
                      int *refused, struct gr_error *err)
{
    const size_t stored = stored_bytes(program), budget = program->options.memory_budget;
    const size_t limit = budget > stored ? budget - stored : 0;
    struct search s;
    size_t arena = 0;
    *refused = -1;
    bool ok = search_init(&s, program, fixed, err) && choose(&s, limit, &arena, err);
    if (ok && arena > limit)
        ok = choose_least(&s, &arena, err) &&
             fail_too_small(program, stored, arena < unbudgeted ? arena : unbudgeted, err);
    if (ok)
        ok = gr_draft_apply(&s.draft, refused, err);
    gr_draft_release(&s.draft);
    return ok;
}

bool gr_recompute(struct gr_program *program, struct gr_error *err)
{
    struct gr_memory_plan plan;
    if (program->options.no_memory_plan)
        return gr_fail(err, GR_ERR_USAGE, "a memory budget needs the memory plan");
    if (!gr_program_measure(program, NULL, &plan, err))
        return false;
    program->memory.unbudgeted = plan.arena;
    if (stored_bytes(program) + plan.arena <= program->options.memory_budget)
        return true;
    bool *fixed = calloc(program->n_steps + 1, sizeof *fixed);
    if (!fixed)
        return gr_fail_memory(err, "a memory budget");
    int refused;
    bool ok;
    while ((ok = recompute(program, fixed, plan.arena, &refused, err)) && refused >= 0)
        fixed[refused] = true;
    free(fixed);
    for (size_t s = 0; ok && s < program->n_steps; s++)
        if (program->steps[s].node->origin) {
            program->memory.recomputed++;
            program->memory.recompute_share += program->steps[s].again;
        }
    return ok;
}
