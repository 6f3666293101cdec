/*
 * The Winograd kernels (ops/conv_tiles.c), each asked for by name, against the definitions of a
 * convolution and of its gradients.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "graph/arena.h"
#include "onednn.h"
#include "rows.h"
#include "support/naive.h"
#include "support/small_graph.h"

/*
 * Relative to the largest element, and root mean square relative to that of the elements. The
 * transforms multiply by powers of the points and divide again, which magnifies rounding. Of f32's
 * 6e-8 they make, measured over these shapes, 3e-6 in results and 8e-6 in gradients of 5x5 weights
 * with tiles of 6, and 2e-5 with tiles of 8; of bf16's 4e-3 they make 3e-2, and 1.4e-2 in the mean.
 */
static const struct way {
    const char *name;
    double tolerance, mean;
    bool rounded; /* in bf16 only */
} ways[] = {{"winograd 6x6", 2e-5, 4e-6, false},
            {"winograd 8x8", 5e-5, 1e-5, false},
            {"winograd 6x6 bf16", 4e-2, 1.6e-2, true}};

enum { WAYS = 3, MOST = 6 };

/* What is tried of a convolution. */
struct form {
    struct gr_naive_window window;
    enum gr_precision precision; /* with bf16, activations are such numbers */
    bool bias, add, relu;        /* behind it */
    bool inference;              /* the forward pass alone, whose filters are kept */
    int threads;                 /* that kernels are planned for, and for one */
};

/* A convolution, its relatives in the graph, and all tensors by the definition. */
struct rig {
    struct gr_small small;
    struct form form;
    struct gr_node *conv, *data, *weights;
    double *src, *weight, *offset, *addend, *dst, *dy, *dx, *dw, *db;
};

static int64_t count_of(const struct gr_value *value)
{
    return gr_shape_count(&value->shape);
}

static double *zeros(int64_t count)
{
    double *data = calloc((size_t)count, sizeof *data);
    assert_non_null(data);
    return data;
}

static double *draw(int64_t count, uint64_t seed)
{
    double *data = zeros(count);
    float *floats = calloc((size_t)count, sizeof *floats);
    assert_non_null(floats);
    gr_small_draw(floats, count, seed);
    for (int64_t i = 0; i < count; i++)
        data[i] = (double)floats[i];
    free(floats);
    return data;
}

/* An activation, of numbers that there are in the precision. */
static double *draw_activation(const struct rig *rig, const struct gr_value *value, uint64_t seed)
{
    double *data = draw(count_of(value), seed);
    for (int64_t i = 0; rig->form.precision == GR_PRECISION_BF16 && i < count_of(value); i++)
        data[i] = (double)gr_from_bf16(gr_to_bf16((float)data[i]));
    return data;
}

/* dx and dw: the convolution is linear in each, and the gradients are its transposes. */
static void define_gradients(struct rig *rig)
{
    const struct gr_naive_window *w = &rig->form.window;
    const int64_t OH = gr_naive_size(w, 0), OW = gr_naive_size(w, 1);
    const int64_t C = w->C / w->groups, O = w->O / w->groups, K = w->kernel[0];
    for (int64_t n = 0; n < w->N; n++)
        for (int64_t o = 0; o < w->O; o++)
            for (int64_t y = 0; y < OH; y++)
                for (int64_t x = 0; x < OW; x++) {
                    const double dy = rig->dy[((n * w->O + o) * OH + y) * OW + x];
                    rig->db[o] += dy;
                    for (int64_t c = 0; c < C; c++)
                        for (int64_t k = 0; k < K * K; k++) {
                            const int64_t h = y + k / K - w->pad[0], v = x + k % K - w->pad[1];
                            if (h < 0 || v < 0 || h >= w->H || v >= w->W)
                                continue;
                            const int64_t s = ((n * w->C + o / O * C + c) * w->H + h) * w->W + v;
                            const int64_t f = (o * C + c) * K * K + k;
                            rig->dx[s] += dy * rig->weight[f];
                            rig->dw[f] += dy * rig->src[s];
                        }
                }
}

