/*
 * The model language by what it promises: references in any order, blocks, merges, variables,
 * overrides, sections, and a resolved text that reads as the same model. What it refuses is in
 * test_bad_models.c.
 */
#define _POSIX_C_SOURCE 200809L
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "graph/op.h"
#include "model/model_file.h"
#include "support/folder.h"

#define HEAD                                                                                       \
    "format: 1\n"                                                                                  \
    "inputs: {image: {shape: [3, 8, 8]}, label: {classes: 4}}\n"
#define TAIL                                                                                       \
    "  - {name: fc, op: linear, out_features: 4}\n"                                                \
    "  - {name: loss, op: softmax_cross_entropy, inputs: [fc, label]}\n"                           \
    "  - {name: top1, op: accuracy, inputs: [fc, label]}\n"
#define TRAIN "train: {loss: loss, metrics: top1, batch: 4, optimizer: sgd, learning_rate: 0.1}\n"

static struct gr_model_file *file; /* of the running test, freed by tear_down */
static struct gr_graph *graph;

static int tear_down(void **state)
{
    (void)state;
    gr_graph_free(graph);
    gr_model_file_free(file);
    graph = NULL;
    file = NULL;
    return 0;
}

static void complain(void *user, enum gr_log_level level, const char *text)
{
    (void)user;
    (void)level;
    print_error("%s\n", text);
}

static void read_with(const char *text, const char *name, const struct gr_model_options *options)
{
    struct gr_error err = {0};
    tear_down(NULL);
    file = gr_model_file_parse(gr_standard_ops(), text, strlen(text), name, options, complain, NULL,
                               &err);
    if (!file)
        fail_msg("%s", err.message);
    graph = gr_model_file_graph(file, 2, true, &err);
    if (!graph)
        fail_msg("%s", err.message);
}

static void read_model(const char *text)
{
    read_with(text, "model.yaml", NULL);
}

/* Reads with one override. */
static void read_set(const char *text, const char *set)
{
    const struct gr_model_options options = {.sets = &set, .n_sets = 1};
    read_with(text, "model.yaml", &options);
}

static const struct gr_model_node *node(const char *name)
{
    for (size_t i = 0; i < file->n_nodes; i++)
        if (strcmp(file->nodes[i].name, name) == 0)
            return &file->nodes[i];
    fail_msg("no node %s", name);
    return NULL;
}

/* An attribute of a kind's struct, by the table. */
static const void *field(const struct gr_kind *kind, const void *attrs, const char *name)
{
    const struct gr_attr *attr = gr_kind_attr(kind, name);
    assert_non_null(attr);
    return (const char *)attrs + attr->offset;
}

static int64_t int_of(const char *node_name, const char *attr)
{
    return *(const int64_t *)field(&node(node_name)->op->kind, node(node_name)->attrs, attr);
}

static double float_of(const struct gr_choice *choice, const char *attr)
{
    return *(const double *)field(choice->kind, choice->attrs, attr);
}

static const char *text_of(const struct gr_choice *choice, const char *attr)
{
    return *(const char *const *)field(choice->kind, choice->attrs, attr);
}

static void assert_order(const char *const *names, size_t count)
{
    assert_int_equal(file->n_nodes, count);
    for (size_t i = 0; i < count; i++)
        assert_string_equal(file->nodes[i].name, names[i]);
}

/* ---- nodes ------------------------------------------------------------------------------- */

static void inputs_default_to_the_node_before(void **state)
{
    (void)state;
    read_model(HEAD "nodes:\n"
                    "  - {name: c, op: conv, out_channels: 8, kernel: 3}\n"
                    "  - {name: r, op: relu}\n");
    assert_string_equal(node("c")->inputs[0], "image");
    assert_string_equal(node("r")->inputs[0], "c");
    const struct gr_value *value = gr_graph_value(graph, "r");
    assert_non_null(value);
    const struct gr_shape expected = {.rank = 4, .dim = {2, 8, 6, 6}};
    assert_int_equal(value->shape.rank, 4);
    assert_memory_equal(value->shape.dim, expected.dim, 4 * sizeof *expected.dim);
}

