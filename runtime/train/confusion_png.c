/*
 * The confusion matrix drawn as PNG; see confusion_drawing.h. Twice as large as the SVG says, so
 * that the letters of the bitmap font have its size.
 */
#include "train/confusion_drawing.h"

#include <math.h>

#include "data/font.h"

enum { SCALE = 2, TEXT = 2, TITLE = 3 };

static const struct gr_colour paper = {255, 255, 255}, ink = {34, 34, 34}, line = {136, 136, 136};

struct painting {
    struct gr_confusion_layout at;
    struct gr_picture picture;
};

/* The layout's units in pixels. */
static int64_t px(double units)
{
    return llround(SCALE * units);
}

static int64_t name_width(void)
{
    return GR_CONFUSION_NAME_LETTERS * GR_GLYPH_ADVANCE * TEXT;
}

/* How wide a name will be. */
static int64_t width_of(const char *text)
{
    const int64_t width = gr_picture_text_width(text, TEXT);
    return width < name_width() ? width : name_width();
}

static void paint_cells(struct painting *p)
{
    const struct gr_confusion *confusion = p->at.confusion;
    const int64_t cell = px(p->at.cell);
    for (int64_t label = 0; label < confusion->classes; label++) {
        const int64_t images = gr_confusion_images(confusion, label);
        for (int64_t c = 0; images && c < confusion->classes; c++) {
            const uint32_t count = confusion->counts[label * confusion->classes + c];
            const struct gr_window window = {px(p->at.top) + label * cell,
                                             px(p->at.left) + c * cell, cell, cell};
            if (count)
                gr_picture_fill(&p->picture, &window,
                                gr_confusion_colour(c == label, gr_confusion_shade(count, images)));
        }
    }
    gr_picture_frame(
        &p->picture,
        &(struct gr_window){px(p->at.top), px(p->at.left), px(p->at.side), px(p->at.side)}, SCALE,
        line);
}

/* Percentages in the middle of cells. */
static void paint_numbers(struct painting *p)
{
    const struct gr_confusion *confusion = p->at.confusion;
    for (int64_t label = 0; label < confusion->classes; label++) {
        const int64_t images = gr_confusion_images(confusion, label);
        for (int64_t c = 0; images && c < confusion->classes; c++) {
            const uint32_t count = confusion->counts[label * confusion->classes + c];
            char text[16];
            if (!count)
                continue;
            gr_confusion_percent(100 * (double)count / (double)images, text);
            const int64_t width = gr_picture_text_width(text, TEXT);
            const bool dark = gr_confusion_shade(count, images) > GR_CONFUSION_SHADES / 2;
            gr_picture_text(&p->picture,
                            px(p->at.top + ((double)label + 0.5) * p->at.cell) -
                                (GR_GLYPH_HEIGHT - 2) * TEXT / 2,
                            px(p->at.left + ((double)c + 0.5) * p->at.cell) - width / 2, width,
                            TEXT, dark ? paper : ink, text);
        }
    }
}

static void paint_names(struct painting *p)
{
    char text[GR_CONFUSION_NAME_BYTES];
    for (int64_t i = 0; i < p->at.confusion->classes; i++) {
        const int64_t middle = px(((double)i + 0.5) * p->at.cell);
        const int64_t up = (GR_GLYPH_HEIGHT - 2) * TEXT / 2;
        gr_confusion_class_text(&p->at, i, text);
        gr_picture_text(&p->picture, px(p->at.top) + middle - up,
                        px(p->at.left - 6) - width_of(text), name_width(), TEXT, ink, text);
        gr_picture_text_up(&p->picture, px(p->at.top - 6), px(p->at.left) + middle - up,
                           name_width(), TEXT, ink, text);
    }
}

static void paint_legend(struct painting *p)
{
    const double y = p->at.top + p->at.side + GR_CONFUSION_MARGIN;
    const double step = GR_CONFUSION_LEGEND_STEP;
    const int64_t up = (GR_GLYPH_HEIGHT - 2) * TEXT;
    for (int right = 1; right >= 0; right--) {
        const char *text = right ? "right: 0" : "taken for another: 0";
        const double x = p->at.legend[right];
        const double from = x + (right ? 58 : 132);
        gr_picture_text(&p->picture, px(y) - up, px(x), px(from - x), TEXT, ink, text);
        for (int shade = 1; shade <= GR_CONFUSION_SHADES; shade++)
            gr_picture_fill(
                &p->picture,
                &(struct gr_window){px(y - 10), px(from + (shade - 1) * step), px(12), px(step)},
                gr_confusion_colour(right, shade));
        gr_picture_text(&p->picture, px(y) - up, px(from + GR_CONFUSION_SHADES * step + 4), px(60),
                        TEXT, ink, "100 %");
    }
}

/* The title in the largest letters that it fits in. */
static void paint_title(struct painting *p, const char *title)
{
    const int64_t room = p->picture.width - px(2 * GR_CONFUSION_MARGIN);
    int64_t scale = TITLE;
    while (scale > 1 && gr_picture_text_width(title, scale) > room)
        scale--;
    gr_picture_text(&p->picture, px(12), px(GR_CONFUSION_MARGIN), room, scale, ink, title);
    gr_picture_text(&p->picture, px(2 * GR_CONFUSION_MARGIN) - GR_GLYPH_HEIGHT * TEXT,
                    px(p->at.left), px(p->at.side), TEXT, ink, "predicted");
    gr_picture_text_up(&p->picture, px(p->at.top) + gr_picture_text_width("label", TEXT),
                       px(GR_CONFUSION_MARGIN) - GR_GLYPH_HEIGHT * TEXT, px(p->at.side), TEXT, ink,
                       "label");
}

bool gr_confusion_paint(const struct gr_confusion *confusion, const char *title,
                        gr_class_name_fn *name, const void *name_user, FILE *file, const char *path,
                        struct gr_error *err)
{
    struct painting p = {.at = gr_confusion_lay_out(confusion, name, name_user)};
    bool ok = gr_picture_init(&p.picture, px(p.at.height), px(p.at.width), paper, err);
    if (ok) {
        paint_cells(&p);
        paint_title(&p, title);
        paint_legend(&p);
        if (p.at.named)
            paint_names(&p);
        if (p.at.numbered)
            paint_numbers(&p);
        ok = gr_picture_print(&p.picture, file, path, err);
    }
    gr_picture_release(&p.picture);
    return ok;
}
