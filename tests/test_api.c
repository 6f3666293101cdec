/*
 * The public API as another program sees it: models, plans, parameters, and errors as values.
 * (Training, evaluation and prediction: test_api_train.c.)
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/api_case.h"

enum { BATCH = 2, PIXELS = 3 * 12 * 12, CONV = 8 * 3 * 3 * 3, FC = 4 * 8 * 6 * 6 };

/* ---- helpers ----------------------------------------------------------------------------- */

static struct gr_plan *plan_of(struct gr_model *model, const struct gr_plan_options *options)
{
    struct gr_error err = {0};
    struct gr_plan *plan = gr_plan_new(model, options, &err);
    gr_api_ok(plan != NULL, &err);
    return plan;
}

/* Images that differ from pixel to pixel, and labels 0, 1, 2, ... */
static void feed(struct gr_plan *plan, int64_t batch)
{
    struct gr_error err = {0};
    const size_t count = (size_t)(batch * PIXELS);
    float *images = malloc(count * sizeof *images);
    int32_t *labels = malloc((size_t)batch * sizeof *labels);
    assert_non_null(images);
    assert_non_null(labels);
    for (size_t i = 0; i < count; i++)
        images[i] = (float)((i * 2654435761u >> 8) % 1000) / 500 - 1;
    for (int64_t n = 0; n < batch; n++)
        labels[n] = (int32_t)(n % 4);
    gr_api_ok(gr_plan_feed(plan, "image", images, count * sizeof *images, &err), &err);
    gr_api_ok(gr_plan_feed(plan, "label", labels, (size_t)batch * sizeof *labels, &err), &err);
    free(images);
    free(labels);
}

static void run(struct gr_plan *plan)
{
    struct gr_error err = {0};
    gr_api_ok(gr_plan_run(plan, &err), &err);
}

static float fetch_scalar(const struct gr_plan *plan, const char *name)
{
    struct gr_error err = {0};
    float value = NAN;
    gr_api_ok(gr_plan_fetch(plan, name, &value, sizeof value, &err), &err);
    return value;
}

static struct gr_model *tiny(void)
{
    return gr_api_load("tiny", gr_api_tiny, 1, NULL);
}

/* ---- models ------------------------------------------------------------------------------ */

static void a_model_tells_about_itself(void **state)
{
    (void)state;
    struct gr_model *model = tiny();
    assert_string_equal(gr_model_name(model), "tiny");
    assert_int_equal(gr_model_batch(model), 8);
    assert_int_equal(gr_model_classes(model), 4);
    assert_string_equal(gr_model_class_name(model, 3), "west");
    assert_null(gr_model_class_name(model, 4));
    assert_null(gr_model_class_name(model, -1));
    assert_int_equal(gr_model_node_count(model), 8);
    assert_int_equal(gr_model_parameter_count(model), CONV + 8 + FC + 4);
    assert_int_equal(gr_context_threads(gr_api_context()), 1);
    gr_model_free(model);
}

static void a_resolved_model_reads_as_the_same_model(void **state)
{
    (void)state;
    static const char *const sets[] = {"train.batch=5", NULL};
    static const char *const texts[] = {gr_api_tiny, gr_api_zoo};
    for (int i = 0; i < 2; i++) {
        struct gr_model *model = gr_api_load("first", texts[i], 1, sets);
        struct gr_model *again = gr_api_load("second", gr_model_resolved(model), 1, NULL);
        assert_string_equal(gr_model_name(again), gr_model_name(model));
        assert_int_equal(gr_model_batch(again), 5);
        assert_int_equal(gr_model_node_count(again), gr_model_node_count(model));
        assert_int_equal(gr_model_parameter_count(again), gr_model_parameter_count(model));
        assert_string_equal(gr_model_resolved(again), gr_model_resolved(model));
        gr_model_free(again);
        gr_model_free(model);
    }
}

