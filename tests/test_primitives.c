/*
 * The primitives that a model's nodes stand for: which nodes have one, which are counted apart from
 * what fuses them, that a round only improves them; and bench --primitives, which holds the step
 * against their sum. What they take is the machine's.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "onednn.h"
#include "reorder_loops.h"
#include "support/api_case.h"
#include "support/folder.h"
#include "support/op_check.h"
#include "support/tool.h"

/* ---- the library ------------------------------------------------------------------------- */

static const struct gr_plan_options training = {.mode = GR_TRAIN, .batch = 4, .update = true},
                                    inference = {.mode = GR_INFER, .batch = 4};

/* Measured for so many rounds. */
static struct gr_primitives *primitives_of(struct gr_model *model,
                                           const struct gr_plan_options *options, int rounds)
{
    struct gr_error err = {0};
    struct gr_primitives *primitives = gr_primitives_new(model, options, &err);
    gr_api_ok(primitives != NULL, &err);
    for (int r = 0; r < rounds; r++)
        gr_api_ok(gr_primitives_measure(primitives, &err), &err);
    return primitives;
}

static struct gr_primitive row_of(const struct gr_primitives *primitives, const char *node)
{
    for (size_t i = 0; i < gr_primitives_count(primitives); i++)
        if (strcmp(gr_primitives_get(primitives, i).node, node) == 0)
            return gr_primitives_get(primitives, i);
    fail_msg("there is no node '%s'", node);
    return (struct gr_primitive){0};
}

/* There is such a node, and with AVX-512 more than oneDNN's reference loops for it. */
static void expect_fast(const struct gr_primitives *primitives, const char *node)
{
    const struct gr_primitive row = row_of(primitives, node);
    if (!row.impl && gr_onednn_has_isa(dnnl_cpu_isa_avx512_core))
        fail_msg("'%s' has no primitive", node);
}

/* Exactly these nodes have a primitive; the names end with NULL. */
static void expect_primitives(const struct gr_primitives *primitives, const char *const *names)
{
    size_t expected = 0, found = 0;
    for (; names[expected]; expected++) {
        const struct gr_primitive row = row_of(primitives, names[expected]);
        if (!row.impl || !(row.seconds > 0))
            fail_msg("'%s' has no primitive", row.node);
    }
    for (size_t i = 0; i < gr_primitives_count(primitives); i++) {
        const struct gr_primitive row = gr_primitives_get(primitives, i);
        found += row.impl != NULL;
        assert_true(row.impl || row.seconds == 0);
    }
    assert_int_equal(found, expected);
}

static void the_nodes_that_are_primitives_are_timed_and_no_others(void **state)
{
    (void)state;
    static const char *const inferred[] = {"conv1", "pool1", "fc2", "prob", NULL};
    static const char *const trained[] = {"conv1",
                                          "pool1",
                                          "fc2",
                                          "fc2:linear_backward_data",
                                          "fc2:linear_backward_weights",
                                          "pool1:pool_backward",
                                          "relu1:activation_backward",
                                          "conv1:conv_backward_weights",
                                          NULL};
    struct gr_model *model = gr_api_load("tiny", gr_api_tiny, 1, NULL);
    struct gr_primitives *primitives = primitives_of(model, &inference, 1);
    expect_primitives(primitives, inferred);
    gr_primitives_free(primitives);
    primitives = primitives_of(model, &training, 1);
    expect_primitives(primitives, trained);
    assert_string_equal(row_of(primitives, "fc2.weight:sgd").op, "sgd");
    assert_string_equal(row_of(primitives, "fc2.weight:sgd").phase, "update");
    assert_true(row_of(primitives, "conv1").macs == 4. * 8 * 12 * 12 * 3 * 3 * 3);
    gr_primitives_free(primitives);
    gr_model_free(model);
}

/* lrn and pooling are one node of a plan, and an activation goes into its convolution. */
static void what_we_fuse_comes_apart_and_what_the_library_fuses_does_not(void **state)
{
    (void)state;
    static const char *const own[] = {"norm1", "pool1", "norm1:lrn_backward", "pool1:pool_backward",
                                      "tanh1:activation_backward"};
    struct gr_model *model = gr_api_load("zoo", gr_api_zoo, 1, NULL);
    struct gr_primitives *primitives = primitives_of(model, &training, 1);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        expect_fast(primitives, own[i]);
    for (size_t i = 0; i < gr_primitives_count(primitives); i++)
        assert_string_not_equal(gr_primitives_get(primitives, i).node, "tanh1");
    gr_primitives_free(primitives);
    gr_model_free(model);
}

