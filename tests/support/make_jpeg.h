/*
 * Writes small JPEG files for tests.
 */
#ifndef GR_TESTS_MAKE_JPEG_H
#define GR_TESTS_MAKE_JPEG_H

#include <stdbool.h>
#include <stdint.h>

/*
 * pixels is [height, width, channels]: 1 grey, 3 RGB, 4 CMYK as Adobe writes it (255 is no ink).
 * Colour is not subsampled. Returns false when the file cannot be written.
 */
bool gr_make_jpeg(const char *path, const uint8_t *pixels, int height, int width, int channels,
                  int quality, bool progressive);

/* An RGB file of one colour. */
bool gr_make_plain_jpeg(const char *path, int height, int width, uint8_t red, uint8_t green,
                        uint8_t blue);

#endif
