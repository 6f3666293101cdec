/*
 * One small network run in several ways: oneDNN's kernels and OpenBLAS's, fused and not, with and
 * without a memory plan. They must agree on the loss and on every gradient.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/small_graph.h"

enum { N = 4, CLASSES = 7, MAX_VALUES = 20000, MAX_TARGETS = 40 };

struct way {
    enum gr_kernels kernels;
    bool no_fusion, no_memory_plan;
    int threads;
};

/* The loss and all gradients of one way, one after another. */
struct result {
    float values[MAX_VALUES];
    int64_t count;
};

#define ATTRS(...) ((const struct gr_check_attr[]){__VA_ARGS__, {0}})

/* AlexNet's kinds of layers, a residual branch, a join and batch normalisation, in small. */
static struct gr_value *build(struct gr_small *s, struct gr_value *image)
{
    struct gr_value *x = gr_small_node(s, "conv", "conv1",
                                       ATTRS({"out_channels", 1, {16}}, {"kernel", 1, {5}},
                                             {"stride", 1, {2}}, {"pad", 4, {0, 0, 2, 2}}),
                                       image, NULL)
                             ->outputs[0];
    x = gr_small_node(s, "relu", "relu1", NULL, x, NULL)->outputs[0];
    x = gr_small_node(s, "lrn", "norm1", ATTRS({"alpha", 1, {0.1}}), x, NULL)->outputs[0];
    x = gr_small_node(s, "max_pool", "pool1", ATTRS({"kernel", 1, {3}}, {"stride", 1, {2}}), x,
                      NULL)
            ->outputs[0];
    struct gr_value *y = gr_small_node(s, "conv", "conv2",
                                       ATTRS({"out_channels", 1, {16}}, {"kernel", 1, {3}},
                                             {"pad", 1, {1}}, {"groups", 1, {2}}),
                                       x, NULL)
                             ->outputs[0];
    y = gr_small_node(s, "batch_norm", "bn2", NULL, y, NULL)->outputs[0];
    y = gr_small_node(s, "add", "add2", NULL, y, x)->outputs[0];
    y = gr_small_node(s, "relu", "relu2", NULL, y, NULL)->outputs[0];
    x = gr_small_node(s, "concat", "join", NULL, x, y)->outputs[0];
    x = gr_small_node(s, "flatten", "flat", NULL, x, NULL)->outputs[0];
    x = gr_small_node(s, "linear", "fc1", ATTRS({"out_features", 1, {24}}), x, NULL)->outputs[0];
    x = gr_small_node(s, "relu", "relu3", NULL, x, NULL)->outputs[0];
    x = gr_small_node(s, "dropout", "drop3", NULL, x, NULL)->outputs[0];
    x = gr_small_node(s, "linear", "fc2", ATTRS({"out_features", 1, {CLASSES}}), x, NULL)
            ->outputs[0];
    return x;
}

static void set_parameters(struct gr_small *s)
{
    static float data[MAX_VALUES];
    for (size_t v = 0; v < s->graph->n_values; v++) {
        const struct gr_value *value = s->graph->values[v];
        const int64_t count = gr_shape_count(&value->shape);
        if (!value->parameter || !value->parameter->trainable)
            continue;
        assert_true(count <= MAX_VALUES);
        gr_small_draw(data, count, 100 + v);
        for (int64_t i = 0; i < count; i++)
            data[i] *= sqrtf(2.0f / (float)value->parameter->fan_in);
        gr_small_set(s, value, data);
    }
}

/* The loss, and the gradients of the image and of all trained parameters. */
static size_t choose_targets(const struct gr_small *s, struct gr_value *loss,
                             struct gr_value **targets)
{
    size_t count = 0;
    targets[count++] = loss;
    for (size_t v = 0; v < s->n_gradients; v++)
        if (s->gradients[v] && !s->graph->values[v]->producer) {
            assert_true(count < MAX_TARGETS);
            targets[count++] = s->gradients[v];
        }
    return count;
}

