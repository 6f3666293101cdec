/*
 * concat: inputs side by side along one axis. The gradient of each input is a slice of the
 * output's, cut by the internal op slice.
 */
#include "ops.h"

#include <string.h>

#include "loops.h"
#include "onednn.h"

struct concat_attrs {
    int64_t axis;
};

static const struct gr_attr concat_table[] = {
    {.name = "axis",
     .type = GR_ATTR_INT,
     .offset = offsetof(struct concat_attrs, axis),
     .def = 1,
     .min = 1,
     .max = GR_MAX_RANK - 1,
     .doc = "the axis along which the inputs are joined; 1: channels"},
    {0},
};

struct slice_attrs {
    int64_t axis, begin;
};

static const struct gr_attr slice_table[] = {
    {.name = "axis",
     .type = GR_ATTR_INT,
     .offset = offsetof(struct slice_attrs, axis),
     .def = 1,
     .doc = "the axis that is cut"},
    {.name = "begin",
     .type = GR_ATTR_INT,
     .offset = offsetof(struct slice_attrs, begin),
     .def = 0,
     .doc = "the first index of the slice"},
    {0},
};

/* The elements from one index of the axis before `axis` to the next. */
static int64_t row_length(const struct gr_shape *shape, int64_t axis)
{
    int64_t length = 1;
    for (int i = (int)axis; i < shape->rank; i++)
        length *= shape->dim[i];
    return length;
}

/* Copies `rows` rows of `length` elements between strided places. */
static void copy_rows(float *dst, int64_t dst_stride, const float *src, int64_t src_stride,
                      int64_t rows, int64_t length)
{
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++)
        memcpy(dst + r * dst_stride, src + r * src_stride, (size_t)length * sizeof *dst);
}

static bool concat_run(const struct gr_kernel *kernel, const struct gr_node *node,
                       const struct gr_buffers *buffers, const struct gr_run *run,
                       struct gr_error *err)
{
    (void)kernel, (void)run, (void)err;
    const int64_t axis = ((const struct concat_attrs *)node->attrs)->axis;
    const int64_t stride = row_length(&node->outputs[0]->shape, axis);
    const int64_t rows = gr_shape_count(&node->outputs[0]->shape) / stride;
    float *dst = buffers->dst[0]; /* [rows, stride] */
    for (int i = 0; i < node->n_inputs; i++) {
        const int64_t length = row_length(&node->inputs[i]->shape, axis);
        copy_rows(dst, stride, buffers->src[i], length, rows, length);
        dst += length;
    }
    return true;
}

static bool slice_run(const struct gr_kernel *kernel, const struct gr_node *node,
                      const struct gr_buffers *buffers, const struct gr_run *run,
                      struct gr_error *err)
{
    (void)kernel, (void)run, (void)err;
    const struct slice_attrs *attrs = node->attrs;
    const struct gr_shape *shape = &node->inputs[0]->shape;
    const int64_t stride = row_length(shape, attrs->axis);
    const int64_t length = row_length(&node->outputs[0]->shape, attrs->axis);
    const float *src = buffers->src[0]; /* [rows, stride] */
    copy_rows(buffers->dst[0], length, src + attrs->begin * (stride / shape->dim[attrs->axis]),
              stride, gr_shape_count(shape) / stride, length);
    return true;
}

static bool concat_plan(struct gr_planning *planning, struct gr_error *err)
{
    (void)err;
    gr_loops_plan_plain(planning, concat_run);
    return true;
}

/* Inputs blocked by channels, or plain. */
static dnnl_status_t concat_pd(const struct gr_planning *planning, bool blocked,
                               dnnl_primitive_desc_t *pd)
{
    const struct gr_node *node = planning->node;
    const int64_t axis = ((const struct concat_attrs *)node->attrs)->axis;
    const enum gr_dtype type = gr_planning_dtype(planning);
    struct gr_desc descs[GR_ONEDNN_ARGS] = {0}; /* of the inputs, and last of the output */
    gr_md mds[GR_ONEDNN_ARGS];
    dnnl_status_t status = dnnl_success;
    for (int i = 0; status == dnnl_success && i <= node->n_inputs; i++) {
        const struct gr_value *value = i < node->n_inputs ? node->inputs[i] : node->outputs[0];
        if (blocked ? !gr_desc_blocked(&descs[i], value, type, NULL)
                    : !gr_desc_init(&descs[i], value->shape.rank, value->shape.dim, type,
                                    GR_FORMAT_PLAIN, NULL))
            status = dnnl_out_of_memory;
        mds[i] = gr_desc_get(&descs[i]);
    }
    if (status == dnnl_success)
        status = gr_onednn_concat(pd, planning->backend->engine, mds[node->n_inputs],
                                  node->n_inputs, (int)axis, mds, planning->backend->attr);
    for (int i = 0; i <= node->n_inputs; i++)
        gr_desc_release(&descs[i]);
    return status;
}

