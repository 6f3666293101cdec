/*
 * The loops of batch_norm; see batch_norm_loops.h. Beside each loop over lanes, whose number the
 * compiler must know to be fast, stands a flat one for plain memory.
 */
#include "batch_norm_loops.h"

#include <string.h>

enum { MAX_LANES = 16 };

int64_t gr_norm_lanes(const struct gr_layout *layout)
{
    if (!layout || layout == &gr_layout_plain)
        return 1;
    return strncmp(layout->name, "nChw16c", 7) == 0  ? 16
           : strncmp(layout->name, "nChw8c", 6) == 0 ? 8
                                                     : 1;
}

struct gr_norm_form gr_norm_form_of(const struct gr_shape *shape, int64_t lanes)
{
    struct gr_norm_form form = {.N = shape->dim[0], .C = shape->dim[1], .HW = 1, .lanes = lanes};
    for (int i = 2; i < shape->rank; i++)
        form.HW *= shape->dim[i];
    form.blocks = (form.C + lanes - 1) / lanes;
    return form;
}

int64_t gr_norm_padded(const struct gr_norm_form *form)
{
    return form->blocks * form->lanes;
}

/* ---- forward ----------------------------------------------------------------------------- */

static inline void normalise_lanes(const float *x, float *y, int64_t HW, int64_t lanes,
                                   const float *mean, const float *scale, const float *bias)
{
    for (int64_t i = 0; i < HW; i++)
#pragma omp simd
        for (int64_t l = 0; l < lanes; l++)
            y[i * lanes + l] = (x[i * lanes + l] - mean[l]) * scale[l] + bias[l];
}

static inline void normalise_flat(const float *x, float *y, int64_t HW, float mean, float scale,
                                  float bias)
{
#pragma omp simd
    for (int64_t i = 0; i < HW; i++)
        y[i] = (x[i] - mean) * scale + bias;
}

void gr_norm_apply(const struct gr_norm_form *form, const float *x, float *y,
                   const struct gr_norm_affine *a)
{
    const int64_t slab = form->HW * form->lanes;
#pragma omp parallel for collapse(2) schedule(static)
    for (int64_t n = 0; n < form->N; n++)
        for (int64_t b = 0; b < form->blocks; b++) {
            const int64_t at = (n * form->blocks + b) * slab, c = b * form->lanes;
            if (form->lanes == 1)
                normalise_flat(x + at, y + at, form->HW, a->mean[c], a->scale[c], a->bias[c]);
            else if (form->lanes == 8)
                normalise_lanes(x + at, y + at, form->HW, 8, a->mean + c, a->scale + c,
                                a->bias + c);
            else
                normalise_lanes(x + at, y + at, form->HW, 16, a->mean + c, a->scale + c,
                                a->bias + c);
        }
}

/* The mean of each lane of a slab and the sum of squared deviations from it. */
static inline void slab_moments(const float *x, int64_t HW, int64_t lanes, float *mean, float *m2)
{
    float sum[MAX_LANES] = {0}, square[MAX_LANES] = {0};
    for (int64_t i = 0; i < HW; i++)
#pragma omp simd
        for (int64_t l = 0; l < lanes; l++)
            sum[l] += x[i * lanes + l];
    for (int64_t l = 0; l < lanes; l++)
        mean[l] = sum[l] / (float)HW;
    for (int64_t i = 0; i < HW; i++)
#pragma omp simd
        for (int64_t l = 0; l < lanes; l++) {
            const float d = x[i * lanes + l] - mean[l];
            square[l] += d * d;
        }
    for (int64_t l = 0; l < lanes; l++)
        m2[l] = square[l];
}

static inline void slab_moments_flat(const float *x, int64_t HW, float *mean, float *m2)
{
    float sum = 0, square = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < HW; i++)
        sum += x[i];
    const float m = sum / (float)HW;
#pragma omp simd reduction(+ : square)
    for (int64_t i = 0; i < HW; i++)
        square += (x[i] - m) * (x[i] - m);
    *mean = m;
    *m2 = square;
}

/*
 * Slabs are equally large, so their moments join as M2 = sum M2_s + HW · sum (mean_s - mean)^2.
 */
void gr_norm_moments(const struct gr_norm_form *form, const float *x, float *scratch, float *mean,
                     float *variance)
{
    const int64_t slab = form->HW * form->lanes, width = gr_norm_padded(form);
    float *means = scratch, *squares = scratch + form->N * width; /* [N, padded] each */
#pragma omp parallel for collapse(2) schedule(static)
    for (int64_t n = 0; n < form->N; n++)
        for (int64_t b = 0; b < form->blocks; b++) {
            const float *from = x + (n * form->blocks + b) * slab;
            float *m = means + n * width + b * form->lanes;
            float *s = squares + n * width + b * form->lanes;
            if (form->lanes == 1)
                slab_moments_flat(from, form->HW, m, s);
            else if (form->lanes == 8)
                slab_moments(from, form->HW, 8, m, s);
            else
                slab_moments(from, form->HW, 16, m, s);
        }
#pragma omp parallel for schedule(static)
    for (int64_t c = 0; c < form->C; c++) {
        double sum = 0, m2 = 0;
        for (int64_t n = 0; n < form->N; n++)
            sum += (double)means[n * width + c];
        const double average = sum / (double)form->N;
        for (int64_t n = 0; n < form->N; n++) {
            const double d = (double)means[n * width + c] - average;
            m2 += (double)squares[n * width + c] + (double)form->HW * d * d;
        }
        mean[c] = (float)average;
        variance[c] = (float)(m2 / ((double)form->N * (double)form->HW));
    }
}

