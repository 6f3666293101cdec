/*
 * Decoding JPEG from memory with libjpeg-turbo, for files that nobody vouches for: sizes, memory
 * and work (blocks in all scans, as against the bytes of the file) are bounded, and what a viewer
 * would patch up (a file that ends early, bad Huffman codes) is an error. Extraneous bytes between
 * markers, common and harmless, are not. Pixels come as they are stored: data/decode.h turns them.
 */
#ifndef GR_DATA_JPEG_H
#define GR_DATA_JPEG_H

#include "data/source.h"

struct gr_image_facts;

/*
 * Decodes into pixels and makes *view show them: channels is 1 (luminance) or 3 (RGB), whatever the
 * file has; CMYK and YCCK are converted (Adobe's inverted). The DCT scales the image down by 2, 4
 * or 8, as far as that leaves no less than *target. (It could do any eighths, but those have no
 * vector code, and resizing does the rest better.) Where target->choose asks for a part, only that
 * is decoded, to the same bits, and shown; what lies outside is still checked for being there.
 * Fails with GR_ERR_DATA, "corrupt JPEG: ...", without the file's name, or what choose said, or
 * GR_ERR_RUNTIME when memory runs out.
 */
bool gr_jpeg_decode(const uint8_t *bytes, size_t size, int channels,
                    const struct gr_source_target *target, struct gr_buffer *pixels,
                    struct gr_view *view, struct gr_error *err);

/* Size and colours, as stored, into *facts (data/decode.h), which is zero. */
bool gr_jpeg_inspect(const uint8_t *bytes, size_t size, struct gr_image_facts *facts,
                     struct gr_error *err);

#endif
