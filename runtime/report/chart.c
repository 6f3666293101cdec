/*
 * Charts drawn; see chart.h. Coordinates are pixels of the view box, of which a line needs no more
 * than one digit behind the point.
 */
#include "report/chart.h"

#include <math.h>
#include <stdlib.h>

#include "report/axis.h"

enum {
    WIDE = 1080,
    NARROW = 528,
    HEIGHT = 290,
    LEFT = 56,
    RIGHT = 20,
    TOP = 10,
    BOTTOM = 42,
    MOST_DOTS = 64,
    DIGITS_FEW = 9, /* of data where there are few points: as in the metrics */
    DIGITS = 5,
};

/* The area between the axes. */
struct plot {
    const struct gr_chart *chart;
    struct gr_axis x, y;
    double left, right, top, bottom; /* px */
    struct gr_text *out;
};

/* ---- ranges ------------------------------------------------------------------------------ */

struct range {
    double low, high;
};

static const struct range nothing = {INFINITY, -INFINITY};

static void widen(struct range *range, double value)
{
    if (isnan(value))
        return;
    range->low = value < range->low ? value : range->low;
    range->high = value > range->high ? value : range->high;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The range of a series' values, without a share of them at either end. */
static struct range range_without(const struct gr_chart_series *series, double share)
{
    struct range range = nothing;
    double *sorted = malloc((series->n + 1) * sizeof *sorted);
    size_t n = 0;
    for (size_t i = 0; sorted && i < series->n; i++)
        if (!isnan(series->y[i]))
            sorted[n++] = series->y[i];
    if (n) {
        const size_t out = (size_t)((double)n * share);
        qsort(sorted, n, sizeof *sorted, compare);
        range = (struct range){sorted[out], sorted[n - 1 - out]};
    }
    free(sorted);
    return range;
}

/* What lies in the background counts without its rare extremes. */
static bool find_ranges(const struct gr_chart *chart, struct range *x, struct range *y)
{
    *x = *y = nothing;
    for (size_t s = 0; s < chart->n_series; s++) {
        const struct gr_chart_series *series = &chart->series[s];
        const struct range own =
            range_without(series, series->style == GR_CHART_THIN || chart->trim ? 0.02 : 0);
        widen(y, own.low);
        widen(y, own.high);
        for (size_t i = 0; i < series->n; i++)
            widen(x, series->x[i]);
    }
    return x->low <= x->high && y->low <= y->high;
}

static bool is_log(const struct gr_chart *chart, const struct range *y)
{
    struct range usual = nothing;
    for (size_t s = 0; s < chart->n_series; s++)
        if (chart->series[s].style != GR_CHART_THIN)
            widen(&usual, range_without(&chart->series[s], 0.1).low);
    return chart->log_ratio > 0 && y->low > 0 && y->high / usual.low >= chart->log_ratio;
}

static bool lay_out(struct plot *plot)
{
    const struct gr_chart *chart = plot->chart;
    struct range x, y;
    if (!find_ranges(chart, &x, &y))
        return false;
    const bool log = is_log(chart, &y);
    if (!log && y.low > 0 && (chart->from_zero || y.low < 0.4 * y.high))
        y.low = 0;
    if (y.high < chart->reach)
        y.high = chart->reach;
    plot->left = LEFT;
    plot->right = (chart->wide ? WIDE : NARROW) - RIGHT;
    plot->top = TOP;
    plot->bottom = HEIGHT - BOTTOM;
    const double room = log ? 1.1 : 1;
    plot->y = gr_axis_make(y.low / room, y.high * room, 5, log, true);
    int marks = chart->wide ? 10 : 6;
    if (chart->whole_x && x.high - x.low < marks)
        marks = x.high > x.low ? (int)(x.high - x.low) : 1;
    if (chart->whole_x && x.low == x.high)
        x = (struct range){x.low - 0.5, x.high + 0.5};
    plot->x = gr_axis_make(x.low, x.high, marks, false, false);
    return true;
}

static double x_of(const struct plot *plot, double x)
{
    return plot->left + gr_axis_place(&plot->x, x) * (plot->right - plot->left);
}

/* What lies far outside is drawn just outside. */
static double y_of(const struct plot *plot, double y)
{
    double place = gr_axis_place(&plot->y, y);
    place = place < -0.2 ? -0.2 : place > 1.2 ? 1.2 : place;
    return plot->bottom - place * (plot->bottom - plot->top);
}

/* ---- axes -------------------------------------------------------------------------------- */

static void draw_axes(const struct plot *plot)
{
    struct gr_text *out = plot->out;
    for (int i = 0; i < plot->y.n_ticks; i++) {
        const double y = y_of(plot, plot->y.ticks[i]);
        gr_text_add(out, "<path class=\"grid\" d=\"M%g %.1fH%g\"/>", plot->left, y, plot->right);
        gr_text_add(out, "<text class=\"tick\" x=\"%g\" y=\"%.1f\" text-anchor=\"end\">",
                    plot->left - 8, y + 4);
        gr_axis_label(&plot->y, plot->y.ticks[i], plot->chart->percent, out);
        gr_text_add(out, "</text>\n");
    }
    for (int i = 0; i < plot->x.n_ticks; i++) {
        const double x = x_of(plot, plot->x.ticks[i]);
        gr_text_add(out, "<path class=\"mark\" d=\"M%.1f %gv5\"/>", x, plot->bottom);
        gr_text_add(out, "<text class=\"tick\" x=\"%.1f\" y=\"%g\" text-anchor=\"middle\">", x,
                    plot->bottom + 18);
        gr_axis_label(&plot->x, plot->x.ticks[i], false, out);
        gr_text_add(out, "</text>\n");
    }
    gr_text_add(out, "<path class=\"mark\" d=\"M%g %gH%g\"/>", plot->left, plot->bottom,
                plot->right);
    gr_text_add(out, "<text class=\"axis\" x=\"%g\" y=\"%d\" text-anchor=\"end\">", plot->right,
                HEIGHT - 6);
    gr_html_text(out, plot->chart->x_title);
    gr_text_add(out, "</text>\n");
}

/* ---- series ------------------------------------------------------------------------------ */

static void draw_line(const struct plot *plot, const struct gr_chart_series *series)
{
    bool down = false;
    gr_text_add(plot->out, "<path class=\"line\" d=\"");
    for (size_t i = 0; i < series->n; i++) {
        if (!isnan(series->y[i]))
            gr_text_add(plot->out, "%s%.1f %.1f", down ? "L" : "M", x_of(plot, series->x[i]),
                        y_of(plot, series->y[i]));
        down = !isnan(series->y[i]);
    }
    gr_text_add(plot->out, "\"/>\n");
}

/* From high to low and back, a piece for each stretch without gaps. */
static void draw_band(const struct plot *plot, const struct gr_chart_series *series)
{
    gr_text_add(plot->out, "<path class=\"band\" d=\"");
    for (size_t from = 0, to; from < series->n; from = to + 1) {
        for (to = from; to < series->n && !isnan(series->low[to]); to++)
            gr_text_add(plot->out, "%s%.1f %.1f", to == from ? "M" : "L", x_of(plot, series->x[to]),
                        y_of(plot, series->high[to]));
        for (size_t i = to; i > from; i--)
            gr_text_add(plot->out, "L%.1f %.1f", x_of(plot, series->x[i - 1]),
                        y_of(plot, series->low[i - 1]));
        gr_text_add(plot->out, "%s", to > from ? "z" : "");
    }
    gr_text_add(plot->out, "\"/>\n");
}

static void draw_dots(const struct plot *plot, const struct gr_chart_series *series)
{
    for (size_t i = 0; i < series->n; i++)
        if (!isnan(series->y[i]))
            gr_text_add(plot->out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\"/>",
                        x_of(plot, series->x[i]), y_of(plot, series->y[i]));
}

static void draw_series(const struct plot *plot)
{
    static const char *const styles[] = {"plain", "thin", "dashed", "dots"};
    for (size_t s = 0; s < plot->chart->n_series; s++) {
        const struct gr_chart_series *series = &plot->chart->series[s];
        gr_text_add(plot->out, "<g class=\"series c%d %s\" data-group=\"%d\">\n",
                    series->colour % GR_CHART_COLOURS, styles[series->style], series->group);
        if (series->low)
            draw_band(plot, series);
        draw_line(plot, series);
        if (series->style == GR_CHART_DOTS ? series->n <= MOST_DOTS : series->n == 1)
            draw_dots(plot, series);
        gr_text_add(plot->out, "</g>\n");
    }
}

/* ---- the data ---------------------------------------------------------------------------- */

static void add_numbers(struct gr_text *out, const char *name, const double *values, size_t n,
                        int digits)
{
    gr_text_add(out, ",\"%s\":[", name);
    for (size_t i = 0; i < n; i++) {
        gr_text_add(out, "%s", i ? "," : "");
        gr_json_number(out, values[i], digits);
    }
    gr_text_add(out, "]");
}

static void add_data(const struct plot *plot)
{
    const struct gr_chart *chart = plot->chart;
    struct gr_text *out = plot->out;
    gr_text_add(out,
                "<script type=\"application/json\" class=\"data\">{\"plot\":[%g,%g,%g,%g],"
                "\"x\":[%.9g,%.9g],\"y\":[%.9g,%.9g],\"log\":%s,\"percent\":%s,\"xTitle\":",
                plot->left, plot->right, plot->top, plot->bottom, plot->x.low, plot->x.high,
                plot->y.low, plot->y.high, plot->y.log ? "true" : "false",
                chart->percent ? "true" : "false");
    gr_json_text(out, chart->x_title);
    gr_text_add(out, ",\"series\":[");
    for (size_t s = 0; s < chart->n_series; s++) {
        const struct gr_chart_series *series = &chart->series[s];
        const int digits = series->n <= 400 ? DIGITS_FEW : DIGITS;
        gr_text_add(out, "%s\n{\"name\":", s ? "," : "");
        gr_json_text(out, series->name);
        gr_text_add(out, ",\"colour\":%d", series->colour % GR_CHART_COLOURS);
        add_numbers(out, "x", series->x, series->n, DIGITS_FEW);
        add_numbers(out, "y", series->y, series->n, digits);
        if (series->low) {
            add_numbers(out, "low", series->low, series->n, digits);
            add_numbers(out, "high", series->high, series->n, digits);
        }
        gr_text_add(out, "}");
    }
    gr_text_add(out, "]}</script>\n");
}

/* ---- the figure -------------------------------------------------------------------------- */

static void add_legend(const struct gr_chart *chart, struct gr_text *out)
{
    static const char *const styles[] = {"plain", "thin", "dashed", "dots"};
    gr_text_add(out, "<ul class=\"legend\">");
    for (size_t s = 0; s < chart->n_series && chart->n_series > 1; s++) {
        const struct gr_chart_series *series = &chart->series[s];
        if (series->unlisted)
            continue;
        gr_text_add(out, "<li class=\"c%d %s\" data-group=\"%d\"><i></i>",
                    series->colour % GR_CHART_COLOURS, styles[series->style], series->group);
        gr_html_text(out, series->legend ? series->legend : series->name);
        gr_text_add(out, "</li>");
    }
    gr_text_add(out, "</ul>\n");
}

void gr_chart_draw(const struct gr_chart *chart, struct gr_text *out)
{
    struct plot plot = {.chart = chart, .out = out};
    if (!lay_out(&plot))
        return;
    const int width = chart->wide ? WIDE : NARROW;
    gr_text_add(out, "<figure class=\"chart%s\" id=\"%s\">\n<figcaption><h3>",
                chart->wide ? " wide" : "", chart->id);
    gr_html_text(out, chart->title);
    gr_text_add(out, "%s</h3>", plot.y.log ? " <small>logarithmic</small>" : "");
    add_legend(chart, out);
    gr_text_add(out,
                "</figcaption>\n<div class=\"scroll\"><svg viewBox=\"0 0 %d %d\" role=\"img\" "
                "aria-label=\"",
                width, HEIGHT);
    gr_html_text(out, chart->title);
    gr_text_add(out,
                "\"><clipPath id=\"%s-clip\"><rect x=\"%g\" y=\"%g\" width=\"%g\" "
                "height=\"%g\"/></clipPath>\n",
                chart->id, plot.left - 4, plot.top - 4, plot.right - plot.left + 8,
                plot.bottom - plot.top + 8);
    draw_axes(&plot);
    gr_text_add(out, "<g clip-path=\"url(#%s-clip)\">\n", chart->id);
    draw_series(&plot);
    gr_text_add(out, "</g></svg></div>\n");
    if (chart->note)
        gr_text_add(out, "<p class=\"note\">%s</p>\n", chart->note);
    add_data(&plot);
    gr_text_add(out, "</figure>\n");
}
