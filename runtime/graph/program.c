/*
 * Compiling a program: prune, fuse, order; then each node in turn chooses its kernel, and a reorder
 * is inserted where its inputs lie otherwise than it wants. See program.h.
 */
#include "graph/program.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "graph/arena.h"
#include "graph/passes.h"
#include "graph/program_private.h"
#include "graph/recompute.h"
#include "graph/tune.h"

/* ---- slots ------------------------------------------------------------------------------- */

bool gr_program_grow_slots(struct gr_program *program, struct gr_error *err)
{
    while (program->n_slots < program->graph->n_values) {
        if (!gr_grow((void **)&program->slots, &program->slots_capacity, program->n_slots,
                     sizeof *program->slots))
            return gr_fail_memory(err, "compiling");
        program->slots[program->n_slots++] = (struct gr_slot){0};
    }
    return true;
}

static struct gr_slot *slot_of(struct gr_program *program, const struct gr_value *value)
{
    return &program->slots[value->id];
}

/* Finds or makes what stands behind a value without a producer, before its first reader is planned.
 */
static bool open_source(struct gr_program *program, struct gr_value *value, struct gr_error *err)
{
    struct gr_slot *slot = slot_of(program, value);
    if (value->producer || slot->stored || slot->pinned)
        return true;
    if (value->kind == GR_VALUE_INPUT) {
        slot->layout = &gr_layout_plain;
        slot->pinned = true;
        program->inputs[program->n_inputs++] = value;
        return true;
    }
    slot->stored = gr_params_obtain(program->params, value, err);
    if (!slot->stored)
        return false;
    slot->layout = slot->stored->layout;
    slot->derived = !program->options.run_updates;
    return true;
}

/* ---- steps ------------------------------------------------------------------------------- */

static struct gr_step *add_step(struct gr_program *program, struct gr_node *node,
                                struct gr_error *err)
{
    if (!gr_grow((void **)&program->steps, &program->steps_capacity, program->n_steps,
                 sizeof *program->steps)) {
        gr_fail_memory(err, "compiling");
        return NULL;
    }
    struct gr_step *step = &program->steps[program->n_steps];
    *step = (struct gr_step){.node = node, .measured = -1};
    step->dst_layouts = gr_pool_array(&program->pool, (size_t)node->n_outputs + 1,
                                      sizeof(const struct gr_layout *));
    if (!step->dst_layouts) {
        gr_fail_memory(err, "compiling");
        return NULL;
    }
    for (int o = 0; o < node->n_outputs; o++)
        step->dst_layouts[o] = &gr_layout_plain;
    program->n_steps++;
    return step;
}

/* Enters a planned node's outputs into the slots. */
static void close_step(struct gr_program *program, struct gr_step *step)
{
    const struct gr_node *node = step->node;
    step->constant =
        gr_node_updated(node) == 0 && !(node->op->flags & GR_OP_RANDOM) && node->n_inputs > 0;
    for (int i = 0; i < node->n_inputs; i++)
        step->constant = step->constant && slot_of(program, node->inputs[i])->derived;
    for (int o = 0; o < node->n_outputs; o++) {
        struct gr_slot *slot = slot_of(program, node->outputs[o]);
        slot->layout = step->dst_layouts[o];
        slot->derived = step->constant;
    }
}

/* The same tensor in another layout: a new reorder node, or unless `anew` one made before. */
static struct gr_value *reordered(struct gr_program *program, struct gr_value *value,
                                  const struct gr_layout *layout, bool anew, struct gr_error *err)
{
    struct gr_graph *graph = program->graph;
    const char *name = gr_pool_printf(&graph->pool, "%s@%s", value->name, layout->name);
    if (!name) {
        gr_fail_memory(err, "a reorder");
        return NULL;
    }
    struct gr_value *known = gr_graph_value(graph, name);
    if (!anew && known && (size_t)known->id < program->n_slots &&
        slot_of(program, known)->layout == layout)
        return known;
    struct gr_node *node = gr_graph_emit(graph, graph->ops->reorder,
                                         value->producer ? value->producer->phase : GR_FORWARD,
                                         name, NULL, &value, 1, err);
    struct gr_value *copy =
        node ? gr_node_output(node, NULL, value->dtype, &value->shape, err) : NULL;
    if (!copy || !gr_program_grow_slots(program, err))
        return NULL;
    copy->of = value;
    struct gr_step *step = add_step(program, node, err);
    if (!step)
        return NULL;
    const struct gr_layout *src = slot_of(program, value)->layout;
    step->dst_layouts[0] = layout;
    struct gr_planning planning = {.node = node,
                                   .backend = program->backend,
                                   .src = &src,
                                   .dst = step->dst_layouts,
                                   .kernel = &step->kernel};
    if (!node->op->plan(&planning, err))
        return NULL;
    close_step(program, step);
    return copy;
}

