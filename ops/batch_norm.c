/*
 * batch_norm: y = (x - mean) / sqrt(variance + eps) · weight + bias for each channel. In training
 * the mean and the (biased) variance are the batch's, and running estimates of them are kept:
 * running <- (1 - momentum) · running + momentum · batch, with the unbiased variance. Otherwise the
 * running estimates take their place and count as constants in the gradient.
 */
#include "ops.h"

#include <math.h>
#include <stdlib.h>

#include "batch_norm_loops.h"
#include "loops.h"
#include "onednn.h"

struct batch_norm_attrs {
    double eps, momentum;
    bool affine;
};

static const struct gr_attr batch_norm_table[] = {
    {.name = "eps",
     .type = GR_ATTR_FLOAT,
     .offset = offsetof(struct batch_norm_attrs, eps),
     .def = 1e-5,
     .min = 0,
     .max = 1,
     .doc = "added to the variance"},
    {.name = "momentum",
     .type = GR_ATTR_FLOAT,
     .offset = offsetof(struct batch_norm_attrs, momentum),
     .def = 0.1,
     .min = 0,
     .max = 1,
     .doc = "the weight of the newest batch in the running mean and variance"},
    {.name = "affine",
     .type = GR_ATTR_BOOL,
     .offset = offsetof(struct batch_norm_attrs, affine),
     .def = 1,
     .doc = "scales by a weight and adds a bias for each channel"},
    {0},
};

/* ---- forward ----------------------------------------------------------------------------- */

struct state {
    int64_t lanes;
};

static float inverse_deviation(const struct gr_node *node, float variance)
{
    const double eps = ((const struct batch_norm_attrs *)node->attrs)->eps;
    return (float)(1 / sqrt((double)variance + eps));
}

static bool is_affine(const struct gr_node *node)
{
    return ((const struct batch_norm_attrs *)node->attrs)->affine;
}

/* Fills the padded arrays from the channels' statistics. weight and bias may be NULL. */
static void affine_fill(const struct gr_norm_affine *a, const struct gr_norm_form *form,
                        const struct gr_node *node, const float *mean, const float *variance,
                        const float *weight, const float *bias)
{
    for (int64_t c = 0; c < gr_norm_padded(form); c++) {
        const bool real = c < form->C;
        a->mean[c] = real ? mean[c] : 0;
        a->scale[c] = real ? inverse_deviation(node, variance[c]) * (weight ? weight[c] : 1) : 0;
        a->bias[c] = real && bias ? bias[c] : 0;
    }
}

/* Scratch: affine [3, padded], batch statistics [2, padded], moments [2, N, padded]. */
static bool forward_run(const struct gr_kernel *kernel, const struct gr_node *node,
                        const struct gr_buffers *buffers, const struct gr_run *run,
                        struct gr_error *err)
{
    (void)run, (void)err;
    const struct gr_norm_form form =
        gr_norm_form_of(&node->inputs[0]->shape, ((const struct state *)kernel->state)->lanes);
    const int64_t width = gr_norm_padded(&form);
    const int at = is_affine(node) ? 3 : 1; /* of running_mean among the inputs */
    const float *x = buffers->src[0];       /* [N, blocks, HW, lanes] */
    const float *weight = is_affine(node) ? buffers->src[1] : NULL;         /* [C] */
    const float *bias = is_affine(node) ? buffers->src[2] : NULL;           /* [C] */
    const float *mean = buffers->src[at], *variance = buffers->src[at + 1]; /* [C] */
    float *scratch = buffers->scratch;
    const struct gr_norm_affine a = {scratch, scratch + width, scratch + 2 * width};
    if (node->graph->training) {
        float *m = node->n_outputs > 1 ? buffers->dst[1] : scratch + 3 * width; /* [C] */
        float *v = node->n_outputs > 1 ? buffers->dst[2] : scratch + 4 * width; /* [C] */
        gr_norm_moments(&form, x, scratch + 5 * width, m, v);
        mean = m;
        variance = v;
    }
    affine_fill(&a, &form, node, mean, variance, weight, bias);
    gr_norm_apply(&form, x, buffers->dst[0], &a);
    return true;
}

