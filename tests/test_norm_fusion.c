/*
 * Batch normalisation with the residual add and the ReLU behind it in one node, forward and
 * backward: what fusing makes gives the bits of the nodes as written, in bf16 it stays near f32,
 * and what somebody else reads is not fused away.
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

#include "support/small_graph.h"

enum { MOST = 1 << 13, TARGETS = 12 };

/* What stands behind the norm: "add" is of an input, "join" of a second convolution's norm. */
struct net {
    const char *behind; /* some of "add", "join" or "joined by", then "relu" or "leaky_relu" */
    const char *before; /* what the norm reads: "conv", "max_pool", or the image itself: "" */
    bool inference, affine;
    int64_t channels, edge;
    const char *forward, *backward; /* the ops of the steps, if fused, as their attributes tell */
};

static const struct net nets[] = {
    {"relu", "conv", false, true, 20, 9, "batch_norm", "batch_norm_backward"},
    {"relu", "conv", false, false, 16, 5, "batch_norm", "batch_norm_backward"},
    {"relu", "", false, true, 5, 7, "batch_norm", "batch_norm_backward"},
    {"relu", "max_pool", true, true, 20, 6, "batch_norm", "batch_norm_backward"},
    {"", "conv", false, true, 8, 5, "batch_norm", "batch_norm_backward"},
    {"leaky_relu", "conv", false, true, 24, 5, "batch_norm leaky_relu",
     "activation_backward batch_norm_backward"},
    {"add", "conv", false, true, 17, 6, "batch_norm", "batch_norm_backward"},
    {"add relu", "conv", false, true, 20, 9, "batch_norm",
     "activation_backward batch_norm_backward"},
    {"add relu", "max_pool", true, true, 33, 4, "batch_norm",
     "activation_backward batch_norm_backward"},
    {"add leaky_relu", "conv", false, true, 16, 4, "batch_norm leaky_relu",
     "activation_backward batch_norm_backward"},
    {"join relu", "conv", false, true, 20, 7, "batch_norm batch_norm",
     "activation_backward batch_norm_backward batch_norm_backward"},
    {"joined by relu", "conv", false, true, 32, 7, "batch_norm batch_norm",
     "activation_backward batch_norm_backward batch_norm_backward"},
};

struct way {
    enum gr_kernels kernels;
    int threads;
    bool no_fusion, no_memory_plan;
    enum gr_precision precision;
    const char *fetched; /* a further target, which keeps nodes apart; or NULL */
};

struct result {
    float *values[TARGETS];
    int64_t count[TARGETS];
    size_t n;
    char forward[256], backward[256]; /* ops of the steps, in their order */
};

static void result_free(struct result *result)
{
    for (size_t t = 0; t < result->n; t++)
        free(result->values[t]);
    *result = (struct result){0};
}

/* One normalised branch of the image. */
static struct gr_value *branch(struct gr_small *s, const struct net *net, struct gr_value *x,
                               const char *conv_name, const char *name)
{
    const struct gr_check_attr conv[] = {
        {"out_channels", 1, {(double)net->channels}}, {"kernel", 1, {1}}, {0}};
    const struct gr_check_attr pool[] = {{"kernel", 1, {1}}, {0}};
    const struct gr_check_attr norm[] = {{"affine", 1, {net->affine}}, {"eps", 1, {1e-3}}, {0}};
    if (net->before[0])
        x = gr_small_node(s, net->before, conv_name, strcmp(net->before, "conv") == 0 ? conv : pool,
                          x, NULL)
                ->outputs[0];
    return gr_small_node(s, "batch_norm", name, norm, x, NULL)->outputs[0];
}

static struct gr_value *build(struct gr_small *s, const struct net *net, struct gr_value *image)
{
    struct gr_value *y = branch(s, net, image, "before", "bn");
    const char *activation = strrchr(net->behind, ' ');
    activation = activation ? activation + 1 : net->behind;
    if (strncmp(net->behind, "add", 3) == 0)
        y = gr_small_node(s, "add", "sum", NULL, y, gr_small_input(s, "skip", y->shape))
                ->outputs[0];
    if (strncmp(net->behind, "join", 4) == 0) {
        struct gr_value *other = branch(s, net, image, "before2", "bn2");
        const bool first = strncmp(net->behind, "joined", 6) != 0;
        y = gr_small_node(s, "add", "sum", NULL, first ? y : other, first ? other : y)->outputs[0];
    }
    if (strstr(activation, "relu"))
        y = gr_small_node(s, activation, "act", NULL, y, NULL)->outputs[0];
    return y;
}

