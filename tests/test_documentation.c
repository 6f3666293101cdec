/*
 * gr_document: everything that can be chosen is described, and the examples it gives are models.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/kinds.h"
#include "graph/initialise.h"
#include "graph/op.h"
#include "model/model_file.h"
#include "train/schedule.h"

static char *document(const char *name)
{
    struct gr_error err = {0};
    char *text = gr_document(gr_standard_ops(), name, &err);
    if (!text)
        fail_msg("%s: %s", name ? name : "overview", err.message);
    return text;
}

static void assert_contains(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("'%s' is not in:\n%s", part, text);
}

static bool is_written_by_users(const struct gr_op *op)
{
    return !(op->flags & GR_OP_INTERNAL);
}

/* ---- the overview ------------------------------------------------------------------------ */

/* "\n  NAME   DOC\n" is in the text once. */
static void assert_listed_once(const char *text, const struct gr_kind *kind)
{
    char line[512];
    int found = 0;
    snprintf(line, sizeof line, "\n  %-22s  %s\n", kind->name, kind->doc);
    for (const char *at = strstr(text, line); at; at = strstr(at + 1, line))
        found++;
    if (found != 1)
        fail_msg("'%s' stands %d times in:\n%s", kind->name, found, text);
}

static void assert_all_listed(const char *text, const struct gr_kind *const *kinds)
{
    for (; *kinds; kinds++)
        assert_listed_once(text, *kinds);
}

static void the_overview_lists_every_kind_once(void **state)
{
    (void)state;
    const struct gr_registry *ops = gr_standard_ops();
    char *text = document(NULL);
    for (size_t i = 0; i < ops->n_ops; i++)
        if (is_written_by_users(ops->ops[i]))
            assert_listed_once(text, &ops->ops[i]->kind);
    assert_all_listed(text, gr_initialisers);
    assert_all_listed(text, gr_schedules);
    assert_all_listed(text, gr_data_sources);
    assert_all_listed(text, gr_data_transforms);
    free(text);
}

static void the_overview_has_a_heading_for_each_group(void **state)
{
    (void)state;
    char *text = document(NULL);
    assert_true(strncmp(text, "convolution\n  conv ", 19) == 0);
    assert_contains(text, "\n\npooling\n  max_pool ");
    assert_contains(text, "\n\noptimizers (train.optimizer)\n  sgd ");
    assert_contains(text, "\n\nlearning-rate policies (train.learning_rate)\n  fixed ");
    assert_contains(text, "\n\ndata sources (data.PART)\n  imagefolder ");
    free(text);
}

static void internal_ops_are_not_documented(void **state)
{
    (void)state;
    struct gr_error err = {0};
    char *text = document(NULL);
    assert_null(strstr(text, "reorder"));
    assert_null(strstr(text, "backward"));
    free(text);
    assert_null(gr_document(gr_standard_ops(), "reorder", &err));
}

/* ---- pages ------------------------------------------------------------------------------- */

static void a_page_of_an_op_tells_inputs_parameters_attributes_and_an_example(void **state)
{
    (void)state;
    char *text = document("conv");
    assert_contains(text, "conv (op): two-dimensional convolution");
    assert_contains(text, "\ninputs\n  src [N, C, H, W]\n");
    assert_contains(text, "weight_init (default xavier), weight_lr (default 1), weight_decay");
    assert_contains(text, "bias_init (default 0)");
    assert_contains(text, "out_channels            integer; required; 1 to 1048576\n");
    assert_contains(text, "default 1; 1 to 65536\n");
    assert_contains(text, "true or false; default true\n");
    assert_contains(text, "\nexample\n  - {name: conv1, op: conv, out_channels: 64, kernel: 3}\n");
    free(text);
}

static void a_statistic_has_no_learning_rate(void **state)
{
    (void)state;
    char *text = document("batch_norm");
    assert_contains(text, "running_var_init (default 1); a statistic, not trained\n");
    assert_null(strstr(text, "running_var_lr"));
    free(text);
}

static void choices_lists_and_paths_are_named(void **state)
{
    (void)state;
    char *crop = document("crop"), *idx = document("idx"), *normalize = document("normalize");
    assert_contains(crop, "center or random; default center\n");
    assert_contains(idx, "path; required\n");
    assert_contains(idx, "train: {idx: {images: some/images, labels: some/labels}}\n");
    assert_contains(normalize, "number or list of numbers; required\n");
    free(crop);
    free(idx);
    free(normalize);
}

static void every_attribute_has_a_line_with_its_documentation(void **state)
{
    (void)state;
    const struct gr_registry *ops = gr_standard_ops();
    for (size_t i = 0; i < ops->n_ops; i++) {
        const struct gr_kind *kind = &ops->ops[i]->kind;
        char *text = is_written_by_users(ops->ops[i]) ? document(kind->name) : NULL;
        for (const struct gr_attr *attr = kind->attrs; text && attr && attr->name; attr++) {
            char line[256];
            assert_non_null(attr->doc);
            snprintf(line, sizeof line, "\n  %-22s  ", attr->name);
            assert_contains(text, line);
            assert_contains(text, attr->doc);
        }
        free(text);
    }
}

