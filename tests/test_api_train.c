/*
 * Training and evaluation through the public API: what they come to, and that neither
 * an interruption nor the size of a batch changes it.
 */
#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "support/api_case.h"

enum { VALIDATION = 23, STEPS = 7 /* an epoch: 60 images in full batches of 8 */ };

/* ---- watching a run ---------------------------------------------------------------------- */

/* What the progress callback saw, and where it is to stop. */
struct watch {
    int64_t stop_at; /* total step; 0: never */
    bool stop_in_validation;
    int64_t train_calls, val_calls, epochs_ended;
    double first_loss, last_loss; /* of validation */
    bool orderly;                 /* steps counted up one by one */
    int64_t last_step;
};

static bool progress(void *user, const struct gr_progress *p)
{
    struct watch *watch = user;
    if (strcmp(p->stage, "val") == 0) {
        watch->val_calls++;
        if (p->last) {
            watch->first_loss = watch->epochs_ended ? watch->first_loss : p->loss;
            watch->last_loss = p->loss;
            watch->epochs_ended++;
        }
        return !watch->stop_in_validation || p->step < 2;
    }
    watch->train_calls++;
    watch->orderly = watch->orderly && p->total_step == watch->last_step + 1 && p->steps == STEPS &&
                     p->step >= 1 && p->step <= p->steps && p->last == (p->step == p->steps) &&
                     p->learning_rate > 0;
    watch->last_step = p->total_step;
    return !watch->stop_at || p->total_step < watch->stop_at;
}

/* A fresh model, as another process would have it, trained from or into folders. */
static struct gr_train_result train(const char *text, const char *out, const char *resume,
                                    struct watch *watch)
{
    struct gr_error err = {0};
    struct gr_train_result result;
    struct gr_model *model = gr_api_load("model", text, 1, NULL);
    const struct gr_train_options options = {
        .out = out, .resume = resume, .progress = progress, .progress_user = watch};
    gr_api_ok(gr_train(model, &options, &result, &err), &err);
    gr_model_free(model);
    return result;
}

static const char *within(const char *folder, const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", strrchr(folder, '/') + 1, name);
    return gr_api_path(path);
}

/* The lines of a run's metrics.jsonl, each parsed. For the caller to json_decref. */
static json_t *read_metrics(const char *out)
{
    char line[4096];
    json_t *lines = json_array();
    FILE *file = fopen(within(out, "metrics.jsonl"), "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        json_error_t error;
        json_t *object = json_loads(line, 0, &error);
        if (!object)
            fail_msg("%s: %s", error.text, line);
        assert_int_equal(json_array_append_new(lines, object), 0);
    }
    fclose(file);
    return lines;
}

static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value))
        fail_msg("'%s' is no number", key);
    return json_number_value(value);
}

/* ---- training ---------------------------------------------------------------------------- */

static void training_reduces_the_loss_and_records_it(void **state)
{
    (void)state;
    struct watch watch = {.orderly = true};
    const char *out = gr_api_path("run");
    const struct gr_train_result result = train(gr_api_tiny, out, NULL, &watch);
    assert_int_equal(result.epochs, 3);
    assert_int_equal(result.steps, 3 * STEPS);
    assert_false(result.interrupted);
    assert_true(watch.orderly);
    assert_int_equal(watch.train_calls, 3 * STEPS);
    assert_int_equal(watch.val_calls, 3 * 3);
    assert_int_equal(watch.epochs_ended, 3);
    if (!(watch.last_loss < 0.8 * watch.first_loss))
        fail_msg("from %g to %g", watch.first_loss, watch.last_loss);

    json_t *lines = read_metrics(out);
    double best = 0;
    assert_int_equal(json_array_size(lines), 6);
    for (size_t i = 0; i < 6; i++) {
        const json_t *line = json_array_get(lines, i);
        assert_string_equal(json_string_value(json_object_get(line, "stage")),
                            i % 2 ? "val" : "train");
        assert_int_equal((int)number(line, "epoch"), i / 2 + 1);
        assert_int_equal((int)number(line, "step"), (i / 2 + 1) * STEPS);
        assert_true(number(line, "loss") > 0);
        assert_true(number(line, "seconds") >= 0);
        assert_true(fabs(number(line, "learning_rate") - 0.04 * pow(0.5, (double)(i / 2))) < 1e-9);
        if (i % 2)
            best = fmax(best, number(line, "top1"));
    }
    assert_true(fabs(number(json_array_get(lines, 5), "loss") - watch.last_loss) < 1e-6);
    assert_true(fabs(result.best - best) < 1e-6);
    json_decref(lines);
}

