/*
 * Copies of parameters that are kept between runs. A kernel that reads a weight in another layout
 * or type than it is kept in reads a copy, made by a reorder in each run. Where the parameter is
 * updated in the same program, the update has it in cache and can write the copies for the next run
 * as well (op->renews): then the copy is kept, the reorder runs only when the parameter was changed
 * from outside, and the update has the copy among its inputs, so that it follows the copy's
 * readers.
 *
 * Kept copies take memory from the first step to the last. First those are kept that are alive at
 * the peak of the program in any case. Where making copies is much of a step, as it is at small
 * batches, the peak may rise for others, the small ones first.
 */
#include <stdlib.h>
#include <string.h>

#include "graph/program_private.h"

enum { MOST_OF_A_NODE = 4, NEVER = -1 };

/*
 * Then the peak may rise by so many bytes, or by so much of all memory held, whichever is more.
 * Rough guesses of what making copies and arithmetic take, the same on every machine, so that plans
 * are.
 */
enum { SPARE_BYTES = 48 << 20 };
static const double spare = 0.05, much = 0.02, bytes_per_second = 1e10, macs_per_second = 2e11;

struct candidate {
    int step, update; /* that makes it; that can renew it */
    int last;         /* that reads it */
    size_t bytes;
    bool there; /* at the peak, also if it is not kept */
};

static struct gr_value *copy_of(const struct gr_program *program, const struct candidate *c)
{
    return program->steps[c->step].node->outputs[0];
}

/* ---- finding them ------------------------------------------------------------------------ */

/* By value: the step that updates it as its first input and can renew copies of it; or NEVER. */
static void find_updates(const struct gr_program *program, int *updates)
{
    for (size_t v = 0; v < program->n_slots; v++)
        updates[v] = NEVER;
    for (size_t s = 0; s < program->n_steps; s++) {
        const struct gr_node *node = program->steps[s].node;
        if (node->op->renews && gr_node_updated(node) > 0)
            updates[node->inputs[0]->id] = (int)s;
    }
}

/* Is a step a reorder of a parameter that a later update can renew? */
static bool is_renewable(const struct gr_program *program, const int *updates, int s)
{
    const struct gr_step *step = &program->steps[s];
    const struct gr_node *node = step->node;
    if (node->op != program->graph->ops->reorder)
        return false;
    const struct gr_value *parameter = node->inputs[0];
    const int update = updates[parameter->id];
    return update > s && !program->slots[node->outputs[0]->id].pinned &&
           program->steps[update].node->op->renews(parameter, program->slots[parameter->id].layout,
                                                   step->dst_layouts[0]);
}

static size_t list(const struct gr_program *program, const int *updates, struct candidate *all)
{
    size_t count = 0;
    for (int s = 0; s < (int)program->n_steps; s++) {
        if (!is_renewable(program, updates, s))
            continue;
        const struct gr_node *node = program->steps[s].node;
        all[count++] = (struct candidate){
            .step = s,
            .update = updates[node->inputs[0]->id],
            .last = s,
            .bytes = gr_layout_bytes(program->steps[s].dst_layouts[0], node->outputs[0])};
    }
    return count;
}

/* Finds the last reader of each. */
static bool find_readers(const struct gr_program *program, struct candidate *all, size_t count,
                         struct gr_error *err)
{
    int *last = calloc(program->n_slots + 1, sizeof *last);
    if (!last)
        return gr_fail_memory(err, "compiling");
    for (size_t s = 0; s < program->n_steps; s++)
        for (int i = 0; i < program->steps[s].node->n_inputs; i++)
            last[program->steps[s].node->inputs[i]->id] = (int)s;
    for (size_t i = 0; i < count; i++)
        all[i].last = last[copy_of(program, &all[i])->id];
    free(last);
    return true;
}

/* ---- how many ---------------------------------------------------------------------------- */

static int by_cost(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->there != y->there)
        return x->there ? -1 : 1;
    return x->bytes != y->bytes ? (x->bytes < y->bytes ? -1 : 1) : x->step - y->step;
}

/* Keeps the first n of them and no other. */
static void keep(struct gr_program *program, const struct candidate *all, size_t count, size_t n)
{
    for (size_t i = 0; i < count; i++)
        program->slots[copy_of(program, &all[i])->id].kept = i < n;
}

/* The most bytes that are alive at any step, and at which. */
struct peak {
    size_t bytes;
    int step;
};

static bool find_peak(struct gr_program *program, size_t *alive, struct peak *peak,
                      struct gr_error *err)
{
    *peak = (struct peak){0};
    if (!gr_program_measure(program, alive, NULL, err))
        return false;
    for (size_t s = 0; s < program->n_steps; s++)
        if (alive[s] > peak->bytes)
            *peak = (struct peak){alive[s], (int)s};
    return true;
}

static size_t stored_bytes(const struct gr_program *program)
{
    size_t bytes = 0;
    for (size_t v = 0; v < program->n_slots; v++)
        if (program->slots[v].stored)
            bytes += gr_layout_bytes(program->slots[v].layout, program->graph->values[v]);
    return bytes;
}

