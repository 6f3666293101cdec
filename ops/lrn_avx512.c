/*
 * lrn for AVX-512; see lrn_avx512.h.
 *
 * Windows reach two channels into the neighbouring blocks: with the squares of the block before,
 * this one and the next in registers, the shifted vectors are concatenate-and-shift instructions. A
 * column is walked once; the backward keeps the next block's quotients ready in the same way.
 */
#include "lrn_avx512.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))

#include <immintrin.h>

#define AVX512 __attribute__((target("avx512f"))) static inline

bool gr_lrn_avx512_supported(void)
{
    return __builtin_cpu_supports("avx512f");
}

/* The sum over the window around each channel of `now`. */
AVX512 __m512 window(__m512 before, __m512 now, __m512 after)
{
    const __m512i b = _mm512_castps_si512(before), n = _mm512_castps_si512(now),
                  a = _mm512_castps_si512(after);
    const __m512 low = _mm512_add_ps(_mm512_castsi512_ps(_mm512_alignr_epi32(n, b, 14)),
                                     _mm512_castsi512_ps(_mm512_alignr_epi32(n, b, 15)));
    const __m512 high = _mm512_add_ps(_mm512_castsi512_ps(_mm512_alignr_epi32(a, n, 1)),
                                      _mm512_castsi512_ps(_mm512_alignr_epi32(a, n, 2)));
    return _mm512_add_ps(_mm512_add_ps(low, high), now);
}

/* 1 / sqrt(x): fourteen bits from the processor, and one step of Newton's method to 23. */
AVX512 __m512 reciprocal_root(__m512 x)
{
    const __m512 r = _mm512_rsqrt14_ps(x);
    const __m512 half = _mm512_mul_ps(_mm512_set1_ps(0.5f), x);
    const __m512 correction = _mm512_fnmadd_ps(_mm512_mul_ps(half, r), r, _mm512_set1_ps(1.5f));
    return _mm512_mul_ps(r, correction);
}

AVX512 __m512 load_square(const float *at, bool inside)
{
    const __m512 x = inside ? _mm512_loadu_ps(at) : _mm512_setzero_ps();
    return _mm512_mul_ps(x, x);
}

AVX512 __m512 normaliser(const struct gr_lrn_column *c, __m512 squares)
{
    return _mm512_fmadd_ps(_mm512_set1_ps(c->scale), squares, _mm512_set1_ps(c->k));
}

__attribute__((target("avx512f"))) void gr_lrn_avx512_forward(const struct gr_lrn_column *c,
                                                              const float *src, float *dst)
{
    __m512 before = _mm512_setzero_ps(), now = load_square(src, true);
    for (int64_t b = 0; b < c->blocks; b++) {
        const float *at = src + b * c->stride;
        const __m512 x = _mm512_loadu_ps(at);
        const __m512 after = load_square(at + c->stride, b + 1 < c->blocks);
        const __m512 root = reciprocal_root(normaliser(c, window(before, now, after)));
        /* s^-3/4 = s^-1/2 · (s^-1/2)^1/2, and y^1/2 = y · y^-1/2 */
        const __m512 power = _mm512_mul_ps(root, _mm512_mul_ps(root, reciprocal_root(root)));
        _mm512_storeu_ps(dst + b * c->stride, _mm512_mul_ps(x, power));
        before = now;
        now = after;
    }
}

/* What the backward needs of a block: dy · s^-3/4, src, and the quotient dy · src · s^-7/4. */
struct block {
    __m512 scaled, src, quotient;
};

AVX512 struct block block_of(const struct gr_lrn_column *c, __m512 dy, __m512 x, __m512 squares)
{
    const __m512 root = reciprocal_root(normaliser(c, squares));
    const __m512 power = _mm512_mul_ps(root, _mm512_mul_ps(root, reciprocal_root(root)));
    const __m512 scaled = _mm512_mul_ps(dy, power);
    const __m512 inverse = _mm512_mul_ps(root, root);
    return (struct block){scaled, x, _mm512_mul_ps(_mm512_mul_ps(scaled, x), inverse)};
}

__attribute__((target("avx512f"))) void
gr_lrn_avx512_backward(const struct gr_lrn_column *c, const float *dy, const float *src, float *dx)
{
    const __m512 factor = _mm512_set1_ps(-1.5f * c->scale), zero = _mm512_setzero_ps();
    __m512 squares[3] = {zero, load_square(src, true), zero}; /* before, now, after */
    __m512 quotient_before = zero;
    struct block now = {zero, zero, zero};
    /* Step b prepares block b and finishes block b - 1. */
    for (int64_t b = 0; b <= c->blocks; b++) {
        struct block next = {zero, zero, zero};
        if (b < c->blocks) {
            const int64_t at = b * c->stride;
            squares[2] = load_square(src + at + c->stride, b + 1 < c->blocks);
            next = block_of(c, _mm512_loadu_ps(dy + at), _mm512_loadu_ps(src + at),
                            window(squares[0], squares[1], squares[2]));
            squares[0] = squares[1];
            squares[1] = squares[2];
        }
        if (b > 0) {
            const __m512 sum = window(quotient_before, now.quotient, next.quotient);
            _mm512_storeu_ps(dx + (b - 1) * c->stride,
                             _mm512_fmadd_ps(_mm512_mul_ps(factor, now.src), sum, now.scaled));
            quotient_before = now.quotient;
        }
        now = next;
    }
}

#else

bool gr_lrn_avx512_supported(void)
{
    return false;
}

void gr_lrn_avx512_forward(const struct gr_lrn_column *column, const float *src, float *dst)
{
    (void)column, (void)src, (void)dst;
}

void gr_lrn_avx512_backward(const struct gr_lrn_column *column, const float *dy, const float *src,
                            float *dx)
{
    (void)column, (void)dy, (void)src, (void)dx;
}

#endif