static void the_best_epochs_weights_are_kept(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct watch watch = {0};
    struct gr_eval_result evaluated;
    const char *out = gr_api_path("run");
    const struct gr_train_result result = train(gr_api_tiny, out, NULL, &watch);
    struct gr_model *model = gr_api_load("model", gr_api_tiny, 2, NULL);
    gr_api_ok(gr_model_load_weights(model, within(out, "best.safetensors"), &err), &err);
    gr_api_ok(gr_evaluate(model, &(struct gr_eval_options){0}, &evaluated, &err), &err);
    assert_int_equal(evaluated.n_metrics, 1);
    assert_string_equal(evaluated.metrics[0].name, "top1");
    assert_true(fabs(evaluated.metrics[0].value - result.best) < 1e-6);
    gr_api_ok(gr_model_load_weights(model, within(out, "latest.safetensors"), &err), &err);
    gr_api_ok(gr_evaluate(model, &(struct gr_eval_options){0}, &evaluated, &err), &err);
    assert_true(fabs(evaluated.loss - watch.last_loss) < 1e-6);
    gr_model_free(model);
}

static void a_run_folder_holds_a_model_that_loads(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct watch watch = {0};
    const char *out = gr_api_path("run");
    train(gr_api_tiny, out, NULL, &watch);
    struct gr_model *model = gr_model_load(gr_api_context(), within(out, "model.yaml"), NULL, &err);
    gr_api_ok(model != NULL, &err);
    assert_int_equal(gr_model_parameter_count(model), 1380);
    gr_api_ok(gr_model_load_weights(model, within(out, "best.safetensors"), &err), &err);
    gr_model_free(model);
}

static void a_folder_that_holds_a_run_is_not_overwritten(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct watch watch = {0};
    struct gr_train_result result;
    const char *out = gr_api_path("run");
    train(gr_api_tiny, out, NULL, &watch);
    struct gr_model *model = gr_api_load("model", gr_api_tiny, 1, NULL);
    assert_false(gr_train(model, &(struct gr_train_options){.out = out}, &result, &err));
    assert_int_equal(err.status, GR_ERR_USAGE);
    assert_non_null(strstr(err.message, "already holds a run"));
    gr_model_free(model);
}

static void steps_bound_a_run_and_epochs_can_be_more(void **state)
{
    (void)state;
    static const int64_t bounds[][3] = {{5, 0, 5}, {STEPS, 0, STEPS}, {10, 1, STEPS}, {0, 4, 28}};
    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++) {
        struct gr_error err = {0};
        struct gr_train_result result;
        char name[16];
        snprintf(name, sizeof name, "run%zu", i);
        struct gr_model *model = gr_api_load("model", gr_api_tiny, 1, NULL);
        const struct gr_train_options options = {
            .out = gr_api_path(name), .steps = bounds[i][0], .epochs = bounds[i][1]};
        gr_api_ok(gr_train(model, &options, &result, &err), &err);
        assert_int_equal(result.steps, bounds[i][2]);
        assert_false(result.interrupted);
        gr_model_free(model);
    }
}

static void a_rate_without_measure_is_reported_as_divergence(void **state)
{
    (void)state;
    static const char *const sets[] = {"train.learning_rate.step.base=1e6", NULL};
    struct gr_error err = {0};
    struct gr_train_result result;
    struct gr_model *model = gr_api_load("model", gr_api_tiny, 1, sets);
    const struct gr_train_options options = {.out = gr_api_path("run")};
    assert_false(gr_train(model, &options, &result, &err));
    assert_int_equal(err.status, GR_ERR_DIVERGED);
    assert_non_null(strstr(err.message, "diverged in step"));
    assert_non_null(strstr(err.message, "made by node"));
    gr_model_free(model);
}

