/*
 * Placing an image: antialiased bilinear resizing in two passes of fixed-point weights, the columns
 * of each source row into an intermediate image, then the rows of that, and of both only what ends
 * up in the window. See gr_image_place in image.h.
 */
#include "data/image.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "data/decode.h"
#include "data/pixels.h"
#include "data/taps.h"

struct gr_placement gr_placement_whole(int64_t height, int64_t width)
{
    return (struct gr_placement){height, width, height, width, {0, 0, height, width}, false};
}

bool gr_placement_is_whole(const struct gr_placement *p)
{
    const struct gr_window *w = &p->window;
    return p->height == p->from_height && p->width == p->from_width && !w->top && !w->left &&
           w->height == p->height && w->width == p->width && !p->mirrored;
}

void gr_placement_cut(struct gr_placement *p, const struct gr_window *window)
{
    const struct gr_window old = p->window;
    p->window = *window;
    p->window.top += old.top;
    p->window.left =
        old.left + (p->mirrored ? old.width - window->left - window->width : window->left);
}

/* ---- taps -------------------------------------------------------------------------------- */

/* An axis of `in` pixels that becomes one of `out`, and the part of it that is wanted. */
struct axis {
    int64_t in, out, first, count;
};

static double triangle(double x)
{
    return fabs(x) < 1 ? 1 - fabs(x) : 0;
}

/* The source positions [*first, *last) that output position i takes from. */
static void span(const struct axis *axis, int64_t i, int64_t *first, int64_t *last)
{
    const double ratio = (double)axis->in / (double)axis->out, scale = ratio > 1 ? ratio : 1;
    const double centre = ((double)i + 0.5) * ratio;
    *first = (int64_t)floor(centre - scale);
    *last = (int64_t)ceil(centre + scale);
    *first = *first < 0 ? 0 : *first;
    *last = *last > axis->in ? axis->in : *last;
}

/* Rounds the weights so that they sum to exactly one: the largest takes the rest. */
static void set_weights(struct gr_taps *taps, const struct axis *axis, int64_t i, int64_t first)
{
    const double ratio = (double)axis->in / (double)axis->out, scale = ratio > 1 ? ratio : 1;
    const double centre = ((double)i + 0.5) * ratio;
    int32_t left = 1 << GR_WEIGHT_BITS, largest = 0;
    double sum = 0;
    for (int32_t k = 0; k < taps->count; k++)
        sum += triangle(((double)(first + k) + 0.5 - centre) / scale);
    for (int32_t k = 0; k < taps->count; k++) {
        const double x = ((double)(first + k) + 0.5 - centre) / scale;
        taps->weight[k] = (int16_t)lrint(triangle(x) / sum * (1 << GR_WEIGHT_BITS));
        left -= taps->weight[k];
        if (taps->weight[k] > taps->weight[largest])
            largest = k;
    }
    taps->weight[largest] = (int16_t)(taps->weight[largest] + left);
}

/*
 * The taps of the wanted positions, counted from source position `origin`; the buffer holds them
 * and their weights. NULL: out of memory.
 */
static struct gr_taps *make_taps(const struct axis *axis, int64_t origin, struct gr_buffer *buffer)
{
    const double ratio = (double)axis->in / (double)axis->out, scale = ratio > 1 ? ratio : 1;
    const size_t most = (2 * (size_t)ceil(scale) + 2 + GR_TAPS_GROUP - 1) / GR_TAPS_GROUP;
    const size_t row = most * GR_TAPS_GROUP * sizeof(int16_t);
    size_t bytes;
    if (!gr_size_multiply((size_t)axis->count, sizeof(struct gr_taps) + row, &bytes))
        return NULL;
    struct gr_taps *taps = (void *)gr_buffer_reserve(buffer, bytes);
    if (!taps)
        return NULL;
    int16_t *weight = (void *)(taps + axis->count);
    memset(weight, 0, (size_t)axis->count * row);
    for (int64_t i = 0; i < axis->count; i++) {
        int64_t first, last;
        span(axis, axis->first + i, &first, &last);
        assert(last > first && (size_t)(last - first) <= most * GR_TAPS_GROUP);
        taps[i] = (struct gr_taps){first - origin, (int32_t)(last - first),
                                   weight + (size_t)i * most * GR_TAPS_GROUP};
        set_weights(&taps[i], axis, axis->first + i, first);
    }
    return taps;
}

/* What of the source the wanted positions take from. */
static void axis_needs(const struct axis *axis, int64_t *first, int64_t *count)
{
    int64_t end, unused;
    *first = axis->first;
    *count = axis->count;
    if (axis->in == axis->out)
        return;
    span(axis, axis->first, first, &unused);
    span(axis, axis->first + axis->count - 1, &unused, &end);
    *count = end - *first;
}

