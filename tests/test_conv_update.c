/*
 * A convolution's weight updated together with its gradient (ops/conv_update.c): every kernel of
 * it, on weights that lie plain or as it likes, against the definitions; and who gets such a node.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bf16.h"
#include "graph/arena.h"
#include "graph/program_private.h"
#include "model/model.h"
#include "support/api_case.h"
#include "support/naive.h"

static const double RATE = 0.25, MOMENTUM = 0.9, DECAY = 0.01;

static const struct form {
    struct gr_naive_window window;
    bool bias;
    const char *momentum;
} forms[] = {
    {{1, 64, 7, 7, 96, 1, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}, false}, true, "0.9"},
    {{1, 32, 9, 8, 64, 1, {5, 5}, {1, 1}, {1, 1}, {2, 2, 2, 2}, false}, true, "0.9"},
    {{3, 256, 6, 7, 128, 1, {1, 1}, {2, 2}, {1, 1}, {0, 0, 0, 0}, false}, false, "0.9"},
    {{2, 96, 9, 9, 80, 1, {3, 3}, {2, 1}, {1, 2}, {1, 0, 2, 1}, false}, true, "0"},
    {{2, 128, 5, 6, 128, 2, {3, 2}, {1, 1}, {1, 1}, {1, 1, 1, 0}, false}, true, "0.9"},
    {{2, 48, 5, 5, 200, 1, {3, 3}, {1, 1}, {1, 1}, {0, 0, 0, 0}, false}, true, "0.9"},
    {{2, 24, 5, 5, 190, 1, {3, 3}, {1, 1}, {1, 1}, {0, 0, 0, 0}, false}, true, "0.9"},
};

static struct gr_model *load(const struct form *form)
{
    char text[1024];
    const struct gr_naive_window *w = &form->window;
    snprintf(text, sizeof text,
             "format: 1\n"
             "inputs: {image: {shape: [%lld, %lld, %lld]}, label: {classes: 4}}\n"
             "nodes:\n"
             "  - {name: a, op: conv, inputs: image, out_channels: %lld, groups: %lld, bias: %s,\n"
             "     kernel: [%lld, %lld], stride: [%lld, %lld], dilation: [%lld, %lld],\n"
             "     pad: [%lld, %lld, %lld, %lld]}\n"
             "  - {name: e, op: linear, out_features: 4}\n"
             "  - {name: loss, op: softmax_cross_entropy, inputs: [e, label]}\n"
             "train:\n"
             "  loss: loss\n"
             "  learning_rate: 0.25\n"
             "  optimizer: {sgd: {momentum: %s, weight_decay: 0.01}}\n",
             (long long)w->C, (long long)w->H, (long long)w->W, (long long)w->O,
             (long long)w->groups, form->bias ? "true" : "false", (long long)w->kernel[0],
             (long long)w->kernel[1], (long long)w->stride[0], (long long)w->stride[1],
             (long long)w->dilation[0], (long long)w->dilation[1], (long long)w->pad[0],
             (long long)w->pad[1], (long long)w->pad[2], (long long)w->pad[3], form->momentum);
    return gr_api_load("update", text, 3, NULL);
}

static struct gr_plan *plan_of(struct gr_model *model, enum gr_precision precision, int64_t batch,
                               bool reference)
{
    struct gr_error err = {0};
    const struct gr_plan_options options = {.mode = GR_TRAIN,
                                            .update = true,
                                            .batch = batch,
                                            .precision = precision,
                                            .reference = reference};
    struct gr_plan *plan = gr_plan_new(model, &options, &err);
    gr_api_ok(plan != NULL, &err);
    return plan;
}

static const struct gr_node *find_node(const struct gr_plan *plan)
{
    for (size_t s = 0; s < plan->program->n_steps; s++)
        if (strcmp(plan->program->steps[s].node->op->kind.name, "conv_backward_update") == 0)
            return plan->program->steps[s].node;
    return NULL;
}

static bool has_bf16(void)
{
    return __builtin_cpu_supports("avx512bf16");
}

/* ---- by definition ----------------------------------------------------------------------- */

/* What a step reads and what becomes of it, plain: weight, velocity, dy, src, and db. */
struct numbers {
    double *w, *v, *dy, *src, *db;
    int64_t weights, dys, srcs;
};

