/*
 * Which sections run in lanes, found by measuring; see lanes_search.h.
 */
#include "graph/lanes_search.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    MOST_ROUNDS = 15,
    BLOCKS = 4, /* of steps, with lanes and without in turn */
};

/* Measuring takes about so long, for each number of lanes and to confirm, but for long steps. */
static const double trial_seconds = 0.4, confirm_seconds = 0.8;

/* Steps as long as that, as guessed and as measured, are not tried. */
static const double longest_guess = 2, longest_step = 0.5;

/* What whole steps must gain, at best and in the median. */
static const double worthwhile = 0.97;

/*
 * Which sections are put to that: those that gained by themselves, and if they do not suffice, all
 * that lost nothing to speak of. What one leaves in the caches helps another.
 */
static const double promising[] = {0.98, 1.02};

/* Lanes may take so much more memory, of all that the program holds. */
static const double spare = 0.02;

/* What the confirmation is reported under. */
static const char subject[] = "branches beside each other";

/* ---- arrangements ------------------------------------------------------------------------ */

static void forget_sections(struct gr_program *program)
{
    for (size_t s = 0; s < program->n_steps; s++)
        program->steps[s].lane = 0;
    program->n_sections = 0;
}

/* Kernels for section k in so many lanes, kept until another number is asked for. */
static bool plan(struct gr_choosing *c, size_t k, int lanes, bool *fits, struct gr_error *err)
{
    struct gr_section section = c->sections[k];
    struct gr_kernel *kernels = c->program->trial + section.first;
    *fits = true;
    if (c->planned[k] == lanes)
        return true;
    for (int s = 0; s <= section.last - section.first; s++)
        gr_kernel_release(&kernels[s]);
    section.lanes = lanes;
    const bool ok = gr_choosing_plan(c, &section, kernels, fits, err);
    c->planned[k] = ok && *fits ? lanes : 0;
    return ok;
}

/* Section k of the choice is the next of the program's. */
static void add(struct gr_choosing *c, size_t k, int lanes)
{
    struct gr_section section = c->sections[k];
    section.lanes = lanes;
    c->trial.on[c->program->n_sections] = true;
    c->which[c->program->n_sections] = k;
    gr_choosing_add(c, &section);
}

/*
 * Places the program with section k in lanes[k] lanes (0: one by one), all of which are on; `both`:
 * in memory that lets them run one by one as well. A section whose kernels do not fit, or which
 * needs more memory than it may, gets 0.
 */
static bool arrange(struct gr_choosing *c, int *lanes, bool both, struct gr_error *err)
{
    struct gr_program *program = c->program;
    bool ok = true, again = true;
    program->trial_both = false;
    while (ok && again) {
        again = false;
        forget_sections(program);
        for (size_t k = 0; ok && k < c->n_sections; k++) {
            bool fits = false;
            ok = !lanes[k] || plan(c, k, lanes[k], &fits, err);
            lanes[k] = fits ? lanes[k] : 0;
            if (ok && fits)
                add(c, k, lanes[k]);
        }
        ok = ok && gr_choosing_open(c, err) && gr_program_place(program, err);
        for (size_t n = 0; ok && n < program->n_sections; n++) {
            const size_t k = c->which[n];
            if (program->section_bytes[n] > c->most_bytes && c->offers[k].open) {
                lanes[k] = 0;
                again = true;
            }
        }
    }
    program->trial_both = both;
    c->trial.renew = true;
    return ok && (!both || gr_program_place(program, err));
}

/* ---- trials ------------------------------------------------------------------------------ */

static int clamp(double x, int least, int most)
{
    return x < least ? least : x > most ? most : (int)x;
}

/* The least times that a section takes together with what stands between it and the next. */
struct timing {
    double serial, lanes;
};

/* A step with no open section in lanes, one with every other, and one with those between. */
static bool time_sections(struct gr_choosing *c, struct timing *timings, struct gr_error *err)
{
    struct gr_program *program = c->program;
    bool ok = true;
    for (int part = 0; ok && part < 3; part++) {
        for (size_t n = 0; n < program->n_sections; n++)
            c->trial.on[n] = !c->offers[c->which[n]].open || (part && (n + (size_t)part) % 2);
        ok = gr_step_trial_run(&c->trial, err);
        for (size_t n = 0; ok && n < program->n_sections; n++) {
            const double took = c->trial.start[n + 1] - c->trial.start[n];
            double *least = c->trial.on[n] ? &timings[n].lanes : &timings[n].serial;
            if (part == 0 || c->trial.on[n])
                *least = took < *least ? took : *least;
        }
    }
    return ok;
}

