/*
 * The inner loops of resizing and writing pixels in AVX-512; see pixels.h.
 *
 * One vpermb brings any of 64 bytes, 21 pixels, to where they are multiplied: five resized pixels
 * at once, or sixteen of one colour.
 */
#include "data/pixels.h"

#ifdef __x86_64__

#include <immintrin.h>
#include <string.h>

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi"))) static

enum { RGB = 3, BYTES = 64, NUMBERS = 16, PIXELS = 5, PAIRS_MOST = 4, GROUPS = 32 };

static bool available(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vbmi");
}

/* The first n of 64. */
static __mmask64 first_of(size_t n)
{
    return n < BYTES ? (UINT64_C(1) << n) - 1 : ~UINT64_C(0);
}

/* ---- columns ----------------------------------------------------------------------------- */

/*
 * Up to five resized pixels of a row: 15 sums in 32 bits, each of pairs of products. order[p] takes
 * the bytes of pair p, the first into byte 0 and the second into byte 2 of a sum's four.
 */
struct group {
    ptrdiff_t at;     /* the byte of a row where its source begins */
    __mmask64 source; /* bytes from there */
    __mmask16 bytes;  /* of the result */
    __m512i order[PAIRS_MOST], weight[PAIRS_MOST];
};

/* Of n pixels; false: their source is more than one load. */
AVX512 bool set_group(struct group *group, const struct gr_taps *taps, int64_t n, int pairs)
{
    uint8_t order[PAIRS_MOST][BYTES] = {{0}};
    int16_t weight[PAIRS_MOST][BYTES / 2] = {{0}};
    const int64_t first = taps[0].first, end = taps[n - 1].first + taps[n - 1].count;
    if (RGB * (end - first) > BYTES)
        return false;
    for (int64_t i = 0; i < n; i++)
        for (int p = 0; p < pairs && 2 * p < taps[i].count; p++)
            for (int c = 0; c < RGB; c++) {
                const int64_t from = RGB * (taps[i].first - first + 2 * p) + c, to = RGB * i + c;
                order[p][4 * to] = (uint8_t)from;
                order[p][4 * to + 2] = (uint8_t)(from + RGB);
                weight[p][2 * to] = taps[i].weight[2 * p];
                weight[p][2 * to + 1] = taps[i].weight[2 * p + 1];
            }
    group->at = (ptrdiff_t)(RGB * first);
    group->source = first_of((size_t)(RGB * (end - first)));
    group->bytes = (__mmask16)first_of(RGB * (size_t)n);
    for (int p = 0; p < pairs; p++) {
        group->order[p] = _mm512_loadu_si512(order[p]);
        group->weight[p] = _mm512_loadu_si512(weight[p]);
    }
    return true;
}

AVX512 inline __attribute__((always_inline)) void resize_rows(const struct gr_view *view,
                                                              const struct group *groups, int count,
                                                              int pairs, uint8_t *out,
                                                              ptrdiff_t out_stride)
{
    const __mmask64 words = 0x5555555555555555; /* bytes below 8 zeros */
    for (int64_t h = 0; h < view->height; h++) {
        const uint8_t *row = view->pixels + (ptrdiff_t)h * view->row_stride;
        uint8_t *to = out + (ptrdiff_t)h * out_stride;
        for (int g = 0; g < count; g++, to += RGB * PIXELS) {
            const struct group *group = &groups[g];
            const __m512i src = _mm512_maskz_loadu_epi8(group->source, row + group->at);
            __m512i sum = _mm512_set1_epi32(1 << (GR_WEIGHT_BITS - 1));
            for (int p = 0; p < pairs; p++)
                sum = _mm512_add_epi32(sum, _mm512_madd_epi16(_mm512_maskz_permutexvar_epi8(
                                                                  words, group->order[p], src),
                                                              group->weight[p]));
            _mm_mask_storeu_epi8(to, group->bytes,
                                 _mm512_cvtepi32_epi8(_mm512_srli_epi32(sum, GR_WEIGHT_BITS)));
        }
    }
}

AVX512 bool resize_columns(const struct gr_view *view, const struct gr_taps *taps, int64_t width,
                           int pairs, uint8_t *out)
{
    struct group groups[GROUPS];
    for (int64_t w = 0; w < width;) {
        uint8_t *to = out + RGB * w;
        int count = 0;
        for (; count < GROUPS && w < width; count++, w += PIXELS)
            if (!set_group(&groups[count], taps + w, width - w < PIXELS ? width - w : PIXELS,
                           pairs))
                return false;
        if (pairs == 2) /* the usual ones, for which the compiler knows the count */
            resize_rows(view, groups, count, 2, to, RGB * (ptrdiff_t)width);
        else
            resize_rows(view, groups, count, pairs, to, RGB * (ptrdiff_t)width);
    }
    return true;
}

int64_t gr_pixels_avx512_columns(const struct gr_view *view, const struct gr_taps *taps,
                                 int64_t width, uint8_t *out)
{
    const bool rgb =
        view->channels == RGB && view->channel_stride == 1 && view->column_stride == RGB;
    int32_t most = 0;
    if (!rgb || !available())
        return 0;
    for (int64_t w = 0; w < width; w++)
        most = taps[w].count > most ? taps[w].count : most;
    if (most > 2 * PAIRS_MOST || !resize_columns(view, taps, width, (most + 1) / 2, out))
        return 0;
    return view->height;
}

/* ---- rows -------------------------------------------------------------------------------- */

