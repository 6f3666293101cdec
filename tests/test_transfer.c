/*
 * Weights taken over by name from another model, and training with parts of a model frozen.
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

#include "base/pattern.h"
#include "support/api_case.h"

enum { MOST = 4000 };

/* The rows of the table as lines: "loaded conv1.weight 8×3×3×3 conv1.weight". */
static char table[4000];

static void take_row(void *user, const struct gr_transfer_row *row)
{
    static const char *const words[] = {"loaded", "shape", "missing", "left-out", "unused"};
    char ours[GR_SHAPE_TEXT], theirs[GR_SHAPE_TEXT];
    const size_t length = strlen(table);
    (void)user;
    snprintf(table + length, sizeof table - length, "%s %s %s %s %s\n", words[row->outcome],
             row->name ? row->name : "-", row->name ? gr_shape_text(&row->ours, ours) : "-",
             row->source ? row->source : "-",
             row->source ? gr_shape_text(&row->theirs, theirs) : "-");
}

static bool transfer(struct gr_model *model, const char *path, struct gr_transfer_options options,
                     struct gr_error *err)
{
    table[0] = '\0';
    options.row = take_row;
    return gr_model_transfer_weights(model, path, &options, err);
}

/* The weights of a model with another seed and, where wanted, other keys, in a file. */
static const char *weights_of(const char *text, const char *const *sets)
{
    struct gr_error err = {0};
    const char *path = gr_api_path("weights.safetensors");
    struct gr_model *model = gr_api_load("source", text, 77, sets);
    gr_api_ok(gr_model_save_weights(model, path, &err), &err);
    gr_model_free(model);
    return path;
}

static size_t get(struct gr_model *model, const char *name, size_t count, float values[MOST])
{
    struct gr_error err = {0};
    assert_true(count <= MOST);
    gr_api_ok(gr_model_get_parameter(model, name, values, count, &err), &err);
    return count * sizeof *values;
}

/* The parameter is, or is not, bit for bit the tensor of the file. */
static void expect_from(struct gr_model *model, const char *name, const char *path,
                        const char *source, bool same)
{
    struct gr_error err = {0};
    float values[MOST];
    struct gr_tensor_file *file = gr_tensor_file_read(path, &err);
    gr_api_ok(file != NULL, &err);
    const struct gr_tensor *tensor = gr_tensor_file_find(file, source);
    assert_non_null(tensor);
    const size_t bytes = get(model, name, (size_t)gr_shape_count(&tensor->shape), values);
    assert_int_equal(memcmp(values, tensor->data, bytes) == 0, same);
    gr_tensor_file_free(file);
}

/* ---- by name ----------------------------------------------------------------------------- */

static const char *const more_classes[] = {"inputs.label.classes=6", "nodes.fc2.out_features=6",
                                           "class_names=[a, b, c, d, e, f]", NULL};

static void what_fits_is_loaded_and_the_rest_keeps_its_values(void **state)
{
    (void)state;
    struct gr_error err = {0};
    float before[MOST], after[MOST];
    const char *path = weights_of(gr_api_tiny, NULL);
    struct gr_model *model = gr_api_load("model", gr_api_tiny, 1, more_classes);
    const size_t bytes = get(model, "fc2.weight", 6 * 288, before);
    gr_api_ok(transfer(model, path, (struct gr_transfer_options){0}, &err), &err);
    assert_string_equal(table, "loaded conv1.weight 8×3×3×3 conv1.weight 8×3×3×3\n"
                               "loaded conv1.bias 8 conv1.bias 8\n"
                               "shape fc2.weight 6×288 fc2.weight 4×288\n"
                               "shape fc2.bias 6 fc2.bias 4\n");
    expect_from(model, "conv1.weight", path, "conv1.weight", true);
    get(model, "fc2.weight", 6 * 288, after);
    assert_memory_equal(before, after, bytes);
    gr_model_free(model);
}

