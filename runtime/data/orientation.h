/*
 * Which way up an image is. Cameras store what the sensor saw and say in EXIF data how to turn it;
 * here that becomes another view of the same pixels.
 *
 * An orientation is EXIF's number: 1 as stored; 2 mirrored left and right; 3 turned by half; 4
 * upside down; 5 to 8 the same with rows and columns exchanged, of which 6 and 8 are quarter turns.
 */
#ifndef GR_DATA_ORIENTATION_H
#define GR_DATA_ORIENTATION_H

#include "data/image.h"

enum { GR_UPRIGHT = 1 };

/* What a JPEG or PNG file says, before its pixels; GR_UPRIGHT if nothing, or nothing sensible. */
int gr_orientation_read(const uint8_t *bytes, size_t size);

/* True where rows become columns: height and width change places. */
bool gr_orientation_turned(int orientation);

/* The stored pixels that a window of the upright image, height×width, is made of. */
struct gr_window gr_orientation_stored(int orientation, const struct gr_window *upright,
                                       int64_t height, int64_t width);

/* Stored pixels, or a window of them, seen upright. */
struct gr_view gr_orientation_upright(int orientation, const struct gr_view *stored);

#endif
