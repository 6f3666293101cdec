/*
 * Normalisation and max pooling where they stand together: what fusing makes of them, forward and
 * backward and each without the other, gives the bits of the separate nodes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "support/small_graph.h"

enum { N = 3, MOST = 6000, TARGETS = 5 };

/* image -> conv -> relu -> lrn -> max_pool -> loss, or a part of it. */
struct net {
    bool conv, lrn, relu;
    double size, beta, kernel, stride, pad;
    int64_t channels, h, w;
};

struct way {
    enum gr_kernels kernels;
    int threads;
    bool no_fusion, no_memory_plan;
    enum gr_precision precision;
    const char *fetched; /* a further target, which keeps nodes apart; or NULL */
};

struct result {
    float values[TARGETS][MOST];
    int64_t count[TARGETS];
    char ops[256]; /* of the steps, in their order */
};

static struct gr_value *build(struct gr_small *s, const struct net *net, struct gr_value *image)
{
    const struct gr_check_attr conv[] = {
        {"out_channels", 1, {(double)net->channels}}, {"kernel", 1, {1}}, {0}};
    const struct gr_check_attr lrn[] = {
        {"size", 1, {net->size}}, {"alpha", 1, {0.5}}, {"beta", 1, {net->beta}}, {0}};
    const struct gr_check_attr pool[] = {{"kernel", 1, {net->kernel}},
                                         {"stride", 1, {net->stride}},
                                         {"pad", 1, {net->pad}},
                                         {"ceil_mode", 1, {1}},
                                         {0}};
    struct gr_value *x = image;
    if (net->conv)
        x = gr_small_node(s, "conv", "conv", conv, x, NULL)->outputs[0];
    if (net->relu)
        x = gr_small_node(s, "relu", "relu", NULL, x, NULL)->outputs[0];
    if (net->lrn)
        x = gr_small_node(s, "lrn", "norm", lrn, x, NULL)->outputs[0];
    return gr_small_node(s, "max_pool", "pool", pool, x, NULL)->outputs[0];
}

/* The pool's output, the gradients of the image and of the convolution's parameters. */
static void run(const struct net *net, const struct way *way, struct result *result)
{
    static float data[MOST];
    struct gr_small s;
    const int64_t channels = net->conv ? 3 : net->channels;
    const struct gr_shape shape = {4, {N, channels, net->h, net->w}};
    gr_small_init(&s, true, way->threads, way->kernels);
    s.no_fusion = way->no_fusion;
    s.no_memory_plan = way->no_memory_plan;
    s.precision = way->precision;
    struct gr_value *image = gr_small_input(&s, "image", shape);
    struct gr_value *pool = build(&s, net, image), *targets[TARGETS] = {pool};
    gr_small_differentiate(&s, gr_small_loss(&s, pool), image);
    size_t n = 1;
    targets[n++] = s.gradients[image->id];
    for (size_t v = 0; v < s.n_gradients; v++)
        if (s.gradients[v] && s.graph->values[v]->parameter)
            targets[n++] = s.gradients[v];
    if (way->fetched)
        targets[n++] = gr_graph_value(s.graph, way->fetched);
    assert_non_null(targets[n - 1]);
    assert_true(n <= TARGETS);
    gr_small_compile(&s, targets, n, false);
    assert_true(gr_shape_count(&shape) <= MOST && gr_shape_count(&pool->shape) <= MOST);
    gr_small_draw(data, gr_shape_count(&shape), 1);
    for (int64_t i = 0; i < gr_shape_count(&shape); i++)
        data[i] = (float)(int)(data[i] * 4) / 4; /* so that there are equal ones */
    gr_small_feed(&s, image, data);
    gr_small_draw(data, gr_shape_count(&pool->shape), 2);
    gr_small_feed(&s, gr_graph_value(s.graph, "fixed"), data);
    gr_small_run(&s, 1, 0);
    *result = (struct result){0};
    for (size_t t = 0; t < n; t++) {
        result->count[t] = gr_shape_count(&targets[t]->shape);
        assert_true(result->count[t] <= MOST);
        memcpy(result->values[t], gr_small_fetch(&s, targets[t]),
               (size_t)result->count[t] * sizeof(float));
    }
    for (size_t i = 0; i < gr_program_step_count(s.program); i++) {
        const char *op = gr_program_step(s.program, i)->node->op->kind.name;
        if (strstr(op, "lrn") || strstr(op, "pool") || strstr(op, "activation")) {
            strcat(result->ops, result->ops[0] ? " " : "");
            strcat(result->ops, op);
        }
    }
    gr_small_release(&s);
}

