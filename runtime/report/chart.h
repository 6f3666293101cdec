/*
 * Line charts as a figure of HTML: the SVG is complete by itself; the data that follow it let the
 * page's script show values under the pointer.
 */
#ifndef GR_REPORT_CHART_H
#define GR_REPORT_CHART_H

#include "report/markup.h"

enum gr_chart_style {
    GR_CHART_LINE,
    GR_CHART_THIN, /* in the background, with a band from low to high */
    GR_CHART_DASHED,
    GR_CHART_DOTS, /* a line with its points marked, if they are few */
};

struct gr_chart_series {
    const char *name;   /* under the pointer */
    const char *legend; /* in the legend; NULL: the name */
    int colour;         /* from 0; they repeat after GR_CHART_COLOURS */
    enum gr_chart_style style;
    int group;           /* is shown and hidden as one, by the entry of the first in the legend */
    bool unlisted;       /* no entry in the legend */
    size_t n;            /* points, x rising; y NaN is a gap */
    const double *x, *y; /* [n] */
    const double *low;   /* [n], or NULL: no band */
    const double *high;
};

enum { GR_CHART_COLOURS = 8, GR_CHART_SERIES = 32 };

struct gr_chart {
    const char *id, *title, *note; /* note: markup, or NULL */
    const char *x_title;
    bool percent;   /* y is a share */
    bool whole_x;   /* x has no fractions: epochs */
    bool from_zero; /* y starts there */
    bool trim;      /* y leaves out rare extremes */
    double reach;   /* y reaches at least so high */
    bool wide;      /* over the whole page */
    /* y is on a logarithmic scale where all but a tenth of the points span this ratio; 0: never. */
    double log_ratio;
    const struct gr_chart_series *series;
    size_t n_series;
};

/* Appends the figure; nothing if there is nothing to show. */
void gr_chart_draw(const struct gr_chart *chart, struct gr_text *out);

#endif