static void run_way(const struct way *way, struct result *result)
{
    static float pixels[N * 3 * 20 * 20];
    static const int32_t labels[N] = {3, 0, -1, 6};
    struct gr_small s;
    struct gr_error err = {0};
    struct gr_value *targets[MAX_TARGETS];
    const struct gr_shape batch = {1, {N}};
    gr_small_init(&s, true, way->threads, way->kernels);
    s.no_fusion = way->no_fusion;
    s.no_memory_plan = way->no_memory_plan;
    struct gr_value *image = gr_small_input(&s, "image", (struct gr_shape){4, {N, 3, 20, 20}});
    struct gr_value *label =
        gr_graph_add_value(s.graph, "label", GR_VALUE_INPUT, GR_S32, &batch, &err);
    gr_check_ok(label != NULL, &err);
    struct gr_value *scores = build(&s, image);
    struct gr_value *loss =
        gr_small_node(&s, "softmax_cross_entropy", "loss", NULL, scores, label)->outputs[0];
    gr_small_differentiate(&s, loss, image);
    const size_t n_targets = choose_targets(&s, loss, targets);
    gr_small_compile(&s, targets, n_targets, false);
    set_parameters(&s);
    gr_small_draw(pixels, N * 3 * 20 * 20, 5);
    gr_small_feed(&s, image, pixels);
    memcpy(gr_program_data(s.program, label), labels, sizeof labels);
    for (uint64_t step = 0; step < 2; step++)
        gr_small_run(&s, 1, step);
    result->count = 0;
    for (size_t t = 0; t < n_targets; t++) {
        const int64_t count = gr_shape_count(&targets[t]->shape);
        assert_true(result->count + count <= MAX_VALUES);
        memcpy(result->values + result->count, gr_small_fetch(&s, targets[t]),
               (size_t)count * sizeof(float));
        result->count += count;
    }
    gr_small_release(&s);
}

/* Runs both ways and returns the largest difference relative to the largest value. */
static double difference(const struct way *a, const struct way *b)
{
    static struct result left, right;
    double most = 0, largest = 0;
    run_way(a, &left);
    run_way(b, &right);
    assert_int_equal(left.count, right.count);
    for (int64_t i = 0; i < left.count; i++) {
        most = fmax(most, fabs((double)left.values[i] - (double)right.values[i]));
        largest = fmax(largest, fabs((double)left.values[i]));
    }
    assert_true(largest > 0.1);
    return most / largest;
}

static void onednn_and_openblas_agree(void **state)
{
    (void)state;
    const struct way onednn = {.threads = 2},
                     openblas = {.kernels = GR_KERNELS_OPENBLAS, .threads = 2};
    assert_true(difference(&onednn, &openblas) < 1e-4);
}

static void fusion_changes_nothing_but_rounding(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++) {
        const enum gr_kernels kernels = k ? GR_KERNELS_OPENBLAS : GR_KERNELS_AUTO;
        const struct way fused = {.kernels = kernels, .threads = 2};
        const struct way single = {.kernels = kernels, .threads = 2, .no_fusion = true};
        assert_true(difference(&fused, &single) < 1e-5);
    }
}

static void the_memory_plan_changes_no_bit(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++) {
        const enum gr_kernels kernels = k ? GR_KERNELS_OPENBLAS : GR_KERNELS_AUTO;
        const struct way planned = {.kernels = kernels, .threads = 2};
        const struct way apart = {.kernels = kernels, .threads = 2, .no_memory_plan = true};
        assert_true(difference(&planned, &apart) <= 0);
    }
}

static void two_runs_are_equal_to_the_bit(void **state)
{
    (void)state;
    const struct way onednn = {.threads = 2};
    assert_true(difference(&onednn, &onednn) <= 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(onednn_and_openblas_agree),
        cmocka_unit_test(fusion_changes_nothing_but_rounding),
        cmocka_unit_test(the_memory_plan_changes_no_bit),
        cmocka_unit_test(two_runs_are_equal_to_the_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
