/*
 * The kernels of norm_runs.h for one set of vector instructions: a template, included by
 * norm_avx512.c and norm_avx2.c after vector_avx512.h or vector_avx2.h. Element types and the like
 * are parameters that are known where a function is inlined.
 *
 * Four vectors at a time, so that sums do not wait for one another; then sixteen elements at a
 * time, and the plain loops for the rest.
 */
#include "norm_runs.h"

enum { PERIOD = GR_NORM_PERIOD, PARTS = PERIOD / LANES, MOST = 4 };

#define UNROLL _Pragma("GCC unroll 4")

/* What belongs to channels, in registers: stores to memory would make the compiler load it again.
 */
struct constants {
    vector mean[PARTS], scale[PARTS], bias[PARTS], shift[PARTS], slope[PARTS];
};

VECTOR struct constants constants_of(const struct gr_norm_channels *c)
{
    struct constants k;
    UNROLL for (int v = 0; v < PARTS; v++)
    {
        k.mean[v] = load(c->mean, v * LANES, false);
        k.scale[v] = load(c->scale, v * LANES, false);
        k.bias[v] = load(c->bias, v * LANES, false);
        k.shift[v] = load(c->shift, v * LANES, false);
        k.slope[v] = load(c->slope, v * LANES, false);
    }
    return k;
}

/* Adds the sums of vectors to sixteen floats. */
VECTOR void add_parts(float *to, const vector *parts, int n)
{
    UNROLL for (int v = 0; v < n; v++)
        store(to, v * LANES % PERIOD, load(to, v * LANES % PERIOD, false) + parts[v], false);
}

/* ---- moments ----------------------------------------------------------------------------- */

/* From element i on, n vectors at a time; returns where it stopped. */
VECTOR int64_t moments_by(int n, int64_t i, const float *pivot, const void *x, bool bf16,
                          int64_t count, float *sum, float *square)
{
    vector s[MOST], q[MOST], p[PARTS];
    UNROLL for (int v = 0; v < n; v++) s[v] = q[v] = zero();
    UNROLL for (int v = 0; v < PARTS; v++) p[v] = load(pivot, v * LANES, false);
    for (; i + n * LANES <= count; i += n * LANES) {
        UNROLL for (int v = 0; v < n; v++)
        {
            const vector d = load(x, i + v * LANES, bf16) - p[v % PARTS];
            s[v] = s[v] + d;
            q[v] = multiply_add(d, d, q[v]);
        }
    }
    add_parts(sum, s, n);
    add_parts(square, q, n);
    return i;
}

VECTOR void moments_of(const float *pivot, struct gr_norm_tensor x, bool bf16, int64_t count,
                       float *sum, float *square)
{
    int64_t i = moments_by(MOST, 0, pivot, x.data, bf16, count, sum, square);
    i = moments_by(PARTS, i, pivot, x.data, bf16, count, sum, square);
    gr_norm_kernel_plain.moments(pivot, gr_norm_from(x, i), count - i, sum, square);
}

VECTOR_ENTRY void norm_moments(const float *pivot, struct gr_norm_tensor x, int64_t count,
                               float *sum, float *square)
{
    if (x.bf16)
        moments_of(pivot, x, true, count, sum, square);
    else
        moments_of(pivot, x, false, count, sum, square);
}

/* ---- apply ------------------------------------------------------------------------------- */

VECTOR int64_t apply_by(int n, int64_t i, struct constants k, struct gr_norm_tensor x,
                        struct gr_norm_tensor addend, struct gr_norm_tensor y, int64_t count,
                        bool relu)
{
    const vector least = spread(relu ? 0 : -__builtin_inff());
    for (; i + n * LANES <= count; i += n * LANES) {
        UNROLL for (int v = 0; v < n; v++)
        {
            const int64_t at = i + v * LANES;
            const vector d = load(x.data, at, x.bf16) - k.mean[v % PARTS];
            vector z = multiply_add(d, k.scale[v % PARTS], k.bias[v % PARTS]);
            if (addend.data)
                z = z + load(addend.data, at, addend.bf16);
            store(y.data, at, largest(least, z), y.bf16);
        }
    }
    return i;
}

VECTOR void apply_to(const struct gr_norm_channels *c, struct gr_norm_tensor x,
                     struct gr_norm_tensor addend, struct gr_norm_tensor y, int64_t count,
                     bool relu)
{
    const struct constants k = constants_of(c);
    int64_t i = apply_by(MOST, 0, k, x, addend, y, count, relu);
    i = apply_by(PARTS, i, k, x, addend, y, count, relu);
    gr_norm_kernel_plain.apply(c, gr_norm_from(x, i), gr_norm_from(addend, i), gr_norm_from(y, i),
                               count - i, relu);
}

VECTOR_ENTRY void norm_apply(const struct gr_norm_channels *c, struct gr_norm_tensor x,
                             struct gr_norm_tensor addend, struct gr_norm_tensor y, int64_t count,
                             bool relu)
{
    const struct gr_norm_tensor none = {NULL, false};
    const bool alike = x.bf16 == y.bf16 && (!addend.data || x.bf16 == addend.bf16);
    if (!alike) {
        apply_to(c, x, addend, y, count, relu);
        return;
    }
    const struct gr_norm_tensor wide[] = {{x.data, false}, {addend.data, false}, {y.data, false}};
    const struct gr_norm_tensor half[] = {{x.data, true}, {addend.data, true}, {y.data, true}};
    if (x.bf16 && addend.data)
        apply_to(c, half[0], half[1], half[2], count, relu);
    else if (x.bf16)
        apply_to(c, half[0], none, half[2], count, relu);
    else if (addend.data)
        apply_to(c, wide[0], wide[1], wide[2], count, relu);
    else
        apply_to(c, wide[0], none, wide[2], count, relu);
}