static void judge(struct gr_choosing *c, int lanes, const struct timing *timings)
{
    for (size_t n = 0; n < c->program->n_sections; n++) {
        struct gr_offer *offer = &c->offers[c->which[n]];
        const double ratio = timings[n].lanes / timings[n].serial;
        char result[96];
        if (!offer->open)
            continue;
        snprintf(result, sizeof result, "serial %.3f ms, lanes:%d %.3f ms, with what follows",
                 1e3 * timings[n].serial, lanes, 1e3 * timings[n].lanes);
        gr_tuning_report(c->program->options.tuning, offer->name, result);
        if (offer->serial <= 0 || timings[n].serial < offer->serial)
            offer->serial = timings[n].serial;
        if (!offer->lanes || ratio < offer->ratio) {
            offer->ratio = ratio;
            offer->lanes = lanes;
            offer->seconds = timings[n].lanes;
        }
    }
}

/* Times what can run in so many lanes, all else as it is known. */
static bool try_lanes(struct gr_choosing *c, int lanes, struct gr_error *err)
{
    struct gr_program *program = c->program;
    struct gr_error failed = {0}; /* where lanes cannot run, on zeros say, nothing is chosen */
    struct timing *timings = calloc(c->n_sections + 1, sizeof *timings);
    int *wanted = calloc(c->n_sections + 1, sizeof *wanted);
    bool any = false, ok = timings && wanted;
    if (!ok)
        gr_fail_memory(err, "trying lanes");
    for (size_t k = 0; ok && k < c->n_sections; k++) {
        const struct gr_offer *offer = &c->offers[k];
        wanted[k] = !offer->open ? offer->known : c->sections[k].branches >= lanes ? lanes : 0;
        timings[k] = (struct timing){1e30, 1e30};
        any = any || (offer->open && wanted[k]);
    }
    ok = ok && (!any || gr_tuning_begin(program->options.tuning, subject, err));
    if (ok && any && arrange(c, wanted, true, &failed) && gr_step_trial_run(&c->trial, &failed) &&
        c->trial.seconds < longest_step) {
        const int rounds = clamp(trial_seconds / (3 * c->trial.seconds), 2, MOST_ROUNDS);
        for (int r = 0; r < rounds && failed.status == GR_OK; r++)
            time_sections(c, timings, &failed);
        if (failed.status == GR_OK)
            judge(c, lanes, timings);
    }
    free(timings);
    free(wanted);
    return ok;
}

/* ---- confirmation ------------------------------------------------------------------------ */

/* Steps in one of the two ways, to be compared by their least and their median. */
struct samples {
    double seconds[BLOCKS * MOST_ROUNDS];
    int count;
};

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Places the program, takes a step to touch its memory, and then some more. */
static bool sample(struct gr_choosing *c, int *lanes, struct samples *samples, struct gr_error *err)
{
    if (!arrange(c, lanes, false, err) || !gr_step_trial_run(&c->trial, err))
        return false;
    const int steps = clamp(confirm_seconds / (2 * BLOCKS * c->trial.seconds), 2, MOST_ROUNDS);
    for (int i = 0; i < steps; i++) {
        if (!gr_step_trial_run(&c->trial, err))
            return false;
        samples->seconds[samples->count++] = c->trial.seconds;
    }
    return true;
}

static bool is_faster(struct gr_choosing *c, struct samples *without, struct samples *with)
{
    char result[128];
    qsort(without->seconds, (size_t)without->count, sizeof(double), by_value);
    qsort(with->seconds, (size_t)with->count, sizeof(double), by_value);
    const double middle = without->seconds[without->count / 2], least = without->seconds[0];
    const double middle_with = with->seconds[with->count / 2], least_with = with->seconds[0];
    const bool faster = middle_with < worthwhile * middle && least_with < worthwhile * least;
    snprintf(result, sizeof result, "a step %.3f ms, with lanes %.3f ms, at best %.3f and %.3f: %s",
             1e3 * middle, 1e3 * middle_with, 1e3 * least, 1e3 * least_with,
             faster ? "kept" : "not worth it");
    gr_tuning_report(c->program->options.tuning, subject, result);
    return faster;
}

