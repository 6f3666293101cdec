/*
 * The memory of a program: lifetimes from the steps, offsets from the planner, addresses for the
 * kernels. Views share their input's memory; a kernel that may run in place takes over an input
 * that dies there; inputs, targets and constants are alive from the first step to the last.
 */
#include <stdlib.h>
#include <string.h>

#include "graph/arena.h"
#include "graph/memory.h"
#include "graph/passes.h"
#include "graph/program_private.h"

enum { NOWHERE = -1 };

/* Working state, by value id unless said otherwise. */
struct placing {
    struct gr_program *program;
    int *parent;  /* towards the root of the group that shares memory */
    int *last;    /* by root: step of the group's last use */
    int *life_of; /* index into lifetimes */
    int n_lives;
    int *scratch_of;               /* by step: index into lifetimes */
    struct gr_lifetime *lifetimes; /* values, then scratch */
    int *first_use, *last_use;     /* of each value itself */
    size_t *offsets;               /* by lifetime */
};

static int root_of(const struct placing *p, const struct gr_value *value)
{
    int v = value->id;
    while (p->parent[v] != v)
        v = p->parent[v] = p->parent[p->parent[v]];
    return v;
}

static int later(int a, int b)
{
    return a > b ? a : b;
}

static size_t bytes_of(const struct gr_program *program, const struct gr_value *value)
{
    return gr_layout_bytes(program->slots[value->id].layout, value);
}

/*
 * Of what constant steps compute, only what other steps read must outlive a run; the rest is
 * computed anew together with it, and lives no longer than any value.
 */
static void keep_constants(struct gr_program *program)
{
    for (size_t s = 0; s < program->n_steps; s++) {
        const struct gr_step *step = &program->steps[s];
        for (int i = 0; !step->constant && i < step->node->n_inputs; i++) {
            struct gr_slot *slot = &program->slots[step->node->inputs[i]->id];
            slot->constant = slot->derived && !slot->stored;
        }
    }
}

/* First and last step of every value by itself. */
static void find_uses(struct placing *p)
{
    const struct gr_program *program = p->program;
    const int end = (int)program->n_steps - 1;
    for (size_t v = 0; v < program->n_slots; v++) {
        const struct gr_slot *slot = &program->slots[v];
        const bool always = slot->pinned || slot->constant;
        p->parent[v] = (int)v;
        p->first_use[v] = 0;
        p->last_use[v] = always ? end : 0;
    }
    for (int s = 0; s <= end; s++) {
        const struct gr_node *node = program->steps[s].node;
        for (int o = 0; o < node->n_outputs; o++) {
            const int v = node->outputs[o]->id;
            p->first_use[v] = program->slots[v].constant ? 0 : s;
            p->last_use[v] = later(p->last_use[v], s);
        }
        for (int i = 0; i < node->n_inputs; i++)
            p->last_use[node->inputs[i]->id] = later(p->last_use[node->inputs[i]->id], s);
    }
}

/* Joins views with what they view; then the groups' last uses are known. */
static void join_views(struct placing *p)
{
    const struct gr_program *program = p->program;
    for (size_t s = 0; s < program->n_steps; s++) {
        const struct gr_node *node = program->steps[s].node;
        if (gr_node_is_view(node))
            p->parent[node->outputs[0]->id] = root_of(p, node->inputs[0]);
    }
    for (size_t v = 0; v < program->n_slots; v++)
        p->last[v] = NOWHERE;
    for (size_t v = 0; v < program->n_slots; v++) {
        const int root = root_of(p, program->graph->values[v]);
        /* Pinned values outlive the last step, so that nothing takes them over there. */
        const struct gr_slot *slot = &program->slots[v];
        const int last =
            slot->pinned || slot->constant || slot->stored ? (int)program->n_steps : p->last_use[v];
        p->last[root] = later(p->last[root], last);
    }
}

/* May the first output take over input i? Not if another input lies there that it may not disturb.
 */
static bool may_take_over(const struct placing *p, const struct gr_step *step, int i)
{
    const struct gr_node *node = step->node;
    if (!(step->kernel.in_place >> i & 1u))
        return false;
    for (int k = 0; k < node->n_inputs; k++)
        if (root_of(p, node->inputs[k]) == root_of(p, node->inputs[i]) &&
            (k >= 32 || !(step->kernel.in_place >> k & 1u)))
            return false;
    return true;
}