/* ---- backward ---------------------------------------------------------------------------- */

/* dy from element `at` on, where the ReLU let the forward's result pass; d = x - mean. */
VECTOR vector slope_at(const struct constants *k, vector d, struct gr_norm_tensor dy, int64_t at,
                       int v, bool relu)
{
    if (!relu)
        return load(dy.data, at, dy.bf16);
    const vector z = multiply_add(d, k->scale[v % PARTS], k->bias[v % PARTS]);
    return load_positive(z, dy.data, at, dy.bf16);
}

VECTOR int64_t sums_by(int n, int64_t i, struct constants k, struct gr_norm_tensor dy,
                       struct gr_norm_tensor x, int64_t count, bool relu, float *sum,
                       float *product)
{
    vector s[MOST], p[MOST];
    UNROLL for (int v = 0; v < n; v++) s[v] = p[v] = zero();
    for (; i + n * LANES <= count; i += n * LANES) {
        UNROLL for (int v = 0; v < n; v++)
        {
            const int64_t at = i + v * LANES;
            const vector d = load(x.data, at, x.bf16) - k.mean[v % PARTS];
            const vector slope = slope_at(&k, d, dy, at, v, relu);
            s[v] = s[v] + slope;
            p[v] = multiply_add(slope, d, p[v]);
        }
    }
    add_parts(sum, s, n);
    add_parts(product, p, n);
    return i;
}

VECTOR void sums_of(const struct gr_norm_channels *c, struct gr_norm_tensor dy,
                    struct gr_norm_tensor x, int64_t count, bool relu, float *sum, float *product)
{
    const struct constants k = constants_of(c);
    int64_t i = sums_by(MOST, 0, k, dy, x, count, relu, sum, product);
    i = sums_by(PARTS, i, k, dy, x, count, relu, sum, product);
    gr_norm_kernel_plain.sums(c, gr_norm_from(dy, i), gr_norm_from(x, i), count - i, relu, sum,
                              product);
}

VECTOR_ENTRY void norm_sums(const struct gr_norm_channels *c, struct gr_norm_tensor dy,
                            struct gr_norm_tensor x, int64_t count, bool relu, float *sum,
                            float *product)
{
    const struct gr_norm_tensor wide[] = {{dy.data, false}, {x.data, false}};
    const struct gr_norm_tensor half[] = {{dy.data, true}, {x.data, true}};
    if (dy.bf16 != x.bf16)
        sums_of(c, dy, x, count, relu, sum, product);
    else if (x.bf16 && relu)
        sums_of(c, half[0], half[1], count, true, sum, product);
    else if (x.bf16)
        sums_of(c, half[0], half[1], count, false, sum, product);
    else if (relu)
        sums_of(c, wide[0], wide[1], count, true, sum, product);
    else
        sums_of(c, wide[0], wide[1], count, false, sum, product);
}

VECTOR int64_t gradient_by(int n, int64_t i, struct constants k, struct gr_norm_tensor dy,
                           struct gr_norm_tensor x, struct gr_norm_tensor dx, int64_t count,
                           bool relu)
{
    for (; i + n * LANES <= count; i += n * LANES) {
        UNROLL for (int v = 0; v < n; v++)
        {
            const int64_t at = i + v * LANES;
            const vector d = load(x.data, at, x.bf16) - k.mean[v % PARTS];
            const vector slope = slope_at(&k, d, dy, at, v, relu);
            const vector rest = multiply_add(d, k.slope[v % PARTS], k.shift[v % PARTS]);
            store(dx.data, at, multiply_add(k.scale[v % PARTS], slope, rest), dx.bf16);
        }
    }
    return i;
}

VECTOR void gradient_to(const struct gr_norm_channels *c, struct gr_norm_tensor dy,
                        struct gr_norm_tensor x, struct gr_norm_tensor dx, int64_t count, bool relu)
{
    const struct constants k = constants_of(c);
    int64_t i = gradient_by(MOST, 0, k, dy, x, dx, count, relu);
    i = gradient_by(PARTS, i, k, dy, x, dx, count, relu);
    gr_norm_kernel_plain.gradient(c, gr_norm_from(dy, i), gr_norm_from(x, i), gr_norm_from(dx, i),
                                  count - i, relu);
}

VECTOR_ENTRY void norm_gradient(const struct gr_norm_channels *c, struct gr_norm_tensor dy,
                                struct gr_norm_tensor x, struct gr_norm_tensor dx, int64_t count,
                                bool relu)
{
    const struct gr_norm_tensor wide[] = {{dy.data, false}, {x.data, false}, {dx.data, false}};
    const struct gr_norm_tensor half[] = {{dy.data, true}, {x.data, true}, {dx.data, true}};
    if (dy.bf16 != x.bf16 || x.bf16 != dx.bf16)
        gradient_to(c, dy, x, dx, count, relu);
    else if (x.bf16 && relu)
        gradient_to(c, half[0], half[1], half[2], count, true);
    else if (x.bf16)
        gradient_to(c, half[0], half[1], half[2], count, false);
    else if (relu)
        gradient_to(c, wide[0], wide[1], wide[2], count, true);
    else
        gradient_to(c, wide[0], wide[1], wide[2], count, false);
}
