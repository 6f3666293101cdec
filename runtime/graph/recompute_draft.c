/*
 * A draft of a program that computes some values again; see recompute_draft.h. What makes it true
 * is in recompute_apply.c.
 *
 * A trial is a program of its own with scratch nodes and slots, so that the memory planner judges
 * it by the very rules by which it will place it.
 */
#include "graph/recompute_draft.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "graph/passes.h"

enum { NEVER = INT_MAX };

/*
 * Of a processor with AVX-512 on two cores, as AlexNet ran on it. Only their ratio decides what is
 * chosen, and only shares of the time are shown.
 */
static const double macs_per_second = 200e9, bytes_per_second = 28e9;

static size_t bytes_of(const struct gr_program *program, const struct gr_value *value)
{
    return gr_layout_bytes(program->slots[value->id].layout, value);
}

/* ---- what there is ----------------------------------------------------------------------- */

static double seconds_of(const struct gr_program *program, const struct gr_step *step)
{
    const struct gr_program_options *options = &program->options;
    const struct gr_node *node = step->node;
    if (!step->kernel.run)
        return 0;
    const double known =
        options->step_seconds ? options->step_seconds(options->step_seconds_user, step) : -1;
    if (known >= 0 || step->measured >= 0)
        return known >= 0 ? known : step->measured;
    size_t bytes = 0;
    for (int i = 0; i < node->n_inputs; i++)
        bytes += bytes_of(program, node->inputs[i]);
    for (int o = 0; o < node->n_outputs; o++)
        bytes += bytes_of(program, node->outputs[o]);
    return (node->op->macs ? node->op->macs(node) / macs_per_second : 0) +
           (double)bytes / bytes_per_second;
}

/* A forward step whose outputs are not there all the time anyway. */
static bool is_repeatable(const struct gr_program *program, const struct gr_step *step)
{
    const struct gr_node *node = step->node;
    bool can = node->phase == GR_FORWARD && !step->constant && gr_node_updated(node) == 0;
    for (int o = 0; o < node->n_outputs; o++) {
        const struct gr_slot *slot = &program->slots[node->outputs[o]->id];
        can = can && !slot->pinned && !slot->constant;
    }
    return can;
}

/* Makers, roots, updates and times; which values are read in the backward phase. */
static void survey(struct gr_draft *draft, const bool *fixed)
{
    const struct gr_program *program = draft->program;
    draft->end_of_forward = draft->n_steps;
    for (int s = draft->n_steps; s-- > 0;)
        if (program->steps[s].node->phase == GR_BACKWARD)
            draft->end_of_forward = s;
    for (int v = 0; v < draft->n_values; v++) {
        draft->maker[v] = -1;
        draft->root[v] = v;
        draft->updated[v] = NEVER;
    }
    for (int s = 0; s < draft->n_steps; s++) {
        const struct gr_step *step = &program->steps[s];
        const struct gr_node *node = step->node;
        draft->total += draft->seconds[s] = seconds_of(program, step);
        for (int i = 0; i < gr_node_updated(node); i++)
            draft->updated[node->inputs[i]->id] = s;
        for (int i = 0; i < node->n_inputs && s >= draft->end_of_forward; i++)
            draft->keepable[draft->root[node->inputs[i]->id]] = true;
        if (gr_node_is_view(node))
            draft->root[node->outputs[0]->id] = draft->root[node->inputs[0]->id];
        const bool again = s < draft->end_of_forward && !fixed[s] && is_repeatable(program, step);
        for (int o = 0; again && o < node->n_outputs; o++)
            draft->maker[node->outputs[o]->id] = s;
    }
    /* What cannot be made again is kept, and so is what is there anyway. */
    for (int v = 0; v < draft->n_values; v++)
        if (draft->maker[v] < 0)
            draft->keepable[draft->root[v]] = true;
}

