/*
 * The weight gradient of a convolution with sgd's update behind it, where results are so few that
 * the gradient costs about as much to write and read as to compute (layers late in a network, small
 * batches). The kernel by blocks (conv_update_blocks.c) updates a block of the weight as soon as it
 * has its gradient; where it does not suit, any kernel makes the gradient in the scratch first.
 */
#include "conv_update.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Most results of a channel, and least elements of the weight. */
enum { MOST_POSITIONS = 256, LEAST_ELEMENTS = 1 << 15 };

static const char by_blocks[] = "update by blocks";

/* ---- the gradient first ------------------------------------------------------------------ */

struct whole {
    struct gr_kernel gradient, reorder; /* reorder.run NULL: the gradient lies as the weight does */
    size_t reordered_at, inner_at;      /* in the scratch, behind the gradient */
    int64_t count;                      /* floats of the weight, padding included */
    int dy;
    bool bias;
    struct gr_sgd_copies copies;
    char impl[96];
};

/* The memory of the two kernels, among the node's. */
struct inner {
    void *src[2], *dst[2], *from[1], *to[1];
    struct gr_buffers gradient, reorder;
};

static void find_inner(const struct whole *s, const struct gr_buffers *buffers, struct inner *inner)
{
    char *scratch = buffers->scratch;
    *inner = (struct inner){.src = {buffers->src[s->dy], buffers->src[s->dy + 1]},
                            .dst = {scratch, s->bias ? buffers->dst[0] : NULL},
                            .from = {scratch},
                            .to = {scratch + s->reordered_at}};
    inner->gradient = (struct gr_buffers){inner->src, inner->dst, scratch + s->inner_at};
    inner->reorder = (struct gr_buffers){inner->from, inner->to, scratch + s->inner_at};
}

static bool bind_one(struct gr_kernel *kernel, const struct gr_buffers *buffers,
                     struct gr_error *err)
{
    return !kernel->bind || kernel->bind(kernel, buffers, err);
}

static bool whole_bind(struct gr_kernel *kernel, const struct gr_buffers *buffers,
                       struct gr_error *err)
{
    struct whole *s = kernel->state;
    struct inner inner;
    find_inner(s, buffers, &inner);
    return bind_one(&s->gradient, &inner.gradient, err) &&
           bind_one(&s->reorder, &inner.reorder, err);
}

static bool whole_run(const struct gr_kernel *kernel, const struct gr_node *node,
                      const struct gr_buffers *buffers, const struct gr_run *run,
                      struct gr_error *err)
{
    const struct whole *s = kernel->state;
    const struct gr_conv_update *attrs = node->attrs;
    struct gr_sgd_step step = gr_sgd_step(attrs->update, *(const float *)buffers->src[s->dy + 2]);
    struct inner inner;
    find_inner(s, buffers, &inner);
    if (!s->gradient.run(&s->gradient, attrs->gradient, &inner.gradient, run, err) ||
        (s->reorder.run && !s->reorder.run(&s->reorder, attrs->reorder, &inner.reorder, run, err)))
        return false;
    step.w = buffers->src[0];
    step.v = s->dy > 1 ? buffers->src[1] : NULL;
    step.g = s->reorder.run ? inner.to[0] : inner.from[0];
    step.count = s->count;
    step.copies = &s->copies;
    step.src = buffers->src;
    gr_sgd_apply(&step);
    return true;
}

static void free_whole(void *pointer)
{
    struct whole *s = pointer;
    gr_kernel_release(&s->gradient);
    gr_kernel_release(&s->reorder);
    free(s);
}