static void nodes_may_refer_forward_and_keep_their_order_where_they_can(void **state)
{
    (void)state;
    read_model(HEAD "nodes:\n"
                    "  - {name: last, op: add, inputs: [b, a]}\n"
                    "  - {name: a, op: relu, inputs: image}\n"
                    "  - {name: b, op: relu, inputs: c}\n"
                    "  - {name: c, op: relu, inputs: image}\n"
                    "  - {name: d, op: relu, inputs: image}\n");
    assert_order((const char *const[]){"c", "b", "a", "last", "d"}, 5);
}

static void a_chain_of_twenty_thousand_nodes_written_backwards_is_ordered(void **state)
{
    (void)state;
    enum { COUNT = 20000 };
    struct gr_text text = {0};
    gr_text_add(&text, HEAD "nodes:\n");
    for (int i = COUNT; i > 0; i--)
        gr_text_add(&text, "  - {name: n%d, op: relu, inputs: n%d}\n", i, i - 1);
    gr_text_add(&text, "  - {name: n0, op: relu, inputs: image}\n");
    read_model(text.data);
    gr_text_release(&text);
    assert_int_equal(file->n_nodes, COUNT + 1);
    assert_string_equal(file->nodes[0].name, "n0");
    assert_string_equal(file->nodes[COUNT].name, "n20000");
}

static void sizes_and_pads_have_short_forms(void **state)
{
    (void)state;
    read_model(HEAD
               "nodes:\n"
               "  - {name: a, op: conv, out_channels: 8, kernel: 3, pad: [1, 2]}\n"
               "  - {name: b, op: conv, out_channels: 8, kernel: [3, 1], pad: [0, 0, 3, 3]}\n");
    const struct gr_kind *kind = &node("a")->op->kind;
    const int64_t pad_a[] = {1, 2, 1, 2}, pad_b[] = {0, 0, 3, 3}, kernel_b[] = {3, 1};
    assert_memory_equal(field(kind, node("a")->attrs, "pad"), pad_a, sizeof pad_a);
    assert_memory_equal(field(kind, node("b")->attrs, "pad"), pad_b, sizeof pad_b);
    assert_memory_equal(field(kind, node("b")->attrs, "kernel"), kernel_b, sizeof kernel_b);
}

static void parameters_take_initialisers_and_multipliers(void **state)
{
    (void)state;
    read_model(HEAD "nodes:\n"
                    "  - {name: c, op: conv, out_channels: 8, kernel: 3, freeze: true,\n"
                    "     weight_init: {gaussian: {std: 0.25}}, bias_init: 0.5, bias_lr: 2,\n"
                    "     bias_decay: 0}\n"
                    "  - {name: fc, op: linear, out_features: 4, weight_init: he}\n");
    const struct gr_parameter *weight = gr_graph_value(graph, "c.weight")->parameter;
    const struct gr_parameter *bias = gr_graph_value(graph, "c.bias")->parameter;
    assert_string_equal(weight->init.kind->name, "gaussian");
    assert_true(float_of(&weight->init, "std") == 0.25);
    assert_string_equal(bias->init.kind->name, "constant");
    assert_true(float_of(&bias->init, "value") == 0.5);
    assert_true(bias->lr_mult == 2 && bias->decay_mult == 0 && weight->lr_mult == 1);
    assert_false(weight->trainable);
    assert_string_equal(gr_graph_value(graph, "fc.weight")->parameter->init.kind->name, "he");
    assert_true(gr_graph_value(graph, "fc.weight")->parameter->trainable);
}

static void shared_nodes_have_one_parameter(void **state)
{
    (void)state;
    read_model(HEAD "nodes:\n"
                    "  - {name: b, op: linear, inputs: image, out_features: 4, share: a}\n"
                    "  - {name: a, op: linear, inputs: image, out_features: 4}\n"
                    "  - {name: s, op: add, inputs: [a, b]}\n");
    assert_string_equal(file->nodes[0].name, "a");
    assert_null(gr_graph_value(graph, "b.weight"));
    const struct gr_node *a = gr_graph_node(graph, "a"), *b = gr_graph_node(graph, "b");
    assert_ptr_equal(a->inputs[1], b->inputs[1]);
}

