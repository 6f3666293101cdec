/*
 * The passes of batch_norm over memory: each set of kernels that this processor has, in each layout
 * and type, against the definition.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "batch_norm_loops.h"
#include "support/naive.h"
#include "support/op_check.h"
#include "support/small_graph.h"

enum { MOST = 1 << 15, MOST_C = 64 };

/* A tensor [N, C, HW] in lanes and of a type, with the numbers that it stores. */
struct stored {
    void *data;
    double exact[MOST]; /* [N, C, HW] */
};

static const struct gr_norm_kernel *const plain = &gr_norm_kernel_plain;

static int64_t place(const struct gr_norm_form *form, int64_t n, int64_t c, int64_t i)
{
    return ((n * form->blocks + c / form->lanes) * form->HW + i) * form->lanes + c % form->lanes;
}

static double element(const void *data, int64_t i, bool bf16)
{
    return (double)(bf16 ? gr_from_bf16(((const uint16_t *)data)[i]) : ((const float *)data)[i]);
}

/* Random numbers around `mean`; padding lanes are zero. */
static struct gr_norm_tensor draw(const struct gr_norm_form *form, bool bf16, float mean,
                                  uint64_t seed, struct stored *to)
{
    static float drawn[MOST];
    const int64_t count = form->N * form->C * form->HW;
    assert_true(count <= MOST && form->C <= MOST_C);
    to->data = calloc((size_t)(form->N * form->blocks * form->HW * form->lanes), sizeof(float));
    assert_non_null(to->data);
    gr_small_draw(drawn, count, seed);
    for (int64_t i = 0; i < count; i++) {
        const int64_t n = i / form->HW / form->C, c = i / form->HW % form->C, at = i % form->HW;
        const int64_t p = place(form, n, c, at);
        if (bf16)
            ((uint16_t *)to->data)[p] = gr_to_bf16(drawn[i] + mean);
        else
            ((float *)to->data)[p] = drawn[i] + mean;
        to->exact[i] = element(to->data, p, bf16);
    }
    return (struct gr_norm_tensor){to->data, bf16};
}

/* All of it, and zeros in padding lanes. */
static void expect_tensor(const struct gr_norm_form *form, struct gr_norm_tensor got,
                          const double *want, const char *what)
{
    double largest = 0;
    for (int64_t i = 0; i < form->N * form->C * form->HW; i++)
        largest = fmax(largest, fabs(want[i]));
    for (int64_t n = 0; n < form->N; n++)
        for (int64_t c = 0; c < form->blocks * form->lanes; c++)
            for (int64_t i = 0; i < form->HW; i++) {
                const double a = element(got.data, place(form, n, c, i), got.bf16);
                const double b = c < form->C ? want[(n * form->C + c) * form->HW + i] : 0;
                /* bf16 is rounded once, to eight bits. */
                if (!(fabs(a - b) <= 2e-5 * largest + (got.bf16 ? fabs(b) / 256 : 0)))
                    fail_msg("%s, channel %lld of %lld, lanes %lld: %.9g is not %.9g", what,
                             (long long)c, (long long)form->C, (long long)form->lanes, a, b);
            }
}

static void expect_channels(const struct gr_norm_form *form, const float *got, const double *want,
                            const char *what)
{
    double largest = 0;
    for (int64_t c = 0; c < form->C; c++)
        largest = fmax(largest, fabs(want[c]));
    for (int64_t c = 0; c < form->C; c++)
        if (!(fabs((double)got[c] - want[c]) <= 2e-5 * largest + 1e-6))
            fail_msg("%s of channel %lld: %.9g is not %.9g", what, (long long)c, (double)got[c],
                     want[c]);
}

/* Which kernel, and how tensors are stored. */
struct passes {
    struct gr_norm_form form;
    const struct gr_norm_kernel *kernel;
    int threads;
    bool x, other, dst; /* are bf16 */
    bool add, relu, batch;
};

static struct gr_norm_work work_of(const struct passes *p)
{
    float *scratch = malloc((size_t)gr_norm_scratch(&p->form) * sizeof *scratch);
    assert_non_null(scratch);
    return (struct gr_norm_work){p->kernel, p->threads, scratch};
}

static struct gr_norm_tensor room(const struct passes *p)
{
    const struct gr_norm_form *f = &p->form;
    const size_t bytes = (size_t)(f->N * f->blocks * f->HW * f->lanes) * sizeof(float);
    void *data = malloc(bytes);
    assert_non_null(data);
    memset(data, 0xff, bytes); /* NaN */
    return (struct gr_norm_tensor){data, p->dst};
}

struct channels {
    float mean[MOST_C], variance[MOST_C], weight[MOST_C], bias[MOST_C];
    double exact_mean[MOST_C], exact_variance[MOST_C];
};

