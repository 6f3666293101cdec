/*
 * The picture of a program: each node and edge once, clusters, escapes, and text that Graphviz
 * reads.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* strndup */
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "graph/autodiff.h"
#include "graph/dot.h"
#include "support/folder.h"

/* A graph with its program and the text that was drawn of it. */
struct picture {
    struct gr_graph *graph;
    struct gr_backend *backend;
    struct gr_params *params;
    struct gr_program *program;
    struct gr_text text;
};

static void assert_ok(bool ok, const struct gr_error *err)
{
    if (!ok)
        fail_msg("%s", err->message);
}

static struct gr_value *add_input(struct picture *picture, const char *name, int rank,
                                  const int64_t *dims)
{
    struct gr_error err = {0};
    const struct gr_shape shape = gr_shape_of(rank, dims);
    struct gr_value *value = gr_graph_add_value(picture->graph, name, GR_VALUE_INPUT,
                                                rank == 1 ? GR_S32 : GR_F32, &shape, &err);
    assert_ok(value != NULL, &err);
    return value;
}

/* attribute, if not NULL, is an integer or size attribute of the op, set to number. */
static struct gr_value *add_node(struct picture *picture, const char *name, const char *op,
                                 struct gr_value *const *inputs, int n_inputs,
                                 const char *const *attributes, int64_t number)
{
    struct gr_error err = {0};
    struct gr_node_spec spec = {.name = name,
                                .op = gr_registry_find(gr_standard_ops(), op),
                                .inputs = inputs,
                                .n_inputs = n_inputs};
    char *attrs = gr_kind_defaults(&spec.op->kind, &picture->graph->pool);
    assert_non_null(attrs);
    for (int i = 0; attributes && attributes[i]; i++) {
        const struct gr_attr *attr = gr_kind_attr(&spec.op->kind, attributes[i]);
        assert_non_null(attr);
        int64_t *field = (void *)(attrs + attr->offset);
        field[0] = number;
        if (attr->type == GR_ATTR_SIZE2)
            field[1] = number;
    }
    spec.attrs = attrs;
    const struct gr_node *node = gr_graph_add_node(picture->graph, &spec, &err);
    assert_ok(node != NULL, &err);
    return node->outputs[0];
}

static void compile(struct picture *picture, struct gr_value *const *targets, size_t n_targets,
                    bool updates, const char *title)
{
    struct gr_error err = {0};
    const struct gr_registry *ops = gr_standard_ops();
    const struct gr_program_options options = {.run_updates = updates};
    picture->backend = ops->backend_new(1, GR_KERNELS_AUTO, &err);
    assert_ok(picture->backend != NULL, &err);
    picture->params = gr_params_new(ops, picture->backend, 1, &err);
    assert_ok(picture->params != NULL, &err);
    picture->program = gr_program_new(picture->graph, picture->params, picture->backend, targets,
                                      n_targets, &options, &err);
    assert_ok(picture->program != NULL, &err);
    assert_ok(gr_program_dot(picture->program, title, NULL, &picture->text, &err), &err);
}

static void release(struct picture *picture)
{
    gr_text_release(&picture->text);
    gr_program_free(picture->program);
    gr_params_free(picture->params);
    if (picture->backend)
        gr_standard_ops()->backend_free(picture->backend);
    gr_graph_free(picture->graph);
}

static const int64_t image_dims[] = {2, 3, 8, 8}, label_dims[] = {2};

/* image -> conv -> relu -> (pool, add of twice the same) -> fc -> loss with label */
static struct gr_value *build_network(struct picture *picture, bool training)
{
    picture->graph = gr_graph_new(gr_standard_ops(), training);
    assert_non_null(picture->graph);
    struct gr_value *image = add_input(picture, "image", 4, image_dims);
    struct gr_value *label = add_input(picture, "label", 1, label_dims);
    label->classes = 4;
    struct gr_value *conv = add_node(picture, "conv", "conv", &image, 1,
                                     (const char *[]){"out_channels", "kernel", NULL}, 4);
    struct gr_value *relu = add_node(picture, "relu", "relu", &conv, 1, NULL, 0);
    struct gr_value *both =
        add_node(picture, "both", "add", (struct gr_value *[]){relu, relu}, 2, NULL, 0);
    struct gr_value *drop = add_node(picture, "drop", "dropout", &both, 1, NULL, 0);
    struct gr_value *fc =
        add_node(picture, "fc", "linear", &drop, 1, (const char *[]){"out_features", NULL}, 4);
    return add_node(picture, "loss", "softmax_cross_entropy", (struct gr_value *[]){fc, label}, 2,
                    NULL, 0);
}

static void draw_inference(struct picture *picture, const char *title)
{
    struct gr_value *loss = build_network(picture, false);
    compile(picture, &loss, 1, false, title);
}

