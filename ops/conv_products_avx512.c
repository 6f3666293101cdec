/*
 * Matrix products of Winograd's transformed tiles; see conv_tiles_avx512.h. A step of a product is
 * of a number, or of a pair of them in bf16, which an instruction multiplies and adds up at once.
 */
#include "conv_tiles_avx512.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))

#include <immintrin.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16")))
#define AVX512 TARGET __attribute__((always_inline)) static inline
#define UNROLL _Pragma("GCC unroll 8")

enum { LANES = GR_TILE_LANES };

/*
 * c [vecs, rows, 16] = Σ over outer and inner steps of a [rows] · b [vecs, 16]: a register for each
 * of c's vectors. `a` moves on by a_outer and a_inner, b by a vector each step.
 */
struct walk {
    const float *a, *b;
    float *c;
    int64_t outer, inner, a_outer, b_vec, c_vec;
    const float *const *fetch; /* of the tile product */
    int64_t fetch_at, fetch_vec;
};

/* Lines of c's rows and vectors: some each step, so that they do not hold up the sums. */
AVX512 void fetch(const struct walk *w, int rows, int vecs, int64_t step)
{
    if (w->fetch && w->fetch[0] && step < 2 * rows)
        for (int v = 0; v < vecs; v++)
            _mm_prefetch((const char *)(w->fetch[step % 2] + w->fetch_at + v * w->fetch_vec +
                                        step / 2 * LANES),
                         _MM_HINT_T1);
}

AVX512 __m512 multiply_add(__m512 a, __m512 b, __m512 sum, bool pairs)
{
    if (pairs)
        return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
    return _mm512_fmadd_ps(a, b, sum);
}

AVX512 void product(int rows, int vecs, int a_row, int a_inner, bool pairs, const struct walk *w,
                    bool add)
{
    __m512 sum[12][4];
    UNROLL for (int v = 0; v < vecs; v++) _Pragma("GCC unroll 12") for (int r = 0; r < rows; r++)
        sum[r][v] = add ? _mm512_loadu_ps(w->c + v * w->c_vec + r * LANES) : _mm512_setzero_ps();
    const float *b = w->b;
    for (int64_t i = 0; i < w->outer; i++) {
        const float *a = w->a + i * w->a_outer;
        for (int64_t k = 0; k < w->inner; k++) {
            __m512 of_b[4];
            fetch(w, rows, vecs, k);
            UNROLL for (int v = 0; v < vecs; v++) of_b[v] = _mm512_loadu_ps(b + v * w->b_vec);
            _Pragma("GCC unroll 12") for (int r = 0; r < rows; r++)
            {
                const __m512 of_a = _mm512_set1_ps(a[r * a_row]);
                UNROLL for (int v = 0; v < vecs; v++) sum[r][v] =
                    multiply_add(of_a, of_b[v], sum[r][v], pairs);
            }
            a += a_inner;
            b += LANES;
        }
    }
    UNROLL for (int v = 0; v < vecs; v++) _Pragma("GCC unroll 12") for (int r = 0; r < rows; r++)
        _mm512_storeu_ps(w->c + v * w->c_vec + r * LANES, sum[r][v]);
}

AVX512 void multiply(const struct gr_tile_product *p, bool pairs)
{
    static const int rows_of[] = {0, 12, 12, 8, 6};
    const int words = pairs ? LANES / 2 : LANES; /* of a block of channels */
    for (int64_t o = 0; o < p->out;) {
        const int64_t left = p->out - o, vecs = left == 5 ? 3 : left < 4 ? left : 4;
        const int rows = rows_of[vecs];
        for (int64_t t = 0; t < p->tiles; t += rows) {
            const struct walk w = {.a = p->a + t * words,
                                   .b = p->b + o * p->b_block,
                                   .c = p->c + o * p->c_block + t * LANES,
                                   .outer = p->in,
                                   .inner = words,
                                   .a_outer = p->a_block,
                                   .b_vec = p->b_block,
                                   .c_vec = p->c_block};
            if (vecs == 4)
                product(6, 4, words, 1, pairs, &w, false);
            else if (vecs == 3)
                product(8, 3, words, 1, pairs, &w, false);
            else if (vecs == 2)
                product(12, 2, words, 1, pairs, &w, false);
            else
                product(12, 1, words, 1, pairs, &w, false);
        }
        o += vecs;
    }
}

TARGET void gr_tiles_avx512_multiply(const struct gr_tile_product *p)
{
    if (p->rounded)
        multiply(p, true);
    else
        multiply(p, false);
}

AVX512 void correlate(const struct gr_tile_product *p, bool pairs, bool fresh)
{
    for (int64_t o = 0; o < p->out;) {
        const int64_t left = p->out - o, vecs = left == 4 ? 2 : left < 3 ? left : 3;
        for (int64_t c = 0; c < p->in * LANES; c += 8) {
            const struct walk w = {.a = p->a + c / LANES * p->a_block + c % LANES,
                                   .b = p->b + o * p->b_block,
                                   .c = p->c + o * p->c_block + c * LANES,
                                   .outer = 1,
                                   .inner = pairs ? (p->tiles + 1) / 2 : p->tiles,
                                   .b_vec = p->b_block,
                                   .c_vec = p->c_block,
                                   .fetch = p->fetch,
                                   .fetch_at = o * p->fetch_block + c * LANES,
                                   .fetch_vec = p->fetch_block};
            if (vecs == 3)
                product(8, 3, 1, LANES, pairs, &w, !fresh);
            else if (vecs == 2)
                product(8, 2, 1, LANES, pairs, &w, !fresh);
            else
                product(8, 1, 1, LANES, pairs, &w, !fresh);
        }
        o += vecs;
    }
}

TARGET void gr_tiles_avx512_correlate(const struct gr_tile_product *p, bool fresh)
{
    if (p->rounded)
        correlate(p, true, fresh);
    else
        correlate(p, false, fresh);
}

#else

void gr_tiles_avx512_multiply(const struct gr_tile_product *product)
{
    (void)product;
}

void gr_tiles_avx512_correlate(const struct gr_tile_product *product, bool fresh)
{
    (void)product, (void)fresh;
}

#endif