/* A ReLU makes zeros of NaN: the results would look sound. */
static void weights_with_nan_are_told_of_and_not_trained(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct gr_train_result result;
    const float bias[8] = {1, 1, 0.0f / 0.0f, 1, 1, 1, 1, 1};
    const char *weights = gr_api_path("broken.safetensors");
    struct gr_model *model = gr_api_load("model", gr_api_tiny, 1, NULL);
    gr_api_ok(gr_model_set_parameter(model, "conv1.bias", bias, 8, &err), &err);
    gr_api_ok(gr_model_save_weights(model, weights, &err), &err);
    gr_model_free(model);
    for (int transfer = 0; transfer < 2; transfer++) {
        const struct gr_transfer_options all = {.row = NULL};
        char told[4200];
        snprintf(told, sizeof told,
                 "%s: 'conv1.bias' holds NaN or infinity (1 of 8 values): results mean nothing",
                 weights);
        const size_t before = strlen(gr_api_log());
        model = gr_api_load("model", gr_api_tiny, 1, NULL);
        gr_api_ok(transfer ? gr_model_transfer_weights(model, weights, &all, &err)
                           : gr_model_load_weights(model, weights, &err),
                  &err);
        assert_non_null(strstr(gr_api_log() + before, told));
        if (transfer)
            gr_api_refused(gr_train(model, &(struct gr_train_options){.out = gr_api_path("run")},
                                    &result, &err),
                           &err, GR_ERR_DIVERGED,
                           "'conv1.bias' holds NaN or infinity before the first step");
        gr_model_free(model);
    }
}

/* ---- plateau ----------------------------------------------------------------------------- */

/* Nothing improves by so much: the first validation counts, each one after it is a plateau. */
static const char *const never_better[] = {
    "train.epochs=90", "train.learning_rate={plateau: {base: 0.01, patience: 1, threshold: 10}}",
    NULL};

static struct gr_train_result train_to_the_plateau(const char *out, const char *resume,
                                                   int64_t epochs)
{
    struct gr_error err = {0};
    struct gr_train_result result;
    struct gr_model *model = gr_api_load("model", gr_api_tiny, 1, never_better);
    const struct gr_train_options options = {.out = out, .resume = resume, .epochs = epochs};
    gr_api_ok(gr_train(model, &options, &result, &err), &err);
    gr_model_free(model);
    return result;
}

static void the_plateau_after_three_drops_ends_the_training(void **state)
{
    (void)state;
    static const double rates[] = {0.01, 0.01, 0.001, 0.0001, 0.00001};
    struct gr_error err = {0};
    const char *out = gr_api_path("run");
    const struct gr_train_result result = train_to_the_plateau(out, NULL, 0);
    assert_int_equal(result.epochs, 5);
    assert_true(result.plateau);
    assert_false(result.interrupted);
    json_t *lines = read_metrics(out);
    assert_int_equal(json_array_size(lines), 10);
    for (size_t i = 0; i < 10; i++) {
        const double rate = number(json_array_get(lines, i), "learning_rate");
        assert_true(fabs(rate / rates[i / 2] - 1) < 1e-9);
    }
    json_decref(lines);
    assert_non_null(strstr(gr_api_log(), "plateau: top1 improves no more; drop 1 of the learning "
                                         "rate, 0.01 to 0.001\n"));
    assert_non_null(strstr(gr_api_log(), "drop 3 of the learning rate, 0.0001 to 1e-05\n"));
    assert_non_null(strstr(gr_api_log(), "all drops are done; training ends\n"));
    static const char *const files[] = {"latest.safetensors", "best.safetensors"};
    for (int i = 0; i < 2; i++) {
        struct gr_tensor_file *file = gr_tensor_file_read(within(out, files[i]), &err);
        gr_api_ok(file != NULL, &err);
        gr_tensor_file_free(file);
    }
}

