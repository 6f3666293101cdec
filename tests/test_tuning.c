/*
 * The choice of kernels: the store, its files, what a plan does with choices, and that a run keeps
 * its own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "graph/tuning.h"
#include "model/model.h"
#include "model/tuning_file.h"
#include "support/api_case.h"

static struct gr_tuning *tuning_new(bool measure)
{
    struct gr_error err = {0};
    struct gr_tuning *tuning = gr_tuning_new(measure, &err);
    gr_api_ok(tuning != NULL, &err);
    return tuning;
}

static void put(struct gr_tuning *tuning, const char *key, const char *choice,
                enum gr_tuning_origin origin)
{
    struct gr_error err = {0};
    gr_api_ok(gr_tuning_record(tuning, key, choice, 0.25, origin, &err), &err);
}

/* ---- the store --------------------------------------------------------------------------- */

static void what_is_recorded_is_found_and_the_last_word_counts(void **state)
{
    (void)state;
    struct gr_tuning *tuning = tuning_new(false);
    assert_null(gr_tuning_find(tuning, "conv"));
    put(tuning, "conv", "direct", GR_TUNING_READ);
    put(tuning, "linear", "tiles", GR_TUNING_READ);
    put(tuning, "conv", "winograd", GR_TUNING_READ);
    assert_string_equal(gr_tuning_find(tuning, "conv"), "winograd");
    assert_int_equal(gr_tuning_count(tuning), 2);
    assert_true(gr_tuning_entry(tuning, 0).used);
    assert_false(gr_tuning_entry(tuning, 1).used);
    gr_tuning_free(tuning);
}

static void only_what_was_measured_is_news_and_only_once(void **state)
{
    (void)state;
    struct gr_tuning *tuning = tuning_new(true);
    put(tuning, "conv", "direct", GR_TUNING_READ);
    assert_false(gr_tuning_take_news(tuning));
    put(tuning, "conv", "winograd", GR_TUNING_MEASURED);
    assert_true(gr_tuning_take_news(tuning));
    assert_false(gr_tuning_take_news(tuning));
    gr_tuning_free(tuning);
}

/* ---- files ------------------------------------------------------------------------------- */

static void choices_travel_through_a_file(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct gr_tuning *from = tuning_new(true), *all = tuning_new(false), *used = tuning_new(false);
    put(from, "conv 3×3: \"a\"", "winograd", GR_TUNING_MEASURED);
    put(from, "never asked for", "direct", GR_TUNING_READ);
    gr_api_ok(gr_tuning_file_save(from, gr_api_path("all.json"), "here", false, &err), &err);
    gr_api_ok(gr_tuning_file_save(from, gr_api_path("used.json"), "here", true, &err), &err);
    gr_api_ok(gr_tuning_file_load(all, gr_api_path("all.json"), "here", &err), &err);
    gr_api_ok(gr_tuning_file_load(used, gr_api_path("used.json"), "here", &err), &err);
    assert_int_equal(gr_tuning_count(all), 2);
    assert_int_equal(gr_tuning_count(used), 1);
    assert_string_equal(gr_tuning_find(used, "conv 3×3: \"a\""), "winograd");
    assert_true(gr_tuning_entry(used, 0).seconds == 0.25);
    gr_tuning_free(from);
    gr_tuning_free(all);
    gr_tuning_free(used);
}

static void what_is_unsure_stays_with_its_run(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct gr_tuning *from = tuning_new(true), *cache = tuning_new(false), *run = tuning_new(false);
    put(from, "quiet", "winograd", GR_TUNING_MEASURED);
    put(from, "busy", "direct", GR_TUNING_UNSURE);
    gr_api_ok(gr_tuning_file_save(from, gr_api_path("cache.json"), "here", false, &err), &err);
    gr_api_ok(gr_tuning_file_save(from, gr_api_path("run.json"), "here", true, &err), &err);
    gr_api_ok(gr_tuning_file_load(cache, gr_api_path("cache.json"), "here", &err), &err);
    gr_api_ok(gr_tuning_file_load(run, gr_api_path("run.json"), "here", &err), &err);
    assert_string_equal(gr_tuning_find(cache, "quiet"), "winograd");
    assert_null(gr_tuning_find(cache, "busy"));
    assert_string_equal(gr_tuning_find(run, "quiet"), "winograd");
    assert_string_equal(gr_tuning_find(run, "busy"), "direct");
    gr_tuning_free(from);
    gr_tuning_free(cache);
    gr_tuning_free(run);
}