/* Given, or the batch's. */
static void draw_channels(const struct passes *p, const double *x, struct channels *c)
{
    gr_small_draw(c->mean, p->form.C, 4);
    gr_small_draw(c->variance, p->form.C, 5);
    gr_small_draw(c->weight, p->form.C, 6);
    gr_small_draw(c->bias, p->form.C, 7);
    for (int64_t i = 0; i < p->form.C; i++) {
        c->variance[i] = 0.5f + fabsf(c->variance[i]);
        c->exact_mean[i] = (double)c->mean[i];
        c->exact_variance[i] = (double)c->variance[i];
    }
    if (p->batch)
        gr_naive_moments(p->form.N, p->form.C, p->form.HW, x, c->exact_mean, c->exact_variance);
}

static void check_forward(const struct passes *p)
{
    static struct stored x, addend;
    static double want[MOST];
    static struct channels c;
    const struct gr_norm_form *form = &p->form;
    struct gr_norm_forward f = {.x = draw(form, p->x, 0.5f, 1, &x),
                                .y = room(p),
                                .weight = c.weight,
                                .bias = c.bias,
                                .eps = 1e-3,
                                .relu = p->relu,
                                .batch = p->batch,
                                .mean = c.mean,
                                .variance = c.variance};
    const struct gr_norm_work work = work_of(p);
    double weight[MOST_C], bias[MOST_C];
    draw_channels(p, x.exact, &c);
    for (int64_t i = 0; i < form->C; i++) {
        weight[i] = (double)c.weight[i];
        bias[i] = (double)c.bias[i];
    }
    gr_naive_batch_norm(form->N, form->C, form->HW, f.eps, x.exact, c.exact_mean, c.exact_variance,
                        weight, bias, want);
    if (p->add)
        f.addend = draw(form, p->other, 0, 2, &addend);
    for (int64_t i = 0; i < form->N * form->C * form->HW; i++) {
        want[i] += p->add ? addend.exact[i] : 0;
        want[i] = p->relu ? fmax(want[i], 0) : want[i];
    }
    gr_norm_forward(form, &work, &f);
    expect_tensor(form, f.y, want, p->kernel->impl);
    expect_channels(form, c.mean, c.exact_mean, "mean");
    expect_channels(form, c.variance, c.exact_variance, "variance");
    free(work.scratch);
    free(x.data);
    free(f.y.data);
    if (p->add)
        free(addend.data);
}

/* dx, dweight and dbias by the definition. dy already zero where the ReLU was. */
static void naive_backward(const struct passes *p, const double *x, const double *dy,
                           const struct channels *c, double *dx, double *dweight, double *dbias)
{
    const struct gr_norm_form *f = &p->form;
    const double count = (double)(f->N * f->HW);
    for (int64_t ch = 0; ch < f->C; ch++) {
        const double inverse = 1 / sqrt((double)c->variance[ch] + 1e-3);
        const double mean = (double)c->mean[ch];
        dweight[ch] = dbias[ch] = 0;
        for (int64_t n = 0; n < f->N; n++)
            for (int64_t i = 0; i < f->HW; i++) {
                const int64_t at = (n * f->C + ch) * f->HW + i;
                dbias[ch] += dy[at];
                dweight[ch] += dy[at] * (x[at] - mean) * inverse;
            }
        for (int64_t n = 0; n < f->N; n++)
            for (int64_t i = 0; i < f->HW; i++) {
                const int64_t at = (n * f->C + ch) * f->HW + i;
                const double own = dbias[ch] + (x[at] - mean) * inverse * dweight[ch];
                dx[at] = (double)c->weight[ch] * inverse * (dy[at] - (p->batch ? own / count : 0));
            }
    }
}

static void check_backward(const struct passes *p)
{
    static struct stored x, dy;
    static double dx[MOST], dweight[MOST_C], dbias[MOST_C];
    static struct channels c;
    float got_weight[MOST_C], got_bias[MOST_C];
    const struct gr_norm_form *form = &p->form;
    const struct gr_norm_backward b = {.dy = draw(form, p->other, 0.25f, 3, &dy),
                                       .x = draw(form, p->x, 0.5f, 1, &x),
                                       .dx = room(p),
                                       .mean = c.mean,
                                       .variance = c.variance,
                                       .weight = c.weight,
                                       .bias = c.bias,
                                       .eps = 1e-3,
                                       .relu = p->relu,
                                       .batch = p->batch,
                                       .dweight = got_weight,
                                       .dbias = got_bias};
    const struct gr_norm_work work = work_of(p);
    draw_channels(p, x.exact, &c);
    for (int64_t i = 0; i < form->N * form->C * form->HW; i++) {
        const int64_t ch = i / form->HW % form->C;
        const double z = (x.exact[i] - (double)c.mean[ch]) * (double)c.weight[ch] /
                             sqrt((double)c.variance[ch] + 1e-3) +
                         (double)c.bias[ch];
        dy.exact[i] = p->relu && z < 0 ? 0 : dy.exact[i];
    }
    naive_backward(p, x.exact, dy.exact, &c, dx, dweight, dbias);
    gr_norm_backward(form, &work, &b);
    expect_tensor(form, b.dx, dx, p->kernel->impl);
    expect_channels(form, got_weight, dweight, "dweight");
    expect_channels(form, got_bias, dbias, "dbias");
    free(work.scratch);
    free(x.data);
    free(dy.data);
    free(b.dx.data);
}

