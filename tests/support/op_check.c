/*
 * The op checker; see op_check.h.
 */
#include "op_check.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "graph/autodiff.h"
#include "naive.h"

/* ---- test_dot ---------------------------------------------------------------------------- */

static bool dot_run(const struct gr_kernel *kernel, const struct gr_node *node,
                    const struct gr_buffers *buffers, const struct gr_run *run,
                    struct gr_error *err)
{
    (void)kernel, (void)run, (void)err;
    const float *a = buffers->src[0], *fixed = buffers->src[1];
    double sum = 0;
    for (int64_t i = 0; i < gr_shape_count(&node->inputs[0]->shape); i++)
        sum += (double)a[i] * (double)fixed[i];
    *(float *)buffers->dst[0] = (float)sum;
    return true;
}

static bool dot_backward_run(const struct gr_kernel *kernel, const struct gr_node *node,
                             const struct gr_buffers *buffers, const struct gr_run *run,
                             struct gr_error *err)
{
    (void)kernel, (void)run, (void)err;
    const float upstream = *(const float *)buffers->src[0], *fixed = buffers->src[1];
    float *dst = buffers->dst[0];
    for (int64_t i = 0; i < gr_shape_count(&node->outputs[0]->shape); i++)
        dst[i] = upstream * fixed[i];
    return true;
}

static bool plan_plain(struct gr_planning *planning)
{
    for (int i = 0; i < planning->node->n_inputs; i++)
        planning->src[i] = &gr_layout_plain;
    planning->kernel->impl = "test";
    return true;
}

static bool dot_plan(struct gr_planning *planning, struct gr_error *err)
{
    (void)err;
    planning->kernel->run = dot_run;
    return plan_plain(planning);
}

static bool dot_backward_plan(struct gr_planning *planning, struct gr_error *err)
{
    (void)err;
    planning->kernel->run = dot_backward_run;
    return plan_plain(planning);
}

static const struct gr_op test_dot_backward = {
    .kind = {.name = "test_dot_backward", .doc = "the gradient of test_dot"},
    .flags = GR_OP_INTERNAL,
    .plan = dot_backward_plan,
};

static bool dot_infer(struct gr_node *node, struct gr_error *err)
{
    const struct gr_shape scalar = {0};
    return gr_node_output(node, NULL, GR_F32, &scalar, err) != NULL;
}

static bool dot_grad(struct gr_node *node, struct gr_grad *grad, struct gr_error *err)
{
    struct gr_value *inputs[] = {gr_grad_output(grad, 0), node->inputs[1]};
    return gr_grad_emit(grad, &test_dot_backward, inputs, 2, (const int[]){0}, 1, err) != NULL;
}

const struct gr_op gr_op_test_dot = {
    .kind = {.name = "test_dot", .doc = "sum(a · fixed)"},
    .min_inputs = 2,
    .max_inputs = 2,
    .infer = dot_infer,
    .grad = dot_grad,
    .plan = dot_plan,
};

/* ---- attributes and numbers -------------------------------------------------------------- */

void gr_check_ok(bool ok, const struct gr_error *err)
{
    if (!ok)
        fail_msg("%s", err->message);
}

double gr_check_attr(const struct gr_op_check *check, const char *name, int i, double fallback)
{
    for (const struct gr_check_attr *attr = check->attrs; attr->name; attr++)
        if (strcmp(attr->name, name) == 0)
            return attr->value[attr->n > 1 ? i : 0];
    return fallback;
}

int64_t gr_check_int(uint64_t seed, int draw, int64_t low, int64_t high)
{
    const struct gr_random_key key = gr_random_key(seed, GR_RANDOM_CHECK, 0, 0x5eed);
    return low + (int64_t)gr_random_below(&key, (uint64_t)draw, (uint64_t)(high - low + 1));
}