static void patterns_choose_parameters_of_the_model(void **state)
{
    (void)state;
    struct gr_error err = {0};
    const char *path = weights_of(gr_api_zoo, NULL);
    static const struct {
        const char *only, *except, *left_out;
    } cases[] = {
        {"fc2", NULL, "conv1.weight conv1.bias left.weight right.weight bn.weight"},
        {NULL, "conv1,bn", "conv1.weight conv1.bias bn.weight bn.running_mean"},
        {"*.weight", "?ight,le*", "conv1.bias left.weight right.weight fc2.bias bn.running_var"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct gr_model *model = gr_api_load("model", gr_api_zoo, 1, NULL);
        char words[2][64];
        const char *patterns[2][2];
        struct gr_transfer_options options = {.only = patterns[0], .except = patterns[1]};
        snprintf(words[0], 64, "%s", cases[i].only ? cases[i].only : "");
        snprintf(words[1], 64, "%s", cases[i].except ? cases[i].except : "");
        for (char *at = strtok(words[0], ","); at; at = strtok(NULL, ","))
            patterns[0][options.n_only++] = at;
        for (char *at = strtok(words[1], ","); at; at = strtok(NULL, ","))
            patterns[1][options.n_except++] = at;
        gr_api_ok(transfer(model, path, options, &err), &err);
        char names[256], line[128];
        snprintf(names, sizeof names, "%s", cases[i].left_out);
        for (char *at = strtok(names, " "); at; at = strtok(NULL, " ")) {
            snprintf(line, sizeof line, "left-out %s ", at);
            if (!strstr(table, line))
                fail_msg("%s is not left out:\n%s", at, table);
        }
        assert_non_null(strstr(table, "loaded fc2.weight "));
        gr_model_free(model);
    }
}

/* ---- renaming ---------------------------------------------------------------------------- */

/* The tiny model with its nodes renamed, as another program would call them. */
static const char *foreign_weights(void)
{
    struct gr_error err = {0};
    const char *path = gr_api_path("foreign.safetensors");
    struct gr_tensor_file *file = gr_tensor_file_read(weights_of(gr_api_tiny, NULL), &err);
    static const char *const names[][2] = {
        {"module.features.0.weight", "conv1.weight"},
        {"module.features.0.bias", "conv1.bias"},
        {"module.head.fc.weight", "fc2.weight"},
        {"module.head.fc.bias", "fc2.bias"},
    };
    struct gr_tensor tensors[4];
    for (size_t i = 0; i < 4; i++) {
        tensors[i] = *gr_tensor_file_find(file, names[i][1]);
        tensors[i].name = names[i][0];
    }
    gr_api_ok(gr_tensor_file_write(path, tensors, 4, NULL, 0, &err), &err);
    gr_tensor_file_free(file);
    return path;
}

static void renaming_is_by_prefix_or_by_pattern(void **state)
{
    (void)state;
    static const char *const ways[][4] = {
        {"module.features.0=conv1", "module.head.fc=fc2"},
        {"module.features.*.weight=conv1.weight*", "module.features.0.bias=conv1.bias",
         "*.head.fc.*=fc2.*"},
        {"module.features.0=conv1", "module.head.fc.*=fc2.*"},
    };
    const char *path = foreign_weights();
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        struct gr_error err = {0};
        struct gr_transfer_options options = {.rename = ways[i]};
        struct gr_model *model = gr_api_load("model", gr_api_tiny, 1, NULL);
        while (options.n_rename < 4 && ways[i][options.n_rename])
            options.n_rename++;
        const bool ok = transfer(model, path, options, &err);
        if (i == 1) { /* the stars of OLD and NEW must pair */
            gr_api_refused(ok, &err, GR_ERR_USAGE,
                           "rename: '*.head.fc.*=fc2.*': OLD and NEW have the same number of '*', "
                           "at most 8");
        } else {
            gr_api_ok(ok, &err);
            expect_from(model, "conv1.weight", path, "module.features.0.weight", true);
            expect_from(model, "fc2.bias", path, "module.head.fc.bias", true);
            assert_null(strstr(table, "unused"));
            assert_null(strstr(table, "missing"));
        }
        gr_model_free(model);
    }
}

static void a_prefix_can_be_taken_off(void **state)
{
    (void)state;
    struct gr_error err = {0};
    static const char *const rename[] = {"module.head.fc=fc2", "module.="};
    const char *path = foreign_weights();
    struct gr_model *model = gr_api_load("model", gr_api_tiny, 1, NULL);
    gr_api_ok(
        transfer(model, path, (struct gr_transfer_options){.rename = rename, .n_rename = 2}, &err),
        &err);
    assert_string_equal(table, "missing conv1.weight 8×3×3×3 - -\n"
                               "missing conv1.bias 8 - -\n"
                               "loaded fc2.weight 4×288 module.head.fc.weight 4×288\n"
                               "loaded fc2.bias 4 module.head.fc.bias 4\n"
                               "unused - - module.features.0.bias 8\n"
                               "unused - - module.features.0.weight 8×3×3×3\n");
    gr_model_free(model);
}