static void an_unknown_name_brings_a_suggestion(void **state)
{
    (void)state;
    struct gr_error err = {0};
    assert_null(gr_document(gr_standard_ops(), "max_pol", &err));
    assert_int_equal(err.status, GR_ERR_USAGE);
    assert_string_equal(err.message, "nothing is named 'max_pol'; did you mean 'max_pool'?");
    struct gr_error far = {0};
    assert_null(gr_document(gr_standard_ops(), "nothing_like_it", &far));
    assert_int_equal(far.status, GR_ERR_USAGE);
    assert_string_equal(far.message, "nothing is named 'nothing_like_it'");
}

/* ---- examples are models ----------------------------------------------------------------- */

static void note(void *user, enum gr_log_level level, const char *text)
{
    (void)level;
    strncat(user, text, 1000);
}

/* Does the text read as a model? What it was told otherwise is appended to messages. */
static bool reads(const char *model, char *messages)
{
    struct gr_error err = {0};
    struct gr_model_file *file = gr_model_file_parse(gr_standard_ops(), model, strlen(model),
                                                     "example.yaml", NULL, note, messages, &err);
    gr_model_file_free(file);
    return file != NULL;
}

/* format holds one %s, the example of the kind. */
static bool example_reads(const struct gr_kind *kind, const char *before, const char *after)
{
    static char messages[8192];
    char model[2048];
    char *text = document(kind->name);
    const char *example = strstr(text, "\nexample\n  ");
    assert_non_null(example);
    snprintf(model, sizeof model, "%s%s%s", before, example + strlen("\nexample\n  "), after);
    free(text);
    messages[0] = '\0';
    const bool ok = reads(model, messages);
    if (!ok)
        print_message("%s\n%s\n", model, messages);
    return ok;
}

static void the_examples_of_ops_are_nodes(void **state)
{
    (void)state;
    const struct gr_registry *ops = gr_standard_ops();
    for (size_t i = 0; i < ops->n_ops; i++) {
        const struct gr_op *op = ops->ops[i];
        if (!is_written_by_users(op) || (op->flags & GR_OP_OPTIMIZER))
            continue;
        const bool labels = strstr(op->input_doc, "labels") != NULL;
        assert_true(example_reads(&op->kind,
                                  labels
                                      ? "format: 1\ninputs: {a: {shape: [10]}, b: {classes: 10}}\n"
                                        "nodes:\n  "
                                      : "format: 1\ninputs: {a: {shape: [4, 8, 8]}, "
                                        "b: {shape: [4, 8, 8]}}\nnodes:\n  ",
                                  ""));
    }
}

static const char network[] =
    "format: 1\ninputs: {image: {shape: [3, 9, 9]}, label: {classes: 4}}\n"
    "nodes:\n- {name: fc, op: linear, out_features: 4}\n"
    "- {name: loss, op: softmax_cross_entropy, inputs: [fc, label]}\n";

static void the_examples_of_initialisers_belong_to_a_weight(void **state)
{
    (void)state;
    for (const struct gr_kind *const *kind = gr_initialisers; *kind; kind++)
        assert_true(example_reads(*kind,
                                  "format: 1\ninputs: {image: {shape: [3, 9, 9]}}\nnodes:\n"
                                  "- name: fc\n  op: linear\n  out_features: 4\n  ",
                                  ""));
}

static void the_examples_of_optimizers_and_policies_belong_under_train(void **state)
{
    (void)state;
    char before[1024];
    snprintf(before, sizeof before, "%strain:\n  loss: loss\n  learning_rate: 0.1\n  ", network);
    for (size_t i = 0; i < gr_standard_ops()->n_ops; i++)
        if (gr_standard_ops()->ops[i]->flags & GR_OP_OPTIMIZER)
            assert_true(example_reads(&gr_standard_ops()->ops[i]->kind, before, ""));
    snprintf(before, sizeof before, "%strain:\n  loss: loss\n  optimizer: sgd\n  ", network);
    for (const struct gr_kind *const *kind = gr_schedules; *kind; kind++)
        assert_true(example_reads(*kind, before, ""));
}

static void the_examples_of_sources_and_transforms_belong_under_data(void **state)
{
    (void)state;
    char before[1024];
    snprintf(before, sizeof before, "%sdata:\n  ", network);
    for (const struct gr_kind *const *kind = gr_data_sources; *kind; kind++)
        assert_true(example_reads(*kind, before, ""));
    snprintf(before, sizeof before, "%sdata:\n  train:\n    synthetic: {count: 8}\n    ", network);
    for (const struct gr_kind *const *kind = gr_data_transforms; *kind; kind++)
        assert_true(example_reads(*kind, before, ""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_overview_lists_every_kind_once),
        cmocka_unit_test(the_overview_has_a_heading_for_each_group),
        cmocka_unit_test(internal_ops_are_not_documented),
        cmocka_unit_test(a_page_of_an_op_tells_inputs_parameters_attributes_and_an_example),
        cmocka_unit_test(a_statistic_has_no_learning_rate),
        cmocka_unit_test(choices_lists_and_paths_are_named),
        cmocka_unit_test(every_attribute_has_a_line_with_its_documentation),
        cmocka_unit_test(an_unknown_name_brings_a_suggestion),
        cmocka_unit_test(the_examples_of_ops_are_nodes),
        cmocka_unit_test(the_examples_of_initialisers_belong_to_a_weight),
        cmocka_unit_test(the_examples_of_optimizers_and_policies_belong_under_train),
        cmocka_unit_test(the_examples_of_sources_and_transforms_belong_under_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