/* Numbers into a field; a list is copied to the pool. One number stands for a whole size or pad. */
static void set_field(const struct gr_attr *attr, const struct gr_check_attr *from, void *field,
                      struct gr_pool *pool)
{
    int64_t *ints = field;
    const int sizes = attr->type == GR_ATTR_SIZE2 ? 2 : 4;
    switch (attr->type) {
    case GR_ATTR_INT:
        *ints = (int64_t)from->value[0];
        break;
    case GR_ATTR_FLOAT:
        *(double *)field = from->value[0];
        break;
    case GR_ATTR_BOOL:
        *(bool *)field = from->value[0] > 0;
        break;
    case GR_ATTR_ENUM:
        *(int *)field = (int)from->value[0];
        break;
    case GR_ATTR_SIZE2:
    case GR_ATTR_PAD4:
        for (int i = 0; i < sizes; i++)
            ints[i] = (int64_t)from->value[from->n > 1 ? i : 0];
        break;
    case GR_ATTR_INTS: {
        int64_t *items = gr_pool_array(pool, (size_t)from->n, sizeof *items);
        assert_non_null(items);
        for (int i = 0; i < from->n; i++)
            items[i] = (int64_t)from->value[i];
        *(struct gr_ints *)field = (struct gr_ints){from->n, items};
        break;
    }
    case GR_ATTR_FLOATS:
    case GR_ATTR_STRING:
    case GR_ATTR_PATH:
        fail_msg("attribute '%s' is of a type that no check sets", attr->name);
    }
}

void *gr_check_attrs(const struct gr_kind *kind, const struct gr_check_attr *attrs,
                     struct gr_pool *pool)
{
    char *fields = gr_kind_defaults(kind, pool);
    assert_non_null(fields);
    for (; attrs && attrs->name; attrs++) {
        const struct gr_attr *attr = gr_kind_attr(kind, attrs->name);
        if (!attr)
            fail_msg("%s has no attribute '%s'", kind->name, attrs->name);
        else
            set_field(attr, attrs, fields + attr->offset, pool);
    }
    return fields;
}

/* ---- the rig: one op in a graph, and its inputs in double precision ---------------------- */

enum { MAX_TENSORS = 12, SAMPLES = 10 };

struct tensor {
    struct gr_value *value;
    double *data; /* each an f32, exactly */
    int64_t count;
};

struct rig {
    const struct gr_op_check *check;
    enum gr_kernels kernels;
    struct gr_backend *backend;
    struct gr_graph *graph;
    struct gr_params *params;
    struct gr_node *node;
    struct gr_program *program;
    struct tensor tensors[MAX_TENSORS]; /* inputs, the node's parameters, the convolution's */
    int n_tensors, n_node;              /* in all; those that the node reads */
    double *between;                    /* what comes out of the convolution */
    double *fixed, *dst;                /* [n_dst] */
    int64_t n_dst;
};

/* "conv, kernel 3: 2×3×5×5, openblas kernels". */
static const char *describe(const struct rig *rig, char *buffer, size_t size)
{
    struct gr_text text = {0};
    char shape[GR_SHAPE_TEXT];
    gr_text_add(&text, "%s", rig->check->op);
    for (const struct gr_check_attr *attr = rig->check->attrs; attr->name; attr++) {
        gr_text_add(&text, ", %s", attr->name);
        for (int i = 0; i < attr->n; i++)
            gr_text_add(&text, " %g", attr->value[i]);
    }
    for (int i = 0; i < rig->check->n_inputs; i++)
        gr_text_add(&text, "%s %s", i ? "," : ":",
                    gr_shape_text(&rig->check->inputs[i].shape, shape));
    gr_text_add(
        &text, ", %s, %s kernels%s%s, seed %llu", rig->check->training ? "training" : "inference",
        rig->kernels == GR_KERNELS_AUTO ? "auto" : "openblas", rig->check->bf16 ? ", bf16" : "",
        rig->check->behind_conv ? ", behind a convolution" : "",
        (unsigned long long)rig->check->seed);
    for (size_t s = 0; rig->program && s < gr_program_step_count(rig->program); s++)
        if (gr_program_step(rig->program, s)->node == rig->node)
            gr_text_add(&text, ", impl %s", gr_program_step(rig->program, s)->kernel.impl);
    snprintf(buffer, size, "%s", text.data ? text.data : "?");
    gr_text_release(&text);
    return buffer;
}

static void expect(const struct rig *rig, bool ok, const struct gr_error *err)
{
    char buffer[1024];
    if (!ok)
        fail_msg("%s: %s", describe(rig, buffer, sizeof buffer), err->message);
}