static void normalisation_sums_and_concatenation_are_primitives_in_both_precisions(void **state)
{
    (void)state;
    static const char *const names[] = {"left",
                                        "right",
                                        "both",
                                        "bn",
                                        "relu2",
                                        "sum",
                                        "pool2",
                                        "pool3",
                                        "fc2",
                                        "left:conv_backward_data",
                                        "right:conv_backward_data",
                                        "bn:batch_norm_backward",
                                        "pool2:pool_backward",
                                        "pool3:pool_backward"};
    struct gr_model *model = gr_api_load("zoo", gr_api_zoo, 1, NULL);
    for (int bf16 = 0; bf16 < 1 + gr_check_has_bf16(); bf16++) {
        struct gr_plan_options options = training;
        options.precision = bf16 ? GR_PRECISION_BF16 : GR_PRECISION_F32;
        struct gr_primitives *primitives = primitives_of(model, &options, 1);
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            if (!row_of(primitives, names[i]).impl)
                fail_msg("'%s' has no primitive in %s", names[i], bf16 ? "bf16" : "f32");
        gr_primitives_free(primitives);
    }
    gr_model_free(model);
}

/* softmax and product as layers, a sum of three, a broadcast operand; gradients of them all. */
static const char arithmetic[] =
    "format: 1\n"
    "name: arithmetic\n"
    "inputs:\n"
    "  image: {shape: [16, 8, 8]}\n"
    "  label: {classes: 4}\n"
    "nodes:\n"
    "  - {name: a, op: conv, inputs: image, out_channels: 16, kernel: 1}\n"
    "  - {name: mean, op: global_avg_pool}\n"
    "  - {name: gate, op: sigmoid}\n"
    "  - {name: scaled, op: mul, inputs: [a, gate]}\n"
    "  - {name: square, op: mul, inputs: [scaled, a]}\n"
    "  - {name: three, op: add, inputs: [square, scaled, a]}\n"
    "  - {name: share, op: softmax}\n"
    "  - {name: flat, op: flatten}\n"
    "  - {name: fc, op: linear, out_features: 4}\n"
    "  - {name: loss, op: softmax_cross_entropy, inputs: [fc, label]}\n"
    "train:\n"
    "  loss: loss\n"
    "  batch: 4\n"
    "  optimizer: {sgd: {momentum: 0.9}}\n"
    "  learning_rate: 0.01\n";

/* Not where oneDNN would divide by the size of a cache of which it does not know. */
static bool have_sums(void)
{
    struct gr_error err = {0};
    struct gr_backend *backend = gr_standard_ops()->backend_new(1, GR_KERNELS_AUTO, &err);
    gr_api_ok(backend != NULL, &err);
    const bool have = !gr_reorder_finds_no_cache(backend);
    gr_standard_ops()->backend_free(backend);
    return have;
}

static void arithmetic_has_primitives_broadcast_or_not(void **state)
{
    (void)state;
    static const char *const names[] = {
        "gate",       "scaled",      "square", "share", "share:softmax_backward",
        "scaled:mul", "square:mul.2"};
    static const char *const sums[] = {"three", "a:sum"};
    struct gr_model *model = gr_api_load("arithmetic", arithmetic, 1, NULL);
    struct gr_primitives *primitives = primitives_of(model, &training, 1);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        expect_fast(primitives, names[i]);
    for (size_t i = 0; i < sizeof sums / sizeof *sums; i++)
        assert_int_equal(row_of(primitives, sums[i]).impl != NULL, have_sums());
    gr_primitives_free(primitives);
    gr_model_free(model);
}

/* Few dimensions and many, sizes that fit no block, a scalar: a primitive or none, but no failure.
 */
static const char odd[] = "format: 1\n"
                          "name: odd\n"
                          "inputs:\n"
                          "  row: {shape: [5, 9]}\n"
                          "  cube: {shape: [3, 4, 5, 6]}\n"
                          "  label: {classes: 4}\n"
                          "nodes:\n"
                          "  - {name: a, op: lrn, inputs: row}\n"
                          "  - {name: b, op: batch_norm}\n"
                          "  - {name: c, op: elu}\n"
                          "  - {name: d, op: concat, inputs: [b, c, c], axis: 2}\n"
                          "  - {name: e, op: softmax}\n"
                          "  - {name: f, op: add, inputs: [e, e]}\n"
                          "  - {name: g, op: linear, out_features: 7}\n"
                          "  - {name: h, op: batch_norm, affine: false}\n"
                          "  - {name: i, op: gelu}\n"
                          "  - {name: j, op: lrn}\n"
                          "  - {name: fc, op: linear, out_features: 4}\n"
                          "  - {name: k, op: batch_norm, inputs: cube}\n"
                          "  - {name: l, op: mul, inputs: [k, cube]}\n"
                          "  - {name: m, op: softmax}\n"
                          "  - {name: n, op: silu}\n"
                          "  - {name: more, op: linear, out_features: 4}\n"
                          "  - {name: one, op: softmax_cross_entropy, inputs: [fc, label]}\n"
                          "  - {name: two, op: softmax_cross_entropy, inputs: [more, label]}\n"
                          "  - {name: both, op: add, inputs: [one, two]}\n"
                          "  - {name: loss, op: tanh}\n"
                          "train:\n"
                          "  loss: loss\n"
                          "  batch: 3\n"
                          "  optimizer: {sgd: {momentum: 0.9}}\n"
                          "  learning_rate: 0.01\n";

