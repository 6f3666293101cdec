/*
 * concat and slice in every layout that their inputs may have: against a copy element by element,
 * and without a reorder where the parts can lie as the whole does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "onednn.h"
#include "ops.h"
#include "support/small_graph.h"

enum { MOST = 4, CASES = 400 };

/* A way to lie. */
struct laid {
    dnnl_format_tag_t tag;
    int64_t lanes;
};

static const struct laid ways[] = {
    {dnnl_nchw, 1}, {dnnl_nhwc, 1}, {dnnl_nChw8c, 8}, {dnnl_nChw16c, 16}};

/* Parts joined along an axis, and what they are joined in. */
struct joined {
    uint64_t seed;
    int axis, n;
    const struct laid *laid;
    enum gr_dtype dtype;
    struct gr_small small;
    struct gr_value *input[MOST], *part[MOST], *whole; /* part: the ReLU of input */
    float *data[MOST], *expected;                      /* plain; what parts and whole hold */
};

static const struct gr_layout *layout_of(const struct joined *j, const struct gr_value *value)
{
    struct gr_error err = {0};
    const struct gr_layout *layout =
        gr_onednn_tagged(j->small.backend, value, j->dtype, j->laid->tag, &err);
    gr_check_ok(layout != NULL, &err);
    return layout;
}

/* Elements of memory from one index of what lies before the axis to the next, in plain memory. */
static int64_t row_of(const struct gr_shape *shape, int axis)
{
    int64_t row = 1;
    for (int i = axis; i < shape->rank; i++)
        row *= shape->dim[i];
    return row;
}

static void fill(struct joined *j)
{
    const int64_t stride = row_of(&j->whole->shape, j->axis);
    const int64_t rows = gr_shape_count(&j->whole->shape) / stride;
    float *to = j->expected = calloc((size_t)(rows * stride), sizeof *to);
    for (int k = 0; k < j->n; k++) {
        const int64_t length = row_of(&j->part[k]->shape, j->axis);
        float *from = j->data[k] = calloc((size_t)(rows * length), sizeof *from);
        assert_true(from && to);
        for (int64_t i = 0; i < rows * length; i++) /* eight bits: exact in bf16 */
            from[i] = (float)gr_check_int(j->seed + (uint64_t)k, (int)i, 1, 255);
        for (int64_t r = 0; r < rows; r++)
            memcpy(to + r * stride, from + r * length, (size_t)length * sizeof *to);
        to += length;
    }
}

static void joined_init(struct joined *j, uint64_t seed)
{
    struct gr_error err = {0};
    const struct laid *laid = &ways[gr_check_int(seed, 0, 0, 3)];
    *j = (struct joined){.seed = seed,
                         .axis = (int)gr_check_int(seed, 1, 1, 3),
                         .n = (int)gr_check_int(seed, 2, 1, MOST),
                         .laid = laid,
                         .dtype = gr_check_int(seed, 3, 0, 1) ? GR_BF16 : GR_F32};
    gr_small_init(&j->small, true, 2, GR_KERNELS_AUTO);
    struct gr_shape shape = {4,
                             {gr_check_int(seed, 4, 1, 3), gr_check_int(seed, 5, 1, 40),
                              gr_check_int(seed, 6, 1, 12), gr_check_int(seed, 7, 1, 40)}};
    for (int k = 0; k < j->n; k++) {
        shape.dim[j->axis] = gr_check_int(seed, 8 + k, 1, 20);
        if (j->axis == 1 && (k < j->n - 1 || seed % 2))
            shape.dim[1] *= laid->lanes;
        const char name[] = {'r', (char)('a' + k), '\0'};
        j->input[k] = gr_small_input(&j->small, name + 1, shape);
        j->part[k] = gr_small_node(&j->small, "relu", name, NULL, j->input[k], NULL)->outputs[0];
    }
    const struct gr_node_spec spec = {
        .name = "whole",
        .op = &gr_op_concat,
        .attrs = gr_check_attrs(&gr_op_concat.kind,
                                (struct gr_check_attr[]){{"axis", 1, {j->axis}}, {0}},
                                &j->small.graph->pool),
        .inputs = j->part,
        .n_inputs = j->n};
    struct gr_node *node = gr_graph_add_node(j->small.graph, &spec, &err);
    gr_check_ok(node != NULL, &err);
    j->whole = node->outputs[0];
    fill(j);
}