static struct gr_node *backward_of(const struct rig *rig, const char *op)
{
    for (size_t n = 0; n < rig->small.graph->n_nodes; n++) {
        struct gr_node *node = rig->small.graph->nodes[n];
        if (node->forward == rig->conv && strcmp(node->op->kind.name, op) == 0)
            return node;
    }
    fail_msg("there is no %s", op);
    return NULL;
}

static void rig_init(struct rig *rig, const struct form *form)
{
    *rig = (struct rig){.form = *form};
    gr_small_init(&rig->small, !form->inference, 1, GR_KERNELS_AUTO);
    const struct gr_naive_window *w = &form->window;
    const struct gr_check_attr attrs[] = {
        {"out_channels", 1, {(double)w->O}},
        {"kernel", 1, {(double)w->kernel[0]}},
        {"groups", 1, {(double)w->groups}},
        {"bias", 1, {form->bias}},
        {"pad", 4, {(double)w->pad[0], (double)w->pad[1], (double)w->pad[2], (double)w->pad[3]}},
        {0}};
    const struct gr_shape shape = {4, {w->N, w->C, w->H, w->W}};
    struct gr_value *x = gr_small_input(&rig->small, "x", shape);
    rig->conv = gr_small_node(&rig->small, "conv", "conv", attrs, x, NULL);
    struct gr_value *y = rig->conv->outputs[0];
    if (!form->inference) {
        gr_small_differentiate(&rig->small, gr_small_loss(&rig->small, y), x);
        rig->data = backward_of(rig, "conv_backward_data");
        rig->weights = backward_of(rig, "conv_backward_weights");
    }
    if (form->add) {
        struct gr_value *z = gr_small_input(&rig->small, "z", y->shape);
        assert_true(
            rig->conv->op->fuse(rig->conv, gr_small_node(&rig->small, "add", "add", NULL, y, z)));
        rig->addend = draw_activation(rig, z, 5);
    }
    if (form->relu)
        assert_true(rig->conv->op->fuse(rig->conv,
                                        gr_small_node(&rig->small, "relu", "relu", NULL, y, NULL)));
    rig->src = draw_activation(rig, x, 1);
    rig->weight = draw(count_of(rig->conv->inputs[1]), 2);
    rig->offset = form->bias ? draw(w->O, 3) : NULL;
    rig->dy = draw_activation(rig, y, 4);
    rig->dst = zeros(count_of(y));
    rig->dx = zeros(count_of(x));
    rig->dw = zeros(count_of(rig->conv->inputs[1]));
    rig->db = zeros(w->O);
    gr_naive_conv(w, rig->src, rig->weight, rig->offset, rig->dst);
    for (int64_t i = 0; i < count_of(y); i++) {
        rig->dst[i] += form->add ? rig->addend[i] : 0;
        rig->dst[i] = form->relu ? fmax(0, rig->dst[i]) : rig->dst[i];
    }
    if (!form->inference)
        define_gradients(rig);
}

static void rig_release(struct rig *rig)
{
    double *all[] = {rig->src, rig->weight, rig->offset, rig->addend, rig->dst,
                     rig->dy,  rig->dx,     rig->dw,     rig->db};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
    gr_small_release(&rig->small);
}

