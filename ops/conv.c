/*
 * conv: two-dimensional convolution (cross-correlation, as in every framework), with groups,
 * dilation and a pad of its own on each side. Kernels: conv_onednn.c, conv_openblas.c.
 */
#include "conv.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "fold_norm.h"
#include "fuse.h"
#include "loops.h"
#include "ops.h"

#define ATTR(NAME) offsetof(struct gr_conv_attrs, NAME)

static const struct gr_attr conv_attrs[] = {
    {"out_channels", GR_ATTR_INT, ATTR(out_channels), .required = true, .min = 1, .max = 1 << 20,
     .doc = "number of filters"},
    {"kernel", GR_ATTR_SIZE2, ATTR(kernel), .required = true, .min = 1, .max = 1 << 16,
     .doc = "size of the filters, or [height, width]"},
    {"stride", GR_ATTR_SIZE2, ATTR(stride), .def = 1, .min = 1, .max = 1 << 16,
     .doc = "step of the filters, or [vertical, horizontal]"},
    {"pad", GR_ATTR_PAD4, ATTR(pad), .def = 0, .min = 0, .max = 1 << 16,
     .doc = "zeros around the input, or [height, width], or [top, left, bottom, right]"},
    {"dilation", GR_ATTR_SIZE2, ATTR(dilation), .def = 1, .min = 1, .max = 1 << 16,
     .doc = "distance between the taps of a filter; 1 is dense"},
    {"groups", GR_ATTR_INT, ATTR(groups), .def = 1, .min = 1, .max = 1 << 20,
     .doc = "channels are split into that many independent groups"},
    {"bias", GR_ATTR_BOOL, ATTR(bias), .def = 1, .doc = "add a bias to each output channel"},
    {0}};

struct gr_conv_sizes gr_conv_sizes(const struct gr_node *node)
{
    if (node->forward)
        node = node->forward;
    const struct gr_conv_attrs *a = node->attrs;
    const int64_t *src = node->inputs[0]->shape.dim, *dst = node->outputs[0]->shape.dim;
    return (struct gr_conv_sizes){.n = src[0],
                                  .c = src[1],
                                  .h = src[2],
                                  .w = src[3],
                                  .o = a->out_channels,
                                  .oh = dst[2],
                                  .ow = dst[3],
                                  .g = a->groups,
                                  .kh = a->kernel[0],
                                  .kw = a->kernel[1]};
}

static bool conv_infer(struct gr_node *node, struct gr_error *err)
{
    const struct gr_conv_attrs *a = node->attrs;
    const struct gr_value *src = node->inputs[0];
    char text[GR_SHAPE_TEXT];
    if (!gr_loops_expect_f32(node, 0, err))
        return false;
    if (src->shape.rank != 4)
        return gr_node_fail(node, err, "input '%s' is %s; a convolution takes N×C×H×W", src->name,
                            gr_shape_text(&src->shape, text));
    const int64_t c = src->shape.dim[1];
    if (c % a->groups)
        return gr_node_fail(node, err,
                            "%" PRId64 " channels of '%s' are not divisible by groups %" PRId64, c,
                            src->name, a->groups);
    if (a->out_channels % a->groups)
        return gr_node_fail(node, err,
                            "out_channels %" PRId64 " is not divisible by groups %" PRId64,
                            a->out_channels, a->groups);
    struct gr_shape dst = {4, {src->shape.dim[0], a->out_channels}};
    for (int d = 0; d < 2; d++) {
        const int64_t size = src->shape.dim[2 + d] + a->pad[d] + a->pad[2 + d];
        const int64_t reach = (a->kernel[d] - 1) * a->dilation[d] + 1;
        if (reach > size)
            return gr_node_fail(node, err,
                                "a kernel reaching over %" PRId64 " does not fit the %s %" PRId64
                                " of '%s' (padding included)",
                                reach, d ? "width" : "height", size, src->name);
        dst.dim[2 + d] = (size - reach) / a->stride[d] + 1;
    }
    return gr_node_output(node, NULL, GR_F32, &dst, err) != NULL;
}