static void every_mistake_of_a_model_file_reaches_the_log(void **state)
{
    (void)state;
    struct gr_error err = {0};
    gr_api_write("bad.yaml", "format: 1\n"
                             "inputs: {image: {shape: [3, 8, 8]}}\n"
                             "nodes:\n"
                             "  - {name: a, op: konv, inputs: image}\n"
                             "  - {name: b, op: relu, inputs: imagee}\n");
    assert_null(gr_model_load(gr_api_context(), gr_api_path("bad.yaml"), NULL, &err));
    assert_int_equal(err.status, GR_ERR_MODEL);
    assert_non_null(strstr(gr_api_log(), "bad.yaml:4:"));
    assert_non_null(strstr(gr_api_log(), "'conv'"));
    assert_non_null(strstr(gr_api_log(), "bad.yaml:5:"));
    assert_non_null(strstr(gr_api_log(), "'image'"));
}

static void a_missing_model_file_is_an_error_that_names_it(void **state)
{
    (void)state;
    struct gr_error err = {0};
    assert_null(gr_model_load(gr_api_context(), gr_api_path("none.yaml"), NULL, &err));
    assert_true(err.status != GR_OK);
    assert_non_null(strstr(err.message, "none.yaml"));
}

/* ---- plans ------------------------------------------------------------------------------- */

static void inference_gives_probabilities(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct gr_model *model = tiny();
    struct gr_plan *plan = plan_of(model, &(struct gr_plan_options){.batch = BATCH});
    float prob[BATCH][4];
    assert_int_equal(gr_plan_input_count(plan), 1);
    assert_string_equal(gr_plan_input(plan, 0).name, "image");
    assert_int_equal(gr_plan_target_count(plan), 1);
    assert_string_equal(gr_plan_target(plan, 0).name, "prob");
    feed(plan, BATCH);
    run(plan);
    gr_api_ok(gr_plan_fetch(plan, "prob", prob, sizeof prob, &err), &err);
    for (int n = 0; n < BATCH; n++) {
        float total = 0;
        for (int c = 0; c < 4; c++)
            total += prob[n][c];
        assert_true(fabsf(total - 1) < 1e-5f);
    }
    assert_memory_equal(prob, gr_plan_target(plan, 0).data, sizeof prob);
    gr_plan_free(plan);
    gr_model_free(model);
}

static void the_batch_is_the_models_unless_said_otherwise(void **state)
{
    (void)state;
    struct gr_model *model = tiny();
    struct gr_plan *plan = plan_of(model, NULL);
    assert_int_equal(gr_plan_input(plan, 0).shape.dim[0], 8);
    gr_plan_free(plan);
    gr_model_free(model);
}

static void any_value_can_be_fetched_by_name(void **state)
{
    (void)state;
    static const char *const targets[] = {"conv1", "relu1", "pool1", "fc2", "conv1.weight"};
    struct gr_error err = {0};
    struct gr_model *model = tiny();
    struct gr_plan *plan = plan_of(
        model, &(struct gr_plan_options){.batch = BATCH, .targets = targets, .n_targets = 5});
    static float conv[BATCH * 8 * 144], relu[BATCH * 8 * 144];
    float weight[CONV], stored[CONV];
    feed(plan, BATCH);
    run(plan);
    gr_api_ok(gr_plan_fetch(plan, "conv1", conv, sizeof conv, &err), &err);
    gr_api_ok(gr_plan_fetch(plan, "relu1", relu, sizeof relu, &err), &err);
    for (size_t i = 0; i < sizeof conv / sizeof *conv; i++)
        assert_true(fabsf(relu[i] - fmaxf(conv[i], 0)) < 1e-6f);
    gr_api_ok(gr_plan_fetch(plan, "conv1.weight", weight, sizeof weight, &err), &err);
    gr_api_ok(gr_model_get_parameter(model, "conv1.weight", stored, CONV, &err), &err);
    assert_memory_equal(weight, stored, sizeof weight);
    gr_plan_free(plan);
    gr_model_free(model);
}

