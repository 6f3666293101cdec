/*
 * Pictures to look at: 8-bit RGB that is painted on and written as PNG or JPEG. Painting beyond the
 * edges paints what is inside.
 */
#ifndef GR_DATA_PICTURE_H
#define GR_DATA_PICTURE_H

#include "data/image.h"

#include <stdio.h>

struct gr_colour {
    uint8_t red, green, blue;
};

/* Zero-initialised is empty. */
struct gr_picture {
    int64_t height, width;
    uint8_t *pixels; /* [height, width, 3], heap */
};

/* A picture of one colour. Fails (GR_ERR_RUNTIME) when memory runs out or it would be too large. */
bool gr_picture_init(struct gr_picture *picture, int64_t height, int64_t width,
                     struct gr_colour colour, struct gr_error *err);
void gr_picture_release(struct gr_picture *picture);

void gr_picture_fill(struct gr_picture *picture, const struct gr_window *window,
                     struct gr_colour colour);

/* A frame `thickness` wide around the window, outside of it. */
void gr_picture_frame(struct gr_picture *picture, const struct gr_window *window, int64_t thickness,
                      struct gr_colour colour);

/* Paints a view of one channel (grey) or three (RGB), each pixel scale×scale large. */
void gr_picture_draw(struct gr_picture *picture, int64_t top, int64_t left,
                     const struct gr_view *view, int64_t scale);

/*
 * Writes text in the font of data/font.h, scale times as large: GR_GLYPH_HEIGHT * scale high, in
 * one line, at most `width` wide: what does not fit ends in "..". A character beyond ASCII, in
 * UTF-8, is a "?".
 */
void gr_picture_text(struct gr_picture *picture, int64_t top, int64_t left, int64_t width,
                     int64_t scale, struct gr_colour colour, const char *text);

/* The same upwards from a row on, turned to the left: at most `height` high. */
void gr_picture_text_up(struct gr_picture *picture, int64_t bottom, int64_t left, int64_t height,
                        int64_t scale, struct gr_colour colour, const char *text);

/* Columns that gr_picture_text would take, were there room. */
int64_t gr_picture_text_width(const char *text, int64_t scale);

/* As PNG to a stream; the same picture always gives the same bytes. `name` is for messages. */
bool gr_picture_print(const struct gr_picture *picture, FILE *file, const char *name,
                      struct gr_error *err);

/*
 * The same to a file that appears whole or not at all ("-": standard output; base/replace.h); as
 * JPEG where the name ends in .jpg or .jpeg. GR_ERR_USAGE where it is that of another format.
 */
bool gr_picture_write(const struct gr_picture *picture, const char *path, struct gr_error *err);

#endif
