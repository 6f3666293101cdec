/*
 * Copies of weights in bf16 that updates write for the next step (runtime/graph/program_copies.c):
 * they are the rounded weight to the bit, follow whoever else changes it, give what copies made in
 * each step give, and take no more memory than is worth it. Also the update of a linear layer by
 * few images, which makes its gradient on the way (ops/linear_outer.c).
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

#include "graph/arena.h"
#include "graph/program_private.h"
#include "model/model.h"
#include "support/api_case.h"
#include "support/op_check.h"

#define HEAD                                                                                       \
    "format: 1\n"                                                                                  \
    "inputs: {image: {shape: [16, 12, 12]}, label: {classes: 10}}\n"                               \
    "nodes:\n"
#define TAIL                                                                                       \
    "  - {name: dr, op: relu}\n"                                                                   \
    "  - {name: e, op: linear, out_features: 10}\n"                                                \
    "  - {name: loss, op: softmax_cross_entropy, inputs: [e, label]}\n"                            \
    "train:\n"                                                                                     \
    "  loss: loss\n"                                                                               \
    "  learning_rate: 0.05\n"                                                                      \
    "  optimizer: {sgd: {momentum: 0.9, weight_decay: 0.001}}\n"

/* A convolution, one in groups, one with a kernel of 1; linear layers with padded outputs. */
static const char text[] =
    HEAD "  - {name: a, op: conv, inputs: image, out_channels: 64, kernel: 3, pad: 1}\n"
         "  - {name: ar, op: relu}\n"
         "  - {name: b, op: conv, out_channels: 64, kernel: 3, pad: 1, groups: 2}\n"
         "  - {name: br, op: relu}\n"
         "  - {name: c, op: conv, out_channels: 64, kernel: 1}\n"
         "  - {name: cr, op: relu}\n"
         "  - {name: p, op: max_pool, kernel: 2, stride: 2}\n"
         "  - {name: d, op: linear, out_features: 100}\n" TAIL;

static const char linear[] =
    HEAD "  - {name: d, op: linear, inputs: image, out_features: 100}\n" TAIL;

enum { PIXELS = 16 * 12 * 12, MOST = 40 };

static const size_t NEVER_REACHED = (size_t)1 << 40; /* a budget: copies are made in each step */

static const struct {
    const char *name;
    size_t count;
} parameters[] = {
    {"a.weight", 64 * 16 * 9}, {"a.bias", 64}, {"b.weight", 64 * 32 * 9},  {"b.bias", 64},
    {"c.weight", 64 * 64},     {"c.bias", 64}, {"d.weight", 100 * PIXELS}, {"d.bias", 100},
    {"e.weight", 1000},        {"e.bias", 10}};

/* `linear` has the last of them. */
enum { PARAMETERS = sizeof parameters / sizeof *parameters, LINEAR = 6, LARGEST = 100 * PIXELS };

static struct gr_model *load(void)
{
    return gr_api_load("copies", text, 3, NULL);
}

static struct gr_plan_options bf16(int64_t batch, size_t budget)
{
    return (struct gr_plan_options){
        .precision = GR_PRECISION_BF16, .batch = batch, .memory_budget = budget};
}

/* A training plan, fed. */
static struct gr_plan *plan_of(struct gr_model *model, struct gr_plan_options options)
{
    struct gr_error err = {0};
    options.mode = GR_TRAIN;
    options.update = true;
    struct gr_plan *plan = gr_plan_new(model, &options, &err);
    gr_api_ok(plan != NULL, &err);
    static float images[MOST * PIXELS];
    int32_t labels[MOST];
    for (size_t i = 0; i < MOST * PIXELS; i++)
        images[i] = (float)((i * 2654435761u >> 8) % 1000) / 500 - 1;
    for (int n = 0; n < MOST; n++)
        labels[n] = n * 7 % 10;
    const size_t n = (size_t)options.batch;
    gr_plan_set_learning_rate(plan, 0.05);
    gr_api_ok(gr_plan_feed(plan, "image", images, n * PIXELS * sizeof *images, &err), &err);
    gr_api_ok(gr_plan_feed(plan, "label", labels, n * sizeof *labels, &err), &err);
    return plan;
}

static void run(struct gr_plan *plan, int steps)
{
    struct gr_error err = {0};
    for (int s = 0; s < steps; s++)
        gr_api_ok(gr_plan_run(plan, &err), &err);
}

