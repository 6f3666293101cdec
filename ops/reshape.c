/*
 * flatten and reshape: the same elements under another shape. Both are views of a plain tensor, as
 * is their gradient; nothing is copied. The batch dimension stays first and is never written.
 */
#include "ops.h"

struct reshape_attrs {
    struct gr_ints shape;
};

static const struct gr_attr reshape_table[] = {
    {.name = "shape",
     .type = GR_ATTR_INTS,
     .offset = offsetof(struct reshape_attrs, shape),
     .required = true,
     .min = -1,
     .max = 1e15,
     .doc = "of one sample, without the batch; -1: what is left over, 0: as the input has there"},
    {0},
};

static const struct gr_op reshape_backward = {
    .kind = {.name = "reshape_backward", .doc = "the gradient of flatten and reshape"},
    .flags = GR_OP_VIEW | GR_OP_INTERNAL,
    .min_inputs = 1,
    .max_inputs = 1,
};

static bool reshape_grad(struct gr_node *node, struct gr_grad *grad, struct gr_error *err)
{
    struct gr_value *dy = gr_grad_output(grad, 0);
    (void)node;
    return gr_grad_emit(grad, &reshape_backward, &dy, 1, (const int[]){0}, 1, err) != NULL;
}

static bool flatten_infer(struct gr_node *node, struct gr_error *err)
{
    const struct gr_value *src = node->inputs[0];
    if (src->shape.rank < 1)
        return gr_node_fail(node, err, "input '%s' is a scalar and has no batch", src->name);
    const int64_t N = src->shape.dim[0], dims[] = {N, gr_shape_count(&src->shape) / N};
    const struct gr_shape shape = gr_shape_of(2, dims);
    return gr_node_output(node, NULL, src->dtype, &shape, err) != NULL;
}

/* The shape with 0 and -1 resolved as far as they can be; rest: the place of -1, or -1. */
static bool resolve(const struct gr_node *node, struct gr_shape *shape, int *rest,
                    struct gr_error *err)
{
    const struct gr_ints *asked = &((const struct reshape_attrs *)node->attrs)->shape;
    const struct gr_value *src = node->inputs[0];
    char text[GR_SHAPE_TEXT];
    *shape = (struct gr_shape){.rank = asked->count + 1, .dim = {src->shape.dim[0]}};
    *rest = -1;
    for (int i = 0; i < asked->count; i++) {
        int64_t dim = asked->items[i];
        if (dim == -1 && *rest >= 0)
            return gr_node_fail(node, err, "shape has -1 more than once");
        if (dim == -1)
            *rest = i + 1;
        if (dim == 0 && i + 1 >= src->shape.rank)
            return gr_node_fail(node, err, "shape has 0 at place %d, but input '%s' is %s", i + 1,
                                src->name, gr_shape_text(&src->shape, text));
        if (dim == 0)
            dim = src->shape.dim[i + 1];
        shape->dim[i + 1] = dim == -1 ? 1 : dim;
    }
    return true;
}

static bool reshape_infer(struct gr_node *node, struct gr_error *err)
{
    const struct gr_value *src = node->inputs[0];
    const int asked = ((const struct reshape_attrs *)node->attrs)->shape.count;
    struct gr_shape shape;
    char text[GR_SHAPE_TEXT], other[GR_SHAPE_TEXT];
    int rest;
    if (src->shape.rank < 1)
        return gr_node_fail(node, err, "input '%s' is a scalar and has no batch", src->name);
    if (asked >= GR_MAX_RANK)
        return gr_node_fail(node, err, "shape has %d dimensions, more than %d", asked,
                            GR_MAX_RANK - 1);
    if (!resolve(node, &shape, &rest, err))
        return false;
    if (!gr_shape_check(&shape))
        return gr_node_fail(node, err, "the shape is too large");
    const int64_t have = gr_shape_count(&src->shape), known = gr_shape_count(&shape);
    if (rest >= 0)
        shape.dim[rest] = have / known;
    if (rest >= 0 ? have % known != 0 : have != known)
        return gr_node_fail(node, err, "'%s' is %s, %lld elements, which do not fill %s", src->name,
                            gr_shape_text(&src->shape, text), (long long)have,
                            rest >= 0 ? "the shape with a whole number for -1"
                                      : gr_shape_text(&shape, other));
    return gr_node_output(node, NULL, src->dtype, &shape, err) != NULL;
}

const struct gr_op gr_op_flatten = {
    .kind = {.name = "flatten", .doc = "[N, ...] as [N, the product of the rest]"},
    .category = "data movement",
    .flags = GR_OP_VIEW,
    .min_inputs = 1,
    .max_inputs = 1,
    .input_doc = "src [N, ...]",
    .infer = flatten_infer,
    .grad = reshape_grad,
};

const struct gr_op gr_op_reshape = {
    .kind = {.name = "reshape",
             .doc = "the same elements under another shape",
             .attrs = reshape_table,
             .attrs_size = sizeof(struct reshape_attrs)},
    .category = "data movement",
    .flags = GR_OP_VIEW,
    .min_inputs = 1,
    .max_inputs = 1,
    .input_doc = "src [N, ...]",
    .infer = reshape_infer,
    .grad = reshape_grad,
};
