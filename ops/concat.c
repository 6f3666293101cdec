/*
 * concat: inputs side by side along one axis. The gradient of each input is a slice of the
 * output's, cut by the internal op slice, which takes over the backward of a ReLU that follows.
 *
 * Both only move bytes, in the layout and the type that their inputs have: plain, in blocks of
 * channels, or with the channels last. In the order of memory a tensor is rows, from one index of
 * whatever lies before the axis to the next, and each row of the whole is one row of each part.
 */
#include "ops.h"

#include <stdlib.h>
#include <string.h>

#include "activation.h"
#include "loops.h"
#include "onednn.h"
#include "vector_clones.h"

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

/* ---- forms ------------------------------------------------------------------------------- */

/* How the whole and its parts lie. */
struct form {
    int64_t lanes; /* channels in a block; 1: plain; 0: the channels are last */
    dnnl_format_tag_t tag;
    enum gr_dtype dtype;
};

/* May a part that starts at index `begin` of the axis and ends before `end` of `total` lie so? */
static bool form_holds(struct form form, int rank, int64_t axis, int64_t begin, int64_t end,
                       int64_t total)
{
    if (form.lanes == 1)
        return true;
    return rank == 4 && (form.lanes == 0 || axis != 1 ||
                         (begin % form.lanes == 0 && (end % form.lanes == 0 || end == total)));
}

static const struct gr_layout *layout_in(const struct gr_planning *planning, struct form form,
                                         const struct gr_value *value, struct gr_error *err)
{
    return form.lanes == 1 ? gr_onednn_plain(planning->backend, value, form.dtype, err)
                           : gr_onednn_tagged(planning->backend, value, form.dtype, form.tag, err);
}

/* The form that a layout of the value is; plain, if it is another. */
static struct form form_of(const struct gr_planning *planning, const struct gr_value *value,
                           const struct gr_layout *layout)
{
    static const struct form forms[] = {
        {16, dnnl_nChw16c, 0}, {8, dnnl_nChw8c, 0}, {0, dnnl_nhwc, 0}};
    struct form form = {1, dnnl_format_tag_undef, gr_layout_dtype(layout, value)};
    for (size_t i = 0; i < sizeof forms / sizeof *forms && value->shape.rank == 4; i++) {
        const struct form other = {forms[i].lanes, forms[i].tag, form.dtype};
        if (layout && layout == layout_in(planning, other, value, NULL))
            return other;
    }
    return form;
}

/* Bytes of a row: all from one index of what lies before the axis to the next. */
static int64_t row_bytes(struct form form, const struct gr_shape *shape, int64_t axis)
{
    int64_t dim[GR_MAX_RANK + 1], n = 0, at = axis; /* in the order of memory */
    for (int i = 0; i < shape->rank; i++)
        dim[n++] = shape->dim[i];
    if (form.lanes > 1) {
        dim[1] = (shape->dim[1] + form.lanes - 1) / form.lanes;
        dim[n++] = form.lanes;
    } else if (form.lanes == 0) {
        memmove(dim + 1, dim + 2, 2 * sizeof *dim);
        dim[3] = shape->dim[1];
        at = axis == 1 ? 3 : axis > 1 ? axis - 1 : 0;
    }
    int64_t bytes = form.dtype == GR_BF16 ? 2 : 4;
    for (int64_t i = at; i < n; i++)
        bytes *= dim[i];
    return bytes;
}

/* ---- moving ------------------------------------------------------------------------------ */

/* Rows of the whole, of which each has a run of bytes of each part. */
struct state {
    int64_t rows, stride; /* bytes of a row of the whole */
    int64_t pieces;       /* into which a row is cut, so that few long ones occupy all threads */
    int64_t begin;        /* bytes before the first part */
    enum gr_dtype dtype;  /* of an element */
    int n_parts;
    int64_t length[]; /* bytes of a row of each part */
};

enum { LEAST_PIECES = 64, LEAST_PIECE = 4096, LINE = 64 };

static struct state *state_new(int64_t bytes, int64_t stride, int n_parts)
{
    struct state *state = calloc(1, sizeof *state + (size_t)n_parts * sizeof *state->length);
    if (!state)
        return NULL;
    state->rows = bytes / stride;
    state->stride = stride;
    state->n_parts = n_parts;
    const int64_t wanted = LEAST_PIECES / state->rows, most = stride / LEAST_PIECE;
    state->pieces = wanted < most ? wanted : most;
    state->pieces = state->pieces > 1 ? state->pieces : 1;
    return state;
}

