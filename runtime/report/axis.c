/*
 * Ranges and marks; see axis.h.
 */
#include "report/axis.h"

#include <math.h>

/* Ranges beyond would overflow. */
static const double largest = 1e290;

static double bounded(double value)
{
    return value > largest ? largest : value < -largest ? -largest : value;
}

/* 1, 2 or 5 times a power of ten, at least `least`. */
static double nice_step(double least)
{
    const double power = pow(10, floor(log10(least)));
    const double times = least / power;
    return power * (times <= 1.0001 ? 1 : times <= 2.0001 ? 2 : times <= 5.0001 ? 5 : 10);
}

static void mark_linear(struct gr_axis *axis, int marks, bool round)
{
    axis->step = nice_step((axis->high - axis->low) / marks);
    if (round) {
        axis->low = floor(axis->low / axis->step + 1e-6) * axis->step;
        axis->high = ceil(axis->high / axis->step - 1e-6) * axis->step;
    }
    const double first = ceil(axis->low / axis->step - 1e-6);
    for (int i = 0; i < GR_AXIS_TICKS; i++) {
        const double tick = (first + i) * axis->step;
        if (tick > axis->high + 1e-6 * axis->step)
            break;
        axis->ticks[axis->n_ticks++] = tick;
    }
}

/* Powers of ten, and twice and five times these where there are few. */
static void mark_log(struct gr_axis *axis)
{
    static const double times[] = {1, 2, 5};
    const double decades = log10(axis->high) - log10(axis->low);
    const int every = decades > 12 ? (int)ceil(decades / 8) : 1;
    const size_t parts = decades < 2.5 ? 3 : 1;
    for (double power = floor(log10(axis->low)); power <= log10(axis->high); power += every)
        for (size_t i = 0; i < parts && axis->n_ticks < GR_AXIS_TICKS; i++) {
            const double tick = times[i] * pow(10, power);
            if (tick >= axis->low * 0.9999 && tick <= axis->high * 1.0001)
                axis->ticks[axis->n_ticks++] = tick;
        }
}

struct gr_axis gr_axis_make(double low, double high, int marks, bool log, bool round)
{
    struct gr_axis axis = {.low = bounded(low), .high = bounded(high), .log = log};
    if (log) {
        axis.low = low < 1e-290 ? 1e-290 : axis.low;
        if (axis.high < axis.low * 1.01) {
            axis.high = 2 * axis.low;
            axis.low /= 2;
        }
        mark_log(&axis);
        return axis;
    }
    const double size = fabs(axis.low) > fabs(axis.high) ? fabs(axis.low) : fabs(axis.high);
    if (axis.high - axis.low <= fmax(1e-9 * size, 1e-280)) { /* one value */
        const double room = size > 1e-280 ? 0.1 * size : 1;
        axis.low -= room;
        axis.high += room;
    }
    mark_linear(&axis, marks, round);
    return axis;
}

double gr_axis_place(const struct gr_axis *axis, double value)
{
    if (axis->log)
        return value > 0 ? (log(value) - log(axis->low)) / (log(axis->high) - log(axis->low)) : -1;
    return (bounded(value) - axis->low) / (axis->high - axis->low);
}

/* Digits behind the point that tell ticks apart. */
static int decimals(double step)
{
    const int digits = (int)-floor(log10(step) + 1e-6);
    return digits < 0 ? 0 : digits;
}

void gr_axis_label(const struct gr_axis *axis, double tick, bool percent, struct gr_text *out)
{
    const double value = percent ? 100 * tick : tick;
    const double step = axis->log ? fabs(value) : percent ? 100 * axis->step : axis->step;
    const double size = fabs(axis->high) > fabs(axis->low) ? axis->high : axis->low;
    const double top = axis->log ? value : percent ? 100 * size : size;
    if (fabs(value) < 1e-3 * step)
        gr_text_add(out, "0");
    else if (axis->log ? value < 1e-3 || value >= 1e6 : step < 1e-4 || fabs(top) >= 1e9)
        gr_text_add(out, "%.3g", value);
    else if (step >= 1000 && fabs(top) >= 1e6)
        gr_text_add(out, "%gM", value / 1e6);
    else if (step >= 100 && fabs(top) >= 1e4)
        gr_text_add(out, "%gk", value / 1e3);
    else
        gr_text_add(out, "%.*f", axis->log && value >= 1 ? 0 : decimals(step), value);
    gr_text_add(out, "%s", percent ? " %" : "");
}