static void joined_release(struct joined *j)
{
    for (int k = 0; k < j->n; k++)
        free(j->data[k]);
    free(j->expected);
    gr_small_release(&j->small);
}

/* Converts between plain memory and a layout; what it returns is the caller's. */
static void *converted(const struct joined *j, const struct gr_value *value,
                       const struct gr_layout *from, const void *data, const struct gr_layout *to)
{
    struct gr_error err = {0};
    void *dst = aligned_alloc(64, (gr_layout_bytes(to, value) + 63) / 64 * 64);
    assert_non_null(dst);
    gr_check_ok(gr_standard_ops()->convert(j->small.backend, value, from, data, to, dst, &err),
                &err);
    return dst;
}

/* Plans a node whose inputs lie in `src`, which says afterwards how it reads them, and runs it. */
static void run(const struct joined *j, const struct gr_node *node, const struct gr_layout **src,
                float *const *data, const struct gr_layout **written, void **result)
{
    struct gr_error err = {0};
    const struct gr_layout *home[MOST] = {0}, *dst = &gr_layout_plain;
    struct gr_kernel kernel = {0};
    struct gr_planning planning = {.node = node,
                                   .backend = j->small.backend,
                                   .precision =
                                       j->dtype == GR_BF16 ? GR_PRECISION_BF16 : GR_PRECISION_F32,
                                   .src = src,
                                   .home = home,
                                   .dst = &dst,
                                   .kernel = &kernel};
    void *in[MOST];
    gr_check_ok(node->op->plan(&planning, &err), &err);
    for (int i = 0; i < node->n_inputs; i++)
        in[i] = converted(j, node->inputs[i], &gr_layout_plain, data[i], src[i]);
    const struct gr_value *out = node->outputs[0];
    const size_t bytes = gr_layout_bytes(dst, out);
    *result = aligned_alloc(64, (bytes + 63) / 64 * 64);
    assert_non_null(*result);
    memset(*result, 0xff, bytes);
    gr_check_ok(kernel.run(&kernel, node, &(struct gr_buffers){.src = in, .dst = result},
                           &(struct gr_run){0}, &err),
                &err);
    *written = dst;
    for (int i = 0; i < node->n_inputs; i++)
        free(in[i]);
    gr_kernel_release(&kernel);
}

/* Every byte, padding included. */
static void expect(const struct joined *j, const struct gr_value *value,
                   const struct gr_layout *layout, void *result, const float *plain)
{
    void *want = converted(j, value, &gr_layout_plain, plain, layout);
    if (memcmp(result, want, gr_layout_bytes(layout, value)) != 0)
        fail_msg("case %llu: '%s' of %d parts along axis %d is wrong in %s",
                 (unsigned long long)j->seed, value->name, j->n, j->axis, layout->name);
    free(want);
    free(result);
}

static bool can_lie_so(const struct joined *j)
{
    int64_t end = 0;
    for (int k = 0; j->axis == 1 && k < j->n - 1; k++)
        if ((end += j->part[k]->shape.dim[1]) % j->laid->lanes)
            return false;
    return true;
}

static void join(const struct joined *j)
{
    const struct gr_layout *src[MOST], *written;
    void *result;
    for (int k = 0; k < j->n; k++)
        src[k] = layout_of(j, j->part[k]);
    run(j, j->whole->producer, src, j->data, &written, &result);
    for (int k = 0; k < j->n && can_lie_so(j); k++)
        assert_ptr_equal(src[k], layout_of(j, j->part[k]));
    if (can_lie_so(j))
        assert_ptr_equal(written, layout_of(j, j->whole));
    expect(j, j->whole, written, result, j->expected);
}