/* Where a piece of so many bytes begins, in whole lines of the cache. */
static int64_t piece_start(const struct state *state, int64_t length, int64_t piece)
{
    return piece == state->pieces ? length : length * piece / state->pieces / LINE * LINE;
}

static void join_piece(const struct state *state, int64_t row, int64_t piece, void *const *parts,
                       char *whole)
{
    char *at = whole + row * state->stride;
    for (int i = 0; i < state->n_parts; at += state->length[i++]) {
        const int64_t length = state->length[i], from = piece_start(state, length, piece);
        memcpy(at + from, (const char *)parts[i] + row * length + from,
               (size_t)(piece_start(state, length, piece + 1) - from));
    }
}

/* dx = dy where y, which came out of a ReLU, is positive, else 0. */
GR_VECTOR_CLONES
static void gate_f32(const float *dy, const float *y, float *dx, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        dx[i] = y[i] > 0 ? dy[i] : 0;
}

/* Positive numbers are, as integers, those from 1 to that of infinity. */
GR_VECTOR_CLONES
static void gate_bf16(const uint16_t *dy, const uint16_t *y, uint16_t *dx, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        dx[i] = (uint16_t)(y[i] - 1) < 0x7f80 ? dy[i] : 0;
}

/* gate: what came out of the ReLU behind the slice, laid out as the part; or NULL. */
static void cut_piece(const struct state *state, int64_t row, int64_t piece, const char *whole,
                      const char *gate, char *part)
{
    const int64_t length = state->length[0], from = piece_start(state, length, piece);
    const int64_t bytes = piece_start(state, length, piece + 1) - from;
    const char *src = whole + row * state->stride + state->begin + from;
    const int64_t at = row * length + from;
    if (!gate)
        memcpy(part + at, src, (size_t)bytes);
    else if (state->dtype == GR_BF16)
        gate_bf16((const void *)src, (const void *)(gate + at), (void *)(part + at), bytes / 2);
    else
        gate_f32((const void *)src, (const void *)(gate + at), (void *)(part + at), bytes / 4);
}

static bool concat_run(const struct gr_kernel *kernel, const struct gr_node *node,
                       const struct gr_buffers *buffers, const struct gr_run *run,
                       struct gr_error *err)
{
    (void)node, (void)run, (void)err;
    const struct state *state = kernel->state;
#pragma omp parallel for collapse(2) schedule(static)
    for (int64_t row = 0; row < state->rows; row++)
        for (int64_t piece = 0; piece < state->pieces; piece++)
            join_piece(state, row, piece, buffers->src, buffers->dst[0]);
    return true;
}

static bool slice_run(const struct gr_kernel *kernel, const struct gr_node *node,
                      const struct gr_buffers *buffers, const struct gr_run *run,
                      struct gr_error *err)
{
    (void)run, (void)err;
    const struct state *state = kernel->state;
    const void *gate = node->n_inputs > 1 ? buffers->src[1] : NULL;
#pragma omp parallel for collapse(2) schedule(static)
    for (int64_t row = 0; row < state->rows; row++)
        for (int64_t piece = 0; piece < state->pieces; piece++)
            cut_piece(state, row, piece, buffers->src[0], gate, buffers->dst[0]);
    return true;
}

/* Hands over the kernel; `whole` is the layout of what the parts make up. */
static bool finish(struct gr_planning *planning, struct state *state, const struct gr_layout *whole,
                   bool (*run)(const struct gr_kernel *, const struct gr_node *,
                               const struct gr_buffers *, const struct gr_run *, struct gr_error *))
{
    planning->kernel->impl = whole == &gr_layout_plain ? "plain" : "blocks";
    planning->kernel->run = run;
    planning->kernel->state = state;
    planning->kernel->free_state = free;
    return true;
}

/* ---- concat ------------------------------------------------------------------------------ */

/* Can all inputs lie so? */
static bool concat_holds(const struct gr_node *node, struct form form)
{
    const int64_t axis = ((const struct concat_attrs *)node->attrs)->axis;
    const struct gr_shape *whole = &node->outputs[0]->shape;
    int64_t begin = 0;
    for (int i = 0; i < node->n_inputs; i++) {
        const int64_t end = begin + node->inputs[i]->shape.dim[axis];
        if (!form_holds(form, whole->rank, axis, begin, end, whole->dim[axis]))
            return false;
        begin = end;
    }
    return true;
}

static int64_t bytes_in(const struct gr_layout *layout, const struct gr_value *value)
{
    return (int64_t)gr_layout_bytes(layout, value);
}