static void a_run_that_its_plateau_ended_stays_ended(void **state)
{
    (void)state;
    const char *out = gr_api_path("run"), *parts = gr_api_path("parts");
    train_to_the_plateau(out, NULL, 0);
    const struct gr_train_result again = train_to_the_plateau(out, out, 100);
    assert_int_equal(again.epochs, 5);
    assert_true(again.plateau);
    for (int64_t epochs = 1; epochs <= 3; epochs += 2) /* the drops so far are remembered */
        assert_false(train_to_the_plateau(parts, epochs > 1 ? parts : NULL, epochs).plateau);
    assert_int_equal(train_to_the_plateau(parts, parts, 0).epochs, 5);
    gr_api_expect_same_tensors(within(out, "latest.safetensors"),
                               within(parts, "latest.safetensors"));
}

/* ---- interruption ------------------------------------------------------------------------ */

static void expect_same_record(const char *out_a, const char *out_b)
{
    static const char *const keys[] = {"epoch", "batch", "step", "best", "schedule", "seed"};
    struct gr_error err = {0};
    struct gr_tensor_file *a = gr_tensor_file_read(within(out_a, "latest.safetensors"), &err);
    gr_api_ok(a != NULL, &err);
    struct gr_tensor_file *b = gr_tensor_file_read(within(out_b, "latest.safetensors"), &err);
    gr_api_ok(b != NULL, &err);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        assert_non_null(gr_tensor_file_metadata(a, keys[i]));
        assert_string_equal(gr_tensor_file_metadata(a, keys[i]),
                            gr_tensor_file_metadata(b, keys[i]));
    }
    gr_tensor_file_free(a);
    gr_tensor_file_free(b);
}

/* The validations of two runs came to the same, after the same learning rates. */
static void expect_same_validations(const char *out_a, const char *out_b)
{
    double losses[2][3], rates[2][3];
    for (int k = 0; k < 2; k++) {
        json_t *lines = read_metrics(k ? out_b : out_a);
        size_t n = 0;
        for (size_t i = 0; i < json_array_size(lines); i++) {
            const json_t *line = json_array_get(lines, i);
            if (strcmp(json_string_value(json_object_get(line, "stage")), "val") == 0) {
                assert_true(n < 3);
                rates[k][n] = number(line, "learning_rate");
                losses[k][n++] = number(line, "loss");
            }
        }
        assert_int_equal(n, 3);
        json_decref(lines);
    }
    assert_memory_equal(losses[0], losses[1], sizeof losses[0]);
    assert_memory_equal(rates[0], rates[1], sizeof rates[0]);
}

/* Interrupts at each of these steps in turn, and at the end compares with a run in one go. */
static void check_resuming(const char *text, const int64_t *stops, size_t n)
{
    const char *whole = gr_api_path("whole"), *parts = gr_api_path("parts");
    struct watch watch = {0};
    struct gr_train_result result = {0};
    train(text, whole, NULL, &watch);
    for (size_t i = 0; i <= n; i++) {
        watch = (struct watch){.stop_at = i < n ? stops[i] : 0};
        result = train(text, parts, i ? parts : NULL, &watch);
        assert_int_equal(result.interrupted, i < n);
        assert_int_equal(result.steps, i < n ? stops[i] : 3 * STEPS);
    }
    gr_api_expect_same_tensors(within(whole, "latest.safetensors"),
                               within(parts, "latest.safetensors"));
    gr_api_expect_same_tensors(within(whole, "best.safetensors"),
                               within(parts, "best.safetensors"));
    expect_same_record(whole, parts);
    expect_same_validations(whole, parts);
}

static void a_run_resumed_in_mid_epoch_ends_with_the_same_bits(void **state)
{
    (void)state;
    check_resuming(gr_api_tiny, (const int64_t[]){3}, 1);
}

static void a_run_resumed_several_times_ends_with_the_same_bits(void **state)
{
    (void)state;
    check_resuming(gr_api_tiny, (const int64_t[]){1, 2, 10, 20}, 4);
}

static void a_run_resumed_between_epochs_ends_with_the_same_bits(void **state)
{
    (void)state;
    check_resuming(gr_api_tiny, (const int64_t[]){STEPS, 2 * STEPS}, 2);
}

static void running_statistics_and_dropout_resume_too(void **state)
{
    (void)state;
    check_resuming(gr_api_zoo, (const int64_t[]){11}, 1);
}

