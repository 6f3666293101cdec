/*
 * batch_norm: y = (x - mean) / sqrt(variance + eps) · weight + bias for each channel. In training
 * the mean and the (biased) variance are the batch's, and running estimates of them are kept:
 * running <- (1 - momentum) · running + momentum · batch, with the unbiased variance. Otherwise,
 * and in a frozen node, whose estimates stay as they are, these take their place and count as
 * constants in the gradient.
 */
#include "batch_norm.h"

#include "activation.h"
#include "fuse.h"
#include "loops.h"
#include "onednn.h"
#include "ops.h"

static const struct gr_attr batch_norm_table[] = {
    {.name = "eps",
     .type = GR_ATTR_FLOAT,
     .offset = offsetof(struct gr_batch_norm_attrs, eps),
     .def = 1e-5,
     .min = 0,
     .max = 1,
     .doc = "added to the variance"},
    {.name = "momentum",
     .type = GR_ATTR_FLOAT,
     .offset = offsetof(struct gr_batch_norm_attrs, momentum),
     .def = 0.1,
     .min = 0,
     .max = 1,
     .doc = "the weight of the newest batch in the running mean and variance"},
    {.name = "affine",
     .type = GR_ATTR_BOOL,
     .offset = offsetof(struct gr_batch_norm_attrs, affine),
     .def = 1,
     .doc = "scales by a weight and adds a bias for each channel"},
    {0},
};

static bool is_affine(const struct gr_node *node)
{
    return ((const struct gr_batch_norm_attrs *)node->attrs)->affine;
}

bool gr_batch_norm_by_batch(const struct gr_node *node)
{
    const struct gr_node *norm = node->forward ? node->forward : node;
    return norm->graph->training && !norm->frozen;
}

/* ---- the plain primitive ----------------------------------------------------------------- */

static bool primitive(struct gr_planning *planning, struct gr_error *err)
{
    const struct gr_node *node = planning->node;
    const struct gr_backend *backend = planning->backend;
    const float eps = (float)((const struct gr_batch_norm_attrs *)node->attrs)->eps;
    const unsigned flags =
        (is_affine(node) ? (unsigned)dnnl_use_scale | (unsigned)dnnl_use_shift : 0) |
        (gr_batch_norm_by_batch(node) ? 0 : (unsigned)dnnl_use_global_stats);
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
             .attrs_size = sizeof(struct gr_batch_norm_attrs)},
    .flags = GR_OP_INTERNAL,
    .min_inputs = 4,
    .max_inputs = 6,
    .plan = gr_batch_norm_backward_plan,
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
    if (gr_batch_norm_by_batch(node) && gr_shape_count(&src->shape) == src->shape.dim[1])
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
    attrs->momentum = ((const struct gr_batch_norm_attrs *)node->attrs)->momentum;
    attrs->unbias = count / (count - 1);
    update->attrs = attrs;
    return true;
}

static bool batch_norm_grad(struct gr_node *node, struct gr_grad *grad, struct gr_error *err)
{
    const int n_affine = is_affine(node) ? 2 : 0;
    struct gr_value *mean = node->inputs[1 + n_affine], *variance = node->inputs[2 + n_affine];
    if (gr_batch_norm_by_batch(node) && !keep_statistics(node, grad, &mean, &variance, err))
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

/* ---- fusing ------------------------------------------------------------------------------ */

/* A residual add, a ReLU, or the one and then the other. */
static bool batch_norm_fuse(struct gr_node *node, const struct gr_node *consumer)
{
    const struct gr_batch_norm_attrs *a = node->attrs;
    struct gr_value *other = gr_fuse_addend(node, consumer);
    struct gr_batch_norm_attrs *fused = gr_pool_alloc(&node->graph->pool, sizeof *fused);
    if (!fused || a->relu)
        return false;
    *fused = *a;
    if (consumer->op == &gr_op_relu)
        fused->relu = true;
    else if (other && !a->add && gr_fuse_input(node, other))
        fused->add = true;
    else
        return false;
    node->attrs = fused;
    return true;
}

bool gr_batch_norm_fuse_backward(struct gr_node *node, const struct gr_node *consumer)
{
    struct gr_node *norm = consumer->forward;
    if (consumer->op != &batch_norm_backward || consumer->inputs[0] != node->outputs[0] ||
        node->forward->op != &gr_op_relu || node->forward->inputs[0]->producer != norm)
        return false;
    const struct gr_batch_norm_attrs *a = norm->attrs;
    struct gr_batch_norm_attrs *fused = gr_pool_alloc(&node->graph->pool, sizeof *fused);
    struct gr_value *inputs[6] = {node->inputs[0]};
    int n = 1;
    for (; n < consumer->n_inputs; n++)
        inputs[n] = consumer->inputs[n];
    if (a->affine)
        inputs[n++] = norm->inputs[2];
    /* Behind an add, what the ReLU saw is not a function of the norm's source alone. */
    if (!fused || a->add || !gr_node_set_inputs(node, inputs, n))
        return false;
    *fused = *a;
    fused->relu = true;
    node->op = consumer->op;
    node->attrs = fused;
    node->forward = norm;
    node->name = consumer->name;
    return true;
}

const struct gr_op gr_op_batch_norm = {
    .kind = {.name = "batch_norm",
             .doc = "normalises each channel by its mean and variance over the batch",
             .attrs = batch_norm_table,
             .attrs_size = sizeof(struct gr_batch_norm_attrs)},
    .category = "normalisation",
    .min_inputs = 1,
    .max_inputs = 1,
    .input_doc = "src [N, C, ...]",
    .params = batch_norm_params,
    .infer = batch_norm_infer,
    .grad = batch_norm_grad,
    .fuse = batch_norm_fuse,
    .plan = gr_batch_norm_plan,
    .primitive = primitive,
};
