/*
 * The graph-runner tool at work: a small model trained, evaluated, asked, and fed tensors.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* setenv */
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "graphrunner.h"
#include "support/folder.h"
#include "support/make_jpeg.h"
#include "support/tool.h"

/* Paths in the test's folder that several tests use. */
static char run_folder[GR_FOLDER_PATH], best[GR_FOLDER_PATH], inputs[GR_FOLDER_PATH],
    outputs[GR_FOLDER_PATH];

static int set_up(void **state)
{
    if (gr_tool_set_up(state) != 0)
        return -1;
    gr_folder_file("run", run_folder);
    gr_folder_file("run/best.safetensors", best);
    gr_folder_file("in.safetensors", inputs);
    gr_folder_file("out.safetensors", outputs);
    return 0;
}

/* ---- training, evaluation, prediction ---------------------------------------------------- */

static void train_model(void)
{
    struct gr_outcome outcome = gr_tool_run(0, "train", gr_tool_model(), "--out", run_folder,
                                            "--threads", "1", "--epochs", "12", NULL);
    gr_tool_contains(outcome.out, "tiny: 12 epochs, 96 steps, best top1 ");
    gr_tool_contains(outcome.err, "epoch  1/12  train loss ");
    gr_tool_contains(outcome.err, "epoch 12/12  train loss ");
    gr_tool_contains(outcome.err, "val loss ");
    gr_tool_lacks(outcome.err, "\r");
    gr_outcome_release(&outcome);
}

static void check_evaluation(void)
{
    char csv[GR_FOLDER_PATH];
    struct gr_outcome outcome =
        gr_tool_run(0, "eval", gr_tool_model(), "--weights", best, "--json", "--csv",
                    gr_folder_file("e.csv", csv), "--batch", "7", NULL);
    json_t *json = gr_tool_parse(outcome.out);
    assert_true(gr_tool_number(json_object_get(json, "metrics"), "top1") > 0.9);
    assert_true(gr_tool_number(json, "loss") < 0.7);
    assert_true(gr_tool_number(json, "images") == 61);
    assert_true(gr_tool_number(json, "skipped") == 0);
    assert_true(gr_tool_number(json, "images_per_second") > 0);
    json_decref(json);
    gr_outcome_release(&outcome);
    size_t lines = 0;
    char *text = gr_tool_read(csv);
    for (const char *at = text; *at; at++)
        lines += *at == '\n';
    assert_int_equal(lines, 62);
    free(text);
    outcome = gr_tool_run(0, "eval", gr_tool_model(), "--weights", best, "--part", "train", NULL);
    gr_tool_contains(outcome.out, "top1 ");
    gr_tool_contains(outcome.out, "images ");
    gr_outcome_release(&outcome);
}

static void check_prediction(void)
{
    char first[GR_FOLDER_PATH], second[GR_FOLDER_PATH];
    assert_true(gr_make_plain_jpeg(gr_folder_file("a.jpg", first), 8, 8, 200, 30, 30));
    assert_true(gr_make_plain_jpeg(gr_folder_file("b.jpg", second), 8, 8, 20, 30, 230));
    struct gr_outcome outcome = gr_tool_run(0, "predict", "--json", gr_tool_model(), first, second,
                                            "--weights", best, NULL);
    json_t *json = gr_tool_parse(outcome.out);
    assert_int_equal(json_array_size(json), 2);
    for (size_t i = 0; i < 2; i++) {
        const json_t *rows = json_object_get(json_array_get(json, i), "predictions");
        double sum = 0, last = 1;
        assert_int_equal(json_array_size(rows), 4);
        for (size_t k = 0; k < 4; k++) {
            const double probability = gr_tool_number(json_array_get(rows, k), "probability");
            assert_true(probability <= last);
            last = probability;
            sum += probability;
        }
        assert_true(fabs(sum - 1) < 1e-5);
    }
    json_decref(json);
    gr_outcome_release(&outcome);
    outcome =
        gr_tool_run(0, "predict", gr_tool_model(), first, "--weights", best, "--top", "4", NULL);
    gr_tool_contains(outcome.out, "dogwood");
    gr_tool_contains(outcome.out, " %");
    gr_outcome_release(&outcome);
    outcome = gr_tool_run(4, "predict", gr_tool_model(), gr_tool_model(), "--weights", best, NULL);
    gr_tool_contains(outcome.err, "tiny.yaml");
    gr_tool_contains(outcome.err, "1 of 1 images could not be read");
    assert_string_equal(outcome.out, "");
    gr_outcome_release(&outcome);
}