static bool weight_shape(const struct gr_node *node, struct gr_shape *shape)
{
    const struct gr_conv_attrs *a = node->attrs;
    *shape = (struct gr_shape){
        4,
        {a->out_channels, node->inputs[0]->shape.dim[1] / a->groups, a->kernel[0], a->kernel[1]}};
    return true;
}

static bool bias_shape(const struct gr_node *node, struct gr_shape *shape)
{
    const struct gr_conv_attrs *a = node->attrs;
    *shape = (struct gr_shape){1, {a->out_channels}};
    return a->bias;
}

static const struct gr_param_rule conv_params[] = {
    {.name = "weight",
     .doc = "[out_channels, C / groups, kernel h, kernel w]",
     .shape = weight_shape,
     .init = "xavier",
     .decay_mult = 1},
    {.name = "bias",
     .doc = "[out_channels]",
     .shape = bias_shape,
     .init = "constant",
     .decay_mult = 1},
    {0}};

static const struct gr_op conv_data, conv_weights;

static bool conv_grad(struct gr_node *node, struct gr_grad *grad, struct gr_error *err)
{
    struct gr_value *dy = gr_grad_output(grad, 0);
    const bool bias = node->n_inputs > 2;
    if (gr_grad_wanted(grad, 0) &&
        !gr_grad_emit(grad, &conv_data, (struct gr_value *[]){dy, node->inputs[1]}, 2,
                      (const int[]){0}, 1, err))
        return false;
    if (!gr_grad_wanted(grad, 1) && !(bias && gr_grad_wanted(grad, 2)))
        return true;
    return gr_grad_emit(grad, &conv_weights, (struct gr_value *[]){dy, node->inputs[0]}, 2,
                        (const int[]){1, 2}, bias ? 2 : 1, err);
}

static bool conv_fuse(struct gr_node *node, const struct gr_node *consumer)
{
    const struct gr_conv_attrs *a = node->attrs;
    const struct gr_activation activation = gr_activation_of(consumer);
    struct gr_value *other = gr_fuse_addend(node, consumer);
    struct gr_conv_attrs *fused = gr_pool_alloc(&node->graph->pool, sizeof *fused);
    if (!fused || a->activation.function)
        return false;
    *fused = *a;
    if (activation.function)
        fused->activation = activation;
    else if (!a->add && other && gr_fuse_input(node, other))
        fused->add = true;
    else if (!a->add && gr_fold_norm(node, consumer, a->bias))
        fused->bias = true;
    else
        return false;
    node->attrs = fused;
    return true;
}

static double conv_macs(const struct gr_node *node)
{
    const struct gr_conv_sizes s = gr_conv_sizes(node);
    return (double)(s.n * s.o * s.oh * s.ow) * (double)(s.c / s.g * s.kh * s.kw);
}

/* ---- kernels ----------------------------------------------------------------------------- */

typedef bool plan_fn(struct gr_planning *planning, struct gr_error *err);

static bool always(const struct gr_planning *planning)
{
    (void)planning;
    return true;
}

/* The ways to compute each pass, the usual one first; NULL: not that pass. */
static const struct way {
    const char *name;
    bool (*suits)(const struct gr_planning *planning);
    plan_fn *plan[3]; /* by enum gr_conv_pass */
} ways[] = {
    {"direct", always, {gr_conv_onednn_forward, gr_conv_onednn_data, gr_conv_onednn_weights}},
    {"channels last", gr_conv_takes_channels_last, {gr_conv_channels_last_forward, NULL, NULL}},
    {"winograd",
     gr_conv_takes_winograd,
     {gr_conv_winograd_forward, gr_conv_winograd_data, gr_conv_winograd_weights}},
    {"winograd 6x6",
     gr_conv_takes_tiles,
     {gr_conv_tiles_6_forward, gr_conv_tiles_6_data, gr_conv_tiles_6_weights}},
    {"winograd 8x8",
     gr_conv_takes_tiles,
     {gr_conv_tiles_8_forward, gr_conv_tiles_8_data, gr_conv_tiles_8_weights}},
    {"winograd 6x6 bf16",
     gr_conv_takes_rounded_tiles,
     {gr_conv_tiles_6_bf16_forward, gr_conv_tiles_6_bf16_data, gr_conv_tiles_6_bf16_weights}},
    {"flipped", gr_conv_flips, {NULL, gr_conv_flipped_data, NULL}},
    {"space to depth", gr_conv_deepens, {gr_conv_deep_forward, NULL, gr_conv_deep_weights}},
    {"im2col", always, {gr_conv_openblas_forward, gr_conv_openblas_data, gr_conv_openblas_weights}},
};

