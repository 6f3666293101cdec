/*
 * A small network for tests of whole programs; see small_net.h.
 */
#include "small_net.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "op_check.h"

enum { CHANNELS = 3, SIZE = 19 };

static const char prefix[] = "grad:";

/* ---- building ---------------------------------------------------------------------------- */

/* A node; inputs by name. */
struct row {
    const char *name, *op, *inputs[4];
    struct gr_check_attr attrs[5];
};

static const struct row rows[] = {
    {"c1", "conv", {"image"}, {{"out_channels", 1, {16}}, {"kernel", 1, {3}}, {"pad", 1, {1}}}},
    {"r1", "relu", {"c1"}, {{0}}},
    {"n1", "lrn", {"r1"}, {{"size", 1, {5}}, {"alpha", 1, {0.1}}}},
    {"p1", "max_pool", {"n1"}, {{"kernel", 1, {3}}, {"stride", 1, {2}}}},
    {"c2a", "conv", {"p1"}, {{"out_channels", 1, {16}}, {"kernel", 1, {3}}, {"pad", 1, {1}}}},
    {"r2a", "relu", {"c2a"}, {{0}}},
    {"c2b", "conv", {"p1"}, {{"out_channels", 1, {16}}, {"kernel", 1, {1}}}},
    {"t2b", "tanh", {"c2b"}, {{0}}},
    {"cat", "concat", {"r2a", "t2b"}, {{0}}},
    {"bn", "batch_norm", {"cat"}, {{0}}},
    {"r3", "relu", {"bn"}, {{0}}},
    {"c3",
     "conv",
     {"r3"},
     {{"out_channels", 1, {32}}, {"kernel", 1, {3}}, {"pad", 1, {1}}, {"groups", 1, {2}}}},
    {"sum", "add", {"c3", "cat"}, {{0}}},
    {"r4", "relu", {"sum"}, {{0}}},
    {"p2", "avg_pool", {"r4"}, {{"kernel", 1, {2}}, {"stride", 1, {2}}}},
    {"d1", "dropout", {"p2"}, {{0}}},
    {"flat", "flatten", {"d1"}, {{0}}},
    {"f1", "linear", {"flat"}, {{"out_features", 1, {40}}}},
    {"r5", "relu", {"f1"}, {{0}}},
    {"d2", "dropout", {"r5"}, {{0}}},
    {"f2", "linear", {"d2"}, {{"out_features", 1, {GR_NET_CLASSES}}}},
    {"prob", "softmax", {"f2"}, {{0}}},
    {"loss", "softmax_cross_entropy", {"f2", "label"}, {{0}}},
    {0},
};

