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
 * A column is walked once. Windows reach two channels into the neighbouring blocks: with the
 * squares of the block before, this one and the next in registers, shifted vectors need no memory.
 */
struct window {
    vector pairs; /* of the block before: the sum of each channel and the one after it */
};

/* The sums of `now`'s channels with two on either side. */
VECTOR vector window_sum(struct window *window, vector now, vector after)
{
    const vector pairs = now + shifted_1(now, after);
    const vector sum = last_2(window->pairs, pairs) + pairs + shifted_2(now, after);
    window->pairs = pairs;
    return sum;
}

/* At the first block: the pairs before it end with the first channel. */
VECTOR struct window first_window(vector now)
{
    return (struct window){shifted_1(zero(), now)};
}

struct powers {
    vector power, inverse; /* s^-3/4, s^-1 */
};

/*
 * From the processor's estimates of s^-1/2 and of the root of that, with one step of Newton's
 * method: for y^-4 = s^3 and for 1 / s. For bf16, of eight bits, the estimates do.
 */
VECTOR struct powers powers_of(vector s, bool bf16)
{
    const vector root = estimated_root(s), inverse = root * root;
    const vector y = inverse * estimated_root(root);
    if (bf16)
        return (struct powers){y, inverse};
    const vector sy2 = s * y * y, unity = sy2 * (sy2 * s);
    return (struct powers){y * subtract_product(spread(1.25f), spread(0.25f), unity),
                           inverse * subtract_product(spread(2), s, inverse)};
}

/* A form's numbers in registers; stores to memory would make the compiler load them again. */
struct constants {
    vector scale, k, factor; /* factor: -2 scale beta */
};

VECTOR struct constants constants_of(const struct gr_lrn_form *form)
{
    return (struct constants){spread(form->scale), spread(form->k), spread(-1.5f * form->scale)};
}

VECTOR struct powers normaliser(struct constants c, struct window *window, vector x, vector after,
                                bool bf16)
{
    const vector sum = window_sum(window, x * x, after * after);
    return powers_of(multiply_add(c.scale, sum, c.k), bf16);
}

/*
 * Positions ahead of which to fetch a column: its blocks lie so far apart that the processor's own
 * prefetchers, of which each page of each block needs another, come late.
 */
enum { AHEAD = 16 };

VECTOR void fetch_ahead(const void *data, bool bf16)
{
    __builtin_prefetch(gr_element_const(data, AHEAD * LANES, bf16));
}

VECTOR void forward_columns(const struct gr_lrn_form *form, const struct gr_lrn_columns *src,
                            const struct gr_lrn_columns *dst, int64_t width, bool bf16)
{
    const struct constants c = constants_of(form);
    const int64_t last = form->channels / LANES - 1;
    const int64_t src_stride = src->stride, dst_stride = dst->stride;
    const void *src_data = src->data;
    void *dst_data = dst->data;
    for (int64_t w = 0; w < width; w++) {
        const void *from = gr_element_const(src_data, w * LANES, bf16);
        void *to = gr_element(dst_data, w * LANES, bf16);
        vector x = load(from, 0, bf16);
        struct window window = first_window(x * x);
        for (int64_t b = 0; b < last; b++) {
            fetch_ahead(from, bf16);
            from = gr_element_const(from, src_stride, bf16);
            const vector next = load(from, 0, bf16);
            store(to, 0, x * normaliser(c, &window, x, next, bf16).power, bf16);
            to = gr_element(to, dst_stride, bf16);
            x = next;
        }
        fetch_ahead(from, bf16);
        store(to, 0, x * normaliser(c, &window, x, zero(), bf16).power, bf16);
    }
}

/* What the backward needs of a block: dy · s^-3/4, src, and the quotient dy · src · s^-7/4. */
struct block {
    vector scaled, src, quotient;
};

VECTOR struct block block_of(struct constants c, struct window *window, vector dy, vector x,
                             vector after, bool bf16)
{
    const struct powers p = normaliser(c, window, x, after, bf16);
    const vector scaled = dy * p.power;
    return (struct block){scaled, x, scaled * x * p.inverse};
}

VECTOR vector gradient(struct constants c, struct window *window, struct block block, vector after,
                       bool relu)
{
    const vector sum = window_sum(window, block.quotient, after);
    const vector grad = multiply_add(c.factor * block.src, sum, block.scaled);
    return relu ? where_positive(block.src, grad) : grad;
}

