/*
 * Which vectors take the pixels: the widest that say they can; see pixels.h.
 */
#include "data/pixels.h"

int64_t gr_pixels_columns(const struct gr_view *view, const struct gr_taps *taps, int64_t width,
                          uint8_t *out)
{
    const int64_t done = gr_pixels_avx512_columns(view, taps, width, out);
    return done ? done : gr_pixels_avx2_columns(view, taps, width, out);
}

size_t gr_pixels_row(const uint8_t *src, size_t bytes, const struct gr_taps *taps, uint8_t *out)
{
    const size_t done = gr_pixels_avx512_row(src, bytes, taps, out);
    return done ? done : gr_pixels_avx2_row(src, bytes, taps, out);
}

int64_t gr_pixels_write(const uint8_t *row, ptrdiff_t column_stride, int64_t width,
                        const float *scale, const float *offset, float *out, int64_t plane)
{
    const int64_t done =
        gr_pixels_avx512_write(row, column_stride, width, scale, offset, out, plane);
    return done ? done : gr_pixels_avx2_write(row, column_stride, width, scale, offset, out, plane);
}