static void odd_shapes_have_a_primitive_or_none(void **state)
{
    (void)state;
    struct gr_model *model = gr_api_load("odd", odd, 1, NULL);
    for (int bf16 = 0; bf16 < 1 + gr_check_has_bf16(); bf16++) {
        struct gr_plan_options options = training;
        options.precision = bf16 ? GR_PRECISION_BF16 : GR_PRECISION_F32;
        struct gr_primitives *primitives = primitives_of(model, &options, 1);
        assert_non_null(row_of(primitives, "g").impl);
        assert_non_null(row_of(primitives, "n").impl);
        gr_primitives_free(primitives);
    }
    gr_model_free(model);
}

static void another_round_only_makes_it_better(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct gr_model *model = gr_api_load("tiny", gr_api_tiny, 1, NULL);
    struct gr_primitives *primitives = primitives_of(model, &training, 0);
    assert_null(row_of(primitives, "conv1").impl);
    double before = HUGE_VAL;
    for (int r = 0; r < 4; r++) {
        gr_api_ok(gr_primitives_measure(primitives, &err), &err);
        const double now = row_of(primitives, "conv1").seconds;
        assert_true(now > 0 && now <= before);
        before = now;
    }
    gr_primitives_free(primitives);
    gr_model_free(model);
}

/* They leave no trace: no parameter is laid out or changed by them. */
static void measuring_does_not_touch_the_model(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct gr_model *model = gr_api_load("tiny", gr_api_tiny, 1, NULL);
    float before[8], after[8];
    gr_api_ok(gr_model_get_parameter(model, "conv1.bias", before, 8, &err), &err);
    gr_api_ok(gr_model_save_weights(model, gr_api_path("before.safetensors"), &err), &err);
    gr_primitives_free(primitives_of(model, &training, 2));
    gr_api_ok(gr_model_get_parameter(model, "conv1.bias", after, 8, &err), &err);
    gr_api_ok(gr_model_save_weights(model, gr_api_path("after.safetensors"), &err), &err);
    assert_memory_equal(before, after, sizeof before);
    gr_api_expect_same_tensors(gr_api_path("before.safetensors"), gr_api_path("after.safetensors"));
    gr_model_free(model);
}

static void options_that_no_plan_could_have_are_refused(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct gr_model *model = gr_api_load("tiny", gr_api_tiny, 1, NULL);
    const struct gr_plan_options options = {.targets = (const char *const[]){"conv2"},
                                            .n_targets = 1};
    gr_api_refused(gr_primitives_new(model, &options, &err) != NULL, &err, GR_ERR_USAGE,
                   "the model 'tiny' has no value 'conv2'; did you mean 'conv1'?");
    gr_model_free(model);
}

/* ---- the tool ---------------------------------------------------------------------------- */

static json_t *bench(const char *mode, const char *precision, const char *kernels)
{
    struct gr_outcome outcome = gr_tool_run(
        0, "bench", gr_tool_model(), "--mode", mode, "--precision", precision, "--kernels", kernels,
        "--threads", "1", "--steps", "5", "--primitives", "--nodes", "--json", NULL);
    json_t *json = gr_tool_parse(outcome.out);
    gr_outcome_release(&outcome);
    return json;
}

/* The sum is that of the rows, and the ratio that of the sum to a step within those measured. */
static void expect_sound(const json_t *json, size_t count)
{
    const json_t *rows = json_object_get(json, "primitives");
    const double all = gr_tool_number(json, "primitives_seconds"),
                 step = gr_tool_number(json, "primitives_step_seconds");
    double sum = 0;
    assert_int_equal(json_array_size(rows), count);
    assert_true(gr_tool_number(json, "primitives_count") == (double)count);
    for (size_t i = 0; i < count; i++) {
        const json_t *row = json_array_get(rows, i);
        const double seconds = gr_tool_number(row, "seconds"), macs = gr_tool_number(row, "macs");
        assert_true(seconds > 0);
        assert_true(fabs(gr_tool_number(row, "gflops") * seconds - 2e-9 * macs) <= 1e-8 * macs);
        assert_non_null(json_string_value(json_object_get(row, "impl")));
        sum += seconds;
    }
    assert_true(fabs(sum / all - 1) < 1e-6);
    assert_true(fabs(gr_tool_number(json, "primitives_ratio") * step / all - 1) < 1e-6);
    assert_true(step >= gr_tool_number(json, "step_seconds_min") * (1 - 1e-9));
    assert_true(step <= gr_tool_number(json, "step_seconds_max") * (1 + 1e-9));
}