static void check_prediction_of_the_others(void)
{
    char first[GR_FOLDER_PATH], second[GR_FOLDER_PATH], missing[GR_FOLDER_PATH];
    gr_folder_file("a.jpg", first);
    gr_folder_file("b.jpg", second);
    gr_folder_file("missing.jpg", missing);
    struct gr_outcome outcome = gr_tool_run(4, "predict", gr_tool_model(), first, missing, second,
                                            "--weights", best, "--top", "1", NULL);
    gr_tool_contains(outcome.out, first);
    gr_tool_contains(outcome.out, second);
    assert_null(strstr(outcome.out, missing));
    gr_tool_contains(outcome.err, missing);
    gr_tool_contains(outcome.err, "1 of 3 images could not be read");
    gr_outcome_release(&outcome);
    outcome = gr_tool_run(4, "predict", "--json", gr_tool_model(), first, missing, second,
                          "--weights", best, NULL);
    json_t *json = gr_tool_parse(outcome.out);
    assert_int_equal(json_array_size(json), 3);
    for (size_t i = 0; i < 3; i++)
        assert_true(json_is_null(json_object_get(json_array_get(json, i), "predictions")) ==
                    (i == 1));
    json_decref(json);
    gr_outcome_release(&outcome);
}

/* The tiny model with a crop of 8×8 from images of 12×12 before its transforms. */
static void check_ten_crop(void)
{
    static const char crop[] = "data.val.transform=[{resize: {shortest: 12}}, {crop: {size: 8}}, "
                               "scale]";
    char image[GR_FOLDER_PATH], csv[GR_FOLDER_PATH], svg[GR_FOLDER_PATH];
    assert_true(gr_make_plain_jpeg(gr_folder_file("c.jpg", image), 20, 30, 200, 30, 30));
    struct gr_outcome outcome =
        gr_tool_run(0, "eval", gr_tool_model(), "--weights", best, "--set", crop, "--ten-crop",
                    "--json", "--per-class", "--confusion", gr_folder_file("c.csv", csv),
                    "--confusion", gr_folder_file("c.svg", svg), NULL);
    json_t *json = gr_tool_parse(outcome.out);
    const json_t *classes = json_object_get(json, "classes");
    assert_true(json_is_true(json_object_get(json, "ten_crop")));
    assert_string_equal(json_string_value(json_object_get(json, "part")), "val");
    assert_true(gr_tool_number(json, "views") == 10);
    assert_int_equal(json_array_size(classes), 4);
    assert_true(gr_tool_number(json_array_get(classes, 3), "index") == 3);
    assert_true(gr_tool_number(json_array_get(classes, 3), "images") == 15);
    assert_string_equal(json_string_value(json_object_get(json_array_get(classes, 3), "class")),
                        "dogwood");
    json_decref(json);
    gr_outcome_release(&outcome);
    assert_int_equal(access(csv, R_OK), 0);
    assert_int_equal(access(svg, R_OK), 0);
    outcome = gr_tool_run(0, "eval", gr_tool_model(), "--weights", best, "--set", crop,
                          "--ten-crop", "--per-class", NULL);
    gr_tool_contains(outcome.out, "10 an image");
    gr_tool_contains(outcome.out, "most taken for");
    gr_tool_contains(outcome.out, "dogwood");
    gr_outcome_release(&outcome);
    outcome = gr_tool_run(0, "predict", gr_tool_model(), image, "--weights", best, "--set", crop,
                          "--ten-crop", "--top", "1", NULL);
    gr_tool_contains(outcome.out, " %");
    gr_outcome_release(&outcome);
    outcome =
        gr_tool_run(3, "predict", gr_tool_model(), image, "--weights", best, "--ten-crop", NULL);
    gr_tool_contains(outcome.err, "need a crop among the transforms");
    gr_outcome_release(&outcome);
}

