/*
 * Copies in bf16; see bf16_copy.h.
 */
#include "bf16_copy.h"

#include "bf16.h"
#include "vector_clones.h"

/* ---- a block ----------------------------------------------------------------------------- */

/* [2, lanes] -> [lanes, 2] */
GR_VECTOR_CLONES
static void pair_rows(const float *src, uint32_t *dst, int64_t lanes)
{
    const float *second = src + lanes;
#pragma omp simd
    for (int64_t i = 0; i < lanes; i++)
        dst[i] = gr_to_bf16(src[i]) | (uint32_t)gr_to_bf16(second[i]) << 16;
}

/* [rows, lanes] -> [lanes / 2, rows, 2], pairs of lanes as words. */
static void cross_pairs(const float *src, uint32_t *dst, int64_t rows, int64_t lanes)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t l = 0; l < lanes / 2; l++)
            dst[l * rows + r] = gr_to_bf16(src[r * lanes + 2 * l]) |
                                (uint32_t)gr_to_bf16(src[r * lanes + 2 * l + 1]) << 16;
}

/* The same of the blocks that AVX-512 kernels have: rounded first, by vectors, then turned. */
GR_VECTOR_CLONES
static void cross_pairs_16(const float *src, uint32_t *dst)
{
    enum { ROWS = 16, WORDS = 8 };
    uint32_t words[ROWS][WORDS];
    uint16_t halves[ROWS * 2 * WORDS];
#pragma omp simd
    for (int i = 0; i < ROWS * 2 * WORDS; i++)
        halves[i] = gr_to_bf16(src[i]);
    memcpy(words, halves, sizeof words);
    for (int w = 0; w < WORDS; w++)
#pragma omp simd
        for (int r = 0; r < ROWS; r++)
            dst[w * ROWS + r] = words[r][w];
}

static void turn_block(const struct gr_bf16_copy *c, const float *src, uint16_t *dst)
{
    if (c->turn == GR_BF16_PAIRS)
        for (int64_t r = 0; r < c->rows; r += 2)
            pair_rows(src + r * c->lanes, (uint32_t *)(void *)(dst + r * c->lanes), c->lanes);
    else if (c->rows == 16 && c->lanes == 16)
        cross_pairs_16(src, (uint32_t *)(void *)dst);
    else
        cross_pairs(src, (uint32_t *)(void *)dst, c->rows, c->lanes);
}

/* ---- all of them ------------------------------------------------------------------------- */

/* Where block b of the source lies in the copy. */
static int64_t place_of(const struct gr_bf16_copy *c, int64_t b)
{
    int64_t at = c->n_dims ? 0 : b * c->rows * c->lanes;
    for (int d = c->n_dims; d-- > 0; b /= c->size[d])
        at += b % c->size[d] * c->stride[d];
    return at;
}

void gr_bf16_copy_write(const struct gr_bf16_copy *c, const float *src, int64_t first,
                        int64_t count, uint16_t *dst)
{
    const int64_t unit = c->rows * c->lanes;
    if (c->turn == GR_BF16_SAME) {
        gr_bf16_narrow(src, dst + first, count);
        return;
    }
    for (int64_t i = 0; i < count; i += unit)
        turn_block(c, src + i, dst + place_of(c, (first + i) / unit));
}

/* ---- which layouts ----------------------------------------------------------------------- */

static bool same_blocks(const struct gr_onednn_facts *f, const struct gr_onednn_facts *t)
{
    if (f->n_blocks != t->n_blocks)
        return false;
    for (int b = 0; b < f->n_blocks; b++)
        if (f->blocks[b] != t->blocks[b] || f->indices[b] != t->indices[b])
            return false;
    return true;
}

/* How blocks [rows, lanes] of f turn into those of t; false: in none of the ways known. */
static bool find_turn(struct gr_bf16_copy *c, const struct gr_onednn_facts *f,
                      const struct gr_onednn_facts *t)
{
    if (same_blocks(f, t)) {
        c->turn = GR_BF16_SAME;
        return true;
    }
    if (f->n_blocks != 2 || t->n_blocks != 3 || t->blocks[2] != 2 || t->indices[0] != t->indices[2])
        return false;
    const int row = t->indices[0] == f->indices[0] ? 0 : 1; /* which of f's is in pairs */
    c->turn = row ? GR_BF16_CROSS_PAIRS : GR_BF16_PAIRS;
    c->rows = f->blocks[0];
    c->lanes = f->blocks[1];
    return f->indices[0] != f->indices[1] && t->indices[0] == f->indices[row] &&
           t->indices[1] == f->indices[1 - row] && 2 * t->blocks[0] == f->blocks[row] &&
           t->blocks[1] == f->blocks[1 - row];
}

/* The dimension with the largest stride in f below `below`, of those with several blocks; or -1. */
static int next_dim(const struct gr_onednn_facts *f, const int64_t *blocks, int64_t below)
{
    int next = -1;
    for (int d = 0; d < f->rank; d++)
        if (blocks[d] > 1 && f->strides[d] < below &&
            (next < 0 || f->strides[d] > f->strides[next]))
            next = d;
    return next;
}

/* The order of the blocks; false where those of f have gaps between them. */
static bool find_order(struct gr_bf16_copy *c, const struct gr_onednn_facts *f,
                       const struct gr_onednn_facts *t)
{
    int64_t blocks[DNNL_MAX_NDIMS], strides[DNNL_MAX_NDIMS], unit = 1;
    bool same = true;
    memcpy(blocks, f->padded, sizeof blocks);
    for (int b = 0; b < f->n_blocks; b++) {
        blocks[f->indices[b]] /= f->blocks[b];
        unit *= f->blocks[b];
    }
    for (int d = next_dim(f, blocks, INT64_MAX); d >= 0; d = next_dim(f, blocks, f->strides[d])) {
        strides[c->n_dims] = f->strides[d];
        c->size[c->n_dims] = blocks[d];
        c->stride[c->n_dims++] = t->strides[d];
        same = same && t->strides[d] == f->strides[d];
    }
    c->count = unit;
    for (int k = c->n_dims; k-- > 0; c->count *= c->size[k]) /* the innermost first */
        if (strides[k] != c->count)
            return false;
    if (same)
        c->n_dims = 0;
    return same || c->turn != GR_BF16_SAME;
}

bool gr_bf16_copy_init(struct gr_bf16_copy *copy, gr_md from, gr_md to)
{
    struct gr_onednn_facts f, t;
    gr_onednn_facts(from, &f);
    gr_onednn_facts(to, &t);
    *copy = (struct gr_bf16_copy){.rows = 1, .lanes = GR_BF16_RUN};
    if (!f.blocked || !t.blocked || f.type != dnnl_f32 || t.type != dnnl_bf16 || f.rank != t.rank)
        return false;
    for (int d = 0; d < f.rank; d++)
        if (f.dims[d] != t.dims[d] || f.padded[d] != t.padded[d])
            return false;
    return find_turn(copy, &f, &t) && find_order(copy, &f, &t) &&
           dnnl_memory_desc_get_size(from) == (size_t)copy->count * sizeof(float) &&
           dnnl_memory_desc_get_size(to) == (size_t)copy->count * sizeof(uint16_t);
}