/* A layout for the image-shaped inputs first to first + n - 1 and the first output. */
static bool plan_images(struct gr_planning *planning, int first, int n, gr_kernel_run_fn *run,
                        struct gr_norm_form *form, struct gr_error *err)
{
    const struct gr_layout *layout = gr_loops_shared_layout(planning, first, n);
    struct state *state = calloc(1, sizeof *state);
    if (!state)
        return gr_fail_memory(err, "a batch_norm kernel");
    if (gr_norm_lanes(layout) == 1)
        layout = &gr_layout_plain;
    gr_loops_plan_plain(planning, run);
    for (int i = first; i < first + n; i++)
        planning->src[i] = layout;
    if (planning->node->outputs[0]->kind != GR_VALUE_WORKSPACE)
        planning->dst[0] = layout;
    state->lanes = gr_norm_lanes(layout);
    planning->kernel->state = state;
    planning->kernel->free_state = free;
    *form = gr_norm_form_of(&planning->node->inputs[first]->shape, state->lanes);
    return true;
}

static bool forward_plan(struct gr_planning *planning, struct gr_error *err)
{
    struct gr_norm_form form;
    if (!plan_images(planning, 0, 1, forward_run, &form, err))
        return false;
    const int64_t floats =
        (planning->node->graph->training ? 5 + 2 * form.N : 3) * gr_norm_padded(&form);
    planning->kernel->scratch_bytes = (size_t)floats * sizeof(float);
    planning->kernel->in_place = 1;
    return true;
}

/* ---- backward ---------------------------------------------------------------------------- */

/* Fills the padded arrays and writes the gradients of weight and bias where they are wanted. */
static void slope_fill(const struct gr_norm_slope *s, const struct gr_norm_form *form,
                       const struct gr_node *node, const struct gr_buffers *buffers,
                       const double *sum, const double *product)
{
    const double count = node->graph->training ? (double)form->N * (double)form->HW : INFINITY;
    const float *variance = buffers->src[3];                        /* [C] */
    const float *weight = is_affine(node) ? buffers->src[4] : NULL; /* [C] */
    float *dweight = node->n_outputs > 1 ? buffers->dst[1] : NULL;  /* [C] */
    float *dbias = node->n_outputs > 1 ? buffers->dst[2] : NULL;    /* [C] */
    const bool put_weight = dweight && node->outputs[1]->kind != GR_VALUE_WORKSPACE;
    const bool put_bias = dbias && node->outputs[2]->kind != GR_VALUE_WORKSPACE;
    for (int64_t c = 0; c < gr_norm_padded(form); c++) {
        const bool real = c < form->C;
        const double inverse = real ? (double)inverse_deviation(node, variance[c]) : 0;
        s->scale[c] = (float)inverse * (real && weight ? weight[c] : 1);
        s->shift[c] = real ? (float)(sum[c] / count) : 0;
        s->slope[c] = real ? (float)(product[c] * inverse * inverse / count) : 0;
        if (real && put_weight)
            dweight[c] = (float)(product[c] * inverse);
        if (real && put_bias)
            dbias[c] = (float)sum[c];
    }
}

/* Scratch: sums in double [2, padded], slope [4, padded], slab sums [2, N, padded]. */
static bool backward_run(const struct gr_kernel *kernel, const struct gr_node *node,
                         const struct gr_buffers *buffers, const struct gr_run *run,
                         struct gr_error *err)
{
    (void)run, (void)err;
    const struct gr_norm_form form =
        gr_norm_form_of(&node->inputs[1]->shape, ((const struct state *)kernel->state)->lanes);
    const int64_t width = gr_norm_padded(&form);
    const float *dy = buffers->src[0], *x = buffers->src[1]; /* [N, blocks, HW, lanes] */
    const float *mean = buffers->src[2];                     /* [C] */
    double *sum = buffers->scratch, *product = sum + width;
    float *floats = (float *)(product + width);
    const struct gr_norm_slope s = {floats, floats + width, floats + 2 * width, floats + 3 * width};
    for (int64_t c = 0; c < width; c++)
        s.mean[c] = c < form.C ? mean[c] : 0;
    gr_norm_sums(&form, dy, x, s.mean, floats + 4 * width, sum, product);
    slope_fill(&s, &form, node, buffers, sum, product);
    if (node->outputs[0]->kind != GR_VALUE_WORKSPACE)
        gr_norm_gradient(&form, dy, x, buffers->dst[0], &s);
    return true;
}

static bool backward_plan(struct gr_planning *planning, struct gr_error *err)
{
    struct gr_norm_form form;
    if (!plan_images(planning, 0, 2, backward_run, &form, err))
        return false;
    const int64_t width = gr_norm_padded(&form);
    planning->kernel->scratch_bytes =
        (size_t)(2 * width) * sizeof(double) + (size_t)((4 + 2 * form.N) * width) * sizeof(float);
    if (planning->node->outputs[0]->kind != GR_VALUE_WORKSPACE)
        planning->kernel->in_place = 3;
    return true;
}