/* The first n targets of both, to the last bit but for the sign of zeros. */
static void expect_same(const struct result *a, const struct result *b, int n, const char *what)
{
    for (int t = 0; t < n; t++)
        for (int64_t i = 0; a->count[t] == b->count[t] && i < a->count[t]; i++)
            if (!(a->values[t][i] <= b->values[t][i] && a->values[t][i] >= b->values[t][i]))
                fail_msg("%s: target %d, element %lld is %.9g, not %.9g", what, t, (long long)i,
                         (double)a->values[t][i], (double)b->values[t][i]);
}

static const struct net alexnet = {true, true, true, 5, 0.75, 3, 2, 0, 20, 11, 9};

static const struct net nets[] = {
    {true, true, true, 5, 0.75, 3, 2, 0, 20, 11, 9},
    {true, true, true, 5, 0.75, 3, 2, 1, 48, 8, 7},
    {true, true, false, 3, 0.75, 2, 2, 0, 16, 9, 7},
    {true, true, true, 7, 0.5, 3, 1, 1, 33, 6, 5},
    {true, true, true, 5, 0.75, 2, 3, 0, 17, 10, 11},
    {false, true, false, 5, 0.75, 3, 2, 0, 6, 11, 9},
    {true, false, true, 5, 0.75, 3, 2, 1, 20, 11, 9},
    {true, false, true, 5, 0.75, 2, 2, 0, 8, 6, 7},
    {true, true, true, 5, 0.75, 5, 4, 2, 16, 9, 13},
    {true, true, true, 5, 0.75, 1, 1, 0, 5, 6, 7},
};

static void fused_or_not_gives_the_same_bits(void **state)
{
    (void)state;
    static struct result fused, apart;
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++)
        for (int k = 0; k < 2; k++) {
            const enum gr_kernels kernels = k ? GR_KERNELS_OPENBLAS : GR_KERNELS_AUTO;
            char what[64];
            snprintf(what, sizeof what, "net %d, kernels %d", (int)i, k);
            run(&nets[i], &(struct way){.kernels = kernels, .threads = 2}, &fused);
            run(&nets[i], &(struct way){.kernels = kernels, .threads = 2, .no_fusion = true},
                &apart);
            expect_same(&fused, &apart, TARGETS, what);
            assert_null(strstr(fused.ops, "activation_backward"));
            assert_true(!nets[i].lrn || strstr(fused.ops, "lrn_max_pool_backward"));
        }
}

/* Of the output and the image's gradient: those of the weights are sums that oneDNN splits. */
static void threads_and_memory_change_no_bit(void **state)
{
    (void)state;
    static struct result one, other;
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++) {
        run(&nets[i], &(struct way){.threads = 1, .no_memory_plan = true}, &one);
        run(&nets[i], &(struct way){.threads = 2}, &other);
        expect_same(&one, &other, 2, "threads");
        run(&nets[i], &(struct way){.threads = 7}, &other);
        expect_same(&one, &other, 2, "threads");
    }
}