/* Lets first outputs take over dying inputs of the same size, in the order of the steps. */
static void join_in_place(struct placing *p)
{
    const struct gr_program *program = p->program;
    for (size_t s = 0; s < program->n_steps; s++) {
        const struct gr_step *step = &program->steps[s];
        const struct gr_node *node = step->node;
        for (int i = 0; i < node->n_inputs && i < 32; i++) {
            if (!may_take_over(p, step, i))
                continue;
            const int from = root_of(p, node->inputs[i]), to = root_of(p, node->outputs[0]);
            if (p->last[from] != (int)s || p->last[to] > (int)program->n_steps - 1 ||
                bytes_of(program, node->inputs[i]) != bytes_of(program, node->outputs[0]))
                continue;
            p->parent[to] = from;
            p->last[from] = p->last[to];
            break;
        }
    }
}

static void add_life(struct placing *p, const struct gr_value *value, bool view)
{
    const int v = value->id, root = root_of(p, value);
    p->life_of[v] = p->n_lives;
    p->lifetimes[p->n_lives++] =
        (struct gr_lifetime){.bytes = view ? 0 : bytes_of(p->program, value),
                             .first = p->first_use[v],
                             .last = p->last_use[v],
                             .reuse_of = root == v ? NOWHERE : p->life_of[root]};
}

static void list_lifetimes(struct placing *p)
{
    const struct gr_program *program = p->program;
    for (size_t i = 0; i < program->n_inputs; i++)
        add_life(p, program->inputs[i], false);
    for (size_t s = 0; s < program->n_steps; s++) {
        const struct gr_step *step = &program->steps[s];
        const bool view = gr_node_is_view(step->node);
        for (int o = 0; o < step->node->n_outputs; o++)
            if (!view || !program->slots[root_of(p, step->node->outputs[o])].stored)
                add_life(p, step->node->outputs[o], view);
        p->scratch_of[s] = NOWHERE;
        if (step->kernel.scratch_bytes) {
            p->scratch_of[s] = p->n_lives;
            p->lifetimes[p->n_lives++] =
                (struct gr_lifetime){step->kernel.scratch_bytes, (int)s, (int)s, NOWHERE};
        }
    }
}

/* Every lifetime in a place of its own. */
static bool spread(struct placing *p, struct gr_memory_plan *plan, struct gr_error *err)
{
    const size_t align = GR_MEMORY_ALIGN;
    if (!gr_memory_plan(p->lifetimes, (size_t)p->n_lives, p->offsets, plan, err))
        return false;
    plan->arena = 0;
    for (int i = 0; i < p->n_lives; i++) {
        const int root = p->lifetimes[i].reuse_of;
        p->offsets[i] = root == NOWHERE ? plan->arena : p->offsets[root];
        if (root == NOWHERE)
            plan->arena += (p->lifetimes[i].bytes + align - 1) / align * align;
    }
    return true;
}

static bool allocate(struct placing *p, struct gr_error *err)
{
    struct gr_program *program = p->program;
    struct gr_memory_report *report = &program->memory;
    struct gr_memory_plan plan;
    if (!(program->options.no_memory_plan
              ? spread(p, &plan, err)
              : gr_memory_plan(p->lifetimes, (size_t)p->n_lives, p->offsets, &plan, err)))
        return false;
    for (size_t v = 0; v < program->n_slots; v++) {
        const struct gr_slot *slot = &program->slots[v];
        const struct gr_value *value = program->graph->values[v];
        if (slot->stored && value->kind == GR_VALUE_STATE)
            report->states += bytes_of(program, value);
        else if (slot->stored)
            report->parameters += bytes_of(program, value);
        else if (slot->constant)
            report->constants += bytes_of(program, value);
    }
    report->without_reuse = plan.without_reuse - report->constants;
    report->planned = plan.arena - report->constants;
    report->unbudgeted -= report->unbudgeted ? report->constants : 0;
    report->lower_bound = plan.lower_bound - report->constants;
    program->arena = gr_arena_new(plan.arena + GR_MEMORY_ALIGN);
    if (!program->arena)
        return gr_fail(err, GR_ERR_RUNTIME,
                       "out of memory: the plan needs %zu MB; try a smaller batch",
                       plan.arena / 1000000);
    for (size_t v = 0; v < program->n_slots; v++)
        if (p->life_of[v] != NOWHERE)
            program->slots[v].data = (char *)program->arena + p->offsets[p->life_of[v]];
    return true;
}

