/*
 * Branches beside each other: finds the sections of a program that fall apart into branches, tries
 * them in lanes where no earlier choice is known, and keeps what is faster.
 *
 * Lanes share the threads evenly, so a step in a lane has a kernel planned for fewer threads. It
 * must read and write the layouts that the step has already; where it would not, the section stays
 * as it is. A trial places the program as if every section under trial ran in lanes, which suits
 * either way of running it, runs it once to touch its memory, and then times each section both ways
 * in turn. Parameters that the section updates are put back.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "graph/program_private.h"

enum {
    LEAST_ROUNDS = 3,
    MOST_ROUNDS = 25,
    NAME_SIZE = 192,
};

/* A section takes at most so long to measure, but for the least rounds; and all of them together.
 */
static const double section_seconds = 0.03, total_seconds = 2;

/* Lanes must be faster by this factor: less is noise. */
static const double worthwhile = 0.95;

/* In lanes a section may keep so much more alive than the program does without. */
static const double tolerable = 1.02;

struct choosing {
    struct gr_program *program;
    int threads;
    struct gr_work work;
    struct gr_section *sections;
    struct offer *offers; /* one a section */
    size_t n_sections;
    int *branch, *lane;  /* by step */
    size_t serial_bytes; /* alive at most without lanes */
    double deadline;     /* no new section is measured after it */
};

/* What is known of a section. */
struct offer {
    bool open; /* to be measured */
    char name[NAME_SIZE], key[NAME_SIZE + 64];
    int lanes;      /* the best number so far; 0: one after the other */
    double seconds; /* with it */
};

/* ---- names ------------------------------------------------------------------------------- */