/* w + step in each element of the bias: the loss follows grad:fc2.bias. */
static void gradients_are_fetched_by_name(void **state)
{
    (void)state;
    static const char *const targets[] = {"loss", "grad:fc2.bias", "grad:image"};
    struct gr_error err = {0};
    struct gr_model *model = tiny();
    struct gr_plan *plan = plan_of(
        model, &(struct gr_plan_options){.batch = BATCH, .targets = targets, .n_targets = 3});
    static float image[BATCH * PIXELS];
    float gradient[4], bias[4], moved[4];
    const float step = 1e-2f;
    feed(plan, BATCH);
    run(plan);
    gr_api_ok(gr_plan_fetch(plan, "grad:fc2.bias", gradient, sizeof gradient, &err), &err);
    gr_api_ok(gr_plan_fetch(plan, "grad:image", image, sizeof image, &err), &err);
    gr_api_ok(gr_model_get_parameter(model, "fc2.bias", bias, 4, &err), &err);
    for (int i = 0; i < 4; i++) {
        float loss[2];
        for (int side = 0; side < 2; side++) {
            memcpy(moved, bias, sizeof bias);
            moved[i] += side ? step : -step;
            gr_api_ok(gr_model_set_parameter(model, "fc2.bias", moved, 4, &err), &err);
            run(plan);
            loss[side] = fetch_scalar(plan, "loss");
        }
        assert_true(fabsf((loss[1] - loss[0]) / (2 * step) - gradient[i]) < 1e-3f);
    }
    float largest = 0;
    for (size_t i = 0; i < sizeof image / sizeof *image; i++)
        largest = fmaxf(largest, fabsf(image[i]));
    assert_true(largest > 0);
    gr_plan_free(plan);
    gr_model_free(model);
}

static void a_training_plan_steps_and_reduces_the_loss(void **state)
{
    (void)state;
    struct gr_model *model = tiny();
    struct gr_plan *plan =
        plan_of(model, &(struct gr_plan_options){.mode = GR_TRAIN, .batch = BATCH, .update = true});
    assert_int_equal(gr_plan_target_count(plan), 2);
    assert_string_equal(gr_plan_target(plan, 0).name, "loss");
    assert_string_equal(gr_plan_target(plan, 1).name, "top1");
    feed(plan, BATCH);
    gr_plan_set_learning_rate(plan, 0);
    run(plan);
    const float first = fetch_scalar(plan, "loss");
    gr_plan_set_learning_rate(plan, 0.05);
    for (int i = 0; i < 40; i++)
        run(plan);
    assert_int_equal(gr_plan_step(plan), 41);
    assert_true(fetch_scalar(plan, "loss") < first / 4);
    gr_plan_set_step(plan, 7);
    assert_int_equal(gr_plan_step(plan), 7);
    gr_plan_free(plan);
    gr_model_free(model);
}

static void no_memory_plan_and_no_fusion_give_the_same_loss(void **state)
{
    (void)state;
    float losses[3];
    for (int i = 0; i < 3; i++) {
        struct gr_model *model = gr_api_load("zoo", gr_api_zoo, 1, NULL);
        struct gr_plan *plan = plan_of(model, &(struct gr_plan_options){.mode = GR_TRAIN,
                                                                        .batch = BATCH,
                                                                        .update = true,
                                                                        .no_memory_plan = i == 1,
                                                                        .reference = i == 2});
        feed(plan, BATCH);
        gr_plan_set_learning_rate(plan, 0.01);
        for (int k = 0; k < 5; k++)
            run(plan);
        losses[i] = fetch_scalar(plan, "loss");
        gr_plan_free(plan);
        gr_model_free(model);
    }
    assert_memory_equal(&losses[0], &losses[1], sizeof losses[0]);
    assert_true(fabsf(losses[0] - losses[2]) < 1e-4f);
}