static void a_trained_model_evaluates_and_predicts(void **state)
{
    (void)state;
    train_model();
    check_evaluation();
    check_prediction();
    check_prediction_of_the_others();
    check_ten_crop();
}

static void weights_are_taken_over_with_a_table(void **state)
{
    char folder[GR_FOLDER_PATH], path[GR_FOLDER_PATH];
    (void)state;
    train_model();
    gr_folder_file("tuned", folder);
    struct gr_outcome outcome = gr_tool_run(
        0, "train", gr_tool_model(), "--weights", best, "--out", folder, "--epochs", "1", "--set",
        "nodes.fc.out_features=9", "--freeze", "conv*", "--set", "inputs.label.classes=9", "--set",
        "class_names=[a, b, c, d, e, f, g, h, i]", NULL);
    gr_tool_contains(outcome.err, "parameter ");
    gr_tool_contains(outcome.err, "conv1.weight  ");
    gr_tool_contains(outcome.err, "  loaded   conv1.weight\n");
    gr_tool_contains(outcome.err, "  skipped  fc.weight 4×");
    gr_tool_contains(outcome.err, "\n2 loaded from ");
    gr_tool_contains(outcome.err, ", 2 skipped, 0 missing, 0 left out\n");
    gr_outcome_release(&outcome);
    char *text = gr_tool_read(gr_folder_file("tuned/model.yaml", path));
    gr_tool_contains(text, "freeze: true");
    free(text);
    outcome =
        gr_tool_run(0, "train", path, "--weights", best, "--resume", folder, "--epochs", "2", NULL);
    gr_tool_contains(outcome.out, "2 epochs");
    gr_tool_lacks(outcome.err, "loaded");
    gr_tool_contains(outcome.err, "--weights is passed over");
    gr_outcome_release(&outcome);
    outcome = gr_tool_run(2, "train", gr_tool_model(), "--only", "conv1", NULL);
    gr_tool_contains(outcome.err, "--only, --except and --rename are about --weights FILE");
    gr_outcome_release(&outcome);
    outcome = gr_tool_run(2, "train", gr_tool_model(), "--freeze", "fcc", NULL);
    gr_tool_contains(outcome.err, "did you mean 'fc'?");
    gr_outcome_release(&outcome);
}

static void quiet_training_prints_the_result_only(void **state)
{
    (void)state;
    struct gr_outcome outcome =
        gr_tool_run(0, "train", gr_tool_model(), "-q", "-o", run_folder, NULL);
    gr_tool_contains(outcome.out, "tiny: 3 epochs, 24 steps");
    assert_string_equal(outcome.err, "");
    gr_outcome_release(&outcome);
}

static void a_diverging_run_exits_with_6(void **state)
{
    (void)state;
    struct gr_outcome outcome =
        gr_tool_run(6, "train", gr_tool_model(), "--out", run_folder, "--set",
                    "data.train.transform=[{scale: {factor: 1e30}}]", NULL);
    gr_tool_contains(outcome.err, "graph-runner: diverged in step ");
    assert_string_equal(outcome.out, "");
    gr_outcome_release(&outcome);
}

static void missing_data_exit_with_4(void **state)
{
    (void)state;
    struct gr_outcome outcome =
        gr_tool_run(4, "train", gr_tool_model(), "--out", run_folder, "--set",
                    "data.train={idx: {images: nowhere, labels: nowhere}}", NULL);
    gr_tool_contains(outcome.err, "nowhere");
    gr_outcome_release(&outcome);
    outcome = gr_tool_run(4, "eval", gr_tool_model(), "--weights", best, NULL);
    gr_tool_contains(outcome.err, "best.safetensors");
    gr_outcome_release(&outcome);
}

