/*
 * Thinning the figures of steps; see curve.h.
 */
#include "report/curve.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void merge(struct gr_curve_point *into, const struct gr_curve_point *next)
{
    const int64_t finite = into->finite + next->finite;
    if (next->finite) {
        into->loss += (next->loss - into->loss) * (double)next->finite / (double)finite;
        if (!into->finite || next->loss_min < into->loss_min)
            into->loss_min = next->loss_min;
        if (!into->finite || next->loss_max > into->loss_max)
            into->loss_max = next->loss_max;
    }
    into->finite = finite;
    into->last = next->last;
    into->learning_rate = next->learning_rate;
    into->images += next->images;
    into->seconds += next->seconds;
    into->wait += next->wait;
}

/* Which point a step belongs to. */
static int64_t place(const struct gr_curve *curve, int64_t step)
{
    return (step - 1) / curve->stride;
}

/* Makes each point stand for twice as many steps. */
static void halve(struct gr_curve *curve)
{
    size_t kept = 0;
    curve->stride *= 2;
    for (size_t i = 1; i < curve->count; i++)
        if (place(curve, curve->points[i].first) == place(curve, curve->points[kept].first))
            merge(&curve->points[kept], &curve->points[i]);
        else
            curve->points[++kept] = curve->points[i];
    curve->count = curve->count ? kept + 1 : 0;
}

static void take_back(struct gr_curve *curve, int64_t step)
{
    while (curve->count && curve->points[curve->count - 1].first >= step)
        curve->count--;
    if (curve->count && curve->points[curve->count - 1].last >= step)
        curve->points[curve->count - 1].last = step - 1;
}

static bool make(struct gr_curve *curve, struct gr_error *err)
{
    if (!curve->points)
        curve->points = calloc(GR_CURVE_POINTS, sizeof *curve->points);
    if (!curve->stride)
        curve->stride = 1;
    return curve->points || gr_fail_memory(err, "the curve of a run");
}

bool gr_curve_add(struct gr_curve *curve, const struct gr_curve_step *step, struct gr_error *err)
{
    const bool finite = isfinite(step->loss);
    const struct gr_curve_point point = {.first = step->step,
                                         .last = step->step,
                                         .finite = finite,
                                         .loss = finite ? step->loss : 0,
                                         .loss_min = finite ? step->loss : 0,
                                         .loss_max = finite ? step->loss : 0,
                                         .learning_rate = step->learning_rate,
                                         .images = step->images,
                                         .seconds = step->seconds,
                                         .wait = step->wait};
    if (!make(curve, err))
        return false;
    take_back(curve, step->step);
    struct gr_curve_point *last = curve->count ? &curve->points[curve->count - 1] : NULL;
    if (last && place(curve, last->first) == place(curve, step->step)) {
        merge(last, &point);
        return true;
    }
    while (curve->count == GR_CURVE_POINTS)
        halve(curve);
    curve->points[curve->count++] = point;
    return true;
}

void gr_curve_reduce(struct gr_curve *curve, size_t most)
{
    while (curve->count > most && curve->stride < INT64_MAX / 2)
        halve(curve);
}

bool gr_curve_copy(struct gr_curve *curve, const struct gr_curve *from, struct gr_error *err)
{
    *curve = (struct gr_curve){0};
    if (!make(curve, err))
        return false;
    if (from->count)
        memcpy(curve->points, from->points, from->count * sizeof *from->points);
    curve->count = from->count;
    curve->stride = from->stride ? from->stride : 1;
    return true;
}

void gr_curve_release(struct gr_curve *curve)
{
    free(curve->points);
    *curve = (struct gr_curve){0};
}

void gr_curve_smooth(const double *values, size_t n, double *smooth)
{
    const size_t reach = n / 50;
    for (size_t i = 0; i < n; i++) {
        const size_t before = i < reach ? i : reach;
        size_t after = before; /* at the steep beginning as far to one side as to the other */
        after = n - 1 - i < after ? n - 1 - i : after;
        double sum = 0, weights = 0;
        for (size_t k = i - before; k <= i + after; k++) {
            const double weight = (double)(before + 1 - (k < i ? i - k : k - i));
            if (!isnan(values[k])) {
                sum += weight * values[k];
                weights += weight;
            }
        }
        smooth[i] = isnan(values[i]) ? (double)NAN : sum / weights;
    }
}