static void outputs_are_what_inference_needs_without_labels(void **state)
{
    (void)state;
    read_model(HEAD "nodes:\n" TAIL "  - {name: prob, op: softmax, inputs: fc}\n");
    assert_int_equal(file->n_outputs, 1);
    assert_string_equal(file->outputs[0], "prob");
    read_model(HEAD "nodes:\n" TAIL);
    assert_int_equal(file->n_outputs, 1);
    assert_string_equal(file->outputs[0], "fc");
}

static void labels_are_integers_with_classes(void **state)
{
    (void)state;
    read_model(HEAD "nodes:\n" TAIL);
    const struct gr_value *label = gr_graph_value(graph, "label");
    assert_int_equal(label->dtype, GR_S32);
    assert_int_equal(label->classes, 4);
    assert_int_equal(label->shape.rank, 1);
    assert_int_equal(label->shape.dim[0], 2);
    assert_int_equal(file->classes, 4);
}

/* ---- anchors, merges, variables ---------------------------------------------------------- */

static void merged_keys_give_way_to_written_ones(void **state)
{
    (void)state;
    read_model(HEAD ".a: &a {kernel: 3, stride: 2, out_channels: 6}\n"
                    ".b: &b {kernel: 1, groups: 3}\n"
                    "nodes:\n"
                    "  - {name: c, op: conv, <<: [*a, *b], stride: 1}\n");
    assert_int_equal(int_of("c", "out_channels"), 6);
    assert_int_equal(int_of("c", "kernel"), 3);
    assert_int_equal(int_of("c", "stride"), 1);
    assert_int_equal(int_of("c", "groups"), 3);
}

static void an_anchor_may_hold_what_only_a_block_understands(void **state)
{
    (void)state;
    read_model(HEAD ".conv: &conv {op: conv, out_channels: $(n), kernel: 1}\n"
                    "blocks:\n  b: {params: {n: 4}, inputs: [x], nodes: [{name: c, <<: *conv}]}\n"
                    "nodes:\n  - {name: u, block: b, n: 7}\n");
    assert_int_equal(int_of("u.c", "out_channels"), 7);
}

static void an_override_changes_one_use_of_an_alias_only(void **state)
{
    (void)state;
    read_set(HEAD ".a: &a [3, 3]\n"
                  "nodes:\n"
                  "  - {name: c1, op: conv, out_channels: 4, kernel: *a}\n"
                  "  - {name: c2, op: conv, out_channels: 4, kernel: *a}\n",
             "nodes.c2.kernel.0=1");
    assert_int_equal(int_of("c1", "kernel"), 3);
    assert_int_equal(int_of("c2", "kernel"), 1);
}

static const char environment_model[] =
    HEAD "nodes:\n"
         "  - {name: c, op: conv, out_channels: \"${GR_TEST_N}\", kernel: \"${GR_TEST_K:-5}\"}\n";

static void variables_come_from_the_environment_or_their_default(void **state)
{
    (void)state;
    assert_int_equal(setenv("GR_TEST_N", "12", 1), 0);
    assert_int_equal(unsetenv("GR_TEST_K"), 0);
    read_model(environment_model);
    assert_int_equal(int_of("c", "out_channels"), 12);
    assert_int_equal(int_of("c", "kernel"), 5);
    assert_int_equal(setenv("GR_TEST_K", "7", 1), 0);
    read_model(environment_model);
    assert_int_equal(int_of("c", "kernel"), 7);
    assert_int_equal(unsetenv("GR_TEST_N"), 0);
    assert_int_equal(unsetenv("GR_TEST_K"), 0);
}

static void an_environment_text_is_never_read_as_an_expression(void **state)
{
    (void)state;
    assert_int_equal(setenv("GR_TEST_NAME", "$(oops) ${HOME} \"x\"", 1), 0);
    read_model(HEAD "name: \"a ${GR_TEST_NAME} $${b} $$(c)\"\nnodes:\n" TAIL);
    assert_int_equal(unsetenv("GR_TEST_NAME"), 0);
    static const char expected[] = "a $(oops) ${HOME} \"x\" ${b} $(c)";
    assert_string_equal(file->name, expected);
    char *resolved = strdup(file->resolved);
    assert_non_null(resolved);
    read_model(resolved);
    free(resolved);
    assert_string_equal(file->name, expected);
}

