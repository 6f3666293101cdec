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

/* The sum over the window around each channel of `now`. */
VECTOR vector window(vector before, vector now, vector after)
{
    const __m256i b = _mm256_castps_si256(before), n = _mm256_castps_si256(now),
                  a = _mm256_castps_si256(after);
    /* Channels from the upper half of one register and the lower half of the next. */
    const __m256i left = _mm256_permute2x128_si256(b, n, 0x21);
    const __m256i right = _mm256_permute2x128_si256(n, a, 0x21);
    return (_mm256_castsi256_ps(_mm256_alignr_epi8(n, left, 8)) +
            _mm256_castsi256_ps(_mm256_alignr_epi8(n, left, 12))) +
           (_mm256_castsi256_ps(_mm256_alignr_epi8(right, n, 4)) +
            _mm256_castsi256_ps(_mm256_alignr_epi8(right, n, 8))) +
           now;
}

/* 1 / sqrt(x): twelve bits from the processor, and one step of Newton's method to 23. */
VECTOR vector reciprocal_root(vector x)
{
    const vector r = _mm256_rsqrt_ps(x);
    return r * _mm256_fnmadd_ps(spread(0.5f) * x * r, r, spread(1.5f));
}

/* x where the gate is positive, else 0. */
VECTOR vector where_positive(vector gate, vector x)
{
    return _mm256_and_ps(_mm256_cmp_ps(gate, zero(), _CMP_GT_OQ), x);
}

/* x > y, or x is NaN */
VECTOR choice larger(vector x, vector y)
{
    return _mm256_castps_si256(
        _mm256_or_ps(_mm256_cmp_ps(x, y, _CMP_GT_OQ), _mm256_cmp_ps(x, x, _CMP_UNORD_Q)));
}

VECTOR vector choose(choice c, vector yes, vector no)
{
    return _mm256_blendv_ps(no, yes, _mm256_castsi256_ps(c));
}

VECTOR vector add_where(choice c, vector sum, vector x)
{
    return choose(c, sum + x, sum);
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
    static const struct gr_pool_kernel kernel = {"avx2:blocked", pool_max, pool_expand, pool_store};
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
