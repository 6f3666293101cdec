/*
 * The row kernels for one set of vector instructions: a template, included by rows_avx512.c and
 * rows_avx2.c after they have defined
 *
 *     VECTOR      attributes of a function that uses the instructions
 *     vector      LANES floats; +, - and * work on it
 *     places      LANES bytes, wide enough to compare
 *     choice      a truth value for each lane
 *
 * and the functions on them that are used here. An element type is a parameter that is known where
 * a function is inlined.
 */
#include "rows.h"

/* ---- local response normalisation: size 5, exponent 0.75 --------------------------------- */

/*
 * Windows reach two channels into the neighbouring blocks: with the squares of the block before,
 * this one and the next in registers, shifted vectors need no memory. A column is walked once; the
 * backward keeps the next block's quotients ready in the same way.
 */
VECTOR vector load_square(const void *column, int64_t at, bool inside, bool bf16)
{
    const vector x = inside ? load(column, at, bf16) : zero();
    return x * x;
}

/* s^-1/2 of the sum of squares over the window. */
VECTOR vector root_of(const struct gr_lrn_form *form, vector before, vector now, vector after)
{
    return reciprocal_root(
        multiply_add(spread(form->scale), window(before, now, after), spread(form->k)));
}

/* s^-3/4 = s^-1/2 · (s^-1/2)^1/2, and y^1/2 = y · y^-1/2 */
VECTOR vector power_of(vector root)
{
    return root * (root * reciprocal_root(root));
}

VECTOR void forward_columns(const struct gr_lrn_form *form, const struct gr_lrn_columns *src,
                            const struct gr_lrn_columns *dst, int64_t width, bool bf16)
{
    const int64_t blocks = form->channels / LANES;
    for (int64_t w = 0; w < width; w++) {
        const void *from = gr_element_const(src->data, w * LANES, bf16);
        void *to = gr_element(dst->data, w * LANES, bf16);
        vector before = zero(), now = load_square(from, 0, true, bf16);
        for (int64_t b = 0; b < blocks; b++) {
            const vector x = load(from, b * src->stride, bf16);
            const vector after = load_square(from, (b + 1) * src->stride, b + 1 < blocks, bf16);
            const vector power = power_of(root_of(form, before, now, after));
            store(to, b * dst->stride, x * power, bf16);
            before = now;
            now = after;
        }
    }
}

/* What the backward needs of a block: dy · s^-3/4, src, and the quotient dy · src · s^-7/4. */
struct block {
    vector scaled, src, quotient;
};

VECTOR void backward_column(const struct gr_lrn_form *form, const void *dy, int64_t dy_stride,
                            const void *src, void *dx, int64_t stride, bool relu, bool dy_bf16,
                            bool bf16)
{
    const int64_t blocks = form->channels / LANES;
    const vector factor = spread(-1.5f * form->scale);
    vector before = zero(), here = load_square(src, 0, true, bf16), quotient_before = zero();
    struct block now = {zero(), zero(), zero()};
    /* Step b prepares block b and finishes block b - 1. */
    for (int64_t b = 0; b <= blocks; b++) {
        struct block next = {zero(), zero(), zero()};
        if (b < blocks) {
            const vector after = load_square(src, (b + 1) * stride, b + 1 < blocks, bf16);
            const vector root = root_of(form, before, here, after);
            next.src = load(src, b * stride, bf16);
            next.scaled = load(dy, b * dy_stride, dy_bf16) * power_of(root);
            next.quotient = next.scaled * next.src * (root * root);
            before = here;
            here = after;
        }
        if (b > 0) {
            const vector sum = window(quotient_before, now.quotient, next.quotient);
            vector grad = multiply_add(factor * now.src, sum, now.scaled);
            if (relu)
                grad = where_positive(now.src, grad);
            store(dx, (b - 1) * stride, grad, bf16);
            quotient_before = now.quotient;
        }
        now = next;
    }
}

VECTOR void backward_columns(const struct gr_lrn_form *form, const struct gr_lrn_columns *dy,
                             const struct gr_lrn_columns *src, const struct gr_lrn_columns *dx,
                             int64_t width, bool relu, bool dy_bf16, bool bf16)
{
    for (int64_t w = 0; w < width; w++)
        backward_column(form, gr_element_const(dy->data, w * LANES, dy_bf16), dy->stride,
                        gr_element_const(src->data, w * LANES, bf16),
                        gr_element(dx->data, w * LANES, bf16), src->stride, relu, dy_bf16, bf16);
}