/* Filters of several sizes beside each other, twice, and two towers with a norm in each. */
static const struct row branching[] = {
    {"c1", "conv", {"image"}, {{"out_channels", 1, {32}}, {"kernel", 1, {3}}, {"pad", 1, {1}}}},
    {"n1", "batch_norm", {"c1"}, {{0}}},
    {"r1", "relu", {"n1"}, {{0}}},
    {"a1", "conv", {"r1"}, {{"out_channels", 1, {32}}, {"kernel", 1, {1}}}},
    {"ra1", "relu", {"a1"}, {{0}}},
    {"b1", "conv", {"r1"}, {{"out_channels", 1, {16}}, {"kernel", 1, {1}}}},
    {"b2", "conv", {"b1"}, {{"out_channels", 1, {16}}, {"kernel", 1, {3}}, {"pad", 1, {1}}}},
    {"rb2", "relu", {"b2"}, {{0}}},
    {"d1", "conv", {"r1"}, {{"out_channels", 1, {16}}, {"kernel", 1, {3}}, {"pad", 1, {1}}}},
    {"td1", "tanh", {"d1"}, {{0}}},
    {"p1", "max_pool", {"r1"}, {{"kernel", 1, {3}}, {"stride", 1, {1}}, {"pad", 1, {1}}}},
    {"e1", "conv", {"p1"}, {{"out_channels", 1, {16}}, {"kernel", 1, {1}}}},
    {"cat1", "concat", {"ra1", "rb2", "td1", "e1"}, {{0}}},
    {"n2", "batch_norm", {"cat1"}, {{0}}},
    {"p2", "max_pool", {"n2"}, {{"kernel", 1, {3}}, {"stride", 1, {2}}}},
    {"u1", "conv", {"p2"}, {{"out_channels", 1, {32}}, {"kernel", 1, {3}}, {"pad", 1, {1}}}},
    {"ru1", "relu", {"u1"}, {{0}}},
    {"nu1", "lrn", {"ru1"}, {{"size", 1, {5}}, {"alpha", 1, {0.1}}}},
    {"u2", "conv", {"nu1"}, {{"out_channels", 1, {32}}, {"kernel", 1, {3}}, {"pad", 1, {1}}}},
    {"v1", "conv", {"p2"}, {{"out_channels", 1, {32}}, {"kernel", 1, {3}}, {"pad", 1, {1}}}},
    {"nv1", "batch_norm", {"v1"}, {{0}}},
    {"rv1", "relu", {"nv1"}, {{0}}},
    {"v2", "conv", {"rv1"}, {{"out_channels", 1, {32}}, {"kernel", 1, {3}}, {"pad", 1, {1}}}},
    {"dv2", "dropout", {"v2"}, {{0}}},
    {"cat2", "concat", {"u2", "dv2"}, {{0}}},
    {"n3", "batch_norm", {"cat2"}, {{0}}},
    {"p3", "avg_pool", {"n3"}, {{"kernel", 1, {3}}}},
    {"flat", "flatten", {"p3"}, {{0}}},
    {"f1", "linear", {"flat"}, {{"out_features", 1, {40}}}},
    {"g1", "linear", {"flat"}, {{"out_features", 1, {40}}}},
    {"sum", "add", {"f1", "g1"}, {{0}}},
    {"t2", "tanh", {"sum"}, {{0}}},
    {"f2", "linear", {"t2"}, {{"out_features", 1, {GR_NET_CLASSES}}}},
    {"prob", "softmax", {"f2"}, {{0}}},
    {"loss", "softmax_cross_entropy", {"f2", "label"}, {{0}}},
    {0},
};

/* One after the other; large enough for its gradients to be worth a thought. */
static const struct row straight[] = {
    {"c1", "conv", {"image"}, {{"out_channels", 1, {64}}, {"kernel", 1, {3}}, {"pad", 1, {1}}}},
    {"r1", "relu", {"c1"}, {{0}}},
    {"c2", "conv", {"r1"}, {{"out_channels", 1, {64}}, {"kernel", 1, {3}}, {"pad", 1, {1}}}},
    {"r2", "relu", {"c2"}, {{0}}},
    {"c3", "conv", {"r2"}, {{"out_channels", 1, {64}}, {"kernel", 1, {3}}, {"pad", 1, {1}}}},
    {"p1", "max_pool", {"c3"}, {{"kernel", 1, {3}}, {"stride", 1, {2}}}},
    {"d1", "dropout", {"p1"}, {{0}}},
    {"flat", "flatten", {"d1"}, {{0}}},
    {"f2", "linear", {"flat"}, {{"out_features", 1, {GR_NET_CLASSES}}}},
    {"prob", "softmax", {"f2"}, {{0}}},
    {"loss", "softmax_cross_entropy", {"f2", "label"}, {{0}}},
    {0},
};

static struct gr_value *find(const struct gr_net *net, const char *name)
{
    struct gr_value *value = gr_graph_value(net->graph, name);
    if (!value)
        fail_msg("the net has no value '%s'", name);
    return value;
}

static struct gr_value *add_input(struct gr_net *net, const char *name, enum gr_dtype dtype,
                                  struct gr_shape shape)
{
    struct gr_error err = {0};
    struct gr_value *value =
        gr_graph_add_value(net->graph, name, GR_VALUE_INPUT, dtype, &shape, &err);
    gr_check_ok(value != NULL, &err);
    return value;
}

