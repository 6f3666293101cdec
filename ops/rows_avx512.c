/*
 * The row kernels for AVX-512, sixteen lanes. Those for bf16 need its bf16 instructions; the target
 * names them for all, but only code for bf16 contains any.
 */
#include "rows.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))

#include <immintrin.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")))
#define VECTOR TARGET static inline __attribute__((always_inline))
#define VECTOR_ENTRY TARGET static

enum { LANES = 16 };
typedef __m512 vector;
typedef __m512i places;
typedef __mmask16 choice;

VECTOR vector zero(void)
{
    return _mm512_setzero_ps();
}

VECTOR vector spread(float x)
{
    return _mm512_set1_ps(x);
}

VECTOR vector load(const void *data, int64_t i, bool bf16)
{
    if (!bf16)
        return _mm512_loadu_ps((const float *)data + i);
    const __m256i half = _mm256_loadu_si256((const void *)((const uint16_t *)data + i));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

VECTOR void store(void *data, int64_t i, vector x, bool bf16)
{
    if (!bf16)
        _mm512_storeu_ps((float *)data + i, x);
    else
        _mm256_storeu_si256((void *)((uint16_t *)data + i), (__m256i)_mm512_cvtneps_pbh(x));
}

VECTOR vector multiply_add(vector a, vector b, vector c)
{
    return _mm512_fmadd_ps(a, b, c);
}

/* The sum over the window around each channel of `now`. */
VECTOR vector window(vector before, vector now, vector after)
{
    const __m512i b = _mm512_castps_si512(before), n = _mm512_castps_si512(now),
                  a = _mm512_castps_si512(after);
    return (_mm512_castsi512_ps(_mm512_alignr_epi32(n, b, 14)) +
            _mm512_castsi512_ps(_mm512_alignr_epi32(n, b, 15))) +
           (_mm512_castsi512_ps(_mm512_alignr_epi32(a, n, 1)) +
            _mm512_castsi512_ps(_mm512_alignr_epi32(a, n, 2))) +
           now;
}

/* 1 / sqrt(x): fourteen bits from the processor, and one step of Newton's method to 23. */
VECTOR vector reciprocal_root(vector x)
{
    const vector r = _mm512_rsqrt14_ps(x);
    return r * _mm512_fnmadd_ps(spread(0.5f) * x * r, r, spread(1.5f));
}

/* x where the gate is positive, else 0. */
VECTOR vector where_positive(vector gate, vector x)
{
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(gate, zero(), _CMP_GT_OQ), x);
}

/* x > y, or x is NaN */
VECTOR choice larger(vector x, vector y)
{
    return _mm512_cmp_ps_mask(x, y, _CMP_GT_OQ) | _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
}

VECTOR vector choose(choice c, vector yes, vector no)
{
    return _mm512_mask_mov_ps(no, c, yes);
}

VECTOR vector add_where(choice c, vector sum, vector x)
{
    return _mm512_mask_add_ps(sum, c, sum, x);
}

VECTOR places spread_place(int place)
{
    return _mm512_set1_epi32(place);
}

VECTOR places choose_place(choice c, places yes, places no)
{
    return _mm512_mask_mov_epi32(no, c, yes);
}

VECTOR choice equal(places a, places b)
{
    return _mm512_cmpeq_epi32_mask(a, b);
}

VECTOR places load_places(const uint8_t *at)
{
    return _mm512_cvtepu8_epi32(_mm_loadu_si128((const void *)at));
}

VECTOR void store_places(uint8_t *at, places p)
{
    _mm_storeu_si128((void *)at, _mm512_cvtepi32_epi8(p));
}

#include "rows_vector.h"

static bool supported(bool bf16)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           (!bf16 || __builtin_cpu_supports("avx512bf16"));
}

const struct gr_lrn_kernel *gr_lrn_kernel_avx512(bool bf16)
{
    static const struct gr_lrn_kernel kernel = {"avx512:blocked", lrn_forward, lrn_backward};
    return supported(bf16) ? &kernel : NULL;
}

const struct gr_pool_kernel *gr_pool_kernel_avx512(bool bf16)
{
    static const struct gr_pool_kernel kernel = {"avx512:blocked", pool_max, pool_expand,
                                                 pool_store};
    return supported(bf16) ? &kernel : NULL;
}

#else

const struct gr_lrn_kernel *gr_lrn_kernel_avx512(bool bf16)
{
    (void)bf16;
    return NULL;
}

const struct gr_pool_kernel *gr_pool_kernel_avx512(bool bf16)
{
    (void)bf16;
    return NULL;
}

#endif
