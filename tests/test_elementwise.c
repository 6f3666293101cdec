/*
 * Elementwise kernels on operands in any order and of either type, against loops over single
 * elements: f32 arithmetic, a result in bf16 rounded to the nearest, of two the even one. And the
 * ReLU that add takes in, and sum its backward: what they give is what the nodes as written give.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "onednn.h"
#include "ops.h"
#include "rows.h"
#include "support/small_graph.h"

/* ---- kernels alone ----------------------------------------------------------------------- */

/* An order of elements: [N, C / lanes, H, W, lanes], or channels last. */
static const struct order {
    dnnl_format_tag_t tag;
    int64_t lanes; /* 0: channels last */
} orders[] = {{dnnl_nchw, 1}, {dnnl_nChw8c, 8}, {dnnl_nChw16c, 16}, {dnnl_nhwc, 0}};

/* Where element i in row-major order lies. */
static int64_t place(const struct order *order, const struct gr_shape *shape, int64_t i)
{
    const int64_t C = shape->dim[1], HW = shape->dim[2] * shape->dim[3];
    const int64_t n = i / (C * HW), c = i / HW % C, hw = i % HW;
    if (!order->lanes)
        return (n * HW + hw) * C + c;
    const int64_t blocks = (C + order->lanes - 1) / order->lanes;
    return ((n * blocks + c / order->lanes) * HW + hw) * order->lanes + c % order->lanes;
}

static const struct gr_layout *layout_of(struct gr_backend *backend, const struct gr_value *value,
                                         const struct order *order, bool bf16)
{
    struct gr_error err = {0};
    const struct gr_layout *layout =
        gr_onednn_tagged(backend, value, bf16 ? GR_BF16 : GR_F32, order->tag, &err);
    gr_check_ok(layout != NULL, &err);
    return layout;
}

/* Eight bits of mantissa, by the definition; below the least normal number fewer. */
static float rounded(float x)
{
    int exponent;
    if (!isfinite(x) || fabsf(x) <= 0)
        return x;
    frexp((double)x, &exponent);
    const int unit = exponent - 8 < -133 ? -133 : exponent - 8;
    return (float)ldexp(nearbyint(ldexp((double)x, -unit)), unit);
}

/* Numbers at all scales; ties, infinities, what is not a number, both zeros, denormals. */
static float number(int64_t i, int k)
{
    static const uint32_t bits[] = {0x3f808000, 0x3f818000, 0x3f807fff, 0xbf808001, 0x7f800000,
                                    0xff800000, 0x7fc00001, 0x7f800001, 0xffc00000, 0x80000000,
                                    0,          0x00000001, 0x80018000, 0x7f7fffff, 0x00800000};
    const uint32_t mixed = (uint32_t)(i * 8 + k) * 2654435761u;
    float x;
    if (mixed % 5 == 0) {
        memcpy(&x, &bits[mixed / 5 % (sizeof bits / sizeof *bits)], sizeof x);
        return x;
    }
    return ldexpf((float)(int32_t)mixed / 2147483648.0f, (int)(mixed >> 8 & 7) - 4);
}

/* One kernel: an op and the types of its operands. */
struct trial {
    const char *op;
    int n_src;
    bool bf16[3];
    int over; /* the operand whose memory the result takes; -1: none */
};

static float defined(const struct trial *trial, const float *x)
{
    if (strcmp(trial->op, "relu") == 0)
        return x[0] > 0 ? x[0] : 0;
    if (strcmp(trial->op, "mul") == 0)
        return x[0] * x[1];
    float sum = x[0] + x[1];
    for (int k = 2; k < trial->n_src; k++)
        sum += x[k];
    return sum;
}

static float read(const void *data, int64_t at, bool bf16)
{
    return bf16 ? gr_from_bf16(((const uint16_t *)data)[at]) : ((const float *)data)[at];
}

static bool same(float a, float b)
{
    return isnan(a) || isnan(b) ? isnan(a) && isnan(b) : memcmp(&a, &b, sizeof a) == 0;
}

/* Fills operands; returns them in memory of their own. */
static void *operand(const struct order *order, const struct gr_value *value, int64_t count,
                     bool bf16, int k)
{
    void *data = calloc((size_t)count, gr_element_size(bf16));
    assert_non_null(data);
    for (int64_t i = 0; i < gr_shape_count(&value->shape); i++) {
        const int64_t at = place(order, &value->shape, i);
        if (bf16)
            ((uint16_t *)data)[at] = gr_to_bf16(number(i, k));
        else
            ((float *)data)[at] = number(i, k);
    }
    return data;
}