static void a_run_interrupted_while_validating_validates_again(void **state)
{
    (void)state;
    const char *whole = gr_api_path("whole"), *parts = gr_api_path("parts");
    struct watch watch = {0};
    train(gr_api_tiny, whole, NULL, &watch);
    watch = (struct watch){.stop_in_validation = true};
    struct gr_train_result result = train(gr_api_tiny, parts, NULL, &watch);
    assert_true(result.interrupted);
    assert_int_equal(result.steps, STEPS);
    watch = (struct watch){0};
    result = train(gr_api_tiny, parts, parts, &watch);
    assert_false(result.interrupted);
    assert_int_equal(result.steps, 3 * STEPS);
    gr_api_expect_same_tensors(within(whole, "latest.safetensors"),
                               within(parts, "latest.safetensors"));
    gr_api_expect_same_tensors(within(whole, "best.safetensors"),
                               within(parts, "best.safetensors"));
    expect_same_validations(whole, parts);
}

static void a_run_is_resumed_only_with_its_seed(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct gr_train_result result;
    struct watch watch = {.stop_at = 2};
    const char *out = gr_api_path("run");
    train(gr_api_tiny, out, NULL, &watch);
    struct gr_model *model = gr_api_load("model", gr_api_tiny, 9, NULL);
    assert_false(
        gr_train(model, &(struct gr_train_options){.out = out, .resume = out}, &result, &err));
    assert_int_equal(err.status, GR_ERR_USAGE);
    assert_non_null(strstr(err.message, "was made with seed 1, not 9"));
    gr_model_free(model);
}

static void a_run_is_not_resumed_into_the_folder_of_another(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct gr_train_result result;
    struct watch watch = {.stop_at = 2};
    const char *one = gr_api_path("one"), *other = gr_api_path("other");
    train(gr_api_tiny, one, NULL, &watch);
    watch = (struct watch){.stop_at = 2};
    train(gr_api_tiny, other, NULL, &watch);
    struct gr_model *model = gr_api_load("model", gr_api_tiny, 1, NULL);
    assert_false(
        gr_train(model, &(struct gr_train_options){.out = other, .resume = one}, &result, &err));
    assert_int_equal(err.status, GR_ERR_USAGE);
    assert_non_null(strstr(err.message, "already holds a run"));
    gr_model_free(model);
}

static void two_runs_with_one_seed_give_the_same_bits(void **state)
{
    (void)state;
    struct watch watch = {0};
    const char *one = gr_api_path("one"), *two = gr_api_path("two");
    train(gr_api_zoo, one, NULL, &watch);
    train(gr_api_zoo, two, NULL, &watch);
    gr_api_expect_same_tensors(within(one, "latest.safetensors"),
                               within(two, "latest.safetensors"));
}

/* ---- evaluation -------------------------------------------------------------------------- */

/* The CSV names each validation image once, whatever the order. */
static void expect_each_image_once(const char *path)
{
    char line[512];
    int seen[VALIDATION] = {0}, rows = 0;
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_non_null(fgets(line, sizeof line, file));
    while (fgets(line, sizeof line, file)) {
        int index = -1, label = -1, predicted = -1;
        double probability = -1, loss = -1;
        assert_int_equal(sscanf(line, "\"synthetic[%d]\",%d,%d,%lf,%lf", &index, &label, &predicted,
                                &probability, &loss),
                         5);
        assert_true(index >= 0 && index < VALIDATION);
        assert_int_equal(label, index % 4);
        assert_true(probability >= 0.25 && probability <= 1);
        if (label == predicted)
            assert_true(fabs(-log(probability) - loss) < 1e-4);
        seen[index]++;
        rows++;
    }
    fclose(file);
    assert_int_equal(rows, VALIDATION);
    for (int i = 0; i < VALIDATION; i++)
        assert_int_equal(seen[i], 1);
}

