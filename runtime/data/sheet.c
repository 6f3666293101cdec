/*
 * Contact sheets; see sheet.h.
 */
#include "data/sheet.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "data/font.h"

enum {
    MARGIN = 12, /* around all, and between tiles */
    ABOVE_CAPTION = 5,
    TILE_LEAST = 96,       /* smaller tiles are enlarged to about this */
    LARGE_TEXT_TILE = 160, /* from this width on, captions are twice as large */
    LINE = 512             /* bytes of one */
};

static const struct gr_colour paper = {255, 255, 255}, ink = {32, 38, 46}, line = {186, 194, 204};

/* As many columns as make a sheet of such tiles about four wide and three high. */
static int64_t usual_columns(int64_t count, int64_t step_down, int64_t step_right)
{
    const double shape = 4.0 / 3 * (double)step_down / (double)step_right;
    const int64_t columns = llround(sqrt((double)count * shape));
    return columns < 1 ? 1 : columns > count ? count : columns;
}

/* Whole numbers, so that each pixel stays a square. */
static int64_t usual_scale(int64_t height, int64_t width)
{
    const int64_t side = height > width ? height : width;
    return side >= TILE_LEAST ? 1 : (TILE_LEAST + side - 1) / side;
}

bool gr_sheet_init(struct gr_sheet *sheet, const struct gr_sheet_options *options,
                   struct gr_error *err)
{
    *sheet = (struct gr_sheet){
        .scale = options->scale ? options->scale : usual_scale(options->height, options->width)};
    sheet->height = options->height * sheet->scale;
    sheet->width = options->width * sheet->scale;
    sheet->text = sheet->width >= LARGE_TEXT_TILE ? 2 : 1;
    const int64_t line_height = ABOVE_CAPTION + GR_GLYPH_HEIGHT * sheet->text;
    sheet->lead = options->lead;
    const int64_t gap = options->gap ? options->gap : MARGIN;
    sheet->step_down = sheet->height + gap + options->captions * line_height;
    sheet->step_right = sheet->width + gap;
    sheet->columns = options->columns
                         ? options->columns
                         : usual_columns(options->count, sheet->step_down, sheet->step_right);
    const int64_t title = options->title ? 2 * GR_GLYPH_HEIGHT + MARGIN : 0;
    const int64_t rows = (options->count + sheet->columns - 1) / sheet->columns;
    const int64_t width = 2 * MARGIN - gap + sheet->columns * sheet->step_right + sheet->lead;
    sheet->top = MARGIN + title;
    sheet->left = MARGIN;
    sheet->bare = options->bare;
    if (!gr_picture_init(&sheet->picture, sheet->top + rows * sheet->step_down + MARGIN - gap,
                         width, paper, err))
        return false;
    if (options->title) { /* twice as large as the smallest text, if it fits */
        const int64_t room = width - 2 * MARGIN;
        const int64_t scale = gr_picture_text_width(options->title, 2) <= room ? 2 : 1;
        gr_picture_text(&sheet->picture, MARGIN, MARGIN, room, scale, ink, options->title);
    }
    return true;
}

void gr_sheet_release(struct gr_sheet *sheet)
{
    gr_picture_release(&sheet->picture);
    *sheet = (struct gr_sheet){0};
}

/* The left upper corner of a tile. */
static struct gr_window corner(const struct gr_sheet *sheet, int64_t index)
{
    const int64_t row = index / sheet->columns, column = index % sheet->columns;
    return (struct gr_window){.top = sheet->top + row * sheet->step_down,
                              .left = sheet->left + column * sheet->step_right +
                                      (column ? sheet->lead : 0)};
}

struct gr_window gr_sheet_place(const struct gr_sheet *sheet, int64_t index, int64_t height,
                                int64_t width)
{
    struct gr_window place = corner(sheet, index);
    place.height = height * sheet->scale;
    place.width = width * sheet->scale;
    place.top += (sheet->height - place.height) / 2;
    place.left += (sheet->width - place.width) / 2;
    return place;
}

static void put_line(struct gr_sheet *sheet, int64_t top, int64_t left, const char *text)
{
    const bool fits = gr_picture_text_width(text, sheet->text) <= sheet->width;
    gr_picture_text(&sheet->picture, top, left, sheet->width, fits ? sheet->text : 1, ink, text);
}

static void put_caption(struct gr_sheet *sheet, int64_t index, const char *caption)
{
    struct gr_window at = corner(sheet, index);
    char text[LINE];
    at.top += sheet->height;
    for (;;) {
        const size_t length = strcspn(caption, "\n");
        at.top += ABOVE_CAPTION;
        snprintf(text, sizeof text, "%.*s", (int)length, caption);
        put_line(sheet, at.top, at.left, text);
        at.top += GR_GLYPH_HEIGHT * sheet->text;
        if (!caption[length])
            return;
        caption += length + 1;
    }
}

void gr_sheet_put(struct gr_sheet *sheet, int64_t index, const struct gr_view *view,
                  const char *caption)
{
    const struct gr_window place = gr_sheet_place(sheet, index, view->height, view->width);
    assert(place.height <= sheet->height && place.width <= sheet->width);
    gr_picture_draw(&sheet->picture, place.top, place.left, view, sheet->scale);
    if (!sheet->bare)
        gr_picture_frame(&sheet->picture, &place, 1, line);
    if (caption)
        put_caption(sheet, index, caption);
}