/* Brings plain numbers into a layout as a program does. The result is an arena. */
static void *laid(const struct rig *rig, struct gr_value *value, const struct gr_layout *layout,
                  const double *numbers)
{
    struct gr_error err = {0};
    float *plain = calloc((size_t)count_of(value), sizeof *plain);
    void *data = gr_arena_new(gr_layout_bytes(layout, value));
    assert_non_null(plain);
    assert_non_null(data);
    for (int64_t k = 0; k < count_of(value); k++)
        plain[k] = (float)numbers[k];
    if (layout && layout != &gr_layout_plain) {
        const struct gr_node node = {.name = "reorder",
                                     .op = gr_standard_ops()->reorder,
                                     .n_inputs = 1,
                                     .n_outputs = 1,
                                     .inputs = &value,
                                     .outputs = &value};
        const struct gr_layout *from = &gr_layout_plain;
        struct gr_kernel kernel = {0};
        struct gr_planning planning = {.node = &node,
                                       .backend = rig->small.backend,
                                       .src = &from,
                                       .dst = &layout,
                                       .kernel = &kernel};
        void *src = plain;
        gr_check_ok(node.op->plan(&planning, &err), &err);
        void *scratch = gr_arena_new(kernel.scratch_bytes + 64);
        assert_non_null(scratch);
        const struct gr_buffers buffers = {&src, &data, scratch};
        gr_check_ok(!kernel.bind || kernel.bind(&kernel, &buffers, &err), &err);
        gr_check_ok(kernel.run(&kernel, &node, &buffers, &(struct gr_run){0}, &err), &err);
        gr_kernel_release(&kernel);
        gr_arena_free(scratch);
    } else {
        memcpy(data, plain, (size_t)count_of(value) * sizeof *plain);
    }
    free(plain);
    return data;
}

/* A node's kernel of that name for so many threads, on plain tensors; false: not offered. */
static bool run(const struct rig *rig, const struct gr_node *node, const char *choice, int threads,
                const double *const *in, float *const *out)
{
    const struct gr_registry *ops = gr_standard_ops();
    const struct gr_layout *src[MOST] = {NULL}, *home[MOST] = {NULL}, *dst[MOST];
    const char *names[GR_MAX_CANDIDATES];
    struct gr_error err = {0};
    struct gr_kernel kernel = {0};
    void *inputs[MOST] = {NULL}, *outputs[MOST] = {NULL};
    struct gr_planning planning = {.node = node,
                                   .backend = rig->small.backend,
                                   .precision = rig->form.precision,
                                   .choice = choice,
                                   .src = src,
                                   .home = home,
                                   .dst = dst,
                                   .kernel = &kernel};
    const int offered = node->op->candidates(&planning, names);
    bool found = false;
    for (int i = 0; i < offered; i++)
        found = found || strcmp(names[i], choice) == 0;
    if (!found)
        return false;
    for (int o = 0; o < node->n_outputs; o++)
        dst[o] = &gr_layout_plain;
    rig->small.backend->threads = threads;
    gr_check_ok(node->op->plan(&planning, &err), &err);
    assert_non_null(kernel.run);
    assert_non_null(strstr(kernel.impl, choice));
    for (int i = 0; i < node->n_inputs; i++)
        inputs[i] = laid(rig, node->inputs[i], src[i], in[i]);
    if (rig->form.inference)
        assert_non_null(strstr(src[1]->name, "winograd"));
    for (int o = 0; o < node->n_outputs; o++)
        assert_non_null(outputs[o] = gr_arena_new(gr_layout_bytes(dst[o], node->outputs[o])));
    void *scratch = gr_arena_new(kernel.scratch_bytes);
    assert_non_null(scratch);
    memset(scratch, 0xff, kernel.scratch_bytes); /* not numbers */
    const struct gr_buffers buffers = {inputs, outputs, scratch};
    const struct gr_run once = {0};
    gr_check_ok(kernel.run(&kernel, node, &buffers, &once, &err), &err);
    for (int o = 0; o < node->n_outputs; o++) {
        gr_check_ok(ops->convert(rig->small.backend, node->outputs[o], dst[o], outputs[o],
                                 &gr_layout_plain, out[o], &err),
                    &err);
        gr_arena_free(outputs[o]);
    }
    for (int i = 0; i < node->n_inputs; i++)
        gr_arena_free(inputs[i]);
    gr_arena_free(scratch);
    gr_kernel_release(&kernel);
    return true;
}