/* How much the peak may rise. */
static size_t spare_bytes(const struct gr_program *program, const struct candidate *all,
                          size_t count, size_t peak)
{
    double macs = 0, bytes = 0;
    for (size_t s = 0; s < program->n_steps; s++) {
        const struct gr_node *node = program->steps[s].node;
        macs += node->op->macs ? node->op->macs(node) : 0;
    }
    for (size_t i = 0; i < count; i++)
        bytes += (double)all[i].bytes;
    if (bytes / bytes_per_second < much * macs / macs_per_second)
        return 0;
    const double share = spare * (double)(peak + stored_bytes(program));
    return share > SPARE_BYTES ? (size_t)share : SPARE_BYTES;
}

/* Sorts them and finds the most that can be kept, by halves: more are never less memory. */
static bool choose(struct gr_program *program, struct candidate *all, size_t count, size_t *n,
                   struct gr_error *err)
{
    size_t *alive = calloc(program->n_steps + 1, sizeof *alive), least = 0, most = count;
    struct peak peak = {0};
    bool ok = (alive || gr_fail_memory(err, "compiling")) && find_peak(program, alive, &peak, err);
    const size_t bound = peak.bytes + spare_bytes(program, all, count, peak.bytes);
    for (size_t i = 0; i < count; i++)
        all[i].there = all[i].step <= peak.step && peak.step <= all[i].last;
    qsort(all, count, sizeof *all, by_cost);
    for (size_t try = count; ok && least < most; try = (least + most + 1) / 2) {
        keep(program, all, count, try);
        ok = find_peak(program, alive, &peak, err);
        if (peak.bytes <= bound)
            least = try;
        else
            most = try - 1;
    }
    free(alive);
    *n = least;
    return ok;
}

/* ---- telling the updates ----------------------------------------------------------------- */

static bool add_copy(struct gr_node *update, struct gr_value *copy, struct gr_error *err)
{
    const int n = update->n_inputs;
    struct gr_value **inputs = calloc((size_t)n + 1, sizeof *inputs);
    if (!inputs)
        return gr_fail_memory(err, "compiling");
    memcpy(inputs, update->inputs, (size_t)n * sizeof *inputs);
    inputs[n] = copy;
    const bool ok = gr_node_set_inputs(update, inputs, n + 1) || gr_fail_memory(err, "compiling");
    update->n_copies += ok;
    free(inputs);
    return ok;
}

/* Plans the update's kernel again, for the inputs that it has now, where they lie. */
static bool plan_again(struct gr_program *program, struct gr_step *step, struct gr_error *err)
{
    const struct gr_node *node = step->node;
    const int n = node->n_inputs;
    const struct gr_layout **layouts =
        calloc((size_t)(2 * n + node->n_outputs) + 1, sizeof(const struct gr_layout *));
    if (!layouts)
        return gr_fail_memory(err, "compiling");
    for (int i = 0; i < n; i++)
        layouts[i] = program->slots[node->inputs[i]->id].layout;
    for (int o = 0; o < node->n_outputs; o++)
        layouts[2 * n + o] = &gr_layout_plain;
    gr_kernel_release(&step->kernel);
    struct gr_planning planning = {.node = node,
                                   .backend = program->backend,
                                   .precision = program->options.precision,
                                   .choice = step->choice,
                                   .src = layouts,
                                   .home = layouts + n,
                                   .dst = layouts + 2 * n,
                                   .kernel = &step->kernel};
    const bool ok = node->op->plan(&planning, err);
    free(layouts);
    return ok;
}

/* The first n are kept from now on. */
static bool settle(struct gr_program *program, const struct candidate *all, size_t n,
                   struct gr_error *err)
{
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++) {
        struct gr_node *update = program->steps[all[i].update].node;
        struct gr_value *copy = copy_of(program, &all[i]);
        program->steps[all[i].step].kept = update->n_copies < MOST_OF_A_NODE;
        program->slots[copy->id].kept = program->steps[all[i].step].kept;
        if (program->slots[copy->id].kept)
            ok = add_copy(update, copy, err);
    }
    for (size_t s = 0; ok && s < program->n_steps; s++)
        if (program->steps[s].node->n_copies)
            ok = plan_again(program, &program->steps[s], err);
    return ok;
}

bool gr_program_keep_copies(struct gr_program *program, struct gr_error *err)
{
    if (!program->options.run_updates || program->options.memory_budget)
        return true;
    int *updates = calloc(program->n_slots + 1, sizeof *updates);
    struct candidate *all = calloc(program->n_steps + 1, sizeof *all);
    bool ok = (updates && all) || gr_fail_memory(err, "compiling");
    size_t count = 0, n = 0;
    if (ok) {
        find_updates(program, updates);
        count = list(program, updates, all);
    }
    ok = ok && find_readers(program, all, count, err);
    if (ok && count && (ok = choose(program, all, count, &n, err))) {
        keep(program, all, count, n);
        ok = settle(program, all, n, err);
    }
    free(updates);
    free(all);
    return ok;
}
