/*
 * The front of the decoders; see decode.h. A format is a row.
 */
#define _DEFAULT_SOURCE
#include "data/decode.h"

#include "data/files.h"
#include "data/jpeg.h"
#include "data/orientation.h"
#include "data/png.h"

#include <string.h>
#include <strings.h>

typedef bool decode_fn(const uint8_t *bytes, size_t size, int channels,
                       const struct gr_source_target *target, struct gr_buffer *pixels,
                       struct gr_view *view, struct gr_error *err);

typedef bool inspect_fn(const uint8_t *bytes, size_t size, struct gr_image_facts *facts,
                        struct gr_error *err);

/* How files of a format start; decode NULL: known, so that messages can name it. */
static const struct format {
    const char *name, *magic;
    size_t offset, length; /* of magic */
    decode_fn *decode;
    inspect_fn *inspect;
} formats[] = {
    {"JPEG", "\xff\xd8\xff", 0, 3, gr_jpeg_decode, gr_jpeg_inspect},
    {"PNG", "\x89PNG\r\n\x1a\n", 0, 8, gr_png_decode, gr_png_inspect},
    {"a GIF", "GIF8", 0, 4, NULL, NULL},
    {"a WebP", "WEBP", 8, 4, NULL, NULL},
    {"a BMP", "BM", 0, 2, NULL, NULL},
    {"a TIFF", "II*\0", 0, 4, NULL, NULL},
    {"a TIFF", "MM\0*", 0, 4, NULL, NULL},
    {"an AVIF", "ftypavif", 4, 8, NULL, NULL},
    {"a HEIF", "ftyp", 4, 4, NULL, NULL},
    {"an HTML", "<!DOCTYPE", 0, 9, NULL, NULL},
    {"an HTML", "<html", 0, 5, NULL, NULL},
};

static const struct format *format_of(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        const struct format *format = &formats[i];
        if (size >= format->offset + format->length &&
            memcmp(bytes + format->offset, format->magic, format->length) == 0)
            return format;
    }
    return NULL;
}

static bool fail_format(const uint8_t *bytes, size_t size, const struct format *format,
                        struct gr_error *err)
{
    if (format)
        return gr_fail(err, GR_ERR_DATA, "%s file: JPEG and PNG can be read", format->name);
    if (size < 2)
        return gr_fail(err, GR_ERR_DATA, "%s", size ? "a file of one byte" : "an empty file");
    return gr_fail(err, GR_ERR_DATA, "neither JPEG nor PNG: starts with 0x%02x 0x%02x", bytes[0],
                   bytes[1]);
}

/* ---- the right way up -------------------------------------------------------------------- */

/* Stands between a decoder, which knows stored pixels, and who wants them upright. */
struct turning {
    int orientation;
    const struct gr_source_target *target;
};

static bool choose_stored(void *user, int64_t height, int64_t width, struct gr_window *window,
                          struct gr_error *err)
{
    const struct turning *turning = user;
    const bool turned = gr_orientation_turned(turning->orientation);
    const int64_t H = turned ? width : height, W = turned ? height : width;
    struct gr_window upright = {0, 0, H, W};
    if (turning->target->choose &&
        !turning->target->choose(turning->target->user, H, W, &upright, err))
        return false;
    *window = gr_orientation_stored(turning->orientation, &upright, H, W);
    return true;
}

bool gr_image_decode(const uint8_t *bytes, size_t size, int channels,
                     const struct gr_source_target *target, struct gr_buffer *pixels,
                     struct gr_view *view, struct gr_error *err)
{
    const struct format *format = format_of(bytes, size);
    if (!format || !format->decode)
        return fail_format(bytes, size, format, err);
    struct turning turning = {gr_orientation_read(bytes, size), target};
    if (turning.orientation == GR_UPRIGHT)
        return format->decode(bytes, size, channels, target, pixels, view, err);
    struct gr_source_target stored = *target;
    stored.choose = choose_stored;
    stored.user = &turning;
    if (gr_orientation_turned(turning.orientation)) {
        stored.height = target->width;
        stored.width = target->height;
    }
    if (!format->decode(bytes, size, channels, &stored, pixels, view, err))
        return false;
    *view = gr_orientation_upright(turning.orientation, view);
    return true;
}

bool gr_image_inspect(const uint8_t *bytes, size_t size, struct gr_image_facts *facts,
                      struct gr_error *err)
{
    const struct format *format = format_of(bytes, size);
    *facts = (struct gr_image_facts){0};
    if (!format || !format->inspect)
        return fail_format(bytes, size, format, err);
    if (!format->inspect(bytes, size, facts, err))
        return false;
    facts->format = format->name;
    facts->orientation = gr_orientation_read(bytes, size);
    if (gr_orientation_turned(facts->orientation)) {
        const int64_t height = facts->height;
        facts->height = facts->width;
        facts->width = height;
    }
    return true;
}

/* ---- files ------------------------------------------------------------------------------- */

bool gr_image_read(const char *path, int channels, const struct gr_source_target *target,
                   struct gr_source_scratch *scratch, struct gr_view *view, struct gr_error *err)
{
    struct gr_error inner = {0};
    size_t size;
    if (!gr_file_read_whole(path, GR_DECODE_BYTES_MAX, &scratch->file, &size, err))
        return false;
    if (!gr_image_decode(scratch->file.data, size, channels, target, &scratch->pixels, view,
                         &inner))
        return gr_fail(err, inner.status, "%s: %s", path, inner.message);
    return true;
}

bool gr_image_named(const char *path)
{
    static const char *const ends[] = {".jpg", ".jpeg", ".png"};
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && dot != name && i < sizeof ends / sizeof *ends; i++)
        if (strcasecmp(dot, ends[i]) == 0)
            return true;
    return false;
}