static void feed(struct gr_small *s, const char *name, uint64_t seed)
{
    static float data[MOST];
    const struct gr_value *value = gr_graph_value(s->graph, name);
    if (!value)
        return;
    assert_true(gr_shape_count(&value->shape) <= MOST);
    gr_small_draw(data, gr_shape_count(&value->shape), seed);
    gr_small_feed(s, value, data);
}

/* Weights and biases, and running statistics, of which variances are positive. */
static void set_parameters(struct gr_small *s)
{
    static float data[MOST];
    for (size_t v = 0; v < s->graph->n_values; v++) {
        const struct gr_value *value = s->graph->values[v];
        if (value->kind != GR_VALUE_PARAMETER || strncmp(value->name, "bn", 2) != 0)
            continue;
        const int64_t count = gr_shape_count(&value->shape);
        gr_small_draw(data, count, 10 + v);
        for (int64_t i = 0; i < count && strstr(value->name, "_var"); i++)
            data[i] = 0.5f + fabsf(data[i]);
        gr_small_set(s, value, data);
    }
}

static void note(char *ops, const struct gr_node *node)
{
    const char *op = node->op->kind.name;
    if (strstr(op, "norm") || strstr(op, "relu") || strstr(op, "add") || strstr(op, "activation"))
        strcat(strcat(ops, ops[0] ? " " : ""), op);
}

/* The output and the gradients of the image and of all parameters. */
static void run(const struct net *net, const struct way *way, struct result *result)
{
    struct gr_small s;
    const int64_t channels = strcmp(net->before, "conv") == 0 ? 3 : net->channels;
    const struct gr_shape shape = {4, {3, channels, net->edge, net->edge + 2}};
    struct gr_value *targets[TARGETS];
    *result = (struct result){0};
    gr_small_init(&s, !net->inference, way->threads, way->kernels);
    s.no_fusion = way->no_fusion;
    s.no_memory_plan = way->no_memory_plan;
    s.precision = way->precision;
    struct gr_value *image = gr_small_input(&s, "image", shape);
    targets[result->n++] = build(&s, net, image);
    gr_small_differentiate(&s, gr_small_loss(&s, targets[0]), image);
    targets[result->n++] = s.gradients[image->id];
    for (size_t v = 0; v < s.n_gradients; v++)
        if (s.gradients[v] && s.graph->values[v]->parameter)
            targets[result->n++] = s.gradients[v];
    if (way->fetched)
        targets[result->n++] = gr_graph_value(s.graph, way->fetched);
    assert_non_null(targets[result->n - 1]);
    gr_small_compile(&s, targets, result->n, false);
    feed(&s, "image", 1);
    feed(&s, "skip", 2);
    feed(&s, "fixed", 3);
    set_parameters(&s);
    gr_small_run(&s, 1, 0);
    gr_small_run(&s, 1, 1); /* must not feel the first */
    for (size_t t = 0; t < result->n; t++) {
        const size_t count = (size_t)gr_shape_count(&targets[t]->shape);
        result->count[t] = (int64_t)count;
        assert_non_null(result->values[t] = malloc(count * sizeof(float)));
        memcpy(result->values[t], gr_small_fetch(&s, targets[t]), count * sizeof(float));
    }
    for (size_t i = 0; i < gr_program_step_count(s.program); i++) {
        const struct gr_node *node = gr_program_step(s.program, i)->node;
        note(node->phase == GR_BACKWARD ? result->backward : result->forward, node);
    }
    gr_small_release(&s);
}

/* To the last bit but for the sign of zeros. */
static void expect_same(const struct result *a, const struct result *b, size_t n, const char *what)
{
    for (size_t t = 0; t < n; t++)
        for (int64_t i = 0; i < a->count[t]; i++)
            if (!(a->values[t][i] <= b->values[t][i] && a->values[t][i] >= b->values[t][i]))
                fail_msg("%s: target %zu, element %lld is %.9g, not %.9g", what, t, (long long)i,
                         (double)a->values[t][i], (double)b->values[t][i]);
}

