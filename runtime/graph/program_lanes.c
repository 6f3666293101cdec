/*
 * Branches beside each other: finds the sections of a program that fall apart into branches, and
 * runs those in lanes that earlier choices or the search (lanes_search.h) say.
 *
 * Lanes share the threads evenly, so a step in a lane has a kernel planned for fewer threads. It
 * must read and write the layouts that the step has already; where it would not, the section stays
 * as it is.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/lanes_search.h"

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
static void name_section(const struct gr_choosing *c, const struct gr_section *section,
                         struct gr_offer *offer)
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
    snprintf(offer->name, sizeof offer->name, "%.80s to %.80s", first ? first : "",
             last ? last : "");
    snprintf(offer->key, sizeof offer->key, "lanes of %d threads: %s: %016" PRIx64, c->threads,
             offer->name, hash);
}

/* ---- kernels for lanes ------------------------------------------------------------------- */

/* A kernel for a step as it stands. *fits: it takes and gives the layouts that the step has. */
static bool plan_step(struct gr_choosing *c, const struct gr_step *step, struct gr_kernel *kernel,
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
bool gr_choosing_plan(struct gr_choosing *c, const struct gr_section *section,
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
        gr_kernel_release(&kernels[s - section->first]);
    return ok;
}

/* The program runs this section in lanes. */
void gr_choosing_add(struct gr_choosing *c, const struct gr_section *section)
{
    struct gr_program *program = c->program;
    gr_section_spread(&c->work, section, c->branch, c->lane);
    for (int s = section->first; s <= section->last; s++)
        program->steps[s].lane = c->lane[s] + 1;
    program->sections[program->n_sections++] = *section;
}

/* Ends the lanes that no section runs in: their threads would be in the way. */
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

bool gr_choosing_open(struct gr_choosing *c, struct gr_error *err)
{
    struct gr_program *program = c->program;
    close_lanes(program);
    for (size_t k = 0; k < program->n_sections; k++) {
        const int lanes = program->sections[k].lanes;
        if (!program->lanes[lanes] &&
            !(program->lanes[lanes] = gr_lanes_new(lanes, c->threads / lanes, err)))
            return false;
    }
    return true;
}

/* Can so many lanes share the threads, with few of them left over? */
bool gr_lanes_can_share(int threads, int lanes)
{
    return lanes >= 2 && lanes <= threads && (threads % lanes == 0 || threads / lanes >= 4);
}

/* ---- choices ----------------------------------------------------------------------------- */

/* "serial", or "lanes:2". */
static bool read_choice(const char *choice, int threads, int *lanes)
{
    int n = 0;
    *lanes = 0;
    if (strcmp(choice, "serial") == 0)
        return true;
    if (sscanf(choice, "lanes:%d", &n) != 1 || !gr_lanes_can_share(threads, n))
        return false;
    *lanes = n;
    return true;
}

/* Takes known choices; whether any section is left to be measured. */
static bool look_up(struct gr_choosing *c)
{
    bool open = false;
    for (size_t k = 0; k < c->n_sections; k++) {
        struct gr_offer *offer = &c->offers[k];
        name_section(c, &c->sections[k], offer);
        const char *choice = gr_tuning_find(c->program->options.tuning, offer->key);
        offer->open = !choice || !read_choice(choice, c->threads, &offer->known) ||
                      offer->known > c->sections[k].branches;
        offer->known = offer->lanes = offer->open ? 0 : offer->known;
        open = open || offer->open;
    }
    return open;
}

static bool record(struct gr_choosing *c, struct gr_error *err)
{
    bool ok = true;
    for (size_t k = 0; ok && k < c->n_sections; k++) {
        const struct gr_offer *offer = &c->offers[k];
        char choice[32] = "serial";
        if (offer->lanes)
            snprintf(choice, sizeof choice, "lanes:%d", offer->lanes);
        if (offer->open)
            ok = gr_tuning_record(c->program->options.tuning, offer->key, choice, offer->seconds,
                                  GR_TUNING_MEASURED, err);
    }
    return ok;
}

/* Gives the steps of a section the kernels of its lanes. */
static bool adopt(struct gr_choosing *c, struct gr_section *section, int lanes,
                  struct gr_error *err)
{
    struct gr_program *program = c->program;
    const int n = section->last - section->first + 1;
    struct gr_kernel *kernels = calloc((size_t)n, sizeof *kernels);
    bool fits = false;
    section->lanes = lanes;
    const bool ok = kernels ? gr_choosing_plan(c, section, kernels, &fits, err)
                            : gr_fail_memory(err, "compiling");
    if (ok && fits) {
        for (int i = 0; i < n; i++) {
            struct gr_step *step = &program->steps[section->first + i];
            if (!kernels[i].run)
                continue;
            gr_kernel_release(&step->kernel);
            step->kernel = kernels[i];
        }
        gr_choosing_add(c, section);
    }
    free(kernels);
    return ok;
}

static bool decide(struct gr_choosing *c, struct gr_error *err)
{
    bool ok = true;
    if (look_up(c) && gr_tuning_measures(c->program->options.tuning))
        ok = gr_choosing_search(c, err) && record(c, err);
    for (size_t k = 0; ok && k < c->n_sections; k++)
        if (c->offers[k].lanes)
            ok = adopt(c, &c->sections[k], c->offers[k].lanes, err);
    return ok && gr_choosing_open(c, err);
}

/*
 * A forward node that joins two values computed before: else the model is a straight line, and only
 * its gradients are independent, of which too little comes to be worth measuring.
 */
static bool has_branches(const struct gr_program *program)
{
    for (size_t s = 0; s < program->n_steps; s++) {
        const struct gr_step *step = &program->steps[s];
        const struct gr_node *first = NULL;
        for (int i = 0; step->node->phase == GR_FORWARD && i < step->node->n_inputs; i++) {
            const struct gr_value *value = step->node->inputs[i];
            while (value->of) /* a reorder */
                value = value->of;
            if (!value->producer || program->slots[value->id].derived)
                continue;
            if (first && first != value->producer)
                return true;
            first = value->producer;
        }
    }
    return false;
}

/* Room for as many lanes as the sections can use. */
static bool make_room(struct gr_choosing *c, struct gr_error *err)
{
    struct gr_program *program = c->program;
    for (size_t k = 0; k < c->n_sections; k++)
        if (c->sections[k].branches > program->most_lanes)
            program->most_lanes = c->sections[k].branches;
    if (program->most_lanes > c->threads)
        program->most_lanes = c->threads;
    c->offers = calloc(c->n_sections, sizeof *c->offers);
    c->which = calloc(c->n_sections, sizeof *c->which);
    program->sections = calloc(c->n_sections, sizeof *program->sections);
    program->section_bytes = calloc(c->n_sections, sizeof *program->section_bytes);
    program->lanes = calloc((size_t)program->most_lanes + 1, sizeof(struct gr_lanes *));
    program->failures = calloc((size_t)program->most_lanes, sizeof *program->failures);
    return (c->offers && c->which && program->sections && program->section_bytes &&
            program->lanes && program->failures) ||
           gr_fail_memory(err, "compiling");
}

bool gr_program_choose_lanes(struct gr_program *program, struct gr_error *err)
{
    const struct gr_registry *ops = program->graph->ops;
    const size_t n = program->n_steps + 1;
    const int threads = ops->backend_threads(program->backend, 0);
    if (!program->options.tuning || program->options.memory_budget || threads < 2 ||
        !has_branches(program))
        return true;
    struct gr_choosing c = {.program = program,
                            .threads = threads,
                            .sections = calloc(n, sizeof *c.sections),
                            .branch = calloc(n, sizeof *c.branch),
                            .lane = calloc(n, sizeof *c.lane)};
    bool ok = (c.sections && c.branch && c.lane) || gr_fail_memory(err, "compiling");
    ok = ok && gr_program_list_work(program, &c.work, err) &&
         gr_sections_find(&c.work, c.sections, &c.n_sections, c.branch, err);
    ok = ok && (!c.n_sections || (make_room(&c, err) && decide(&c, err)));
    gr_program_release_work(&c.work);
    free(c.sections);
    free(c.offers);
    free(c.which);
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