static void what_is_fetched_is_not_fused_away(void **state)
{
    (void)state;
    static const struct {
        const char *fetched, *ops;
    } cases[] = {
        {NULL, "lrn_max_pool lrn_max_pool_backward"},
        {"norm", "lrn max_pool lrn_max_pool_backward"},
        {"grad:norm", "lrn_max_pool pool_backward lrn_backward"},
        {"grad:relu", "lrn_max_pool lrn_max_pool_backward activation_backward"},
    };
    static struct result whole, part;
    run(&alexnet, &(struct way){.threads = 2, .no_fusion = true}, &whole);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        run(&alexnet, &(struct way){.threads = 2, .fetched = cases[i].fetched}, &part);
        assert_string_equal(part.ops, cases[i].ops);
        expect_same(&part, &whole, TARGETS, cases[i].ops);
    }
}

/* Largest difference of a target relative to its largest value. */
static double difference(const struct result *a, const struct result *b, int target)
{
    double most = 0, largest = 1e-6;
    for (int64_t i = 0; i < a->count[target]; i++) {
        most = fmax(most, fabs((double)a->values[target][i] - (double)b->values[target][i]));
        largest = fmax(largest, fabs((double)b->values[target][i]));
    }
    return most / largest;
}

static void bf16_stays_near_f32_and_fusing_moves_no_maximum(void **state)
{
    (void)state;
    static struct result fused, apart, f32;
    struct gr_small s;
    struct gr_error err = {0};
    gr_small_init(&s, true, 1, GR_KERNELS_AUTO);
    const bool able = gr_standard_ops()->check_precision(s.backend, GR_PRECISION_BF16, &err);
    gr_small_release(&s);
    if (!able)
        skip();
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++) {
        if (!nets[i].conv)
            continue;
        run(&nets[i], &(struct way){.threads = 2}, &f32);
        run(&nets[i], &(struct way){.threads = 2, .precision = GR_PRECISION_BF16}, &fused);
        run(&nets[i],
            &(struct way){.threads = 2, .precision = GR_PRECISION_BF16, .no_fusion = true}, &apart);
        assert_true(difference(&fused, &f32, 0) < 0.015);
        expect_same(&fused, &apart, 1, "bf16");
        assert_true(difference(&fused, &apart, 1) < 0.015);
        assert_true(difference(&fused, &apart, 2) < 0.015);
    }
}

/* All ties: the first element of each window has the gradient. */
static void the_first_of_equal_elements_is_chosen(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++) {
        struct gr_small s;
        float ones[36], fixed[4] = {1, 2, 3, 4};
        const struct gr_check_attr attrs[] = {{"kernel", 1, {3}}, {0}};
        gr_small_init(&s, true, 1, k ? GR_KERNELS_OPENBLAS : GR_KERNELS_AUTO);
        struct gr_value *x = gr_small_input(&s, "x", (struct gr_shape){4, {1, 1, 6, 6}});
        struct gr_value *y = gr_small_node(&s, "max_pool", "pool", attrs, x, NULL)->outputs[0];
        gr_small_differentiate(&s, gr_small_loss(&s, y), x);
        gr_small_compile(&s, &s.gradients[x->id], 1, false);
        for (int i = 0; i < 36; i++)
            ones[i] = 1;
        gr_small_feed(&s, x, ones);
        gr_small_feed(&s, gr_graph_value(s.graph, "fixed"), fixed);
        gr_small_run(&s, 1, 0);
        const float *dx = gr_small_fetch(&s, s.gradients[x->id]);
        for (int i = 0; i < 36; i++) {
            const float want = i % 3 || i / 6 % 3 ? 0 : fixed[i / 18 * 2 + i % 6 / 3];
            assert_float_equal(dx[i], want, 0);
        }
        gr_small_release(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fused_or_not_gives_the_same_bits),
        cmocka_unit_test(threads_and_memory_change_no_bit),
        cmocka_unit_test(what_is_fetched_is_not_fused_away),
        cmocka_unit_test(bf16_stays_near_f32_and_fusing_moves_no_maximum),
        cmocka_unit_test(the_first_of_equal_elements_is_chosen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