/* rounding: what storing the results may change, relative to each. */
static void compare(const struct rig *rig, const struct way *way, const char *what, double rounding,
                    const float *got, const double *expected, int64_t count)
{
    const struct gr_naive_window *w = &rig->form.window;
    double scale = 0.1, power = 0, error = 0;
    for (int64_t i = 0; i < count; i++) {
        scale = fmax(scale, fabs(expected[i]));
        power += expected[i] * expected[i];
        error += ((double)got[i] - expected[i]) * ((double)got[i] - expected[i]);
    }
    if (!(sqrt(error) <= (way->mean + rounding) * sqrt(power)))
        fail_msg("%s, %s: the root mean square of the error is %.3g of the elements'", way->name,
                 what, sqrt(error / power));
    for (int64_t i = 0; i < count; i++) {
        const double deviation = fabs((double)got[i] - expected[i]);
        if (!(deviation <= way->tolerance * scale + rounding * fabs(expected[i])))
            fail_msg("%s, %s, %lldx%lldx%lldx%lld to %lld in %lld, kernel %lld, pad %lld %lld %lld "
                     "%lld: element %lld of %lld is %.9g, by definition %.9g (largest %.3g)",
                     way->name, what, (long long)w->N, (long long)w->C, (long long)w->H,
                     (long long)w->W, (long long)w->O, (long long)w->groups,
                     (long long)w->kernel[0], (long long)w->pad[0], (long long)w->pad[1],
                     (long long)w->pad[2], (long long)w->pad[3], (long long)i, (long long)count,
                     (double)got[i], expected[i], scale);
    }
}

/* All passes by one way; threads change no bit. */
static bool check(const struct rig *rig, const struct way *way)
{
    const double *after = rig->form.bias ? rig->offset : rig->addend;
    const struct {
        const char *what;
        const struct gr_node *node;
        const double *in[4], *out[2];
    } passes[] = {
        {"dst", rig->conv, {rig->src, rig->weight, after, rig->addend}, {rig->dst}},
        {"dx", rig->data, {rig->dy, rig->weight}, {rig->dx}},
        {"dw", rig->weights, {rig->dy, rig->src}, {rig->dw, rig->db}},
    };
    for (size_t p = 0; p < (rig->form.inference ? 1 : sizeof passes / sizeof *passes); p++) {
        const struct gr_node *node = passes[p].node;
        float *got[2][2] = {{NULL}};
        for (int k = 0; k < 2; k++)
            for (int o = 0; o < node->n_outputs; o++)
                assert_non_null(got[k][o] =
                                    calloc((size_t)count_of(node->outputs[o]), sizeof(float)));
        const bool offered = run(rig, node, way->name, rig->form.threads, passes[p].in, got[0]) &&
                             run(rig, node, way->name, 1, passes[p].in, got[1]);
        for (int o = 0; o < node->n_outputs; o++) {
            const int64_t count = count_of(node->outputs[o]);
            if (offered) {
                compare(rig, way, o ? "db" : passes[p].what,
                        node != rig->weights && rig->form.precision == GR_PRECISION_BF16 ? 0x1p-8
                                                                                         : 0,
                        got[0][o], passes[p].out[o], count);
                assert_memory_equal(got[0][o], got[1][o], (size_t)count * sizeof(float));
            }
            free(got[0][o]);
            free(got[1][o]);
        }
        if (!offered)
            return false;
    }
    return true;
}

static struct gr_naive_window random_window(uint64_t seed)
{
    const int64_t K = gr_check_int(seed, 0, 0, 1) ? 5 : 3, groups = gr_check_int(seed, 1, 1, 3);
    struct gr_naive_window w = {.N = gr_check_int(seed, 2, 1, 3),
                                .C = 16 * groups * gr_check_int(seed, 3, 1, 4),
                                .H = K + gr_check_int(seed, 4, 0, 12),
                                .W = K + gr_check_int(seed, 5, 0, 12),
                                .O = 16 * groups * gr_check_int(seed, 6, 1, 7),
                                .groups = groups,
                                .kernel = {K, K},
                                .stride = {1, 1},
                                .dilation = {1, 1}};
    for (int i = 0; i < 4; i++)
        w.pad[i] = gr_check_int(seed, 7 + i, 0, K - 1);
    return w;
}

/* By all ways; false: there are none on this processor. */
static bool check_all(const struct form *form)
{
    struct rig rig;
    bool offered = true;
    rig_init(&rig, form);
    for (int w = 0; offered && w < WAYS; w++)
        if (!ways[w].rounded || form->precision == GR_PRECISION_BF16)
            offered = check(&rig, &ways[w]);
    rig_release(&rig);
    return offered;
}

