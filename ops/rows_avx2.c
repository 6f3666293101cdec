/*
 * The row kernels for AVX2 and FMA, eight lanes.
 */
#include "rows.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))

#include <immintrin.h>

#define TARGET __attribute__((target("avx2,fma")))
#define VECTOR TARGET static inline __attribute__((always_inline))
#define VECTOR_ENTRY TARGET static

enum { LANES = 8 };
typedef __m256 vector;
typedef __m256i places;
typedef __m256i choice; /* all bits of a lane, or none */

VECTOR vector zero(void)
{
    return _mm256_setzero_ps();
}

VECTOR vector spread(float x)
{
    return _mm256_set1_ps(x);
}

VECTOR vector load(const void *data, int64_t i, bool bf16)
{
    if (!bf16)
        return _mm256_loadu_ps((const float *)data + i);
    const __m128i half = _mm_loadu_si128((const void *)((const uint16_t *)data + i));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}

/* bf16 is the upper half of the nearest; halfway, of the even one. A NaN stays one, made quiet. */
VECTOR __m256i rounded(vector x)
{
    const __m256i bits = _mm256_castps_si256(x);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i up = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
    const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    return _mm256_srli_epi32(_mm256_blendv_epi8(up, quiet, nan), 16);
}

VECTOR void store(void *data, int64_t i, vector x, bool bf16)
{
    if (!bf16) {
        _mm256_storeu_ps((float *)data + i, x);
        return;
    }
    const __m256i r = rounded(x);
    _mm_storeu_si128((void *)((uint16_t *)data + i),
                     _mm_packus_epi32(_mm256_castsi256_si128(r), _mm256_extracti128_si256(r, 1)));
}

VECTOR vector multiply_add(vector a, vector b, vector c)
{
    return _mm256_fmadd_ps(a, b, c);
}

/* c - a · b */
VECTOR vector subtract_product(vector c, vector a, vector b)
{
    return _mm256_fnmadd_ps(a, b, c);
}

/* The upper half of `low` and the lower half of `high`. */
VECTOR __m256i middle(vector low, vector high)
{
    return _mm256_permute2x128_si256(_mm256_castps_si256(low), _mm256_castps_si256(high), 0x21);
}

/* Lanes 1 to 8 of the sixteen in `now` and `after`. */
VECTOR vector shifted_1(vector now, vector after)
{
    return _mm256_castsi256_ps(_mm256_alignr_epi8(middle(now, after), _mm256_castps_si256(now), 4));
}

/* Lanes 2 to 9. */
VECTOR vector shifted_2(vector now, vector after)
{
    return _mm256_castsi256_ps(_mm256_alignr_epi8(middle(now, after), _mm256_castps_si256(now), 8));
}

/* The last two lanes of `before`, and all but the last two of `now`. */
VECTOR vector last_2(vector before, vector now)
{
    return _mm256_castsi256_ps(
        _mm256_alignr_epi8(_mm256_castps_si256(now), middle(before, now), 8));
}

/* 1 / sqrt(x), to eleven bits and a half */
VECTOR vector estimated_root(vector x)
{
    return _mm256_rsqrt_ps(x);
}

/* x where the gate is positive, else 0. */
VECTOR vector where_positive(vector gate, vector x)
{
    return _mm256_and_ps(_mm256_cmp_ps(gate, zero(), _CMP_GT_OQ), x);
}

/* x > y; not where either is NaN */
VECTOR choice larger(vector x, vector y)
{
    return _mm256_castps_si256(_mm256_cmp_ps(x, y, _CMP_GT_OQ));
}

/* x where it is larger, else y. */
VECTOR vector largest(vector x, vector y)
{
    return _mm256_max_ps(x, y);
}

VECTOR vector add_where(choice c, vector sum, vector x)
{
    return sum + _mm256_and_ps(_mm256_castsi256_ps(c), x);
}

VECTOR places spread_place(int place)
{
    return _mm256_set1_epi32(place);
}

VECTOR places choose_place(choice c, places yes, places no)
{
    return _mm256_blendv_epi8(no, yes, c);
}

VECTOR choice equal(places a, places b)
{
    return _mm256_cmpeq_epi32(a, b);
}

VECTOR places load_places(const uint8_t *at)
{
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const void *)at));
}

VECTOR void store_places(uint8_t *at, places p)
{
    const __m128i words =
        _mm_packus_epi32(_mm256_castsi256_si128(p), _mm256_extracti128_si256(p, 1));
    _mm_storel_epi64((void *)at, _mm_packus_epi16(words, words));
}

#include "rows_vector.h"

static bool supported(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

const struct gr_lrn_kernel *gr_lrn_kernel_avx2(bool bf16)
{
    static const struct gr_lrn_kernel kernel = {"avx2:blocked", lrn_forward, lrn_backward};
    (void)bf16;
    return supported() ? &kernel : NULL;
}

const struct gr_pool_kernel *gr_pool_kernel_avx2(bool bf16)
{
    static const struct gr_pool_kernel kernel = {"avx2:blocked", pool_max, pool_spread, pool_store};
    (void)bf16;
    return supported() ? &kernel : NULL;
}

#else

const struct gr_lrn_kernel *gr_lrn_kernel_avx2(bool bf16)
{
    (void)bf16;
    return NULL;
}

const struct gr_pool_kernel *gr_pool_kernel_avx2(bool bf16)
{
    (void)bf16;
    return NULL;
}

#endif
