/*
 * A plan: the model's graph for one batch, mode and set of targets, differentiated if they ask for
 * it, and compiled.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "graph/dot.h"
#include "model/model.h"
#include "model/tuning_file.h"

static const char gradient_prefix[] = "grad:";

/* ---- targets ----------------------------------------------------------------------------- */

static bool is_gradient(const char *target)
{
    return strncmp(target, gradient_prefix, sizeof gradient_prefix - 1) == 0;
}

/* The value of that name, or an error with the nearest one. */
static struct gr_value *find_value(const struct gr_plan *plan, const char *name,
                                   struct gr_error *err)
{
    struct gr_value *value = gr_graph_value(plan->graph, name);
    if (value)
        return value;
    const struct gr_graph *graph = plan->graph;
    const char **names = calloc(graph->n_values + 1, sizeof(const char *));
    for (size_t v = 0; names && v < graph->n_values; v++)
        names[v] = graph->values[v]->name;
    const char *near = names ? gr_nearest(name, names, graph->n_values) : NULL;
    gr_fail(err, GR_ERR_USAGE, "the model '%s' has no value '%s'%s%s%s", plan->model->file->name,
            name, near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    free(names);
    return NULL;
}

/* The names of the targets: those asked for, or the usual ones of the mode. */
static bool name_targets(struct gr_plan *plan, const struct gr_plan_options *options,
                         struct gr_error *err)
{
    const struct gr_model_file *file = plan->model->file;
    const bool train = options->update || options->mode == GR_TRAIN;
    const size_t most = options->n_targets + file->n_outputs + file->n_losses + file->n_metrics;
    plan->target_names = gr_pool_array(&plan->pool, most + 1, sizeof(const char *));
    plan->targets = gr_pool_array(&plan->pool, most + 1, sizeof(struct gr_value *));
    if (!plan->target_names || !plan->targets)
        return gr_fail_memory(err, "a plan");
    for (size_t i = 0; i < options->n_targets; i++) {
        const char *name = gr_pool_strdup(&plan->pool, options->targets[i]);
        if (!name)
            return gr_fail_memory(err, "a plan");
        plan->target_names[plan->n_targets++] = name;
    }
    if (options->n_targets)
        return true;
    for (size_t i = 0; train && i < file->n_losses; i++)
        plan->target_names[plan->n_targets++] = file->losses[i].name;
    for (size_t i = 0; train && i < file->n_metrics; i++)
        plan->target_names[plan->n_targets++] = file->metrics[i];
    for (size_t i = 0; !train && i < file->n_outputs; i++)
        plan->target_names[plan->n_targets++] = file->outputs[i];
    return true;
}

/* Emits gradients and updates as far as targets and options ask for them. */
static bool differentiate(struct gr_plan *plan, struct gr_value ***gradients, size_t *n_gradients,
                          struct gr_error *err)
{
    const struct gr_model_file *file = plan->model->file;
    struct gr_loss *losses = gr_pool_array(&plan->pool, file->n_losses + 1, sizeof *losses);
    struct gr_value **wanted =
        gr_pool_array(&plan->pool, plan->n_targets + 1, sizeof(struct gr_value *));
    size_t n_wanted = 0;
    if (!losses || !wanted)
        return gr_fail_memory(err, "a plan");
    for (size_t i = 0; i < plan->n_targets; i++)
        if (is_gradient(plan->target_names[i])) {
            const char *name = plan->target_names[i] + sizeof gradient_prefix - 1;
            if (!(wanted[n_wanted++] = find_value(plan, name, err)))
                return false;
        }
    if (!n_wanted && !plan->options.update)
        return true;
    if (!file->n_losses)
        return gr_fail(err, GR_ERR_MODEL, "%s: there is no loss (train.loss) to differentiate",
                       file->path);
    for (size_t i = 0; i < file->n_losses; i++) {
        losses[i].weight = file->losses[i].weight;
        if (!(losses[i].value = find_value(plan, file->losses[i].name, err)))
            return false;
    }
    *n_gradients = plan->graph->n_values;
    return gr_autodiff(plan->graph, losses, file->n_losses, wanted, n_wanted, gradients, err);
}

static bool add_updates(struct gr_plan *plan, struct gr_value *const *gradients, size_t n_gradients,
                        struct gr_error *err)
{
    const struct gr_shape scalar = {0};
    if (!plan->options.update)
        return true;
    if (!plan->model->file->optimizer.kind)
        return gr_fail(err, GR_ERR_MODEL, "%s: there is no optimizer (train.optimizer)",
                       plan->model->file->path);
    plan->rate =
        gr_graph_add_value(plan->graph, "learning_rate", GR_VALUE_INPUT, GR_F32, &scalar, err);
    return plan->rate && gr_emit_updates(plan->graph, &plan->model->file->optimizer, gradients,
                                         n_gradients, plan->rate, err);
}

static bool find_targets(struct gr_plan *plan, struct gr_value *const *gradients,
                         struct gr_error *err)
{
    for (size_t i = 0; i < plan->n_targets; i++) {
        const char *name = plan->target_names[i];
        if (!is_gradient(name)) {
            if (!(plan->targets[i] = find_value(plan, name, err)))
                return false;
            continue;
        }
        const struct gr_value *of = find_value(plan, name + sizeof gradient_prefix - 1, err);
        if (!of)
            return false;
        plan->targets[i] = gradients[of->id];
        if (!plan->targets[i])
            return gr_fail(err, GR_ERR_USAGE,
                           "'%s' has no gradient: the loss does not depend on it", of->name);
    }
    return true;
}

/* ---- node infos -------------------------------------------------------------------------- */

const char *gr_phase_name(enum gr_phase phase)
{
    static const char *const phases[] = {
        [GR_FORWARD] = "forward", [GR_BACKWARD] = "backward", [GR_UPDATE] = "update"};
    return phases[phase];
}

/* bf16 if anything that the node reads or writes lies in memory so: it may convert as it reads. */
static enum gr_dtype math_of(const struct gr_program *program, const struct gr_node *node)
{
    enum gr_dtype math = GR_F32;
    for (int i = 0; i < node->n_inputs; i++)
        if (gr_program_dtype(program, node->inputs[i]) == GR_BF16)
            math = GR_BF16;
    for (int o = 0; o < node->n_outputs; o++)
        if (gr_program_dtype(program, node->outputs[o]) == GR_BF16)
            math = GR_BF16;
    return math;
}

static bool describe(struct gr_plan *plan, size_t index, struct gr_error *err)
{
    const struct gr_step *step = gr_program_step(plan->program, index);
    const struct gr_node *node = step->node;
    const struct gr_traffic traffic = gr_program_traffic(plan->program, step);
    struct gr_text text = {0};
    gr_kind_describe(&node->op->kind, node->attrs, 8, false, &text);
    const char *attributes = gr_pool_strdup(&plan->pool, text.data ? text.data : "");
    gr_text_release(&text);
    if (!attributes)
        return gr_fail_memory(err, "a plan");
    struct gr_node_info *info = &plan->infos[index];
    *info = (struct gr_node_info){.name = node->name,
                                  .op = node->op->kind.name,
                                  .phase = gr_phase_name(node->phase),
                                  .impl = step->kernel.impl ? step->kernel.impl : "plain",
                                  .attributes = attributes,
                                  .layout = node->n_outputs ? step->dst_layouts[0]->name : "",
                                  .macs = node->op->macs ? node->op->macs(node) : 0,
                                  .math = math_of(plan->program, node),
                                  .bytes_read = traffic.read,
                                  .bytes_written = traffic.written,
                                  .constant = step->constant || step->kept,
                                  .scratch_bytes = step->kernel.scratch_bytes,
                                  .again = node->origin ? node->origin->name : NULL,
                                  .again_share = step->again,
                                  .offset = -1};
    if (node->n_outputs) {
        info->shape = node->outputs[0]->shape;
        info->output_bytes = gr_layout_bytes(step->dst_layouts[0], node->outputs[0]);
        info->offset = gr_program_offset(plan->program, node->outputs[0]);
    }
    for (int i = 0; node->phase == GR_FORWARD && i < node->n_inputs; i++) {
        const struct gr_value *value = node->inputs[i]->of ? node->inputs[i]->of : node->inputs[i];
        if (value->kind == GR_VALUE_PARAMETER && node->op != plan->graph->ops->reorder)
            info->parameters += gr_shape_count(&value->shape);
    }
    return true;
}

/* ---- building ---------------------------------------------------------------------------- */

static bool compile(struct gr_plan *plan, struct gr_error *err)
{
    const struct gr_plan_options *o = &plan->options;
    const struct gr_program_options options = {.no_memory_plan = o->no_memory_plan,
                                               .no_fusion = o->reference,
                                               .check_finite = o->check_finite,
                                               .precision = o->precision,
                                               .tuning = plan->model->context->tuning,
                                               .run_updates = o->update,
                                               .memory_budget = o->memory_budget};
    struct gr_error failed = {0};
    plan->program = gr_program_new(plan->graph, plan->model->params, plan->model->context->backend,
                                   plan->targets, plan->n_targets, &options, &failed);
    gr_tuning_keep(plan->model->context);
    if (!plan->program && o->memory_budget && failed.status == GR_ERR_USAGE)
        return gr_fail(err, failed.status, "%s, batch %" PRId64 ": %s", plan->model->file->name,
                       o->batch, failed.message);
    if (!plan->program)
        return gr_fail(err, failed.status, "%s", failed.message);
    const size_t n_steps = gr_program_step_count(plan->program);
    plan->inputs =
        gr_pool_array(&plan->pool, plan->model->file->n_inputs + 1, sizeof(struct gr_value *));
    plan->infos = gr_pool_array(&plan->pool, n_steps + 1, sizeof *plan->infos);
    if (!plan->inputs || !plan->infos)
        return gr_fail_memory(err, "a plan");
    for (size_t i = 0; i < plan->model->file->n_inputs; i++) {
        struct gr_value *value = gr_graph_value(plan->graph, plan->model->file->inputs[i].name);
        if (value && gr_program_uses(plan->program, value))
            plan->inputs[plan->n_inputs++] = value;
    }
    for (size_t s = 0; s < n_steps; s++)
        if (!describe(plan, s, err))
            return false;
    return true;
}

static bool build(struct gr_plan *plan, const struct gr_plan_options *options, struct gr_error *err)
{
    struct gr_value **gradients = NULL;
    size_t n_gradients = 0;
    const struct gr_context *context = plan->model->context;
    if (context->ops->check_precision &&
        !context->ops->check_precision(context->backend, options->precision, err))
        return false;
    plan->graph =
        gr_model_file_graph(plan->model->file, plan->options.batch, options->mode == GR_TRAIN, err);
    const bool ok = plan->graph && name_targets(plan, options, err) &&
                    differentiate(plan, &gradients, &n_gradients, err) &&
                    add_updates(plan, gradients, n_gradients, err) &&
                    find_targets(plan, gradients, err);
    free(gradients);
    return ok;
}

struct gr_plan *gr_plan_draft(struct gr_model *model, const struct gr_plan_options *options,
                              struct gr_error *err)
{
    const struct gr_plan_options usual = {0};
    if (!options)
        options = &usual;
    struct gr_plan *plan = calloc(1, sizeof *plan);
    if (!plan) {
        gr_fail_memory(err, "a plan");
        return NULL;
    }
    plan->model = model;
    plan->options = *options;
    plan->options.targets = NULL;
    if (plan->options.batch <= 0)
        plan->options.batch = gr_model_batch(model);
    if (!build(plan, options, err)) {
        gr_plan_free(plan);
        return NULL;
    }
    return plan;
}

struct gr_plan *gr_plan_new(struct gr_model *model, const struct gr_plan_options *options,
                            struct gr_error *err)
{
    struct gr_plan *plan = gr_plan_draft(model, options, err);
    if (!plan || compile(plan, err))
        return plan;
    gr_plan_free(plan);
    return NULL;
}

void gr_plan_free(struct gr_plan *plan)
{
    if (!plan)
        return;
    gr_program_free(plan->program);
    gr_graph_free(plan->graph);
    gr_pool_release(&plan->pool);
    free(plan);
}

/* ---- feeding, running, fetching ---------------------------------------------------------- */

size_t gr_plan_input_count(const struct gr_plan *plan)
{
    return plan->n_inputs;
}

size_t gr_plan_target_count(const struct gr_plan *plan)
{
    return plan->n_targets;
}

static struct gr_tensor tensor_of(const struct gr_plan *plan, const struct gr_value *value,
                                  const char *name)
{
    return (struct gr_tensor){name, value->dtype, value->shape,
                              gr_program_data(plan->program, value)};
}

struct gr_tensor gr_plan_input(const struct gr_plan *plan, size_t index)
{
    return tensor_of(plan, plan->inputs[index], plan->inputs[index]->name);
}

struct gr_tensor gr_plan_target(const struct gr_plan *plan, size_t index)
{
    return tensor_of(plan, plan->targets[index], plan->target_names[index]);
}

static bool check_labels(const struct gr_value *value, const int32_t *labels, struct gr_error *err)
{
    const int64_t count = gr_shape_count(&value->shape);
    for (int64_t i = 0; i < count; i++)
        if (labels[i] < -1 || labels[i] >= value->classes)
            return gr_fail(err, GR_ERR_DATA,
                           "label %" PRId32 " at position %" PRId64
                           " of '%s' is not within 0 to %" PRId64 " (or -1 for none)",
                           labels[i], i, value->name, value->classes - 1);
    return true;
}

bool gr_plan_feed(struct gr_plan *plan, const char *name, const void *data, size_t bytes,
                  struct gr_error *err)
{
    char shape[GR_SHAPE_TEXT];
    for (size_t i = 0; i < plan->n_inputs; i++) {
        struct gr_value *value = plan->inputs[i];
        if (strcmp(value->name, name) != 0)
            continue;
        const size_t wanted = gr_layout_bytes(NULL, value);
        if (bytes != wanted)
            return gr_fail(err, GR_ERR_USAGE, "'%s' is %s %s: %zu bytes, not %zu", name,
                           gr_dtype_name(value->dtype), gr_shape_text(&value->shape, shape), wanted,
                           bytes);
        if (value->classes && !check_labels(value, data, err))
            return false;
        memcpy(gr_program_data(plan->program, value), data, bytes);
        return true;
    }
    /* Inputs that the targets do not need may be fed all the same. */
    for (size_t i = 0; i < plan->model->file->n_inputs; i++)
        if (strcmp(plan->model->file->inputs[i].name, name) == 0)
            return true;
    return gr_fail(err, GR_ERR_USAGE, "the model '%s' has no input '%s'", plan->model->file->name,
                   name);
}

bool gr_plan_fetch(const struct gr_plan *plan, const char *name, void *data, size_t bytes,
                   struct gr_error *err)
{
    for (size_t i = 0; i < plan->n_targets; i++) {
        if (strcmp(plan->target_names[i], name) != 0)
            continue;
        const size_t have = gr_layout_bytes(NULL, plan->targets[i]);
        if (bytes != have)
            return gr_fail(err, GR_ERR_USAGE, "'%s' has %zu bytes, not %zu", name, have, bytes);
        memcpy(data, gr_program_data(plan->program, plan->targets[i]), bytes);
        return true;
    }
    return gr_fail(err, GR_ERR_USAGE, "'%s' is not a target of the plan", name);
}

bool gr_plan_run(struct gr_plan *plan, struct gr_error *err)
{
    const struct gr_run run = {plan->model->seed, plan->step};
    float *rate = plan->rate ? gr_program_data(plan->program, plan->rate) : NULL;
    if (rate)
        *rate = (float)plan->learning_rate;
    if (!gr_program_run(plan->program, &run, err))
        return false;
    if (plan->options.update)
        plan->step++;
    return true;
}

void gr_plan_set_learning_rate(struct gr_plan *plan, double learning_rate)
{
    plan->learning_rate = learning_rate;
}

uint64_t gr_plan_step(const struct gr_plan *plan)
{
    return plan->step;
}

void gr_plan_set_step(struct gr_plan *plan, uint64_t step)
{
    plan->step = step;
}

/* ---- looking in -------------------------------------------------------------------------- */

struct gr_memory_report gr_plan_memory(const struct gr_plan *plan)
{
    return gr_program_memory(plan->program);
}

size_t gr_plan_node_count(const struct gr_plan *plan)
{
    return gr_program_step_count(plan->program);
}

struct gr_node_info gr_plan_node(const struct gr_plan *plan, size_t index)
{
    struct gr_node_info info = plan->infos[index];
    info.seconds = gr_program_step(plan->program, index)->seconds;
    return info;
}

void gr_plan_profile(struct gr_plan *plan, bool on)
{
    gr_program_profile(plan->program, on);
}

void gr_plan_trace(struct gr_plan *plan, gr_timing_fn *timing, void *user)
{
    gr_program_trace(plan->program, timing, user);
}

char *gr_plan_dot(const struct gr_plan *plan, const struct gr_dot_profile *profile,
                  struct gr_error *err)
{
    struct gr_text text = {0};
    if (gr_program_dot(plan->program, plan->model->file->name, profile, &text, err) &&
        gr_text_ok(&text, err))
        return text.data; /* the caller's */
    gr_text_release(&text);
    return NULL;
}
