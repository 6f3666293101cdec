/*
 * Whole steps on trial; see program_trial.h.
 */
#include "graph/program_trial.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "graph/passes.h"

/* ---- what is updated --------------------------------------------------------------------- */

/* Copies it out to `kept`, or with `back` from there; returns the bytes. */
static size_t keep(const struct gr_program *program, char *kept, bool back)
{
    size_t at = 0;
    for (size_t s = 0; s < program->n_steps; s++) {
        const struct gr_step *step = &program->steps[s];
        for (int i = 0; i < gr_node_updated(step->node); i++) {
            const struct gr_slot *slot = &program->slots[step->node->inputs[i]->id];
            const size_t bytes = gr_layout_bytes(slot->layout, step->node->inputs[i]);
            if (gr_program_updates_much(program, step))
                continue;
            if (kept && back)
                memcpy(slot->stored->data, kept + at, bytes);
            else if (kept)
                memcpy(kept + at, slot->stored->data, bytes);
            at += bytes;
        }
    }
    return at;
}

bool gr_step_trial_begin(struct gr_step_trial *trial, struct gr_program *program,
                         struct gr_error *err)
{
    trial->program = program;
    trial->on = calloc(program->n_steps + 1, sizeof *trial->on);
    trial->start = calloc(program->n_steps + 1, sizeof *trial->start);
    trial->kept = malloc(keep(program, NULL, false) + 1);
    if (!trial->on || !trial->start || !trial->kept)
        return gr_fail_memory(err, "trying lanes");
    keep(program, trial->kept, false);
    return true;
}

void gr_step_trial_end(struct gr_step_trial *trial)
{
    if (trial->kept)
        keep(trial->program, trial->kept, true);
    free(trial->on);
    free(trial->start);
    free(trial->kept);
    *trial = (struct gr_step_trial){0};
}

/* ---- steps ------------------------------------------------------------------------------- */

static bool run_kernel(const struct gr_step_trial *trial, const struct gr_step *step,
                       const struct gr_kernel *kernel, struct gr_error *err)
{
    const struct gr_run run = {0};
    if (!kernel->run || ((step->constant || step->kept) && !trial->renew) ||
        gr_program_updates_much(trial->program, step))
        return true;
    return kernel->run(kernel, step->node, &step->buffers, &run, err);
}

struct trying {
    const struct gr_step_trial *trial;
    const struct gr_section *section;
};

static void run_lane(void *user, int lane)
{
    const struct trying *trying = user;
    struct gr_program *program = trying->trial->program;
    struct gr_error *err = &program->failures[lane].err;
    bool ok = true;
    err->status = GR_OK;
    for (int s = trying->section->first; ok && s <= trying->section->last; s++)
        if (program->steps[s].lane == lane + 1)
            ok = run_kernel(trying->trial, &program->steps[s], &program->trial[s], err);
}

static bool run_lanes(const struct gr_step_trial *trial, const struct gr_section *section,
                      struct gr_error *err)
{
    const struct gr_program *program = trial->program;
    struct trying trying = {trial, section};
    gr_lanes_run(program->lanes[section->lanes], run_lane, &trying);
    for (int l = 0; l < section->lanes; l++)
        if (program->failures[l].err.status != GR_OK) {
            *err = program->failures[l].err;
            return false;
        }
    return true;
}

bool gr_step_trial_run(struct gr_step_trial *trial, struct gr_error *err)
{
    const struct gr_program *program = trial->program;
    const double start = gr_seconds();
    size_t next = 0; /* section */
    bool ok = true;
    for (size_t s = 0; ok && s < program->n_steps; s++) {
        const struct gr_section *section = &program->sections[next];
        if (next < program->n_sections && (size_t)section->first == s) {
            trial->start[next] = gr_seconds();
            if (trial->on[next++]) {
                ok = run_lanes(trial, section, err);
                s = (size_t)section->last;
                continue;
            }
        }
        ok = run_kernel(trial, &program->steps[s], &program->steps[s].kernel, err);
    }
    trial->start[program->n_sections] = gr_seconds();
    trial->seconds = trial->start[program->n_sections] - start;
    trial->renew = false;
    return ok;
}