/* Copies of weights that the plan makes only when somebody else changed the weight. */
static size_t count_kept(const struct gr_plan *plan)
{
    size_t kept = 0;
    for (size_t i = 0; i < gr_plan_node_count(plan); i++)
        kept += gr_plan_node(plan, i).constant;
    return kept;
}

static void get(struct gr_model *model, int which, float *data)
{
    struct gr_error err = {0};
    gr_api_ok(
        gr_model_get_parameter(model, parameters[which].name, data, parameters[which].count, &err),
        &err);
}

/* The largest difference of the parameters from the first on; 0 only for the same bits. */
static double difference(struct gr_model *a, struct gr_model *b, int first)
{
    static float x[LARGEST], y[LARGEST];
    double most = 0;
    for (int i = first; i < PARAMETERS; i++) {
        get(a, i, x);
        get(b, i, y);
        for (size_t k = 0; k < parameters[i].count; k++)
            most = fmax(most, fabs((double)x[k] - (double)y[k]));
        if (memcmp(x, y, parameters[i].count * sizeof *x) != 0)
            most = fmax(most, 1e-30);
    }
    return most;
}

/* ---- copies ------------------------------------------------------------------------------ */

/* Every kept copy, as it lies, against the weight rounded by the registry's own conversion. */
static size_t expect_rounded(const struct gr_plan *plan)
{
    const struct gr_program *program = plan->program;
    struct gr_error err = {0};
    size_t count = 0;
    for (size_t s = 0; s < program->n_steps; s++) {
        const struct gr_step *step = &program->steps[s];
        if (!step->kept)
            continue;
        const struct gr_value *weight = step->node->inputs[0];
        const struct gr_slot *from = &program->slots[weight->id];
        const size_t bytes = gr_layout_bytes(step->dst_layouts[0], weight);
        void *want = gr_arena_new(bytes);
        assert_non_null(want);
        gr_api_ok(gr_standard_ops()->convert(program->backend, weight, from->layout,
                                             from->stored->data, step->dst_layouts[0], want, &err),
                  &err);
        if (memcmp(want, step->buffers.dst[0], bytes) != 0)
            fail_msg("%s is not its weight, rounded", step->node->name);
        gr_arena_free(want);
        count++;
    }
    return count;
}

static void copies_are_the_updated_weight_rounded(void **state)
{
    (void)state;
    /* The gradients of linear layers are made on the way, or in tiles. */
    for (int64_t batch = 2; batch <= MOST; batch *= MOST / 2) {
        struct gr_model *model = load();
        struct gr_plan *plan = plan_of(model, bf16(batch, 0));
        for (int step = 0; step < 4; step++) {
            run(plan, 1);
            assert_true(expect_rounded(plan) >= 5);
        }
        gr_plan_free(plan);
        gr_model_free(model);
    }
}

static void training_is_the_same_to_the_bit_with_copies_kept_or_not(void **state)
{
    (void)state;
    struct gr_plan_options how[] = {bf16(5, 0), bf16(5, NEVER_REACHED), bf16(5, 0)};
    how[2].no_memory_plan = true;
    struct gr_model *models[3];
    size_t kept[3];
    for (int k = 0; k < 3; k++) {
        models[k] = load();
        struct gr_plan *plan = plan_of(models[k], how[k]);
        kept[k] = count_kept(plan);
        run(plan, 5);
        gr_plan_free(plan);
    }
    assert_true(kept[0] > 0 && kept[1] == 0 && kept[2] == kept[0]);
    assert_true(difference(models[0], models[1], 0) == 0);
    assert_true(difference(models[0], models[2], 0) == 0);
    for (int k = 0; k < 3; k++)
        gr_model_free(models[k]);
}

/* Two plans train in turn and each parameter is set once, with copies kept and without. */
static void copies_follow_weights_that_others_change(void **state)
{
    (void)state;
    static float data[LARGEST];
    struct gr_error err = {0};
    struct gr_model *models[2];
    for (int m = 0; m < 2; m++) {
        const size_t budget = m ? NEVER_REACHED : 0;
        models[m] = load();
        struct gr_plan *plan = plan_of(models[m], bf16(5, budget));
        struct gr_plan *other = plan_of(models[m], bf16(3, budget));
        for (int i = 0; i < PARAMETERS; i++) {
            run(plan, 2);
            run(other, 1);
            get(models[m], i, data);
            for (size_t k = 0; k < parameters[i].count; k++)
                data[k] *= 0.9f;
            gr_api_ok(gr_model_set_parameter(models[m], parameters[i].name, data,
                                             parameters[i].count, &err),
                      &err);
        }
        run(plan, 1);
        assert_true(m ? count_kept(plan) == 0 : expect_rounded(plan) > 0);
        gr_plan_free(plan);
        gr_plan_free(other);
    }
    assert_true(difference(models[0], models[1], 0) == 0);
    gr_model_free(models[0]);
    gr_model_free(models[1]);
}