static size_t aligned(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

/* The kernel of the gradient, and what it reads and writes into the outer answer. */
static bool plan_gradient(struct gr_planning *planning, struct whole *s, const char *choice,
                          const struct gr_layout **written, struct gr_error *err)
{
    const struct gr_node *gradient =
        ((const struct gr_conv_update *)planning->node->attrs)->gradient;
    const struct gr_layout *home[2] = {NULL, NULL};
    const struct gr_layout *dst[2] = {&gr_layout_plain, &gr_layout_plain};
    struct gr_planning inner = *planning;
    inner.node = gradient;
    inner.choice = choice;
    inner.src = planning->src + s->dy;
    inner.home = home;
    inner.dst = dst;
    inner.kernel = &s->gradient;
    if (!gr_conv_plan(&inner, GR_CONV_WEIGHTS, err))
        return false;
    *written = dst[0];
    if (s->bias)
        planning->dst[0] = dst[1];
    return true;
}

static bool plan_reorder(struct gr_planning *planning, struct whole *s,
                         const struct gr_layout *from, const struct gr_layout *to,
                         struct gr_error *err)
{
    const struct gr_node *reorder = ((const struct gr_conv_update *)planning->node->attrs)->reorder;
    const struct gr_layout *home = NULL;
    struct gr_planning inner = *planning;
    inner.node = reorder;
    inner.choice = NULL;
    inner.src = &from;
    inner.home = &home;
    inner.dst = &to;
    inner.kernel = &s->reorder;
    return from == to || reorder->op->plan(&inner, err);
}

static bool plan_into(struct gr_planning *planning, struct whole *s, const char *choice,
                      struct gr_error *err)
{
    const struct gr_layout *written;
    if (!plan_gradient(planning, s, choice, &written, err))
        return false;
    if (!s->gradient.run)
        return true;
    const struct gr_value *weight = planning->node->inputs[0];
    const struct gr_layout *layout = planning->src[0] ? planning->src[0] : written;
    for (int i = 0; i < s->dy; i++)
        planning->src[i] = layout;
    planning->src[s->dy + 2] = &gr_layout_plain; /* the rate */
    if (!plan_reorder(planning, s, written, layout, err) ||
        !gr_sgd_plan_copies(planning, &s->copies, err))
        return false;
    const size_t bytes = gr_layout_bytes(layout, weight), first = gr_layout_bytes(written, weight);
    const size_t a = s->gradient.scratch_bytes, b = s->reorder.scratch_bytes;
    s->count = (int64_t)(bytes / sizeof(float));
    s->reordered_at = aligned(first);
    s->inner_at = s->reordered_at + (s->reorder.run ? aligned(bytes) : 0);
    snprintf(s->impl, sizeof s->impl, "%s, then sgd", s->gradient.impl);
    *planning->kernel = (struct gr_kernel){.impl = s->impl,
                                           .scratch_bytes = s->inner_at + (a > b ? a : b),
                                           .bind = whole_bind,
                                           .run = whole_run};
    return true;
}

static bool plan_whole(struct gr_planning *planning, const char *choice, struct gr_error *err)
{
    struct whole *s = calloc(1, sizeof *s);
    if (!s)
        return gr_fail_memory(err, "an update kernel");
    s->dy = gr_conv_update_dy(planning->node);
    s->bias = planning->node->n_outputs > 0;
    const bool ok = plan_into(planning, s, choice, err);
    if (!ok || !planning->kernel->run) {
        free_whole(s);
        *planning->kernel = (struct gr_kernel){0};
        return ok;
    }
    planning->kernel->state = s;
    planning->kernel->free_state = free_whole;
    return true;
}

/* ---- the op ------------------------------------------------------------------------------ */

static int update_candidates(const struct gr_planning *planning,
                             const char *names[GR_MAX_CANDIDATES])
{
    const bool blocks = gr_conv_update_has_blocks(planning);
    struct gr_planning inner = *planning;
    const char *all[GR_MAX_CANDIDATES];
    inner.node = ((const struct gr_conv_update *)planning->node->attrs)->gradient;
    const int count = gr_conv_candidates(&inner, GR_CONV_WEIGHTS, all);
    int n = 0;
    if (blocks && count)
        names[n++] = by_blocks;
    for (int i = 0; i < count && n < GR_MAX_CANDIDATES; i++)
        names[n++] = all[i];
    return n;
}

static bool update_plan(struct gr_planning *planning, struct gr_error *err)
{
    const bool blocks = !planning->choice || strcmp(planning->choice, by_blocks) == 0;
    if (blocks && gr_conv_update_has_blocks(planning) && !gr_conv_update_blocks(planning, err))
        return false;
    return planning->kernel->run || plan_whole(planning, blocks ? NULL : planning->choice, err);
}

static int states_of(const void *attrs)
{
    const struct gr_node *update = ((const struct gr_conv_update *)attrs)->update;
    return update->op->n_states(update->attrs);
}

static double update_macs(const struct gr_node *node)
{
    const struct gr_node *gradient = ((const struct gr_conv_update *)node->attrs)->gradient;
    return gradient->op->macs(gradient);
}

static const struct gr_op conv_update = {
    .kind = {.name = "conv_backward_update",
             .doc = "the gradient of a convolution's weight, and its update"},
    .flags = GR_OP_INTERNAL | GR_OP_OPTIMIZER,
    .candidates = update_candidates,
    .plan = update_plan,
    .macs = update_macs,
    .n_states = states_of,
    .renews = gr_sgd_renews,
};

/* ---- fusing ------------------------------------------------------------------------------ */

/* Nodes for the kernels inside, of no graph's list. */
static bool keep_nodes(struct gr_conv_update *attrs, const struct gr_node *node)
{
    struct gr_pool *pool = &node->graph->pool;
    attrs->gradient = gr_pool_alloc(pool, sizeof *attrs->gradient);
    attrs->reorder = gr_pool_alloc(pool, sizeof *attrs->reorder);
    if (!attrs->gradient || !attrs->reorder)
        return false;
    *attrs->gradient = *node;
    *attrs->reorder = (struct gr_node){.name = node->name,
                                       .op = node->graph->ops->reorder,
                                       .n_inputs = 1,
                                       .n_outputs = 1,
                                       .inputs = node->outputs,
                                       .outputs = node->outputs,
                                       .graph = node->graph};
    return true;
}

bool gr_conv_take_update(struct gr_node *node, const struct gr_node *update)
{
    const struct gr_conv_sizes s = gr_conv_sizes(node);
    const int states = update->n_inputs - 3; /* parameter, states, gradient, rate */
    if (update->op != &gr_op_sgd || states > 1 || s.n * s.oh * s.ow > MOST_POSITIONS ||
        s.o * (s.c / s.g) * s.kh * s.kw < LEAST_ELEMENTS)
        return false;
    struct gr_conv_update *attrs = gr_pool_alloc(&node->graph->pool, sizeof *attrs);
    if (!attrs || !keep_nodes(attrs, node))
        return false;
    struct gr_value *inputs[5];
    int n = 0;
    for (int i = 0; i <= states; i++)
        inputs[n++] = update->inputs[i];
    inputs[n++] = node->inputs[0];
    inputs[n++] = node->inputs[1];
    inputs[n++] = update->inputs[update->n_inputs - 1];
    if (!gr_node_set_inputs(node, inputs, n))
        return false;
    attrs->update = update;
    node->attrs = attrs;
    node->name = update->name;
    node->op = &conv_update;
    node->phase = GR_UPDATE;
    node->outputs++;
    node->n_outputs--;
    return true;
}
