/*
 * The inner loops of resizing and writing pixels in AVX2; see pixels.h.
 *
 * Weights have 15 bits and pixels 8, so that vpmaddwd multiplies two of each and adds the products
 * without loss.
 */
#include "data/pixels.h"

#ifdef __x86_64__

#include <immintrin.h>
#include <string.h>

#define AVX2 __attribute__((target("avx2"))) static
#define INLINE inline __attribute__((always_inline))

enum { RGB = 3, HALF = 16, VECTOR = 32, FLOATS = 8 };

/* The same order of bytes in both halves. */
AVX2 inline __m256i in_both(__m128i order)
{
    return _mm256_broadcastsi128_si256(order);
}

/* The weights of two taps, in every pair of 16-bit numbers. */
AVX2 inline __m256i two_weights(const int16_t *weight)
{
    int32_t both;
    memcpy(&both, weight, sizeof both);
    return _mm256_set1_epi32(both);
}

/*
 * One pixel of two rows: rounded sums of red, green, blue and nothing, each row in its half. `few`,
 * which the compiler knows: four taps or fewer.
 */
AVX2 INLINE __m256i two_pixels(const uint8_t *above, const uint8_t *below,
                               const struct gr_taps *taps, bool few)
{
    /* Of the four pixels in a half, the first two side by side in 16 bits, red, green, blue; and
     * the last two. */
    const __m256i first =
        in_both(_mm_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1));
    const __m256i second =
        in_both(_mm_setr_epi8(6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1));
    __m256i sum = _mm256_set1_epi32(1 << (GR_WEIGHT_BITS - 1));
    for (int32_t k = 0; k < (few ? 1 : taps->count); k += GR_TAPS_GROUP) {
        const ptrdiff_t at = RGB * ((ptrdiff_t)taps->first + k);
        const __m256i four = _mm256_inserti128_si256(
            _mm256_castsi128_si256(_mm_loadu_si128((const void *)(above + at))),
            _mm_loadu_si128((const void *)(below + at)), 1);
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_shuffle_epi8(four, first),
                                                      two_weights(taps->weight + k)));
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_shuffle_epi8(four, second),
                                                      two_weights(taps->weight + k + 2)));
    }
    return _mm256_srli_epi32(sum, GR_WEIGHT_BITS);
}

/* Four pixels of two rows: in each half the 12 bytes of a row, and four of nothing. */
AVX2 INLINE __m256i four_pixels(const uint8_t *above, const uint8_t *below,
                                const struct gr_taps *taps, bool few)
{
    const __m256i colours =
        in_both(_mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1));
    const __m256i left = _mm256_packus_epi32(two_pixels(above, below, &taps[0], few),
                                             two_pixels(above, below, &taps[1], few));
    const __m256i right = _mm256_packus_epi32(two_pixels(above, below, &taps[2], few),
                                              two_pixels(above, below, &taps[3], few));
    return _mm256_shuffle_epi8(_mm256_packus_epi16(left, right), colours);
}

AVX2 inline void store_twelve(__m128i bytes, uint8_t *out)
{
    const int32_t last = _mm_extract_epi32(bytes, 2);
    _mm_storel_epi64((void *)out, bytes);
    memcpy(out + 8, &last, sizeof last);
}

AVX2 INLINE void two_rows(const uint8_t *above, const uint8_t *below, const struct gr_taps *taps,
                          int64_t width, bool few, uint8_t *out)
{
    uint8_t *next = out + RGB * width;
    int64_t w = 0;
    for (; w + 4 <= width; w += 4) {
        const __m256i pixels = four_pixels(above, below, &taps[w], few);
        store_twelve(_mm256_castsi256_si128(pixels), out + RGB * w);
        store_twelve(_mm256_extracti128_si256(pixels, 1), next + RGB * w);
    }
    for (; w < width; w++) {
        const __m256i pixel = two_pixels(above, below, &taps[w], few);
        const __m256i words = _mm256_packus_epi32(pixel, pixel);
        const __m256i bytes = _mm256_packus_epi16(words, words);
        const int32_t a = _mm256_extract_epi32(bytes, 0), b = _mm256_extract_epi32(bytes, 4);
        memcpy(out + RGB * w, &a, RGB);
        memcpy(next + RGB * w, &b, RGB);
    }
}

/* Rows two by two; returns how many. */
AVX2 int64_t all_rows(const struct gr_view *view, const struct gr_taps *taps, int64_t width,
                      bool few, uint8_t *out)
{
    int64_t h = 0;
    for (; h + 3 <= view->height; h += 2) {
        const uint8_t *row = view->pixels + (ptrdiff_t)h * view->row_stride;
        uint8_t *to = out + h * RGB * width;
        if (few)
            two_rows(row, row + view->row_stride, taps, width, true, to);
        else
            two_rows(row, row + view->row_stride, taps, width, false, to);
    }
    return h;
}

int64_t gr_pixels_avx2_columns(const struct gr_view *view, const struct gr_taps *taps,
                               int64_t width, uint8_t *out)
{
    const bool rgb =
        view->channels == RGB && view->channel_stride == 1 && view->column_stride == RGB;
    bool few = true;
    /* A load reaches up to 16 bytes beyond its taps: into the row below. */
    if (!rgb || view->row_stride < RGB * HALF || !__builtin_cpu_supports("avx2"))
        return 0;
    for (int64_t w = 0; w < width; w++)
        few = few && taps[w].count <= GR_TAPS_GROUP;
    return all_rows(view, taps, width, few, out);
}