/* ---- the plain primitive ----------------------------------------------------------------- */

static bool primitive(struct gr_planning *planning, struct gr_error *err)
{
    const struct gr_node *node = planning->node;
    const struct gr_backend *backend = planning->backend;
    const float eps = (float)((const struct batch_norm_attrs *)node->attrs)->eps;
    const unsigned flags =
        (is_affine(node) ? (unsigned)dnnl_use_scale | (unsigned)dnnl_use_shift : 0) |
        (node->graph->training ? 0 : (unsigned)dnnl_use_global_stats);
    dnnl_primitive_desc_t forward = NULL, pd = NULL;
    struct gr_desc desc = {0};
    if (!gr_desc_blocked(&desc, node->inputs[0], gr_planning_dtype(planning), err))
        return false;
    gr_md md = gr_desc_get(&desc);
    dnnl_status_t status =
        gr_onednn_norm(node->forward ? &forward : &pd, backend->engine,
                       node->graph->training ? dnnl_forward_training : dnnl_forward_inference, md,
                       md, eps, flags, backend->attr);
    if (node->forward && status == dnnl_success)
        status = gr_onednn_norm_backward(&pd, backend->engine,
                                         node->n_outputs > 1 ? dnnl_backward : dnnl_backward_data,
                                         md, md, md, eps, flags, forward, backend->attr);
    gr_desc_release(&desc);
    const bool ok = gr_onednn_alone(planning, status, pd, err);
    if (forward)
        dnnl_primitive_desc_destroy(forward);
    return ok;
}

static const struct gr_op batch_norm_backward = {
    .kind = {.name = "batch_norm_backward",
             .doc = "the gradient of batch_norm",
             .attrs = batch_norm_table,
             .attrs_size = sizeof(struct batch_norm_attrs)},
    .flags = GR_OP_INTERNAL,
    .min_inputs = 4,
    .max_inputs = 5,
    .plan = backward_plan,
    .primitive = primitive,
};

/* ---- running statistics ------------------------------------------------------------------ */

struct update_attrs {
    double momentum, unbias; /* unbias: n / (n - 1), n the elements of a channel */
};

static const struct gr_attr update_table[] = {
    {.name = "momentum",
     .type = GR_ATTR_FLOAT,
     .offset = offsetof(struct update_attrs, momentum),
     .doc = "the weight of the newest batch"},
    {.name = "unbias",
     .type = GR_ATTR_FLOAT,
     .offset = offsetof(struct update_attrs, unbias),
     .doc = "what makes the batch's variance unbiased"},
    {0},
};

static bool update_run(const struct gr_kernel *kernel, const struct gr_node *node,
                       const struct gr_buffers *buffers, const struct gr_run *run,
                       struct gr_error *err)
{
    (void)kernel, (void)run, (void)err;
    const struct update_attrs *attrs = node->attrs;
    float *running_mean = buffers->src[0], *running_variance = buffers->src[1]; /* [C] */
    const float *mean = buffers->src[2], *variance = buffers->src[3];           /* [C] */
    const double old = 1 - attrs->momentum, new = attrs->momentum;
    for (int64_t c = 0; c < node->inputs[0]->shape.dim[0]; c++) {
        running_mean[c] = (float)(old * (double)running_mean[c] + new *(double)mean[c]);
        running_variance[c] =
            (float)(old * (double)running_variance[c] + new * attrs->unbias *(double)variance[c]);
    }
    return true;
}

static bool update_plan(struct gr_planning *planning, struct gr_error *err)
{
    (void)err;
    gr_loops_plan_plain(planning, update_run);
    return true;
}

static const struct gr_op batch_norm_update = {
    .kind = {.name = "batch_norm_update",
             .doc = "moves the running statistics of batch_norm towards the batch's",
             .attrs = update_table,
             .attrs_size = sizeof(struct update_attrs)},
    .flags = GR_OP_INTERNAL,
    .min_inputs = 4,
    .max_inputs = 4,
    .n_updated = 2,
    .plan = update_plan,
};

/* ---- the op ------------------------------------------------------------------------------ */

static bool per_channel(const struct gr_node *node, struct gr_shape *shape)
{
    *shape = gr_shape_of(1, &node->inputs[0]->shape.dim[1]);
    return true;
}