static void draw_training(struct picture *picture)
{
    struct gr_error err = {0};
    struct gr_value **gradients = NULL;
    struct gr_value *loss = build_network(picture, true);
    const size_t n_values = picture->graph->n_values;
    const struct gr_op *sgd = gr_registry_find(gr_standard_ops(), "sgd");
    const struct gr_choice optimizer = {&sgd->kind,
                                        gr_kind_defaults(&sgd->kind, &picture->graph->pool)};
    assert_ok(gr_autodiff(picture->graph, &(struct gr_loss){loss, 1}, 1, NULL, 0, &gradients, &err),
              &err);
    struct gr_value *rate = add_input(picture, "learning_rate", 0, NULL);
    assert_ok(gr_emit_updates(picture->graph, &optimizer, gradients, n_values, rate, &err), &err);
    free(gradients);
    compile(picture, &loss, 1, true, "training");
}

/* ---- counting ---------------------------------------------------------------------------- */

static int count(const char *text, const char *part)
{
    int found = 0;
    for (const char *at = strstr(text, part); at; at = strstr(at + strlen(part), part))
        found++;
    return found;
}

static void assert_contains(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("'%s' is not in:\n%s", part, text);
}

static int step_of(const struct gr_program *program, const struct gr_node *node)
{
    for (size_t s = 0; s < gr_program_step_count(program); s++)
        if (gr_program_step(program, s)->node == node)
            return (int)s;
    return -1;
}

/* Lines "from -> to [" that continue with `attribute`. */
static int count_lines(const char *text, const char *from, const char *to, const char *attribute)
{
    char line[128];
    snprintf(line, sizeof line, "\n  %s -> %s [%s", from, to, attribute);
    return count(text, line);
}

/* Edges drawn from a to b: as such, or (upwards) from b to a with the arrow at the other end. */
static int count_edges(const char *text, const char *a, const char *b)
{
    return count_lines(text, a, b, "") - count_lines(text, a, b, "dir=back") -
           count_lines(text, a, b, "style=invis") + count_lines(text, b, a, "dir=back");
}

static void assert_steps_once(const struct picture *picture)
{
    for (size_t s = 0; s < gr_program_step_count(picture->program); s++) {
        char line[64];
        snprintf(line, sizeof line, "\n    n%zu [label=", s);
        assert_int_equal(count(picture->text.data, line), 1);
    }
    assert_int_equal(count(picture->text.data, "\n    n"),
                     (int)gr_program_step_count(picture->program));
}

/* How often a step reads the value. */
static int readings(const struct gr_node *node, const struct gr_value *value)
{
    int found = 0;
    for (int i = 0; i < node->n_inputs; i++)
        found += node->inputs[i] == value;
    return found;
}

/* Every reading of a computed value is one edge. */
static void assert_edges_once(const struct picture *picture)
{
    const struct gr_program *program = picture->program;
    int expected = 0;
    for (size_t s = 0; s < gr_program_step_count(program); s++) {
        const struct gr_node *node = gr_program_step(program, s)->node;
        for (size_t t = 0; t < gr_program_step_count(program); t++) {
            const struct gr_node *maker = gr_program_step(program, t)->node;
            char from[32], to[32];
            int between = 0;
            for (int o = 0; o < maker->n_outputs; o++)
                between += readings(node, maker->outputs[o]);
            snprintf(from, sizeof from, "n%zu", t);
            snprintf(to, sizeof to, "n%zu", s);
            assert_int_equal(count_edges(picture->text.data, from, to), between);
            expected += between;
        }
    }
    assert_true(expected > 3);
}

/* ---- inference --------------------------------------------------------------------------- */

static void every_node_and_edge_is_drawn_once(void **state)
{
    (void)state;
    struct picture picture = {0};
    draw_inference(&picture, "small");
    assert_steps_once(&picture);
    assert_edges_once(&picture);
    assert_int_equal(count(picture.text.data, "cluster"), 0);
    release(&picture);
}

static void inputs_are_ovals_and_parameters_are_not_nodes(void **state)
{
    (void)state;
    struct picture picture = {0};
    draw_inference(&picture, "small");
    const char *text = picture.text.data;
    assert_int_equal(count(text, "shape=ellipse"), 2);
    assert_contains(text, "<b>image</b><br/><font point-size=\"8\" color=\"#5f6b76\">2×3×8×8 f32");
    assert_contains(text, "<b>label</b>");
    assert_int_equal(count(text, "conv.weight"), 0);
    release(&picture);
}

