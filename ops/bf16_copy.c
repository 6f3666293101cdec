/*
 * Copies in bf16; see bf16_copy.h.
 */
#include "bf16_copy.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif
#include <string.h>

#include "bf16.h"
#include "vector_clones.h"

/* ---- a block by vectors ------------------------------------------------------------------ */

/* Of a cache line; the compiler splits them where the processor's are smaller. */
enum { LANES = 16 };
typedef uint32_t words __attribute__((vector_size(4 * LANES)));
typedef float floats __attribute__((vector_size(4 * LANES)));

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* gr_to_bf16 in the upper half of each word; the lower half is of no meaning. */
ALWAYS_INLINE void round_up_high(const float *src, words *high)
{
    floats x;
    words bits;
    memcpy(&x, src, sizeof x);
    memcpy(&bits, src, sizeof bits);
    const words even = bits + 0x7fff + (bits >> 16 & 1), nan = bits | 0x400000;
    const words is_nan = (words)(x != x); /* NOLINT(misc-redundant-expression) */
    *high = (is_nan & nan) | (~is_nan & even);
}

/* [rows, lanes] -> [rows / 2, lanes, 2], lanes a multiple of LANES */
GR_VECTOR_CLONES
static void pair_vectors(const float *src, uint16_t *dst, int64_t rows, int64_t lanes)
{
    for (int64_t r = 0; r < rows; r += 2)
        for (int64_t l = 0; l < lanes; l += LANES) {
            words first, second;
            round_up_high(src + r * lanes + l, &first);
            round_up_high(src + (r + 1) * lanes + l, &second);
            const words pairs = first >> 16 | (second & 0xffff0000);
            memcpy(dst + r * lanes + 2 * l, &pairs, sizeof pairs);
        }
}

/* Pairs of neighbours of a and of b in turn. */
ALWAYS_INLINE void join_pairs(const words *a, const words *b, words *pairs)
{
    const words even =
        __builtin_shufflevector(*a, *b, 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30);
    const words odd =
        __builtin_shufflevector(*a, *b, 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31);
    *pairs = even >> 16 | (odd & 0xffff0000);
}

/* a: the lower halves of both in turn, b: the upper halves. */
ALWAYS_INLINE void zip(words *a, words *b)
{
    const words low =
        __builtin_shufflevector(*a, *b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    *b = __builtin_shufflevector(*a, *b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15,
                                 31);
    *a = low;
}

/*
 * [LANES, LANES] -> [LANES / 2, LANES, 2]. With the words of rows j and j + 8 in turn in vector j,
 * zipping those whose numbers differ in the highest bit, the next and the last leaves word w of row
 * r in vector w, lane r.
 */
GR_VECTOR_CLONES
static void cross_vectors(const float *src, uint16_t *dst)
{
    enum { HALF = LANES / 2 };
    words v[HALF];
#pragma GCC unroll 8
    for (int j = 0; j < HALF; j++) {
        words a, b;
        round_up_high(src + j * LANES, &a);
        round_up_high(src + (j + HALF) * LANES, &b);
        join_pairs(&a, &b, &v[j]);
    }
#pragma GCC unroll 3
    for (int bit = HALF / 2; bit > 0; bit /= 2)
#pragma GCC unroll 8
        for (int j = 0; j < HALF; j++)
            if (!(j & bit))
                zip(&v[j], &v[j | bit]);
    memcpy(dst, v, sizeof v);
}

/* ---- any block --------------------------------------------------------------------------- */

static void turn_block(const struct gr_bf16_copy *c, const float *src, uint16_t *dst)
{
    const int64_t rows = c->rows, lanes = c->lanes;
    if (c->turn == GR_BF16_PAIRS && lanes % LANES == 0) {
        pair_vectors(src, dst, rows, lanes);
        return;
    }
    if (c->turn == GR_BF16_CROSS_PAIRS && rows == LANES && lanes == LANES) {
        cross_vectors(src, dst);
        return;
    }
    for (int64_t r = 0; r < rows; r++)
        for (int64_t l = 0; l < lanes; l++)
            dst[c->turn == GR_BF16_PAIRS ? (r / 2 * lanes + l) * 2 + r % 2
                                         : (l / 2 * rows + r) * 2 + l % 2] =
                gr_to_bf16(src[r * lanes + l]);
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

/* Past the caches, which a large copy would only empty of what is read sooner. */
static void stream(const uint16_t *src, uint16_t *dst, int64_t count)
{
#ifdef __SSE2__
    for (int64_t i = 0; i < count; i += 8)
        _mm_stream_si128((__m128i *)(void *)(dst + i),
                         _mm_load_si128((const __m128i *)(const void *)(src + i)));
#else
    memcpy(dst, src, (size_t)count * sizeof *dst);
#endif
}

void gr_bf16_copy_write(const struct gr_bf16_copy *c, const float *src, int64_t first,
                        int64_t count, bool streams, uint16_t *dst)
{
    const int64_t unit = c->rows * c->lanes;
    _Alignas(64) uint16_t block[GR_BF16_RUN];
    if (c->turn == GR_BF16_SAME) {
        gr_bf16_narrow(src, dst + first, count);
        return;
    }
    for (int64_t i = 0; i < count; i += unit) {
        uint16_t *to = dst + place_of(c, (first + i) / unit);
        if (streams && unit <= GR_BF16_RUN && unit % 8 == 0) {
            turn_block(c, src + i, block);
            stream(block, to, unit);
        } else {
            turn_block(c, src + i, to);
        }
    }
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
