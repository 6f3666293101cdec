/*
 * Loading, compiling and running models while the allocator, files or maps fail: a clean error, no
 * leak, no crash, no file half-written. See faults/trial.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "faults/trial.h"
#include "support/api_case.h"

static const char network[] =
    "format: 1\n"
    "name: net\n"
    "inputs:\n"
    "  image: {shape: [3, 12, 12]}\n"
    "  label: {classes: 4}\n"
    "class_names: names.txt\n"
    "blocks:\n"
    "  cell:\n"
    "    params: {width: 8}\n"
    "    inputs: [x]\n"
    "    nodes:\n"
    "      - {name: conv, op: conv, inputs: x, out_channels: $(width * 2), kernel: 3, pad: 1}\n"
    "      - {name: relu, op: relu}\n"
    "nodes:\n"
    "  - {name: first, block: cell, inputs: image, width: 4}\n"
    "  - &pool {name: pool1, op: max_pool, kernel: 2, stride: 2}\n"
    "  - {name: fc, op: linear, out_features: 4}\n"
    "  - {name: prob, op: softmax}\n"
    "  - {name: loss, op: softmax_cross_entropy, inputs: [fc, label]}\n"
    "  - {name: top1, op: accuracy, inputs: [fc, label]}\n"
    "train: {loss: loss, metrics: top1, batch: 4, epochs: 1, optimizer: {sgd: {momentum: 0.9}},\n"
    "        learning_rate: 0.1}\n"
    "data: {train: {synthetic: {count: 8}, transform: [flip, scale]}}\n";

static const char broken[] = "format: 1\n"
                             "name: broken\n"
                             "inputs: {image: {shape: [3, 12, 12]}}\n"
                             "nodes:\n"
                             "  - {name: conv1, op: konv, inputs: image}\n"
                             "  - {name: pool1, op: max_pool, kernel: 0, strid: 2}\n"
                             "  - {name: fc, op: linear, inputs: pol1}\n"
                             "more: 1\n";

static struct gr_model *load(struct gr_context *context, const char *file, struct gr_error *err)
{
    static const char *const sets[] = {"train.batch=8", "nodes.fc.out_features=4"};
    static const char *const freeze[] = {"first.*"};
    const struct gr_model_options options = {
        .sets = sets, .n_sets = 2, .freeze = freeze, .n_freeze = 1, .seed = 1};
    return gr_model_load(context, gr_trial_path(file), &options, err);
}

/* ---- models ------------------------------------------------------------------------------ */

static bool load_model(struct gr_context *context, struct gr_error *err)
{
    struct gr_model *model = load(context, "net.yaml", err);
    if (model) {
        gr_trial_note_text(gr_model_name(model));
        gr_trial_note_text(gr_model_resolved(model));
        gr_trial_note_text(gr_model_class_name(model, 3));
    }
    gr_model_free(model);
    return model != NULL;
}

static bool load_broken(struct gr_context *context, struct gr_error *err)
{
    struct gr_model *model = gr_model_load(context, gr_trial_path("broken.yaml"), NULL, err);
    gr_model_free(model);
    return model != NULL;
}

static bool load_nothing(struct gr_context *context, struct gr_error *err)
{
    struct gr_model *model = gr_model_load(context, gr_trial_path("none.yaml"), NULL, err);
    gr_model_free(model);
    return model != NULL;
}

/* ---- plans ------------------------------------------------------------------------------- */

static bool note_parameters(struct gr_model *model, struct gr_error *err)
{
    static float weight[1 << 16];
    const size_t count = 4 * 16 * 3 * 3;
    (void)count;
    if (!gr_model_get_parameter(model, "fc2.weight", weight, 64, err))
        return false;
    gr_trial_note(weight, 64 * sizeof *weight);
    return true;
}

static void feed(struct gr_plan *plan)
{
    for (size_t i = 0; i < gr_plan_input_count(plan); i++) {
        struct gr_tensor tensor = gr_plan_input(plan, i);
        for (int64_t k = 0; k < gr_shape_count(&tensor.shape); k++)
            if (tensor.dtype == GR_F32)
                ((float *)tensor.data)[k] = (float)(k % 17) - 8;
            else
                ((int32_t *)tensor.data)[k] = (int32_t)(k % 4);
    }
}

static bool compile_and_run(struct gr_context *context, const struct gr_plan_options *options,
                            struct gr_error *err)
{
    struct gr_model *model = gr_model_load(context, gr_trial_path("zoo.yaml"), NULL, err);
    struct gr_plan *plan = model ? gr_plan_new(model, options, err) : NULL;
    bool done = plan != NULL;
    if (done) {
        gr_plan_set_learning_rate(plan, 0.01);
        feed(plan);
        done = gr_plan_run(plan, err) && gr_plan_run(plan, err) && note_parameters(model, err);
    }
    for (size_t i = 0; done && i < gr_plan_target_count(plan); i++) {
        const struct gr_tensor tensor = gr_plan_target(plan, i);
        gr_trial_note_text(tensor.name);
        gr_trial_note(tensor.data, (size_t)gr_shape_count(&tensor.shape) * 4);
    }
    gr_plan_free(plan);
    gr_model_free(model);
    return done;
}

static bool infer(struct gr_context *context, struct gr_error *err)
{
    static const char *const targets[] = {"prob", "pool1"};
    return compile_and_run(
        context, &(struct gr_plan_options){.batch = 4, .targets = targets, .n_targets = 2}, err);
}