static void a_node_says_op_attributes_parameters_and_macs(void **state)
{
    (void)state;
    struct picture picture = {0};
    draw_inference(&picture, "small");
    const char *text = picture.text.data;
    assert_contains(text, "conv → relu"); /* fused */
    assert_contains(text, "out_channels 4, kernel 4");
    assert_contains(text, "196 parameters · 9.60 k MACs"); /* 4·3·4·4 + 4; 2·4·5·5·3·4·4 */
    assert_contains(text, "404 parameters · 800 MACs");    /* 100·4 + 4; 2·100·4 */
    release(&picture);
}

static void edges_carry_shapes(void **state)
{
    (void)state;
    struct picture picture = {0};
    draw_inference(&picture, "small");
    assert_contains(picture.text.data, "label=< 2×4×5×5");
    assert_contains(picture.text.data, "edgetooltip=\"2×4");
    release(&picture);
}

static void targets_and_views_stand_out(void **state)
{
    (void)state;
    struct picture picture = {0};
    draw_inference(&picture, "small");
    const int loss = step_of(picture.program, gr_graph_node(picture.graph, "loss"));
    const int drop = step_of(picture.program, gr_graph_node(picture.graph, "drop"));
    assert_true(loss >= 0 && drop >= 0);
    char start[32];
    assert_int_equal(count(picture.text.data, "peripheries=2"), 1);
    snprintf(start, sizeof start, "n%d [label=", loss);
    const char *line = strstr(picture.text.data, start);
    assert_true(strstr(line, "peripheries=2") < strchr(line, '\n'));
    assert_int_equal(count(picture.text.data, "dashed\""), 1);
    snprintf(start, sizeof start, "n%d [label=", drop);
    line = strstr(picture.text.data, start);
    assert_true(strstr(line, "dashed\"") < strchr(line, '\n'));
    release(&picture);
}

/* ---- training ---------------------------------------------------------------------------- */

/* The text of a cluster, up to its closing brace. */
static char *cluster(const char *text, const char *name)
{
    char head[64];
    snprintf(head, sizeof head, "subgraph cluster_%s {", name);
    const char *start = strstr(text, head);
    assert_non_null(start);
    const char *end = strstr(start, "\n  }\n");
    assert_non_null(end);
    char *copy = calloc((size_t)(end - start) + 1, 1);
    assert_non_null(copy);
    memcpy(copy, start, (size_t)(end - start));
    return copy;
}

static void a_training_step_has_three_clusters_with_their_nodes(void **state)
{
    (void)state;
    struct picture picture = {0};
    draw_training(&picture);
    assert_steps_once(&picture);
    assert_edges_once(&picture);
    assert_int_equal(count(picture.text.data, "subgraph cluster_"), 3);
    char *forward = cluster(picture.text.data, "forward");
    char *backward = cluster(picture.text.data, "backward");
    char *update = cluster(picture.text.data, "update");
    assert_contains(forward, "<b>image</b>");
    assert_contains(forward, "dropout");
    assert_contains(backward, "conv_backward_weights");
    assert_contains(backward, "linear_backward_data");
    assert_null(strstr(backward, "sgd"));
    assert_contains(update, "<b>learning_rate</b>");
    assert_contains(update, "<b>conv.weight</b>");
    assert_int_equal(count(update, ">sgd<"), 3);
    assert_int_equal(count(update, ">linear_backward_update<"), 1); /* with sgd's in it */
    free(forward);
    free(backward);
    free(update);
    release(&picture);
}

static void the_learning_rate_has_no_edges(void **state)
{
    (void)state;
    struct picture picture = {0};
    draw_training(&picture);
    const struct gr_value *rate = gr_graph_value(picture.graph, "learning_rate");
    char edge[32];
    snprintf(edge, sizeof edge, "v%d -> ", rate->id);
    assert_int_equal(count(picture.text.data, edge), 0);
    release(&picture);
}

/* ---- profiles ---------------------------------------------------------------------------- */

enum { MOST_STEPS = 64 };

/* Draws it again, its steps taking 1, 2, 3, ... ms, but for the last, which was not measured. */
static void draw_profile(struct picture *picture)
{
    static double seconds[MOST_STEPS];
    struct gr_error err = {0};
    const size_t n_steps = gr_program_step_count(picture->program);
    assert_true(n_steps > 1 && n_steps <= MOST_STEPS);
    for (size_t s = 0; s < n_steps; s++)
        seconds[s] = s + 1 < n_steps ? 1e-3 * (double)(s + 1) : -1;
    const struct gr_dot_profile profile = {seconds, 0.1, "measured & <so>"};
    gr_text_release(&picture->text);
    assert_ok(gr_program_dot(picture->program, "small", &profile, &picture->text, &err), &err);
}