static void an_unset_variable_in_data_stops_only_the_use_of_the_data(void **state)
{
    (void)state;
    struct gr_error err = {0};
    read_model(HEAD "nodes:\n" TAIL "data:\n"
                    "  val: {imagefolder: {path: \"${GR_TEST_UNSET}/val\"}, transform: [flip]}\n");
    const struct gr_model_part *part = gr_model_file_part(file, "val");
    assert_non_null(part);
    assert_true(gr_model_unset_check(&part->transforms_unset, &err));
    assert_false(gr_model_unset_check(&part->source_unset, &err));
    assert_int_equal(err.status, GR_ERR_DATA);
    assert_string_equal(err.message,
                        "model.yaml:8:29: environment variable 'GR_TEST_UNSET' is not set");
    assert_non_null(strstr(file->resolved, "\"${GR_TEST_UNSET}/val\""));
    assert_null(gr_model_file_part(file, "train"));
}

/* ---- overrides --------------------------------------------------------------------------- */

#define NODES HEAD "nodes:\n  - {name: f.0, op: conv, out_channels: 8, kernel: 3}\n" TAIL

static void overrides_reach_sections_and_nodes(void **state)
{
    (void)state;
    read_set(NODES TRAIN, "train.batch=64");
    assert_int_equal(file->batch, 64);
    read_set(NODES TRAIN, "nodes.f.0.out_channels=16");
    assert_int_equal(int_of("f.0", "out_channels"), 16);
    read_set(NODES TRAIN, "nodes.0.kernel=[5, 1]");
    assert_int_equal(int_of("f.0", "kernel"), 5);
    read_set(NODES TRAIN, "inputs.image.shape=[1, 28, 28]");
    assert_int_equal(gr_graph_value(graph, "image")->shape.dim[3], 28);
}

static void an_override_may_make_a_section_or_open_a_choice(void **state)
{
    (void)state;
    read_set(NODES, "train={loss: loss, optimizer: sgd, learning_rate: 0.5}");
    assert_true(file->has_train);
    assert_true(float_of(&file->learning_rate, "base") == 0.5);
    read_set(NODES TRAIN, "train.optimizer.sgd.momentum=0.25");
    assert_true(float_of(&file->optimizer, "momentum") == 0.25);
}

static void the_last_override_of_a_key_wins(void **state)
{
    (void)state;
    const char *const sets[] = {"train.batch=8", "train.batch=16"};
    const struct gr_model_options options = {.sets = sets, .n_sets = 2};
    read_with(NODES TRAIN, "model.yaml", &options);
    assert_int_equal(file->batch, 16);
}

/* ---- blocks ------------------------------------------------------------------------------ */

#define RESIDUAL                                                                                   \
    HEAD "blocks:\n"                                                                               \
         "  pair:\n"                                                                               \
         "    params: {channels: required, stride: 1}\n"                                           \
         "    inputs: [x]\n"                                                                       \
         "    nodes:\n"                                                                            \
         "      - {name: a, op: conv, out_channels: $(channels), kernel: 3, pad: 1,\n"             \
         "         stride: $(stride)}\n"                                                           \
         "      - {name: b, op: relu}\n"                                                           \
         "  unit:\n"                                                                               \
         "    params: {channels: required, stride: 1, project: $(stride != 1)}\n"                  \
         "    inputs: [x]\n"                                                                       \
         "    output: sum\n"                                                                       \
         "    nodes:\n"                                                                            \
         "      - {name: main, block: pair, channels: $(channels), stride: $(stride)}\n"           \
         "      - {name: down, when: $(project), op: conv, inputs: x, kernel: 1,\n"                \
         "         out_channels: \"$((channels + channels) / 2)\", stride: $(stride)}\n"           \
         "      - {name: sum, op: add, inputs: [main, down]}\n"                                    \
         "      - {name: side, op: relu, inputs: main.a}\n"                                        \
         "nodes:\n"                                                                                \
         "  - {name: u1, block: unit, inputs: image, channels: 3}\n"                               \
         "  - {name: u2, block: unit, channels: 6, stride: 2}\n"                                   \
         "  - {name: end, op: relu}\n"

