/*
 * Transforms of size, position and colour, on 8-bit pixels: resize, crop, flip, grayscale. The
 * first three say where pixels go (struct gr_placement) and touch none.
 */
#include "data/transform.h"

#include <inttypes.h>
#include <string.h>

enum { SIDE_MAX = 1 << 16 };
static const int64_t pixels_max = INT64_C(1) << 28; /* of one image */

/* ---- resize ------------------------------------------------------------------------------ */

struct resize_attrs {
    int64_t shortest;
    int64_t size[2];
};

static const struct gr_attr resize_table[] = {
    {.name = "shortest",
     .type = GR_ATTR_INT,
     .offset = offsetof(struct resize_attrs, shortest),
     .max = SIDE_MAX,
     .doc = "length of the shorter side; the other keeps the proportions"},
    {.name = "size",
     .type = GR_ATTR_SIZE2,
     .offset = offsetof(struct resize_attrs, size),
     .max = SIDE_MAX,
     .doc = "height and width, whatever becomes of the proportions"},
    {.name = NULL},
};

static bool resize_check(const void *attrs, struct gr_error *err)
{
    const struct resize_attrs *a = attrs;
    const bool size = a->size[0] > 0 && a->size[1] > 0;
    if (a->shortest > 0 && (a->size[0] || a->size[1]))
        return gr_fail(err, GR_ERR_MODEL, "resize: shortest and size exclude each other");
    if (a->shortest <= 0 && !size)
        return gr_fail(err, GR_ERR_MODEL, "resize: give shortest or size, at least 1");
    return true;
}

static void resized(const struct resize_attrs *a, int64_t height, int64_t width, int64_t out[2])
{
    const int64_t shortest = height < width ? height : width;
    out[0] = a->shortest ? height * a->shortest / shortest : a->size[0];
    out[1] = a->shortest ? width * a->shortest / shortest : a->size[1];
}

static bool resize_infer(const void *attrs, struct gr_extent *extent, struct gr_error *err)
{
    const struct resize_attrs *a = attrs;
    (void)err;
    if (a->shortest && !extent->height) {
        extent->low_height = extent->low_width = a->shortest;
        return true;
    }
    int64_t out[2];
    resized(a, extent->height, extent->width, out);
    extent->height = extent->low_height = out[0];
    extent->width = extent->low_width = out[1];
    return true;
}

static enum gr_placing resize_place(const void *attrs, struct gr_draft *sample,
                                    struct gr_error *err)
{
    struct gr_placement *p = &sample->placement;
    int64_t out[2];
    resized(attrs, p->window.height, p->window.width, out);
    if (out[0] == p->window.height && out[1] == p->window.width)
        return GR_PLACING_DONE;
    if (!gr_placement_is_whole(p))
        return GR_PLACING_LATER;
    if (out[0] > pixels_max / out[1]) {
        gr_fail(err, GR_ERR_DATA,
                "resize: %" PRId64 "×%" PRId64 " would become %" PRId64 "×%" PRId64
                ", more than %" PRId64 " pixels",
                p->height, p->width, out[0], out[1], pixels_max);
        return GR_PLACING_FAILED;
    }
    p->height = p->window.height = out[0];
    p->width = p->window.width = out[1];
    return GR_PLACING_DONE;
}

static void resize_target(const void *attrs, struct gr_source_target *target)
{
    const struct resize_attrs *a = attrs;
    *target = (struct gr_source_target){
        .shortest = a->shortest, .height = a->size[0], .width = a->size[1]};
}

const struct gr_transform gr_transform_resize = {
    .kind = {"resize", "resizes, bilinear and antialiased", resize_table,
             sizeof(struct resize_attrs)},
    .check = resize_check,
    .infer = resize_infer,
    .place = resize_place,
    .target = resize_target,
};

/* ---- crop -------------------------------------------------------------------------------- */

enum crop_mode { CROP_CENTER, CROP_RANDOM };
static const char *const crop_modes[] = {"center", "random", NULL};

struct crop_attrs {
    int64_t size[2];
    int mode;
    int64_t pad;
};