static void samples_of_the_data_are_predicted_with_their_labels(void **state)
{
    (void)state;
    train_model();
    struct gr_outcome outcome = gr_tool_run(0, "predict", gr_tool_model(), "--weights", best,
                                            "--count", "5", "--first", "2", "--json", NULL);
    json_t *json = gr_tool_parse(outcome.out);
    assert_int_equal(json_array_size(json), 5);
    for (size_t i = 0; i < 5; i++)
        assert_true(gr_tool_number(json_array_get(json, i), "label") == (double)((i + 2) % 4));
    json_decref(json);
    gr_outcome_release(&outcome);
    outcome = gr_tool_run(0, "predict", gr_tool_model(), "--weights", best, "--count", "3",
                          "--part", "train", "--top", "1", NULL);
    gr_tool_contains(outcome.out, " of 3 are right");
    gr_outcome_release(&outcome);
    outcome = gr_tool_run(2, "predict", gr_tool_model(), "a.jpg", "--weights", best, "--count", "3",
                          NULL);
    gr_tool_contains(outcome.err, "either images or --count, not both");
    gr_outcome_release(&outcome);
}

/* ---- on a terminal ----------------------------------------------------------------------- */

static void on_a_terminal_one_line_is_rewritten_and_fits(void **state)
{
    (void)state;
    enum { COLUMNS = 50 };
    struct gr_tool_streams streams = {0};
    const int terminal = gr_tool_terminal(COLUMNS, &streams.err);
    setenv("NO_COLOR", "1", 1);
    setenv("TERM", "xterm", 1);
    const pid_t pid = gr_tool_start(&streams, "train", gr_tool_model(), "--out", run_folder,
                                    "--epochs", "2", NULL);
    char *text = gr_tool_terminal_read(terminal);
    struct gr_outcome outcome = gr_tool_end(0, pid);
    unsetenv("NO_COLOR");
    close(terminal);
    gr_tool_contains(text, "\repoch 1/2 · train ");
    gr_tool_lacks(text, "\033[1m");
    gr_tool_lacks(text, "\033[3");
    for (const char *line = text; (line = strstr(line, "\repoch")); line++) {
        size_t columns = 0;
        for (const char *at = line + 1; *at && *at != '\033' && *at != '\r'; at++)
            columns += (*at & 0xc0) != 0x80;
        assert_true(columns < COLUMNS);
    }
    free(text);
    gr_outcome_release(&outcome);
}

/* ---- tensors in and out ------------------------------------------------------------------ */

enum { N = 2, C = 4, PIXELS = 3 * 8 * 8 };

static float image[N * PIXELS]; /* [N, 3, 8, 8] */
static int32_t label[N] = {1, 3};

static void save_inputs(const char *image_name, int64_t width, bool labels)
{
    const struct gr_tensor tensors[] = {
        {image_name, GR_F32, {4, {N, 3, 64 / width, width}}, image},
        {"label", GR_S32, {1, {N}}, label},
    };
    for (int i = 0; i < N * PIXELS; i++)
        image[i] = (float)((i * 37) % 101) / 101 - 0.4f;
    assert_true(gr_tensor_file_write(inputs, tensors, labels ? 2 : 1, NULL, 0, NULL));
}

static struct gr_tensor_file *load(const char *path)
{
    struct gr_error err = {0};
    struct gr_tensor_file *file = gr_tensor_file_read(path, &err);
    if (!file)
        fail_msg("%s", err.message);
    return file;
}

static const float *tensor(const struct gr_tensor_file *file, const char *name, int64_t count)
{
    const struct gr_tensor *found = gr_tensor_file_find(file, name);
    if (!found)
        fail_msg("there is no tensor '%s'", name);
    assert_int_equal(found->dtype, GR_F32);
    assert_int_equal(gr_shape_count(&found->shape), count);
    return found->data;
}