/* What a plan takes for values and copies. */
static size_t memory_of(struct gr_model *model, int64_t batch, size_t budget)
{
    struct gr_error err = {0};
    struct gr_plan_options options = bf16(batch, budget);
    options.mode = GR_TRAIN;
    options.update = true;
    struct gr_plan *plan = gr_plan_new(model, &options, &err);
    gr_api_ok(plan != NULL, &err);
    const struct gr_memory_report report = gr_plan_memory(plan);
    gr_plan_free(plan);
    return report.planned + report.constants;
}

/*
 * 18 million weights, and activations that are most of the memory where there are many images: the
 * copies' 37 MB are spent for a single image, and not where they are little of the time.
 */
static void copies_take_no_memory_where_they_are_little_of_a_step(void **state)
{
    (void)state;
    static const char large[] =
        "format: 1\n"
        "inputs: {image: {shape: [16, 12, 12]}, label: {classes: 2000}}\n"
        "nodes:\n"
        "  - {name: a, op: conv, inputs: image, out_channels: 256, kernel: 3, pad: 1}\n"
        "  - {name: ar, op: relu}\n"
        "  - {name: b, op: conv, out_channels: 256, kernel: 3, pad: 1}\n"
        "  - {name: p, op: max_pool, kernel: 2, stride: 2}\n"
        "  - {name: e, op: linear, out_features: 2000}\n"
        "  - {name: loss, op: softmax_cross_entropy, inputs: [e, label]}\n"
        "train: {loss: loss, learning_rate: 0.05, optimizer: {sgd: {}}}\n";
    struct gr_model *model = gr_api_load("large", large, 3, NULL);
    assert_true(memory_of(model, 1, 0) <= memory_of(model, 1, NEVER_REACHED) + (48 << 20));
    assert_true(memory_of(model, 256, 0) <= memory_of(model, 256, NEVER_REACHED));
    gr_model_free(model);
}

/* ---- the gradient on the way ------------------------------------------------------------- */

static size_t count_outer(const struct gr_plan *plan)
{
    size_t count = 0;
    for (size_t i = 0; i < gr_plan_node_count(plan); i++)
        count += strcmp(gr_plan_node(plan, i).impl, "outer product") == 0;
    return count;
}

/* A step of the nodes as written, gradient first and then the update, sums in another order. */
static void a_few_images_update_a_linear_layer_by_products(void **state)
{
    (void)state;
    for (int k = 0; k < 8; k++) {
        const int64_t batch = 1 + k / 2;
        struct gr_model *models[2];
        for (int m = 0; m < 2; m++) {
            models[m] = gr_api_load("products", linear, 3, NULL);
            struct gr_plan *plan =
                plan_of(models[m], (struct gr_plan_options){.precision = k % 2 ? GR_PRECISION_BF16
                                                                               : GR_PRECISION_F32,
                                                            .batch = batch,
                                                            .reference = m == 1});
            assert_int_equal(count_outer(plan), m ? 0 : 2);
            run(plan, 1);
            gr_plan_free(plan);
        }
        assert_true(difference(models[0], models[1], LINEAR) < 2e-7);
        gr_model_free(models[0]);
        gr_model_free(models[1]);
    }
}

static int set_up(void **state)
{
    if (!gr_check_has_bf16())
        skip();
    return gr_api_set_up(state);
}
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(copies_are_the_updated_weight_rounded, set_up,
                                        gr_api_tear_down),
        cmocka_unit_test_setup_teardown(training_is_the_same_to_the_bit_with_copies_kept_or_not,
                                        set_up, gr_api_tear_down),
        cmocka_unit_test_setup_teardown(copies_follow_weights_that_others_change, set_up,
                                        gr_api_tear_down),
        cmocka_unit_test_setup_teardown(copies_take_no_memory_where_they_are_little_of_a_step,
                                        set_up, gr_api_tear_down),
        cmocka_unit_test_setup_teardown(a_few_images_update_a_linear_layer_by_products, set_up,
                                        gr_api_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