/* In [-1, 1), as bf16 has them. */
static double *some(int64_t count, uint32_t seed)
{
    double *x = malloc((size_t)count * sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < count; i++) {
        const uint32_t hash = (seed + (uint32_t)i * 2654435761u) ^ 0x5bd1e995u * (uint32_t)i;
        x[i] = (double)gr_from_bf16(gr_to_bf16((float)((hash >> 8) % 20000) / 10000 - 1));
    }
    return x;
}

static struct numbers draw(const struct gr_naive_window *w)
{
    struct numbers n = {.weights = w->O * (w->C / w->groups) * w->kernel[0] * w->kernel[1],
                        .dys = w->N * w->O * gr_naive_size(w, 0) * gr_naive_size(w, 1),
                        .srcs = w->N * w->C * w->H * w->W};
    n.w = some(n.weights, 1);
    n.v = some(n.weights, 2);
    n.dy = some(n.dys, 3);
    n.src = some(n.srcs, 4);
    n.db = calloc((size_t)w->O, sizeof *n.db);
    assert_non_null(n.db);
    return n;
}

static void release(struct numbers *n)
{
    free(n->w);
    free(n->v);
    free(n->dy);
    free(n->src);
    free(n->db);
}

/* dw[o][c][a][b] of one weight. */
static double gradient_of(const struct gr_naive_window *w, const struct numbers *n, int64_t o,
                          int64_t c, int64_t a, int64_t b)
{
    const int64_t oh = gr_naive_size(w, 0), ow = gr_naive_size(w, 1);
    const int64_t channel = o / (w->O / w->groups) * (w->C / w->groups) + c;
    double sum = 0;
    for (int64_t k = 0; k < w->N; k++)
        for (int64_t y = 0; y < oh; y++)
            for (int64_t x = 0; x < ow; x++) {
                const int64_t h = y * w->stride[0] + a * w->dilation[0] - w->pad[0];
                const int64_t i = x * w->stride[1] + b * w->dilation[1] - w->pad[1];
                if (h >= 0 && i >= 0 && h < w->H && i < w->W)
                    sum += n->dy[((k * w->O + o) * oh + y) * ow + x] *
                           n->src[((k * w->C + channel) * w->H + h) * w->W + i];
            }
    return sum;
}

/* w and v become what they are after the step. Returns the largest gradient. */
static double step(const struct form *form, struct numbers *n)
{
    const struct gr_naive_window *w = &form->window;
    const int64_t inner = w->C / w->groups, taps = w->kernel[0] * w->kernel[1];
    const int64_t outputs = n->dys / w->N / w->O;
    const double momentum = form->momentum[1] ? MOMENTUM : 0;
    double most = 0;
    for (int64_t e = 0; e < n->weights; e++) {
        const int64_t tap = e % taps;
        const double g = gradient_of(w, n, e / taps / inner, e / taps % inner, tap / w->kernel[1],
                                     tap % w->kernel[1]);
        n->v[e] = momentum * n->v[e] - RATE * (g + DECAY * n->w[e]);
        n->w[e] += n->v[e];
        most = fmax(most, fabs(g));
    }
    for (int64_t i = 0; i < n->dys; i++)
        n->db[i / outputs % w->O] += n->dy[i];
    return most;
}

/* ---- the kernels ------------------------------------------------------------------------- */

static struct gr_backend *backend_of(const struct gr_plan *plan)
{
    return plan->program->backend;
}

/* A tensor as the layout has it. Freed with gr_arena_free. */
static void *laid(struct gr_backend *backend, const struct gr_value *value,
                  const struct gr_layout *layout, const double *numbers, int64_t count)
{
    struct gr_error err = {0};
    float *plain = malloc((size_t)count * sizeof *plain);
    void *data = gr_arena_new(gr_layout_bytes(layout, value));
    assert_true(plain && data);
    for (int64_t i = 0; i < count; i++)
        plain[i] = (float)numbers[i];
    gr_api_ok(
        gr_standard_ops()->convert(backend, value, &gr_layout_plain, plain, layout, data, &err),
        &err);
    free(plain);
    return data;
}

