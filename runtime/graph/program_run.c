/*
 * Running a program: the steps in order, those of a section in lanes beside each other. Nothing is
 * allocated here.
 */
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "graph/passes.h"
#include "graph/program_private.h"

static bool all_finite(const void *data, enum gr_dtype dtype, size_t bytes)
{
    if (dtype == GR_BF16) { /* the upper half of an f32: an exponent of ones is no number */
        const uint16_t *bits = data;
        size_t broken = 0;
        for (size_t i = 0; i < bytes / sizeof *bits; i++)
            broken += (bits[i] & 0x7f80u) == 0x7f80u;
        return broken == 0;
    }
    /* x - x is 0 for a finite x and NaN for any other. */
    const float *values = data;
    float sum = 0;
    for (size_t i = 0; i < bytes / sizeof *values; i++)
        sum += values[i] - values[i];
    return sum == 0;
}

/* The outputs of a step, or what it updated, hold neither NaN nor infinity. */
static bool check_finite(const struct gr_program *program, const struct gr_step *step,
                         const struct gr_run *run, struct gr_error *err)
{
    const struct gr_node *node = step->node;
    const int updated = gr_node_updated(node);
    for (int k = 0; k < node->n_outputs + updated; k++) {
        const struct gr_value *value =
            k < node->n_outputs ? node->outputs[k] : node->inputs[k - node->n_outputs];
        const void *data =
            k < node->n_outputs ? step->buffers.dst[k] : step->buffers.src[k - node->n_outputs];
        if (value->dtype != GR_F32 || value->kind == GR_VALUE_WORKSPACE)
            continue;
        const struct gr_layout *layout = program->slots[value->id].layout;
        if (!all_finite(data, gr_layout_dtype(layout, value), gr_layout_bytes(layout, value)))
            return gr_fail(err, GR_ERR_DIVERGED,
                           "'%s', made by node '%s' (%s), holds NaN or infinity in step %llu",
                           value->name, node->name, node->op->kind.name,
                           (unsigned long long)run->step);
    }
    return true;
}

/* A loss that is not finite ends the run before the updates could spread it. */
static bool check_guard(const struct gr_step *step, const struct gr_run *run, struct gr_error *err)
{
    if (!step->guarded || isfinite(*(const float *)step->buffers.dst[0]))
        return true;
    return gr_fail(err, GR_ERR_DIVERGED, "'%s' is not finite in step %llu",
                   step->node->outputs[0]->name, (unsigned long long)run->step);
}

static void poison(const struct gr_program *program, int step)
{
    for (size_t i = 0; i < program->n_deaths; i++)
        if (program->deaths[i].step == step)
            memset(program->deaths[i].data, 0xff, program->deaths[i].bytes); /* NaN, -1 */
}

/* Changes whenever a parameter that the program reads does. */
static uint64_t parameters_version(const struct gr_program *program)
{
    uint64_t version = 0;
    for (size_t v = 0; v < program->n_slots; v++)
        if (program->slots[v].stored)
            version += program->slots[v].stored->version;
    return version;
}

/* What one run is, for every lane. */
struct running {
    struct gr_program *program;
    const struct gr_section *section; /* that runs in lanes now */
    const struct gr_run *run;
    bool renew, timed; /* constants too; each step */
};

/* What the step wrote has a new version, its copies included. */
static void count_updates(struct gr_program *program, const struct gr_step *step)
{
    const struct gr_node *node = step->node;
    struct gr_slot *slots = program->slots;
    for (int i = 0; i < gr_node_updated(node); i++)
        slots[node->inputs[i]->id].stored->version++;
    for (int i = node->n_inputs - node->n_copies; i < node->n_inputs; i++)
        slots[node->inputs[i]->id].version = slots[node->inputs[0]->id].stored->version;
    if (step->kept)
        slots[node->outputs[0]->id].version = slots[node->inputs[0]->id].stored->version;
}

