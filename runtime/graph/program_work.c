/*
 * The steps of a program as work: what each roughly costs, and which earlier ones it depends on. In
 * this form sections are found in them (sections.h).
 */
#include <stdlib.h>
#include <string.h>

#include "graph/passes.h"
#include "graph/program_private.h"

enum { MOST_UPDATED = 32 << 20 }; /* bytes; larger updates wait for memory, beside others no less */

struct listing {
    const struct gr_program *program;
    struct gr_work *work;
    size_t n_before, capacity;
};

static double bytes_of(const struct gr_program *program, const struct gr_value *value)
{
    return (double)gr_layout_bytes(program->slots[value->id].layout, value);
}

bool gr_program_updates_much(const struct gr_program *program, const struct gr_step *step)
{
    double updated = 0;
    for (int i = 0; i < gr_node_updated(step->node); i++)
        updated += bytes_of(program, step->node->inputs[i]);
    return updated > MOST_UPDATED;
}

/*
 * A rough guess, the same on every machine, so that the sections are. A step in no section: below
 * 0.
 */
static double cost_of(const struct gr_program *program, const struct gr_step *step)
{
    const struct gr_node *node = step->node;
    const double macs = node->op->macs ? node->op->macs(node) : 0;
    double bytes = 0;
    for (int i = 0; i < node->n_inputs; i++)
        bytes += bytes_of(program, node->inputs[i]);
    for (int o = 0; o < node->n_outputs; o++)
        bytes += bytes_of(program, node->outputs[o]);
    if (step->guarded || gr_program_updates_much(program, step))
        return -1;
    return !step->kernel.run || step->constant || step->kept ? 0
                                                             : macs / 4e10 + bytes / 1e10 + 1e-6;
}

static bool depend(struct listing *l, int step, struct gr_error *err)
{
    if (step < 0)
        return true;
    if (!gr_grow((void **)&l->work->before, &l->capacity, l->n_before, sizeof *l->work->before))
        return gr_fail_memory(err, "looking for branches");
    l->work->before[l->n_before++] = step;
    return true;
}

/* By value: the step that made it last, and a list of the steps that have read it since. */
struct history {
    int *made, *readers; /* [n_slots] -1: none */
    int *next, *step;    /* of the list's entries */
    int n;
};

/*
 * A step depends on who made what it reads, views on the way included; an update also on the
 * earlier readers of what it writes, and later readers on the update.
 */
static bool list_step(struct listing *l, struct history *h, int s, struct gr_error *err)
{
    const struct gr_node *node = l->program->steps[s].node;
    bool ok = true;
    for (int i = 0; i < node->n_inputs; i++) {
        const struct gr_value *value = node->inputs[i];
        for (;; value = value->producer->inputs[0]) {
            ok = ok && depend(l, h->made[value->id], err);
            if (!value->producer || !gr_node_is_view(value->producer))
                break;
        }
        if (gr_node_writes(node, i)) {
            for (int r = h->readers[value->id]; r >= 0; r = h->next[r])
                ok = ok && (h->step[r] == s || depend(l, h->step[r], err));
            h->readers[value->id] = -1;
            h->made[value->id] = s;
        } else {
            h->step[h->n] = s;
            h->next[h->n] = h->readers[value->id];
            h->readers[value->id] = h->n++;
        }
    }
    for (int o = 0; o < node->n_outputs; o++)
        h->made[node->outputs[o]->id] = s;
    return ok;
}

bool gr_program_list_work(const struct gr_program *program, struct gr_work *work,
                          struct gr_error *err)
{
    struct listing l = {.program = program, .work = work};
    size_t reads = 0;
    *work = (struct gr_work){.n_steps = (int)program->n_steps,
                             .cost = calloc(program->n_steps + 1, sizeof *work->cost),
                             .first = calloc(program->n_steps + 1, sizeof *work->first)};
    for (size_t s = 0; s < program->n_steps; s++)
        reads += (size_t)program->steps[s].node->n_inputs;
    int *ints = malloc((2 * program->n_slots + 2 * reads + 1) * sizeof *ints);
    if (!ints || !work->cost || !work->first) {
        free(ints);
        return gr_fail_memory(err, "looking for branches");
    }
    memset(ints, -1, 2 * program->n_slots * sizeof *ints);
    struct history h = {.made = ints, .readers = ints + program->n_slots};
    h.next = h.readers + program->n_slots;
    h.step = h.next + reads;
    bool ok = true;
    for (size_t s = 0; ok && s < program->n_steps; s++) {
        work->cost[s] = cost_of(program, &program->steps[s]);
        work->first[s] = l.n_before;
        ok = list_step(&l, &h, (int)s, err);
    }
    work->first[program->n_steps] = l.n_before;
    free(ints);
    return ok;
}

void gr_program_release_work(struct gr_work *work)
{
    free(work->cost);
    free(work->first);
    free(work->before);
}