/*
 * Brings input i of a node into the layout its kernel reads. home: where it is to be kept if
 * nothing has laid it out yet; NULL: there as well, if in its own type.
 */
static bool settle_input(struct gr_program *program, struct gr_node *node, int i,
                         const struct gr_layout *wanted, const struct gr_layout *home,
                         struct gr_error *err)
{
    struct gr_value *value = node->inputs[i];
    struct gr_slot *slot = slot_of(program, value);
    if (!wanted)
        wanted = &gr_layout_plain;
    if (slot->layout == wanted)
        return true;
    if (!slot->layout) {
        if (!home)
            home = gr_layout_dtype(wanted, value) == value->dtype ? wanted : &gr_layout_plain;
        slot->layout = home;
        if (!gr_params_lay_out(program->params, slot->stored, home, err))
            return false;
        if (home == wanted)
            return true;
    }
    assert(i >= gr_node_updated(node)); /* what is updated is written as it lies */
    struct gr_value *copy = reordered(program, value, wanted, false, err);
    if (!copy)
        return false;
    node->inputs[i] = copy;
    return true;
}

/* A reshaping view needs plain memory; one that keeps the shape passes any layout on. */
static bool plan_view(struct gr_program *program, struct gr_node *node, struct gr_error *err)
{
    const bool same = gr_shape_equal(&node->inputs[0]->shape, &node->outputs[0]->shape);
    if ((!same || !slot_of(program, node->inputs[0])->layout) &&
        !settle_input(program, node, 0, &gr_layout_plain, NULL, err))
        return false;
    struct gr_step *step = add_step(program, node, err);
    if (!step)
        return false;
    step->kernel.impl = "view";
    step->dst_layouts[0] = slot_of(program, node->inputs[0])->layout;
    close_step(program, step);
    return true;
}

/* Puts the question to the node's op, the inputs lying as they do now. */
static bool ask(struct gr_program *program, struct gr_planning *planning, struct gr_error *err)
{
    const struct gr_node *node = planning->node;
    for (int i = 0; i < node->n_inputs; i++) {
        planning->src[i] = slot_of(program, node->inputs[i])->layout;
        planning->home[i] = NULL;
    }
    for (int o = 0; o < node->n_outputs; o++)
        planning->dst[o] = &gr_layout_plain;
    return node->op->plan(planning, err) &&
           (!planning->no_memory || gr_fail_memory(err, "a layout"));
}

/* *seconds is what the kernel took when it was measured, or negative. */
static bool choose_kernel(struct gr_program *program, struct gr_planning *planning, double *seconds,
                          struct gr_error *err)
{
    for (int i = 0; i < planning->node->n_inputs; i++)
        planning->src[i] = slot_of(program, planning->node->inputs[i])->layout;
    if (!gr_tune(program, planning->node, planning->src, &planning->choice, seconds, err) ||
        !ask(program, planning, err))
        return false;
    if (planning->kernel->run || !planning->choice)
        return true;
    planning->choice = NULL; /* another machine's */
    *seconds = -1;
    return ask(program, planning, err);
}

