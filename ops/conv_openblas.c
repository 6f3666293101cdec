/*
 * Convolution as a matrix product over OpenBLAS (im2col): an image's patches become the columns of
 * a matrix [C/G·KH·KW, OH·OW], one group at a time. Independent of oneDNN, and its check.
 */
#include <cblas.h>
#include <string.h>

#include "conv.h"
#include "loops.h"

/* One group of one image: columns [c·KH·KW, OH·OW] from (to) an image [c, H, W] of c channels. */
struct patches {
    struct gr_conv_sizes s;
    const struct gr_conv_attrs *a;
    int64_t c; /* channels a group */
};

/* The row of the image that output row oh sees through tap kh; outside: padding. */
static int64_t source(int64_t out, int64_t tap, int64_t stride, int64_t dilation, int64_t pad)
{
    return out * stride + tap * dilation - pad;
}

static void image_to_columns(const struct patches *p, const float *image, float *columns)
{
    const struct gr_conv_sizes *s = &p->s;
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < p->c * s->kh * s->kw; row++) {
        const int64_t kw = row % s->kw, kh = row / s->kw % s->kh, c = row / (s->kw * s->kh);
        float *out = columns + row * s->oh * s->ow; /* [OH, OW] */
        for (int64_t oh = 0; oh < s->oh; oh++) {
            const int64_t h = source(oh, kh, p->a->stride[0], p->a->dilation[0], p->a->pad[0]);
            for (int64_t ow = 0; ow < s->ow; ow++) {
                const int64_t w = source(ow, kw, p->a->stride[1], p->a->dilation[1], p->a->pad[1]);
                const bool inside = h >= 0 && h < s->h && w >= 0 && w < s->w;
                out[oh * s->ow + ow] = inside ? image[(c * s->h + h) * s->w + w] : 0;
            }
        }
    }
}

/* Adds the columns back to where they came from. Channels are independent. */
static void columns_to_image(const struct patches *p, const float *columns, float *image)
{
    const struct gr_conv_sizes *s = &p->s;
#pragma omp parallel for schedule(static)
    for (int64_t c = 0; c < p->c; c++) {
        memset(image + c * s->h * s->w, 0, (size_t)(s->h * s->w) * sizeof *image);
        for (int64_t tap = 0; tap < s->kh * s->kw; tap++) {
            const float *in = columns + (c * s->kh * s->kw + tap) * s->oh * s->ow;
            for (int64_t oh = 0; oh < s->oh; oh++) {
                const int64_t h =
                    source(oh, tap / s->kw, p->a->stride[0], p->a->dilation[0], p->a->pad[0]);
                for (int64_t ow = 0; ow < s->ow; ow++) {
                    const int64_t w =
                        source(ow, tap % s->kw, p->a->stride[1], p->a->dilation[1], p->a->pad[1]);
                    if (h >= 0 && h < s->h && w >= 0 && w < s->w)
                        image[(c * s->h + h) * s->w + w] += in[oh * s->ow + ow];
                }
            }
        }
    }
}

static struct patches patches_of(const struct gr_node *node)
{
    struct patches p = {.s = gr_conv_sizes(node), .a = node->attrs};
    p.c = p.s.c / p.s.g;
    return p;
}

/* Row-major C = alpha·op(A)·op(B) + beta·C over f32. */
static void gemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k,
                 const float *a, const float *b, float beta, float *c)
{
    cblas_sgemm(CblasRowMajor, transpose_a ? CblasTrans : CblasNoTrans,
                transpose_b ? CblasTrans : CblasNoTrans, (blasint)m, (blasint)n, (blasint)k, 1, a,
                (blasint)(transpose_a ? m : k), b, (blasint)(transpose_b ? k : n), beta, c,
                (blasint)n);
}