static void expect(struct gr_backend *backend, const struct gr_value *value,
                   const struct gr_layout *layout, const void *data, const double *wanted,
                   int64_t count, double tolerance, const char *what)
{
    struct gr_error err = {0};
    float *got = malloc((size_t)count * sizeof *got);
    assert_non_null(got);
    gr_api_ok(gr_standard_ops()->convert(backend, value, layout, data, &gr_layout_plain, got, &err),
              &err);
    for (int64_t i = 0; i < count; i++)
        if (!(fabs((double)got[i] - wanted[i]) <= tolerance + 1e-6 * fabs(wanted[i])))
            fail_msg("%s: element %lld is %.9g, by definition %.9g", what, (long long)i,
                     (double)got[i], wanted[i]);
    free(got);
}

/* One step by that kernel of a node without copies, its weight plain or where the kernel likes it.
 */
static void check(const struct form *form, const struct gr_plan *plan, const struct gr_node *node,
                  const char *choice, bool plain)
{
    struct gr_backend *backend = backend_of(plan);
    const struct gr_run run = {0};
    const bool momentum = form->momentum[1];
    const struct gr_layout *src[5] = {plain ? &gr_layout_plain : NULL,
                                      plain ? &gr_layout_plain : NULL};
    const struct gr_layout *home[5] = {NULL}, *dst[1] = {&gr_layout_plain};
    struct gr_error err = {0};
    struct gr_kernel kernel = {0};
    struct gr_planning planning = {.node = node,
                                   .backend = backend,
                                   .precision = plan->options.precision,
                                   .choice = choice,
                                   .src = src,
                                   .home = home,
                                   .dst = dst,
                                   .kernel = &kernel};
    gr_api_ok(node->op->plan(&planning, &err), &err);
    if (!kernel.run) { /* this processor or shape does not have it, which only a choice may say */
        assert_non_null(choice);
        return;
    }
    struct numbers n = draw(&form->window);
    const float rate = (float)RATE;
    const double *in[] = {n.w, momentum ? n.v : n.dy, momentum ? n.dy : n.src, n.src};
    const int64_t counts[] = {n.weights, momentum ? n.weights : n.dys, momentum ? n.dys : n.srcs,
                              n.srcs};
    void *inputs[5], *output = gr_arena_new(4096), *scratch = gr_arena_new(kernel.scratch_bytes);
    const int last = node->n_inputs - 1;
    for (int i = 0; i < last; i++)
        inputs[i] = laid(backend, node->inputs[i], src[i], in[i], counts[i]);
    inputs[last] = gr_arena_new(sizeof rate);
    memcpy(inputs[last], &rate, sizeof rate);
    memset(scratch, 0xff, kernel.scratch_bytes); /* not numbers */
    const struct gr_buffers buffers = {inputs, &output, scratch};
    gr_api_ok(!kernel.bind || kernel.bind(&kernel, &buffers, &err), &err);
    gr_api_ok(kernel.run(&kernel, node, &buffers, &run, &err), &err);
    /* Winograd's, rounded, errs by what tests/test_conv_tiles.c allows it. */
    const bool rounded = strstr(kernel.impl, "winograd 6x6 bf16") != NULL;
    const double most = step(form, &n);
    const double tolerance = (rounded                           ? 0.06
                              : strstr(kernel.impl, "winograd") ? 1e-4
                                                                : 3e-6) *
                             most;
    expect(backend, node->inputs[0], src[0], inputs[0], n.w, n.weights, tolerance, kernel.impl);
    if (momentum)
        expect(backend, node->inputs[1], src[1], inputs[1], n.v, n.weights, tolerance, kernel.impl);
    if (form->bias)
        expect(backend, node->outputs[0], dst[0], output, n.db, form->window.O, 1e-4, kernel.impl);
    for (int i = 0; i < node->n_inputs; i++)
        gr_arena_free(inputs[i]);
    gr_arena_free(output);
    gr_arena_free(scratch);
    gr_kernel_release(&kernel);
    release(&n);
}

static void every_kernel_updates_by_the_gradient(enum gr_precision precision)
{
    for (size_t f = 0; f < sizeof forms / sizeof *forms; f++) {
        struct gr_model *model = load(&forms[f]);
        struct gr_plan *plan = plan_of(model, precision, forms[f].window.N, false);
        const struct gr_node *node = find_node(plan);
        assert_non_null(node);
        struct gr_node bare = *node;
        bare.n_inputs -= bare.n_copies;
        bare.n_copies = 0;
        const char *names[GR_MAX_CANDIDATES];
        const struct gr_planning asking = {
            .node = &bare, .backend = backend_of(plan), .precision = precision};
        const int count = node->op->candidates(&asking, names);
        assert_true(count >= 2);
        for (int plain = 0; plain < 2; plain++) {
            check(&forms[f], plan, &bare, NULL, plain);
            for (int i = 0; i < count; i++)
                check(&forms[f], plan, &bare, names[i], plain);
        }
        gr_plan_free(plan);
        gr_model_free(model);
    }
}