static bool plan_node(struct gr_program *program, struct gr_node *node, struct gr_error *err)
{
    for (int i = 0; i < node->n_inputs; i++)
        if (!open_source(program, node->inputs[i], err))
            return false;
    if (gr_node_is_view(node))
        return plan_view(program, node, err);
    struct gr_kernel kernel = {0};
    const struct gr_layout **src =
        gr_pool_array(&program->pool, (size_t)(2 * node->n_inputs + node->n_outputs) + 1,
                      sizeof(const struct gr_layout *));
    if (!src)
        return gr_fail_memory(err, "compiling");
    const struct gr_layout **home = src + node->n_inputs, **dst = home + node->n_inputs;
    struct gr_planning planning = {.node = node,
                                   .backend = program->backend,
                                   .precision = program->options.precision,
                                   .src = src,
                                   .home = home,
                                   .dst = dst,
                                   .kernel = &kernel};
    double seconds = -1;
    bool ok = choose_kernel(program, &planning, &seconds, err);
    for (int i = 0; ok && i < node->n_inputs; i++)
        ok = settle_input(program, node, i, src[i], home[i], err);
    struct gr_step *step = ok ? add_step(program, node, err) : NULL;
    if (!step) {
        gr_kernel_release(&kernel);
        return false;
    }
    step->kernel = kernel;
    step->choice = planning.choice;
    step->measured = seconds;
    memcpy(step->dst_layouts, dst, (size_t)node->n_outputs * sizeof *dst);
    close_step(program, step);
    return true;
}

/* Targets stay alive and are plain. */
static bool settle_targets(struct gr_program *program, struct gr_error *err)
{
    for (size_t i = 0; i < program->n_targets; i++) {
        struct gr_value *value = program->targets[i];
        if (!open_source(program, value, err))
            return false;
        struct gr_slot *slot = slot_of(program, value);
        if (slot->stored && !slot->layout &&
            !gr_params_lay_out(program->params, slot->stored, slot->layout = &gr_layout_plain, err))
            return false;
        if (slot->layout != &gr_layout_plain) {
            /* A copy of a parameter made before its update is not what it is after the run. */
            const bool anew = slot->stored && program->options.run_updates;
            value = reordered(program, value, &gr_layout_plain, anew, err);
            if (!value)
                return false;
        }
        program->plain[i] = value;
        if (!slot_of(program, value)->stored)
            slot_of(program, value)->pinned = true;
    }
    return true;
}

/* The losses and metrics of a training step are watched. */
static void guard_targets(struct gr_program *program)
{
    for (size_t s = 0; program->options.run_updates && s < program->n_steps; s++) {
        const struct gr_node *node = program->steps[s].node;
        for (size_t i = 0; node->n_outputs && i < program->n_targets; i++)
            if (program->targets[i] == node->outputs[0] && node->outputs[0]->shape.rank == 0 &&
                node->outputs[0]->dtype == GR_F32)
                program->steps[s].guarded = true;
    }
}

static bool compile(struct gr_program *program, struct gr_error *err)
{
    struct gr_graph *graph = program->graph;
    const struct gr_program_options *options = &program->options;
    size_t count = 0;
    bool *keep = calloc(2 * graph->n_nodes + 1, sizeof *keep);
    struct gr_node **order = calloc(2 * graph->n_nodes + 1, sizeof(struct gr_node *));
    bool ok = keep && order;
    if (!ok) {
        gr_fail_memory(err, "compiling");
        goto out;
    }
    gr_prune(graph, program->targets, program->n_targets, options->run_updates, keep);
    ok = (options->no_fusion || gr_fuse(graph, program->targets, program->n_targets, keep, err)) &&
         gr_order(graph, keep, order, &count, err) && gr_program_grow_slots(program, err);
    for (size_t n = 0; ok && n < count; n++)
        ok = plan_node(program, order[n], err);
    ok = ok && settle_targets(program, err) &&
         (!options->memory_budget || gr_recompute(program, err)) &&
         gr_program_keep_copies(program, err);
    if (ok)
        guard_targets(program);
    ok = ok && gr_program_choose_lanes(program, err) && gr_program_place(program, err);
out:
    free(keep);
    free(order);
    return ok;
}

struct gr_program *gr_program_new(struct gr_graph *graph, struct gr_params *params,
                                  struct gr_backend *backend, struct gr_value *const *targets,
                                  size_t n_targets, const struct gr_program_options *options,
                                  struct gr_error *err)
{
    struct gr_program *program = calloc(1, sizeof *program);
    if (!program) {
        gr_fail_memory(err, "compiling");
        return NULL;
    }
    program->graph = graph;
    program->params = params;
    program->backend = backend;
    if (options)
        program->options = *options;
    const size_t size = sizeof(struct gr_value *);
    program->targets = gr_pool_array(&program->pool, n_targets + 1, size);
    program->plain = gr_pool_array(&program->pool, n_targets + 1, size);
    program->inputs = gr_pool_array(&program->pool, graph->n_values + 1, size);
    if (!program->targets || !program->plain || !program->inputs) {
        gr_fail_memory(err, "compiling");
        gr_program_free(program);
        return NULL;
    }
    for (size_t i = 0; i < n_targets; i++)
        program->targets[i] = targets[i];
    program->n_targets = n_targets;
    if (!compile(program, err)) {
        gr_program_free(program);
        return NULL;
    }
    return program;
}

