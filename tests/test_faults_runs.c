/*
 * Training, going on, evaluating, predicting and reporting while the allocator, files or threads
 * fail: a clean error, no leak, no crash, nothing half-written. See faults/trial.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "faults/trial.h"
#include "support/api_case.h"
#include "support/make_jpeg.h"

static struct gr_model *load(struct gr_context *context, struct gr_error *err)
{
    static const char *const sets[] = {"data.train.synthetic.count=16",
                                       "data.val.synthetic.count=8"};
    const struct gr_model_options options = {.sets = sets, .n_sets = 2, .seed = 3};
    return gr_model_load(context, gr_trial_path("tiny.yaml"), &options, err);
}

static struct gr_model *load_trained(struct gr_context *context, struct gr_error *err)
{
    struct gr_model *model = load(context, err);
    if (model && gr_model_load_weights(model, gr_trial_path("run/out/latest.safetensors"), err))
        return model;
    gr_model_free(model);
    return NULL;
}

/* ---- training ---------------------------------------------------------------------------- */

static bool train_to(struct gr_context *context, const char *out, const char *resume, int64_t steps,
                     struct gr_error *err)
{
    struct gr_model *model = load(context, err);
    const struct gr_train_options options = {.out = out, .resume = resume, .steps = steps};
    struct gr_train_result result = {0};
    static float weight[8 * 27];
    const bool done = model && gr_train(model, &options, &result, err) &&
                      gr_model_get_parameter(model, "conv1.weight", weight, 8 * 27, err);
    if (done) {
        gr_trial_note(&result.steps, sizeof result.steps);
        gr_trial_note(weight, sizeof weight);
    }
    gr_model_free(model);
    return done;
}

static bool train(struct gr_context *context, struct gr_error *err)
{
    return train_to(context, gr_trial_out("run"), NULL, 3, err);
}

static bool resume(struct gr_context *context, struct gr_error *err)
{
    return train_to(context, gr_trial_out(""), gr_trial_out(""), 6, err);
}

/* ---- with what was trained ------------------------------------------------------------- */

static bool evaluate(struct gr_context *context, struct gr_error *err)
{
    const char *const confusion[] = {gr_trial_out("confusion.csv"), gr_trial_out("confusion.svg"),
                                     gr_trial_out("confusion.png")};
    static struct gr_class_result classes[4];
    const struct gr_eval_options options = {.csv = gr_trial_out("images.csv"),
                                            .confusion = confusion,
                                            .n_confusion = 3,
                                            .per_class = classes};
    struct gr_eval_result result = {0};
    struct gr_model *model = load_trained(context, err);
    const bool done = model && gr_evaluate(model, &options, &result, err);
    gr_trial_note(&result.loss, sizeof result.loss);
    gr_trial_note(classes, done ? sizeof classes : 0);
    gr_model_free(model);
    return done;
}

static bool predict(struct gr_context *context, struct gr_error *err)
{
    const char *const images[] = {gr_trial_path("one.jpg"), gr_trial_path("two.jpg")};
    const struct gr_predict_options options = {.top = 2};
    struct gr_prediction rows[4] = {{0}};
    static struct gr_sample samples[2];
    struct gr_model *model = load_trained(context, err);
    bool done = model && gr_predict(model, images, 2, &options, rows, err);
    gr_trial_note(&rows[0].probability, sizeof rows[0].probability);
    done = done && gr_predict_part(model, "val", 1, 2, &options, samples, rows, err);
    gr_trial_note(&rows[0].probability, sizeof rows[0].probability);
    gr_model_free(model);
    return done;
}

static bool features(struct gr_context *context, struct gr_error *err)
{
    const char *const query = "synthetic[3]";
    static struct gr_features_result result;
    const struct gr_features_options options = {.part = "val"};
    struct gr_neighbour near[2] = {{0}};
    struct gr_model *model = load_trained(context, err);
    const struct gr_nearest_options nearest = {
        .queries = &query, .n_queries = 1, .count = 2, .model = model};
    struct gr_features *read = NULL;
    const bool done =
        model && gr_features_write(model, &options, gr_trial_out("f.safetensors"), &result, err) &&
        (read = gr_features_read(gr_trial_out("f.safetensors"), err)) &&
        gr_nearest_images(read, &nearest, near, err) &&
        gr_show_nearest(read, &nearest, near, gr_trial_out("near.png"), err);
    gr_trial_note(&near[1].index, sizeof near[1].index);
    gr_features_free(read);
    gr_model_free(model);
    return done;
}

static bool draw_filters(struct gr_context *context, struct gr_error *err)
{
    struct gr_model *model = load_trained(context, err);
    const bool done =
        model && gr_show_filters(model, NULL, false, gr_trial_out("filters.png"), err);
    gr_model_free(model);
    return done;
}

static bool report(struct gr_context *context, struct gr_error *err)
{
    const char *const folder = gr_trial_path("run/out");
    return gr_report_write(context, &folder, 1, gr_trial_out("report.html"), err);
}

static void note_row(void *user, const struct gr_gradcheck_row *row)
{
    (void)user;
    gr_trial_note_text(row->name);
}

static bool check_gradients(struct gr_context *context, struct gr_error *err)
{
    struct gr_model *model = load(context, err);
    const bool done = model && gr_gradcheck(model, 2, 0.1, note_row, NULL, err);
    gr_model_free(model);
    return done;
}

/* ---- trials ------------------------------------------------------------------------------ */

static const struct gr_trial trials[] = {
    {.name = "training", .work = train, .leaves = "run/step-*.safetensors"},
    {.name = "going on", .work = resume, .before = "run/out", .leaves = "step-*.safetensors"},
    {.name = "evaluating", .work = evaluate},
    {.name = "predicting", .work = predict},
    {.name = "features", .work = features},
    {.name = "filters", .work = draw_filters},
    {.name = "a report", .work = report},
    {.name = "checking gradients", .work = check_gradients},
};

static void try_all(void **state)
{
    const enum gr_fault kind = *(const enum gr_fault *)*state;
    size_t bad = 0;
    for (size_t i = 0; i < sizeof trials / sizeof *trials; i++)
        bad += gr_trial_run(&trials[i], kind);
    assert_int_equal(bad, 0);
}

static int set_up(void **state)
{
    struct gr_error err = {0};
    if (gr_trial_set_up(state) != 0)
        return -1;
    gr_trial_write("tiny.yaml", gr_api_tiny);
    assert_true(gr_make_plain_jpeg(gr_trial_path("one.jpg"), 12, 12, 200, 10, 60));
    assert_true(gr_make_plain_jpeg(gr_trial_path("two.jpg"), 12, 12, 20, 110, 60));
    gr_trial_ok(train_to(gr_trial_context(), gr_trial_path("run/out"), NULL, 3, &err), &err);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        gr_fault_test(try_all, GR_FAULT_MEMORY), gr_fault_test(try_all, GR_FAULT_OPEN),
        gr_fault_test(try_all, GR_FAULT_READ),   gr_fault_test(try_all, GR_FAULT_WRITE),
        gr_fault_test(try_all, GR_FAULT_THREAD), gr_fault_test(try_all, GR_FAULT_SHORT),
    };
    return cmocka_run_group_tests(tests, set_up, gr_trial_tear_down);
}
