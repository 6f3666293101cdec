/*
 * Vectors of eight floats with AVX2 and FMA, as the templates (rows_vector.h, norm_vector.h) want
 * them. To be included where the processor is x86-64.
 */
#ifndef GR_OPS_VECTOR_AVX2_H
#define GR_OPS_VECTOR_AVX2_H

#include <immintrin.h>

#include "rows.h"

#define TARGET __attribute__((target("avx2,fma")))
#define VECTOR TARGET static inline __attribute__((always_inline))
#define VECTOR_ENTRY TARGET static

enum { LANES = 8 };
typedef __m256 vector;

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

/* x where the gate is positive, else 0. */
VECTOR vector where_positive(vector gate, vector x)
{
    return _mm256_and_ps(_mm256_cmp_ps(gate, zero(), _CMP_GT_OQ), x);
}

/* Elements where the gate is positive, else 0. */
VECTOR vector load_positive(vector gate, const void *data, int64_t i, bool bf16)
{
    return where_positive(gate, load(data, i, bf16));
}

/* x where it is larger, else y. */
VECTOR vector largest(vector x, vector y)
{
    return _mm256_max_ps(x, y);
}

static inline bool supported(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

#endif
