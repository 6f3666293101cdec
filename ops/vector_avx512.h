/*
 * Vectors of sixteen floats with AVX-512, as the templates (rows_vector.h, norm_vector.h) want
 * them. Those of bf16 need its instructions; the target names them for all, but only code for bf16
 * contains any. To be included where the processor is x86-64.
 */
#ifndef GR_OPS_VECTOR_AVX512_H
#define GR_OPS_VECTOR_AVX512_H

#include <immintrin.h>

#include "rows.h"

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")))
#define VECTOR TARGET static inline __attribute__((always_inline))
#define VECTOR_ENTRY TARGET static

enum { LANES = 16 };
typedef __m512 vector;

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

/* x where the gate is positive, else 0. */
VECTOR vector where_positive(vector gate, vector x)
{
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(gate, zero(), _CMP_GT_OQ), x);
}

/* Elements where the gate is positive, else 0. */
VECTOR vector load_positive(vector gate, const void *data, int64_t i, bool bf16)
{
    const __mmask16 positive = _mm512_cmp_ps_mask(gate, zero(), _CMP_GT_OQ);
    if (!bf16)
        return _mm512_maskz_loadu_ps(positive, (const float *)data + i);
    const __m256i half = _mm256_loadu_si256((const void *)((const uint16_t *)data + i));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_maskz_cvtepu16_epi32(positive, half), 16));
}

/* x where it is larger, else y. */
VECTOR vector largest(vector x, vector y)
{
    return _mm512_max_ps(x, y);
}

static inline bool supported(bool bf16)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           (!bf16 || __builtin_cpu_supports("avx512bf16"));
}

#endif