static bool forward_run(const struct gr_kernel *kernel, const struct gr_node *node,
                        const struct gr_buffers *buffers, const struct gr_run *run,
                        struct gr_error *err)
{
    (void)kernel, (void)run, (void)err;
    const struct patches p = patches_of(node);
    const int64_t k = p.c * p.s.kh * p.s.kw, area = p.s.oh * p.s.ow, m = p.s.o / p.s.g;
    const float *src = buffers->src[0], *weights = buffers->src[1];
    const float *bias = p.a->bias ? buffers->src[2] : NULL;
    float *dst = buffers->dst[0], *columns = buffers->scratch;
    for (int64_t n = 0; n < p.s.n; n++)
        for (int64_t g = 0; g < p.s.g; g++) {
            float *out = dst + (n * p.s.o + g * m) * area; /* [O/G, OH·OW] */
            image_to_columns(&p, src + (n * p.s.c + g * p.c) * p.s.h * p.s.w, columns);
            for (int64_t o = 0; o < m; o++)
                for (int64_t i = 0; i < area; i++)
                    out[o * area + i] = bias ? bias[g * m + o] : 0;
            gemm(false, false, m, area, k, weights + g * m * k, columns, 1, out);
        }
    const float *addend = p.a->add ? buffers->src[2 + p.a->bias] : NULL;
    for (int64_t i = 0; addend && i < p.s.n * p.s.o * area; i++)
        dst[i] += addend[i];
    gr_activation_apply(&p.a->activation, dst, p.s.n * p.s.o * area);
    return true;
}

static bool data_run(const struct gr_kernel *kernel, const struct gr_node *node,
                     const struct gr_buffers *buffers, const struct gr_run *run,
                     struct gr_error *err)
{
    (void)kernel, (void)run, (void)err;
    const struct patches p = patches_of(node);
    const int64_t k = p.c * p.s.kh * p.s.kw, area = p.s.oh * p.s.ow, m = p.s.o / p.s.g;
    const float *dy = buffers->src[0], *weights = buffers->src[1];
    float *dx = buffers->dst[0], *columns = buffers->scratch;
    for (int64_t n = 0; n < p.s.n; n++)
        for (int64_t g = 0; g < p.s.g; g++) {
            gemm(true, false, k, area, m, weights + g * m * k, dy + (n * p.s.o + g * m) * area, 0,
                 columns);
            columns_to_image(&p, columns, dx + (n * p.s.c + g * p.c) * p.s.h * p.s.w);
        }
    return true;
}

static void bias_gradient(const struct gr_conv_sizes *s, const float *dy, float *db)
{
    const int64_t area = s->oh * s->ow;
#pragma omp parallel for schedule(static)
    for (int64_t o = 0; o < s->o; o++) {
        double sum = 0;
        for (int64_t n = 0; n < s->n; n++)
            for (int64_t i = 0; i < area; i++)
                sum += dy[(n * s->o + o) * area + i];
        db[o] = (float)sum;
    }
}

static bool weights_run(const struct gr_kernel *kernel, const struct gr_node *node,
                        const struct gr_buffers *buffers, const struct gr_run *run,
                        struct gr_error *err)
{
    (void)kernel, (void)run, (void)err;
    const struct patches p = patches_of(node);
    const int64_t k = p.c * p.s.kh * p.s.kw, area = p.s.oh * p.s.ow, m = p.s.o / p.s.g;
    const float *dy = buffers->src[0], *src = buffers->src[1];
    float *dw = buffers->dst[0], *columns = buffers->scratch;
    for (int64_t n = 0; n < p.s.n; n++)
        for (int64_t g = 0; g < p.s.g; g++) {
            image_to_columns(&p, src + (n * p.s.c + g * p.c) * p.s.h * p.s.w, columns);
            gemm(false, true, m, k, area, dy + (n * p.s.o + g * m) * area, columns, n ? 1 : 0,
                 dw + g * m * k);
        }
    if (node->n_outputs > 1)
        bias_gradient(&p.s, dy, buffers->dst[1]);
    return true;
}

static bool plan(struct gr_planning *planning, gr_kernel_run_fn *run)
{
    const struct patches p = patches_of(planning->node);
    gr_loops_plan_plain(planning, run);
    planning->kernel->impl = "openblas:im2col";
    planning->kernel->scratch_bytes =
        (size_t)(p.c * p.s.kh * p.s.kw * p.s.oh * p.s.ow) * sizeof(float);
    return true;
}

bool gr_conv_openblas_forward(struct gr_planning *planning, struct gr_error *err)
{
    (void)err;
    return plan(planning, forward_run);
}

bool gr_conv_openblas_data(struct gr_planning *planning, struct gr_error *err)
{
    (void)err;
    return plan(planning, data_run);
}

bool gr_conv_openblas_weights(struct gr_planning *planning, struct gr_error *err)
{
    (void)err;
    return plan(planning, weights_run);
}
