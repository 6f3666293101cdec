/*
 * Names of classes: from the folders that a model is trained on into its weights, and out of those
 * where there are no folders.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "model/class_names.h"
#include "support/api_case.h"
#include "support/make_jpeg.h"

static const char text[] =
    "format: 1\n"
    "name: folders\n"
    "inputs: {image: {shape: [3, 8, 8]}, label: {classes: 3}}\n"
    "nodes:\n"
    "  - {name: fc, op: linear, inputs: image, out_features: 3}\n"
    "  - {name: prob, op: softmax}\n"
    "  - {name: loss, op: softmax_cross_entropy, inputs: [fc, label]}\n"
    "train: {loss: loss, batch: 3, epochs: 1, optimizer: sgd, learning_rate: 0.01}\n"
    "data:\n"
    "  train: {imagefolder: {path: train}, transform: [{crop: {size: 8}}, scale]}\n"
    "  val: {imagefolder: {path: val}, transform: [{crop: {size: 8}}, scale]}\n";

/* A folder of one picture. */
static void make_class(const char *part, const char *name)
{
    char path[512];
    mkdir(gr_api_path(part), 0700);
    snprintf(path, sizeof path, "%s/%s", part, name);
    mkdir(gr_api_path(path), 0700);
    snprintf(path, sizeof path, "%s/%s/x.jpg", part, name);
    assert_true(gr_make_plain_jpeg(gr_api_path(path), 8, 8, 90, 90, 90));
}

/* Trains on folders of these names, and gives the path of the weights. */
static const char *train_on(const char *const names[3])
{
    struct gr_error err = {0};
    struct gr_train_result result;
    for (int i = 0; i < 3; i++) {
        make_class("train", names[i]);
        make_class("val", names[i]);
    }
    struct gr_model *model = gr_api_load("folders", text, 1, NULL);
    const struct gr_train_options options = {.out = gr_api_path("run")};
    gr_api_ok(gr_train(model, &options, &result, &err), &err);
    assert_string_equal(gr_model_class_name(model, 1), names[1]);
    gr_model_free(model);
    return gr_api_path("run/latest.safetensors");
}

static const char *const trees[] = {"ash", "birch", "cedar"};

static void names_of_folders_are_there_without_the_folders(void **state)
{
    (void)state;
    struct gr_error err = {0};
    const char *weights = train_on(trees);
    static const char *const elsewhere[] = {"data.train.imagefolder.path=none",
                                            "data.val.imagefolder.path=none", NULL};
    struct gr_model *model = gr_api_load("other", text, 1, elsewhere);
    assert_null(gr_model_class_name(model, 0));
    gr_api_ok(gr_model_load_weights(model, weights, &err), &err);
    for (int i = 0; i < 3; i++)
        assert_string_equal(gr_model_class_name(model, i), trees[i]);
    assert_null(gr_model_class_name(model, 3));
    assert_null(gr_model_class_name(model, -1));
    const char *image = gr_api_path("val/ash/x.jpg");
    struct gr_prediction rows[3];
    const struct gr_predict_options top = {.top = 3};
    gr_api_ok(gr_predict(model, &image, 1, &top, rows, &err), &err);
    for (int k = 0; k < 3; k++)
        assert_string_equal(rows[k].class_name, trees[rows[k].index]);
    const char *again = gr_api_path("again.safetensors");
    gr_api_ok(gr_model_save_weights(model, again, &err), &err); /* and on */
    gr_model_free(model);
    struct gr_tensor_file *file = gr_tensor_file_read(again, &err);
    assert_non_null(file);
    assert_string_equal(gr_tensor_file_metadata(file, "class_names"),
                        "[\"ash\",\"birch\",\"cedar\"]");
    gr_tensor_file_free(file);
}

static void names_in_the_model_file_count_first(void **state)
{
    (void)state;
    struct gr_error err = {0};
    const char *weights = train_on(trees);
    char named[1024];
    snprintf(named, sizeof named, "%sclass_names: [Esche, Birke, Zeder]\n", text);
    struct gr_model *model = gr_api_load("named", named, 1, NULL);
    gr_api_ok(gr_model_load_weights(model, weights, &err), &err);
    assert_string_equal(gr_model_class_name(model, 2), "Zeder");
    gr_model_free(model);
}