static void every_image_counts_once_whatever_the_batch(void **state)
{
    (void)state;
    static const int64_t batches[] = {1, 7, 64, VALIDATION};
    struct gr_eval_result results[4];
    struct watch watch = {0};
    const char *out = gr_api_path("run"), *csv = gr_api_path("images.csv");
    train(gr_api_zoo, out, NULL, &watch);
    for (int i = 0; i < 4; i++) {
        struct gr_error err = {0};
        struct gr_model *model = gr_api_load("model", gr_api_zoo, 1, NULL);
        gr_api_ok(gr_model_load_weights(model, within(out, "latest.safetensors"), &err), &err);
        const struct gr_eval_options options = {.batch = batches[i], .csv = csv};
        gr_api_ok(gr_evaluate(model, &options, &results[i], &err), &err);
        assert_int_equal(results[i].images, VALIDATION);
        assert_int_equal(results[i].skipped, 0);
        assert_true(fabs(results[i].loss - results[0].loss) < 1e-5);
        assert_true(fabs(results[i].metrics[0].value - results[0].metrics[0].value) < 1e-6);
        const double hits = results[i].metrics[0].value * VALIDATION;
        assert_true(fabs(hits - round(hits)) < 1e-4);
        expect_each_image_once(csv);
        gr_model_free(model);
    }
}

static void evaluation_of_a_part_that_is_not_there_is_refused(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct gr_eval_result result;
    struct gr_model *model = gr_api_load("model", gr_api_tiny, 1, NULL);
    gr_api_refused(gr_evaluate(model, &(struct gr_eval_options){.part = "test"}, &result, &err),
                   &err, GR_ERR_MODEL, "%s: the data section has no part 'test'",
                   gr_api_path("model.yaml"));
    gr_model_free(model);
}

/* ---- gradient check ---------------------------------------------------------------------- */

static void count_good(void *user, const struct gr_gradcheck_row *row)
{
    if (!row->ok)
        fail_msg("%s: numeric %g, symbolic %g, error %g", row->name, row->numeric, row->symbolic,
                 row->error);
    assert_true(row->symbolic >= 0 && row->error <= 0.02);
    ++*(int *)user;
}

static void the_gradients_of_every_kind_of_layer_are_the_numeric_ones(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct gr_error err = {0};
        int rows = 0;
        float before[64], after[64];
        struct gr_model *model = gr_api_load("model", gr_api_zoo, seed, NULL);
        gr_api_ok(gr_model_get_parameter(model, "fc2.weight", before, 64, &err), &err);
        gr_api_ok(gr_gradcheck(model, 6, 0.02, count_good, &rows, &err), &err);
        assert_int_equal(rows, 8); /* 5 weights; 3 biases: none before the batch norm */
        gr_api_ok(gr_model_get_parameter(model, "fc2.weight", after, 64, &err), &err);
        assert_memory_equal(before, after, sizeof before);
        gr_model_free(model);
    }
}

#define API_TEST(NAME) cmocka_unit_test_setup_teardown(NAME, gr_api_set_up, gr_api_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        API_TEST(training_reduces_the_loss_and_records_it),
        API_TEST(the_best_epochs_weights_are_kept),
        API_TEST(a_run_folder_holds_a_model_that_loads),
        API_TEST(a_folder_that_holds_a_run_is_not_overwritten),
        API_TEST(steps_bound_a_run_and_epochs_can_be_more),
        API_TEST(a_rate_without_measure_is_reported_as_divergence),
        API_TEST(weights_with_nan_are_told_of_and_not_trained),
        API_TEST(the_plateau_after_three_drops_ends_the_training),
        API_TEST(a_run_that_its_plateau_ended_stays_ended),
        API_TEST(a_run_resumed_in_mid_epoch_ends_with_the_same_bits),
        API_TEST(a_run_resumed_several_times_ends_with_the_same_bits),
        API_TEST(a_run_resumed_between_epochs_ends_with_the_same_bits),
        API_TEST(running_statistics_and_dropout_resume_too),
        API_TEST(a_run_interrupted_while_validating_validates_again),
        API_TEST(a_run_is_resumed_only_with_its_seed),
        API_TEST(a_run_is_not_resumed_into_the_folder_of_another),
        API_TEST(two_runs_with_one_seed_give_the_same_bits),
        API_TEST(every_image_counts_once_whatever_the_batch),
        API_TEST(evaluation_of_a_part_that_is_not_there_is_refused),
        API_TEST(the_gradients_of_every_kind_of_layer_are_the_numeric_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