static void expect_defined(const struct trial *trial, const struct order *order,
                           const struct gr_value *value, int64_t count, const void *dst, bool bf16)
{
    float *want = calloc((size_t)count, sizeof *want); /* padding: +0 */
    assert_non_null(want);
    for (int64_t i = 0; i < gr_shape_count(&value->shape); i++) {
        float x[3] = {0};
        for (int k = 0; k < trial->n_src; k++)
            x[k] = trial->bf16[k] ? rounded(number(i, k)) : number(i, k);
        const float y = defined(trial, x);
        want[place(order, &value->shape, i)] = bf16 ? rounded(y) : y;
    }
    for (int64_t i = 0; i < count; i++)
        if (!same(read(dst, i, bf16), want[i]))
            fail_msg("%s of %d%d%d over %d, order %d: element %lld is %a, not %a", trial->op,
                     trial->bf16[0], trial->bf16[1], trial->bf16[2], trial->over, (int)order->lanes,
                     (long long)i, (double)read(dst, i, bf16), (double)want[i]);
    free(want);
}

static void run_trial(const struct trial *trial, const struct order *order, struct gr_shape shape)
{
    struct gr_small small;
    struct gr_value *inputs[3];
    const struct gr_layout *src[3], *was[3], *home[3] = {0}, *dst = &gr_layout_plain;
    struct gr_kernel kernel = {0};
    struct gr_error err = {0};
    void *data[3], *result;
    bool narrow = false;
    gr_small_init(&small, false, 2, GR_KERNELS_AUTO);
    for (int k = 0; k < trial->n_src; k++) {
        inputs[k] = gr_small_input(&small, (const char *[]){"a", "b", "c"}[k], shape);
        src[k] = was[k] = layout_of(small.backend, inputs[k], order, trial->bf16[k]);
        narrow = narrow || trial->bf16[k];
    }
    const struct gr_node_spec spec = {.name = "node",
                                      .op = gr_registry_find(gr_standard_ops(), trial->op),
                                      .inputs = inputs,
                                      .n_inputs = trial->n_src};
    struct gr_node *node = gr_graph_add_node(small.graph, &spec, &err);
    gr_check_ok(node != NULL, &err);
    struct gr_planning planning = {.node = node,
                                   .backend = small.backend,
                                   .precision = GR_PRECISION_BF16,
                                   .src = src,
                                   .home = home,
                                   .dst = &dst,
                                   .kernel = &kernel};
    gr_check_ok(node->op->plan(&planning, &err), &err);
    assert_ptr_equal(dst, layout_of(small.backend, node->outputs[0], order, narrow));
    const int64_t count =
        (int64_t)(gr_layout_bytes(dst, node->outputs[0]) / gr_element_size(narrow));
    for (int k = 0; k < trial->n_src; k++) {
        assert_ptr_equal(src[k], was[k]); /* nothing is to be reordered */
        data[k] = operand(order, inputs[k], count, trial->bf16[k], k);
    }
    void *own = calloc((size_t)count, gr_element_size(narrow));
    assert_non_null(own);
    result = trial->over < 0 ? own : data[trial->over];
    assert_true(trial->over < 0 || kernel.in_place >> trial->over & 1);
    const struct gr_buffers buffers = {.src = data, .dst = &result};
    const struct gr_run run = {0};
    gr_check_ok(kernel.run(&kernel, node, &buffers, &run, &err), &err);
    expect_defined(trial, order, inputs[0], count, result, narrow);
    for (int k = 0; k < trial->n_src; k++)
        free(data[k]);
    free(own);
    gr_kernel_release(&kernel);
    gr_small_release(&small);
}

