/*
 * A small bitmap font for captions in pictures: the printable characters of ASCII.
 */
#ifndef GR_DATA_FONT_H
#define GR_DATA_FONT_H

#include <stdint.h>

enum {
    GR_GLYPH_WIDTH = 5,
    GR_GLYPH_HEIGHT = 9,  /* two rows of it below the baseline */
    GR_GLYPH_ADVANCE = 6, /* from one character to the next */
};

/* [GR_GLYPH_HEIGHT] rows; bit 4 is the leftmost pixel. What there is no glyph for is a "?". */
const uint8_t *gr_font_glyph(unsigned char character);

#endif
