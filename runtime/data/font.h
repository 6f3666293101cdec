/*
 * A small bitmap font for captions in pictures: the printable characters of ASCII. Latin letters
 * with accents are drawn without them.
 */
#ifndef GR_DATA_FONT_H
#define GR_DATA_FONT_H

#include <stdint.h>

enum {
    GR_GLYPH_WIDTH = 5,
    GR_GLYPH_HEIGHT = 9,  /* two rows of it below the baseline */
    GR_GLYPH_ADVANCE = 6, /* from one character to the next */
};

/* Of a Unicode character: [GR_GLYPH_HEIGHT] rows, bit 4 the leftmost pixel. Of others, a "?". */
const uint8_t *gr_font_glyph(uint32_t character);

#endif