static void operands_of_any_order_and_type_are_computed_in_f32_and_rounded_once(void **state)
{
    (void)state;
    static const struct trial ops[] = {{.op = "add", .n_src = 2},
                                       {.op = "add", .n_src = 3},
                                       {.op = "mul", .n_src = 2},
                                       {.op = "relu", .n_src = 1}};
    static const struct gr_shape shapes[] = {
        {4, {2, 17, 5, 7}}, {4, {3, 32, 9, 5}}, {4, {1, 3, 1, 2}}};
    for (size_t o = 0; o < sizeof ops / sizeof *ops; o++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
            for (size_t r = 0; r < sizeof orders / sizeof *orders; r++)
                for (int types = 0; types < 1 << ops[o].n_src; types++) {
                    struct trial trial = ops[o];
                    for (int k = 0; k < trial.n_src; k++)
                        trial.bf16[k] = types >> k & 1;
                    for (trial.over = -1; trial.over < trial.n_src; trial.over++)
                        if (trial.over < 0 || trial.bf16[trial.over] == (types > 0))
                            run_trial(&trial, &orders[r], shapes[s]);
                }
}

/* Plans add of two operands that lie in these layouts; they become those it reads. */
static void plan_add(struct gr_small *small, const struct gr_node *node,
                     const struct gr_layout *src[2], const struct gr_layout **dst)
{
    const struct gr_layout *home[2] = {0};
    struct gr_kernel kernel = {0};
    struct gr_error err = {0};
    struct gr_planning planning = {.node = node,
                                   .backend = small->backend,
                                   .precision = GR_PRECISION_BF16,
                                   .src = src,
                                   .home = home,
                                   .dst = dst,
                                   .kernel = &kernel};
    gr_check_ok(node->op->plan(&planning, &err), &err);
    gr_kernel_release(&kernel);
}

static void an_operand_of_another_order_is_brought_into_that_which_is_not_plain(void **state)
{
    (void)state;
    struct gr_small small;
    gr_small_init(&small, false, 1, GR_KERNELS_AUTO);
    const struct gr_shape shape = {4, {2, 20, 3, 5}};
    struct gr_value *a = gr_small_input(&small, "a", shape),
                    *b = gr_small_input(&small, "b", shape);
    const struct gr_node *node = gr_small_node(&small, "add", "node", NULL, a, b);
    const struct gr_layout *blocked = layout_of(small.backend, b, &orders[2], true);
    const struct gr_layout *wide = layout_of(small.backend, b, &orders[3], false);
    const struct gr_layout *src[] = {&gr_layout_plain, blocked}, *dst;
    plan_add(&small, node, src, &dst);
    assert_ptr_equal(src[0], blocked); /* in bf16, as the result is */
    assert_ptr_equal(src[1], blocked);
    assert_ptr_equal(dst, blocked);
    src[0] = wide, src[1] = &gr_layout_plain;
    plan_add(&small, node, src, &dst);
    assert_ptr_equal(src[1], wide);
    assert_ptr_equal(dst, wide);
    gr_small_release(&small);
}

/* ---- a ReLU taken in --------------------------------------------------------------------- */

enum { CHANNELS = 20, COUNT = 2 * CHANNELS * 6 * 6 };

/* Two residual blocks: x -> relu r0 -> conv, norm -> + r0 -> relu r1 -> conv, norm -> + r1. */
struct blocks {
    struct gr_small small;
    struct gr_value *x, *r1, *dst, *loss;
};

static struct gr_value *block(struct gr_small *small, const char *const names[3],
                              struct gr_value *src)
{
    const struct gr_check_attr attrs[] = {
        {"out_channels", 1, {CHANNELS}}, {"kernel", 1, {3}}, {"pad", 1, {1}}, {0}};
    struct gr_node *conv = gr_small_node(small, "conv", names[0], attrs, src, NULL);
    struct gr_node *norm = gr_small_node(small, "lrn", names[1], NULL, conv->outputs[0], NULL);
    return gr_small_node(small, "add", names[2], NULL, norm->outputs[0], src)->outputs[0];
}

static void build(struct blocks *b, bool no_fusion, enum gr_precision precision)
{
    gr_small_init(&b->small, true, 2, GR_KERNELS_AUTO);
    b->small.no_fusion = no_fusion;
    b->small.precision = precision;
    b->x = gr_small_input(&b->small, "x", (struct gr_shape){4, {2, CHANNELS, 6, 6}});
    struct gr_value *r0 = gr_small_node(&b->small, "relu", "r0", NULL, b->x, NULL)->outputs[0];
    struct gr_value *sum = block(&b->small, (const char *[]){"c0", "n0", "s0"}, r0);
    b->r1 = gr_small_node(&b->small, "relu", "r1", NULL, sum, NULL)->outputs[0];
    b->dst = block(&b->small, (const char *[]){"c1", "n1", "s1"}, b->r1);
    b->loss = gr_small_loss(&b->small, b->dst);
    gr_small_differentiate(&b->small, b->loss, b->x);
}

static size_t count_steps(const struct gr_small *small, const char *op)
{
    size_t count = 0;
    for (size_t s = 0; s < gr_program_step_count(small->program); s++)
        count += strcmp(gr_program_step(small->program, s)->node->op->kind.name, op) == 0;
    return count;
}

/* Compiles for the output, the gradient of x and, if asked, of r1; runs once. */
static void compute(struct blocks *b, bool watch)
{
    static float x[COUNT], fixed[COUNT];
    struct gr_value *targets[] = {b->dst, b->small.gradients[b->x->id],
                                  b->small.gradients[b->r1->id]};
    gr_small_compile(&b->small, targets, watch ? 3 : 2, false);
    gr_small_draw(x, COUNT, 1);
    gr_small_draw(fixed, COUNT, 2);
    gr_small_feed(&b->small, b->x, x);
    gr_small_feed(&b->small, gr_graph_value(b->small.graph, "fixed"), fixed);
    gr_small_run(&b->small, 1, 0);
}

/* To the bit but for the sign of zeros: oneDNN's ReLU makes -0 of negative gradients. */
static void expect_same(const struct blocks *a, const struct gr_value *of_a, const struct blocks *b,
                        const struct gr_value *of_b)
{
    const float *x = gr_small_fetch(&a->small, of_a), *y = gr_small_fetch(&b->small, of_b);
    for (int i = 0; i < COUNT; i++)
        assert_float_equal(x[i], y[i], 0);
}

static void expect_same_values(const struct blocks *a, const struct blocks *b)
{
    expect_same(a, a->dst, b, b->dst);
    expect_same(a, a->small.gradients[a->x->id], b, b->small.gradients[b->x->id]);
}

static void a_relu_behind_a_sum_is_computed_with_it_forward_and_backward(void **state)
{
    (void)state;
    struct blocks fused, written;
    build(&fused, false, GR_PRECISION_F32);
    build(&written, true, GR_PRECISION_F32);
    compute(&fused, false);
    compute(&written, false);
    assert_int_equal(count_steps(&written.small, "sum"), 2);
    assert_int_equal(count_steps(&written.small, "activation_backward"), 2);
    assert_int_equal(count_steps(&fused.small, "sum_relu_backward"), 2);
    assert_int_equal(count_steps(&fused.small, "activation_backward"), 0);
    assert_int_equal(count_steps(&fused.small, "add_relu"), 1);
    expect_same_values(&fused, &written);
    gr_small_release(&fused.small);
    gr_small_release(&written.small);
}

static void a_sum_that_is_asked_for_stays_a_sum(void **state)
{
    (void)state;
    struct blocks fused, written;
    build(&fused, false, GR_PRECISION_F32);
    build(&written, true, GR_PRECISION_F32);
    compute(&fused, true);
    compute(&written, true);
    assert_int_equal(count_steps(&fused.small, "sum"), 1);
    assert_int_equal(count_steps(&fused.small, "sum_relu_backward"), 1);
    expect_same_values(&fused, &written);
    expect_same(&fused, fused.small.gradients[fused.r1->id], &written,
                written.small.gradients[written.r1->id]);
    gr_small_release(&fused.small);
    gr_small_release(&written.small);
}

/* |a - b| / |b|, as vectors. */
static double distance(const float *a, const float *b)
{
    double difference = 0, length = 0;
    for (int64_t i = 0; i < COUNT; i++) {
        difference += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        length += (double)b[i] * (double)b[i];
    }
    return sqrt(difference / length);
}

/* A value is rounded to eight bits a handful of times: 0.2 % each. */
static void residual_blocks_in_bf16_are_those_of_f32_to_eight_bits(void **state)
{
    (void)state;
    if (!gr_check_has_bf16())
        skip();
    struct blocks narrow, exact;
    build(&narrow, false, GR_PRECISION_BF16);
    build(&exact, false, GR_PRECISION_F32);
    compute(&narrow, false);
    compute(&exact, false);
    assert_true(distance(gr_small_fetch(&narrow.small, narrow.dst),
                         gr_small_fetch(&exact.small, exact.dst)) < 0.01);
    assert_true(distance(gr_small_fetch(&narrow.small, narrow.small.gradients[narrow.x->id]),
                         gr_small_fetch(&exact.small, exact.small.gradients[exact.x->id])) < 0.04);
    gr_small_release(&narrow.small);
    gr_small_release(&exact.small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operands_of_any_order_and_type_are_computed_in_f32_and_rounded_once),
        cmocka_unit_test(an_operand_of_another_order_is_brought_into_that_which_is_not_plain),
        cmocka_unit_test(a_relu_behind_a_sum_is_computed_with_it_forward_and_backward),
        cmocka_unit_test(a_sum_that_is_asked_for_stays_a_sum),
        cmocka_unit_test(residual_blocks_in_bf16_are_those_of_f32_to_eight_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