/* ---- refusals ---------------------------------------------------------------------------- */

static void refuses(const char *path, struct gr_transfer_options options, enum gr_status status,
                    const char *wanted)
{
    struct gr_error err = {0};
    float before[MOST], after[MOST];
    struct gr_model *model = gr_api_load("model", gr_api_tiny, 1, NULL);
    const size_t bytes = get(model, "conv1.weight", 216, before);
    assert_false(transfer(model, path, options, &err));
    assert_int_equal(err.status, status);
    if (!strstr(err.message, wanted))
        fail_msg("'%s', not '%s'", err.message, wanted);
    assert_string_equal(table, "");
    get(model, "conv1.weight", 216, after);
    assert_memory_equal(before, after, bytes);
    gr_model_free(model);
}

static void what_concerns_nothing_is_refused_with_a_suggestion(void **state)
{
    (void)state;
    const char *path = weights_of(gr_api_tiny, NULL);
    refuses(path, (struct gr_transfer_options){.only = (const char *const[]){"cnv*"}, .n_only = 1},
            GR_ERR_USAGE, "only: 'cnv*' matches no parameter of the model; did you mean 'conv*'?");
    refuses(path,
            (struct gr_transfer_options){.except = (const char *const[]){"fc2", "convl"},
                                         .n_except = 2},
            GR_ERR_USAGE,
            "except: 'convl' matches no parameter of the model; did you mean 'conv1'?");
    refuses(
        path,
        (struct gr_transfer_options){.rename = (const char *const[]){"cov1=conv1"}, .n_rename = 1},
        GR_ERR_USAGE, "rename: 'cov1' matches no tensor of the file; did you mean 'conv1'?");
    refuses(path,
            (struct gr_transfer_options){
                .rename = (const char *const[]){"conv1=x", "conv1.weight=y"}, .n_rename = 2},
            GR_ERR_USAGE,
            "rename: 'conv1.weight=y' renames nothing: those before it were there first");
    refuses(
        path,
        (struct gr_transfer_options){.rename = (const char *const[]){"conv1.bias"}, .n_rename = 1},
        GR_ERR_USAGE, "rename: 'conv1.bias' is not OLD=NEW");
    refuses(
        path,
        (struct gr_transfer_options){.rename = (const char *const[]){"fc2=conv1"}, .n_rename = 1},
        GR_ERR_USAGE, "would both become 'conv1.");
}

static void a_file_of_which_nothing_fits_is_refused(void **state)
{
    (void)state;
    refuses(weights_of(gr_api_tiny, NULL),
            (struct gr_transfer_options){.rename = (const char *const[]){"*=x*"}, .n_rename = 1},
            GR_ERR_DATA, "no tensor has the name and the shape of a parameter of 'tiny'");
    refuses(gr_api_path("absent"), (struct gr_transfer_options){0}, GR_ERR_DATA, "absent");
}

/* ---- freezing ---------------------------------------------------------------------------- */

static struct gr_model *load_frozen(const char *text, const char *const *freeze, size_t n_freeze,
                                    struct gr_error *err)
{
    const struct gr_model_options options = {.seed = 1, .freeze = freeze, .n_freeze = n_freeze};
    gr_api_write("frozen.yaml", text);
    return gr_model_load(gr_api_context(), gr_api_path("frozen.yaml"), &options, err);
}

static void frozen_parameters_keep_their_bits_and_the_others_learn(void **state)
{
    (void)state;
    static const char *const freeze[] = {"conv*", "left"};
    static const struct {
        const char *name;
        bool learns;
        size_t count;
    } cases[] = {{"conv1.weight", false, 432}, {"conv1.bias", false, 16},
                 {"left.weight", false, 576},  {"right.weight", true, 128},
                 {"bn.weight", true, 16},      {"fc2.weight", true, 64},
                 {"fc2.bias", true, 4}};
    static float before[7][MOST];
    float after[MOST];
    struct gr_error err = {0};
    struct gr_train_result result;
    struct gr_model *model = load_frozen(gr_api_zoo, freeze, 2, &err);
    gr_api_ok(model != NULL, &err);
    const char *path = weights_of(gr_api_zoo, NULL);
    gr_api_ok(transfer(model, path, (struct gr_transfer_options){0}, &err), &err);
    for (size_t i = 0; i < 7; i++)
        get(model, cases[i].name, cases[i].count, before[i]);
    gr_api_ok(gr_train(model, &(struct gr_train_options){.out = gr_api_path("run")}, &result, &err),
              &err);
    assert_int_equal(result.epochs, 3);
    for (size_t i = 0; i < 7; i++) {
        const size_t bytes = get(model, cases[i].name, cases[i].count, after);
        if ((memcmp(before[i], after, bytes) != 0) != cases[i].learns)
            fail_msg("%s has %schanged", cases[i].name, cases[i].learns ? "not " : "");
    }
    expect_from(model, "conv1.weight", path, "conv1.weight", true);
    gr_model_free(model);
}

