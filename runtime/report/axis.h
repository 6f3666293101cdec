/*
 * An axis of a chart: its range, and where it is marked.
 */
#ifndef GR_REPORT_AXIS_H
#define GR_REPORT_AXIS_H

#include "report/markup.h"

enum { GR_AXIS_TICKS = 24 };

struct gr_axis {
    double low, high; /* low < high */
    bool log;
    double ticks[GR_AXIS_TICKS]; /* within the range */
    int n_ticks;
    double step; /* between ticks of a linear axis */
};

/*
 * An axis for values from low to high, widened to end at marks if round, with about `marks` of
 * them. A logarithmic one needs low > 0. Values of any size are fine.
 */
struct gr_axis gr_axis_make(double low, double high, int marks, bool log, bool round);

/* Where a value lies: 0 at low, 1 at high. */
double gr_axis_place(const struct gr_axis *axis, double value);

/* Appends the text of a tick: "0.25", "10k", "1e-05", "40 %". */
void gr_axis_label(const struct gr_axis *axis, double tick, bool percent, struct gr_text *out);

#endif