/* The choices: kept values that can be made again, and when their memory would be free. */
static bool list_choices(struct gr_draft *draft, struct gr_error *err)
{
    const struct gr_program *program = draft->program;
    int *last = calloc(2 * (size_t)draft->n_values + 2, sizeof *last), *first_late;
    draft->choices =
        gr_pool_array(&draft->pool, (size_t)draft->n_values + 1, sizeof *draft->choices);
    if (!last || !draft->choices) {
        free(last);
        return gr_fail_memory(err, "a memory budget");
    }
    first_late = last + draft->n_values + 1;
    for (int v = 0; v < draft->n_values; v++)
        first_late[v] = NEVER;
    for (int s = 0; s < draft->n_steps; s++) {
        const struct gr_node *node = program->steps[s].node;
        for (int o = 0; o < node->n_outputs; o++)
            last[draft->root[node->outputs[o]->id]] = s;
        for (int i = 0; i < node->n_inputs; i++) {
            const int root = draft->root[node->inputs[i]->id];
            if (s < draft->end_of_forward)
                last[root] = s;
            else if (first_late[root] == NEVER)
                first_late[root] = s;
        }
    }
    for (int s = 0; s < draft->end_of_forward; s++) {
        const struct gr_node *node = program->steps[s].node;
        for (int o = 0; o < node->n_outputs; o++) {
            const int v = node->outputs[o]->id;
            if (draft->root[v] == v && draft->keepable[v] && draft->maker[v] == s &&
                first_late[v] != NEVER)
                draft->choices[draft->n_choices++] = (struct gr_droppable){
                    v, bytes_of(program, node->outputs[o]), last[v] + 1, first_late[v]};
        }
    }
    free(last);
    return true;
}

/* ---- scratch nodes ----------------------------------------------------------------------- */

/* A copy of node with inputs of its own and, to compute it again, values of its own. */
static bool copy_node(struct gr_draft *draft, int s, struct gr_error *err)
{
    const struct gr_node *node = draft->program->steps[s].node;
    struct gr_node *copy = &draft->copies[s];
    const bool again = s < draft->end_of_forward;
    if (again && (node->n_outputs == 0 || draft->maker[node->outputs[0]->id] < 0))
        return true;
    *copy = *node;
    copy->inputs =
        gr_pool_array(&draft->pool, (size_t)node->n_inputs + 1, sizeof(struct gr_value *));
    if (!copy->inputs)
        return gr_fail_memory(err, "a memory budget");
    memcpy(copy->inputs, node->inputs, (size_t)node->n_inputs * sizeof *node->inputs);
    if (!again)
        return true;
    copy->outputs = gr_pool_array(&draft->pool, (size_t)node->n_outputs, sizeof(struct gr_value *));
    for (int o = 0; copy->outputs && o < node->n_outputs; o++) {
        struct gr_value *value = gr_pool_alloc(&draft->pool, sizeof *value);
        if (!value)
            return gr_fail_memory(err, "a memory budget");
        *value = *node->outputs[o];
        value->id = (int)draft->graph.n_values++;
        value->producer = copy;
        copy->outputs[o] = value;
        draft->graph.values[value->id] = value;
        draft->trial.slots[value->id] =
            (struct gr_slot){.layout = draft->program->slots[node->outputs[o]->id].layout};
    }
    return copy->outputs || gr_fail_memory(err, "a memory budget");
}

static bool copy_program(struct gr_draft *draft, struct gr_error *err)
{
    struct gr_program *program = draft->program;
    size_t most = (size_t)draft->n_values;
    for (int s = 0; s < draft->end_of_forward; s++)
        most += (size_t)program->steps[s].node->n_outputs;
    draft->trial = *program;
    draft->graph = *program->graph;
    draft->trial.graph = &draft->graph;
    draft->trial.steps =
        gr_pool_array(&draft->pool, 2 * (size_t)draft->n_steps + 1, sizeof(struct gr_step));
    draft->trial.slots = gr_pool_array(&draft->pool, most + 1, sizeof(struct gr_slot));
    draft->graph.values = gr_pool_array(&draft->pool, most + 1, sizeof(struct gr_value *));
    draft->copies = gr_pool_array(&draft->pool, (size_t)draft->n_steps + 1, sizeof *draft->copies);
    if (!draft->trial.steps || !draft->trial.slots || !draft->graph.values || !draft->copies)
        return gr_fail_memory(err, "a memory budget");
    memcpy(draft->trial.slots, program->slots, (size_t)draft->n_values * sizeof *program->slots);
    memcpy(draft->graph.values, program->graph->values,
           (size_t)draft->n_values * sizeof *program->graph->values);
    draft->graph.n_values = (size_t)draft->n_values;
    for (int s = 0; s < draft->n_steps; s++)
        if (!copy_node(draft, s, err))
            return false;
    draft->trial.n_slots = draft->graph.n_values;
    return true;
}