static void run_fetches_values_and_gradients(void **state)
{
    (void)state;
    save_inputs("image", 8, true);
    struct gr_outcome outcome =
        gr_tool_run(0, "run", gr_tool_model(), "--inputs", inputs, "--fetch", "fc,prob", "--fetch",
                    "grad:fc.bias,loss", "--outputs", outputs, NULL);
    assert_string_equal(outcome.out, "");
    struct gr_tensor_file *file = load(outputs);
    const float *fc = tensor(file, "fc", N * C), *prob = tensor(file, "prob", N * C);
    const float *gradient = tensor(file, "grad:fc.bias", C);
    double expected[C] = {0}, loss = 0;
    for (int n = 0; n < N; n++) {
        double sum = 0;
        for (int c = 0; c < C; c++)
            sum += exp((double)fc[n * C + c]);
        for (int c = 0; c < C; c++) {
            const double share = exp((double)fc[n * C + c]) / sum;
            assert_true(fabs(share - (double)prob[n * C + c]) < 1e-6);
            expected[c] += (share - (label[n] == c)) / N;
        }
        loss -= log((double)prob[n * C + label[n]]) / N;
    }
    for (int c = 0; c < C; c++)
        assert_true(fabs(expected[c] - (double)gradient[c]) < 1e-6);
    assert_true(fabs(loss - (double)*tensor(file, "loss", 1)) < 1e-5);
    gr_tensor_file_free(file);
    gr_outcome_release(&outcome);
}

static void run_makes_training_steps(void **state)
{
    (void)state;
    char before[GR_FOLDER_PATH], after[GR_FOLDER_PATH];
    save_inputs("image", 8, true);
    gr_folder_file("before.safetensors", before);
    gr_folder_file("after.safetensors", after);
    struct gr_outcome outcome =
        gr_tool_run(0, "run", gr_tool_model(), "--inputs", inputs, "--fetch", "grad:fc.bias",
                    "--outputs", outputs, "--save-weights", before, NULL);
    gr_outcome_release(&outcome);
    outcome = gr_tool_run(0, "run", gr_tool_model(), "--inputs", inputs, "--weights", before,
                          "--steps", "1", "--learning-rate", "0.25", "--save-weights", after, NULL);
    gr_outcome_release(&outcome);
    struct gr_tensor_file *old = load(before), *new = load(after), *fetched = load(outputs);
    const float *from = tensor(old, "fc.bias", C), *to = tensor(new, "fc.bias", C);
    const float *gradient = tensor(fetched, "grad:fc.bias", C);
    for (int c = 0; c < C; c++)
        assert_true(fabs((double)(to[c] - (from[c] - 0.25f * gradient[c]))) < 1e-6);
    gr_tensor_file_free(old);
    gr_tensor_file_free(new);
    gr_tensor_file_free(fetched);
    gr_outcome_release(&outcome);
}

/* With a learning rate of 0 the losses of batches of one are those of the samples. */
static void steps_take_the_batches_of_a_file_in_turn_and_print_their_losses(void **state)
{
    (void)state;
    double losses[4];
    save_inputs("image", 8, true);
    struct gr_outcome outcome =
        gr_tool_run(0, "run", gr_tool_model(), "--inputs", inputs, "--batch", "1", "--steps", "4",
                    "--learning-rate", "0", "--fetch", "fc,loss", NULL);
    assert_int_equal(
        sscanf(outcome.out,
               "step 1  loss %lf\nstep 2  loss %lf\nstep 3  loss %lf\nstep 4  loss %lf\n",
               &losses[0], &losses[1], &losses[2], &losses[3]),
        4);
    gr_outcome_release(&outcome);
    outcome = gr_tool_run(0, "run", gr_tool_model(), "--inputs", inputs, "--fetch", "loss",
                          "--outputs", outputs, NULL);
    struct gr_tensor_file *file = load(outputs);
    assert_true(fabs(losses[0] - losses[1]) > 1e-4);
    assert_true(losses[0] == losses[2] && losses[1] == losses[3]);
    assert_true(fabs((losses[0] + losses[1]) / N - (double)*tensor(file, "loss", 1)) < 1e-6);
    gr_tensor_file_free(file);
    gr_outcome_release(&outcome);
}