static void a_file_that_does_not_fit_changes_nothing_and_says_why(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct gr_tuning *tuning = tuning_new(false);
    const char *path = gr_api_path("kernels.json");
    gr_api_ok(gr_tuning_file_load(tuning, path, "here", &err), &err); /* none is no choices */
    put(tuning, "conv", "winograd", GR_TUNING_MEASURED);
    gr_api_ok(gr_tuning_file_save(tuning, path, "there", false, &err), &err);
    gr_tuning_free(tuning);
    tuning = tuning_new(false);
    gr_api_refused(gr_tuning_file_load(tuning, path, "here", &err), &err, GR_ERR_DATA,
                   "%s: its kernels were chosen on another machine (there; this is here)", path);
    gr_api_write("kernels.json", "{\"format\": 1}");
    gr_api_refused(gr_tuning_file_load(tuning, path, "here", &err), &err, GR_ERR_DATA,
                   "%s: not a file of kernel choices", path);
    gr_api_write("kernels.json", "{\"format\": \"graph-runner kernels 1\", \"machine\": \"here\", "
                                 "\"choices\": {\"conv\": {\"kernel\": 3}}}");
    gr_api_refused(gr_tuning_file_load(tuning, path, "here", &err), &err, GR_ERR_DATA,
                   "%s: 'conv' names no kernel", path);
    gr_api_write("kernels.json", "{\"format\": ");
    assert_false(gr_tuning_file_load(tuning, path, "here", &err));
    assert_int_equal(err.status, GR_ERR_DATA);
    assert_int_equal(gr_tuning_count(tuning), 0);
    gr_tuning_free(tuning);
}

/* ---- plans ------------------------------------------------------------------------------- */

/* A convolution that is worth measuring, and one that is not. */
static const char net[] =
    "format: 1\n"
    "inputs: {image: {shape: [3, 48, 48]}, label: {classes: 5}}\n"
    "nodes:\n"
    "  - {name: a, op: conv, inputs: image, out_channels: 32, kernel: 3, pad: 1}\n"
    "  - {name: ar, op: relu}\n"
    "  - {name: p, op: max_pool, kernel: 8}\n"
    "  - {name: b, op: conv, out_channels: 8, kernel: 1}\n"
    "  - {name: f, op: linear, out_features: 5}\n"
    "  - {name: loss, op: softmax_cross_entropy, inputs: [f, label]}\n"
    "train:\n"
    "  loss: loss\n"
    "  batch: 4\n"
    "  epochs: 2\n"
    "  optimizer: {sgd: {momentum: 0.9}}\n"
    "  learning_rate: 0.01\n"
    "data:\n"
    "  train: {synthetic: {count: 12}, transform: [{scale: {factor: 0.01}}]}\n";

static int measured, most_measured; /* the last is refused; 0: none is */
static char told[4096];

static bool count_measurement(void *user, const char *node, const char *result)
{
    (void)user;
    measured += result == NULL;
    if (result)
        snprintf(told + strlen(told), sizeof told - strlen(told), "%s: %s\n", node, result);
    return result || measured != most_measured;
}

static struct gr_context *context_new(enum gr_tune tune)
{
    struct gr_error err = {0};
    const struct gr_context_options options = {.threads = 1,
                                               .tune = tune,
                                               .tuning = gr_api_path("cache/below"),
                                               .measuring = count_measurement};
    struct gr_context *context = gr_context_new(gr_standard_ops(), &options, &err);
    gr_api_ok(context != NULL, &err);
    measured = 0;
    told[0] = '\0';
    return context;
}

static struct gr_model *model_in(struct gr_context *context)
{
    struct gr_error err = {0};
    gr_api_write("net.yaml", net);
    struct gr_model *model = gr_model_load(context, gr_api_path("net.yaml"), NULL, &err);
    gr_api_ok(model != NULL, &err);
    return model;
}

static void plan_once(struct gr_context *context)
{
    struct gr_error err = {0};
    struct gr_model *model = model_in(context);
    const struct gr_plan_options options = {.mode = GR_TRAIN, .update = true};
    struct gr_plan *plan = gr_plan_new(model, &options, &err);
    gr_api_ok(plan != NULL, &err);
    gr_plan_free(plan);
    gr_model_free(model);
}

static void a_plan_measures_what_is_worth_it_once_a_machine(void **state)
{
    (void)state;
    struct gr_context *context = context_new(GR_TUNE_KNOWN);
    plan_once(context);
    assert_int_equal(measured, 0);
    gr_context_free(context);
    context = context_new(GR_TUNE_MEASURE);
    plan_once(context);
    assert_int_equal(measured, 2); /* a and the gradient of its weights; the image has none */
    assert_non_null(strstr(told, "a: direct "));
    assert_non_null(strstr(told, "im2col "));
    plan_once(context);
    assert_int_equal(measured, 2);
    gr_context_free(context);
    context = context_new(GR_TUNE_MEASURE); /* another process */
    plan_once(context);
    assert_int_equal(measured, 0);
    gr_context_free(context);
    context = context_new(GR_TUNE_OFF);
    plan_once(context);
    assert_int_equal(measured, 0);
    gr_context_free(context);
}

