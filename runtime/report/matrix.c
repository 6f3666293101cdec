/*
 * A confusion matrix as SVG and tables; see matrix.h. Shades are opacities of two colours that the
 * page's style sets, so that they suit a light page and a dark one.
 */
#include "report/matrix.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

enum {
    NAMED = 32,    /* more classes are drawn as blocks */
    NUMBERED = 16, /* more have no numbers in their cells */
    BLOCKS = 100,  /* at most, along a side */
    BLOCK = 5,     /* px, at least */
    SHADES = 12,
    SIDE = 560,
    NAME_LETTERS = 22,
    LETTER = 7,
    MISTAKES = 15,
    WORST = 15,
};

struct drawing {
    const struct gr_confusion *confusion;
    const char *const *names;
    struct gr_text *out;
};

static uint32_t count_of(const struct drawing *d, int64_t label, int64_t predicted)
{
    return d->confusion->counts[label * d->confusion->classes + predicted];
}

static void add_name(const struct drawing *d, int64_t index, size_t most)
{
    const char *name = d->names ? d->names[index] : NULL;
    if (name && *name)
        gr_html_short(d->out, name, most);
    else
        gr_text_add(d->out, "%" PRId64, index);
}

/* ---- few classes ------------------------------------------------------------------------- */

static double name_room(const struct drawing *d)
{
    size_t most = 3;
    for (int64_t i = 0; d->names && i < d->confusion->classes; i++) {
        const size_t letters = d->names[i] ? gr_html_letters(d->names[i]) : 0;
        most = letters > most ? letters : most;
    }
    return (double)(most < NAME_LETTERS ? most : NAME_LETTERS) * LETTER + 10;
}

/* "0.2", "7", "99.8", "100": whole numbers say nothing of what is almost none or all. */
static void add_percent(struct gr_text *out, double percent)
{
    const bool odd = (percent > 0 && percent < 0.95) || (percent > 99.05 && percent < 100);
    gr_text_add(out, odd ? "%.1f" : "%.0f", odd ? floor(10 * percent) / 10 : percent);
}

static void draw_cell(const struct drawing *d, int64_t label, int64_t predicted, int64_t images,
                      double cell)
{
    const uint32_t count = count_of(d, label, predicted);
    const double share = (double)count / (double)images, shade = sqrt(share);
    const double x = (double)predicted * cell, y = (double)label * cell;
    if (!count)
        return;
    gr_text_add(d->out, "<g><title>%" PRIu32 " of %" PRId64 " images of ", count, images);
    add_name(d, label, SIZE_MAX);
    gr_text_add(d->out, label == predicted ? " are recognised" : " are taken for ");
    if (label != predicted)
        add_name(d, predicted, SIZE_MAX);
    gr_text_add(d->out,
                "</title><rect class=\"%s\" x=\"%g\" y=\"%g\" width=\"%g\" height=\"%g\" "
                "fill-opacity=\"%.3f\"/>",
                label == predicted ? "right" : "wrong", x, y, cell, cell, shade);
    if (d->confusion->classes <= NUMBERED) {
        gr_text_add(d->out, "<text class=\"%s\" x=\"%g\" y=\"%g\" text-anchor=\"middle\">",
                    shade > 0.6 ? "over" : "on", x + cell / 2, y + cell / 2 + 4);
        add_percent(d->out, 100 * share);
        gr_text_add(d->out, "</text>");
    }
    gr_text_add(d->out, "</g>\n");
}

static void draw_names(const struct drawing *d, double cell)
{
    for (int64_t i = 0; i < d->confusion->classes; i++) {
        const double at = ((double)i + 0.5) * cell;
        gr_text_add(d->out, "<text x=\"-8\" y=\"%g\" text-anchor=\"end\">", at + 4);
        add_name(d, i, NAME_LETTERS);
        gr_text_add(d->out, "</text><text transform=\"translate(%g -8) rotate(-90)\">", at + 4);
        add_name(d, i, NAME_LETTERS);
        gr_text_add(d->out, "</text>\n");
    }
}

static void open_drawing(const struct drawing *d, double side, double room)
{
    const double title = 22, edge = 2;
    const double width = room + title + side + edge, height = width;
    gr_text_add(d->out,
                "<div class=\"scroll\"><svg class=\"matrix\" style=\"width:%gpx\" viewBox=\"0 0 "
                "%g %g\" role=\"img\" aria-label=\"confusion matrix\">\n"
                "<text class=\"axis\" x=\"%g\" y=\"12\">predicted →</text>\n"
                "<text class=\"axis\" transform=\"translate(12 %g) rotate(-90)\" "
                "text-anchor=\"end\">← label</text>\n"
                "<g transform=\"translate(%g %g)\">\n<rect class=\"paper\" width=\"%g\" "
                "height=\"%g\"/>\n",
                width, width, height, room + title, room + title, room + title, room + title, side,
                side);
}