static void a_profile_colours_nodes_by_time(void **state)
{
    (void)state;
    struct picture picture = {0};
    char line[64];
    draw_inference(&picture, NULL);
    draw_profile(&picture);
    const size_t last = gr_program_step_count(picture.program) - 1;
    assert_steps_once(&picture);
    assert_edges_once(&picture);
    for (size_t s = 0; s <= last; s++) {
        snprintf(line, sizeof line, "\n    n%zu [label=", s);
        const char *node = strstr(picture.text.data, line) + 1;
        char *text = strndup(node, strcspn(node, "\n"));
        assert_non_null(text);
        snprintf(line, sizeof line, "%zu.00 ms · %zu.0 %%", s + 1, s + 1);
        assert_int_equal(strstr(text, line) != NULL, s < last);
        assert_int_equal(strstr(text, "fillcolor=\"#ec5f45\"") != NULL, s + 1 == last);
        assert_int_equal(strstr(text, "fillcolor=\"#ffffff\"") != NULL, s == last);
        free(text);
    }
    assert_contains(picture.text.data, "measured &amp; &lt;so&gt;");
    release(&picture);
}

static void a_profile_thickens_edges_by_bytes(void **state)
{
    (void)state;
    struct picture picture = {0};
    draw_inference(&picture, NULL);
    assert_int_equal(count(picture.text.data, "penwidth"), 0);
    draw_profile(&picture);
    assert_true(count(picture.text.data, "penwidth=6.00, arrowsize=0.35, color=\"#2d68ab\"") > 0);
    assert_contains(picture.text.data, "2×4 · 32 B"); /* of the linear layer to the loss */
    release(&picture);
}

/* ---- escapes, Graphviz ------------------------------------------------------------------- */

static const char wild[] = "a \"b\" <c> & \\d\n{e}|f";

static void draw_wild(struct picture *picture)
{
    picture->graph = gr_graph_new(gr_standard_ops(), false);
    assert_non_null(picture->graph);
    struct gr_value *image = add_input(picture, "<in> & \"put\"", 4, image_dims);
    struct gr_value *relu = add_node(picture, wild, "relu", &image, 1, NULL, 0);
    compile(picture, &relu, 1, false, wild);
}

static void names_are_escaped(void **state)
{
    (void)state;
    struct picture picture = {0};
    draw_wild(&picture);
    const char *text = picture.text.data;
    assert_contains(text, "<b>a \"b\" &lt;c&gt; &amp; \\d {e}|f</b>");
    assert_contains(text, "<b>&lt;in&gt; &amp; \"put\"</b>");
    assert_contains(text, "tooltip=\"a \\\"b\\\" <c> & \\\\d {e}|f: relu");
    assert_contains(text, "label=\"a \\\"b\\\" <c> & \\\\d {e}|f\"");
    release(&picture);
}

/* Runs `dot` on the text and asserts that it is content, in silence. */
static void assert_graphviz_reads(const char *text, const char *name)
{
    char path[GR_FOLDER_PATH], command[5 * GR_FOLDER_PATH];
    gr_folder_file(name, path);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    snprintf(command, sizeof command, "dot -Tsvg -o '%s.svg' '%s' 2>'%s.log' && test ! -s '%s.log'",
             path, path, path, path);
    assert_int_equal(system(command), 0); /* NOLINT: a fixed program on a path of our own */
}

static void graphviz_reads_what_is_drawn(void **state)
{
    (void)state;
    if (system("command -v dot >/dev/null 2>&1") != 0)
        skip();
    struct picture small = {0}, training = {0}, strange = {0};
    draw_inference(&small, NULL);
    draw_training(&training);
    draw_wild(&strange);
    assert_graphviz_reads(small.text.data, "small.dot");
    assert_graphviz_reads(training.text.data, "training.dot");
    assert_graphviz_reads(strange.text.data, "strange.dot");
    draw_profile(&small);
    draw_profile(&training);
    assert_graphviz_reads(small.text.data, "small-profile.dot");
    assert_graphviz_reads(training.text.data, "training-profile.dot");
    release(&small);
    release(&training);
    release(&strange);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_node_and_edge_is_drawn_once),
        cmocka_unit_test(inputs_are_ovals_and_parameters_are_not_nodes),
        cmocka_unit_test(a_node_says_op_attributes_parameters_and_macs),
        cmocka_unit_test(edges_carry_shapes),
        cmocka_unit_test(targets_and_views_stand_out),
        cmocka_unit_test(a_training_step_has_three_clusters_with_their_nodes),
        cmocka_unit_test(the_learning_rate_has_no_edges),
        cmocka_unit_test(a_profile_colours_nodes_by_time),
        cmocka_unit_test(a_profile_thickens_edges_by_bytes),
        cmocka_unit_test(names_are_escaped),
        cmocka_unit_test_setup_teardown(graphviz_reads_what_is_drawn, gr_folder_set_up,
                                        gr_folder_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