/* Bytes of inputs that do not lie so and would have to be moved. */
static int64_t bytes_elsewhere(const struct gr_planning *planning, struct form form)
{
    const struct gr_node *node = planning->node;
    int64_t bytes = 0;
    for (int i = 0; i < node->n_inputs; i++)
        if (planning->src[i] != layout_in(planning, form, node->inputs[i], NULL))
            bytes += bytes_in(planning->src[i], node->inputs[i]);
    return bytes;
}

/* That of the inputs in which the least must be moved: plain, where none of theirs will do. */
static struct form best_form(const struct gr_planning *planning)
{
    const struct gr_node *node = planning->node;
    struct form best = {1, dnnl_format_tag_undef, GR_F32};
    int64_t least = bytes_elsewhere(planning, best);
    for (int i = 0; i < node->n_inputs; i++) {
        const struct form form = form_of(planning, node->inputs[i], planning->src[i]);
        const int64_t bytes = bytes_elsewhere(planning, form);
        if (bytes < least && concat_holds(node, form)) {
            best = form;
            least = bytes;
        }
    }
    return best;
}

static bool concat_plan(struct gr_planning *planning, struct gr_error *err)
{
    const struct gr_node *node = planning->node;
    const int64_t axis = ((const struct concat_attrs *)node->attrs)->axis;
    const struct form form = best_form(planning);
    const struct gr_value *whole = node->outputs[0];
    planning->dst[0] = layout_in(planning, form, whole, err);
    if (!planning->dst[0])
        return false;
    struct state *state = state_new(bytes_in(planning->dst[0], whole),
                                    row_bytes(form, &whole->shape, axis), node->n_inputs);
    if (!state)
        return gr_fail_memory(err, "a concat");
    finish(planning, state, planning->dst[0], concat_run);
    for (int i = 0; i < node->n_inputs; i++) {
        state->length[i] = row_bytes(form, &node->inputs[i]->shape, axis);
        planning->src[i] = layout_in(planning, form, node->inputs[i], err);
        if (!planning->src[i])
            return false;
    }
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

/* ---- slice ------------------------------------------------------------------------------- */

static bool slice_plan(struct gr_planning *planning, struct gr_error *err)
{
    const struct gr_node *node = planning->node;
    const struct slice_attrs *attrs = node->attrs;
    const struct gr_value *whole = node->inputs[0], *part = node->outputs[0];
    struct form form = form_of(planning, whole, planning->src[0]);
    const int64_t total = whole->shape.dim[attrs->axis];
    if (!form_holds(form, whole->shape.rank, attrs->axis, attrs->begin,
                    attrs->begin + part->shape.dim[attrs->axis], total))
        form = (struct form){1, dnnl_format_tag_undef, form.dtype};
    planning->src[0] = layout_in(planning, form, whole, err);
    planning->dst[0] = layout_in(planning, form, part, err);
    if (node->n_inputs > 1)
        planning->src[1] = planning->dst[0];
    if (!planning->src[0] || !planning->dst[0])
        return false;
    struct gr_shape before = whole->shape;
    before.dim[attrs->axis] = attrs->begin;
    struct state *state = state_new(bytes_in(planning->src[0], whole),
                                    row_bytes(form, &whole->shape, attrs->axis), 1);
    if (!state)
        return gr_fail_memory(err, "a slice");
    state->dtype = form.dtype;
    state->begin = row_bytes(form, &before, attrs->axis);
    state->length[0] = row_bytes(form, &part->shape, attrs->axis);
    return finish(planning, state, planning->src[0], slice_run);
}

/* The backward of a ReLU whose output was joined. */
static bool slice_fuse(struct gr_node *node, const struct gr_node *consumer)
{
    struct gr_value *inputs[] = {node->inputs[0], consumer->inputs[1]};
    return node->n_inputs == 1 &&
           gr_activation_is_relu_backward(consumer, node, consumer->inputs[1]) &&
           gr_node_set_inputs(node, inputs, 2);
}

static const struct gr_op slice = {
    .kind = {.name = "slice",
             .doc = "a part of a tensor along one axis",
             .attrs = slice_table,
             .attrs_size = sizeof(struct slice_attrs)},
    .flags = GR_OP_INTERNAL,
    .min_inputs = 1,
    .max_inputs = 2,
    .fuse = slice_fuse,
    .plan = slice_plan,
};

/* ---- the op ------------------------------------------------------------------------------ */

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
