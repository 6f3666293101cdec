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
typedef __m128i places;
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

/* c - a · b */
VECTOR vector subtract_product(vector c, vector a, vector b)
{
    return _mm512_fnmadd_ps(a, b, c);
}

/* Lanes 1 to 16 of the thirty-two in `now` and `after`. */
VECTOR vector shifted_1(vector now, vector after)
{
    return _mm512_castsi512_ps(
        _mm512_alignr_epi32(_mm512_castps_si512(after), _mm512_castps_si512(now), 1));
}

/* Lanes 2 to 17. */
VECTOR vector shifted_2(vector now, vector after)
{
    return _mm512_castsi512_ps(
        _mm512_alignr_epi32(_mm512_castps_si512(after), _mm512_castps_si512(now), 2));
}

/* The last two lanes of `before`, and all but the last two of `now`. */
VECTOR vector last_2(vector before, vector now)
{
    return _mm512_castsi512_ps(
        _mm512_alignr_epi32(_mm512_castps_si512(now), _mm512_castps_si512(before), 14));
}

/* 1 / sqrt(x), to fourteen bits */
VECTOR vector estimated_root(vector x)
{
    return _mm512_rsqrt14_ps(x);
}

/* x where the gate is positive, else 0. */
VECTOR vector where_positive(vector gate, vector x)
{
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(gate, zero(), _CMP_GT_OQ), x);
}

/* x > y; not where either is NaN */
VECTOR choice larger(vector x, vector y)
{
    return _mm512_cmp_ps_mask(x, y, _CMP_GT_OQ);
}

/* x where it is larger, else y. */
VECTOR vector largest(vector x, vector y)
{
    return _mm512_max_ps(x, y);
}

VECTOR vector add_where(choice c, vector sum, vector x)
{
    return _mm512_mask_add_ps(sum, c, sum, x);
}

VECTOR places spread_place(int place)
{
    return _mm_set1_epi8((char)place);
}

VECTOR places choose_place(choice c, places yes, places no)
{
    return _mm_mask_mov_epi8(no, c, yes);
}

VECTOR choice equal(places a, places b)
{
    return _mm_cmpeq_epi8_mask(a, b);
}

VECTOR places load_places(const uint8_t *at)
{
    return _mm_loadu_si128((const void *)at);
}

VECTOR void store_places(uint8_t *at, places p)
{
    _mm_storeu_si128((void *)at, p);
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
    static const struct gr_pool_kernel kernel = {"avx512:blocked", pool_max, pool_spread,
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