static void a_frozen_batch_norm_keeps_its_statistics(void **state)
{
    (void)state;
    static const char *const freeze[] = {"bn"};
    static const struct {
        const char *name;
        bool learns;
    } cases[] = {{"bn.weight", false},
                 {"bn.bias", false},
                 {"bn.running_mean", false},
                 {"bn.running_var", false},
                 {"conv1.bias", true}};
    static float before[5][MOST], after[MOST];
    struct gr_error err = {0};
    struct gr_train_result result;
    struct gr_model *model = load_frozen(gr_api_zoo, freeze, 1, &err);
    gr_api_ok(model != NULL, &err);
    for (size_t i = 0; i < 5; i++)
        get(model, cases[i].name, 16, before[i]);
    gr_api_ok(gr_train(model, &(struct gr_train_options){.out = gr_api_path("run")}, &result, &err),
              &err);
    for (size_t i = 0; i < 5; i++) {
        const size_t bytes = get(model, cases[i].name, 16, after);
        if ((memcmp(before[i], after, bytes) != 0) != cases[i].learns)
            fail_msg("%s has %schanged", cases[i].name, cases[i].learns ? "not " : "");
    }
    gr_model_free(model);
}

/* The gradient of conv1.weight, with nodes fused or not. */
static void gradient_of(struct gr_model *model, bool reference, float gradient[432])
{
    static const char *const target[] = {"grad:conv1.weight"};
    static float image[8 * 432];
    static const int32_t label[8] = {0, 1, 2, 3, 3, 2, 1, 0};
    const struct gr_plan_options options = {
        .mode = GR_TRAIN, .batch = 8, .targets = target, .n_targets = 1, .reference = reference};
    struct gr_error err = {0};
    struct gr_plan *plan = gr_plan_new(model, &options, &err);
    gr_api_ok(plan != NULL, &err);
    for (int i = 0; i < 8 * 432; i++)
        image[i] = (float)((i * 7919) % 101) / 50 - 1;
    gr_api_ok(gr_plan_feed(plan, "image", image, sizeof image, &err), &err);
    gr_api_ok(gr_plan_feed(plan, "label", label, sizeof label, &err), &err);
    gr_api_ok(gr_plan_run(plan, &err), &err);
    gr_api_ok(gr_plan_fetch(plan, target[0], gradient, 432 * sizeof *gradient, &err), &err);
    gr_plan_free(plan);
}

