/*
 * The confusion matrix drawn: a row for each label, a column for each class predicted, shaded by
 * the share of the label's images. What is right lies on the diagonal, in blue; mistakes are in
 * red. Shades go by the square root, so that rare mistakes are seen. All cells of one shade are one
 * path, so that a thousand classes make a file of a few hundred kilobytes.
 */
#include "train/confusion.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum {
    SHADES = 12,
    NAMED = 64,    /* more classes than these stay without names */
    NUMBERED = 16, /* more have no numbers in their cells */
    SIDE = 640,    /* of the matrix, as near as whole cells come */
    MARGIN = 24,
    LETTER = 7, /* width */
    NAME_LETTERS = 24,
    NAME_BYTES = 256,
};

struct drawing {
    const struct gr_confusion *confusion;
    gr_class_name_fn *name;
    const void *user;
    FILE *file;
    double cell, left, top, side;
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

/* Cuts a name to NAME_LETTERS characters of UTF-8 and returns how many there are. */
static int shorten(char *text)
{
    int letters = 0;
    char *last = text; /* where an ellipsis would stand */
    for (char *at = text; *at; at++) {
        if ((*at & 0xc0) == 0x80)
            continue;
        if (letters++ == NAME_LETTERS) {
            strcpy(last, "…"); /* of three bytes, for which names leave room */
            return NAME_LETTERS;
        }
        last = letters == NAME_LETTERS ? at : last;
    }
    return letters;
}

static int class_text(const struct drawing *d, int64_t index, char text[NAME_BYTES])
{
    if (!*d->name(d->user, index, text, NAME_BYTES - 4))
        snprintf(text, NAME_BYTES, "%" PRId64, index);
    return shorten(text);
}

/* 0: nothing; 1 to SHADES. */
static int shade_of(uint32_t count, int64_t images)
{
    if (!count)
        return 0;
    const int shade = (int)ceil(sqrt((double)count / (double)images) * SHADES);
    return shade > SHADES ? SHADES : shade;
}

static void write_colour(FILE *file, bool right, int shade)
{
    const double full[2][3] = {{178, 24, 43}, {8, 69, 148}};
    const double share = (double)shade / SHADES;
    fputc('#', file);
    for (int c = 0; c < 3; c++)
        fprintf(file, "%02x", (unsigned)lround(255 - share * (255 - full[right][c])));
}

/* The cells of one shade, right or wrong, as one path in units of cells. */
static void draw_shade(const struct drawing *d, bool right, int shade)
{
    const struct gr_confusion *confusion = d->confusion;
    bool begun = false;
    for (int64_t label = 0; label < confusion->classes; label++) {
        const int64_t images = gr_confusion_images(confusion, label);
        for (int64_t c = 0; images && c < confusion->classes; c++) {
            const uint32_t count = confusion->counts[label * confusion->classes + c];
            if ((c == label) != right || shade_of(count, images) != shade)
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
    fprintf(d->file, "<g transform=\"translate(%g %g) scale(%g)\">\n", d->left, d->top, d->cell);
    for (int shade = 1; shade <= SHADES; shade++) {
        draw_shade(d, false, shade);
        draw_shade(d, true, shade);
    }
    fputs("</g>\n", d->file);
    fprintf(d->file,
            "<rect x=\"%g\" y=\"%g\" width=\"%g\" height=\"%g\" fill=\"none\" "
            "stroke=\"#888\"/>\n",
            d->left, d->top, d->side, d->side);
}

/* "0.2", "7", "99.8", "100": whole numbers say nothing of what is almost none or all. */
static const char *percent_text(double percent, char text[16])
{
    const bool odd = (percent > 0 && percent < 0.95) || (percent > 99.05 && percent < 100);
    snprintf(text, 16, odd ? "%.1f" : "%.0f", odd ? floor(10 * percent) / 10 : percent);
    return text;
}

/* Percentages in the cells, where there is room. */
static void draw_numbers(const struct drawing *d)
{
    const struct gr_confusion *confusion = d->confusion;
    for (int64_t label = 0; label < confusion->classes; label++) {
        const int64_t images = gr_confusion_images(confusion, label);
        for (int64_t c = 0; images && c < confusion->classes; c++) {
            const uint32_t count = confusion->counts[label * confusion->classes + c];
            char percent[16];
            if (!count)
                continue;
            fprintf(d->file, "<text x=\"%g\" y=\"%g\" text-anchor=\"middle\"%s>%s</text>\n",
                    d->left + ((double)c + 0.5) * d->cell,
                    d->top + ((double)label + 0.5) * d->cell + 4,
                    shade_of(count, images) > SHADES / 2 ? " fill=\"#fff\"" : "",
                    percent_text(100 * (double)count / (double)images, percent));
        }
    }
}

static void draw_names(const struct drawing *d)
{
    char text[NAME_BYTES];
    for (int64_t i = 0; i < d->confusion->classes; i++) {
        const double at = ((double)i + 0.5) * d->cell;
        class_text(d, i, text);
        fprintf(d->file, "<text x=\"%g\" y=\"%g\" text-anchor=\"end\">", d->left - 6,
                d->top + at + 4);
        write_escaped(d->file, text);
        fprintf(d->file, "</text>\n<text transform=\"translate(%g %g) rotate(-90)\">",
                d->left + at + 4, d->top - 6);
        write_escaped(d->file, text);
        fputs("</text>\n", d->file);
    }
}

static void draw_legend(const struct drawing *d, double y)
{
    const double step = 14;
    for (int right = 1; right >= 0; right--) {
        const double x = d->left + (right ? 0 : d->side / 2);
        fprintf(d->file, "<text x=\"%g\" y=\"%g\">%s: 0</text>\n", x, y,
                right ? "right" : "taken for another");
        const double from = x + (right ? 52 : 132);
        for (int shade = 1; shade <= SHADES; shade++) {
            fprintf(d->file, "<rect x=\"%g\" y=\"%g\" width=\"%g\" height=\"12\" fill=\"",
                    from + (shade - 1) * step, y - 10, step);
            write_colour(d->file, right, shade);
            fputs("\"/>\n", d->file);
        }
        fprintf(d->file, "<text x=\"%g\" y=\"%g\">100 %%</text>\n", from + SHADES * step + 4, y);
    }
}

/* What the names take at the left and at the top. */
static double name_room(const struct drawing *d)
{
    int most = 0;
    char text[NAME_BYTES];
    for (int64_t i = 0; i < d->confusion->classes; i++) {
        const int letters = class_text(d, i, text);
        most = letters > most ? letters : most;
    }
    return most * LETTER + 8;
}

void gr_confusion_draw(const struct gr_confusion *confusion, const char *title,
                       gr_class_name_fn *name, const void *name_user, FILE *file)
{
    struct drawing d = {confusion, name, name_user, file, 0, 0, 0, 0};
    const bool named = confusion->classes <= NAMED;
    const double names = named ? name_room(&d) : 0;
    const double least = named ? 14 : 1;
    d.cell = floor((double)SIDE / (double)confusion->classes);
    d.cell = d.cell < least ? least : d.cell > 56 ? 56 : d.cell;
    d.side = d.cell * (double)confusion->classes;
    d.left = 2 * MARGIN + names;
    d.top = 3 * MARGIN + names;
    const double wide = d.side > 560 ? d.side : 560; /* room for the legend */
    const double width = d.left + wide + MARGIN, height = d.top + d.side + 2 * MARGIN;
    fprintf(file,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%g\" height=\"%g\" viewBox=\"0 0 %g "
            "%g\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#222\">\n"
            "<rect width=\"%g\" height=\"%g\" fill=\"#fff\"/>\n<text x=\"%d\" y=\"%d\" "
            "font-size=\"15\">",
            width, height, width, height, width, height, MARGIN, MARGIN);
    write_escaped(file, title);
    fprintf(file, "</text>\n<text x=\"%g\" y=\"%d\">predicted</text>\n", d.left, 2 * MARGIN);
    fprintf(file,
            "<text transform=\"translate(%d %g) rotate(-90)\" text-anchor=\"end\">label</text>\n",
            MARGIN, d.top);
    draw_cells(&d);
    if (named)
        draw_names(&d);
    if (confusion->classes <= NUMBERED)
        draw_numbers(&d);
    draw_legend(&d, d.top + d.side + MARGIN);
    fputs("</svg>\n", file);
}