static const struct gr_attr crop_table[] = {
    {.name = "size",
     .type = GR_ATTR_SIZE2,
     .offset = offsetof(struct crop_attrs, size),
     .required = true,
     .min = 1,
     .max = SIDE_MAX,
     .doc = "height and width to cut out"},
    {.name = "mode",
     .type = GR_ATTR_ENUM,
     .offset = offsetof(struct crop_attrs, mode),
     .choices = crop_modes,
     .doc = "where: in the middle, or anywhere, anew each epoch"},
    {.name = "pad",
     .type = GR_ATTR_INT,
     .offset = offsetof(struct crop_attrs, pad),
     .max = SIDE_MAX,
     .doc = "black pixels put around the image first"},
    {.name = NULL},
};

static bool crop_infer(const void *attrs, struct gr_extent *extent, struct gr_error *err)
{
    const struct crop_attrs *a = attrs;
    const int64_t height = extent->low_height + 2 * a->pad, width = extent->low_width + 2 * a->pad;
    /* Images of unknown size (low 1) are checked one by one. */
    if ((extent->height || extent->low_height > 1) && (a->size[0] > height || a->size[1] > width))
        return gr_fail(err, GR_ERR_DATA,
                       "crop: %" PRId64 "×%" PRId64 " does not fit into images that may be %" PRId64
                       "×%" PRId64 "%s: resize to more before, or pad",
                       a->size[0], a->size[1], height, width, a->pad ? " with the padding" : "");
    extent->height = extent->low_height = a->size[0];
    extent->width = extent->low_width = a->size[1];
    return true;
}

/* The window to cut out of an image of that size, which may reach into the padding. */
static bool crop_window(const struct crop_attrs *a, const struct gr_draft *sample,
                        int64_t image_height, int64_t image_width, struct gr_window *window,
                        struct gr_error *err)
{
    const int64_t height = a->size[0], width = a->size[1];
    const int64_t down = image_height + 2 * a->pad - height;
    const int64_t right = image_width + 2 * a->pad - width;
    if (down < 0 || right < 0)
        return gr_fail(err, GR_ERR_DATA,
                       "crop: %" PRId64 "×%" PRId64 " does not fit into an image of %" PRId64
                       "×%" PRId64 ": put a resize before the crop",
                       height, width, image_height, image_width);
    *window = (struct gr_window){down / 2, right / 2, height, width};
    if (a->mode == CROP_RANDOM) {
        const uint64_t first = sample->block * 2;
        window->top = (int64_t)gr_random_below(&sample->key, first, (uint64_t)down + 1);
        window->left = (int64_t)gr_random_below(&sample->key, first + 1, (uint64_t)right + 1);
    }
    window->top -= a->pad;
    window->left -= a->pad;
    return true;
}

static enum gr_placing crop_place(const void *attrs, struct gr_draft *sample, struct gr_error *err)
{
    struct gr_placement *p = &sample->placement;
    const struct gr_window old = p->window;
    struct gr_window cut = {0};
    if (!crop_window(attrs, sample, old.height, old.width, &cut, err))
        return GR_PLACING_FAILED;
    if (cut.top < 0 || cut.left < 0 || cut.top + cut.height > old.height ||
        cut.left + cut.width > old.width)
        return GR_PLACING_LATER;
    gr_placement_cut(p, &cut);
    return GR_PLACING_DONE;
}

/* With padding: the part of the window that lies inside the image, copied into black. */
static bool crop_apply(const void *attrs, struct gr_draft *sample, struct gr_error *err)
{
    const struct gr_view *view = &sample->view;
    struct gr_window window = {0};
    if (!crop_window(attrs, sample, view->height, view->width, &window, err))
        return false;
    const int64_t top = window.top, left = window.left;
    const int64_t height = window.height, width = window.width;
    const size_t row = (size_t)width * (size_t)view->channels;
    uint8_t *out = gr_buffer_reserve(sample->buffer, row * (size_t)height);
    if (!out)
        return gr_fail_memory(err, "cropping an image");
    memset(out, 0, row * (size_t)height);
    for (int64_t h = top < 0 ? -top : 0; h < height && top + h < view->height; h++)
        for (int64_t w = left < 0 ? -left : 0; w < width && left + w < view->width; w++) {
            const uint8_t *src = view->pixels + (ptrdiff_t)(top + h) * view->row_stride +
                                 (ptrdiff_t)(left + w) * view->column_stride;
            uint8_t *dst = out + (size_t)h * row + (size_t)w * (size_t)view->channels;
            for (int c = 0; c < view->channels; c++)
                dst[c] = src[c * view->channel_stride];
        }
    sample->view = gr_view_interleaved(out, view->channels, height, width);
    return true;
}