/* Steps with sections in so many lanes against steps as they are known, each in its own memory. */
static bool compare(struct gr_choosing *c, int *known, int *lanes, struct gr_error *err)
{
    const struct gr_program *program = c->program;
    struct samples *both = calloc(2, sizeof *both);
    const int blocks = c->trial.seconds < 0.1 ? BLOCKS : BLOCKS / 2;
    bool ok = both || gr_fail_memory(err, "trying lanes");
    for (int b = 0; ok && b < blocks; b++) {
        ok = sample(c, known, &both[0], err);
        const size_t bytes = program->memory.planned;
        ok = ok && sample(c, lanes, &both[1], err) &&
             (program->options.no_memory_plan || program->memory.planned <= bytes + c->spare_bytes);
    }
    ok = ok && is_faster(c, &both[0], &both[1]);
    free(both);
    return ok;
}

/*
 * What was found section by section must make whole steps faster, in the memory that they will
 * have, and without lanes' threads about where there are none; else nothing new is taken.
 */
static bool confirm(struct gr_choosing *c, struct gr_error *err)
{
    int *known = calloc(2 * c->n_sections + 1, sizeof *known);
    bool confirmed = false;
    if (!known)
        return gr_fail_memory(err, "trying lanes");
    int *lanes = known + c->n_sections;
    for (size_t i = 0; !confirmed && i < sizeof promising / sizeof *promising; i++) {
        struct gr_error failed = {0};
        bool any = false; /* that was not compared already */
        for (size_t k = 0; k < c->n_sections; k++) {
            const struct gr_offer *offer = &c->offers[k];
            const bool takes = offer->open && offer->lanes && offer->ratio < promising[i];
            known[k] = offer->known;
            lanes[k] = takes ? offer->lanes : offer->known;
            any = any || (takes && (i == 0 || offer->ratio >= promising[i - 1]));
        }
        confirmed = any && compare(c, known, lanes, &failed);
    }
    for (size_t k = 0; k < c->n_sections; k++)
        if (c->offers[k].open) {
            struct gr_offer *offer = &c->offers[k];
            offer->lanes = confirmed ? lanes[k] : 0;
            offer->seconds = offer->lanes ? offer->seconds : offer->serial;
        }
    free(known);
    return true;
}

/* The most that may be alive in a section: what the program needs without lanes, and a little. */
static bool weigh(struct gr_choosing *c, struct gr_error *err)
{
    struct gr_program *program = c->program;
    struct gr_memory_plan serial = {0};
    if (!gr_program_measure(program, NULL, &serial, err))
        return false;
    size_t bytes = serial.lower_bound;
    for (size_t v = 0; v < program->n_slots; v++)
        if (program->slots[v].stored)
            bytes += gr_layout_bytes(program->slots[v].layout, program->graph->values[v]);
    c->spare_bytes = (size_t)(spare * (double)bytes);
    c->most_bytes =
        program->options.no_memory_plan ? SIZE_MAX : serial.lower_bound + c->spare_bytes;
    return true;
}

/* Is a step short enough to be taken some dozen times? */
static bool is_short(const struct gr_choosing *c)
{
    double seconds = 0;
    for (size_t s = 0; s < c->program->n_steps; s++)
        seconds += c->work.cost[s] > 0 ? c->work.cost[s] / c->threads : 0;
    return seconds < longest_guess;
}

bool gr_choosing_search(struct gr_choosing *c, struct gr_error *err)
{
    struct gr_program *program = c->program;
    if (!is_short(c))
        return true;
    program->trial = calloc(program->n_steps + 1, sizeof *program->trial);
    c->planned = calloc(c->n_sections + 1, sizeof *c->planned);
    bool ok = (program->trial && c->planned) || gr_fail_memory(err, "trying lanes");
    ok = ok && weigh(c, err) && gr_step_trial_begin(&c->trial, program, err);
    for (int lanes = 2; ok && lanes <= program->most_lanes; lanes += lanes < 4 ? 1 : lanes)
        if (gr_lanes_can_share(c->threads, lanes))
            ok = try_lanes(c, lanes, err);
    ok = ok && confirm(c, err);
    gr_step_trial_end(&c->trial);
    forget_sections(program);
    for (size_t s = 0; program->trial && s < program->n_steps; s++)
        gr_kernel_release(&program->trial[s]);
    free(program->trial);
    free(c->planned);
    program->trial = NULL;
    return ok;
}
