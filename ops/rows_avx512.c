/*
 * The row kernels for AVX-512, sixteen lanes. Those for bf16 need its bf16 instructions; the target
 * names them for all, but only code for bf16 contains any.
 */
#include "rows.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))

#include "vector_avx512.h"

typedef __m128i places;
typedef __mmask16 choice;

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

/* x > y; not where either is NaN */
VECTOR choice larger(vector x, vector y)
{
    return _mm512_cmp_ps_mask(x, y, _CMP_GT_OQ);
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
