/*
 * Which kernels serve, and those for any processor; see norm_runs.h.
 */
#include "norm_runs.h"

enum { PERIOD = GR_NORM_PERIOD };

const struct gr_norm_kernel *gr_norm_kernel(int64_t lanes, bool bf16)
{
    const struct gr_norm_kernel *kernel = lanes == 16 ? gr_norm_kernel_avx512(bf16) : NULL;
    if (!kernel)
        kernel = gr_norm_kernel_avx2();
    return kernel ? kernel : &gr_norm_kernel_plain;
}

/* Elements i to i + n - 1 as floats. */
static void take(struct gr_norm_tensor t, int64_t i, int64_t n, float *to)
{
    if (!t.bf16)
        memcpy(to, (const float *)t.data + i, (size_t)n * sizeof *to);
    for (int64_t j = 0; t.bf16 && j < n; j++)
        to[j] = gr_from_bf16(((const uint16_t *)t.data)[i + j]);
}

static void put(struct gr_norm_tensor t, int64_t i, int64_t n, const float *from)
{
    if (!t.bf16)
        memcpy((float *)t.data + i, from, (size_t)n * sizeof *from);
    for (int64_t j = 0; t.bf16 && j < n; j++)
        ((uint16_t *)t.data)[i + j] = gr_to_bf16(from[j]);
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void plain_moments(const float *pivot, struct gr_norm_tensor x, int64_t count, float *sum,
                          float *square)
{
    float data[PERIOD];
    for (int64_t i = 0; i < count; i += PERIOD) {
        const int64_t n = least(PERIOD, count - i);
        take(x, i, n, data);
        for (int64_t j = 0; j < n; j++) {
            const float d = data[j] - pivot[j];
            sum[j] += d;
            square[j] += d * d;
        }
    }
}

static void plain_apply(const struct gr_norm_channels *c, struct gr_norm_tensor x,
                        struct gr_norm_tensor addend, struct gr_norm_tensor y, int64_t count,
                        bool relu)
{
    float data[PERIOD], more[PERIOD] = {0};
    for (int64_t i = 0; i < count; i += PERIOD) {
        const int64_t n = least(PERIOD, count - i);
        take(x, i, n, data);
        if (addend.data)
            take(addend, i, n, more);
        for (int64_t j = 0; j < n; j++) {
            const float z = (data[j] - c->mean[j]) * c->scale[j] + c->bias[j] + more[j];
            data[j] = relu && z < 0 ? 0 : z;
        }
        put(y, i, n, data);
    }
}

/* Zeroes dy where the forward's ReLU did. */
static void gate(const struct gr_norm_channels *c, const float *x, int64_t n, float *dy)
{
    for (int64_t j = 0; j < n; j++)
        dy[j] = (x[j] - c->mean[j]) * c->scale[j] + c->bias[j] > 0 ? dy[j] : 0;
}

static void plain_sums(const struct gr_norm_channels *c, struct gr_norm_tensor dy,
                       struct gr_norm_tensor x, int64_t count, bool relu, float *sum,
                       float *product)
{
    float data[PERIOD], slope[PERIOD];
    for (int64_t i = 0; i < count; i += PERIOD) {
        const int64_t n = least(PERIOD, count - i);
        take(x, i, n, data);
        take(dy, i, n, slope);
        if (relu)
            gate(c, data, n, slope);
        for (int64_t j = 0; j < n; j++) {
            sum[j] += slope[j];
            product[j] += slope[j] * (data[j] - c->mean[j]);
        }
    }
}

static void plain_gradient(const struct gr_norm_channels *c, struct gr_norm_tensor dy,
                           struct gr_norm_tensor x, struct gr_norm_tensor dx, int64_t count,
                           bool relu)
{
    float data[PERIOD], slope[PERIOD];
    for (int64_t i = 0; i < count; i += PERIOD) {
        const int64_t n = least(PERIOD, count - i);
        take(x, i, n, data);
        take(dy, i, n, slope);
        if (relu)
            gate(c, data, n, slope);
        for (int64_t j = 0; j < n; j++)
            data[j] = c->scale[j] * slope[j] + (data[j] - c->mean[j]) * c->slope[j] + c->shift[j];
        put(dx, i, n, data);
    }
}

const struct gr_norm_kernel gr_norm_kernel_plain = {"runs", plain_moments, plain_apply, plain_sums,
                                                    plain_gradient};
