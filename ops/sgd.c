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
 * All operands share the parameter's layout, whatever it is; padding is zero and stays so. bf16
 * copies of the parameter that other kernels read are written in the same pass.
 */
#include "sgd.h"

#include <assert.h>
#include <stdlib.h>

#include "conv_filters.h"
#include "vector_clones.h"

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

/* Copies of so many elements are not in the caches any more when they are read. */
enum { STREAMED = 1 << 20 };

/* ---- the arithmetic ---------------------------------------------------------------------- */

GR_VECTOR_CLONES
static void descend(const struct gr_sgd_step *s)
{
    float *restrict w = s->w;
    const float *restrict g = s->g;
    const float rate = s->rate, decay = s->decay;
#pragma omp simd
    for (int64_t i = 0; i < s->count; i++)
        w[i] -= rate * (g[i] + decay * w[i]);
}

GR_VECTOR_CLONES
static void descend_with_momentum(const struct gr_sgd_step *s)
{
    float *restrict w = s->w, *restrict v = s->v;
    const float *restrict g = s->g;
    const float rate = s->rate, decay = s->decay, momentum = s->momentum;
#pragma omp simd
    for (int64_t i = 0; i < s->count; i++) {
        v[i] = momentum * v[i] - rate * (g[i] + decay * w[i]);
        w[i] += v[i];
    }
}

GR_VECTOR_CLONES
static void descend_with_nesterov(const struct gr_sgd_step *s)
{
    float *restrict w = s->w, *restrict v = s->v;
    const float *restrict g = s->g;
    const float rate = s->rate, decay = s->decay, momentum = s->momentum;
#pragma omp simd
    for (int64_t i = 0; i < s->count; i++) {
        const float step = rate * (g[i] + decay * w[i]);
        v[i] = momentum * v[i] - step;
        w[i] += momentum * v[i] - step;
    }
}

void gr_sgd_apply_part(const struct gr_sgd_step *step)
{
    const struct gr_sgd_copies *c = step->copies;
    if (!step->v)
        descend(step);
    else if (step->nesterov)
        descend_with_nesterov(step);
    else
        descend_with_momentum(step);
    for (int i = 0; c && i < c->count; i++)
        gr_bf16_copy_write(&c->copy[i], step->w, step->first, step->count,
                           c->copy[i].count > STREAMED, step->src[c->input + i]);
}

/* Waking the other threads takes as long as a few chunks. */
void gr_sgd_apply(const struct gr_sgd_step *step)
{
    const int64_t chunk = gr_sgd_chunk(step->copies);
#pragma omp parallel for schedule(static) if (step->count > 2 * chunk)
    for (int64_t at = 0; at < step->count; at += chunk) {
        struct gr_sgd_step part = *step;
        part.w += at;
        part.v += part.v ? at : 0;
        part.g += at;
        part.first += at;
        part.count = step->count - at < chunk ? step->count - at : chunk;
        gr_sgd_apply_part(&part);
    }
}

/* ---- copies ------------------------------------------------------------------------------ */

static bool init_copy(struct gr_bf16_copy *copy, const struct gr_value *parameter,
                      const struct gr_layout *from, const struct gr_layout *to, bool *known,
                      struct gr_error *err)
{
    struct gr_desc src = {0}, dst = {0};
    const bool ok = gr_desc_in(&src, parameter, from, err) && gr_desc_in(&dst, parameter, to, err);
    *known = ok && gr_bf16_copy_init(copy, gr_desc_get(&src), gr_desc_get(&dst));
    gr_desc_release(&src);
    gr_desc_release(&dst);
    return ok;
}

bool gr_sgd_renews(const struct gr_value *parameter, const struct gr_layout *from,
                   const struct gr_layout *to)
{
    struct gr_bf16_copy copy;
    bool known;
    return gr_layout_dtype(to, parameter) == GR_BF16 && !gr_conv_filters_are(parameter, to) &&
           init_copy(&copy, parameter, from, to, &known, NULL) && known;
}

bool gr_sgd_plan_copies(struct gr_planning *planning, struct gr_sgd_copies *copies,
                        struct gr_error *err)
{
    const struct gr_node *node = planning->node;
    *copies = (struct gr_sgd_copies){node->n_copies, node->n_inputs - node->n_copies, {{0}}};
    assert(copies->count <= GR_SGD_COPIES);
    for (int i = 0; i < copies->count; i++) {
        bool known;
        if (!init_copy(&copies->copy[i], node->inputs[0], planning->src[0],
                       planning->src[copies->input + i], &known, err))
            return false;
        assert(known); /* as gr_sgd_renews has said */
    }
    return true;
}

int64_t gr_sgd_chunk(const struct gr_sgd_copies *copies)
{
    int64_t unit = 1;
    for (int i = 0; copies && i < copies->count; i++) /* all have the parameter's own blocks */
        if (copies->copy[i].turn != GR_BF16_SAME)
            unit = copies->copy[i].rows * copies->copy[i].lanes;
    return unit < GR_SGD_CHUNK ? GR_SGD_CHUNK / unit * unit : unit;
}

/* ---- the op ------------------------------------------------------------------------------ */

struct state {
    int64_t count; /* floats in memory, padding included */
    struct gr_sgd_copies copies;
};

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

static bool sgd_run(const struct gr_kernel *kernel, const struct gr_node *node,
                    const struct gr_buffers *buffers, const struct gr_run *run,
                    struct gr_error *err)
{
    (void)run, (void)err;
    const struct state *state = kernel->state;
    const int n_states = sgd_states(node->attrs);
    const float rate = *(const float *)buffers->src[n_states + 2];
    struct gr_sgd_step step = gr_sgd_step(node, rate);
    step.w = buffers->src[0];
    step.v = n_states ? buffers->src[1] : NULL;
    step.g = buffers->src[n_states + 1];
    step.count = state->count;
    step.copies = &state->copies;
    step.src = buffers->src;
    gr_sgd_apply(&step);
    return true;
}

static bool sgd_plan(struct gr_planning *planning, struct gr_error *err)
{
    const struct gr_node *node = planning->node;
    const struct gr_layout *layout = planning->src[0] ? planning->src[0] : &gr_layout_plain;
    const int rate = sgd_states(node->attrs) + 2;
    struct state *state = calloc(1, sizeof *state);
    if (!state)
        return gr_fail_memory(err, "an update kernel");
    for (int i = 0; i < rate; i++)
        planning->src[i] = layout;
    planning->src[rate] = &gr_layout_plain;
    state->count = (int64_t)(gr_layout_bytes(layout, node->inputs[0]) / sizeof(float));
    planning->kernel->impl = "plain";
    planning->kernel->state = state;
    planning->kernel->free_state = free;
    planning->kernel->run = sgd_run;
    return gr_sgd_plan_copies(planning, &state->copies, err);
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
    .renews = gr_sgd_renews,
};