static void blocks_expand_with_prefixed_names_and_bypass_what_is_left_out(void **state)
{
    (void)state;
    read_model(RESIDUAL);
    assert_order((const char *const[]){"u1.main.a", "u1.main.b", "u1.sum", "u1.side", "u2.main.a",
                                       "u2.main.b", "u2.down", "u2.sum", "u2.side", "end"},
                 10);
    assert_string_equal(node("u1.sum")->inputs[0], "u1.main.b");
    assert_string_equal(node("u1.sum")->inputs[1], "image");
    assert_string_equal(node("u2.main.a")->inputs[0], "u1.sum");
    assert_string_equal(node("u2.sum")->inputs[1], "u2.down");
    assert_string_equal(node("u2.side")->inputs[0], "u2.main.a");
    assert_string_equal(node("end")->inputs[0], "u2.sum");
    assert_int_equal(int_of("u2.down", "out_channels"), 6);
    assert_int_equal(int_of("u2.down", "stride"), 2);
}

static void overrides_reach_into_blocks(void **state)
{
    (void)state;
    read_set(RESIDUAL, "nodes.u2.main.a.groups=3");
    assert_int_equal(int_of("u2.main.a", "groups"), 3);
    assert_int_equal(int_of("u1.main.a", "groups"), 1);
    read_set(RESIDUAL, "nodes.u2.channels=9");
    assert_int_equal(int_of("u2.main.a", "out_channels"), 9);
}

static const char with_vars[] =
    "format: 1\n"
    "vars: {classes: 4, width: $(2 * classes), n: 9}\n"
    "inputs: {image: {shape: [3, 8, 8]}, label: {classes: $(classes)}}\n"
    "blocks:\n"
    "  b: {params: {n: 1}, inputs: [x], nodes: [\n"
    "    {name: c, op: conv, out_channels: $(width + n), kernel: 3}]}\n"
    "nodes:\n"
    "  - {name: u, block: b, inputs: image, n: $(n - 1)}\n"
    "  - {name: fc, op: linear, out_features: $(classes)}\n"
    "  - {name: loss, op: softmax_cross_entropy, inputs: [fc, label]}\n"
    "train: {loss: loss, batch: $(width), optimizer: sgd, learning_rate: 0.1}\n";

static void expect_vars(int64_t classes)
{
    assert_int_equal(file->classes, classes);
    assert_int_equal(int_of("fc", "out_features"), classes);
    assert_int_equal(file->batch, 2 * classes);
    assert_int_equal(int_of("u.c", "out_channels"), 2 * classes + 8); /* the block's own n */
}

static void variables_stand_everywhere_and_one_override_changes_them_all(void **state)
{
    (void)state;
    read_model(with_vars);
    expect_vars(4);
    read_set(with_vars, "vars.classes=20");
    expect_vars(20);
    assert_null(strstr(file->resolved, "vars"));
    char *resolved = strdup(file->resolved);
    assert_non_null(resolved);
    read_model(resolved);
    free(resolved);
    expect_vars(20);
}

static void expressions_compute_as_c_does(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t value;
    } cases[] = {
        {"n + 2 * 3", 10}, {"(n + 2) * 3", 18}, {"n * 5 / 3", 6},   {"n * 5 % 3", 2},
        {"-n + 9", 5},     {"9 - n - 2", 3},    {"100 / n / 5", 5}, {"n", 4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct gr_text text = {0};
        gr_text_add(&text,
                    HEAD "blocks:\n  b:\n    params: {n: 4}\n    inputs: [x]\n    nodes:\n"
                         "      - {name: c, op: conv, out_channels: \"$(%s)\", kernel: 1}\n"
                         "nodes:\n  - {name: u, block: b}\n",
                    cases[i].text);
        read_model(text.data);
        gr_text_release(&text);
        assert_int_equal(int_of("u.c", "out_channels"), cases[i].value);
    }
}

/* ---- sections ---------------------------------------------------------------------------- */