static void what_was_found_before_a_stop_is_kept(void **state)
{
    (void)state;
    struct gr_error err = {0};
    const struct gr_plan_options options = {.mode = GR_TRAIN, .update = true};
    struct gr_context *context = context_new(GR_TUNE_MEASURE);
    struct gr_model *model = model_in(context);
    most_measured = 2;
    assert_null(gr_plan_new(model, &options, &err));
    most_measured = 0;
    assert_int_equal(err.status, GR_ERR_RUNTIME);
    assert_non_null(strstr(err.message, "stopped while kernels were chosen, before '"));
    assert_int_equal(gr_tuning_count(context->tuning), 1);
    /* Where the machine is so busy that it stays unsure, another process measures it again. */
    const bool sure = gr_tuning_entry(context->tuning, 0).origin == GR_TUNING_MEASURED;
    gr_model_free(model);
    gr_context_free(context);
    context = context_new(GR_TUNE_MEASURE); /* another process */
    plan_once(context);
    assert_int_equal(measured, sure ? 1 : 2);
    gr_context_free(context);
}

/* ---- runs -------------------------------------------------------------------------------- */

static void train(const char *out, const char *resume, int64_t epochs)
{
    struct gr_error err = {0};
    struct gr_context *context = context_new(GR_TUNE_MEASURE);
    struct gr_model *model = model_in(context);
    struct gr_train_result result;
    const struct gr_train_options options = {.out = out, .resume = resume, .epochs = epochs};
    gr_api_ok(gr_train(model, &options, &result, &err), &err);
    gr_model_free(model);
    gr_context_free(context);
}

/* The choices of a run, which are returned; its file then says another kernel for each. */
static struct gr_tuning *turn_choices(const char *path, const char *choice)
{
    struct gr_error err = {0};
    char text[8192], machine[256] = "";
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    const char *at = strstr(text, "\"machine\": \"");
    assert_non_null(at);
    assert_int_equal(sscanf(at, "\"machine\": \"%255[^\"]", machine), 1);
    struct gr_tuning *tuning = tuning_new(false), *turned = tuning_new(false);
    gr_api_ok(gr_tuning_file_load(tuning, path, machine, &err), &err);
    for (size_t i = 0; i < gr_tuning_count(tuning); i++)
        put(turned, gr_tuning_entry(tuning, i).key, choice, GR_TUNING_READ);
    gr_api_ok(gr_tuning_file_save(turned, path, machine, false, &err), &err);
    gr_tuning_free(turned);
    return tuning;
}

static void a_resumed_run_keeps_the_kernels_that_it_began_with(void **state)
{
    (void)state;
    struct gr_context *context = gr_api_context();
    char *cache =
        gr_tuning_file_name(gr_api_path("cache/below"), context->ops->machine(context->backend));
    const char *run = gr_api_path("run"), *file = gr_api_path("run/kernels.json");
    train(run, NULL, 1);
    assert_int_equal(measured, 2);
    struct gr_tuning *first = turn_choices(file, "im2col"); /* the checkpoint knows better */
    assert_int_equal(gr_tuning_count(first), 2);
    const bool turned = strcmp(gr_tuning_entry(first, 0).choice, "im2col") != 0;
    gr_tuning_free(turn_choices(cache, turned ? "im2col" : "direct"));
    train(run, run, 2);
    assert_int_equal(measured, 0);
    struct gr_tuning *second = turn_choices(file, "direct");
    assert_int_equal(gr_tuning_count(second), 2);
    for (size_t i = 0; i < gr_tuning_count(second); i++)
        assert_string_equal(gr_tuning_entry(second, i).choice, gr_tuning_entry(first, i).choice);
    gr_tuning_free(first);
    gr_tuning_free(second);
    free(cache);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, gr_api_set_up, gr_api_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(what_is_recorded_is_found_and_the_last_word_counts),
        TEST(only_what_was_measured_is_news_and_only_once),
        TEST(choices_travel_through_a_file),
        TEST(what_is_unsure_stays_with_its_run),
        TEST(a_file_that_does_not_fit_changes_nothing_and_says_why),
        TEST(a_plan_measures_what_is_worth_it_once_a_machine),
        TEST(what_was_found_before_a_stop_is_kept),
        TEST(a_resumed_run_keeps_the_kernels_that_it_began_with),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