static void draw_named(const struct drawing *d)
{
    const int64_t classes = d->confusion->classes;
    const double fit = floor((double)SIDE / (double)classes);
    const double cell = fit < 16 ? 16 : fit > 48 ? 48 : fit;
    open_drawing(d, cell * (double)classes, name_room(d));
    for (int64_t label = 0; label < classes; label++) {
        const int64_t images = gr_confusion_images(d->confusion, label);
        for (int64_t c = 0; images && c < classes; c++)
            draw_cell(d, label, c, images, cell);
    }
    draw_names(d, cell);
    gr_text_add(d->out,
                "</g></svg></div>\n<p class=\"note\">Percent of the images of each label (a "
                "row); shades go by the square root, so that rare mistakes are seen.</p>\n");
}

/* ---- many classes ------------------------------------------------------------------------ */

/* The matrix as blocks of `each` classes a side. */
struct blocks {
    int64_t each, n;
    double *right;  /* [n] share of the images of a block that are recognised */
    double *wrong;  /* [n, n] share that is taken for a class of that block */
    double largest; /* of wrong */
};

static void sum_up(const struct drawing *d, struct blocks *blocks)
{
    const int64_t classes = d->confusion->classes;
    for (int64_t b = 0; b < blocks->n; b++) {
        double images = 0, *row = blocks->wrong + b * blocks->n;
        const int64_t end = (b + 1) * blocks->each < classes ? (b + 1) * blocks->each : classes;
        for (int64_t label = b * blocks->each; label < end; label++)
            for (int64_t c = 0; c < classes; c++) {
                const double count = count_of(d, label, c);
                images += count;
                if (c == label)
                    blocks->right[b] += count;
                else
                    row[c / blocks->each] += count;
            }
        blocks->right[b] /= images > 0 ? images : 1;
        for (int64_t c = 0; c < blocks->n; c++) {
            row[c] /= images > 0 ? images : 1;
            blocks->largest = row[c] > blocks->largest ? row[c] : blocks->largest;
        }
    }
}

static int shade_of(double share, double largest)
{
    return share > 0 ? (int)ceil(sqrt(share / largest) * SHADES) : 0;
}

/* All blocks of a shade are one path, in units of blocks. Mistakes lie below what is right. */
static void draw_shade(const struct drawing *d, const struct blocks *blocks, bool right, int shade)
{
    gr_text_add(d->out, "<path class=\"%s\" fill-opacity=\"%.3f\" d=\"", right ? "right" : "wrong",
                (double)shade / SHADES);
    for (int64_t row = 0; row < blocks->n; row++)
        for (int64_t c = 0; c < blocks->n; c++) {
            const double share =
                right ? (row == c ? blocks->right[row] : 0) : blocks->wrong[row * blocks->n + c];
            if (shade_of(share, right ? 1 : blocks->largest) == shade && !(row == c && !right))
                gr_text_add(d->out, "M%" PRId64 " %" PRId64 "h1v1h-1z", c, row);
        }
    gr_text_add(d->out, "\"/>\n");
}

static void draw_ticks(const struct drawing *d, const struct blocks *blocks, double cell)
{
    for (int64_t b = 0; b < blocks->n; b += (blocks->n + 9) / 10) {
        const double at = (double)b * cell;
        gr_text_add(d->out,
                    "<text x=\"-6\" y=\"%g\" text-anchor=\"end\">%" PRId64
                    "</text><text x=\"%g\" y=\"-6\">%" PRId64 "</text>\n",
                    at + 9, b * blocks->each, at, b * blocks->each);
    }
}

static void draw_blocks(const struct drawing *d, struct blocks *blocks)
{
    const double fit = floor((double)SIDE / (double)blocks->n);
    const double cell = fit < BLOCK ? BLOCK : fit;
    sum_up(d, blocks);
    open_drawing(d, cell * (double)blocks->n, 34);
    gr_text_add(d->out, "<g transform=\"scale(%g)\" shape-rendering=\"crispEdges\">\n", cell);
    for (int right = 0; right < 2; right++)
        for (int shade = 1; shade <= SHADES; shade++)
            draw_shade(d, blocks, right, shade);
    gr_text_add(d->out, "</g>\n");
    draw_ticks(d, blocks, cell);
    gr_text_add(d->out, "</g></svg></div>\n<p class=\"note\">");
    if (blocks->each > 1)
        gr_text_add(d->out,
                    "Scaled down: a cell is %" PRId64 " × %" PRId64 " of the %" PRId64 " classes. ",
                    blocks->each, blocks->each, d->confusion->classes);
    gr_text_add(d->out,
                "On the diagonal the share of images that are recognised; elsewhere mistakes, the "
                "darkest are %.2g %% of a row. Shades go by the square root.</p>\n",
                100 * blocks->largest);
}

static bool draw_many(const struct drawing *d, struct gr_error *err)
{
    struct blocks blocks = {.each = (d->confusion->classes + BLOCKS - 1) / BLOCKS};
    blocks.n = (d->confusion->classes + blocks.each - 1) / blocks.each;
    blocks.right = calloc((size_t)blocks.n, sizeof *blocks.right);
    blocks.wrong = calloc((size_t)(blocks.n * blocks.n), sizeof *blocks.wrong);
    const bool ok = blocks.right && blocks.wrong;
    if (ok)
        draw_blocks(d, &blocks);
    free(blocks.right);
    free(blocks.wrong);
    return ok || gr_fail_memory(err, "drawing a confusion matrix");
}

