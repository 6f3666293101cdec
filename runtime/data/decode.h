/*
 * Decoding an image file by what it holds, not by its name: JPEG or PNG, told by the first bytes,
 * turned upright as its EXIF data say. (ImageNet has a PNG that is called .JPEG.)
 */
#ifndef GR_DATA_DECODE_H
#define GR_DATA_DECODE_H

#include "data/source.h"

/* Bounds of what is decoded, known before anything of that size is allocated. */
enum { GR_DECODE_PIXELS_MAX = 1 << 28, GR_DECODE_BYTES_MAX = 1 << 28 };

/*
 * Decodes into pixels and makes *view show them: channels is 1 (luminance) or 3 (RGB), whatever the
 * file has. JPEG may come smaller, as far as *target allows. target->choose, in terms of the
 * upright image, may ask for a part; only that is shown, and what can be left out is not decoded.
 * Fails with GR_ERR_DATA, "corrupt PNG: ...", without the file's name, or what choose said, or
 * GR_ERR_RUNTIME when memory runs out.
 */
bool gr_image_decode(const uint8_t *bytes, size_t size, int channels,
                     const struct gr_source_target *target, struct gr_buffer *pixels,
                     struct gr_view *view, struct gr_error *err);

/* The same for a file, which the message then names. */
bool gr_image_read(const char *path, int channels, const struct gr_source_target *target,
                   struct gr_source_scratch *scratch, struct gr_view *view, struct gr_error *err);

/* What an image file is, as its header says. */
struct gr_image_facts {
    const char *format;    /* "JPEG", "PNG" */
    int64_t height, width; /* upright */
    int orientation;       /* as in data/orientation.h */
    bool grey, cmyk;
};

/* Reads the header; fails as gr_image_decode does. */
bool gr_image_inspect(const uint8_t *bytes, size_t size, struct gr_image_facts *facts,
                      struct gr_error *err);

/* True when a name ends as those of image files do: .jpg, .jpeg or .png, in any case. */
bool gr_image_named(const char *path);

#endif