/* Weighted sums of 64 neighbouring bytes, rounded to bytes again; packing undoes the unpacking. */
AVX512 inline __m512i weighted_bytes(const uint8_t *src, size_t bytes, __mmask64 mask,
                                     const struct gr_taps *taps)
{
    const __m512i zero = _mm512_setzero_si512();
    __m512i sum[4];
    for (int i = 0; i < 4; i++)
        sum[i] = _mm512_set1_epi32(1 << (GR_WEIGHT_BITS - 1));
    for (int32_t k = 0; k < taps->count; k += 2, src += 2 * bytes) {
        int32_t both;
        memcpy(&both, taps->weight + k, sizeof both);
        const __m512i weights = _mm512_set1_epi32(both);
        const __m512i a = _mm512_maskz_loadu_epi8(mask, src);
        /* An odd last tap: the weight beside it is zero, but what it would read may not exist. */
        const __m512i b = k + 1 < taps->count ? _mm512_maskz_loadu_epi8(mask, src + bytes) : a;
        const __m512i low = _mm512_unpacklo_epi8(a, b), high = _mm512_unpackhi_epi8(a, b);
        const __m512i pairs[4] = {_mm512_unpacklo_epi8(low, zero), _mm512_unpackhi_epi8(low, zero),
                                  _mm512_unpacklo_epi8(high, zero),
                                  _mm512_unpackhi_epi8(high, zero)};
        for (int i = 0; i < 4; i++)
            sum[i] = _mm512_add_epi32(sum[i], _mm512_madd_epi16(pairs[i], weights));
    }
    for (int i = 0; i < 4; i++)
        sum[i] = _mm512_srli_epi32(sum[i], GR_WEIGHT_BITS);
    return _mm512_packus_epi16(_mm512_packus_epi32(sum[0], sum[1]),
                               _mm512_packus_epi32(sum[2], sum[3]));
}

AVX512 void sum_rows(const uint8_t *src, size_t bytes, const struct gr_taps *taps, uint8_t *out)
{
    for (size_t i = 0; i < bytes; i += BYTES) {
        const __mmask64 mask = first_of(bytes - i);
        _mm512_mask_storeu_epi8(out + i, mask, weighted_bytes(src + i, bytes, mask, taps));
    }
}

size_t gr_pixels_avx512_row(const uint8_t *src, size_t bytes, const struct gr_taps *taps,
                            uint8_t *out)
{
    if (!available())
        return 0;
    sum_rows(src, bytes, taps, out);
    return bytes;
}

/* ---- writing ----------------------------------------------------------------------------- */

/* The order that takes every third byte from c on into the first byte of each number, or back to
 * that of the first pixel, if n pixels are mirrored. */
AVX512 inline __m512i order_of(int c, bool mirrored, int n)
{
    const __m512i numbers = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i pixels = mirrored ? _mm512_sub_epi32(_mm512_set1_epi32(n - 1), numbers) : numbers;
    return _mm512_add_epi32(_mm512_mullo_epi32(pixels, _mm512_set1_epi32(RGB)),
                            _mm512_set1_epi32(c));
}

/* n pixels, of which the leftmost in memory is at src. */
AVX512 inline void write_pixels(const uint8_t *src, int n, const __m512i order[RGB],
                                const float *scale, const float *offset, float *out, int64_t plane)
{
    const __mmask64 first_bytes = 0x1111111111111111; /* of four */
    const __mmask16 mask = (__mmask16)first_of((size_t)n);
    const __m512i bytes = _mm512_maskz_loadu_epi8(first_of(RGB * (size_t)n), src);
    for (int c = 0; c < RGB; c++) {
        const __m512i numbers = _mm512_maskz_permutexvar_epi8(first_bytes, order[c], bytes);
        const __m512 scaled = _mm512_mul_ps(_mm512_set1_ps(scale[c]), _mm512_cvtepi32_ps(numbers));
        _mm512_mask_storeu_ps(out + c * plane, mask,
                              _mm512_add_ps(scaled, _mm512_set1_ps(offset[c])));
    }
}

AVX512 void write_row(const uint8_t *row, bool mirrored, int64_t width, const float *scale,
                      const float *offset, float *out, int64_t plane)
{
    const int64_t end = width / NUMBERS * NUMBERS;
    const int rest = (int)(width - end);
    __m512i order[RGB];
    for (int c = 0; c < RGB; c++)
        order[c] = order_of(c, mirrored, NUMBERS);
    for (int64_t w = 0; w < end; w += NUMBERS)
        write_pixels(row + RGB * (mirrored ? 1 - NUMBERS - w : w), NUMBERS, order, scale, offset,
                     out + w, plane);
    if (!rest)
        return;
    for (int c = 0; c < RGB; c++)
        order[c] = order_of(c, mirrored, rest);
    write_pixels(row + RGB * (mirrored ? 1 - rest - end : end), rest, order, scale, offset,
                 out + end, plane);
}

int64_t gr_pixels_avx512_write(const uint8_t *row, ptrdiff_t column_stride, int64_t width,
                               const float *scale, const float *offset, float *out, int64_t plane)
{
    if ((column_stride != RGB && column_stride != -RGB) || !available())
        return 0;
    write_row(row, column_stride < 0, width, scale, offset, out, plane);
    return width;
}

#else

int64_t gr_pixels_avx512_columns(const struct gr_view *view, const struct gr_taps *taps,
                                 int64_t width, uint8_t *out)
{
    (void)view, (void)taps, (void)width, (void)out;
    return 0;
}

size_t gr_pixels_avx512_row(const uint8_t *src, size_t bytes, const struct gr_taps *taps,
                            uint8_t *out)
{
    (void)src, (void)bytes, (void)taps, (void)out;
    return 0;
}

int64_t gr_pixels_avx512_write(const uint8_t *row, ptrdiff_t column_stride, int64_t width,
                               const float *scale, const float *offset, float *out, int64_t plane)
{
    (void)row, (void)column_stride, (void)width, (void)scale, (void)offset, (void)out, (void)plane;
    return 0;
}

#endif