static void every_kernel_updates_by_the_gradient_in_f32(void **state)
{
    (void)state;
    every_kernel_updates_by_the_gradient(GR_PRECISION_F32);
}

static void every_kernel_updates_by_the_gradient_in_bf16(void **state)
{
    (void)state;
    if (!has_bf16())
        skip();
    every_kernel_updates_by_the_gradient(GR_PRECISION_BF16);
}

/* ---- who gets it ------------------------------------------------------------------------- */

static void it_is_for_few_results_and_many_weights(void **state)
{
    (void)state;
    const struct form many = {
        {1, 64, 7, 7, 96, 1, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}, false}, true, "0.9"};
    const struct form few = {
        {1, 16, 7, 7, 32, 1, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}, false}, true, "0.9"};
    struct gr_model *model = load(&many);
    struct gr_plan *plan = plan_of(model, GR_PRECISION_F32, 5, false); /* 245 results */
    assert_non_null(find_node(plan));
    gr_plan_free(plan);
    plan = plan_of(model, GR_PRECISION_F32, 6, false); /* 294 */
    assert_null(find_node(plan));
    gr_plan_free(plan);
    plan = plan_of(model, GR_PRECISION_F32, 5, true);
    assert_null(find_node(plan));
    gr_plan_free(plan);
    gr_model_free(model);
    model = load(&few); /* 4608 weights */
    plan = plan_of(model, GR_PRECISION_F32, 1, false);
    assert_null(find_node(plan));
    gr_plan_free(plan);
    gr_model_free(model);
}

/* Whole steps with the nodes apart and together, copies of the weight in bf16 among it. */
static void training_follows_that_with_nodes_apart(void **state)
{
    (void)state;
    for (int bf16 = 0; bf16 <= has_bf16(); bf16++) {
        const enum gr_precision precision = bf16 ? GR_PRECISION_BF16 : GR_PRECISION_F32;
        struct gr_error err = {0};
        float *weights[2], images[64 * 49];
        const int32_t label = 2;
        const size_t count = 96 * 64 * 9;
        for (size_t i = 0; i < sizeof images / sizeof *images; i++)
            images[i] = (float)((i * 2654435761u >> 8) % 1000) / 500 - 1;
        for (int reference = 0; reference < 2; reference++) {
            struct gr_model *model = load(&forms[0]);
            struct gr_plan *plan = plan_of(model, precision, 1, reference);
            assert_int_equal(find_node(plan) == NULL, reference);
            gr_plan_set_learning_rate(plan, 0.02);
            gr_api_ok(gr_plan_feed(plan, "image", images, sizeof images, &err), &err);
            gr_api_ok(gr_plan_feed(plan, "label", &label, sizeof label, &err), &err);
            for (int s = 0; s < 5; s++)
                gr_api_ok(gr_plan_run(plan, &err), &err);
            weights[reference] = malloc(count * sizeof(float));
            assert_non_null(weights[reference]);
            gr_api_ok(gr_model_get_parameter(model, "a.weight", weights[reference], count, &err),
                      &err);
            gr_plan_free(plan);
            gr_model_free(model);
        }
        double most = 0;
        for (size_t i = 0; i < count; i++)
            most = fmax(most, fabs((double)weights[0][i] - (double)weights[1][i]));
        assert_true(most < (bf16 ? 2e-4 : 1e-6));
        free(weights[0]);
        free(weights[1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_kernel_updates_by_the_gradient_in_f32, gr_api_set_up,
                                        gr_api_tear_down),
        cmocka_unit_test_setup_teardown(every_kernel_updates_by_the_gradient_in_bf16, gr_api_set_up,
                                        gr_api_tear_down),
        cmocka_unit_test_setup_teardown(it_is_for_few_results_and_many_weights, gr_api_set_up,
                                        gr_api_tear_down),
        cmocka_unit_test_setup_teardown(training_follows_that_with_nodes_apart, gr_api_set_up,
                                        gr_api_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
