/*
 * The memory of a program: lifetimes from the steps, offsets from the planner, addresses for the
 * kernels. Views share their input's memory; a kernel that may run in place takes over an input
 * that dies there; inputs, targets and constants are alive from the first step to the last.
 *
 * The steps of a section in lanes run at no certain time within it. What one lane alone makes and
 * reads is planned for itself, in the order of the lane's steps, and becomes one block that is
 * alive during the section; all else that the section touches is alive from its first step to its
 * last.
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
    int *lane_of;                  /* by step: its lane among those of all sections, or NOWHERE */
    int *owner;                    /* by root: the lane whose memory it is, or NOBODY */
    int *home;                     /* by lifetime: the lane it is planned for, or NOWHERE */
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

/* ---- lanes ------------------------------------------------------------------------------- */

/* Numbers the lanes of all sections, and says for each step which it belongs to. */
static void find_lanes(struct placing *p)
{
    const struct gr_program *program = p->program;
    for (size_t s = 0; s < program->n_steps; s++)
        p->lane_of[s] = NOWHERE;
    for (size_t k = 0; k < program->n_sections; k++)
        for (int s = program->sections[k].first; s <= program->sections[k].last; s++)
            p->lane_of[s] = (int)k * program->most_lanes + program->steps[s].lane - 1;
}

/* The section of a lane. */
static const struct gr_section *section_of(const struct placing *p, int lane)
{
    return &p->program->sections[lane / p->program->most_lanes];
}

/* Does another lane of the step's section touch the memory of a root? */
static bool others_touch(const struct placing *p, int s, int root)
{
    if (p->lane_of[s] == NOWHERE)
        return false;
    const struct gr_section *section = section_of(p, p->lane_of[s]);
    for (int t = section->first; t <= section->last; t++) {
        const struct gr_node *node = p->program->steps[t].node;
        if (p->lane_of[t] == p->lane_of[s])
            continue;
        for (int i = 0; i < node->n_inputs; i++)
            if (root_of(p, node->inputs[i]) == root)
                return true;
        for (int o = 0; o < node->n_outputs; o++)
            if (root_of(p, node->outputs[o]) == root)
                return true;
    }
    return false;
}

/* Whose memory a value's group is: of the lane that alone touches it, else NOBODY's. */
enum { NOBODY = -2 };

static void note_owner(struct placing *p, const struct gr_value *value, int lane)
{
    const struct gr_slot *slot = &p->program->slots[value->id];
    int *owner = &p->owner[root_of(p, value)];
    if (lane == NOWHERE || slot->pinned || gr_slot_outlives(slot) || slot->stored)
        *owner = NOBODY;
    else if (*owner == NOWHERE)
        *owner = lane;
    else if (*owner != lane)
        *owner = NOBODY;
}

static void find_owners(struct placing *p)
{
    const struct gr_program *program = p->program;
    for (size_t v = 0; v < program->n_slots; v++)
        p->owner[v] = NOWHERE;
    for (size_t s = 0; s < program->n_steps; s++) {
        const struct gr_node *node = program->steps[s].node;
        for (int i = 0; i < node->n_inputs; i++)
            note_owner(p, node->inputs[i], p->lane_of[s]);
        for (int o = 0; o < node->n_outputs; o++)
            note_owner(p, node->outputs[o], p->lane_of[s]);
    }
}

/* The step from which, or to which, what is used by step s is alive, if no lane owns it. */
static int widened(const struct placing *p, int s, bool end)
{
    if (s >= (int)p->program->n_steps || p->lane_of[s] == NOWHERE)
        return s;
    const struct gr_section *section = section_of(p, p->lane_of[s]);
    return end ? section->last : section->first;
}

/* ---- lifetimes --------------------------------------------------------------------------- */

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
    const int end = program->n_steps ? (int)program->n_steps - 1 : 0; /* targets may be inputs */
    for (size_t v = 0; v < program->n_slots; v++) {
        const struct gr_slot *slot = &program->slots[v];
        const bool always = slot->pinned || gr_slot_outlives(slot);
        p->parent[v] = (int)v;
        p->first_use[v] = 0;
        p->last_use[v] = always ? end : 0;
    }
    for (int s = 0; s < (int)program->n_steps; s++) {
        const struct gr_node *node = program->steps[s].node;
        for (int o = 0; o < node->n_outputs; o++) {
            const int v = node->outputs[o]->id;
            p->first_use[v] = gr_slot_outlives(&program->slots[v]) ? 0 : s;
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
        const bool always = slot->pinned || gr_slot_outlives(slot) || slot->stored;
        const int last = always ? (int)program->n_steps : p->last_use[v];
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
                bytes_of(program, node->inputs[i]) != bytes_of(program, node->outputs[0]) ||
                others_touch(p, (int)s, from))
                continue;
            p->parent[to] = from;
            p->last[from] = p->last[to];
            break;
        }
    }
}