static double draw(const struct gr_check_input *input, const struct gr_random_key *key, int64_t i)
{
    const double normal = (double)gr_random_normal(key, (uint64_t)i);
    switch (input->fill) {
    case GR_CHECK_OFF_ZERO:
        return (double)(float)(normal < 0 ? normal - 0.05 : normal + 0.05);
    case GR_CHECK_LABELS:
        return (double)gr_random_below(key, (uint64_t)i, (uint64_t)input->classes + 1) - 1;
    case GR_CHECK_NORMAL:
    case GR_CHECK_DISTINCT:
        break;
    }
    return normal;
}

/* The nearest bf16 number: the upper half of an f32. */
static double to_bf16(double x)
{
    float value = (float)x;
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    bits = (bits + 0x7fffu + (bits >> 16 & 1u)) & 0xffff0000u;
    memcpy(&value, &bits, sizeof bits);
    return (double)value;
}

/* A random permutation of 0, 0.01, 0.02, ..., or of as many bf16 numbers. */
static void shuffle(double *data, int64_t count, bool bf16, const struct gr_random_key *key)
{
    assert_true(!bf16 || count <= 512);
    const double step = bf16 ? 1.0 / 64 : 0.01;
    for (int64_t i = 0; i < count; i++) {
        const int64_t j = (int64_t)gr_random_below(key, (uint64_t)i, (uint64_t)i + 1);
        data[i] = data[j];
        data[j] = (double)(float)(step * (double)(i - count / 2));
    }
}

static void add_tensor(struct rig *rig, struct gr_value *value, const struct gr_check_input *input)
{
    assert_true(rig->n_tensors < MAX_TENSORS);
    struct tensor *tensor = &rig->tensors[rig->n_tensors];
    const struct gr_random_key key =
        gr_random_key(rig->check->seed, GR_RANDOM_CHECK, (uint32_t)rig->n_tensors, 1);
    const size_t length = strlen(value->name);
    const bool variance = length > 4 && strcmp(value->name + length - 4, "_var") == 0;
    *tensor = (struct tensor){value, NULL, gr_shape_count(&value->shape)};
    tensor->data = calloc((size_t)tensor->count, sizeof *tensor->data);
    assert_non_null(tensor->data);
    rig->n_tensors++;
    if (input->fill == GR_CHECK_DISTINCT)
        shuffle(tensor->data, tensor->count, rig->check->bf16, &key);
    for (int64_t i = 0; input->fill != GR_CHECK_DISTINCT && i < tensor->count; i++)
        tensor->data[i] = draw(input, &key, i);
    for (int64_t i = 0; variance && i < tensor->count; i++)
        tensor->data[i] = (double)(float)(0.5 + fabs(tensor->data[i]));
    for (int64_t i = 0; rig->check->bf16 && i < tensor->count; i++)
        tensor->data[i] = to_bf16(tensor->data[i]);
}

/* The 1×1 convolution before input 0; its parameters become tensors after the node's. */
static struct gr_node *add_convolution(struct rig *rig, struct gr_value *src)
{
    struct gr_error err = {0};
    const struct gr_check_attr attrs[] = {
        {"out_channels", 1, {(double)src->shape.dim[1]}}, {"kernel", 1, {1}}, {0}};
    const struct gr_op *conv = gr_registry_find(gr_standard_ops(), "conv");
    assert_non_null(conv);
    const struct gr_node_spec spec = {.name = "pre",
                                      .op = conv,
                                      .attrs =
                                          gr_check_attrs(&conv->kind, attrs, &rig->graph->pool),
                                      .inputs = &src,
                                      .n_inputs = 1};
    struct gr_node *node = gr_graph_add_node(rig->graph, &spec, &err);
    expect(rig, node != NULL, &err);
    return node;
}