static void fused_or_not_gives_the_same_bits(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++)
        for (int k = 0; k < 2; k++) {
            const enum gr_kernels kernels = k ? GR_KERNELS_OPENBLAS : GR_KERNELS_AUTO;
            struct result fused, apart;
            char what[64];
            snprintf(what, sizeof what, "net %zu, kernels %d", i, k);
            run(&nets[i], &(struct way){.kernels = kernels, .threads = 2}, &fused);
            run(&nets[i], &(struct way){.kernels = kernels, .threads = 2, .no_fusion = true},
                &apart);
            assert_string_equal(fused.forward, nets[i].forward);
            assert_string_equal(fused.backward, nets[i].backward);
            expect_same(&fused, &apart, fused.n, what);
            result_free(&fused);
            result_free(&apart);
        }
}

static void threads_and_memory_change_no_bit(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++) {
        struct result one, other;
        run(&nets[i], &(struct way){.threads = 1, .no_memory_plan = true}, &one);
        run(&nets[i], &(struct way){.threads = 3}, &other);
        expect_same(&one, &other, 2, "threads");
        result_free(&one);
        result_free(&other);
    }
}

static void what_is_fetched_is_not_fused_away(void **state)
{
    (void)state;
    static const struct {
        const char *fetched, *forward, *backward;
    } cases[] = {
        {"act", "batch_norm", "batch_norm_backward"},
        {"bn", "batch_norm relu", "batch_norm_backward"},
        {"grad:bn", "batch_norm", "activation_backward batch_norm_backward"},
        {"bn.mean", "batch_norm", "batch_norm_backward"},
    };
    struct result whole, part;
    run(&nets[0], &(struct way){.threads = 2, .no_fusion = true}, &whole);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        run(&nets[0], &(struct way){.threads = 2, .fetched = cases[i].fetched}, &part);
        assert_string_equal(part.forward, cases[i].forward);
        assert_string_equal(part.backward, cases[i].backward);
        expect_same(&part, &whole, whole.n, cases[i].fetched);
        result_free(&part);
    }
    result_free(&whole);
}

static double length_of(const struct result *a, size_t target)
{
    double sum = 0;
    for (int64_t i = 0; i < a->count[target]; i++)
        sum += (double)a->values[target][i] * (double)a->values[target][i];
    return sqrt(sum);
}

/* |a - b| / |b|, as vectors. */
static double distance(const struct result *a, const struct result *b, size_t target)
{
    double sum = 0;
    for (int64_t i = 0; i < b->count[target]; i++) {
        const double d = (double)a->values[target][i] - (double)b->values[target][i];
        sum += d * d;
    }
    return sqrt(sum) / (length_of(b, target) + 1e-12);
}

/*
 * Each tensor on the way is rounded to eight bits, 0.2 % of an element at most: the output has come
 * through three of them. Gradients also feel where rounding has carried an element over the ReLU's
 * zero: each of some hundred that does is some percent. That of a bias before a norm is zero.
 */
static void in_bf16_it_stays_near_f32(void **state)
{
    (void)state;
    if (!gr_check_has_bf16())
        skip();
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++) {
        struct result exact, fused, apart;
        run(&nets[i], &(struct way){.threads = 2}, &exact);
        run(&nets[i], &(struct way){.threads = 2, .precision = GR_PRECISION_BF16}, &fused);
        run(&nets[i],
            &(struct way){.threads = 2, .precision = GR_PRECISION_BF16, .no_fusion = true}, &apart);
        assert_true(distance(&fused, &exact, 0) < 0.006);
        assert_true(distance(&fused, &exact, 0) < distance(&apart, &exact, 0) + 0.001);
        for (size_t t = 1; t < exact.n; t++) {
            const double off = distance(&fused, &exact, t);
            if (length_of(&exact, t) > 1e-3)
                assert_true(off < 0.1 && off < distance(&apart, &exact, t) + 0.03);
        }
        result_free(&exact);
        result_free(&fused);
        result_free(&apart);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fused_or_not_gives_the_same_bits),
        cmocka_unit_test(threads_and_memory_change_no_bit),
        cmocka_unit_test(what_is_fetched_is_not_fused_away),
        cmocka_unit_test(in_bf16_it_stays_near_f32),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
