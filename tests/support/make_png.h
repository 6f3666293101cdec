/*
 * Writes small PNG files for tests.
 */
#ifndef GR_TESTS_MAKE_PNG_H
#define GR_TESTS_MAKE_PNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gr_make_png {
    int height, width;
    int colour, depth; /* PNG_COLOR_TYPE_..., bits a sample */
    bool interlaced;
    const uint8_t *palette; /* [n_palette, 3]; for PNG_COLOR_TYPE_PALETTE */
    int n_palette;
    const uint8_t *alpha; /* [n_palette], or NULL */
    const uint8_t *exif;  /* a chunk eXIf, or NULL */
    size_t exif_size;
};

/* rows are as PNG has them, [height] of as many bytes as a row takes. */
bool gr_make_png(const char *path, const struct gr_make_png *what, const uint8_t *rows);

/* An 8-bit RGB file; pixels are [height, width, 3]. */
bool gr_make_rgb_png(const char *path, const uint8_t *pixels, int height, int width);

#endif