static void add_node(struct rig *rig)
{
    static const struct gr_check_input normal = {.fill = GR_CHECK_NORMAL};
    static const char *const names[] = {"x0", "x1", "x2", "x3"};
    const struct gr_op_check *check = rig->check;
    struct gr_error err = {0};
    struct gr_value *inputs[GR_CHECK_INPUTS];
    struct gr_node *pre = NULL;
    for (int i = 0; i < check->n_inputs; i++) {
        const bool labels = check->inputs[i].fill == GR_CHECK_LABELS;
        inputs[i] = gr_graph_add_value(rig->graph, names[i], GR_VALUE_INPUT,
                                       labels ? GR_S32 : GR_F32, &check->inputs[i].shape, &err);
        expect(rig, inputs[i] != NULL, &err);
        inputs[i]->classes = check->inputs[i].classes;
        add_tensor(rig, inputs[i], &check->inputs[i]);
    }
    if (check->behind_conv) {
        pre = add_convolution(rig, inputs[0]);
        inputs[0] = pre->outputs[0];
        rig->between = calloc((size_t)rig->tensors[0].count, sizeof *rig->between);
        assert_non_null(rig->between);
    }
    const struct gr_op *op = gr_registry_find(gr_standard_ops(), check->op);
    if (!op)
        fail_msg("there is no op '%s'", check->op);
    const struct gr_node_spec spec = {
        .name = "node",
        .op = op,
        .attrs = gr_check_attrs(&op->kind, check->attrs, &rig->graph->pool),
        .inputs = inputs,
        .n_inputs = check->n_inputs};
    rig->node = gr_graph_add_node(rig->graph, &spec, &err);
    expect(rig, rig->node != NULL, &err);
    for (int i = rig->node->n_data; i < rig->node->n_inputs; i++)
        add_tensor(rig, rig->node->inputs[i], &normal);
    rig->n_node = rig->n_tensors;
    for (int i = 1; pre && i < pre->n_inputs; i++)
        add_tensor(rig, pre->inputs[i], &normal);
}

static void rig_init(struct rig *rig, const struct gr_op_check *check, enum gr_kernels kernels)
{
    struct gr_error err = {0};
    const struct gr_registry *ops = gr_standard_ops();
    *rig = (struct rig){.check = check, .kernels = kernels};
    rig->backend = ops->backend_new(2, kernels, &err);
    expect(rig, rig->backend != NULL, &err);
    rig->graph = gr_graph_new(ops, check->training);
    assert_non_null(rig->graph);
    rig->params = gr_params_new(ops, rig->backend, 1, &err);
    expect(rig, rig->params != NULL, &err);
    add_node(rig);
    rig->n_dst = gr_shape_count(&rig->node->outputs[0]->shape);
    rig->dst = calloc((size_t)rig->n_dst, sizeof *rig->dst);
    rig->fixed = calloc((size_t)rig->n_dst, sizeof *rig->fixed);
    assert_non_null(rig->dst);
    assert_non_null(rig->fixed);
    const struct gr_random_key key = gr_random_key(check->seed, GR_RANDOM_CHECK, 1000, 2);
    for (int64_t i = 0; i < rig->n_dst; i++)
        rig->fixed[i] = check->bf16 ? to_bf16((double)gr_random_normal(&key, (uint64_t)i))
                                    : (double)gr_random_normal(&key, (uint64_t)i);
}

static void rig_release(struct rig *rig)
{
    for (int i = 0; i < rig->n_tensors; i++)
        free(rig->tensors[i].data);
    free(rig->between);
    free(rig->fixed);
    free(rig->dst);
    gr_program_free(rig->program);
    gr_params_free(rig->params);
    gr_graph_free(rig->graph);
    gr_standard_ops()->backend_free(rig->backend);
}

/* The definition, into rig->dst. */
static void evaluate(struct rig *rig)
{
    struct gr_check_view view = {.check = rig->check, .n_in = rig->n_node};
    for (int i = 0; i < rig->n_node; i++) {
        view.in[i] = rig->tensors[i].data;
        view.shape[i] = rig->tensors[i].value->shape;
    }
    view.dst = rig->node->outputs[0]->shape;
    if (rig->check->behind_conv) {
        const struct gr_shape *s = &view.shape[0];
        const struct gr_naive_window one = {.N = s->dim[0],
                                            .C = s->dim[1],
                                            .H = s->dim[2],
                                            .W = s->dim[3],
                                            .O = s->dim[1],
                                            .groups = 1,
                                            .kernel = {1, 1},
                                            .stride = {1, 1},
                                            .dilation = {1, 1}};
        gr_naive_conv(&one, view.in[0], rig->tensors[rig->n_node].data,
                      rig->tensors[rig->n_node + 1].data, rig->between);
        view.in[0] = rig->between;
    }
    rig->check->forward(&view, rig->dst);
}

