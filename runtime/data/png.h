/*
 * Decoding PNG from memory with libpng, for files that nobody vouches for. Whatever the file holds,
 * palettes, 1 to 16 bits, grey, becomes 8-bit RGB or luminance; transparency is dropped and gamma
 * ignored, as by other training tools.
 */
#ifndef GR_DATA_PNG_H
#define GR_DATA_PNG_H

#include "data/source.h"

struct gr_image_facts;

/*
 * As gr_jpeg_decode, but never scaled down: PNG has no shorter way to a smaller image. Rows that
 * target->choose leaves out are read but not kept, unless the file is interlaced.
 */
bool gr_png_decode(const uint8_t *bytes, size_t size, int channels,
                   const struct gr_source_target *target, struct gr_buffer *pixels,
                   struct gr_view *view, struct gr_error *err);

/* Size and colours, as stored, into *facts (data/decode.h), which is zero. */
bool gr_png_inspect(const uint8_t *bytes, size_t size, struct gr_image_facts *facts,
                    struct gr_error *err);

#endif