static void a_plan_can_be_looked_into(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct gr_model *model = tiny();
    struct gr_plan *plan =
        plan_of(model, &(struct gr_plan_options){.mode = GR_TRAIN, .batch = BATCH, .update = true});
    const struct gr_memory_report memory = gr_plan_memory(plan);
    bool forward = false, backward = false, update = false;
    double macs = 0, seconds = 0;
    feed(plan, BATCH);
    gr_plan_profile(plan, true);
    run(plan);
    for (size_t i = 0; i < gr_plan_node_count(plan); i++) {
        const struct gr_node_info info = gr_plan_node(plan, i);
        forward = forward || strcmp(info.phase, "forward") == 0;
        backward = backward || strcmp(info.phase, "backward") == 0;
        update = update || strcmp(info.phase, "update") == 0;
        if (strcmp(info.name, "conv1") == 0)
            macs = info.macs;
        seconds += info.seconds;
    }
    assert_true(forward && backward && update);
    assert_true(seconds > 0);
    assert_int_equal((int64_t)macs, (int64_t)BATCH * 144 * CONV);
    assert_true(memory.lower_bound > 0 && memory.lower_bound <= memory.planned);
    assert_true(memory.planned < memory.without_reuse);
    assert_true(memory.parameters >= (CONV + 8 + FC + 4) * sizeof(float));
    assert_true(memory.states >= (CONV + 8 + FC + 4) * sizeof(float));
    char *dot = gr_plan_dot(plan, NULL, &err);
    gr_api_ok(dot != NULL, &err);
    assert_memory_equal(dot, "digraph", 7);
    assert_non_null(strstr(dot, "conv1"));
    free(dot);
    gr_plan_free(plan);
    gr_model_free(model);
}

/* ---- weights ----------------------------------------------------------------------------- */

static void saved_weights_load_into_another_model(void **state)
{
    (void)state;
    static const char *const names[] = {"conv1.weight", "conv1.bias", "bn.weight", "bn.running_var",
                                        "fc2.weight"};
    static const size_t counts[] = {16 * 27, 16, 16, 16, 64};
    struct gr_error err = {0};
    const char *path = gr_api_path("weights.safetensors"), *copy = gr_api_path("copy.safetensors");
    struct gr_model *one = gr_api_load("zoo", gr_api_zoo, 1, NULL);
    struct gr_model *two = gr_api_load("zoo", gr_api_zoo, 2, NULL);
    struct gr_plan *plan =
        plan_of(one, &(struct gr_plan_options){.mode = GR_TRAIN, .batch = BATCH, .update = true});
    float a[16 * 27], b[16 * 27];
    feed(plan, BATCH);
    gr_plan_set_learning_rate(plan, 0.01);
    run(plan);
    gr_api_ok(gr_model_save_weights(one, path, &err), &err);
    gr_api_ok(gr_model_get_parameter(one, "conv1.weight", a, counts[0], &err), &err);
    gr_api_ok(gr_model_get_parameter(two, "conv1.weight", b, counts[0], &err), &err);
    assert_memory_not_equal(a, b, sizeof a); /* another seed */
    gr_api_ok(gr_model_load_weights(two, path, &err), &err);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        gr_api_ok(gr_model_get_parameter(one, names[i], a, counts[i], &err), &err);
        gr_api_ok(gr_model_get_parameter(two, names[i], b, counts[i], &err), &err);
        assert_memory_equal(a, b, counts[i] * sizeof *a);
    }
    gr_api_ok(gr_model_save_weights(two, copy, &err), &err);
    gr_api_expect_same_tensors(path, copy);
    gr_plan_free(plan);
    gr_model_free(two);
    gr_model_free(one);
}

/* Zeros in the shapes that tiny needs, after what a test changes. */
static struct gr_tensor tensors[5];

static size_t tiny_tensors(void)
{
    static float zeros[FC];
    const struct gr_shape conv = {4, {8, 3, 3, 3}}, eight = {1, {8}}, fc = {2, {4, 288}},
                          four = {1, {4}};
    tensors[0] = (struct gr_tensor){"conv1.weight", GR_F32, conv, zeros};
    tensors[1] = (struct gr_tensor){"conv1.bias", GR_F32, eight, zeros};
    tensors[2] = (struct gr_tensor){"fc2.weight", GR_F32, fc, zeros};
    tensors[3] = (struct gr_tensor){"fc2.bias", GR_F32, four, zeros};
    tensors[4] = (struct gr_tensor){"of another model", GR_F32, four, zeros};
    return 5;
}