/* Is what the step would make there already? */
static bool is_there(const struct running *running, const struct gr_step *step)
{
    const struct gr_slot *slots = running->program->slots;
    const struct gr_node *node = step->node;
    return (step->constant && !running->renew) ||
           (step->kept &&
            slots[node->outputs[0]->id].version == slots[node->inputs[0]->id].stored->version);
}

/* Adds up, or tells, how long the step took that has just ended. */
static void note_time(const struct gr_program *program, struct gr_step *step, double start)
{
    const struct gr_timing timing = {.node = (size_t)(step - program->steps),
                                     .lane = step->lane ? step->lane - 1 : 0,
                                     .start = start,
                                     .seconds = gr_seconds() - start};
    step->seconds += timing.seconds;
    if (program->timing)
        program->timing(program->timing_user, &timing);
}

static bool run_step(const struct running *running, struct gr_step *step, struct gr_error *err)
{
    struct gr_program *program = running->program;
    const struct gr_run *run = running->run;
    if (!step->kernel.run || is_there(running, step))
        return true;
    const double start = running->timed ? gr_seconds() : 0;
    if (!step->kernel.run(&step->kernel, step->node, &step->buffers, run, err))
        return false;
    if (running->timed)
        note_time(program, step, start);
    if (program->observe)
        program->observe(program->observe_user, step);
    if (!check_guard(step, run, err))
        return false;
    count_updates(program, step);
    return !program->options.check_finite || check_finite(program, step, run, err);
}

/* The steps of one lane, up to the first that fails. */
static void run_lane(void *user, int lane)
{
    const struct running *running = user;
    struct gr_program *program = running->program;
    struct gr_failure *failure = &program->failures[lane];
    failure->err.status = GR_OK;
    for (int s = running->section->first; s <= running->section->last; s++) {
        struct gr_step *step = &program->steps[s];
        if (step->lane != lane + 1 || run_step(running, step, &failure->err))
            continue;
        failure->step = (size_t)s;
        return;
    }
}

/* A section in lanes. Of several failures the first in the order of the steps is reported. */
static bool run_section(struct running *running, struct gr_error *err)
{
    const struct gr_program *program = running->program;
    const int lanes = running->section->lanes;
    const struct gr_failure *first = NULL;
    gr_lanes_run(program->lanes[lanes], run_lane, running);
    for (int l = 0; l < lanes; l++) {
        const struct gr_failure *failure = &program->failures[l];
        if (failure->err.status != GR_OK && (!first || failure->step < first->step))
            first = failure;
    }
    return !first || gr_fail(err, first->err.status, "%s", first->err.message);
}

bool gr_program_run(struct gr_program *program, const struct gr_run *run, struct gr_error *err)
{
    const uint64_t version = parameters_version(program);
    struct running running = {.program = program,
                              .run = run,
                              .renew = version != program->constants_version,
                              .timed = program->profiling || program->timing};
    size_t next = 0; /* section */
    for (size_t s = 0; s < program->n_steps; s++) {
        const size_t first = s;
        if (next < program->n_sections && (size_t)program->sections[next].first == s) {
            running.section = &program->sections[next++];
            if (!run_section(&running, err))
                return false;
            s = (size_t)running.section->last;
        } else if (!run_step(&running, &program->steps[s], err)) {
            return false;
        }
        for (size_t d = first; program->deaths && d <= s; d++)
            poison(program, (int)d);
    }
    program->constants_version = version;
    return true;
}

void gr_program_profile(struct gr_program *program, bool on)
{
    program->profiling = on;
    for (size_t s = 0; s < program->n_steps; s++)
        program->steps[s].seconds = 0;
}

void gr_program_trace(struct gr_program *program, gr_timing_fn *timing, void *user)
{
    program->timing = timing;
    program->timing_user = user;
}

void gr_program_observe(struct gr_program *program, gr_observe_fn *observe, void *user)
{
    program->observe = observe;
    program->observe_user = user;
}