static uint64_t hash_bytes(uint64_t hash, const void *data, size_t bytes)
{
    const unsigned char *at = data;
    for (size_t i = 0; i < bytes; i++) /* FNV-1a */
        hash = (hash ^ at[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static uint64_t hash_value(uint64_t hash, const struct gr_value *value)
{
    return hash_bytes(hash, value->shape.dim, (size_t)value->shape.rank * sizeof(int64_t));
}

/* The threads, where the section begins and ends, and a hash of what it computes and how. */
static void name_section(const struct choosing *c, const struct gr_section *section,
                         struct offer *offer)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    const char *first = NULL, *last = NULL;
    for (int s = section->first; s <= section->last; s++) {
        const struct gr_step *step = &c->program->steps[s];
        const struct gr_node *node = step->node;
        const char *impl = step->kernel.impl ? step->kernel.impl : "";
        hash = hash_bytes(hash, node->op->kind.name, strlen(node->op->kind.name) + 1);
        hash = hash_bytes(hash, impl, strlen(impl) + 1);
        hash = hash_bytes(hash, &c->branch[s], sizeof c->branch[s]);
        for (int i = 0; i < node->n_inputs; i++)
            hash = hash_value(hash, node->inputs[i]);
        for (int o = 0; o < node->n_outputs; o++)
            hash = hash_value(hash, node->outputs[o]);
        if (c->work.cost[s] > 0) {
            first = first ? first : node->name;
            last = node->name;
        }
    }
    snprintf(offer->name, sizeof offer->name, "%.80s to %.80s", first, last);
    snprintf(offer->key, sizeof offer->key, "lanes of %d threads: %s: %016" PRIx64, c->threads,
             offer->name, hash);
}

/* ---- kernels for lanes ------------------------------------------------------------------- */

static void free_kernel(struct gr_kernel *kernel)
{
    if (kernel->free_state)
        kernel->free_state(kernel->state);
    *kernel = (struct gr_kernel){0};
}

/* A kernel for a step as it stands. *fits: it takes and gives the layouts that the step has. */
static bool plan_step(struct choosing *c, const struct gr_step *step, struct gr_kernel *kernel,
                      bool *fits, struct gr_error *err)
{
    const struct gr_program *program = c->program;
    const struct gr_node *node = step->node;
    const struct gr_layout **src = calloc((size_t)(2 * node->n_inputs + node->n_outputs) + 1,
                                          sizeof(const struct gr_layout *));
    if (!src)
        return gr_fail_memory(err, "compiling");
    const struct gr_layout **home = src + node->n_inputs, **dst = home + node->n_inputs;
    for (int i = 0; i < node->n_inputs; i++)
        src[i] = program->slots[node->inputs[i]->id].layout;
    for (int o = 0; o < node->n_outputs; o++) /* a reorder is told where to go */
        dst[o] = node->op == program->graph->ops->reorder ? step->dst_layouts[o] : &gr_layout_plain;
    struct gr_planning planning = {.node = node,
                                   .backend = program->backend,
                                   .precision = program->options.precision,
                                   .choice = step->choice,
                                   .src = src,
                                   .home = home,
                                   .dst = dst,
                                   .kernel = kernel};
    const bool ok = node->op->plan(&planning, err);
    *fits = ok && kernel->run && kernel->in_place == step->kernel.in_place;
    for (int i = 0; *fits && i < node->n_inputs; i++)
        *fits = (src[i] ? src[i] : &gr_layout_plain) == program->slots[node->inputs[i]->id].layout;
    for (int o = 0; *fits && o < node->n_outputs; o++)
        *fits = dst[o] == step->dst_layouts[o];
    free(src);
    return ok;
}

/* Kernels for the lanes of a section, one a step; if they do not fit, or fail, none. */
static bool plan_section(struct choosing *c, const struct gr_section *section,
                         struct gr_kernel *kernels, bool *fits, struct gr_error *err)
{
    const struct gr_program *program = c->program;
    bool ok = true;
    *fits = true;
    program->graph->ops->backend_threads(program->backend, c->threads / section->lanes);
    for (int s = section->first; ok && *fits && s <= section->last; s++)
        if (program->steps[s].kernel.run)
            ok = plan_step(c, &program->steps[s], &kernels[s - section->first], fits, err);
    program->graph->ops->backend_threads(program->backend, c->threads);
    for (int s = section->first; !(ok && *fits) && s <= section->last; s++)
        free_kernel(&kernels[s - section->first]);
    return ok;
}

/* The program runs this section in lanes. */
static void add_section(struct choosing *c, const struct gr_section *section)
{
    struct gr_program *program = c->program;
    gr_section_spread(&c->work, section, c->branch, c->lane);
    for (int s = section->first; s <= section->last; s++)
        program->steps[s].lane = c->lane[s] + 1;
    program->sections[program->n_sections++] = *section;
}

/* ---- trials ------------------------------------------------------------------------------ */

static const struct gr_run no_run = {0};

/* All but updates, once, one after the other. */
static bool run_once(const struct gr_program *program, struct gr_error *err)
{
    bool ok = true;
    for (size_t s = 0; ok && s < program->n_steps; s++) {
        const struct gr_step *step = &program->steps[s];
        if (step->kernel.run && gr_node_updated(step->node) == 0)
            ok = step->kernel.run(&step->kernel, step->node, &step->buffers, &no_run, err);
    }
    return ok;
}

static bool run_serial(const struct gr_program *program, const struct gr_section *section,
                       struct gr_error *err)
{
    bool ok = true;
    for (int s = section->first; ok && s <= section->last; s++) {
        const struct gr_step *step = &program->steps[s];
        if (step->kernel.run && !step->constant)
            ok = step->kernel.run(&step->kernel, step->node, &step->buffers, &no_run, err);
    }
    return ok;
}

struct trying {
    struct gr_program *program;
    const struct gr_section *section;
};

static void try_lane(void *user, int lane)
{
    const struct trying *trying = user;
    struct gr_program *program = trying->program;
    struct gr_error *err = &program->failures[lane].err;
    bool ok = true;
    for (int s = trying->section->first; ok && s <= trying->section->last; s++) {
        const struct gr_step *step = &program->steps[s];
        const struct gr_kernel *kernel = &program->trial[s];
        if (step->lane == lane + 1 && kernel->run && !step->constant)
            ok = kernel->run(kernel, step->node, &step->buffers, &no_run, err);
    }
}

static bool run_lanes(struct gr_program *program, const struct gr_section *section,
                      struct gr_error *err)
{
    struct trying trying = {program, section};
    gr_lanes_run(program->lanes[section->lanes], try_lane, &trying);
    for (int l = 0; l < section->lanes; l++) {
        struct gr_error *failed = &program->failures[l].err;
        if (failed->status != GR_OK && err->status == GR_OK)
            *err = *failed;
        failed->status = GR_OK;
    }
    return err->status == GR_OK;
}

/* The least of several times of a section both ways. */
static bool time_section(struct gr_program *program, const struct gr_section *section,
                         double *serial, double *lanes, struct gr_error *err)
{
    const double begin = gr_seconds();
    *serial = *lanes = 1e30;
    bool ok = run_serial(program, section, err) && run_lanes(program, section, err);
    for (int round = 0; ok && round < MOST_ROUNDS; round++) {
        const double a = gr_seconds();
        ok = run_serial(program, section, err);
        const double b = gr_seconds();
        ok = ok && run_lanes(program, section, err);
        const double end = gr_seconds();
        *serial = b - a < *serial ? b - a : *serial;
        *lanes = end - b < *lanes ? end - b : *lanes;
        if (round + 1 >= LEAST_ROUNDS && end - begin > section_seconds)
            break;
    }
    return ok;
}

/* Copies what the section updates out to `kept`, or with `back` from there; returns the bytes. */
static size_t keep_updated(const struct gr_program *program, const struct gr_section *section,
                           char *kept, bool back)
{
    size_t at = 0;
    for (int s = section->first; s <= section->last; s++) {
        const struct gr_step *step = &program->steps[s];
        for (int i = 0; i < gr_node_updated(step->node); i++) {
            const struct gr_value *value = step->node->inputs[i];
            const size_t bytes = gr_layout_bytes(program->slots[value->id].layout, value);
            if (kept && back)
                memcpy(step->buffers.src[i], kept + at, bytes);
            else if (kept)
                memcpy(kept + at, step->buffers.src[i], bytes);
            at += bytes;
        }
    }
    return at;
}

/* A kernel that fails on the zeros of a trial decides nothing: the section stays as it is. */
static bool measure(struct gr_program *program, const struct gr_section *section,
                    struct offer *offer, struct gr_error *err)
{
    struct gr_error failed = {0};
    double serial, lanes;
    char *kept = malloc(keep_updated(program, section, NULL, false) + 1);
    if (!kept)
        return gr_fail_memory(err, "trying lanes");
    keep_updated(program, section, kept, false);
    gr_tuning_report(program->options.tuning, offer->name, NULL);
    if (time_section(program, section, &serial, &lanes, &failed)) {
        if (offer->lanes == 0)
            offer->seconds =
                offer->seconds > 0 && offer->seconds < serial ? offer->seconds : serial;
        char result[96];
        snprintf(result, sizeof result, "serial %.3f ms, lanes:%d %.3f ms", 1e3 * serial,
                 section->lanes, 1e3 * lanes);
        gr_tuning_report(program->options.tuning, offer->name, result);
        if (lanes < worthwhile * offer->seconds) {
            offer->seconds = lanes;
            offer->lanes = section->lanes;
        }
    }
    keep_updated(program, section, kept, true);
    free(kept);
    return true;
}

static void forget_sections(struct gr_program *program)
{
    for (size_t s = 0; s < program->n_steps; s++)
        program->steps[s].lane = 0;
    program->n_sections = 0;
}

static bool open_lanes(struct gr_program *program, int lanes, int threads, struct gr_error *err)
{
    if (!program->lanes[lanes])
        program->lanes[lanes] = gr_lanes_new(lanes, threads, err);
    return program->lanes[lanes] != NULL;
}

/* Plans lanes for every open section that has branches enough; which[k]: whose the k-th is. */
static bool open_trial(struct choosing *c, int lanes, size_t *which, struct gr_error *err)
{
    struct gr_program *program = c->program;
    for (size_t k = 0; k < c->n_sections; k++) {
        struct gr_section section = c->sections[k];
        bool fits = false;
        section.lanes = lanes;
        if (!c->offers[k].open || section.branches < lanes)
            continue;
        if (!plan_section(c, &section, program->trial + section.first, &fits, err))
            return false;
        if (fits) {
            which[program->n_sections] = k;
            add_section(c, &section);
        }
    }
    return true;
}

/* Of the sections not yet done the one that should take least: where lanes are likeliest to gain.
 */
static size_t shortest(const struct choosing *c, const bool *done)
{
    size_t best = SIZE_MAX;
    double least = 0;
    for (size_t k = 0; k < c->program->n_sections; k++) {
        const struct gr_section *section = &c->program->sections[k];
        double cost = 0;
        for (int s = section->first; s <= section->last; s++)
            cost += c->work.cost[s];
        if (!done[k] && (best == SIZE_MAX || cost < least)) {
            best = k;
            least = cost;
        }
    }
    return best;
}

static bool measure_all(struct choosing *c, const size_t *which, bool *done, struct gr_error *err)
{
    struct gr_program *program = c->program;
    struct gr_error failed = {0};
    bool ok = true;
    if (!run_once(program, &failed))
        return true;
    for (size_t k; ok && gr_seconds() < c->deadline && (k = shortest(c, done)) != SIZE_MAX;) {
        ok = measure(program, &program->sections[k], &c->offers[which[k]], err);
        done[k] = true;
    }
    return ok;
}

/*
 * Sections in lanes keep more alive. None may need more than the program does otherwise, for
 * memory, and for the caches.
 */
static void leave_out_large(const struct choosing *c, bool *done)
{
    for (size_t k = 0; k < c->program->n_sections; k++)
        done[k] = (double)c->program->section_bytes[k] > tolerable * (double)c->serial_bytes;
}

/* Measures what can run in so many lanes. */
static bool try_lanes(struct choosing *c, int lanes, struct gr_error *err)
{
    struct gr_program *program = c->program;
    size_t *which = calloc(c->n_sections + 1, sizeof *which);
    bool *done = calloc(c->n_sections + 1, sizeof *done);
    program->trial = calloc(program->n_steps + 1, sizeof *program->trial);
    bool ok = (which && done && program->trial) || gr_fail_memory(err, "trying lanes");
    ok = ok && open_trial(c, lanes, which, err);
    if (ok && program->n_sections)
        ok = open_lanes(program, lanes, c->threads / lanes, err) && gr_program_place(program, err);
    if (ok && program->n_sections) {
        if (!program->options.no_memory_plan)
            leave_out_large(c, done);
        ok = measure_all(c, which, done, err);
    }
    for (size_t s = 0; program->trial && s < program->n_steps; s++)
        free_kernel(&program->trial[s]);
    free(program->trial);
    program->trial = NULL;
    forget_sections(program);
    free(which);
    free(done);
    return ok;
}

/* ---- choices ----------------------------------------------------------------------------- */

/* "serial", or "lanes:2". */
static bool read_choice(const char *choice, int threads, int *lanes)
{
    int n = 0;
    *lanes = 0;
    if (strcmp(choice, "serial") == 0)
        return true;
    if (sscanf(choice, "lanes:%d", &n) != 1 || n < 2 || n > threads || threads % n != 0)
        return false;
    *lanes = n;
    return true;
}

/* Takes known choices; whether any section is left to be measured. */
static bool look_up(struct choosing *c)
{
    bool open = false;
    for (size_t k = 0; k < c->n_sections; k++) {
        struct offer *offer = &c->offers[k];
        name_section(c, &c->sections[k], offer);
        const char *choice = gr_tuning_find(c->program->options.tuning, offer->key);
        offer->open = !choice || !read_choice(choice, c->threads, &offer->lanes) ||
                      offer->lanes > c->sections[k].branches;
        offer->lanes = offer->open ? 0 : offer->lanes;
        open = open || offer->open;
    }
    return open;
}

static bool record(struct choosing *c, struct gr_error *err)
{
    bool ok = true;
    for (size_t k = 0; ok && k < c->n_sections; k++) {
        const struct offer *offer = &c->offers[k];
        char choice[32] = "serial";
        if (offer->lanes)
            snprintf(choice, sizeof choice, "lanes:%d", offer->lanes);
        if (offer->open)
            ok = gr_tuning_record(c->program->options.tuning, offer->key, choice, offer->seconds,
                                  true, err);
    }
    return ok;
}

/* Gives the steps of a section the kernels of its lanes. */
static bool adopt(struct choosing *c, struct gr_section *section, int lanes, struct gr_error *err)
{
    struct gr_program *program = c->program;
    const int n = section->last - section->first + 1;
    struct gr_kernel *kernels = calloc((size_t)n, sizeof *kernels);
    bool fits = false;
    section->lanes = lanes;
    const bool ok =
        kernels ? plan_section(c, section, kernels, &fits, err) : gr_fail_memory(err, "compiling");
    if (ok && fits) {
        for (int i = 0; i < n; i++) {
            struct gr_step *step = &program->steps[section->first + i];
            if (!kernels[i].run)
                continue;
            free_kernel(&step->kernel);
            step->kernel = kernels[i];
        }
        add_section(c, section);
    }
    free(kernels);
    return ok && (!fits || open_lanes(program, lanes, c->threads / lanes, err));
}

/* Ends the lanes that no section runs in. */
static void close_lanes(struct gr_program *program)
{
    for (int l = 0; l <= program->most_lanes; l++) {
        bool used = false;
        for (size_t k = 0; k < program->n_sections; k++)
            used = used || program->sections[k].lanes == l;
        if (used)
            continue;
        gr_lanes_free(program->lanes[l]);
        program->lanes[l] = NULL;
    }
}

static bool decide(struct choosing *c, struct gr_error *err)
{
    bool ok = true;
    if (look_up(c) && gr_tuning_measures(c->program->options.tuning)) {
        struct gr_memory_plan serial = {0};
        ok = gr_program_measure(c->program, NULL, &serial, err);
        c->serial_bytes = serial.lower_bound;
        c->deadline = gr_seconds() + total_seconds;
        for (int lanes = 2; ok && lanes <= c->threads; lanes++)
            if (c->threads % lanes == 0)
                ok = try_lanes(c, lanes, err);
        ok = ok && record(c, err);
    }
    for (size_t k = 0; ok && k < c->n_sections; k++)
        if (c->offers[k].lanes)
            ok = adopt(c, &c->sections[k], c->offers[k].lanes, err);
    close_lanes(c->program);
    return ok;
}

bool gr_program_choose_lanes(struct gr_program *program, struct gr_error *err)
{
    const struct gr_registry *ops = program->graph->ops;
    const size_t n = program->n_steps + 1;
    const int threads = ops->backend_threads(program->backend, 0);
    if (!program->options.tuning || program->options.memory_budget || threads < 2)
        return true;
    struct choosing c = {.program = program,
                         .threads = threads,
                         .sections = calloc(n, sizeof *c.sections),
                         .branch = calloc(n, sizeof *c.branch),
                         .lane = calloc(n, sizeof *c.lane)};
    program->most_lanes = threads;
    program->sections = calloc(n, sizeof *program->sections);
    program->section_bytes = calloc(n, sizeof *program->section_bytes);
    program->lanes = calloc((size_t)threads + 1, sizeof(struct gr_lanes *));
    program->failures = calloc((size_t)threads, sizeof *program->failures);
    bool ok = (c.sections && c.branch && c.lane && program->sections && program->section_bytes &&
               program->lanes && program->failures) ||
              gr_fail_memory(err, "compiling");
    ok = ok && gr_program_list_work(program, &c.work, err) &&
         gr_sections_find(&c.work, c.sections, &c.n_sections, c.branch, err);
    if (ok && c.n_sections) {
        c.offers = calloc(c.n_sections, sizeof *c.offers);
        ok = c.offers ? decide(&c, err) : gr_fail_memory(err, "compiling");
    }
    gr_program_release_work(&c.work);
    free(c.sections);
    free(c.offers);
    free(c.branch);
    free(c.lane);
    return ok;
}

void gr_program_release_lanes(struct gr_program *program)
{
    for (int l = 0; program->lanes && l <= program->most_lanes; l++)
        gr_lanes_free(program->lanes[l]);
    free(program->lanes);
    free(program->sections);
    free(program->section_bytes);
    free(program->failures);
}