static void add_life(struct placing *p, const struct gr_value *value, bool view)
{
    const int v = value->id, root = root_of(p, value), owner = p->owner[root];
    const int first = p->first_use[v], last = p->last_use[v];
    p->life_of[v] = p->n_lives;
    p->home[p->n_lives] = owner == NOBODY ? NOWHERE : owner;
    p->lifetimes[p->n_lives++] =
        (struct gr_lifetime){.bytes = view ? 0 : bytes_of(p->program, value),
                             .first = owner == NOBODY ? widened(p, first, false) : first,
                             .last = owner == NOBODY ? widened(p, last, true) : last,
                             .reuse_of = root == v ? NOWHERE : p->life_of[root]};
}

/* The kernel on trial beside a step's own, in a section that may run in lanes; or NULL. */
static struct gr_kernel *trial_of(const struct gr_program *program, size_t s)
{
    return program->trial && program->steps[s].lane ? &program->trial[s] : NULL;
}

/* Enough for the kernel of a step, or for the one on trial, or for both. */
static size_t scratch_of(const struct gr_program *program, size_t s)
{
    const size_t bytes = program->steps[s].kernel.scratch_bytes;
    const struct gr_kernel *trial = trial_of(program, s);
    if (!trial || (program->trial_both && trial->scratch_bytes < bytes))
        return bytes;
    return trial->scratch_bytes;
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
        const size_t scratch = scratch_of(program, s);
        if (scratch) {
            p->scratch_of[s] = p->n_lives;
            p->home[p->n_lives] = p->lane_of[s];
            p->lifetimes[p->n_lives++] = (struct gr_lifetime){scratch, (int)s, (int)s, NOWHERE};
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

/* Lifetimes of one home, a few of p's: what is planned by itself. */
struct home {
    int *members; /* [count] */
    int count;
};

/* Plans the lifetimes of one home by themselves; their offsets start at 0. */
static bool plan_home(struct placing *p, const struct home *home, int *place,
                      struct gr_memory_plan *plan, struct gr_error *err)
{
    const size_t count = (size_t)home->count;
    struct gr_lifetime *lifetimes = calloc(count + 1, sizeof *lifetimes);
    size_t *offsets = calloc(count + 1, sizeof *offsets);
    bool ok = (lifetimes && offsets) || gr_fail_memory(err, "planning memory");
    for (int n = 0; ok && n < home->count; n++) {
        lifetimes[n] = p->lifetimes[home->members[n]];
        place[home->members[n]] = n;
        if (lifetimes[n].reuse_of != NOWHERE)
            lifetimes[n].reuse_of = place[lifetimes[n].reuse_of];
    }
    ok = ok && gr_memory_plan(lifetimes, count, offsets, plan, err);
    for (int n = 0; ok && n < home->count; n++)
        p->offsets[home->members[n]] = offsets[n];
    free(lifetimes);
    free(offsets);
    return ok;
}

/* Deals the lifetimes to their homes: those of the lanes, and last what is no lane's. */
static void deal(const struct placing *p, struct home *homes, int n_lanes, int *members)
{
    for (int i = 0; i < p->n_lives; i++)
        homes[p->home[i] == NOWHERE ? n_lanes : p->home[i]].count++;
    for (int l = 0; l <= n_lanes; l++) {
        homes[l].members = members;
        members += homes[l].count;
        homes[l].count = 0;
    }
    for (int i = 0; i < p->n_lives; i++) {
        struct home *home = &homes[p->home[i] == NOWHERE ? n_lanes : p->home[i]];
        home->members[home->count++] = i;
    }
}

/* Each lane's own memory first, as a block that lives during its section; then all the rest. */
static bool plan_homes(struct placing *p, struct gr_memory_plan *plan, struct gr_error *err)
{
    const struct gr_program *program = p->program;
    const int n_lanes = (int)program->n_sections * program->most_lanes, n_lives = p->n_lives;
    if (n_lanes == 0)
        return gr_memory_plan(p->lifetimes, (size_t)n_lives, p->offsets, plan, err);
    size_t without_reuse = 0;
    struct home *homes = calloc((size_t)n_lanes + 1, sizeof *homes);
    int *ints = calloc(2 * (size_t)(n_lives + n_lanes) + 1, sizeof *ints);
    int *members = ints, *place = ints + n_lives + n_lanes;
    bool ok = (homes && ints) || gr_fail_memory(err, "planning memory");
    if (ok)
        deal(p, homes, n_lanes, members);
    for (int l = 0; ok && l < n_lanes; l++) {
        const struct gr_section *section = section_of(p, l);
        ok = plan_home(p, &homes[l], place, plan, err);
        without_reuse += ok ? plan->without_reuse - plan->arena : 0;
        homes[n_lanes].members[homes[n_lanes].count++] = p->n_lives;
        p->home[p->n_lives] = NOWHERE;
        p->lifetimes[p->n_lives++] = /* of lane l: number n_lives + l */
            (struct gr_lifetime){ok ? plan->arena : 0, section->first, section->last, NOWHERE};
    }
    ok = ok && plan_home(p, &homes[n_lanes], place, plan, err);
    for (int i = 0; ok && i < n_lives; i++)
        if (p->home[i] != NOWHERE)
            p->offsets[i] += p->offsets[n_lives + p->home[i]];
    plan->without_reuse += without_reuse;
    free(homes);
    free(ints);
    return ok;
}

/* What is alive in each section, the lanes' blocks included; nothing there begins or ends within.
 */
static bool weigh_sections(struct placing *p, struct gr_error *err)
{
    const struct gr_program *program = p->program;
    const size_t n = (size_t)p->n_lives;
    struct gr_lifetime *outside = calloc(n + 1, sizeof *outside);
    size_t *alive = calloc(program->n_steps + 1, sizeof *alive);
    bool ok = (outside && alive) || gr_fail_memory(err, "planning memory");
    for (size_t i = 0; ok && i < n; i++) {
        outside[i] = p->lifetimes[i];
        outside[i].bytes = p->home[i] == NOWHERE ? outside[i].bytes : 0;
    }
    ok = ok && gr_memory_alive(outside, n, alive, (int)program->n_steps, err);
    for (size_t k = 0; ok && k < program->n_sections; k++)
        program->section_bytes[k] = alive[program->sections[k].first];
    free(outside);
    free(alive);
    return ok;
}

static bool allocate(struct placing *p, struct gr_error *err)
{
    struct gr_program *program = p->program;
    struct gr_memory_report *report = &program->memory;
    struct gr_memory_plan plan;
    report->parameters = report->states = report->constants = 0;
    gr_arena_free(program->arena);
    program->arena = NULL;
    if (!(program->options.no_memory_plan ? spread(p, &plan, err) : plan_homes(p, &plan, err)))
        return false;
    for (size_t v = 0; v < program->n_slots; v++) {
        const struct gr_slot *slot = &program->slots[v];
        const struct gr_value *value = program->graph->values[v];
        if (slot->stored && value->kind == GR_VALUE_STATE)
            report->states += bytes_of(program, value);
        else if (slot->stored)
            report->parameters += bytes_of(program, value);
        else if (gr_slot_outlives(slot))
            report->constants += bytes_of(program, value);
    }
    if (program->n_sections && !weigh_sections(p, err))
        return false;
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
        struct gr_kernel *trial = trial_of(program, s);
        if ((step->kernel.bind && !step->kernel.bind(&step->kernel, &step->buffers, err)) ||
            (trial && trial->bind && !trial->bind(trial, &step->buffers, err)))
            return false;
    }
    return true;
}

/* For poisoning: each group of values and the step after which it is dead, in order of steps. */
static bool list_deaths(struct placing *p, struct gr_error *err)
{
    struct gr_program *program = p->program;
    free(program->deaths);
    program->deaths = NULL;
    program->n_deaths = 0;
    if (!program->options.poison)
        return true;
    program->deaths = calloc(program->n_slots + 1, sizeof *program->deaths);
    if (!program->deaths)
        return gr_fail_memory(err, "compiling");
    for (size_t v = 0; v < program->n_slots; v++) {
        const struct gr_value *value = program->graph->values[v];
        if (root_of(p, value) == (int)v && p->life_of[v] != NOWHERE &&
            p->last[v] < (int)program->n_steps)
            program->deaths[program->n_deaths++] = (struct gr_death){
                widened(p, p->last[v], true), program->slots[v].data, bytes_of(program, value)};
    }
    return true;
}

/* Works out the lifetimes of all values and scratch. To be released in any case. */
static bool placing_init(struct placing *p, struct gr_program *program, struct gr_error *err)
{
    const size_t n = program->n_slots + 1, n_steps = program->n_steps;
    const size_t lanes = program->n_sections * (size_t)program->most_lanes;
    const size_t lives = n + n_steps + lanes + 1;
    int *ints = calloc(6 * n + 2 * n_steps + lives + 1, sizeof *ints);
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
    p->owner = ints + 5 * n;
    p->scratch_of = ints + 6 * n;
    p->lane_of = p->scratch_of + n_steps;
    p->home = p->lane_of + n_steps;
    for (size_t v = 0; v < n; v++)
        p->life_of[v] = NOWHERE;
    keep_constants(program);
    find_lanes(p);
    find_uses(p);
    join_views(p);
    if (!program->options.no_memory_plan)
        join_in_place(p);
    find_owners(p);
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