static void bench_holds_the_step_against_the_sum_of_its_primitives(void **state)
{
    (void)state;
    json_t *json = bench("train", "f32", "auto");
    const json_t *none = json_object_get(json, "primitives_none");
    expect_sound(json, 6); /* conv1, fc; of their backwards fc's two, relu1's and conv1's weights */
    assert_true(gr_tool_number(none, "sgd") == 4);
    assert_true(gr_tool_number(none, "softmax_cross_entropy") == 1);
    json_decref(json);
    json = bench("infer", "f32", "auto");
    expect_sound(json, 3); /* conv1, fc, prob */
    json_decref(json);
    if (!gr_check_has_bf16())
        return;
    json = bench("train", "bf16", "auto");
    expect_sound(json, 6);
    json_decref(json);
}

/* They are oneDNN's also where the step is computed by other kernels. */
static void primitives_are_the_librarys_whatever_the_kernels(void **state)
{
    (void)state;
    json_t *json = bench("train", "f32", "openblas");
    expect_sound(json, 6);
    const json_t *conv = json_array_get(json_object_get(json, "primitives"), 0);
    gr_tool_lacks(json_string_value(json_object_get(conv, "impl")), "openblas");
    json_decref(json);
}

static void the_table_names_the_rate_and_what_is_not_counted(void **state)
{
    (void)state;
    struct gr_outcome outcome =
        gr_tool_run(0, "bench", gr_tool_model(), "--steps", "3", "--primitives", NULL);
    gr_tool_contains(outcome.out, "sum of 6, each alone");
    gr_tool_contains(outcome.out, "the sum of its primitives, by a step of");
    gr_tool_contains(outcome.out, "4 sgd");
    gr_tool_lacks(outcome.out, "primitive of");
    gr_outcome_release(&outcome);
    outcome =
        gr_tool_run(0, "bench", gr_tool_model(), "--steps", "1", "--primitives", "--nodes", NULL);
    gr_tool_contains(outcome.out, "\nprimitive of");
    gr_tool_contains(outcome.out, "\nsum of 6 primitives");
    gr_outcome_release(&outcome);
}

static void a_model_without_any_primitive_says_so(void **state)
{
    (void)state;
    char path[GR_FOLDER_PATH];
    gr_tool_save(gr_folder_file("flat.yaml", path),
                 "format: 1\nname: flat\ninputs:\n  image: {shape: [3, 8, 8]}\nnodes:\n"
                 "  - {name: row, op: flatten, inputs: image}\n");
    struct gr_outcome outcome = gr_tool_run(0, "bench", path, "--mode", "infer", "--steps", "3",
                                            "--primitives", "--nodes", NULL);
    gr_tool_contains(outcome.out, "no node has a primitive to compare with");
    gr_tool_contains(outcome.out, "1 flatten");
    gr_outcome_release(&outcome);
    outcome = gr_tool_run(0, "bench", path, "--mode", "infer", "--steps", "3", "--primitives",
                          "--json", NULL);
    json_t *json = gr_tool_parse(outcome.out);
    assert_true(gr_tool_number(json, "primitives_seconds") == 0);
    assert_true(json_is_null(json_object_get(json, "primitives_ratio")));
    json_decref(json);
    gr_outcome_release(&outcome);
}

#define API(name) cmocka_unit_test_setup_teardown(name, gr_api_set_up, gr_api_tear_down)
#define TOOL(name) cmocka_unit_test_setup_teardown(name, gr_tool_set_up, gr_folder_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        API(the_nodes_that_are_primitives_are_timed_and_no_others),
        API(what_we_fuse_comes_apart_and_what_the_library_fuses_does_not),
        API(normalisation_sums_and_concatenation_are_primitives_in_both_precisions),
        API(arithmetic_has_primitives_broadcast_or_not),
        API(odd_shapes_have_a_primitive_or_none),
        API(another_round_only_makes_it_better),
        API(measuring_does_not_touch_the_model),
        API(options_that_no_plan_could_have_are_refused),
        TOOL(bench_holds_the_step_against_the_sum_of_its_primitives),
        TOOL(primitives_are_the_librarys_whatever_the_kernels),
        TOOL(the_table_names_the_rate_and_what_is_not_counted),
        TOOL(a_model_without_any_primitive_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
