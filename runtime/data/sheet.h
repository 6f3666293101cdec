/*
 * A contact sheet: a grid of pictures of one size with a caption below each, and a title above.
 */
#ifndef GR_DATA_SHEET_H
#define GR_DATA_SHEET_H

#include "data/picture.h"

struct gr_sheet_options {
    int64_t count;         /* tiles, at least 1 */
    int64_t height, width; /* of what is shown in each */
    int64_t columns;       /* 0: as many as make the sheet about 4:3 */
    int64_t scale;         /* size of a pixel; 0: so that small tiles can be seen */
    int64_t gap;           /* between tiles; 0: the usual */
    int captions;          /* lines of text below a tile */
    int64_t lead;          /* more room behind the first column */
    bool bare;             /* no frames around tiles */
    const char *title;     /* may be NULL */
};

/* Zero-initialised is empty. */
struct gr_sheet {
    struct gr_picture picture;
    int64_t columns, scale, text; /* text: the size of a pixel of captions */
    int64_t height, width;        /* of a tile */
    int64_t top, left;            /* of the first tile */
    int64_t step_down, step_right, lead;
    bool bare;
};

bool gr_sheet_init(struct gr_sheet *sheet, const struct gr_sheet_options *options,
                   struct gr_error *err);
void gr_sheet_release(struct gr_sheet *sheet);

/* Where a picture of that size stands, scaled, in the middle of tile number index. */
struct gr_window gr_sheet_place(const struct gr_sheet *sheet, int64_t index, int64_t height,
                                int64_t width);

/*
 * Paints tile number index, from the left to the right and then down. The view, grey or RGB, has
 * the options' size or less; caption, of lines that end in "\n" but for the last, may be NULL.
 */
void gr_sheet_put(struct gr_sheet *sheet, int64_t index, const struct gr_view *view,
                  const char *caption);

#endif