static bool load_tensors(struct gr_model *model, const char *path, size_t count,
                         struct gr_error *err)
{
    gr_api_ok(gr_tensor_file_write(path, tensors, count, NULL, 0, err), err);
    return gr_model_load_weights(model, path, err);
}

static void weights_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct gr_model *model = tiny();
    const char *path = gr_api_path("w.safetensors");
    size_t count = tiny_tensors();
    gr_api_ok(load_tensors(model, path, count, &err), &err); /* one too many is fine */
    tensors[2].name = "fc2.weigth";
    gr_api_refused(load_tensors(model, path, count, &err), &err, GR_ERR_DATA,
                   "%s: there is no tensor 'fc2.weight', which the model 'tiny' needs", path);
    count = tiny_tensors();
    tensors[1].shape.dim[0] = 7;
    gr_api_refused(load_tensors(model, path, count, &err), &err, GR_ERR_DATA,
                   "%s: 'conv1.bias' is 7, but the model's is 8", path);
    count = tiny_tensors();
    tensors[0].shape = (struct gr_shape){4, {8, 3, 1, 9}};
    gr_api_refused(load_tensors(model, path, count, &err), &err, GR_ERR_DATA,
                   "%s: 'conv1.weight' is 8×3×1×9, but the model's is 8×3×3×3", path);
    count = tiny_tensors();
    tensors[3].dtype = GR_S32;
    gr_api_refused(load_tensors(model, path, count, &err), &err, GR_ERR_DATA,
                   "%s: 'fc2.bias' is s32, not f32", path);
    assert_false(gr_model_load_weights(model, gr_api_path("none"), &err));
    assert_non_null(strstr(err.message, "none"));
    gr_model_free(model);
}

/* ---- what is refused --------------------------------------------------------------------- */

static void expect_no_plan(struct gr_model *model, const char *target, enum gr_status status,
                           const char *message)
{
    struct gr_error err = {0};
    const struct gr_plan_options options = {.targets = &target, .n_targets = 1};
    gr_api_refused(gr_plan_new(model, &options, &err) != NULL, &err, status, "%s", message);
}

static void an_unknown_target_is_refused_with_a_suggestion(void **state)
{
    (void)state;
    struct gr_model *model = tiny();
    expect_no_plan(model, "conv11", GR_ERR_USAGE,
                   "the model 'tiny' has no value 'conv11'; did you mean 'conv1'?");
    expect_no_plan(model, "grad:fc2.wieght", GR_ERR_USAGE,
                   "the model 'tiny' has no value 'fc2.wieght'; did you mean 'fc2.weight'?");
    expect_no_plan(model, "xyzzy", GR_ERR_USAGE, "the model 'tiny' has no value 'xyzzy'");
    expect_no_plan(model, "grad:label", GR_ERR_USAGE,
                   "'label' has no gradient: the loss does not depend on it");
    gr_model_free(model);
}

static void what_does_not_fit_an_input_is_refused(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct gr_model *model = tiny();
    static const char *const targets[] = {"loss"};
    const float image[4] = {0};
    struct gr_plan *plan = plan_of(
        model, &(struct gr_plan_options){.batch = BATCH, .targets = targets, .n_targets = 1});
    gr_api_refused(gr_plan_feed(plan, "image", image, sizeof image, &err), &err, GR_ERR_USAGE,
                   "'image' is f32 2×3×12×12: 3456 bytes, not 16");
    gr_api_refused(gr_plan_feed(plan, "imag", image, sizeof image, &err), &err, GR_ERR_USAGE,
                   "the model 'tiny' has no input 'imag'");
    gr_api_refused(gr_plan_feed(plan, "label", (const int32_t[]){0, 4}, 8, &err), &err, GR_ERR_DATA,
                   "label 4 at position 1 of 'label' is not within 0 to 3 (or -1 for none)");
    gr_api_refused(gr_plan_feed(plan, "label", (const int32_t[]){-2, 0}, 8, &err), &err,
                   GR_ERR_DATA,
                   "label -2 at position 0 of 'label' is not within 0 to 3 (or -1 for none)");
    gr_api_ok(gr_plan_feed(plan, "label", (const int32_t[]){-1, 3}, 8, &err), &err);
    gr_plan_free(plan);
    gr_model_free(model);
}