static void an_input_that_the_targets_do_not_need_may_be_missing_or_there(void **state)
{
    (void)state;
    for (int labels = 0; labels < 2; labels++) {
        save_inputs("image", 8, labels);
        struct gr_outcome outcome =
            gr_tool_run(0, "run", gr_tool_model(), "--inputs", inputs, "--outputs", outputs, NULL);
        struct gr_tensor_file *file = load(outputs);
        assert_int_equal(gr_tensor_file_count(file), 1);
        tensor(file, "prob", N * C);
        gr_tensor_file_free(file);
        gr_outcome_release(&outcome);
    }
}

static void wrong_inputs_are_named_with_both_shapes(void **state)
{
    (void)state;
    static const struct {
        const char *name, *fetch, *message;
        int64_t width;
        bool labels;
        int status;
    } rows[] = {
        {"image", "prob", "'image' is f32 2×3×4×16, but the model takes f32 2×3×8×8", 16, true, 4},
        {"picture", "prob", "there is no tensor 'image' (f32 2×3×8×8)", 8, true, 4},
        {"image", "loss", "there is no tensor 'label' (s32 2)", 8, false, 4},
        {"image", "porb", "did you mean 'prob'?", 8, true, 2},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        save_inputs(rows[i].name, rows[i].width, rows[i].labels);
        struct gr_outcome outcome =
            gr_tool_run(rows[i].status, "run", gr_tool_model(), "--inputs", inputs, "--fetch",
                        rows[i].fetch, "--outputs", outputs, NULL);
        gr_tool_contains(outcome.err, rows[i].message);
        gr_outcome_release(&outcome);
    }
}

static void a_label_out_of_range_is_told_with_its_file(void **state)
{
    (void)state;
    const int32_t kept = label[1];
    label[1] = 9;
    save_inputs("image", 8, true);
    label[1] = kept;
    struct gr_outcome outcome = gr_tool_run(4, "run", gr_tool_model(), "--inputs", inputs,
                                            "--fetch", "loss", "--outputs", outputs, NULL);
    gr_tool_contains(outcome.err, inputs);
    gr_tool_contains(outcome.err, "label 9 at position 1");
    gr_outcome_release(&outcome);
}

static void a_tensor_that_is_no_input_is_refused(void **state)
{
    (void)state;
    static float data[1];
    const struct gr_tensor tensors[] = {{"image", GR_F32, {4, {N, 3, 8, 8}}, image},
                                        {"extra", GR_F32, {1, {1}}, data}};
    assert_true(gr_tensor_file_write(inputs, tensors, 2, NULL, 0, NULL));
    struct gr_outcome outcome = gr_tool_run(4, "run", gr_tool_model(), "--inputs", inputs,
                                            "--batch", "2", "--outputs", outputs, NULL);
    gr_tool_contains(outcome.err, "'extra'");
    gr_outcome_release(&outcome);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, gr_folder_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_trained_model_evaluates_and_predicts),
        TEST(weights_are_taken_over_with_a_table),
        TEST(quiet_training_prints_the_result_only),
        TEST(a_diverging_run_exits_with_6),
        TEST(missing_data_exit_with_4),
        TEST(samples_of_the_data_are_predicted_with_their_labels),
        TEST(on_a_terminal_one_line_is_rewritten_and_fits),
        TEST(run_fetches_values_and_gradients),
        TEST(run_makes_training_steps),
        TEST(steps_take_the_batches_of_a_file_in_turn_and_print_their_losses),
        TEST(an_input_that_the_targets_do_not_need_may_be_missing_or_there),
        TEST(wrong_inputs_are_named_with_both_shapes),
        TEST(a_label_out_of_range_is_told_with_its_file),
        TEST(a_tensor_that_is_no_input_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