/* Shapes whose runs leave rests of every kind, and pieces of many images and of parts of one. */
static struct passes random_passes(uint64_t seed, const struct gr_norm_kernel *kernel)
{
    static const int64_t lanes_of[] = {1, 8, 16};
    const bool large = gr_check_int(seed, 0, 0, 3) == 0;
    const struct gr_shape shape = {
        4,
        {gr_check_int(seed, 1, 1, large ? 2 : 40), gr_check_int(seed, 2, 1, large ? 6 : 20),
         gr_check_int(seed, 3, 1, large ? 44 : 6), gr_check_int(seed, 4, 1, large ? 44 : 6)}};
    return (struct passes){.form = gr_norm_form_of(&shape, lanes_of[seed % 3]),
                           .kernel = kernel,
                           .threads = (int)gr_check_int(seed, 5, 1, 3),
                           .x = gr_check_int(seed, 6, 0, 1),
                           .other = gr_check_int(seed, 7, 0, 1),
                           .dst = gr_check_int(seed, 8, 0, 1),
                           .add = gr_check_int(seed, 9, 0, 1),
                           .relu = gr_check_int(seed, 10, 0, 1),
                           .batch = gr_check_int(seed, 11, 0, 2) > 0};
}

static void each_set_of_kernels_passes_as_defined(void **state)
{
    (void)state;
    const struct gr_norm_kernel *const kernels[] = {plain, gr_norm_kernel_avx2(),
                                                    gr_norm_kernel_avx512(true)};
    for (size_t k = 0; k < 3; k++)
        for (uint64_t seed = 1; kernels[k] && seed <= 120; seed++) {
            const struct passes p = random_passes(seed, kernels[k]);
            check_forward(&p);
            check_backward(&p);
        }
}

/* In place and of one thread or three: the same bits. */
static void threads_and_place_change_no_bit(void **state)
{
    (void)state;
    static struct stored x, dy;
    static struct channels c;
    const struct gr_shape shape = {4, {5, 40, 9, 7}};
    for (int relu = 0; relu < 2; relu++) {
        struct passes p = {.form = gr_norm_form_of(&shape, 16),
                           .kernel = gr_norm_kernel(16, false),
                           .threads = 1,
                           .batch = true};
        const size_t bytes = (size_t)(5 * 48 * 63) * sizeof(float);
        struct gr_norm_forward f = {.x = draw(&p.form, false, 0, 1, &x),
                                    .y = room(&p),
                                    .eps = 1e-5,
                                    .relu = relu,
                                    .batch = true,
                                    .mean = c.mean,
                                    .variance = c.variance};
        struct gr_norm_backward b = {.dy = draw(&p.form, false, 0, 2, &dy),
                                     .x = f.x,
                                     .dx = room(&p),
                                     .mean = c.mean,
                                     .variance = c.variance,
                                     .eps = 1e-5,
                                     .relu = relu,
                                     .batch = true};
        struct gr_norm_work work = work_of(&p);
        gr_norm_forward(&p.form, &work, &f);
        gr_norm_backward(&p.form, &work, &b);
        struct gr_norm_tensor y = f.y, dx = b.dx;
        work.threads = 3;
        b.dx = b.dy;
        gr_norm_backward(&p.form, &work, &b);
        f.y = f.x;
        gr_norm_forward(&p.form, &work, &f);
        assert_memory_equal(f.y.data, y.data, bytes);
        assert_memory_equal(b.dx.data, dx.data, bytes);
        free(work.scratch);
        free(x.data);
        free(dy.data);
        free(y.data);
        free(dx.data);
    }
}

static void a_large_mean_does_not_spoil_the_variance(void **state)
{
    (void)state;
    enum { N = 4, HW = 2000 };
    static float src[N * HW], dst[N * HW];
    float scratch[2 * N], mean, variance;
    const struct gr_shape shape = {4, {N, 1, 20, 100}};
    const struct gr_norm_form form = gr_norm_form_of(&shape, 1);
    assert_true(gr_norm_scratch(&form) <= 2 * N);
    for (int i = 0; i < N * HW; i++)
        src[i] = i % 2 ? 4096.5f : 4095.5f;
    src[0] = 4100; /* not what the others' deviations are best measured from */
    const struct gr_norm_work work = {gr_norm_kernel(16, false), 1, scratch};
    const struct gr_norm_forward f = {
        .x = {src, false}, .y = {dst, false}, .batch = true, .mean = &mean, .variance = &variance};
    gr_norm_forward(&form, &work, &f);
    /* One element of 8000 is 4.5 further out than the others. */
    assert_true(fabsf(mean - 4096.0005625f) < 5e-4f);
    assert_true(fabsf(variance - 0.25196844f) < 1e-6f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_set_of_kernels_passes_as_defined),
        cmocka_unit_test(threads_and_place_change_no_bit),
        cmocka_unit_test(a_large_mean_does_not_spoil_the_variance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
