/*
 * Graphs for tests of the passes; see graph_case.h.
 */
#include "graph_case.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct gr_small gr_case;

int gr_case_set_up(void **state)
{
    (void)state;
    gr_small_init(&gr_case, true, 1, GR_KERNELS_AUTO);
    return 0;
}

int gr_case_tear_down(void **state)
{
    (void)state;
    gr_small_release(&gr_case);
    return 0;
}

struct gr_value *gr_case_image(const char *name, int64_t c, int64_t h)
{
    return gr_small_input(&gr_case, name, (struct gr_shape){4, {2, c, h, h}});
}

/* A scalar that is sum(value · fixed), fixed being an input named after it. */
struct gr_value *gr_case_dot(const char *name, struct gr_value *value)
{
    struct gr_error err = {0};
    char fixed[64];
    snprintf(fixed, sizeof fixed, "%s.fixed", name);
    struct gr_value *inputs[] = {value, gr_small_input(&gr_case, fixed, value->shape)};
    const struct gr_node_spec spec = {
        .name = name, .op = &gr_op_test_dot, .inputs = inputs, .n_inputs = 2};
    struct gr_node *node = gr_graph_add_node(gr_case.graph, &spec, &err);
    gr_check_ok(node != NULL, &err);
    return node->outputs[0];
}

struct gr_value *gr_case_node(const char *op, const char *name, struct gr_value *a,
                              struct gr_value *b)
{
    return gr_small_node(&gr_case, op, name, NULL, a, b)->outputs[0];
}

struct gr_node *gr_case_conv_node(const char *name, struct gr_value *src, int channels, bool frozen,
                                  const struct gr_node *share)
{
    const struct gr_op *op = gr_registry_find(gr_standard_ops(), "conv");
    const struct gr_check_attr attrs[] = {
        {"out_channels", 1, {channels}}, {"kernel", 1, {3}}, {"pad", 1, {1}}, {0}};
    struct gr_error err = {0};
    const struct gr_node_spec spec = {.name = name,
                                      .op = op,
                                      .attrs =
                                          gr_check_attrs(&op->kind, attrs, &gr_case.graph->pool),
                                      .inputs = &src,
                                      .n_inputs = 1,
                                      .share = share,
                                      .frozen = frozen};
    struct gr_node *made = gr_graph_add_node(gr_case.graph, &spec, &err);
    gr_check_ok(made != NULL, &err);
    return made;
}

struct gr_value *gr_case_conv(const char *name, struct gr_value *src, int channels)
{
    return gr_case_conv_node(name, src, channels, false, NULL)->outputs[0];
}

struct gr_value *gr_case_value(const char *name)
{
    struct gr_value *found = gr_graph_value(gr_case.graph, name);
    if (!found)
        fail_msg("there is no value '%s'", name);
    return found;
}

struct gr_value *gr_case_gradient(const char *name)
{
    return gr_case.gradients[gr_case_value(name)->id];
}

void gr_case_differentiate(const struct gr_loss *losses, size_t n, struct gr_value *const *wanted,
                           size_t n_wanted)
{
    struct gr_error err = {0};
    gr_case.n_gradients = gr_case.graph->n_values;
    gr_check_ok(gr_autodiff(gr_case.graph, losses, n, wanted, n_wanted, &gr_case.gradients, &err),
                &err);
}

/* Plain sgd with momentum for every gradient. */
void gr_case_add_updates(void)
{
    struct gr_error err = {0};
    const struct gr_shape scalar = {0};
    const struct gr_op *sgd = gr_registry_find(gr_standard_ops(), "sgd");
    const struct gr_check_attr attrs[] = {{"momentum", 1, {0.9}}, {0}};
    const struct gr_choice optimizer = {&sgd->kind,
                                        gr_check_attrs(&sgd->kind, attrs, &gr_case.graph->pool)};
    struct gr_value *rate = gr_small_input(&gr_case, "rate", scalar);
    gr_check_ok(gr_emit_updates(gr_case.graph, &optimizer, gr_case.gradients, gr_case.n_gradients,
                                rate, &err),
                &err);
}

size_t gr_case_count_op(const char *op)
{
    size_t count = 0;
    for (size_t n = 0; n < gr_case.graph->n_nodes; n++)
        count += strcmp(gr_case.graph->nodes[n]->op->kind.name, op) == 0;
    return count;
}

size_t gr_case_count_phase(enum gr_phase phase)
{
    size_t count = 0;
    for (size_t n = 0; n < gr_case.graph->n_nodes; n++)
        count += gr_case.graph->nodes[n]->phase == phase;
    return count;
}

void gr_case_build_training_step(void)
{
    struct gr_value *x = gr_case_image("x", 3, 5);
    struct gr_value *a = gr_case_conv("a", x, 4), *b = gr_case_node("batch_norm", "b", a, NULL);
    struct gr_value *c = gr_case_node("relu", "c", b, NULL), *d = gr_case_conv("d", c, 4),
                    *e = gr_case_conv("e", d, 4);
    struct gr_value *loss = gr_case_dot("loss", gr_case_node("add", "f", e, c));
    gr_case_differentiate(&(struct gr_loss){loss, 1}, 1, NULL, 0);
    gr_case_add_updates();
}