VECTOR_ENTRY void lrn_forward(const struct gr_lrn_form *form, const struct gr_lrn_columns *src,
                              const struct gr_lrn_columns *dst, int64_t width, float *scratch)
{
    (void)scratch;
    if (src->bf16)
        forward_columns(form, src, dst, width, true);
    else
        forward_columns(form, src, dst, width, false);
}

VECTOR_ENTRY void lrn_backward(const struct gr_lrn_form *form, const struct gr_lrn_columns *dy,
                               const struct gr_lrn_columns *src, const struct gr_lrn_columns *dx,
                               int64_t width, bool relu, float *scratch)
{
    (void)scratch;
    if (dy->bf16 && src->bf16)
        backward_columns(form, dy, src, dx, width, relu, true, true);
    else if (src->bf16)
        backward_columns(form, dy, src, dx, width, relu, false, true);
    else if (dy->bf16)
        backward_columns(form, dy, src, dx, width, relu, true, false);
    else
        backward_columns(form, dy, src, dx, width, relu, false, false);
}

/* ---- max pooling ------------------------------------------------------------------------- */

/* The window of one output: rows 0 to n - 1, columns from to to - 1 of its row. */
VECTOR void max_window(const void *const *rows, int64_t first, int64_t n, int64_t from, int64_t to,
                       int64_t kernel_w, int64_t start, void *dst, uint8_t *where, int64_t at,
                       bool bf16)
{
    vector most = load(rows[0], (start + from) * LANES, bf16);
    places place = spread_place((int)(first * kernel_w + from));
    for (int64_t i = 0; i < n; i++)
        for (int64_t kw = from; kw < to; kw++) {
            if (i == 0 && kw == from)
                continue;
            const vector x = load(rows[i], (start + kw) * LANES, bf16);
            const choice more = larger(x, most);
            most = choose(more, x, most);
            place = choose_place(more, spread_place((int)((first + i) * kernel_w + kw)), place);
        }
    store(dst, at * LANES, most, bf16);
    if (where)
        store_places(where + at * LANES, place);
}

VECTOR void max_row(const struct gr_pool_form *form, const void *const *rows, int64_t first,
                    int64_t n, void *dst, uint8_t *where, bool bf16)
{
    const int64_t kw = form->kernel[1];
    for (int64_t ow = 0; ow < form->ow; ow++) {
        const int64_t start = ow * form->stride[1] - form->pad[1];
        const int64_t from = start < 0 ? -start : 0;
        const int64_t to = start + kw > form->w ? form->w - start : kw;
        const bool whole = from == 0 && to == kw;
        if (whole && kw == 3 && n == 3) /* numbers that the compiler can unroll by */
            max_window(rows, 0, 3, 0, 3, 3, start, dst, where, ow, bf16);
        else if (whole && kw == 2 && n == 2)
            max_window(rows, first, 2, 0, 2, 2, start, dst, where, ow, bf16);
        else
            max_window(rows, first, n, from, to, kw, start, dst, where, ow, bf16);
    }
}

VECTOR void expand_row(const struct gr_pool_form *form, const void *dy, const uint8_t *where,
                       const void *y, int64_t kh, float *row, bool bf16)
{
    const int64_t kernel_w = form->kernel[1];
    for (int64_t ow = 0; ow < form->ow; ow++) {
        const places place = load_places(where + ow * LANES);
        vector d = load(dy, ow * LANES, bf16);
        if (y)
            d = where_positive(load(y, ow * LANES, bf16), d);
        float *at = row + ow * form->stride[1] * LANES;
        for (int64_t kw = 0; kw < kernel_w; kw++) {
            const vector sum = load(at, kw * LANES, false);
            const choice here = equal(place, spread_place((int)(kh * kernel_w + kw)));
            store(at, kw * LANES, add_where(here, sum, d), false);
        }
    }
}

VECTOR_ENTRY void pool_max(const struct gr_pool_form *form, const void *const *rows, int64_t first,
                           int64_t n, void *dst, uint8_t *where, bool bf16)
{
    if (bf16)
        max_row(form, rows, first, n, dst, where, true);
    else
        max_row(form, rows, first, n, dst, where, false);
}

VECTOR_ENTRY void pool_expand(const struct gr_pool_form *form, const void *dy, const uint8_t *where,
                              const void *y, int64_t kh, float *row, bool bf16)
{
    if (bf16)
        expand_row(form, dy, where, y, kh, row, true);
    else
        expand_row(form, dy, where, y, kh, row, false);
}

VECTOR_ENTRY void pool_store(const float *row, void *dst, int64_t count, bool bf16)
{
    if (bf16)
        for (int64_t i = 0; i < count; i += LANES)
            store(dst, i, load(row, i, false), true);
    else
        for (int64_t i = 0; i < count; i += LANES)
            store(dst, i, load(row, i, false), false);
}