int gr_conv_candidates(const struct gr_planning *planning, enum gr_conv_pass pass,
                       const char *names[GR_MAX_CANDIDATES])
{
    int count = 0;
    if (planning->backend->kernels == GR_KERNELS_OPENBLAS)
        return 0;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        if (ways[i].plan[pass] && ways[i].suits(planning))
            names[count++] = ways[i].name;
    return count;
}

/* What was chosen; else oneDNN's kernel, or OpenBLAS's where asked for or where oneDNN has nothing
 * fast. */
bool gr_conv_plan(struct gr_planning *planning, enum gr_conv_pass pass, struct gr_error *err)
{
    const struct way *usual = &ways[0], *last = &ways[sizeof ways / sizeof *ways - 1];
    if (planning->backend->kernels == GR_KERNELS_OPENBLAS)
        return last->plan[pass](planning, err);
    for (size_t i = 1; planning->choice && i < sizeof ways / sizeof *ways; i++)
        if (strcmp(ways[i].name, planning->choice) == 0)
            return !ways[i].plan[pass] || !ways[i].suits(planning) ||
                   ways[i].plan[pass](planning, err);
    return usual->plan[pass](planning, err) &&
           (planning->kernel->run || last->plan[pass](planning, err));
}

static int forward_candidates(const struct gr_planning *planning, const char **names)
{
    return gr_conv_candidates(planning, GR_CONV_FORWARD, names);
}

static int data_candidates(const struct gr_planning *planning, const char **names)
{
    return gr_conv_candidates(planning, GR_CONV_DATA, names);
}

static int weights_candidates(const struct gr_planning *planning, const char **names)
{
    return gr_conv_candidates(planning, GR_CONV_WEIGHTS, names);
}

static bool conv_plan(struct gr_planning *planning, struct gr_error *err)
{
    return gr_conv_plan(planning, GR_CONV_FORWARD, err);
}

static bool data_plan(struct gr_planning *planning, struct gr_error *err)
{
    return gr_conv_plan(planning, GR_CONV_DATA, err);
}

static bool weights_plan(struct gr_planning *planning, struct gr_error *err)
{
    return gr_conv_plan(planning, GR_CONV_WEIGHTS, err);
}

const struct gr_op gr_op_conv = {
    .kind = {"conv", "two-dimensional convolution with optional bias", conv_attrs,
             sizeof(struct gr_conv_attrs)},
    .category = "convolution",
    .flags = GR_OP_POST_OPS,
    .min_inputs = 1,
    .max_inputs = 1,
    .input_doc = "src [N, C, H, W]",
    .params = conv_params,
    .infer = conv_infer,
    .grad = conv_grad,
    .fuse = conv_fuse,
    .candidates = forward_candidates,
    .plan = conv_plan,
    .primitive = gr_conv_primitive_forward,
    .macs = conv_macs,
};

static const struct gr_op conv_data = {
    .kind = {.name = "conv_backward_data", .doc = "the gradient of a convolution's input"},
    .flags = GR_OP_INTERNAL,
    .candidates = data_candidates,
    .plan = data_plan,
    .primitive = gr_conv_primitive_data,
    .macs = conv_macs,
};

static const struct gr_op conv_weights = {
    .kind = {.name = "conv_backward_weights", .doc = "the gradient of a convolution's parameters"},
    .flags = GR_OP_INTERNAL,
    .fuse_update = gr_conv_take_update,
    .candidates = weights_candidates,
    .plan = weights_plan,
    .primitive = gr_conv_primitive_weights,
    .macs = conv_macs,
};