static bool per_channel_if_affine(const struct gr_node *node, struct gr_shape *shape)
{
    return is_affine(node) && per_channel(node, shape);
}

static const struct gr_param_rule batch_norm_params[] = {
    {.name = "weight",
     .doc = "the scale of each channel [C]",
     .shape = per_channel_if_affine,
     .init = "constant",
     .init_value = 1,
     .decay_mult = 1},
    {.name = "bias",
     .doc = "added to each channel [C]",
     .shape = per_channel_if_affine,
     .init = "constant",
     .init_value = 0,
     .decay_mult = 1},
    {.name = "running_mean",
     .doc = "the mean used outside training [C]",
     .shape = per_channel,
     .init = "constant",
     .init_value = 0,
     .statistic = true},
    {.name = "running_var",
     .doc = "the variance used outside training [C]",
     .shape = per_channel,
     .init = "constant",
     .init_value = 1,
     .statistic = true},
    {0},
};

static bool batch_norm_infer(struct gr_node *node, struct gr_error *err)
{
    const struct gr_value *src = node->inputs[0];
    char text[GR_SHAPE_TEXT];
    if (!gr_loops_expect_f32(node, 0, err))
        return false;
    if (src->shape.rank < 2)
        return gr_node_fail(node, err, "input '%s' is %s and has no channels", src->name,
                            gr_shape_text(&src->shape, text));
    if (node->graph->training && gr_shape_count(&src->shape) == src->shape.dim[1])
        return gr_node_fail(node, err,
                            "input '%s' is %s: training needs more than one value for each channel",
                            src->name, gr_shape_text(&src->shape, text));
    return gr_node_output(node, NULL, GR_F32, &src->shape, err) != NULL;
}

/* The batch's statistics become outputs; the running ones move towards them in the update phase. */
static bool keep_statistics(struct gr_node *node, struct gr_grad *grad, struct gr_value **mean,
                            struct gr_value **variance, struct gr_error *err)
{
    const struct gr_shape *src = &node->inputs[0]->shape, C = gr_shape_of(1, &src->dim[1]);
    const double count = (double)(gr_shape_count(src) / src->dim[1]);
    struct update_attrs *attrs = gr_pool_alloc(&node->graph->pool, sizeof *attrs);
    struct gr_value *inputs[] = {*mean, *variance, NULL, NULL};
    if (!attrs)
        return gr_fail_memory(err, "the statistics of batch_norm");
    inputs[2] = *mean = gr_node_output(node, "mean", GR_F32, &C, err);
    inputs[3] = *variance = *mean ? gr_node_output(node, "variance", GR_F32, &C, err) : NULL;
    struct gr_node *update =
        *variance ? gr_grad_emit_update(grad, &batch_norm_update, inputs, 4, err) : NULL;
    if (!update)
        return false;
    attrs->momentum = ((const struct batch_norm_attrs *)node->attrs)->momentum;
    attrs->unbias = count / (count - 1);
    update->attrs = attrs;
    return true;
}

static bool batch_norm_grad(struct gr_node *node, struct gr_grad *grad, struct gr_error *err)
{
    const int n_affine = is_affine(node) ? 2 : 0;
    struct gr_value *mean = node->inputs[1 + n_affine], *variance = node->inputs[2 + n_affine];
    if (node->graph->training && !keep_statistics(node, grad, &mean, &variance, err))
        return false;
    struct gr_value *inputs[] = {gr_grad_output(grad, 0), node->inputs[0], mean, variance,
                                 node->inputs[1]};
    bool wanted = false;
    int targets[3];
    for (int i = 0; i < 1 + n_affine; i++) {
        targets[i] = gr_grad_wanted(grad, i) ? i : -1;
        wanted = wanted || targets[i] >= 0;
    }
    return !inputs[0] || !wanted ||
           gr_grad_emit(grad, &batch_norm_backward, inputs, n_affine ? 5 : 4, targets, 1 + n_affine,
                        err) != NULL;
}

const struct gr_op gr_op_batch_norm = {
    .kind = {.name = "batch_norm",
             .doc = "normalises each channel by its mean and variance over the batch",
             .attrs = batch_norm_table,
             .attrs_size = sizeof(struct batch_norm_attrs)},
    .category = "normalisation",
    .min_inputs = 1,
    .max_inputs = 1,
    .input_doc = "src [N, C, ...]",
    .params = batch_norm_params,
    .infer = batch_norm_infer,
    .grad = batch_norm_grad,
    .plan = forward_plan,
    .primitive = primitive,
};
