/*
 * sgd: stochastic gradient descent with momentum and weight decay in the form of the 2012 paper and
 * of Caffe, the rate inside the velocity:
 *
 *     step = rate · lr_mult · (g + weight_decay · decay_mult · w)
 *     v <- momentum · v - step
 *     w <- w + v                     plain
 *     w <- w + momentum · v - step   Nesterov (v is the new velocity)
 *
 * Without momentum there is no velocity: w <- w - step.
 *
 * All operands share the parameter's layout, whatever it is; padding is zero and stays so.
 */
#include "sgd.h"

#include <stdlib.h>

struct sgd_attrs {
    struct gr_update_attrs update; /* first: see n_states in op.h */
    double momentum, weight_decay;
    bool nesterov;
};

static const struct gr_attr sgd_table[] = {
    {.name = "momentum",
     .type = GR_ATTR_FLOAT,
     .offset = offsetof(struct sgd_attrs, momentum),
     .def = 0,
     .min = 0,
     .max = 1,
     .doc = "how much of the last step's velocity is kept"},
    {.name = "weight_decay",
     .type = GR_ATTR_FLOAT,
     .offset = offsetof(struct sgd_attrs, weight_decay),
     .def = 0,
     .min = 0,
     .max = 1e6,
     .doc = "adds this times the weight (and its decay multiplier) to the gradient"},
    {.name = "nesterov",
     .type = GR_ATTR_BOOL,
     .offset = offsetof(struct sgd_attrs, nesterov),
     .def = 0,
     .doc = "looks ahead along the velocity"},
    {0},
};

struct state {
    int64_t count; /* floats in memory, padding included */
};

static void descend(const struct gr_sgd_step *s)
{
    float *restrict w = s->w;
    const float *restrict g = s->g;
    const float rate = s->rate, decay = s->decay;
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < s->count; i++)
        w[i] -= rate * (g[i] + decay * w[i]);
}

static void descend_with_momentum(const struct gr_sgd_step *s)
{
    float *restrict w = s->w, *restrict v = s->v;
    const float *restrict g = s->g;
    const float rate = s->rate, decay = s->decay, momentum = s->momentum;
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < s->count; i++) {
        v[i] = momentum * v[i] - rate * (g[i] + decay * w[i]);
        w[i] += v[i];
    }
}

static void descend_with_nesterov(const struct gr_sgd_step *s)
{
    float *restrict w = s->w, *restrict v = s->v;
    const float *restrict g = s->g;
    const float rate = s->rate, decay = s->decay, momentum = s->momentum;
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < s->count; i++) {
        const float step = rate * (g[i] + decay * w[i]);
        v[i] = momentum * v[i] - step;
        w[i] += momentum * v[i] - step;
    }
}

static int sgd_states(const void *attrs)
{
    return ((const struct sgd_attrs *)attrs)->momentum > 0 ? 1 : 0;
}

struct gr_sgd_step gr_sgd_step(const struct gr_node *update, float rate)
{
    const struct sgd_attrs *attrs = update->attrs;
    return (struct gr_sgd_step){
        .rate = (float)((double)rate * attrs->update.lr_mult),
        .decay = (float)(attrs->weight_decay * attrs->update.decay_mult),
        .momentum = (float)attrs->momentum,
        .nesterov = attrs->nesterov,
    };
}

void gr_sgd_apply(const struct gr_sgd_step *step)
{
    if (!step->v)
        descend(step);
    else if (step->nesterov)
        descend_with_nesterov(step);
    else
        descend_with_momentum(step);
}

static bool sgd_run(const struct gr_kernel *kernel, const struct gr_node *node,
                    const struct gr_buffers *buffers, const struct gr_run *run,
                    struct gr_error *err)
{
    (void)run, (void)err;
    const int n_states = sgd_states(node->attrs);
    const float rate = *(const float *)buffers->src[n_states + 2];
    struct gr_sgd_step step = gr_sgd_step(node, rate);
    step.w = buffers->src[0];
    step.v = n_states ? buffers->src[1] : NULL;
    step.g = buffers->src[n_states + 1];
    step.count = ((const struct state *)kernel->state)->count;
    gr_sgd_apply(&step);
    return true;
}

static bool sgd_plan(struct gr_planning *planning, struct gr_error *err)
{
    const struct gr_node *node = planning->node;
    const struct gr_layout *layout = planning->src[0] ? planning->src[0] : &gr_layout_plain;
    struct state *state = calloc(1, sizeof *state);
    if (!state)
        return gr_fail_memory(err, "an update kernel");
    for (int i = 0; i < node->n_inputs - 1; i++)
        planning->src[i] = layout;
    planning->src[node->n_inputs - 1] = &gr_layout_plain; /* the rate */
    state->count = (int64_t)(gr_layout_bytes(layout, node->inputs[0]) / sizeof(float));
    planning->kernel->impl = "plain";
    planning->kernel->state = state;
    planning->kernel->free_state = free;
    planning->kernel->run = sgd_run;
    return true;
}

static bool sgd_infer(struct gr_node *node, struct gr_error *err)
{
    return gr_node_fail(node, err, "is an optimizer: it stands under train, not among the nodes");
}

const struct gr_op gr_op_sgd = {
    .kind = {.name = "sgd",
             .doc = "stochastic gradient descent with momentum and weight decay",
             .attrs = sgd_table,
             .attrs_size = sizeof(struct sgd_attrs)},
    .category = "optimizer",
    .flags = GR_OP_OPTIMIZER,
    .infer = sgd_infer,
    .plan = sgd_plan,
    .n_states = sgd_states,
};
