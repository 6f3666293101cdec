/*
 * The confusion matrix drawn as SVG; see confusion_drawing.h. All cells of one shade are one path,
 * so that a thousand classes make a file of a few hundred kilobytes.
 */
#include "train/confusion_drawing.h"

#include <inttypes.h>
#include <string.h>

struct drawing {
    struct gr_confusion_layout at;
    FILE *file;
};

static void write_escaped(FILE *file, const char *text)
{
    for (; *text; text++) {
        const unsigned char c = (unsigned char)*text;
        if (c == '<' || c == '&' || c == '>')
            fprintf(file, "&#%d;", c);
        else
            fputc(c < ' ' ? ' ' : c, file);
    }
}

/* Cuts a name to the letters shown, in UTF-8. */
static void shorten(char *text)
{
    int letters = 0;
    char *last = text; /* where an ellipsis would stand */
    for (char *at = text; *at; at++) {
        if ((*at & 0xc0) == 0x80)
            continue;
        if (letters++ == GR_CONFUSION_NAME_LETTERS) {
            strcpy(last, "…"); /* of three bytes, for which names leave room */
            return;
        }
        last = letters == GR_CONFUSION_NAME_LETTERS ? at : last;
    }
}

static void class_text(const struct drawing *d, int64_t index, char text[GR_CONFUSION_NAME_BYTES])
{
    gr_confusion_class_text(&d->at, index, text);
    shorten(text);
}

static void write_colour(FILE *file, bool right, int shade)
{
    const struct gr_colour colour = gr_confusion_colour(right, shade);
    fprintf(file, "#%02x%02x%02x", colour.red, colour.green, colour.blue);
}

/* The cells of one shade, right or wrong, as one path in units of cells. */
static void draw_shade(const struct drawing *d, bool right, int shade)
{
    const struct gr_confusion *confusion = d->at.confusion;
    bool begun = false;
    for (int64_t label = 0; label < confusion->classes; label++) {
        const int64_t images = gr_confusion_images(confusion, label);
        for (int64_t c = 0; images && c < confusion->classes; c++) {
            const uint32_t count = confusion->counts[label * confusion->classes + c];
            if ((c == label) != right || gr_confusion_shade(count, images) != shade)
                continue;
            if (!begun) {
                fputs("<path fill=\"", d->file);
                write_colour(d->file, right, shade);
                fputs("\" d=\"", d->file);
            }
            fprintf(d->file, "M%" PRId64 " %" PRId64 "h1v1h-1z", c, label);
            begun = true;
        }
    }
    if (begun)
        fputs("\"/>\n", d->file);
}

static void draw_cells(const struct drawing *d)
{
    fprintf(d->file, "<g transform=\"translate(%g %g) scale(%g)\">\n", d->at.left, d->at.top,
            d->at.cell);
    for (int shade = 1; shade <= GR_CONFUSION_SHADES; shade++) {
        draw_shade(d, false, shade);
        draw_shade(d, true, shade);
    }
    fputs("</g>\n", d->file);
    fprintf(d->file,
            "<rect x=\"%g\" y=\"%g\" width=\"%g\" height=\"%g\" fill=\"none\" "
            "stroke=\"#888\"/>\n",
            d->at.left, d->at.top, d->at.side, d->at.side);
}

/* Percentages in the cells, where there is room. */
static void draw_numbers(const struct drawing *d)
{
    const struct gr_confusion *confusion = d->at.confusion;
    for (int64_t label = 0; label < confusion->classes; label++) {
        const int64_t images = gr_confusion_images(confusion, label);
        for (int64_t c = 0; images && c < confusion->classes; c++) {
            const uint32_t count = confusion->counts[label * confusion->classes + c];
            char percent[16];
            if (!count)
                continue;
            fprintf(d->file, "<text x=\"%g\" y=\"%g\" text-anchor=\"middle\"%s>%s</text>\n",
                    d->at.left + ((double)c + 0.5) * d->at.cell,
                    d->at.top + ((double)label + 0.5) * d->at.cell + 4,
                    gr_confusion_shade(count, images) > GR_CONFUSION_SHADES / 2 ? " fill=\"#fff\""
                                                                                : "",
                    gr_confusion_percent(100 * (double)count / (double)images, percent));
        }
    }
}

static void draw_names(const struct drawing *d)
{
    char text[GR_CONFUSION_NAME_BYTES];
    for (int64_t i = 0; i < d->at.confusion->classes; i++) {
        const double at = ((double)i + 0.5) * d->at.cell;
        class_text(d, i, text);
        fprintf(d->file, "<text x=\"%g\" y=\"%g\" text-anchor=\"end\">", d->at.left - 6,
                d->at.top + at + 4);
        write_escaped(d->file, text);
        fprintf(d->file, "</text>\n<text transform=\"translate(%g %g) rotate(-90)\">",
                d->at.left + at + 4, d->at.top - 6);
        write_escaped(d->file, text);
        fputs("</text>\n", d->file);
    }
}

static void draw_legend(const struct drawing *d, double y)
{
    const double step = GR_CONFUSION_LEGEND_STEP;
    for (int right = 1; right >= 0; right--) {
        const double x = d->at.legend[right];
        fprintf(d->file, "<text x=\"%g\" y=\"%g\">%s: 0</text>\n", x, y,
                right ? "right" : "taken for another");
        const double from = x + (right ? 52 : 132);
        for (int shade = 1; shade <= GR_CONFUSION_SHADES; shade++) {
            fprintf(d->file, "<rect x=\"%g\" y=\"%g\" width=\"%g\" height=\"12\" fill=\"",
                    from + (shade - 1) * step, y - 10, step);
            write_colour(d->file, right, shade);
            fputs("\"/>\n", d->file);
        }
        fprintf(d->file, "<text x=\"%g\" y=\"%g\">100 %%</text>\n",
                from + GR_CONFUSION_SHADES * step + 4, y);
    }
}

void gr_confusion_draw(const struct gr_confusion *confusion, const char *title,
                       gr_class_name_fn *name, const void *name_user, FILE *file)
{
    struct drawing d = {gr_confusion_lay_out(confusion, name, name_user), file};
    const double width = d.at.width, height = d.at.height;
    fprintf(file,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%g\" height=\"%g\" viewBox=\"0 0 %g "
            "%g\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#222\">\n"
            "<rect width=\"%g\" height=\"%g\" fill=\"#fff\"/>\n<text x=\"%d\" y=\"%d\" "
            "font-size=\"15\">",
            width, height, width, height, width, height, GR_CONFUSION_MARGIN, GR_CONFUSION_MARGIN);
    write_escaped(file, title);
    fprintf(file, "</text>\n<text x=\"%g\" y=\"%d\">predicted</text>\n", d.at.left,
            2 * GR_CONFUSION_MARGIN);
    fprintf(file,
            "<text transform=\"translate(%d %g) rotate(-90)\" text-anchor=\"end\">label</text>\n",
            GR_CONFUSION_MARGIN, d.at.top);
    draw_cells(&d);
    if (d.at.named)
        draw_names(&d);
    if (d.at.numbered)
        draw_numbers(&d);
    draw_legend(&d, d.at.top + d.at.side + GR_CONFUSION_MARGIN);
    fputs("</svg>\n", file);
}