bool gr_draft_init(struct gr_draft *draft, struct gr_program *program, const bool *fixed,
                   struct gr_error *err)
{
    const size_t n = program->n_steps + 1, values = program->n_slots + 1;
    *draft = (struct gr_draft){
        .program = program, .n_steps = (int)program->n_steps, .n_values = (int)program->n_slots};
    int *ints = gr_pool_array(&draft->pool, 3 * values + 8 * n, sizeof *ints);
    bool *bools = gr_pool_array(&draft->pool, 2 * values, sizeof *bools);
    draft->seconds = gr_pool_array(&draft->pool, n, sizeof *draft->seconds);
    draft->alive = gr_pool_array(&draft->pool, 3 * n, sizeof *draft->alive);
    if (!ints || !bools || !draft->seconds || !draft->alive)
        return gr_fail_memory(err, "a memory budget");
    memset(ints, 0, (3 * values + 8 * n) * sizeof *ints);
    memset(bools, 0, 2 * values * sizeof *bools);
    draft->maker = ints;
    draft->root = ints + values;
    draft->updated = ints + 2 * values;
    draft->copied = ints + 3 * values;
    draft->searched = draft->copied + n;
    draft->cursor = draft->copied + 2 * n;
    draft->stack = draft->copied + 3 * n;
    draft->step_of = draft->copied + 4 * n; /* twice n: steps of the trial */
    draft->before = draft->copied + 6 * n;  /* twice n */
    draft->kept = bools;
    draft->keepable = bools + values;
    /* Measuring finds the constants, which the survey asks for. */
    if (!gr_program_measure(program, draft->alive, NULL, err))
        return false;
    survey(draft, fixed);
    return list_choices(draft, err) && copy_program(draft, err);
}

void gr_draft_release(struct gr_draft *draft)
{
    gr_pool_release(&draft->pool);
}

/* ---- a trial ----------------------------------------------------------------------------- */

/* The step that must be repeated for a reader in the backward phase, or -1: the value is there. */
static int needed_step(const struct gr_draft *draft, const struct gr_value *value)
{
    return draft->kept[draft->root[value->id]] ? -1 : draft->maker[value->id];
}

/* What a reader in the backward phase reads in place of the value. */
static struct gr_value *stand_in(const struct gr_draft *draft, struct gr_value *value)
{
    const int s = needed_step(draft, value);
    const struct gr_node *node = s < 0 ? NULL : draft->program->steps[s].node;
    for (int o = 0; node && o < node->n_outputs; o++)
        if (node->outputs[o] == value)
            return draft->copies[s].outputs[o];
    return value;
}

/*
 * Calls visit for each step that must be repeated to have the value, after those that it needs
 * itself; steps for which skip is true are there already, with all that they need.
 */
static void search(struct gr_draft *draft, const struct gr_value *value,
                   bool (*skip)(const struct gr_draft *draft, int s),
                   void (*visit)(struct gr_draft *draft, int s, void *user), void *user)
{
    const int start = needed_step(draft, value), mark = draft->n_searches;
    int depth = 0;
    if (start < 0 || skip(draft, start) || draft->searched[start] == mark)
        return;
    draft->searched[start] = mark;
    draft->cursor[start] = 0;
    draft->stack[depth++] = start;
    while (depth) {
        const int s = draft->stack[depth - 1];
        const struct gr_node *node = draft->program->steps[s].node;
        if (draft->cursor[s] == node->n_inputs) {
            depth--;
            visit(draft, s, user);
            continue;
        }
        const int next = needed_step(draft, node->inputs[draft->cursor[s]++]);
        if (next < 0 || skip(draft, next) || draft->searched[next] == mark)
            continue;
        draft->searched[next] = mark;
        draft->cursor[next] = 0;
        draft->stack[depth++] = next;
    }
}