/* ---- backward ---------------------------------------------------------------------------- */

/* The sums of dy and of dy · (x - mean) of each lane of a slab. */
static inline void slab_sums(const float *dy, const float *x, int64_t HW, int64_t lanes,
                             const float *mean, float *sum, float *product)
{
    float s[MAX_LANES] = {0}, p[MAX_LANES] = {0};
    for (int64_t i = 0; i < HW; i++)
#pragma omp simd
        for (int64_t l = 0; l < lanes; l++) {
            s[l] += dy[i * lanes + l];
            p[l] += dy[i * lanes + l] * (x[i * lanes + l] - mean[l]);
        }
    for (int64_t l = 0; l < lanes; l++) {
        sum[l] = s[l];
        product[l] = p[l];
    }
}

static inline void slab_sums_flat(const float *dy, const float *x, int64_t HW, float mean,
                                  float *sum, float *product)
{
    float s = 0, p = 0;
#pragma omp simd reduction(+ : s, p)
    for (int64_t i = 0; i < HW; i++) {
        s += dy[i];
        p += dy[i] * (x[i] - mean);
    }
    *sum = s;
    *product = p;
}

void gr_norm_sums(const struct gr_norm_form *form, const float *dy, const float *x,
                  const float *mean, float *scratch, double *sum, double *product)
{
    const int64_t slab = form->HW * form->lanes, width = gr_norm_padded(form);
    float *sums = scratch, *products = scratch + form->N * width; /* [N, padded] each */
#pragma omp parallel for collapse(2) schedule(static)
    for (int64_t n = 0; n < form->N; n++)
        for (int64_t b = 0; b < form->blocks; b++) {
            const int64_t at = (n * form->blocks + b) * slab, c = b * form->lanes;
            float *s = sums + n * width + c, *p = products + n * width + c;
            if (form->lanes == 1)
                slab_sums_flat(dy + at, x + at, form->HW, mean[c], s, p);
            else if (form->lanes == 8)
                slab_sums(dy + at, x + at, form->HW, 8, mean + c, s, p);
            else
                slab_sums(dy + at, x + at, form->HW, 16, mean + c, s, p);
        }
    for (int64_t c = 0; c < form->C; c++) {
        sum[c] = product[c] = 0;
        for (int64_t n = 0; n < form->N; n++) {
            sum[c] += (double)sums[n * width + c];
            product[c] += (double)products[n * width + c];
        }
    }
}

static inline void differentiate(const float *dy, const float *x, float *dx, int64_t HW,
                                 int64_t lanes, const struct gr_norm_slope *s, int64_t c)
{
    const float *mean = s->mean + c, *scale = s->scale + c;
    const float *shift = s->shift + c, *slope = s->slope + c;
    for (int64_t i = 0; i < HW; i++)
#pragma omp simd
        for (int64_t l = 0; l < lanes; l++) {
            const int64_t at = i * lanes + l;
            dx[at] = scale[l] * (dy[at] - shift[l] - (x[at] - mean[l]) * slope[l]);
        }
}

static void differentiate_flat(const float *dy, const float *x, float *dx, int64_t HW, float mean,
                               float scale, float shift, float slope)
{
#pragma omp simd
    for (int64_t i = 0; i < HW; i++)
        dx[i] = scale * (dy[i] - shift - (x[i] - mean) * slope);
}

void gr_norm_gradient(const struct gr_norm_form *form, const float *dy, const float *x, float *dx,
                      const struct gr_norm_slope *s)
{
    const int64_t slab = form->HW * form->lanes;
#pragma omp parallel for collapse(2) schedule(static)
    for (int64_t n = 0; n < form->N; n++)
        for (int64_t b = 0; b < form->blocks; b++) {
            const int64_t at = (n * form->blocks + b) * slab, c = b * form->lanes;
            if (form->lanes == 1)
                differentiate_flat(dy + at, x + at, dx + at, form->HW, s->mean[c], s->scale[c],
                                   s->shift[c], s->slope[c]);
            else if (form->lanes == 8)
                differentiate(dy + at, x + at, dx + at, form->HW, 8, s, c);
            else
                differentiate(dy + at, x + at, dx + at, form->HW, 16, s, c);
        }
}
