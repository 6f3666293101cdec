/*
 * The row kernels for AVX2 and FMA, eight lanes.
 */
#include "rows.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))

#include "vector_avx2.h"

typedef __m256i places;
typedef __m256i choice; /* all bits of a lane, or none */

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

/* x > y; not where either is NaN */
VECTOR choice larger(vector x, vector y)
{
    return _mm256_castps_si256(_mm256_cmp_ps(x, y, _CMP_GT_OQ));
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