/* Blocked by channels, or where oneDNN has only its reference loops for that, plain. */
static bool concat_primitive(struct gr_planning *planning, struct gr_error *err)
{
    bool ok = true;
    if (planning->node->n_inputs >= GR_ONEDNN_ARGS)
        return true;
    for (int plain = 0; ok && plain < 2 && !planning->kernel->run; plain++) {
        dnnl_primitive_desc_t pd = NULL;
        const dnnl_status_t status = concat_pd(planning, !plain, &pd);
        ok = gr_onednn_alone(planning, status, pd, err);
    }
    return ok;
}

static bool slice_plan(struct gr_planning *planning, struct gr_error *err)
{
    (void)err;
    gr_loops_plan_plain(planning, slice_run);
    return true;
}

static const struct gr_op slice = {
    .kind = {.name = "slice",
             .doc = "a part of a tensor along one axis",
             .attrs = slice_table,
             .attrs_size = sizeof(struct slice_attrs)},
    .flags = GR_OP_INTERNAL,
    .min_inputs = 1,
    .max_inputs = 1,
    .plan = slice_plan,
};

/* Equal but along the axis. */
static bool fits(const struct gr_shape *a, const struct gr_shape *b, int64_t axis)
{
    struct gr_shape same = *b;
    if (a->rank != b->rank)
        return false;
    same.dim[axis] = a->dim[axis];
    return gr_shape_equal(a, &same);
}

static bool concat_infer(struct gr_node *node, struct gr_error *err)
{
    const int64_t axis = ((const struct concat_attrs *)node->attrs)->axis;
    const struct gr_value *first = node->inputs[0];
    struct gr_shape shape = first->shape;
    char text[GR_SHAPE_TEXT], other[GR_SHAPE_TEXT];
    if (!gr_loops_expect_f32(node, 0, err))
        return false;
    if (axis >= shape.rank)
        return gr_node_fail(node, err, "input '%s' is %s and has no axis %lld", first->name,
                            gr_shape_text(&first->shape, text), (long long)axis);
    for (int i = 1; i < node->n_data; i++) {
        const struct gr_value *next = node->inputs[i];
        if (!fits(&first->shape, &next->shape, axis))
            return gr_node_fail(node, err,
                                "'%s' is %s and '%s' is %s; they may differ only along "
                                "axis %lld",
                                first->name, gr_shape_text(&first->shape, text), next->name,
                                gr_shape_text(&next->shape, other), (long long)axis);
        if (next->shape.dim[axis] > INT64_MAX - shape.dim[axis])
            return gr_node_fail(node, err, "the inputs are too large together");
        shape.dim[axis] += next->shape.dim[axis];
    }
    return gr_node_output(node, NULL, GR_F32, &shape, err) != NULL;
}

static bool concat_grad(struct gr_node *node, struct gr_grad *grad, struct gr_error *err)
{
    struct gr_value *dy = gr_grad_output(grad, 0);
    const int64_t axis = ((const struct concat_attrs *)node->attrs)->axis;
    int64_t begin = 0;
    for (int i = 0; i < node->n_inputs; begin += node->inputs[i++]->shape.dim[axis]) {
        if (!gr_grad_wanted(grad, i))
            continue;
        struct slice_attrs *attrs = gr_pool_alloc(&node->graph->pool, sizeof *attrs);
        struct gr_node *cut = gr_grad_emit(grad, &slice, &dy, 1, &i, 1, err);
        if (!attrs || !cut)
            return gr_fail_memory(err, "a slice");
        *attrs = (struct slice_attrs){axis, begin};
        cut->attrs = attrs;
    }
    return true;
}

const struct gr_op gr_op_concat = {
    .kind = {.name = "concat",
             .doc = "the inputs joined along an axis",
             .attrs = concat_table,
             .attrs_size = sizeof(struct concat_attrs)},
    .category = "data movement",
    .min_inputs = 1,
    .max_inputs = -1,
    .input_doc = "one or more, equal but along the axis",
    .infer = concat_infer,
    .grad = concat_grad,
    .plan = concat_plan,
    .primitive = concat_primitive,
};