static struct axis vertical(const struct gr_placement *p)
{
    return (struct axis){p->from_height, p->height, p->window.top, p->window.height};
}

static struct axis horizontal(const struct gr_placement *p)
{
    return (struct axis){p->from_width, p->width, p->window.left, p->window.width};
}

static bool is_resized(const struct gr_placement *p)
{
    return p->height != p->from_height || p->width != p->from_width;
}

struct gr_window gr_placement_needs(const struct gr_placement *placement)
{
    if (!is_resized(placement))
        return placement->window;
    const struct axis v = vertical(placement), h = horizontal(placement);
    struct gr_window needs;
    axis_needs(&v, &needs.top, &needs.height);
    axis_needs(&h, &needs.left, &needs.width);
    return needs;
}

/* ---- columns ----------------------------------------------------------------------------- */

/* No weight is negative and they sum to one, so the result needs no clamping. */
static uint8_t rounded(int32_t sum)
{
    return (uint8_t)((sum + (1 << (GR_WEIGHT_BITS - 1))) >> GR_WEIGHT_BITS);
}

/* One row of any view to [width, C]. */
static void resize_row(const struct gr_view *view, const uint8_t *row, const struct gr_taps *taps,
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

/* Source rows of view, each made width wide: [H, width, C]. */
static void resize_columns(const struct gr_view *view, const struct gr_taps *taps, int64_t width,
                           uint8_t *out)
{
    const size_t bytes = (size_t)width * (size_t)view->channels;
    int64_t h = gr_pixels_columns(view, taps, width, out);
    for (; h < view->height; h++)
        resize_row(view, view->pixels + (ptrdiff_t)h * view->row_stride, taps, width,
                   out + (size_t)h * bytes);
}

/* ---- rows -------------------------------------------------------------------------------- */

/* Rows of `bytes` bytes each, taken from the taps' source rows. */
static void resize_rows(const uint8_t *rows, const struct gr_taps *taps, int64_t height,
                        size_t bytes, uint8_t *out)
{
    for (int64_t h = 0; h < height; h++, out += bytes) {
        const uint8_t *src = rows + (size_t)taps[h].first * bytes;
        for (size_t i = gr_pixels_row(src, bytes, &taps[h], out); i < bytes; i++) {
            int32_t sum = 0;
            for (int32_t k = 0; k < taps[h].count; k++)
                sum += taps[h].weight[k] * src[(size_t)k * bytes + i];
            out[i] = rounded(sum);
        }
    }
}

/* ---- both -------------------------------------------------------------------------------- */

/* Bytes of [height, width, channels]; false when they overflow. */
static bool image_bytes(int64_t height, int64_t width, int channels, size_t *bytes)
{
    size_t row;
    return gr_size_multiply((size_t)width, (size_t)channels, &row) &&
           gr_size_multiply(row, (size_t)height, bytes) && *bytes <= PTRDIFF_MAX;
}

static bool resize(struct gr_view *view, const struct gr_placement *p,
                   struct gr_resize_scratch *scratch, struct gr_buffer *out, struct gr_error *err)
{
    const struct axis v = vertical(p), h = horizontal(p);
    const struct gr_window needs = gr_placement_needs(p);
    size_t rows_bytes, out_bytes;
    assert(view->height == needs.height && view->width == needs.width);
    if (v.count > GR_DECODE_PIXELS_MAX / h.count)
        return gr_fail(err, GR_ERR_DATA, "%lld×%lld pixels are more than the %d allowed",
                       (long long)v.count, (long long)h.count, GR_DECODE_PIXELS_MAX);
    if (!image_bytes(view->height, h.count, view->channels, &rows_bytes) ||
        !image_bytes(v.count, h.count, view->channels, &out_bytes))
        return gr_fail_memory(err, "resizing an image");
    uint8_t *rows = gr_buffer_reserve(&scratch->rows, rows_bytes);
    uint8_t *pixels = gr_buffer_reserve(out, out_bytes);
    const struct gr_taps *columns = make_taps(&h, needs.left, &scratch->columns);
    const struct gr_taps *lines = make_taps(&v, needs.top, &scratch->lines);
    if (!rows || !pixels || !columns || !lines)
        return gr_fail_memory(err, "resizing an image");
    resize_columns(view, columns, h.count, rows);
    resize_rows(rows, lines, v.count, out_bytes / (size_t)v.count, pixels);
    *view = gr_view_interleaved(pixels, view->channels, v.count, h.count);
    return true;
}

bool gr_image_place(struct gr_view *view, const struct gr_placement *placement,
                    struct gr_resize_scratch *scratch, struct gr_buffer *out, struct gr_error *err)
{
    if (is_resized(placement) && !resize(view, placement, scratch, out, err))
        return false;
    if (placement->mirrored)
        *view = gr_view_mirrored(view);
    return true;
}
