/*
 * The definitions as loops; see naive.h.
 */
#include "naive.h"

#include <math.h>

/* ---- windows ----------------------------------------------------------------------------- */

int64_t gr_naive_size(const struct gr_naive_window *w, int axis)
{
    const int64_t in = axis == 0 ? w->H : w->W, before = w->pad[axis], after = w->pad[axis + 2];
    const int64_t reach = w->dilation[axis] * (w->kernel[axis] - 1) + 1;
    const int64_t room = in + before + after - reach;
    int64_t size = 1;
    while (size * w->stride[axis] <= room)
        size++;
    if (w->ceil && (size - 1) * w->stride[axis] < room && size * w->stride[axis] < in + before)
        size++;
    return size;
}

/* Where tap k of output position o reads along an axis; it may lie outside the source. */
static int64_t tap(const struct gr_naive_window *w, int axis, int64_t o, int64_t k)
{
    return o * w->stride[axis] - w->pad[axis] + k * w->dilation[axis];
}

static bool inside(const struct gr_naive_window *w, int64_t h, int64_t x)
{
    return h >= 0 && h < w->H && x >= 0 && x < w->W;
}

/* The sum over one window of source times weights of one output channel. */
static double conv_at(const struct gr_naive_window *w, const double *src, const double *weights,
                      int64_t n, int64_t o, int64_t y, int64_t x)
{
    const int64_t I = w->C / w->groups, first = o / (w->O / w->groups) * I;
    double sum = 0;
    for (int64_t i = 0; i < I; i++)
        for (int64_t kh = 0; kh < w->kernel[0]; kh++)
            for (int64_t kw = 0; kw < w->kernel[1]; kw++) {
                const int64_t h = tap(w, 0, y, kh), v = tap(w, 1, x, kw);
                if (inside(w, h, v))
                    sum += src[((n * w->C + first + i) * w->H + h) * w->W + v] *
                           weights[((o * I + i) * w->kernel[0] + kh) * w->kernel[1] + kw];
            }
    return sum;
}

void gr_naive_conv(const struct gr_naive_window *w, const double *src, const double *weights,
                   const double *bias, double *dst)
{
    const int64_t H = gr_naive_size(w, 0), W = gr_naive_size(w, 1);
    for (int64_t n = 0; n < w->N; n++)
        for (int64_t o = 0; o < w->O; o++)
            for (int64_t y = 0; y < H; y++)
                for (int64_t x = 0; x < W; x++)
                    dst[((n * w->O + o) * H + y) * W + x] =
                        conv_at(w, src, weights, n, o, y, x) + (bias ? bias[o] : 0);
}

/* What a pooling window sees. */
struct seen {
    double max, sum;
    int64_t source, padded; /* taps in the source, and in the source with its pads */
};

static struct seen look(const struct gr_naive_window *w, const double *plane, int64_t y, int64_t x)
{
    struct seen seen = {.max = -INFINITY};
    for (int64_t kh = 0; kh < w->kernel[0]; kh++)
        for (int64_t kw = 0; kw < w->kernel[1]; kw++) {
            const int64_t h = tap(w, 0, y, kh), v = tap(w, 1, x, kw);
            seen.padded += h < w->H + w->pad[2] && v < w->W + w->pad[3];
            if (!inside(w, h, v))
                continue;
            seen.source++;
            seen.sum += plane[h * w->W + v];
            seen.max = fmax(seen.max, plane[h * w->W + v]);
        }
    return seen;
}

void gr_naive_max_pool(const struct gr_naive_window *w, const double *src, double *dst)
{
    const int64_t H = gr_naive_size(w, 0), W = gr_naive_size(w, 1);
    for (int64_t p = 0; p < w->N * w->C; p++)
        for (int64_t y = 0; y < H; y++)
            for (int64_t x = 0; x < W; x++)
                dst[(p * H + y) * W + x] = look(w, src + p * w->H * w->W, y, x).max;
}

void gr_naive_avg_pool(const struct gr_naive_window *w, bool include_pad, const double *src,
                       double *dst)
{
    const int64_t H = gr_naive_size(w, 0), W = gr_naive_size(w, 1);
    for (int64_t p = 0; p < w->N * w->C; p++)
        for (int64_t y = 0; y < H; y++)
            for (int64_t x = 0; x < W; x++) {
                const struct seen seen = look(w, src + p * w->H * w->W, y, x);
                dst[(p * H + y) * W + x] =
                    seen.sum / (double)(include_pad ? seen.padded : seen.source);
            }
}

void gr_naive_global_avg_pool(int64_t N, int64_t C, int64_t HW, const double *src, double *dst)
{
    for (int64_t p = 0; p < N * C; p++) {
        double sum = 0;
        for (int64_t i = 0; i < HW; i++)
            sum += src[p * HW + i];
        dst[p] = sum / (double)HW;
    }
}

/* ---- others ------------------------------------------------------------------------------ */