static void what_is_no_target_or_does_not_fit_it_is_refused(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct gr_model *model = tiny();
    struct gr_plan *plan = plan_of(model, &(struct gr_plan_options){.batch = BATCH});
    float data[8];
    gr_api_refused(gr_plan_fetch(plan, "loss", data, 4, &err), &err, GR_ERR_USAGE,
                   "'loss' is not a target of the plan");
    gr_api_refused(gr_plan_fetch(plan, "prob", data, 28, &err), &err, GR_ERR_USAGE,
                   "'prob' has 32 bytes, not 28");
    gr_plan_free(plan);
    gr_model_free(model);
}

static void an_unknown_parameter_or_another_count_is_refused(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct gr_model *model = tiny();
    float data[8] = {0};
    gr_api_refused(gr_model_get_parameter(model, "conv9.bias", data, 8, &err), &err, GR_ERR_USAGE,
                   "the model 'tiny' has no parameter 'conv9.bias'");
    gr_api_refused(gr_model_set_parameter(model, "conv1.bias", data, 7, &err), &err, GR_ERR_USAGE,
                   "'conv1.bias' has 8 elements, not 7");
    gr_model_free(model);
}

static void numbers_that_are_not_finite_are_reported_where_asked(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct gr_model *model = tiny();
    const float bias[4] = {0, INFINITY, 0, 0};
    gr_api_ok(gr_model_set_parameter(model, "fc2.bias", bias, 4, &err), &err);
    for (int check = 0; check < 2; check++) {
        struct gr_plan *plan =
            plan_of(model, &(struct gr_plan_options){.batch = BATCH, .check_finite = check});
        feed(plan, BATCH);
        if (check)
            gr_api_refused(gr_plan_run(plan, &err), &err, GR_ERR_DIVERGED,
                           "'fc2', made by node 'fc2' (linear), holds NaN or infinity in step 0");
        else
            gr_api_ok(gr_plan_run(plan, &err), &err);
        gr_plan_free(plan);
    }
    gr_model_free(model);
}

static void kinds_are_documented_by_name(void **state)
{
    (void)state;
    struct gr_error err = {0};
    char *all = gr_document(gr_standard_ops(), NULL, &err);
    gr_api_ok(all != NULL, &err);
    char *conv = gr_document(gr_standard_ops(), "conv", &err);
    gr_api_ok(conv != NULL, &err);
    assert_non_null(strstr(all, "conv"));
    assert_non_null(strstr(conv, "out_channels"));
    assert_null(gr_document(gr_standard_ops(), "konv", &err));
    assert_int_equal(err.status, GR_ERR_USAGE);
    free(all);
    free(conv);
}

#define API_TEST(NAME) cmocka_unit_test_setup_teardown(NAME, gr_api_set_up, gr_api_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        API_TEST(a_model_tells_about_itself),
        API_TEST(a_resolved_model_reads_as_the_same_model),
        API_TEST(every_mistake_of_a_model_file_reaches_the_log),
        API_TEST(a_missing_model_file_is_an_error_that_names_it),
        API_TEST(inference_gives_probabilities),
        API_TEST(the_batch_is_the_models_unless_said_otherwise),
        API_TEST(any_value_can_be_fetched_by_name),
        API_TEST(gradients_are_fetched_by_name),
        API_TEST(a_training_plan_steps_and_reduces_the_loss),
        API_TEST(no_memory_plan_and_no_fusion_give_the_same_loss),
        API_TEST(a_plan_can_be_looked_into),
        API_TEST(saved_weights_load_into_another_model),
        API_TEST(weights_that_do_not_fit_are_refused),
        API_TEST(an_unknown_target_is_refused_with_a_suggestion),
        API_TEST(what_does_not_fit_an_input_is_refused),
        API_TEST(what_is_no_target_or_does_not_fit_it_is_refused),
        API_TEST(an_unknown_parameter_or_another_count_is_refused),
        API_TEST(numbers_that_are_not_finite_are_reported_where_asked),
        API_TEST(kinds_are_documented_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