/* ---- tables ------------------------------------------------------------------------------ */

struct mistake {
    int64_t label, predicted;
    uint32_t count;
};

/* The most frequent mistakes, and how many of the list there are. */
static int find_mistakes(const struct drawing *d, struct mistake list[MISTAKES])
{
    int n = 0;
    for (int64_t label = 0; label < d->confusion->classes; label++)
        for (int64_t c = 0; c < d->confusion->classes; c++) {
            const struct mistake one = {label, c, count_of(d, label, c)};
            if (label == c || !one.count || (n == MISTAKES && one.count <= list[n - 1].count))
                continue;
            int at = n < MISTAKES ? n++ : n - 1;
            for (; at > 0 && list[at - 1].count < one.count; at--)
                list[at] = list[at - 1];
            list[at] = one;
        }
    return n;
}

static void add_cell(const struct drawing *d, int64_t class)
{
    gr_text_add(d->out, "<td>");
    add_name(d, class, 48);
    gr_text_add(d->out, "</td>");
}

static void add_mistakes(const struct drawing *d)
{
    struct mistake list[MISTAKES];
    const int n = find_mistakes(d, list);
    if (!n)
        return;
    gr_text_add(d->out,
                "<div><h3>Most frequent mistakes</h3><div class=\"scroll\"><table>\n<tr><th>"
                "label</th><th>taken for</th><th class=\"n\">images</th><th class=\"n\">of the "
                "label</th></tr>\n");
    for (int i = 0; i < n; i++) {
        const double images = (double)gr_confusion_images(d->confusion, list[i].label);
        gr_text_add(d->out, "<tr>");
        add_cell(d, list[i].label);
        add_cell(d, list[i].predicted);
        gr_text_add(d->out, "<td class=\"n\">%" PRIu32 "</td><td class=\"n\">%.1f %%</td></tr>\n",
                    list[i].count, 100 * list[i].count / images);
    }
    gr_text_add(d->out, "</table></div></div>\n");
}

/* A class and how its images fared. */
struct fared {
    int64_t class;
    struct gr_class_result result;
};

static double right_share(const struct fared *fared)
{
    return fared->result.images ? (double)fared->result.right / (double)fared->result.images : 1;
}

static int compare(const void *a, const void *b)
{
    const struct fared *one = a, *other = b;
    const double x = right_share(one), y = right_share(other);
    return x != y ? (x > y) - (x < y) : (one->class > other->class) - (one->class < other->class);
}

static void add_fared(const struct drawing *d, const struct fared *fared)
{
    gr_text_add(d->out, "<tr>");
    add_cell(d, fared->class);
    gr_text_add(d->out, "<td class=\"n\">%" PRId64 "</td><td class=\"n\">", fared->result.images);
    if (fared->result.images)
        gr_text_add(d->out, "%.1f %%</td>", 100 * right_share(fared));
    else
        gr_text_add(d->out, "–</td>");
    if (fared->result.mistaken_for >= 0)
        add_cell(d, fared->result.mistaken_for);
    else
        gr_text_add(d->out, "<td>–</td>");
    gr_text_add(d->out, "</tr>\n");
}

static bool add_classes(const struct drawing *d, struct gr_error *err)
{
    const int64_t classes = d->confusion->classes;
    struct fared *all = calloc((size_t)classes, sizeof *all);
    if (!all)
        return gr_fail_memory(err, "a table of classes");
    for (int64_t i = 0; i < classes; i++) {
        all[i].class = i;
        gr_confusion_class(d->confusion, i, &all[i].result);
    }
    qsort(all, (size_t)classes, sizeof *all, compare);
    gr_text_add(d->out,
                "<div><h3>%s</h3><div class=\"scroll\"><table>\n<tr><th>class</th>"
                "<th class=\"n\">images</th><th class=\"n\">recognised</th><th>mostly taken "
                "for</th></tr>\n",
                classes > WORST ? "Classes that fare worst" : "Classes, from the worst");
    for (int64_t i = 0; i < classes && i < WORST; i++)
        add_fared(d, &all[i]);
    gr_text_add(d->out, "</table></div></div>\n");
    free(all);
    return true;
}

bool gr_matrix_draw(const struct gr_confusion *confusion, const char *const *names,
                    struct gr_text *out, struct gr_error *err)
{
    const struct drawing d = {confusion, names, out};
    gr_text_add(out, "<div class=\"confusion\">\n<div>\n");
    if (confusion->classes <= NAMED)
        draw_named(&d);
    else if (!draw_many(&d, err))
        return false;
    gr_text_add(out, "</div>\n<div class=\"tables\">\n");
    add_mistakes(&d);
    const bool ok = add_classes(&d, err);
    gr_text_add(out, "</div>\n</div>\n");
    return ok;
}