void gr_program_free(struct gr_program *program)
{
    if (!program)
        return;
    for (size_t s = 0; s < program->n_steps; s++)
        gr_kernel_release(&program->steps[s].kernel);
    gr_program_release_lanes(program);
    free(program->steps);
    free(program->slots);
    free(program->deaths);
    gr_arena_free(program->arena);
    gr_pool_release(&program->pool);
    free(program);
}

/* ---- looking in -------------------------------------------------------------------------- */

void *gr_program_data(const struct gr_program *program, const struct gr_value *value)
{
    for (size_t i = 0; i < program->n_targets; i++)
        if (program->targets[i] == value)
            return program->slots[program->plain[i]->id].stored
                       ? program->slots[program->plain[i]->id].stored->data
                       : program->slots[program->plain[i]->id].data;
    for (size_t i = 0; i < program->n_inputs; i++)
        if (program->inputs[i] == value)
            return program->slots[value->id].data;
    return NULL;
}

bool gr_program_uses(const struct gr_program *program, const struct gr_value *input)
{
    for (size_t i = 0; i < program->n_inputs; i++)
        if (program->inputs[i] == input)
            return true;
    return false;
}

struct gr_memory_report gr_program_memory(const struct gr_program *program)
{
    return program->memory;
}

size_t gr_program_step_count(const struct gr_program *program)
{
    return program->n_steps;
}

const struct gr_step *gr_program_step(const struct gr_program *program, size_t index)
{
    return &program->steps[index];
}

int64_t gr_program_offset(const struct gr_program *program, const struct gr_value *value)
{
    const struct gr_slot *slot = &program->slots[value->id];
    if (slot->stored || gr_slot_outlives(slot) || !slot->data)
        return -1;
    return (char *)slot->data - (char *)program->arena;
}

size_t gr_program_bytes(const struct gr_program *program, const struct gr_value *value)
{
    const struct gr_slot *slot =
        (size_t)value->id < program->n_slots ? &program->slots[value->id] : NULL;
    return slot && slot->layout ? gr_layout_bytes(slot->layout, value) : 0;
}

enum gr_dtype gr_program_dtype(const struct gr_program *program, const struct gr_value *value)
{
    const struct gr_slot *slot =
        (size_t)value->id < program->n_slots ? &program->slots[value->id] : NULL;
    return gr_layout_dtype(slot ? slot->layout : NULL, value);
}

/*
 * Of what is read. Sums may have thousands of inputs: each is marked when it is counted, and no
 * mark is left.
 */
static size_t bytes_of_inputs(const struct gr_program *program, const struct gr_node *node)
{
    size_t bytes = 0;
    for (int i = 0; i < node->n_inputs - node->n_copies; i++) {
        struct gr_slot *slot = &program->slots[node->inputs[i]->id];
        bytes += slot->counted ? 0 : gr_program_bytes(program, node->inputs[i]);
        slot->counted = true;
    }
    for (int i = 0; i < node->n_inputs; i++)
        program->slots[node->inputs[i]->id].counted = false;
    return bytes;
}

struct gr_traffic gr_program_traffic(const struct gr_program *program, const struct gr_step *step)
{
    const struct gr_node *node = step->node;
    struct gr_traffic traffic = {0};
    if (!step->kernel.run)
        return traffic;
    traffic.read = bytes_of_inputs(program, node);
    for (int i = 0; i < node->n_inputs; i++)
        traffic.written += gr_node_writes(node, i) ? gr_program_bytes(program, node->inputs[i]) : 0;
    for (int o = 0; o < node->n_outputs; o++)
        traffic.written += gr_layout_bytes(step->dst_layouts[o], node->outputs[o]);
    return traffic;
}