static void train_says_losses_metrics_and_choices(void **state)
{
    (void)state;
    read_model(HEAD "nodes:\n" TAIL
                    "  - {name: aux, op: softmax_cross_entropy, inputs: [fc, label]}\n"
                    "train:\n"
                    "  loss: {loss: 1, aux: 0.3}\n"
                    "  metrics: [top1]\n"
                    "  epochs: 3\n"
                    "  seed: 7\n"
                    "  monitor: top1\n"
                    "  checkpoint: {every: 2}\n"
                    "  optimizer: {sgd: {momentum: 0.9, nesterov: true}}\n"
                    "  learning_rate: {step: {base: 0.1, every: 2, gamma: 0.5}}\n");
    assert_int_equal(file->n_losses, 2);
    assert_string_equal(file->losses[1].name, "aux");
    assert_true(file->losses[0].weight == 1 && file->losses[1].weight == 0.3);
    assert_int_equal(file->n_metrics, 1);
    assert_int_equal(file->batch, 1);
    assert_int_equal(file->epochs, 3);
    assert_int_equal(file->seed, 7);
    assert_int_equal(file->checkpoint_every, 2);
    assert_string_equal(file->monitor, "top1");
    assert_string_equal(file->optimizer.kind->name, "sgd");
    assert_string_equal(file->learning_rate.kind->name, "step");
    assert_true(float_of(&file->learning_rate, "gamma") == 0.5);
}

static void a_model_without_train_has_defaults(void **state)
{
    (void)state;
    read_model(NODES);
    assert_false(file->has_train);
    assert_int_equal(file->batch, 1);
    assert_int_equal(file->seed, -1);
    assert_null(file->optimizer.kind);
    assert_string_equal(file->name, "model");
}

static const char data_model[] = NODES "data: {val: {imagefolder: {path: images/val}}}\n";

static void relative_paths_start_at_the_model_file_or_the_data_folder(void **state)
{
    (void)state;
    const struct gr_model_options options = {.data_dir = "/data"};
    read_with(data_model, "some/where/model.yaml", NULL);
    assert_string_equal(text_of(&file->parts[0].data.source, "path"), "some/where/images/val");
    read_with(data_model, "model.yaml", NULL);
    assert_string_equal(text_of(&file->parts[0].data.source, "path"), "images/val");
    read_with(data_model, "some/where/model.yaml", &options);
    assert_string_equal(text_of(&file->parts[0].data.source, "path"), "/data/images/val");
    assert_non_null(strstr(file->resolved, "{path: /data/images/val}"));
}

static void class_names_may_stand_in_a_file_beside_the_model(void **state)
{
    (void)state;
    struct gr_error err = {0};
    char names[GR_FOLDER_PATH], path[GR_FOLDER_PATH];
    FILE *out = fopen(gr_folder_file("names.txt", names), "wb");
    assert_non_null(out);
    fputs("cat\r\nbig dog\n12\nno", out);
    assert_int_equal(fclose(out), 0);
    out = fopen(gr_folder_file("pets.yaml", path), "wb");
    assert_non_null(out);
    fputs(NODES "class_names: names.txt\n", out);
    assert_int_equal(fclose(out), 0);
    tear_down(NULL);
    file = gr_model_file_read(gr_standard_ops(), path, NULL, complain, NULL, &err);
    assert_non_null(file);
    assert_string_equal(file->name, "pets");
    char *resolved = strdup(file->resolved);
    assert_non_null(resolved);
    read_model(resolved); /* elsewhere, without the file */
    free(resolved);
    static const char *const expected[] = {"cat", "big dog", "12", "no"};
    assert_int_equal(file->n_class_names, 4);
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(file->class_names[i], expected[i]);
}

static void a_missing_file_is_named(void **state)
{
    (void)state;
    struct gr_error err = {0};
    assert_null(
        gr_model_file_read(gr_standard_ops(), "/no/such/model.yaml", NULL, NULL, NULL, &err));
    assert_int_equal(err.status, GR_ERR_MODEL);
    assert_string_equal(err.message,
                        "/no/such/model.yaml: cannot read the model: No such file or directory");
}