/* Each step prepares a block and finishes the one before it. */
VECTOR void backward_column(struct constants c, const void *dy, int64_t dy_stride, const void *src,
                            void *dx, int64_t stride, int64_t last, bool relu, bool dy_bf16,
                            bool bf16)
{
    vector x = load(src, 0, bf16), after = zero();
    struct window squares = first_window(x * x);
    if (last > 0)
        after = load(src = gr_element_const(src, stride, bf16), 0, bf16);
    struct block now = block_of(c, &squares, load(dy, 0, dy_bf16), x, after, bf16);
    struct window quotients = first_window(now.quotient);
    for (int64_t b = 1; b <= last; b++) {
        x = after;
        after = zero();
        fetch_ahead(src, bf16);
        if (b < last)
            after = load(src = gr_element_const(src, stride, bf16), 0, bf16);
        dy = gr_element_const(dy, dy_stride, dy_bf16);
        const struct block next = block_of(c, &squares, load(dy, 0, dy_bf16), x, after, bf16);
        store(dx, 0, gradient(c, &quotients, now, next.quotient, relu), bf16);
        dx = gr_element(dx, stride, bf16);
        now = next;
    }
    store(dx, 0, gradient(c, &quotients, now, zero(), relu), bf16);
}

VECTOR void backward_columns(const struct gr_lrn_form *form, const struct gr_lrn_columns *dy,
                             const struct gr_lrn_columns *src, const struct gr_lrn_columns *dx,
                             int64_t width, bool relu, bool dy_bf16, bool bf16)
{
    const struct constants c = constants_of(form);
    const int64_t last = form->channels / LANES - 1, dy_stride = dy->stride, stride = src->stride;
    const void *dy_data = dy->data, *src_data = src->data;
    void *dx_data = dx->data;
    for (int64_t w = 0; w < width; w++)
        backward_column(c, gr_element_const(dy_data, w * LANES, dy_bf16), dy_stride,
                        gr_element_const(src_data, w * LANES, bf16),
                        gr_element(dx_data, w * LANES, bf16), stride, last, relu, dy_bf16, bf16);
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

VECTOR void backward_types(const struct gr_lrn_form *form, const struct gr_lrn_columns *dy,
                           const struct gr_lrn_columns *src, const struct gr_lrn_columns *dx,
                           int64_t width, bool relu)
{
    if (dy->bf16 && src->bf16)
        backward_columns(form, dy, src, dx, width, relu, true, true);
    else if (src->bf16)
        backward_columns(form, dy, src, dx, width, relu, false, true);
    else if (dy->bf16)
        backward_columns(form, dy, src, dx, width, relu, true, false);
    else
        backward_columns(form, dy, src, dx, width, relu, false, false);
}

VECTOR_ENTRY void lrn_backward(const struct gr_lrn_form *form, const struct gr_lrn_columns *dy,
                               const struct gr_lrn_columns *src, const struct gr_lrn_columns *dx,
                               int64_t width, bool relu, float *scratch)
{
    (void)scratch;
    if (relu)
        backward_types(form, dy, src, dx, width, true);
    else
        backward_types(form, dy, src, dx, width, false);
}

/* ---- max pooling ------------------------------------------------------------------------- */

/* A window: rows 0 to n - 1, columns from `from` to `to` - 1 of it. */
VECTOR void max_window(const void *const *rows, int64_t first, int64_t n, int64_t from, int64_t to,
                       int64_t kernel_w, int64_t start, void *dst, uint8_t *where, int64_t at,
                       bool keep, bool bf16)
{
    vector most = load(rows[0], (start + from) * LANES, bf16);
    places place = spread_place((int)(first * kernel_w + from));
    for (int64_t i = 0; i < n; i++)
        for (int64_t kw = from; kw < to; kw++) {
            if (i == 0 && kw == from)
                continue;
            const vector x = load(rows[i], (start + kw) * LANES, bf16);
            if (keep)
                place = choose_place(larger(x, most),
                                     spread_place((int)((first + i) * kernel_w + kw)), place);
            most = largest(x, most);
        }
    store(dst, at * LANES, most, bf16);
    if (keep)
        store_places(where + at * LANES, place);
}

VECTOR void max_row(const struct gr_pool_form *form, const void *const *rows, int64_t first,
                    int64_t n, void *dst, uint8_t *where, bool keep, bool bf16)
{
    const int64_t kw = form->kernel[1];
    for (int64_t ow = 0; ow < form->ow; ow++) {
        const int64_t start = ow * form->stride[1] - form->pad[1];
        const int64_t from = start < 0 ? -start : 0;
        const int64_t to = start + kw > form->w ? form->w - start : kw;
        const bool whole = first == 0 && from == 0 && to == kw;
        /* The next row of dst, before stores wait for it. */
        __builtin_prefetch(gr_element(dst, (form->ow + ow) * LANES, bf16), 1);
        /* And the next row's two new rows of the source, at about this place. */
        for (int64_t i = 0; form->fetch && i < 2 * form->stride[1]; i++)
            __builtin_prefetch(gr_element_const(
                rows[n - 1], (form->w + 2 * ow * form->stride[1] + i) * LANES, bf16));
        if (whole && kw == 3 && n == 3) /* numbers that the compiler can unroll by */
            max_window(rows, 0, 3, 0, 3, 3, start, dst, where, ow, keep, bf16);
        else if (whole && kw == 2 && n == 2)
            max_window(rows, 0, 2, 0, 2, 2, start, dst, where, ow, keep, bf16);
        else
            max_window(rows, first, n, from, to, kw, start, dst, where, ow, keep, bf16);
    }
}

/*
 * The sum for position j · stride + r of a padded source row: of the windows that reach it, those
 * that chose it. Its place in window j - m is column r + m · stride.
 */
VECTOR vector spread_sum(const struct gr_pool_row *rows, int64_t n, int64_t ow, int64_t j,
                         int64_t r, int64_t kernel_w, int64_t stride, bool inside, bool relu,
                         bool bf16)
{
    vector sum = zero();
    for (int64_t i = 0; i < n; i++)
        for (int64_t m = (kernel_w - 1 - r) / stride; m >= 0 && r < kernel_w; m--) {
            const int64_t at = (j - m) * LANES;
            if (!inside && (j < m || j - m >= ow))
                continue;
            const places place = spread_place((int)(rows[i].kh * kernel_w + r + m * stride));
            vector dy = load(rows[i].dy, at, bf16);
            if (relu)
                dy = where_positive(load(rows[i].y, at, bf16), dy);
            sum = add_where(equal(load_places(rows[i].where + at), place), sum, dy);
        }
    return sum;
}

VECTOR void spread_row(const struct gr_pool_form *form, const struct gr_pool_row *rows, int64_t n,
                       float *dst, int64_t kernel_w, int64_t stride, bool relu, bool bf16)
{
    const int64_t width = gr_pool_row_floats(form) / LANES, reach = (kernel_w - 1) / stride;
    for (int64_t j = 0; j * stride < width; j++) {
        const int64_t count = width - j * stride < stride ? width - j * stride : stride;
        const bool inside = j >= reach && j < form->ow && count == stride;
        float *to = dst + j * stride * LANES;
        if (n > 0) { /* the next output row, which a coming row will read */
            __builtin_prefetch(gr_element_const(rows[n - 1].dy, (form->ow + j) * LANES, bf16));
            __builtin_prefetch(rows[n - 1].where + (form->ow + j) * LANES);
        }
        for (int64_t r = 0; inside && r < stride; r++)
            store(to, r * LANES,
                  spread_sum(rows, n, form->ow, j, r, kernel_w, stride, true, relu, bf16), false);
        for (int64_t r = 0; !inside && r < count; r++)
            store(to, r * LANES,
                  spread_sum(rows, n, form->ow, j, r, kernel_w, stride, false, relu, bf16), false);
    }
}

/* With numbers that the compiler can unroll by, where they are usual. */
VECTOR void spread_any(const struct gr_pool_form *form, const struct gr_pool_row *rows, int64_t n,
                       float *dst, bool relu, bool bf16)
{
    const int64_t kernel_w = form->kernel[1], stride = form->stride[1];
    if (kernel_w == 3 && stride == 2 && n == 1)
        spread_row(form, rows, 1, dst, 3, 2, relu, bf16);
    else if (kernel_w == 3 && stride == 2 && n == 2)
        spread_row(form, rows, 2, dst, 3, 2, relu, bf16);
    else if (kernel_w == 2 && stride == 2 && n == 1)
        spread_row(form, rows, 1, dst, 2, 2, relu, bf16);
    else
        spread_row(form, rows, n, dst, kernel_w, stride, relu, bf16);
}

VECTOR_ENTRY void pool_max(const struct gr_pool_form *form, const void *const *rows, int64_t first,
                           int64_t n, void *dst, uint8_t *where, bool bf16)
{
    if (bf16 && where)
        max_row(form, rows, first, n, dst, where, true, true);
    else if (bf16)
        max_row(form, rows, first, n, dst, where, false, true);
    else if (where)
        max_row(form, rows, first, n, dst, where, true, false);
    else
        max_row(form, rows, first, n, dst, where, false, false);
}

VECTOR_ENTRY void pool_spread(const struct gr_pool_form *form, const struct gr_pool_row *rows,
                              int64_t n, float *dst, bool bf16)
{
    const bool relu = n > 0 && rows[0].y;
    if (bf16 && relu)
        spread_any(form, rows, n, dst, true, true);
    else if (bf16)
        spread_any(form, rows, n, dst, false, true);
    else if (relu)
        spread_any(form, rows, n, dst, true, false);
    else
        spread_any(form, rows, n, dst, false, false);
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