/* What a ReLU may leave in a part of so many elements: the caller's. */
static float *drawn_gate(const struct joined *j, int64_t count)
{
    static const float kinds[] = {0, -0.0f, 1, 3.5f, 1e-30f, INFINITY, NAN, -1};
    float *gate = calloc((size_t)count, sizeof *gate);
    assert_non_null(gate);
    for (int64_t i = 0; i < count; i++)
        gate[i] = kinds[gr_check_int(j->seed + 7, (int)i, 0, 7)];
    return gate;
}

/* The gradient of part k, and with `gated` of the ReLU's input, when `expected` is the whole's. */
static void cut(const struct joined *j, int k, bool gated)
{
    struct gr_node *slice = j->small.gradients[j->part[k]->id]->producer;
    const int64_t count = gr_shape_count(&j->part[k]->shape);
    const struct gr_layout *src[] = {layout_of(j, j->whole), layout_of(j, j->part[k])}, *written;
    float *data[] = {j->expected, drawn_gate(j, count)};
    void *result;
    assert_string_equal(slice->op->kind.name, "slice");
    if (gated) {
        assert_true(slice->op->fuse(slice, j->small.gradients[j->input[k]->id]->producer));
        for (int64_t i = 0; i < count; i++)
            j->data[k][i] = data[1][i] > 0 ? j->data[k][i] : 0;
    }
    run(j, slice, src, data, &written, &result);
    if (can_lie_so(j)) {
        assert_ptr_equal(src[0], layout_of(j, j->whole));
        assert_ptr_equal(written, layout_of(j, j->part[k]));
    }
    expect(j, slice->outputs[0], written, result, j->data[k]);
    free(data[1]);
}

static void cut_all(struct joined *j)
{
    struct gr_error err = {0};
    const struct gr_loss loss = {gr_small_loss(&j->small, j->whole), 1};
    gr_check_ok(
        gr_autodiff(j->small.graph, &loss, 1, j->input, (size_t)j->n, &j->small.gradients, &err),
        &err);
    for (int k = 0; k < j->n; k++) {
        cut(j, k, false);
        cut(j, k, true);
    }
}

static void parts_are_joined_and_cut_as_they_lie(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= CASES; seed++) {
        struct joined j;
        joined_init(&j, seed);
        if (j.dtype == GR_F32 || gr_check_has_bf16()) {
            join(&j);
            cut_all(&j);
        }
        joined_release(&j);
    }
}

/* Two of three parts lie in blocks: the third is brought there, if it is the smaller share. */
static void the_least_is_moved(void **state)
{
    (void)state;
    struct joined j;
    for (uint64_t seed = 1;; seed++, joined_release(&j)) {
        joined_init(&j, seed);
        if (j.n == 2 && j.axis == 1 && j.laid->lanes > 1 && j.dtype == GR_F32 &&
            j.part[0]->shape.dim[1] != j.part[1]->shape.dim[1])
            break;
    }
    for (int large = 0; large < 2; large++) {
        const bool first_larger = j.part[0]->shape.dim[1] > j.part[1]->shape.dim[1];
        const bool first = first_larger == (large == 1);
        const struct gr_layout *src[MOST] = {&gr_layout_plain, &gr_layout_plain}, *written;
        void *result;
        src[first ? 0 : 1] = layout_of(&j, j.part[first ? 0 : 1]);
        run(&j, j.whole->producer, src, j.data, &written, &result);
        assert_ptr_equal(written, large ? layout_of(&j, j.whole) : &gr_layout_plain);
        expect(&j, j.whole, written, result, j.expected);
    }
    joined_release(&j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_are_joined_and_cut_as_they_lie),
        cmocka_unit_test(the_least_is_moved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