static void training_on_other_folders_takes_their_names(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct gr_train_result result;
    char weights[512];
    snprintf(weights, sizeof weights, "%s", train_on(trees));
    static const char *const animals[] = {"ant", "bee", "cat"};
    static const char *const other[] = {"data.train.imagefolder.path=animals",
                                        "data.val.imagefolder.path=animals", NULL};
    for (int i = 0; i < 3; i++)
        make_class("animals", animals[i]);
    struct gr_model *model = gr_api_load("fine", text, 1, other);
    const struct gr_train_options options = {.out = gr_api_path("fine"), .weights = weights};
    gr_api_ok(gr_train(model, &options, &result, &err), &err);
    assert_string_equal(gr_model_class_name(model, 2), "cat");
    gr_model_free(model);
}

static void folders_that_are_numbered_otherwise_are_warned_of(void **state)
{
    (void)state;
    struct gr_error err = {0};
    struct gr_eval_result result;
    const char *weights = train_on(trees);
    static const char *const part[] = {"data.val.imagefolder.path=part", NULL};
    make_class("part", "birch");
    make_class("part", "cedar");
    struct gr_model *model = gr_api_load("part", text, 1, part);
    gr_api_ok(gr_model_load_weights(model, weights, &err), &err);
    const struct gr_eval_options options = {.part = "val"};
    gr_api_ok(gr_evaluate(model, &options, &result, &err), &err);
    assert_non_null(strstr(gr_api_log(), "data.val: label 0 is 'birch', which was label 1 in "
                                         "training: are the same classes there?"));
    gr_model_free(model);
}

/* ---- the list ---------------------------------------------------------------------------- */

static void any_name_goes_through_text_and_back(void **state)
{
    (void)state;
    static const char *const items[] = {"plain", "a \"b\" \\ \n", "Bäume", "\xff!", NULL, ""};
    static const char *const back[] = {"plain", "a \"b\" \\ \n", "Bäume", "?!", NULL, ""};
    struct gr_class_names names = {0}, read = {0};
    assert_true(gr_class_names_set(&names, items, 6, NULL));
    char *list = gr_class_names_text(&names);
    assert_non_null(list);
    assert_true(gr_class_names_parse(&read, list, 6, NULL));
    assert_int_equal(read.count, 6);
    for (int i = 0; i < 6; i++)
        if (back[i])
            assert_string_equal(read.items[i], back[i]);
        else
            assert_null(read.items[i]);
    free(list);
    gr_class_names_release(&names);
    gr_class_names_release(&read);
}

static void lists_that_make_no_sense_are_no_names(void **state)
{
    (void)state;
    static const char *const lists[] = {NULL,    "",    "[",  "{}",
                                        "\"a\"", "[1]", "[]", "[\"a\",\"b\",\"c\"]"};
    struct gr_class_names names = {0};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        assert_true(gr_class_names_parse(&names, lists[i], 2, NULL));
        assert_int_equal(names.count, 0);
    }
}

static void a_name_in_another_place_is_found(void **state)
{
    (void)state;
    static const char *const items[] = {"crane", "owl", "crane"};
    static const char *const more[] = {"crane", "owl", "crane", "new"};
    static const char *const fewer[] = {"owl", "crane"};
    struct gr_class_names names = {0};
    int64_t at = 0;
    assert_true(gr_class_names_set(&names, items, 3, NULL));
    assert_int_equal(gr_class_names_misplaced(&names, items, 3, &at), -1);
    assert_int_equal(gr_class_names_misplaced(&names, more, 4, &at), -1);
    assert_int_equal(gr_class_names_misplaced(&names, fewer, 2, &at), 1);
    assert_int_equal(at, 0);
    gr_class_names_release(&names);
}

#define SENTENCE(name) cmocka_unit_test_setup_teardown(name, gr_api_set_up, gr_api_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SENTENCE(names_of_folders_are_there_without_the_folders),
        SENTENCE(names_in_the_model_file_count_first),
        SENTENCE(training_on_other_folders_takes_their_names),
        SENTENCE(folders_that_are_numbered_otherwise_are_warned_of),
        cmocka_unit_test(any_name_goes_through_text_and_back),
        cmocka_unit_test(lists_that_make_no_sense_are_no_names),
        cmocka_unit_test(a_name_in_another_place_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