static void *address(struct placing *p, const struct gr_value *value)
{
    const struct gr_slot *slot = &p->program->slots[root_of(p, value)];
    return slot->stored ? slot->stored->data : p->program->slots[value->id].data;
}

static bool bind(struct placing *p, struct gr_error *err)
{
    struct gr_program *program = p->program;
    for (size_t s = 0; s < program->n_steps; s++) {
        struct gr_step *step = &program->steps[s];
        const struct gr_node *node = step->node;
        void **pointers = gr_pool_array(
            &program->pool, (size_t)(node->n_inputs + node->n_outputs) + 1, sizeof(void *));
        if (!pointers)
            return gr_fail_memory(err, "compiling");
        for (int i = 0; i < node->n_inputs; i++)
            pointers[i] = address(p, node->inputs[i]);
        for (int o = 0; o < node->n_outputs; o++)
            pointers[node->n_inputs + o] = address(p, node->outputs[o]);
        step->buffers.src = pointers;
        step->buffers.dst = pointers + node->n_inputs;
        if (p->scratch_of[s] != NOWHERE)
            step->buffers.scratch = (char *)program->arena + p->offsets[p->scratch_of[s]];
        if (step->kernel.bind && !step->kernel.bind(&step->kernel, &step->buffers, err))
            return false;
    }
    return true;
}

/* For poisoning: each group of values and the step after which it is dead, in order of steps. */
static bool list_deaths(struct placing *p, struct gr_error *err)
{
    struct gr_program *program = p->program;
    if (!program->options.poison)
        return true;
    program->deaths = calloc(program->n_slots + 1, sizeof *program->deaths);
    if (!program->deaths)
        return gr_fail_memory(err, "compiling");
    for (size_t v = 0; v < program->n_slots; v++) {
        const struct gr_value *value = program->graph->values[v];
        if (root_of(p, value) == (int)v && p->life_of[v] != NOWHERE &&
            p->last[v] < (int)program->n_steps)
            program->deaths[program->n_deaths++] =
                (struct gr_death){p->last[v], program->slots[v].data, bytes_of(program, value)};
    }
    return true;
}

/* Works out the lifetimes of all values and scratch. To be released in any case. */
static bool placing_init(struct placing *p, struct gr_program *program, struct gr_error *err)
{
    const size_t n = program->n_slots + 1, lives = n + program->n_steps + 1;
    int *ints = calloc(5 * n + program->n_steps + 1, sizeof *ints);
    *p = (struct placing){.program = program,
                          .parent = ints,
                          .lifetimes = calloc(lives, sizeof *p->lifetimes),
                          .offsets = calloc(lives, sizeof *p->offsets)};
    if (!ints || !p->lifetimes || !p->offsets)
        return gr_fail_memory(err, "compiling");
    p->last = ints + n;
    p->life_of = ints + 2 * n;
    p->first_use = ints + 3 * n;
    p->last_use = ints + 4 * n;
    p->scratch_of = ints + 5 * n;
    for (size_t v = 0; v < n; v++)
        p->life_of[v] = NOWHERE;
    keep_constants(program);
    find_uses(p);
    join_views(p);
    if (!program->options.no_memory_plan)
        join_in_place(p);
    list_lifetimes(p);
    return true;
}

static void placing_release(struct placing *p)
{
    free(p->parent);
    free(p->lifetimes);
    free(p->offsets);
}

bool gr_program_place(struct gr_program *program, struct gr_error *err)
{
    struct placing p;
    const bool ok = placing_init(&p, program, err) && allocate(&p, err) && bind(&p, err) &&
                    list_deaths(&p, err);
    placing_release(&p);
    return ok;
}

bool gr_program_measure(struct gr_program *program, size_t *alive, struct gr_memory_plan *plan,
                        struct gr_error *err)
{
    struct placing p;
    bool ok = placing_init(&p, program, err);
    if (ok && alive)
        ok = gr_memory_alive(p.lifetimes, (size_t)p.n_lives, alive, (int)program->n_steps, err);
    if (ok && plan)
        ok = gr_memory_plan(p.lifetimes, (size_t)p.n_lives, p.offsets, plan, err);
    placing_release(&p);
    return ok;
}