static void add_nodes(struct gr_net *net)
{
    const int64_t N = net->options.batch;
    add_input(net, "image", GR_F32, (struct gr_shape){4, {N, CHANNELS, SIZE, SIZE}});
    add_input(net, "label", GR_S32, (struct gr_shape){1, {N}})->classes = GR_NET_CLASSES;
    const struct gr_net_options *options = &net->options;
    const struct row *row = options->branching ? branching : options->straight ? straight : rows;
    for (; row->name; row++) {
        struct gr_error err = {0};
        const struct gr_op *op = gr_registry_find(gr_standard_ops(), row->op);
        assert_non_null(op);
        static const struct gr_check_attr nothing[] = {{"p", 1, {0}}, {0}};
        const bool keep = net->options.no_dropout && strcmp(row->op, "dropout") == 0;
        struct gr_value *inputs[4];
        int n_inputs = 0;
        for (; n_inputs < 4 && row->inputs[n_inputs]; n_inputs++)
            inputs[n_inputs] = find(net, row->inputs[n_inputs]);
        const struct gr_node_spec spec = {
            .name = row->name,
            .op = op,
            .attrs = gr_check_attrs(&op->kind, keep ? nothing : row->attrs, &net->graph->pool),
            .inputs = inputs,
            .n_inputs = n_inputs};
        gr_check_ok(gr_graph_add_node(net->graph, &spec, &err) != NULL, &err);
    }
}

static void add_updates(struct gr_net *net, struct gr_value *const *gradients, size_t n)
{
    struct gr_error err = {0};
    const struct gr_op *sgd = gr_registry_find(gr_standard_ops(), "sgd");
    const struct gr_check_attr attrs[] = {{"momentum", 1, {0.9}}, {"weight_decay", 1, {0.01}}, {0}};
    const struct gr_choice optimizer = {&sgd->kind,
                                        gr_check_attrs(&sgd->kind, attrs, &net->graph->pool)};
    struct gr_value *rate = add_input(net, "rate", GR_F32, (struct gr_shape){0});
    gr_check_ok(gr_emit_updates(net->graph, &optimizer, gradients, n, rate, &err), &err);
}

static bool is_gradient(const char *name)
{
    return strncmp(name, prefix, sizeof prefix - 1) == 0;
}

/* Differentiates where gradients or updates are asked for, and finds the targets. */
static void add_targets(struct gr_net *net)
{
    static const char *const usual[] = {"loss", "prob", NULL};
    struct gr_error err = {0};
    struct gr_value *wanted[GR_NET_TARGETS], **gradients = NULL;
    const size_t n_gradients = net->graph->n_values;
    size_t n_wanted = 0;
    if (!net->options.targets)
        net->options.targets = usual;
    const char *const *names = net->options.targets;
    for (size_t i = 0; names[i]; i++)
        if (is_gradient(names[i]))
            wanted[n_wanted++] = find(net, names[i] + sizeof prefix - 1);
    if (n_wanted || net->options.update) {
        const struct gr_loss loss = {find(net, "loss"), 1};
        gr_check_ok(gr_autodiff(net->graph, &loss, 1, wanted, n_wanted, &gradients, &err), &err);
    }
    if (net->options.update)
        add_updates(net, gradients, n_gradients);
    for (size_t i = 0; names[i]; i++) {
        net->targets[i] = is_gradient(names[i])
                              ? gradients[find(net, names[i] + sizeof prefix - 1)->id]
                              : find(net, names[i]);
        assert_non_null(net->targets[i]);
        net->n_targets++;
    }
    free(gradients);
}

void gr_net_build(struct gr_net *net, const struct gr_net_options *options)
{
    struct gr_error err = {0};
    const struct gr_registry *ops = gr_standard_ops();
    struct gr_net *share = options->share;
    *net = (struct gr_net){.options = *options};
    net->backend =
        share ? share->backend
              : ops->backend_new(options->threads ? options->threads : 1, options->kernels, &err);
    gr_check_ok(net->backend != NULL, &err);
    net->params = share ? share->params : gr_params_new(ops, net->backend, 1, &err);
    gr_check_ok(net->params != NULL, &err);
    net->graph = gr_graph_new(ops, options->training);
    assert_non_null(net->graph);
    add_nodes(net);
    add_targets(net);
}