static double loss_of(struct rig *rig)
{
    double sum = 0;
    evaluate(rig);
    for (int64_t i = 0; i < rig->n_dst; i++)
        sum += rig->dst[i] * rig->fixed[i];
    return sum;
}

/* Copies doubles to where a program reads them, or to the parameters. */
static void feed(struct rig *rig, const struct gr_value *value, const double *data, int64_t count)
{
    struct gr_error err = {0};
    void *to = gr_program_data(rig->program, value);
    float *floats = calloc((size_t)count, sizeof *floats);
    assert_non_null(floats);
    for (int64_t i = 0; i < count; i++)
        floats[i] = (float)data[i];
    if (value->kind == GR_VALUE_PARAMETER) {
        struct gr_stored *stored = gr_params_obtain(rig->params, value, &err);
        expect(rig, stored && gr_params_set(rig->params, stored, floats, (size_t)count, &err),
               &err);
    } else if (to && value->dtype == GR_S32) {
        for (int64_t i = 0; i < count; i++)
            ((int32_t *)to)[i] = (int32_t)data[i];
    } else if (to) {
        memcpy(to, floats, (size_t)count * sizeof *floats);
    }
    free(floats);
}

static void compile_and_run(struct rig *rig, struct gr_value *const *targets, size_t n_targets,
                            const struct gr_value *fixed)
{
    const struct gr_program_options options = {.check_finite = true,
                                               .poison = true,
                                               .choice = rig->check->choice,
                                               .precision = rig->check->bf16 ? GR_PRECISION_BF16
                                                                             : GR_PRECISION_F32};
    const struct gr_run run = {.seed = 1, .step = 0};
    struct gr_error err = {0};
    rig->program =
        gr_program_new(rig->graph, rig->params, rig->backend, targets, n_targets, &options, &err);
    expect(rig, rig->program != NULL, &err);
    for (int i = 0; i < rig->n_tensors; i++)
        feed(rig, rig->tensors[i].value, rig->tensors[i].data, rig->tensors[i].count);
    if (fixed)
        feed(rig, fixed, rig->fixed, rig->n_dst);
    for (int again = 0; again < 2; again++) /* the second run must not feel the first */
        expect(rig, gr_program_run(rig->program, &run, &err), &err);
}

/* ---- the two checks ---------------------------------------------------------------------- */

static double largest(const double *data, int64_t count, double least)
{
    double max = least;
    for (int64_t i = 0; i < count; i++)
        max = fmax(max, fabs(data[i]));
    return max;
}

static void check_forward(const struct gr_op_check *check, enum gr_kernels kernels)
{
    struct rig rig;
    char buffer[1024];
    rig_init(&rig, check, kernels);
    struct gr_value *dst = rig.node->outputs[0];
    compile_and_run(&rig, &dst, 1, NULL);
    evaluate(&rig);
    const float *got = gr_program_data(rig.program, dst);
    const double scale = largest(rig.dst, rig.n_dst, 1e-3);
    const double tolerance = (check->tolerance > 0 ? check->tolerance : 2e-5) * scale;
    for (int64_t i = 0; i < rig.n_dst; i++)
        if (!(fabs((double)got[i] - rig.dst[i]) <= tolerance))
            fail_msg("%s: element %lld is %.9g, by definition %.9g (largest %.3g)",
                     describe(&rig, buffer, sizeof buffer), (long long)i, (double)got[i],
                     rig.dst[i], scale);
    rig_release(&rig);
}

/* Central differences of the definition along one element. */
static double slope_at(struct rig *rig, double *element)
{
    const double h = 1e-4, x = *element;
    *element = x + h;
    const double above = loss_of(rig);
    *element = x - h;
    const double below = loss_of(rig);
    *element = x;
    return (above - below) / (2 * h);
}