static bool train_step(struct gr_context *context, struct gr_error *err)
{
    return compile_and_run(
        context, &(struct gr_plan_options){.mode = GR_TRAIN, .batch = 4, .update = true}, err);
}

static bool train_in_bf16(struct gr_context *context, struct gr_error *err)
{
    return compile_and_run(
        context,
        &(struct gr_plan_options){
            .mode = GR_TRAIN, .precision = GR_PRECISION_BF16, .batch = 4, .update = true},
        err);
}

static bool train_in_budget(struct gr_context *context, struct gr_error *err)
{
    return compile_and_run(context,
                           &(struct gr_plan_options){.mode = GR_TRAIN,
                                                     .batch = 16,
                                                     .update = true,
                                                     .memory_budget = 700000,
                                                     .check_finite = true},
                           err);
}

/* More than the 4 MB from which on memory is mapped. */
static bool train_large(struct gr_context *context, struct gr_error *err)
{
    return compile_and_run(
        context, &(struct gr_plan_options){.mode = GR_TRAIN, .batch = 512, .update = true}, err);
}

static bool draw(struct gr_context *context, struct gr_error *err)
{
    struct gr_model *model = gr_model_load(context, gr_trial_path("zoo.yaml"), NULL, err);
    const struct gr_plan_options options = {.mode = GR_TRAIN, .batch = 4, .update = true};
    struct gr_plan *plan = model ? gr_plan_new(model, &options, err) : NULL;
    const struct gr_dot_profile profile = {NULL, 1, "train"};
    char *text = plan ? gr_plan_dot(plan, NULL, err) : NULL;
    const bool done = text != NULL;
    (void)profile;
    if (done)
        gr_trial_note_text(text);
    free(text);
    gr_plan_free(plan);
    gr_model_free(model);
    return done;
}

/* ---- weights and documentation ----------------------------------------------------------- */

static bool weights(struct gr_context *context, struct gr_error *err)
{
    static const char *const rename[] = {"fc2=fc2"};
    const struct gr_transfer_options transfer = {.rename = rename, .n_rename = 1};
    struct gr_model *model = gr_model_load(context, gr_trial_path("zoo.yaml"), NULL, err);
    const bool done =
        model && gr_model_load_weights(model, gr_trial_path("zoo.safetensors"), err) &&
        gr_model_transfer_weights(model, gr_trial_path("zoo.safetensors"), &transfer, err) &&
        gr_model_save_weights(model, gr_trial_out("weights.safetensors"), err) &&
        note_parameters(model, err);
    gr_model_free(model);
    return done;
}

static bool document(struct gr_context *context, struct gr_error *err)
{
    (void)context;
    char *text = gr_document(gr_standard_ops(), NULL, err);
    const bool done = text != NULL;
    if (done)
        gr_trial_note_text(text);
    free(text);
    return done;
}

/* ---- trials ------------------------------------------------------------------------------ */

static const struct gr_trial trials[] = {
    {.name = "loading", .work = load_model},
    {.name = "a model with mistakes", .work = load_broken, .fails = GR_ERR_MODEL},
    {.name = "no model", .work = load_nothing, .fails = GR_ERR_MODEL},
    {.name = "inference", .work = infer},
    {.name = "a training step", .work = train_step},
    {.name = "a training step in bf16", .work = train_in_bf16},
    {.name = "a training step in a budget", .work = train_in_budget},
    {.name = "a large training step", .work = train_large},
    {.name = "drawing", .work = draw},
    {.name = "weights", .work = weights, .before = "old"},
    {.name = "documentation", .work = document},
};

static void try_all(void **state)
{
    const enum gr_fault kind = *(const enum gr_fault *)*state;
    size_t bad = 0;
    for (size_t i = 0; i < sizeof trials / sizeof *trials; i++)
        bad += gr_trial_run(&trials[i], kind);
    assert_int_equal(bad, 0);
}

/* A folder "old" with other weights under the name that will be written. */
static void prepare_weights(void)
{
    struct gr_error err = {0};
    mkdir(gr_trial_path("old"), 0700);
    gr_trial_write("old/weights.safetensors", "what was there before");
    struct gr_model *model =
        gr_model_load(gr_trial_context(), gr_trial_path("zoo.yaml"), NULL, &err);
    gr_trial_ok(model != NULL, &err);
    gr_trial_ok(gr_model_save_weights(model, gr_trial_path("zoo.safetensors"), &err), &err);
    gr_model_free(model);
}

static int set_up(void **state)
{
    if (gr_trial_set_up(state) != 0)
        return -1;
    gr_trial_write("names.txt", "north\neast\nsouth\nwest\n");
    gr_trial_write("net.yaml", network);
    gr_trial_write("broken.yaml", broken);
    gr_trial_write("zoo.yaml", gr_api_zoo);
    prepare_weights();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        gr_fault_test(try_all, GR_FAULT_MEMORY), gr_fault_test(try_all, GR_FAULT_MAP),
        gr_fault_test(try_all, GR_FAULT_ONEDNN), gr_fault_test(try_all, GR_FAULT_OPEN),
        gr_fault_test(try_all, GR_FAULT_READ),   gr_fault_test(try_all, GR_FAULT_WRITE),
        gr_fault_test(try_all, GR_FAULT_SHORT),
    };
    return cmocka_run_group_tests(tests, set_up, gr_trial_tear_down);
}
