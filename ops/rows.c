/*
 * Which row kernels serve a form; the geometry of pooling; and max pooling as plain loops for any
 * number of lanes. See rows.h.
 */
#include "rows.h"

/* ---- the choice -------------------------------------------------------------------------- */

const struct gr_lrn_kernel *gr_lrn_kernel(const struct gr_lrn_form *form, bool bf16)
{
    const struct gr_lrn_kernel *kernel = NULL;
    if (form->radius == 2 && form->beta == 0.75f && form->lanes == 16)
        kernel = gr_lrn_kernel_avx512(bf16);
    if (form->radius == 2 && form->beta == 0.75f && form->lanes == 8)
        kernel = gr_lrn_kernel_avx2(bf16);
    return kernel ? kernel : &gr_lrn_kernel_rows;
}

const struct gr_pool_kernel *gr_pool_kernel(int64_t lanes, bool bf16)
{
    const struct gr_pool_kernel *kernel = lanes == 16  ? gr_pool_kernel_avx512(bf16)
                                          : lanes == 8 ? gr_pool_kernel_avx2(bf16)
                                                       : NULL;
    return kernel ? kernel : &gr_pool_kernel_plain;
}

/* ---- geometry ---------------------------------------------------------------------------- */

int64_t gr_pool_row_floats(const struct gr_pool_form *form)
{
    const int64_t reached = (form->ow - 1) * form->stride[1] + form->kernel[1];
    const int64_t source = form->pad[1] + form->w;
    return (reached > source ? reached : source) * form->lanes;
}

void gr_pool_covering(const struct gr_pool_form *form, int64_t h, int64_t *first, int64_t *last)
{
    const int64_t at = h + form->pad[0], before = at - form->kernel[0];
    *first = before < 0 ? 0 : before / form->stride[0] + 1;
    *last = at / form->stride[0] + 1;
    *last = *last < form->oh ? *last : form->oh;
}

void gr_pool_covered(const struct gr_pool_form *form, int64_t oh, int64_t *from, int64_t *to)
{
    const int64_t start = oh * form->stride[0] - form->pad[0], end = start + form->kernel[0];
    *from = start > 0 ? start : 0;
    *to = end < form->h ? end : form->h;
}

void gr_pool_backward_row(const struct gr_pool_kernel *kernel, const struct gr_pool_form *form,
                          const void *dy, const uint8_t *where, const void *y, int64_t plane,
                          int64_t h, float *dst, bool bf16)
{
    struct gr_pool_row rows[GR_POOL_MOST];
    int64_t first, last;
    gr_pool_covering(form, h, &first, &last);
    for (int64_t oh = first; oh < last; oh++) {
        const int64_t i = (plane * form->oh + oh) * form->ow * form->lanes;
        rows[oh - first] = (struct gr_pool_row){.dy = gr_element_const(dy, i, bf16),
                                                .where = where + i,
                                                .y = y ? gr_element_const(y, i, bf16) : NULL,
                                                .kh = h + form->pad[0] - oh * form->stride[0]};
    }
    kernel->spread(form, rows, last > first ? last - first : 0, dst, bf16);
}

/* ---- plain loops ------------------------------------------------------------------------- */

static inline float element(const void *data, int64_t i, bool bf16)
{
    return bf16 ? gr_from_bf16(((const uint16_t *)data)[i]) : ((const float *)data)[i];
}

static inline void set_element(void *data, int64_t i, float x, bool bf16)
{
    if (bf16)
        ((uint16_t *)data)[i] = gr_to_bf16(x);
    else
        ((float *)data)[i] = x;
}

static void plain_max(const struct gr_pool_form *form, const void *const *rows, int64_t first,
                      int64_t n, void *dst, uint8_t *where, bool bf16)
{
    const int64_t lanes = form->lanes;
    for (int64_t i = 0; i < form->ow * lanes; i++) {
        const int64_t start = i / lanes * form->stride[1] - form->pad[1], lane = i % lanes;
        const int64_t from = start < 0 ? 0 : start;
        const int64_t to = start + form->kernel[1] < form->w ? start + form->kernel[1] : form->w;
        float most = element(rows[0], from * lanes + lane, bf16);
        int64_t place = first * form->kernel[1] + from - start;
        for (int64_t r = 0; r < n; r++)
            for (int64_t w = from; w < to; w++) {
                const float x = element(rows[r], w * lanes + lane, bf16);
                if (x > most) {
                    most = x;
                    place = (first + r) * form->kernel[1] + w - start;
                }
            }
        set_element(dst, i, most, bf16);
        if (where)
            where[i] = (uint8_t)place;
    }
}

static void plain_spread(const struct gr_pool_form *form, const struct gr_pool_row *rows, int64_t n,
                         float *dst, bool bf16)
{
    const int64_t lanes = form->lanes;
    memset(dst, 0, (size_t)gr_pool_row_floats(form) * sizeof *dst);
    for (const struct gr_pool_row *row = rows; row < rows + n; row++)
        for (int64_t i = 0; i < form->ow * lanes; i++) {
            const int64_t kw = row->where[i] - row->kh * form->kernel[1];
            if (kw >= 0 && kw < form->kernel[1] && (!row->y || element(row->y, i, bf16) > 0))
                dst[(i / lanes * form->stride[1] + kw) * lanes + i % lanes] +=
                    element(row->dy, i, bf16);
        }
}

static void plain_store(const float *row, void *dst, int64_t count, bool bf16)
{
    for (int64_t i = 0; i < count; i++)
        set_element(dst, i, row[i], bf16);
}

const struct gr_pool_kernel gr_pool_kernel_plain = {"rows", plain_max, plain_spread, plain_store};