static void check_tensor(struct rig *rig, int t, const struct gr_value *gradient)
{
    struct tensor *tensor = &rig->tensors[t];
    const float *symbolic = gr_program_data(rig->program, gradient);
    const double relative =
        rig->check->gradient_tolerance > 0 ? rig->check->gradient_tolerance : 2e-4;
    const struct gr_random_key key =
        gr_random_key(rig->check->seed, GR_RANDOM_CHECK, (uint32_t)t, 3);
    char buffer[1024];
    double scale = 0.1;
    for (int64_t i = 0; i < tensor->count; i++)
        scale = fmax(scale, fabs((double)symbolic[i]));
    for (int64_t s = 0; s < (tensor->count < SAMPLES ? tensor->count : SAMPLES); s++) {
        const int64_t i =
            tensor->count <= SAMPLES
                ? s
                : (int64_t)gr_random_below(&key, (uint64_t)s, (uint64_t)tensor->count);
        const double numeric = slope_at(rig, &tensor->data[i]);
        if (!(fabs(numeric - (double)symbolic[i]) <= relative * fmax(scale, fabs(numeric))))
            fail_msg("%s: the gradient of '%s' at element %lld is %.9g, numerically %.9g "
                     "(largest %.3g)",
                     describe(rig, buffer, sizeof buffer), tensor->value->name, (long long)i,
                     (double)symbolic[i], numeric, scale);
    }
}

/* Adds the loss and its gradients: targets[t] is that of tensor t, or NULL where it has none. */
static struct gr_value *differentiate(struct rig *rig, struct gr_value **targets)
{
    struct gr_error err = {0};
    struct gr_value *inputs[2] = {rig->node->outputs[0]}, *wanted[GR_CHECK_INPUTS];
    struct gr_value **gradients;
    size_t n_wanted = 0;
    inputs[1] =
        gr_graph_add_value(rig->graph, "fixed", GR_VALUE_INPUT, GR_F32, &inputs[0]->shape, &err);
    expect(rig, inputs[1] != NULL, &err);
    const struct gr_node_spec spec = {
        .name = "loss", .op = &gr_op_test_dot, .inputs = inputs, .n_inputs = 2};
    struct gr_node *loss = gr_graph_add_node(rig->graph, &spec, &err);
    expect(rig, loss != NULL, &err);
    for (int i = 0; i < rig->check->n_inputs; i++)
        if (rig->check->inputs[i].fill != GR_CHECK_LABELS)
            wanted[n_wanted++] = rig->tensors[i].value;
    const struct gr_loss weighted = {loss->outputs[0], 1};
    expect(rig, gr_autodiff(rig->graph, &weighted, 1, wanted, n_wanted, &gradients, &err), &err);
    for (int t = 0; t < rig->n_tensors; t++) {
        const struct gr_value *value = rig->tensors[t].value;
        char buffer[1024];
        targets[t] = gradients[value->id];
        if (!targets[t] && value->dtype == GR_F32 &&
            !(value->parameter && !value->parameter->trainable))
            fail_msg("%s: '%s' has no gradient", describe(rig, buffer, sizeof buffer), value->name);
    }
    free(gradients);
    return inputs[1];
}

static void check_gradient(const struct gr_op_check *check, enum gr_kernels kernels)
{
    struct rig rig;
    struct gr_value *targets[MAX_TENSORS], *asked[MAX_TENSORS];
    size_t n_asked = 0;
    rig_init(&rig, check, kernels);
    const struct gr_value *fixed = differentiate(&rig, targets);
    for (int t = 0; t < rig.n_tensors; t++)
        if (targets[t])
            asked[n_asked++] = targets[t];
    compile_and_run(&rig, asked, n_asked, fixed);
    for (int t = 0; t < rig.n_tensors; t++)
        if (targets[t])
            check_tensor(&rig, t, targets[t]);
    rig_release(&rig);
}

bool gr_check_has_bf16(void)
{
    struct gr_error err = {0};
    struct gr_backend *backend = gr_standard_ops()->backend_new(1, GR_KERNELS_AUTO, &err);
    gr_check_ok(backend != NULL, &err);
    const bool has = gr_standard_ops()->check_precision(backend, GR_PRECISION_BF16, NULL);
    gr_standard_ops()->backend_free(backend);
    return has;
}

void gr_op_check_run(const struct gr_op_check *check)
{
    static const enum gr_kernels kernels[] = {GR_KERNELS_AUTO, GR_KERNELS_OPENBLAS};
    if (check->bf16 && !gr_check_has_bf16())
        return;
    for (int k = 0; k < (check->bf16 || check->choice ? 1 : 2); k++) {
        check_forward(check, kernels[k]);
        if (!check->no_gradient)
            check_gradient(check, kernels[k]);
    }
}