static void check_any_shapes(enum gr_precision precision, bool inference)
{
    for (uint64_t seed = 1; seed <= 24; seed++) {
        const struct form form = {.window = random_window(seed),
                                  .precision = precision,
                                  .bias = gr_check_int(seed, 20, 0, 2) > 0,
                                  .relu = gr_check_int(seed, 21, 0, 1),
                                  .add = gr_check_int(seed, 22, 0, 1),
                                  .inference = inference,
                                  .threads = seed % 4 ? (int)gr_check_int(seed, 23, 2, 6) : 40};
        if (!check_all(&form))
            skip(); /* no AVX-512 here */
    }
}

static void passes_of_any_shape_are_their_definitions_for_any_number_of_threads(void **state)
{
    (void)state;
    check_any_shapes(GR_PRECISION_F32, false);
}

static void activations_in_bf16_are_read_exactly_and_rounded_once(void **state)
{
    (void)state;
    if (!gr_check_has_bf16())
        skip();
    check_any_shapes(GR_PRECISION_BF16, false);
}

static void filters_that_are_kept_give_the_same(void **state)
{
    (void)state;
    check_any_shapes(GR_PRECISION_F32, true);
    if (gr_check_has_bf16())
        check_any_shapes(GR_PRECISION_BF16, true);
}

/* Many tiles, many channels: several blocks, parts and registers' worth of each. */
static void large_convolutions_keep_their_tolerance(void **state)
{
    (void)state;
    static const struct gr_naive_window windows[] = {
        {4, 96, 27, 27, 256, 2, {5, 5}, {1, 1}, {1, 1}, {2, 2, 2, 2}, false},
        {6, 256, 13, 13, 128, 1, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}, false}};
    for (size_t i = 0; i < sizeof windows / sizeof *windows; i++)
        for (int inference = 0; inference < 2; inference++)
            if (!check_all(&(struct form){
                    .window = windows[i], .bias = true, .inference = inference, .threads = 2}))
                skip();
}

/* Strides, dilation, other activations and odd channels are left to other kernels. */
static void other_convolutions_are_not_offered_it(void **state)
{
    (void)state;
    static const struct gr_check_attr attrs[][4] = {
        {{"out_channels", 1, {32}}, {"kernel", 1, {3}}, {"stride", 1, {2}}},
        {{"out_channels", 1, {32}}, {"kernel", 1, {3}}, {"dilation", 1, {2}}},
        {{"out_channels", 1, {32}}, {"kernel", 1, {4}}},
        {{"out_channels", 1, {32}}, {"kernel", 2, {3, 5}}},
        {{"out_channels", 1, {40}}, {"kernel", 1, {3}}},
        {{"out_channels", 1, {32}}, {"kernel", 1, {3}}, {"pad", 1, {3}}}};
    struct gr_small small;
    gr_small_init(&small, true, 1, GR_KERNELS_AUTO);
    struct gr_value *x = gr_small_input(&small, "x", (struct gr_shape){4, {1, 16, 9, 9}});
    for (size_t i = 0; i < sizeof attrs / sizeof *attrs; i++) {
        char name[] = {'c', (char)('0' + i), 0};
        const struct gr_node *node = gr_small_node(&small, "conv", name, attrs[i], x, NULL);
        const struct gr_planning planning = {.node = node, .backend = small.backend};
        const char *names[GR_MAX_CANDIDATES];
        const int count = node->op->candidates(&planning, names);
        for (int k = 0; k < count; k++)
            for (int w = 0; w < WAYS; w++)
                assert_string_not_equal(names[k], ways[w].name);
    }
    gr_small_release(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passes_of_any_shape_are_their_definitions_for_any_number_of_threads),
        cmocka_unit_test(activations_in_bf16_are_read_exactly_and_rounded_once),
        cmocka_unit_test(filters_that_are_kept_give_the_same),
        cmocka_unit_test(large_convolutions_keep_their_tolerance),
        cmocka_unit_test(other_convolutions_are_not_offered_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
