/*
 * The draft of a program that computes some values again made true: copies of nodes in the graph,
 * and steps with the same kernels; see gr_draft_apply.
 */
#include "graph/recompute_draft.h"

#include <stdlib.h>
#include <string.h>

#include "graph/passes.h"

/* A value in the graph for what a copy makes, named "NAME@again". */
static struct gr_value *emit_value(struct gr_node *node, const struct gr_value *of,
                                   struct gr_error *err)
{
    struct gr_graph *graph = node->graph;
    const char *name = gr_pool_printf(&graph->pool, "%s@again", of->name), *unique = name;
    for (int i = 2; unique && gr_graph_value(graph, unique); i++)
        unique = gr_pool_printf(&graph->pool, "%s.%d", name, i);
    struct gr_value *value =
        unique ? gr_graph_add_value(graph, unique, of->kind, of->dtype, &of->shape, err) : NULL;
    if (!value) {
        gr_fail_memory(err, "a value computed again");
        return NULL;
    }
    value->producer = node;
    value->of = of->of;
    value->classes = of->classes;
    node->outputs[node->n_outputs++] = value;
    return value;
}

/* Values made again [values of the trial], by the id of their scratch value. */
static struct gr_value *real(struct gr_value *const *made, struct gr_value *value)
{
    return made[value->id] ? made[value->id] : value;
}

/* A node in the graph for a copy, reading and making real values. */
static struct gr_node *emit_node(struct gr_draft *draft, int s, struct gr_value **made,
                                 struct gr_error *err)
{
    struct gr_node *origin = draft->program->steps[s].node;
    const struct gr_node *copy = &draft->copies[s];
    struct gr_graph *graph = origin->graph;
    const char *name = gr_pool_printf(&graph->pool, "%s@again", origin->name);
    if (!name) {
        gr_fail_memory(err, "a node that computes again");
        return NULL;
    }
    struct gr_node *node = gr_graph_emit(graph, origin->op, GR_BACKWARD, name, origin->attrs,
                                         copy->inputs, copy->n_inputs, err);
    for (int i = 0; node && i < node->n_inputs; i++)
        node->inputs[i] = real(made, copy->inputs[i]);
    for (int o = 0; node && o < origin->n_outputs; o++)
        if (!(made[copy->outputs[o]->id] = emit_value(node, origin->outputs[o], err)))
            return NULL;
    if (node) {
        node->origin = origin;
        node->n_data = origin->n_data;
        node->mark = origin->mark;
    }
    return node;
}

/* The kernel of a step once more; *same is false if it is not the same kernel. */
static bool plan_again(struct gr_draft *draft, struct gr_step *step, const struct gr_step *origin,
                       bool *same, struct gr_error *err)
{
    struct gr_program *program = draft->program;
    const struct gr_node *node = step->node;
    const size_t n = 2 * (size_t)node->n_inputs + (size_t)node->n_outputs;
    const struct gr_layout **src =
        gr_pool_array(&program->pool, n + 1, sizeof(const struct gr_layout *));
    if (!src)
        return gr_fail_memory(err, "compiling");
    const struct gr_layout **home = src + node->n_inputs, **dst = home + node->n_inputs;
    for (int o = 0; o < node->n_outputs; o++) {
        dst[o] = gr_node_is_view(node) ? origin->dst_layouts[o] : &gr_layout_plain;
        program->slots[node->outputs[o]->id].layout = origin->dst_layouts[o];
    }
    for (int i = 0; i < node->n_inputs; i++) {
        src[i] = program->slots[origin->node->inputs[i]->id].layout;
        home[i] = NULL;
    }
    /* A reorder is told its layouts. */
    if (node->op == node->graph->ops->reorder)
        dst[0] = origin->dst_layouts[0];
    step->kernel = (struct gr_kernel){.impl = origin->kernel.impl};
    step->dst_layouts = dst;
    *same = true;
    struct gr_planning planning = {.node = node,
                                   .backend = program->backend,
                                   .precision = program->options.precision,
                                   .choice = origin->choice,
                                   .src = src,
                                   .home = home,
                                   .dst = dst,
                                   .kernel = &step->kernel};
    if (gr_node_is_view(node))
        return true;
    if (!node->op->plan(&planning, err))
        return false;
    for (int i = 0; i < node->n_inputs; i++)
        *same = *same && src[i] == program->slots[origin->node->inputs[i]->id].layout;
    for (int o = 0; o < node->n_outputs; o++)
        *same = *same && dst[o] == origin->dst_layouts[o];
    *same = *same && step->kernel.run &&
            step->kernel.scratch_bytes == origin->kernel.scratch_bytes &&
            strcmp(step->kernel.impl ? step->kernel.impl : "",
                   origin->kernel.impl ? origin->kernel.impl : "") == 0;
    return true;
}

/* Nodes and kernels for the copies; steps receives all steps. */
static bool make_steps(struct gr_draft *draft, struct gr_step *steps, struct gr_value **made,
                       int *refused, struct gr_error *err)
{
    struct gr_program *program = draft->program;
    for (size_t t = 0; t < draft->trial.n_steps; t++) {
        const int s = draft->step_of[t];
        bool same = true;
        steps[t] = program->steps[s];
        if (draft->before[t] == s)
            continue;
        steps[t].kernel = (struct gr_kernel){0};
        steps[t].constant = steps[t].guarded = false;
        steps[t].again = draft->total > 0 ? draft->seconds[s] / draft->total : 0;
        steps[t].node = emit_node(draft, s, made, err);
        if (!steps[t].node || !gr_program_grow_slots(program, err) ||
            !plan_again(draft, &steps[t], &program->steps[s], &same, err))
            return false;
        if (!same) {
            *refused = s;
            return true;
        }
    }
    return true;
}

bool gr_draft_apply(struct gr_draft *draft, int *refused, struct gr_error *err)
{
    struct gr_program *program = draft->program;
    const size_t count = draft->trial.n_steps;
    struct gr_step *steps = calloc(count + 1, sizeof *steps);
    struct gr_value **made = calloc(draft->graph.n_values + 1, sizeof(struct gr_value *));
    bool ok = steps && made;
    *refused = -1;
    if (!ok)
        gr_fail_memory(err, "compiling");
    ok = ok && make_steps(draft, steps, made, refused, err);
    if (!ok || *refused >= 0) {
        for (size_t t = 0; steps && t < count; t++)
            if (draft->before[t] != draft->step_of[t])
                gr_kernel_release(&steps[t].kernel);
        free(steps);
        free(made);
        return ok;
    }
    for (int s = draft->end_of_forward; s < draft->n_steps; s++)
        for (int i = 0; i < draft->copies[s].n_inputs; i++)
            program->steps[s].node->inputs[i] = real(made, draft->copies[s].inputs[i]);
    free(made);
    free(program->steps);
    program->steps = steps;
    program->n_steps = count;
    program->steps_capacity = count + 1;
    return true;
}
