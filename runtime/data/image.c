/*
 * Views of pixels; see image.h. Resizing is in resize.c.
 */
#include "data/image.h"

#include "data/pixels.h"

#include <stdlib.h>

struct gr_view gr_view_interleaved(const uint8_t *pixels, int channels, int64_t height,
                                   int64_t width)
{
    return (struct gr_view){pixels,  channels, height, width, 1, (ptrdiff_t)width * channels,
                            channels};
}

struct gr_view gr_view_planar(const uint8_t *pixels, int channels, int64_t height, int64_t width)
{
    return (struct gr_view){pixels,           channels, height, width, (ptrdiff_t)(height * width),
                            (ptrdiff_t)width, 1};
}

struct gr_view gr_view_window(const struct gr_view *view, int64_t top, int64_t left, int64_t height,
                              int64_t width)
{
    struct gr_view window = *view;
    window.pixels += (ptrdiff_t)top * view->row_stride + (ptrdiff_t)left * view->column_stride;
    window.height = height;
    window.width = width;
    return window;
}

struct gr_view gr_view_mirrored(const struct gr_view *view)
{
    struct gr_view mirror = *view;
    mirror.pixels += (ptrdiff_t)(view->width - 1) * view->column_stride;
    mirror.column_stride = -view->column_stride;
    return mirror;
}

/* A constant stride lets the compiler vectorise, hence the two usual ones apart. */
static void write_row(const uint8_t *row, ptrdiff_t stride, int64_t width, float scale,
                      float offset, float *restrict out)
{
    if (stride == 1)
        for (int64_t w = 0; w < width; w++)
            out[w] = scale * (float)row[w] + offset;
    else
        for (int64_t w = 0; w < width; w++)
            out[w] = scale * (float)row[w * stride] + offset;
}

void gr_view_write(const struct gr_view *view, const float *scale, const float *offset, float *out)
{
    const bool rgb = view->channels == 3 && view->channel_stride == 1;
    const int64_t plane = view->height * view->width;
    for (int64_t h = 0; h < view->height; h++, out += view->width) {
        const uint8_t *row = view->pixels + (ptrdiff_t)h * view->row_stride;
        const int64_t w =
            rgb ? gr_pixels_write(row, view->column_stride, view->width, scale, offset, out, plane)
                : 0;
        row += (ptrdiff_t)w * view->column_stride;
        for (int c = 0; c < view->channels; c++)
            write_row(row + c * view->channel_stride, view->column_stride, view->width - w,
                      scale[c], offset[c], out + c * plane + w);
    }
}

uint8_t *gr_buffer_reserve(struct gr_buffer *buffer, size_t bytes)
{
    if (bytes <= buffer->size && buffer->data)
        return buffer->data;
    free(buffer->data);
    buffer->data = malloc(bytes ? bytes : 1);
    buffer->size = buffer->data ? bytes : 0;
    return buffer->data;
}

void gr_buffer_release(struct gr_buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct gr_buffer){0};
}

bool gr_view_make_dense(struct gr_view *view, struct gr_buffer *buffer)
{
    const int channels = view->channels;
    const bool interleaved = channels == 1 || view->channel_stride == 1;
    size_t row, bytes;
    if (interleaved && view->column_stride == channels && view->row_stride > 0)
        return true;
    if (!gr_size_multiply((size_t)view->width, (size_t)channels, &row) ||
        !gr_size_multiply(row, (size_t)view->height, &bytes))
        return false;
    uint8_t *out = gr_buffer_reserve(buffer, bytes), *to = out;
    for (int64_t h = 0; out && h < view->height; h++)
        for (int64_t w = 0; w < view->width; w++)
            for (int c = 0; c < channels; c++)
                *to++ = view->pixels[c * view->channel_stride + (ptrdiff_t)h * view->row_stride +
                                     (ptrdiff_t)w * view->column_stride];
    *view = gr_view_interleaved(out, channels, view->height, view->width);
    return out != NULL;
}

bool gr_size_multiply(size_t a, size_t b, size_t *product)
{
    if (b && a > SIZE_MAX / b)
        return false;
    *product = a * b;
    return true;
}
