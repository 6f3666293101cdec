/*
 * Local response normalisation of any size and exponent, see rows.h: a position's channels are
 * gathered into a row (they lie in blocks of 16 or 8 in the blocked layouts, singly in the plain
 * one), and all arithmetic is along the row.
 */
#include <math.h>

#include "rows.h"
#include "vector_clones.h"

/* The rows of the scratch, each with `radius` zeros before and after the channels. */
enum { ROW_SRC, ROW_SQUARE, ROW_SUM, ROW_OTHER, ROWS };

static int64_t row_floats(const struct gr_lrn_form *form)
{
    return (form->channels + 2 * form->radius + 15) / 16 * 16;
}

int64_t gr_lrn_scratch(const struct gr_lrn_form *form)
{
    return ROWS * row_floats(form);
}

/* power[i] = s[i]^-beta, with the paper's 0.75 as two square roots. */
static inline void negative_power(const float *s, float *power, int64_t count, float beta)
{
    if (beta == 0.75f) {
#pragma omp simd
        for (int64_t i = 0; i < count; i++) {
            const float root = sqrtf(s[i]);
            power[i] = 1 / (root * sqrtf(root));
        }
        return;
    }
    for (int64_t i = 0; i < count; i++)
        power[i] = powf(s[i], -beta);
}

/* sum[i] = sum of in[i - radius .. i + radius]; in has zeros in its margins. */
static inline void window_sum(const float *in, float *sum, int64_t count, int64_t radius)
{
    if (radius == 2) {
#pragma omp simd
        for (int64_t i = 0; i < count; i++)
            sum[i] = in[i - 2] + in[i - 1] + in[i] + in[i + 1] + in[i + 2];
        return;
    }
    for (int64_t i = 0; i < count; i++)
        sum[i] = 0;
    for (int64_t j = -radius; j <= radius; j++) {
#pragma omp simd
        for (int64_t i = 0; i < count; i++)
            sum[i] += in[i + j];
    }
}

static inline void gather_blocks(const struct gr_lrn_columns *from, int64_t at, int64_t channels,
                                 int64_t lanes, float *row)
{
    for (int64_t c = 0; c < channels; c += lanes, at += from->stride) {
        if (!from->bf16) {
            memcpy(row + c, (const float *)from->data + at, (size_t)lanes * sizeof *row);
            continue;
        }
        const uint16_t *half = (const uint16_t *)from->data + at;
#pragma omp simd
        for (int64_t l = 0; l < lanes; l++)
            row[c + l] = gr_from_bf16(half[l]);
    }
}

static inline void scatter_blocks(const float *row, int64_t channels, int64_t lanes,
                                  const struct gr_lrn_columns *to, int64_t at)
{
    for (int64_t c = 0; c < channels; c += lanes, at += to->stride) {
        if (!to->bf16) {
            memcpy((float *)to->data + at, row + c, (size_t)lanes * sizeof *row);
            continue;
        }
        uint16_t *half = (uint16_t *)to->data + at;
#pragma omp simd
        for (int64_t l = 0; l < lanes; l++)
            half[l] = gr_to_bf16(row[c + l]);
    }
}

/* The blocks of position w; numbers known to the compiler make each copy one or two moves. */
static inline void gather(const struct gr_lrn_form *form, const struct gr_lrn_columns *from,
                          int64_t w, float *row)
{
    if (form->lanes == 16)
        gather_blocks(from, w * 16, form->channels, 16, row);
    else if (form->lanes == 8)
        gather_blocks(from, w * 8, form->channels, 8, row);
    else
        gather_blocks(from, w * form->lanes, form->channels, form->lanes, row);
}

static inline void scatter(const struct gr_lrn_form *form, const float *row,
                           const struct gr_lrn_columns *to, int64_t w)
{
    if (form->lanes == 16)
        scatter_blocks(row, form->channels, 16, to, w * 16);
    else if (form->lanes == 8)
        scatter_blocks(row, form->channels, 8, to, w * 8);
    else
        scatter_blocks(row, form->channels, form->lanes, to, w * form->lanes);
}

/* src's row and squares, and s in the row `sum`. */
static inline void normaliser(const struct gr_lrn_form *form, const struct gr_lrn_columns *columns,
                              int64_t w, float *src, float *square, float *sum)
{
    const int64_t channels = form->channels;
    gather(form, columns, w, src);
#pragma omp simd
    for (int64_t i = 0; i < channels; i++)
        square[i] = src[i] * src[i];
    window_sum(square, sum, channels, form->radius);
#pragma omp simd
    for (int64_t i = 0; i < channels; i++)
        sum[i] = form->k + form->scale * sum[i];
}

GR_VECTOR_CLONES
static void forward(const struct gr_lrn_form *form, const struct gr_lrn_columns *src,
                    const struct gr_lrn_columns *dst, int64_t width, float *scratch)
{
    const int64_t row = row_floats(form), channels = form->channels;
    float *x = scratch + ROW_SRC * row, *square = scratch + ROW_SQUARE * row + form->radius;
    float *sum = scratch + ROW_SUM * row;
    for (int64_t w = 0; w < width; w++) {
        normaliser(form, src, w, x, square, sum);
        negative_power(sum, sum, channels, form->beta);
#pragma omp simd
        for (int64_t i = 0; i < channels; i++)
            x[i] *= sum[i];
        scatter(form, x, dst, w);
    }
}

GR_VECTOR_CLONES
static void backward(const struct gr_lrn_form *form, const struct gr_lrn_columns *dy,
                     const struct gr_lrn_columns *src, const struct gr_lrn_columns *dx,
                     int64_t width, bool relu, float *scratch)
{
    const int64_t row = row_floats(form), channels = form->channels;
    float *x = scratch + ROW_SRC * row, *ratio = scratch + ROW_SQUARE * row + form->radius;
    float *sum = scratch + ROW_SUM * row, *grad = scratch + ROW_OTHER * row;
    const float factor = 2 * form->scale * form->beta;
    for (int64_t w = 0; w < width; w++) {
        normaliser(form, src, w, x, ratio, sum);
        gather(form, dy, w, grad);
#pragma omp simd
        for (int64_t i = 0; i < channels; i++)
            ratio[i] = grad[i] * x[i] / sum[i];
        negative_power(sum, sum, channels, form->beta);
#pragma omp simd
        for (int64_t i = 0; i < channels; i++) {
            ratio[i] *= sum[i];
            grad[i] *= sum[i];
        }
        window_sum(ratio, sum, channels, form->radius);
#pragma omp simd
        for (int64_t i = 0; i < channels; i++)
            grad[i] -= factor * x[i] * sum[i];
        for (int64_t i = 0; relu && i < channels; i++)
            grad[i] = x[i] > 0 ? grad[i] : 0;
        scatter(form, grad, dx, w);
    }
}

const struct gr_lrn_kernel gr_lrn_kernel_rows = {"rows", forward, backward};