void gr_naive_lrn(int64_t N, int64_t C, int64_t HW, int64_t size, double alpha, double beta,
                  double k, const double *src, double *dst)
{
    for (int64_t n = 0; n < N; n++)
        for (int64_t c = 0; c < C; c++)
            for (int64_t i = 0; i < HW; i++) {
                double sum = 0;
                for (int64_t d = c - (size - 1) / 2; d <= c + size / 2; d++)
                    if (d >= 0 && d < C)
                        sum += src[(n * C + d) * HW + i] * src[(n * C + d) * HW + i];
                dst[(n * C + c) * HW + i] =
                    src[(n * C + c) * HW + i] * pow(k + alpha / (double)size * sum, -beta);
            }
}

void gr_naive_linear(int64_t N, int64_t I, int64_t O, const double *src, const double *weights,
                     const double *bias, double *dst)
{
    for (int64_t n = 0; n < N; n++)
        for (int64_t o = 0; o < O; o++) {
            double sum = bias ? bias[o] : 0;
            for (int64_t i = 0; i < I; i++)
                sum += src[n * I + i] * weights[o * I + i];
            dst[n * O + o] = sum;
        }
}

double gr_naive_relu(double x, double alpha)
{
    (void)alpha;
    return x > 0 ? x : 0;
}

double gr_naive_leaky_relu(double x, double alpha)
{
    return x > 0 ? x : alpha * x;
}

double gr_naive_elu(double x, double alpha)
{
    return x > 0 ? x : alpha * (exp(x) - 1);
}

double gr_naive_sigmoid(double x, double alpha)
{
    (void)alpha;
    return 1 / (1 + exp(-x));
}

double gr_naive_tanh(double x, double alpha)
{
    (void)alpha;
    return (exp(x) - exp(-x)) / (exp(x) + exp(-x));
}

double gr_naive_gelu(double x, double alpha)
{
    (void)alpha;
    return x * 0.5 * erfc(-x / sqrt(2));
}

double gr_naive_silu(double x, double alpha)
{
    return x * gr_naive_sigmoid(x, alpha);
}

void gr_naive_moments(int64_t N, int64_t C, int64_t HW, const double *src, double *mean,
                      double *variance)
{
    for (int64_t c = 0; c < C; c++) {
        double sum = 0, square = 0;
        for (int64_t n = 0; n < N; n++)
            for (int64_t i = 0; i < HW; i++)
                sum += src[(n * C + c) * HW + i];
        mean[c] = sum / (double)(N * HW);
        for (int64_t n = 0; n < N; n++)
            for (int64_t i = 0; i < HW; i++)
                square += pow(src[(n * C + c) * HW + i] - mean[c], 2);
        variance[c] = square / (double)(N * HW);
    }
}

void gr_naive_batch_norm(int64_t N, int64_t C, int64_t HW, double eps, const double *src,
                         const double *mean, const double *variance, const double *weight,
                         const double *bias, double *dst)
{
    for (int64_t n = 0; n < N; n++)
        for (int64_t c = 0; c < C; c++)
            for (int64_t i = 0; i < HW; i++) {
                const int64_t at = (n * C + c) * HW + i;
                dst[at] = (src[at] - mean[c]) / sqrt(variance[c] + eps);
                dst[at] = dst[at] * (weight ? weight[c] : 1) + (bias ? bias[c] : 0);
            }
}

void gr_naive_softmax(int64_t N, int64_t C, int64_t inner, const double *src, double *dst)
{
    for (int64_t n = 0; n < N; n++)
        for (int64_t i = 0; i < inner; i++) {
            double sum = 0;
            for (int64_t c = 0; c < C; c++)
                sum += exp(src[(n * C + c) * inner + i]);
            for (int64_t c = 0; c < C; c++)
                dst[(n * C + c) * inner + i] = exp(src[(n * C + c) * inner + i]) / sum;
        }
}

double gr_naive_cross_entropy(int64_t N, int64_t C, const double *logits, const double *labels)
{
    double total = 0;
    int64_t labelled = 0;
    for (int64_t n = 0; n < N; n++) {
        double sum = 0;
        if (labels[n] < 0)
            continue;
        for (int64_t c = 0; c < C; c++)
            sum += exp(logits[n * C + c]);
        total -= log(exp(logits[n * C + (int64_t)labels[n]]) / sum);
        labelled++;
    }
    return labelled ? total / (double)labelled : 0;
}

double gr_naive_accuracy(int64_t N, int64_t C, int64_t k, const double *scores,
                         const double *labels)
{
    int64_t right = 0, labelled = 0;
    for (int64_t n = 0; n < N; n++) {
        const int64_t label = (int64_t)labels[n];
        int64_t before = 0;
        if (label < 0)
            continue;
        for (int64_t c = 0; c < C; c++) {
            const double theirs = scores[n * C + c], mine = scores[n * C + label];
            before += theirs > mine || (c < label && !(theirs < mine));
        }
        right += before < k;
        labelled++;
    }
    return labelled ? (double)right / (double)labelled : 0;
}
