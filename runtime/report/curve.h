/*
 * The figures of a run's training steps, in bounded memory however many steps there are: points
 * that stand for one step each, then for two, four, ... as the run goes on. A point keeps mean and
 * extremes, so that no outlier is lost and rates are those of the steps summed.
 */
#ifndef GR_REPORT_CURVE_H
#define GR_REPORT_CURVE_H

#include "base/error.h"

/* At most; when they are used up, neighbours merge, which leaves half. */
enum { GR_CURVE_POINTS = 2048 };

struct gr_curve_point {
    int64_t first, last;             /* steps, counting from 1 */
    int64_t finite;                  /* of them, with a loss that is finite */
    double loss, loss_min, loss_max; /* of these: mean, extremes */
    double learning_rate;            /* of the last step */
    double images, seconds, wait;    /* sums; wait: seconds without data */
};

/* Zero-initialised is empty. */
struct gr_curve {
    struct gr_curve_point *points; /* [GR_CURVE_POINTS], heap; NULL until the first is added */
    size_t count;
    int64_t stride; /* steps that a point stands for, a power of two */
};

/* The figures of one step. A loss that is not finite is none. */
struct gr_curve_step {
    int64_t step; /* from 1 */
    double loss, learning_rate;
    double images, seconds, wait;
};

/*
 * Adds a step. One that is not after the last (a run resumed from before it) takes back all that
 * came from it on. False and *err: out of memory.
 */
bool gr_curve_add(struct gr_curve *curve, const struct gr_curve_step *step, struct gr_error *err);

/* Merges neighbours until there are at most so many points. */
void gr_curve_reduce(struct gr_curve *curve, size_t most);

/* A copy. False and *err: out of memory. */
bool gr_curve_copy(struct gr_curve *curve, const struct gr_curve *from, struct gr_error *err);
void gr_curve_release(struct gr_curve *curve);

/*
 * Smooths n values into `smooth`: at each the mean of those within n / 50 places of it, the nearer
 * the weightier. NaN are gaps, left out of the means and kept.
 */
void gr_curve_smooth(const double *values, size_t n, double *smooth);

#endif