static bool is_copied(const struct gr_draft *draft, int s)
{
    return draft->copied[s] == draft->n_trials;
}

static void add_trial_step(struct gr_draft *draft, int s, int before)
{
    const size_t at = draft->trial.n_steps++;
    draft->trial.steps[at] = draft->program->steps[s];
    if (s >= draft->end_of_forward || before > s)
        draft->trial.steps[at].node = &draft->copies[s];
    draft->step_of[at] = s;
    draft->before[at] = before;
}

/* Is the input no longer what it was in the forward phase when step `before` comes? */
static bool is_outdated(const struct gr_draft *draft, const struct gr_node *node,
                        const struct gr_value *value, int before)
{
    /* Statistics are read in training by frozen nodes alone, and so may have moved on. */
    const bool unread = value->parameter && value->parameter->statistic && !node->frozen &&
                        draft->program->graph->training;
    return draft->updated[value->id] < before && !unread;
}

static void repeat(struct gr_draft *draft, int s, void *user)
{
    const int before = *(const int *)user;
    const struct gr_node *node = draft->program->steps[s].node;
    for (int i = 0; i < node->n_inputs; i++) {
        draft->copies[s].inputs[i] = stand_in(draft, node->inputs[i]);
        draft->valid = draft->valid && !is_outdated(draft, node, node->inputs[i], before);
    }
    draft->copied[s] = draft->n_trials;
    draft->again += draft->seconds[s];
    add_trial_step(draft, s, before);
}

static void build_trial(struct gr_draft *draft, const bool *dropped)
{
    memcpy(draft->kept, draft->keepable, (size_t)draft->n_values * sizeof *draft->kept);
    for (size_t c = 0; c < draft->n_choices; c++)
        if (dropped[c])
            draft->kept[draft->choices[c].value] = false;
    draft->trial.n_steps = 0;
    draft->n_trials++;
    draft->n_searches++;
    draft->valid = true;
    draft->again = 0;
    for (int s = 0; s < draft->n_steps; s++) {
        const struct gr_node *node = draft->program->steps[s].node;
        for (int i = 0; s >= draft->end_of_forward && i < node->n_inputs; i++) {
            search(draft, node->inputs[i], is_copied, repeat, &s);
            draft->copies[s].inputs[i] = stand_in(draft, node->inputs[i]);
        }
        add_trial_step(draft, s, s);
    }
}

bool gr_draft_judge(struct gr_draft *draft, const bool *dropped, struct gr_error *err)
{
    size_t *each = draft->alive + draft->n_steps + 1; /* [trial.n_steps] */
    build_trial(draft, dropped);
    if (!gr_program_measure(&draft->trial, each, NULL, err))
        return false;
    memset(draft->alive, 0, (size_t)draft->n_steps * sizeof *draft->alive);
    draft->peak = 0;
    for (size_t t = 0; t < draft->trial.n_steps; t++) {
        size_t *alive = &draft->alive[draft->before[t]];
        *alive = each[t] > *alive ? each[t] : *alive;
        draft->peak = each[t] > draft->peak ? each[t] : draft->peak;
    }
    return true;
}

bool gr_draft_arena(struct gr_draft *draft, size_t *arena, struct gr_error *err)
{
    struct gr_memory_plan plan;
    if (!gr_program_measure(&draft->trial, NULL, &plan, err))
        return false;
    *arena = plan.arena;
    return true;
}

static void add_seconds(struct gr_draft *draft, int s, void *user)
{
    *(double *)user += draft->seconds[s];
}

double gr_draft_cost(struct gr_draft *draft, size_t choice)
{
    const int v = draft->choices[choice].value;
    const bool kept = draft->kept[v];
    double seconds = 0;
    draft->kept[v] = false;
    draft->n_searches++;
    search(draft, draft->program->graph->values[v], is_copied, add_seconds, &seconds);
    draft->kept[v] = kept;
    return seconds;
}