const struct gr_transform gr_transform_crop = {
    .kind = {"crop", "cuts out a window of fixed size", crop_table, sizeof(struct crop_attrs)},
    .infer = crop_infer,
    .place = crop_place,
    .apply = crop_apply,
};

/* ---- flip -------------------------------------------------------------------------------- */

struct flip_attrs {
    double p;
};

static const struct gr_attr flip_table[] = {
    {.name = "p",
     .type = GR_ATTR_FLOAT,
     .offset = offsetof(struct flip_attrs, p),
     .def = 0.5,
     .max = 1,
     .doc = "probability"},
    {.name = NULL},
};

static enum gr_placing flip_place(const void *attrs, struct gr_draft *sample, struct gr_error *err)
{
    const struct flip_attrs *a = attrs;
    (void)err;
    if (gr_random_uniform(&sample->key, sample->block * 4) < a->p)
        sample->placement.mirrored = !sample->placement.mirrored;
    return GR_PLACING_DONE;
}

const struct gr_transform gr_transform_flip = {
    .kind = {"flip", "mirrors left and right, with a probability", flip_table,
             sizeof(struct flip_attrs)},
    .place = flip_place,
};

/* ---- grayscale --------------------------------------------------------------------------- */

struct grayscale_attrs {
    int64_t channels;
};

static const struct gr_attr grayscale_table[] = {
    {.name = "channels",
     .type = GR_ATTR_INT,
     .offset = offsetof(struct grayscale_attrs, channels),
     .def = 1,
     .min = 1,
     .max = 3,
     .doc = "1, or 3 equal ones"},
    {.name = NULL},
};

static bool grayscale_check(const void *attrs, struct gr_error *err)
{
    const struct grayscale_attrs *a = attrs;
    if (a->channels != 1 && a->channels != 3)
        return gr_fail(err, GR_ERR_MODEL, "grayscale: channels is 1 or 3, not %" PRId64,
                       a->channels);
    return true;
}

static bool grayscale_infer(const void *attrs, struct gr_extent *extent, struct gr_error *err)
{
    const struct grayscale_attrs *a = attrs;
    (void)err;
    extent->channels = (int)a->channels;
    return true;
}

static bool grayscale_apply(const void *attrs, struct gr_draft *sample, struct gr_error *err)
{
    const struct grayscale_attrs *a = attrs;
    struct gr_view *view = &sample->view;
    if (view->channels == 3) {
        uint8_t *out = gr_buffer_reserve(sample->buffer, (size_t)(view->height * view->width));
        if (!out)
            return gr_fail_memory(err, "making an image grey");
        uint8_t *dst = out;
        for (int64_t h = 0; h < view->height; h++) {
            const uint8_t *row = view->pixels + (ptrdiff_t)h * view->row_stride;
            for (int64_t w = 0; w < view->width; w++) {
                const uint8_t *src = row + (ptrdiff_t)w * view->column_stride;
                *dst++ = (uint8_t)((299 * src[0] + 587 * src[view->channel_stride] +
                                    114 * src[2 * view->channel_stride] + 500) /
                                   1000);
            }
        }
        *view = gr_view_planar(out, 1, view->height, view->width);
    }
    view->channels = (int)a->channels;
    view->channel_stride = 0; /* one plane, seen as many times as asked for */
    return true;
}

const struct gr_transform gr_transform_grayscale = {
    .kind = {"grayscale", "turns colour into luminance (ITU-R BT.601)", grayscale_table,
             sizeof(struct grayscale_attrs)},
    .check = grayscale_check,
    .infer = grayscale_infer,
    .apply = grayscale_apply,
};
