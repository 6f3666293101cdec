/*
 * fold_norm: the weight and bias of a layer with the batch norm behind it folded in,
 *
 *     weight' = weight · s,   bias' = (bias - mean) · s + beta,   s = gamma / sqrt(variance + eps)
 *
 * for each output channel. Its inputs are parameters, so that it runs when they changed and not
 * with every inference.
 */
#include "fold_norm.h"

#include <math.h>

#include "loops.h"
#include "ops.h"

struct fold_attrs {
    double eps;
    bool bias, affine; /* which of the inputs are there */
};

/* Inputs: weight [O, ...], bias [O]?, gamma [O]?, beta [O]?, mean [O], variance [O]. */
static bool fold_run(const struct gr_kernel *kernel, const struct gr_node *node,
                     const struct gr_buffers *buffers, const struct gr_run *run,
                     struct gr_error *err)
{
    (void)kernel, (void)run, (void)err;
    const struct fold_attrs *a = node->attrs;
    const struct gr_shape *shape = &node->inputs[0]->shape;
    const int64_t channels = shape->dim[0], size = gr_shape_count(shape) / channels;
    const float *weight = buffers->src[0], *bias = a->bias ? buffers->src[1] : NULL;
    const float *gamma = a->affine ? buffers->src[1 + a->bias] : NULL;
    const float *beta = a->affine ? buffers->src[2 + a->bias] : NULL;
    const int at = 1 + a->bias + 2 * a->affine;
    const float *mean = buffers->src[at], *variance = buffers->src[at + 1];
    float *folded = buffers->dst[0], *folded_bias = buffers->dst[1];
#pragma omp parallel for schedule(static)
    for (int64_t o = 0; o < channels; o++) {
        const float s =
            (float)((gamma ? (double)gamma[o] : 1) / sqrt((double)variance[o] + a->eps));
        for (int64_t i = 0; i < size; i++)
            folded[o * size + i] = weight[o * size + i] * s;
        folded_bias[o] = ((bias ? bias[o] : 0) - mean[o]) * s + (beta ? beta[o] : 0);
    }
    return true;
}

static bool fold_plan(struct gr_planning *planning, struct gr_error *err)
{
    (void)err;
    gr_loops_plan_plain(planning, fold_run);
    return true;
}

static const struct gr_op fold_norm = {
    .kind = {.name = "fold_norm", .doc = "a layer's parameters with a batch norm folded in"},
    .flags = GR_OP_INTERNAL,
    .plan = fold_plan,
};

bool gr_fold_norm(struct gr_node *node, const struct gr_node *consumer, bool has_bias)
{
    enum { WEIGHT = 1, BIAS = 2, MOST = 6 };
    if (consumer->op != &gr_op_batch_norm || consumer->graph->training)
        return false;
    struct gr_graph *graph = node->graph;
    struct gr_value *inputs[MOST] = {node->inputs[WEIGHT]};
    int n = 1;
    if (has_bias)
        inputs[n++] = node->inputs[BIAS];
    for (int i = 1; i < consumer->n_inputs; i++)
        inputs[n++] = consumer->inputs[i];
    struct fold_attrs *attrs = gr_pool_alloc(&graph->pool, sizeof *attrs);
    const char *name = gr_pool_printf(&graph->pool, "%s:fold", consumer->name);
    const struct gr_attr *eps = gr_kind_attr(&consumer->op->kind, "eps");
    const struct gr_shape channels = {1, {node->inputs[WEIGHT]->shape.dim[0]}};
    if (!attrs || !name)
        return false;
    *attrs =
        (struct fold_attrs){.eps = *(const double *)((const char *)consumer->attrs + eps->offset),
                            .bias = has_bias,
                            .affine = consumer->n_inputs > 3};
    struct gr_node *fold =
        gr_graph_emit(graph, &fold_norm, GR_FORWARD, name, attrs, inputs, n, NULL);
    struct gr_value *weight =
        fold ? gr_node_output(fold, "weight", GR_F32, &node->inputs[WEIGHT]->shape, NULL) : NULL;
    struct gr_value *bias = weight ? gr_node_output(fold, "bias", GR_F32, &channels, NULL) : NULL;
    return bias &&
           gr_node_set_inputs(node, (struct gr_value *[]){node->inputs[0], weight, bias}, BIAS + 1);
}
