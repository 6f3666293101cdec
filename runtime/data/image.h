/*
 * Images on their way from a file to the network: views of 8-bit pixels. A view is a pointer and
 * three strides, so that cropping is an offset, mirroring a negative stride, and planar and
 * interleaved sources read alike, all without copying.
 */
#ifndef GR_DATA_IMAGE_H
#define GR_DATA_IMAGE_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

enum { GR_CHANNELS_MAX = 4 };

/* Pixel (c, h, w) is pixels[c * channel_stride + h * row_stride + w * column_stride]. Borrows. */
struct gr_view {
    const uint8_t *pixels;
    int channels;
    int64_t height, width;
    ptrdiff_t channel_stride, row_stride, column_stride;
};

/* A dense view of interleaved [H, W, C] or planar [C, H, W] bytes. */
struct gr_view gr_view_interleaved(const uint8_t *pixels, int channels, int64_t height,
                                   int64_t width);
struct gr_view gr_view_planar(const uint8_t *pixels, int channels, int64_t height, int64_t width);

/* The height×width window whose corner is at (top, left); it must lie inside. */
struct gr_view gr_view_window(const struct gr_view *view, int64_t top, int64_t left, int64_t height,
                              int64_t width);
struct gr_view gr_view_mirrored(const struct gr_view *view);

/* Writes scale[c] * pixel + offset[c] as f32 [C, H, W]. */
void gr_view_write(const struct gr_view *view, const float *scale, const float *offset, float *out);

/* Bytes that are reused and only ever grow. Zero-initialised is empty. */
struct gr_buffer {
    uint8_t *data;
    size_t size;
};

/* At least bytes of it, or NULL: out of memory. What it held is lost when it grows. */
uint8_t *gr_buffer_reserve(struct gr_buffer *buffer, size_t bytes);
void gr_buffer_release(struct gr_buffer *buffer);

/* Interleaved and its columns dense: a copy in the buffer, unless it is. False: out of memory. */
bool gr_view_make_dense(struct gr_view *view, struct gr_buffer *buffer);

/* a * b in *product, false when it overflows; either may be 0. */
bool gr_size_multiply(size_t a, size_t b, size_t *product);

/* A rectangle of pixels. */
struct gr_window {
    int64_t top, left, height, width;
};

/*
 * What is to become of an image's pixels: resized to height×width, cut to a window of that, maybe
 * mirrored. Resizing, cropping and flipping only change this; the pixels move once, in
 * gr_image_place, and those outside the window are never computed, nor decoded.
 */
struct gr_placement {
    int64_t from_height, from_width; /* of the image */
    int64_t height, width;
    struct gr_window window;
    bool mirrored;
};

/* The image as it is. */
struct gr_placement gr_placement_whole(int64_t height, int64_t width);
bool gr_placement_is_whole(const struct gr_placement *placement);

/* Cuts a window, which must lie inside, out of what the placement shows so far. */
void gr_placement_cut(struct gr_placement *placement, const struct gr_window *window);

/* The part of the image that the placement's window is made of. */
struct gr_window gr_placement_needs(const struct gr_placement *placement);

/* Working memory of gr_image_place. */
struct gr_resize_scratch {
    struct gr_buffer rows, columns, lines;
};

/*
 * Takes *view, which shows the part of the image that the placement needs, to what the placement
 * says. Where it resizes, the pixels are made in out (grown to hold them); otherwise nothing is
 * copied.
 *
 * Resizing is bilinear, its triangle widened by the reduction where the image shrinks, so that
 * every source pixel counts (antialiasing): output pixel i is centred on (i + 1/2) * in / out,
 * weights are normalised at the edges. Columns first, then rows, each rounded to 8 bits.
 */
bool gr_image_place(struct gr_view *view, const struct gr_placement *placement,
                    struct gr_resize_scratch *scratch, struct gr_buffer *out, struct gr_error *err);

#endif
