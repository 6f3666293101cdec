/*
 * The inner loops of resizing and writing pixels, in vectors. Each does what it can and says how
 * much that was; the rest is the caller's plain loop, which gives the same bits. Without the
 * processor's help that is all of it.
 */
#ifndef GR_DATA_PIXELS_H
#define GR_DATA_PIXELS_H

#include "data/image.h"
#include "data/taps.h"

/* Resizes rows of interleaved RGB to [rows, width, 3]; returns the rows done, from the first on. */
typedef int64_t gr_pixels_columns_fn(const struct gr_view *view, const struct gr_taps *taps,
                                     int64_t width, uint8_t *out);

/* The weighted sum of rows of `bytes` bytes, which lie one after the other; returns the bytes done.
 */
typedef size_t gr_pixels_row_fn(const uint8_t *src, size_t bytes, const struct gr_taps *taps,
                                uint8_t *out);

/*
 * Writes one row of interleaved RGB, mirrored or not, into three planes of f32, as gr_view_write
 * does; plane c starts at out + c * plane. Returns the pixels done.
 */
typedef int64_t gr_pixels_write_fn(const uint8_t *row, ptrdiff_t column_stride, int64_t width,
                                   const float *scale, const float *offset, float *out,
                                   int64_t plane);

/* The fastest that this processor has. */
gr_pixels_columns_fn gr_pixels_columns;
gr_pixels_row_fn gr_pixels_row;
gr_pixels_write_fn gr_pixels_write;

/* With AVX2. */
gr_pixels_columns_fn gr_pixels_avx2_columns;
gr_pixels_row_fn gr_pixels_avx2_row;
gr_pixels_write_fn gr_pixels_avx2_write;

/* With AVX-512 and its VBMI, which orders any of 64 bytes: Ice Lake, Zen 4 and later. */
gr_pixels_columns_fn gr_pixels_avx512_columns;
gr_pixels_row_fn gr_pixels_avx512_row;
gr_pixels_write_fn gr_pixels_avx512_write;

#endif