void gr_net_compile(struct gr_net *net)
{
    struct gr_error err = {0};
    struct gr_program_options options = net->options.program;
    options.run_updates = net->options.update;
    net->program = gr_program_new(net->graph, net->params, net->backend, net->targets,
                                  net->n_targets, &options, &err);
    gr_check_ok(net->program != NULL, &err);
}

void gr_net_init(struct gr_net *net, const struct gr_net_options *options)
{
    gr_net_build(net, options);
    gr_net_compile(net);
    gr_net_feed(net, 1);
}

void gr_net_release(struct gr_net *net)
{
    gr_program_free(net->program);
    gr_graph_free(net->graph);
    if (!net->options.share) {
        gr_params_free(net->params);
        gr_standard_ops()->backend_free(net->backend);
    }
    *net = (struct gr_net){0};
}

/* ---- feeding and running ----------------------------------------------------------------- */

void gr_net_feed(struct gr_net *net, uint64_t seed)
{
    const int64_t elements = CHANNELS * SIZE * SIZE;
    float *images = gr_program_data(net->program, find(net, "image"));
    int32_t *labels = gr_program_data(net->program, find(net, "label"));
    for (int64_t n = 0; n < net->options.batch; n++) {
        const struct gr_random_key key = gr_random_key(seed, GR_RANDOM_CHECK, 0, (uint32_t)n);
        for (int64_t i = 0; images && i < elements; i++)
            images[n * elements + i] = gr_random_normal(&key, (uint64_t)i);
        if (labels)
            labels[n] = (int32_t)gr_random_below(&key, (uint64_t)elements, GR_NET_CLASSES);
    }
}

void gr_net_run(struct gr_net *net, uint64_t step)
{
    struct gr_error err = {0};
    const struct gr_run run = {.seed = 1, .step = step};
    const struct gr_value *rate = gr_graph_value(net->graph, "rate");
    float *place = rate ? gr_program_data(net->program, rate) : NULL;
    if (place)
        *place = 0.05f;
    gr_check_ok(gr_program_run(net->program, &run, &err), &err);
}

static const struct gr_value *target(const struct gr_net *net, const char *name)
{
    for (size_t i = 0; i < net->n_targets; i++)
        if (strcmp(net->options.targets[i], name) == 0)
            return net->targets[i];
    fail_msg("'%s' is no target", name);
    return NULL;
}

const float *gr_net_fetch(const struct gr_net *net, const char *name)
{
    const float *data = gr_program_data(net->program, target(net, name));
    assert_non_null(data);
    return data;
}

int64_t gr_net_count(const struct gr_net *net, const char *name)
{
    return gr_shape_count(&target(net, name)->shape);
}

/* ---- parameters -------------------------------------------------------------------------- */

static struct gr_stored *stored(const struct gr_net *net, const char *name)
{
    struct gr_stored *found = gr_params_find(net->params, name);
    if (!found)
        fail_msg("the net has no parameter '%s'", name);
    return found;
}

float *gr_net_get(const struct gr_net *net, const char *parameter)
{
    struct gr_error err = {0};
    const struct gr_stored *from = stored(net, parameter);
    const size_t count = (size_t)gr_shape_count(&from->value.shape);
    float *data = malloc(count * sizeof *data);
    assert_non_null(data);
    gr_check_ok(gr_params_get(net->params, from, data, count, &err), &err);
    return data;
}

void gr_net_set(struct gr_net *net, const char *parameter, const float *data)
{
    struct gr_error err = {0};
    struct gr_stored *to = stored(net, parameter);
    gr_check_ok(
        gr_params_set(net->params, to, data, (size_t)gr_shape_count(&to->value.shape), &err), &err);
}

void gr_net_expect_same_parameters(const struct gr_net *a, const struct gr_net *b)
{
    assert_int_equal(gr_params_count(a->params), gr_params_count(b->params));
    for (size_t i = 0; i < gr_params_count(a->params); i++) {
        const struct gr_stored *one = gr_params_at(a->params, i);
        float *left = gr_net_get(a, one->value.name), *right = gr_net_get(b, one->value.name);
        const size_t bytes = (size_t)gr_shape_count(&one->value.shape) * sizeof *left;
        if (memcmp(left, right, bytes) != 0)
            fail_msg("'%s' differs", one->value.name);
        free(left);
        free(right);
    }
}