/* Weighted sums of 32 neighbouring bytes, rounded to bytes again; packing undoes the unpacking. */
AVX2 inline __m256i weighted_bytes(const uint8_t *src, size_t bytes, const struct gr_taps *taps)
{
    const __m256i zero = _mm256_setzero_si256();
    __m256i sum[4];
    for (int i = 0; i < 4; i++)
        sum[i] = _mm256_set1_epi32(1 << (GR_WEIGHT_BITS - 1));
    for (int32_t k = 0; k < taps->count; k += 2, src += 2 * bytes) {
        const __m256i weights = two_weights(taps->weight + k);
        const __m256i a = _mm256_loadu_si256((const void *)src);
        /* An odd last tap: the weight beside it is zero, but what it would read may not exist. */
        const __m256i b = k + 1 < taps->count ? _mm256_loadu_si256((const void *)(src + bytes)) : a;
        const __m256i low = _mm256_unpacklo_epi8(a, b), high = _mm256_unpackhi_epi8(a, b);
        const __m256i pairs[4] = {_mm256_unpacklo_epi8(low, zero), _mm256_unpackhi_epi8(low, zero),
                                  _mm256_unpacklo_epi8(high, zero),
                                  _mm256_unpackhi_epi8(high, zero)};
        for (int i = 0; i < 4; i++)
            sum[i] = _mm256_add_epi32(sum[i], _mm256_madd_epi16(pairs[i], weights));
    }
    for (int i = 0; i < 4; i++)
        sum[i] = _mm256_srli_epi32(sum[i], GR_WEIGHT_BITS);
    return _mm256_packus_epi16(_mm256_packus_epi32(sum[0], sum[1]),
                               _mm256_packus_epi32(sum[2], sum[3]));
}

AVX2 void sum_rows(const uint8_t *src, size_t bytes, const struct gr_taps *taps, uint8_t *out,
                   size_t end)
{
    for (size_t i = 0; i < end; i += VECTOR)
        _mm256_storeu_si256((void *)(out + i), weighted_bytes(src + i, bytes, taps));
}

size_t gr_pixels_avx2_row(const uint8_t *src, size_t bytes, const struct gr_taps *taps,
                          uint8_t *out)
{
    if (!__builtin_cpu_supports("avx2"))
        return 0;
    const size_t end = bytes / VECTOR * VECTOR;
    sum_rows(src, bytes, taps, out, end);
    return end;
}

/* The orders that take every third of 24 bytes from c on, or back to c, out of the first 16 of them
 * and out of the last 16. */
AVX2 inline void set_order(int c, bool mirrored, __m128i order[2])
{
    uint8_t low[HALF], high[HALF];
    memset(low, 0x80, sizeof low); /* a zero */
    memset(high, 0x80, sizeof high);
    for (int i = 0; i < FLOATS; i++) {
        const int at = RGB * (mirrored ? FLOATS - 1 - i : i) + c;
        if (at < HALF)
            low[i] = (uint8_t)at;
        else
            high[i] = (uint8_t)(at - FLOATS);
    }
    order[0] = _mm_loadu_si128((const void *)low);
    order[1] = _mm_loadu_si128((const void *)high);
}

AVX2 void write_row(const uint8_t *row, bool mirrored, int64_t end, const float *scale,
                    const float *offset, float *out, int64_t plane)
{
    __m128i order[RGB][2];
    for (int c = 0; c < RGB; c++)
        set_order(c, mirrored, order[c]);
    for (int64_t w = 0; w < end; w += FLOATS) {
        const uint8_t *src = row + RGB * (mirrored ? 1 - FLOATS - w : w);
        const __m128i low = _mm_loadu_si128((const void *)src);
        const __m128i high = _mm_loadu_si128((const void *)(src + FLOATS));
        for (int c = 0; c < RGB; c++) {
            const __m128i bytes = _mm_or_si128(_mm_shuffle_epi8(low, order[c][0]),
                                               _mm_shuffle_epi8(high, order[c][1]));
            const __m256 pixels = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
            const __m256 scaled = _mm256_mul_ps(_mm256_set1_ps(scale[c]), pixels);
            _mm256_storeu_ps(out + c * plane + w, _mm256_add_ps(scaled, _mm256_set1_ps(offset[c])));
        }
    }
}

int64_t gr_pixels_avx2_write(const uint8_t *row, ptrdiff_t column_stride, int64_t width,
                             const float *scale, const float *offset, float *out, int64_t plane)
{
    const int64_t end = width / FLOATS * FLOATS;
    if (!__builtin_cpu_supports("avx2") || (column_stride != RGB && column_stride != -RGB))
        return 0;
    write_row(row, column_stride < 0, end, scale, offset, out, plane);
    return end;
}

#else

int64_t gr_pixels_avx2_columns(const struct gr_view *view, const struct gr_taps *taps,
                               int64_t width, uint8_t *out)
{
    (void)view, (void)taps, (void)width, (void)out;
    return 0;
}

size_t gr_pixels_avx2_row(const uint8_t *src, size_t bytes, const struct gr_taps *taps,
                          uint8_t *out)
{
    (void)src, (void)bytes, (void)taps, (void)out;
    return 0;
}

int64_t gr_pixels_avx2_write(const uint8_t *row, ptrdiff_t column_stride, int64_t width,
                             const float *scale, const float *offset, float *out, int64_t plane)
{
    (void)row, (void)column_stride, (void)width, (void)scale, (void)offset, (void)out, (void)plane;
    return 0;
}

#endif