static void fusing_changes_nothing_behind_a_frozen_batch_norm(void **state)
{
    (void)state;
    static const char *const freeze[] = {"bn"};
    static const float mean[16] = {0.1f, -0.2f, 0.3f},
                       variance[16] = {2, 1, 0.5f, 1, 1, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    float fused[432], plain[432];
    double largest = 0;
    struct gr_error err = {0};
    struct gr_model *model = load_frozen(gr_api_zoo, freeze, 1, &err);
    gr_api_ok(model != NULL, &err);
    gr_api_ok(gr_model_set_parameter(model, "bn.running_mean", mean, 16, &err), &err);
    gr_api_ok(gr_model_set_parameter(model, "bn.running_var", variance, 16, &err), &err);
    gradient_of(model, false, fused);
    gradient_of(model, true, plain);
    for (int i = 0; i < 432; i++)
        largest = fmax(largest, fabs((double)plain[i]));
    assert_true(largest > 1e-4);
    for (int i = 0; i < 432; i++)
        assert_true(fabs((double)(fused[i] - plain[i])) < 1e-5 * largest);
    gr_model_free(model);
}

static void count_phases(struct gr_model *model, const char *prefix, int *backward, int *update)
{
    struct gr_error err = {0};
    struct gr_plan *plan =
        gr_plan_new(model, &(struct gr_plan_options){.mode = GR_TRAIN, .update = true}, &err);
    gr_api_ok(plan != NULL, &err);
    *backward = *update = 0;
    for (size_t i = 0; i < gr_plan_node_count(plan); i++) {
        const struct gr_node_info info = gr_plan_node(plan, i);
        const bool ours = strncmp(info.name, prefix, strlen(prefix)) == 0;
        *backward += ours && strcmp(info.phase, "backward") == 0;
        *update += ours && strcmp(info.phase, "update") == 0;
    }
    gr_plan_free(plan);
}

static void below_what_learns_there_is_no_backward_pass(void **state)
{
    (void)state;
    static const char *const freeze[] = {"conv?"}, *const names[] = {"conv1", "relu1", "pool1"};
    struct gr_error err = {0};
    int backward, update, all = 0;
    struct gr_model *model = gr_api_load("model", gr_api_tiny, 1, NULL);
    for (int i = 0; i < 3; i++) {
        count_phases(model, names[i], &backward, &update);
        all += backward;
    }
    assert_true(all > 0);
    gr_model_free(model);
    model = load_frozen(gr_api_tiny, freeze, 1, &err);
    gr_api_ok(model != NULL, &err);
    for (int i = 0; i < 3; i++) {
        count_phases(model, names[i], &backward, &update);
        assert_int_equal(backward + update, 0);
    }
    count_phases(model, "fc2", &backward, &update);
    assert_true(backward + update > 0);
    assert_non_null(strstr(gr_model_resolved(model), "pad: 1, freeze: true}"));
    gr_model_free(model);
}

static void a_pattern_that_freezes_nothing_is_refused(void **state)
{
    (void)state;
    static const char *const freeze[] = {"fc2", "cov*"}, *const all[] = {"*"};
    struct gr_error err = {0};
    struct gr_train_result result;
    gr_api_refused(load_frozen(gr_api_tiny, freeze, 2, &err) != NULL, &err, GR_ERR_USAGE,
                   "freeze: 'cov*' matches no node with parameters; did you mean 'conv*'?");
    struct gr_model *model = load_frozen(gr_api_tiny, all, 1, &err);
    gr_api_ok(model != NULL, &err);
    gr_api_refused(
        gr_train(model, &(struct gr_train_options){.out = gr_api_path("run")}, &result, &err), &err,
        GR_ERR_USAGE, "there is nothing to train: all parameters of 'tiny' are frozen");
    gr_model_free(model);
}

/* ---- patterns ---------------------------------------------------------------------------- */

static void a_pattern_matches_a_name_or_its_head(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *name;
        bool matches;
    } cases[] = {
        {"conv1", "conv1", true},
        {"conv1", "conv1.weight", true},
        {"conv1", "conv10.weight", false},
        {"conv*", "conv10.weight", true},
        {"unit1", "unit1.conv.weight", true},
        {"unit1.conv", "unit1.conv.weight", true},
        {"conv", "unit1.conv.weight", false},
        {"*.conv", "unit1.conv.weight", true},
        {"*.bias", "conv1.weight", false},
        {"conv[12]", "conv2.bias", true},
        {"conv[12]", "conv3.bias", false},
        {"conv?.bias", "conv3.bias", true},
        {"", "conv1", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (gr_pattern_matches(cases[i].pattern, cases[i].name) != cases[i].matches)
            fail_msg("'%s' and '%s'", cases[i].pattern, cases[i].name);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, gr_api_set_up, gr_api_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_fits_is_loaded_and_the_rest_keeps_its_values),
        TEST(patterns_choose_parameters_of_the_model),
        TEST(renaming_is_by_prefix_or_by_pattern),
        TEST(a_prefix_can_be_taken_off),
        TEST(what_concerns_nothing_is_refused_with_a_suggestion),
        TEST(a_file_of_which_nothing_fits_is_refused),
        TEST(frozen_parameters_keep_their_bits_and_the_others_learn),
        TEST(a_frozen_batch_norm_keeps_its_statistics),
        TEST(fusing_changes_nothing_behind_a_frozen_batch_norm),
        TEST(below_what_learns_there_is_no_backward_pass),
        TEST(a_pattern_that_freezes_nothing_is_refused),
        TEST(a_pattern_matches_a_name_or_its_head),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