static void a_file_beyond_the_limit_is_refused(void **state)
{
    (void)state;
    enum { LENGTH = (16 << 20) + 1 };
    struct gr_error err = {0};
    char *text = malloc(LENGTH);
    assert_non_null(text);
    memset(text, '\n', LENGTH);
    assert_null(
        gr_model_file_parse(gr_standard_ops(), text, LENGTH, "m.yaml", NULL, NULL, NULL, &err));
    free(text);
    assert_int_equal(err.status, GR_ERR_MODEL);
}

/* ---- the resolved text ------------------------------------------------------------------- */

static void the_resolved_text_reads_as_the_same_model(void **state)
{
    (void)state;
    static const char *const models[] = {RESIDUAL, NODES TRAIN, data_model};
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        read_set(models[i], "name=again");
        struct gr_model_file *first = file;
        file = NULL;
        read_with(first->resolved, "elsewhere/m.yaml", NULL);
        assert_string_equal(file->resolved, first->resolved);
        assert_int_equal(file->n_nodes, first->n_nodes);
        for (size_t n = 0; n < file->n_nodes; n++)
            assert_string_equal(file->nodes[n].name, first->nodes[n].name);
        gr_model_file_free(first);
    }
}

static void the_resolved_text_is_readable(void **state)
{
    (void)state;
    read_model(HEAD
               "name: tiny\nnodes:\n"
               "  - {name: c, op: conv, out_channels: 8, kernel: 3, bias_init: 0}\n" TAIL TRAIN);
    assert_string_equal(
        file->resolved,
        "format: 1\n"
        "inputs:\n"
        "  image: {shape: [3, 8, 8]}\n"
        "  label: {classes: 4}\n"
        "name: tiny\n"
        "nodes:\n"
        "  - {name: c, op: conv, inputs: image, out_channels: 8, kernel: 3, bias_init: 0}\n"
        "  - {name: fc, op: linear, inputs: c, out_features: 4}\n"
        "  - {name: loss, op: softmax_cross_entropy, inputs: [fc, label]}\n"
        "  - {name: top1, op: accuracy, inputs: [fc, label]}\n"
        "train:\n"
        "  loss: loss\n"
        "  metrics: top1\n"
        "  batch: 4\n"
        "  optimizer: sgd\n"
        "  learning_rate: 0.1\n");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(inputs_default_to_the_node_before),
        TEST(nodes_may_refer_forward_and_keep_their_order_where_they_can),
        TEST(a_chain_of_twenty_thousand_nodes_written_backwards_is_ordered),
        TEST(sizes_and_pads_have_short_forms),
        TEST(parameters_take_initialisers_and_multipliers),
        TEST(shared_nodes_have_one_parameter),
        TEST(outputs_are_what_inference_needs_without_labels),
        TEST(labels_are_integers_with_classes),
        TEST(merged_keys_give_way_to_written_ones),
        TEST(an_anchor_may_hold_what_only_a_block_understands),
        TEST(an_override_changes_one_use_of_an_alias_only),
        TEST(variables_come_from_the_environment_or_their_default),
        TEST(an_environment_text_is_never_read_as_an_expression),
        TEST(an_unset_variable_in_data_stops_only_the_use_of_the_data),
        TEST(overrides_reach_sections_and_nodes),
        TEST(an_override_may_make_a_section_or_open_a_choice),
        TEST(the_last_override_of_a_key_wins),
        TEST(blocks_expand_with_prefixed_names_and_bypass_what_is_left_out),
        TEST(overrides_reach_into_blocks),
        TEST(variables_stand_everywhere_and_one_override_changes_them_all),
        TEST(expressions_compute_as_c_does),
        TEST(train_says_losses_metrics_and_choices),
        TEST(a_model_without_train_has_defaults),
        TEST(relative_paths_start_at_the_model_file_or_the_data_folder),
        TEST(class_names_may_stand_in_a_file_beside_the_model),
        TEST(a_missing_file_is_named),
        TEST(a_file_beyond_the_limit_is_refused),
        TEST(the_resolved_text_reads_as_the_same_model),
        TEST(the_resolved_text_is_readable),
    };
    return cmocka_run_group_tests(tests, gr_folder_set_up, gr_folder_tear_down);
}
