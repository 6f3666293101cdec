/*
 * The inner loops of resizing and writing pixels in AVX2. Each does what it can and says how much
 * that was, the rest is the caller's plain loop, which gives the same bits; without AVX2 it is all.
 */
#ifndef GR_DATA_PIXELS_AVX2_H
#define GR_DATA_PIXELS_AVX2_H

#include "data/image.h"
#include "data/taps.h"

/* Resizes rows of interleaved RGB to [rows, width, 3]; returns the rows done, from the first on. */
int64_t gr_pixels_avx2_columns(const struct gr_view *view, const struct gr_taps *taps,
                               int64_t width, uint8_t *out);

/* The weighted sum of rows of `bytes` bytes, which lie one after the other; returns the bytes done.
 */
size_t gr_pixels_avx2_row(const uint8_t *src, size_t bytes, const struct gr_taps *taps,
                          uint8_t *out);

/*
 * Writes one row of interleaved RGB, mirrored or not, into three planes of f32, as gr_view_write
 * does; plane c starts at out + c * plane. Returns the pixels done.
 */
int64_t gr_pixels_avx2_write(const uint8_t *row, ptrdiff_t column_stride, int64_t width,
                             const float *scale, const float *offset, float *out, int64_t plane);

#endif
