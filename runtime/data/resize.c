/*
 * Antialiased bilinear resizing in two passes of fixed-point weights: the columns of each source
 * row into an intermediate image, then the rows of that. See gr_image_resize in image.h.
 */
#include "data/image.h"

#include <assert.h>
#include <math.h>

enum { WEIGHT_BITS = 14, BLOCK = 32 };

/* What one output position takes from the input: count weights from first on, which sum to 1. */
struct taps {
    int64_t first;
    int32_t count;
    int32_t *weight;
};

static double triangle(double x)
{
    return fabs(x) < 1 ? 1 - fabs(x) : 0;
}

/* Rounds the weights so that they sum to exactly one: the largest takes the rest. */
static void set_weights(struct taps *taps, double centre, double scale, double sum)
{
    int32_t left = 1 << WEIGHT_BITS, largest = 0;
    for (int32_t k = 0; k < taps->count; k++) {
        const double x = ((double)(taps->first + k) + 0.5 - centre) / scale;
        taps->weight[k] = (int32_t)lrint(triangle(x) / sum * (1 << WEIGHT_BITS));
        left -= taps->weight[k];
        if (taps->weight[k] > taps->weight[largest])
            largest = k;
    }
    taps->weight[largest] += left;
}

/* The taps of all `out` positions; buffer holds them and their weights. NULL: out of memory. */
static struct taps *make_taps(int64_t in, int64_t out, struct gr_buffer *buffer)
{
    const double ratio = (double)in / (double)out, scale = ratio > 1 ? ratio : 1;
    size_t most = 2 * (size_t)ceil(scale) + 2, bytes;
    if (!gr_size_multiply((size_t)out, sizeof(struct taps) + most * sizeof(int32_t), &bytes))
        return NULL;
    struct taps *taps = (void *)gr_buffer_reserve(buffer, bytes);
    if (!taps)
        return NULL;
    int32_t *weight = (void *)(taps + out);
    for (int64_t i = 0; i < out; i++) {
        const double centre = ((double)i + 0.5) * ratio;
        int64_t first = (int64_t)floor(centre - scale), last = (int64_t)ceil(centre + scale);
        first = first < 0 ? 0 : first;
        last = last > in ? in : last;
        double sum = 0;
        for (int64_t k = first; k < last; k++)
            sum += triangle(((double)k + 0.5 - centre) / scale);
        assert(last > first && (size_t)(last - first) <= most && sum > 0);
        taps[i] = (struct taps){first, (int32_t)(last - first), weight + (size_t)i * most};
        set_weights(&taps[i], centre, scale, sum);
    }
    return taps;
}

/* No weight is negative and they sum to one, so the result needs no clamping. */
static uint8_t rounded(int32_t sum)
{
    return (uint8_t)((sum + (1 << (WEIGHT_BITS - 1))) >> WEIGHT_BITS);
}

/* One row of any view to [width, C]. */
static void resize_row(const struct gr_view *view, const uint8_t *row, const struct taps *taps,
                       int64_t width, uint8_t *out)
{
    for (int64_t w = 0; w < width; w++)
        for (int c = 0; c < view->channels; c++) {
            const uint8_t *src =
                row + c * view->channel_stride + (ptrdiff_t)taps[w].first * view->column_stride;
            int32_t sum = 0;
            for (int32_t k = 0; k < taps[w].count; k++)
                sum += taps[w].weight[k] * src[k * view->column_stride];
            *out++ = rounded(sum);
        }
}

/* The same for interleaved RGB, which is what comes out of JPEG files: twice as fast. */
static void resize_row_rgb(const uint8_t *row, const struct taps *taps, int64_t width, uint8_t *out)
{
    for (int64_t w = 0; w < width; w++, out += 3) {
        const uint8_t *src = row + 3 * taps[w].first;
        const int32_t *weight = taps[w].weight;
        int32_t sum[3] = {0};
        for (int32_t k = 0; k < taps[w].count; k++, src += 3)
            for (int c = 0; c < 3; c++)
                sum[c] += weight[k] * src[c];
        for (int c = 0; c < 3; c++)
            out[c] = rounded(sum[c]);
    }
}

/* Source rows of view, each made width wide: [H, width, C]. */
static void resize_columns(const struct gr_view *view, const struct taps *taps, int64_t width,
                           uint8_t *out)
{
    const bool rgb = view->channels == 3 && view->channel_stride == 1 && view->column_stride == 3;
    for (int64_t h = 0; h < view->height; h++, out += width * view->channels) {
        const uint8_t *row = view->pixels + (ptrdiff_t)h * view->row_stride;
        if (rgb)
            resize_row_rgb(row, taps, width, out);
        else
            resize_row(view, row, taps, width, out);
    }
}

/* BLOCK neighbouring bytes of one output row; src is their first in the taps' first row. */
static void resize_block(const uint8_t *src, size_t bytes, const struct taps *taps, uint8_t *out)
{
    int32_t sum[BLOCK] = {0};
    for (int32_t k = 0; k < taps->count; k++, src += bytes)
        for (int i = 0; i < BLOCK; i++)
            sum[i] += taps->weight[k] * src[i];
    for (int i = 0; i < BLOCK; i++)
        out[i] = rounded(sum[i]);
}

/* Rows of `bytes` bytes each, taken from the taps' source rows. */
static void resize_rows(const uint8_t *rows, const struct taps *taps, int64_t height, size_t bytes,
                        uint8_t *out)
{
    for (int64_t h = 0; h < height; h++, out += bytes) {
        const uint8_t *src = rows + (size_t)taps[h].first * bytes;
        size_t i = 0;
        for (; i + BLOCK <= bytes; i += BLOCK)
            resize_block(src + i, bytes, &taps[h], out + i);
        for (; i < bytes; i++) {
            int32_t sum = 0;
            for (int32_t k = 0; k < taps[h].count; k++)
                sum += taps[h].weight[k] * src[(size_t)k * bytes + i];
            out[i] = rounded(sum);
        }
    }
}

/* Bytes of [height, width, channels]; false when they overflow. */
static bool image_bytes(int64_t height, int64_t width, int channels, size_t *bytes)
{
    size_t row;
    return gr_size_multiply((size_t)width, (size_t)channels, &row) &&
           gr_size_multiply(row, (size_t)height, bytes) && *bytes <= PTRDIFF_MAX;
}

bool gr_image_resize(struct gr_view *view, int64_t height, int64_t width,
                     struct gr_resize_scratch *scratch, struct gr_buffer *out, struct gr_error *err)
{
    size_t rows_bytes, out_bytes;
    if (!image_bytes(view->height, width, view->channels, &rows_bytes) ||
        !image_bytes(height, width, view->channels, &out_bytes))
        return gr_fail_memory(err, "resizing an image");
    uint8_t *rows = gr_buffer_reserve(&scratch->rows, rows_bytes);
    uint8_t *pixels = gr_buffer_reserve(out, out_bytes);
    const struct taps *columns = make_taps(view->width, width, &scratch->weights);
    if (!rows || !pixels || !columns)
        return gr_fail_memory(err, "resizing an image");
    resize_columns(view, columns, width, rows);
    const struct taps *lines = make_taps(view->height, height, &scratch->weights);
    if (!lines)
        return gr_fail_memory(err, "resizing an image");
    resize_rows(rows, lines, height, out_bytes / (size_t)height, pixels);
    *view = gr_view_interleaved(pixels, view->channels, height, width);
    return true;
}
