/*
 * Winograd's transforms (Lavin and Gray, 2015) with points 0, ±p, ... and infinity; see
 * conv_tiles_avx512.h.
 *
 * With polynomials modulo x Π(x² - p²), the transform of a source d at ±p is, c the coefficients of
 * Π(x² - q²) over the other points q: Σ c_i d_(2i+2) ± p Σ c_i d_(2i+1); results are sums of powers
 * of the points. All of it works on 16 channels at once.
 */
#include "conv_tiles_avx512.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))

#include <immintrin.h>

/* Those for bf16 need its instructions; the target names them for all. */
#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16")))
#define AVX512 TARGET __attribute__((always_inline)) static inline
#define UNROLL _Pragma("GCC unroll 8")

enum { MOST = GR_TILE_MOST, LANES = GR_TILE_LANES };

/* The points ±p of a tile's size. */
struct points {
    int pairs;
    float power[3][6];  /* p^j */
    float others[3][3]; /* of Π(x² - q²), q not this point, by powers of x² */
    float all[4];       /* of Π(x² - p²) */
};

/* 3/4, 3/2: as cheap as 1, 2, and rounding a quarter as much */
static const struct points points_6 = {2,
                                       {{1, 0.75f, 0.5625f, 0.421875f}, {1, 1.5f, 2.25f, 3.375f}},
                                       {{-2.25f, 1}, {-0.5625f, 1}},
                                       {1.265625f, -2.8125f, 1}};

/* 1, 2, 1/2 */
static const struct points points_8 = {
    3,
    {{1, 1, 1, 1, 1, 1}, {1, 2, 4, 8, 16, 32}, {1, 0.5f, 0.25f, 0.125f, 0.0625f, 0.03125f}},
    {{1, -4.25f, 1}, {0.25f, -1.25f, 1}, {4, -5, 1}},
    {-1, 5.25f, -5.25f, 1}};

bool gr_tiles_avx512_supported(bool bf16)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && (!bf16 || __builtin_cpu_supports("avx512bf16"));
}

/* ---- elements ------------------------------------------------------------------------------ */

/* Vector i of an activation. */
AVX512 __m512 load(const void *data, int64_t i, bool bf16)
{
    if (!bf16)
        return _mm512_loadu_ps((const float *)data + i * LANES);
    const __m256i half = _mm256_loadu_si256((const void *)((const uint16_t *)data + i * LANES));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

AVX512 void store(void *data, int64_t i, __m512 x, bool bf16)
{
    if (!bf16)
        _mm512_storeu_ps((float *)data + i * LANES, x);
    else
        _mm256_storeu_si256((void *)((uint16_t *)data + i * LANES), (__m256i)_mm512_cvtneps_pbh(x));
}

/* Stores vector k of those from `to` on. */
AVX512 void store_form(float *to, int64_t k, __m512 x, enum gr_tile_form form)
{
    if (form == GR_TILE_F32) {
        _mm512_storeu_ps(to + k * LANES, x);
        return;
    }
    const __m256i rounded = (__m256i)_mm512_cvtneps_pbh(x);
    if (form == GR_TILE_BF16) {
        _mm256_storeu_si256((void *)(to + k * (LANES / 2)), rounded);
        return;
    }
    const bool odd = k % 2;
    float *pair = to + k / 2 * LANES;
    const __m512i half =
        _mm512_sll_epi32(_mm512_cvtepu16_epi32(rounded), _mm_cvtsi32_si128(odd ? 16 : 0));
    const __m512i other = _mm512_maskz_loadu_epi32(odd ? 0xffff : 0, pair);
    _mm512_storeu_si512(pair, _mm512_or_si512(half, other));
}

/* ---- transforms of a line ----------------------------------------------------------------- */

/* d and v: every `step`-th vector. */
AVX512 void source_line(const struct points *p, const __m512 *d, __m512 *v, int step)
{
    const int last = 2 * p->pairs + 1;
    __m512 first = _mm512_mul_ps(d[0], _mm512_set1_ps(p->all[0]));
    __m512 end = _mm512_mul_ps(d[step], _mm512_set1_ps(p->all[0]));
    UNROLL for (int i = 1; i <= p->pairs; i++)
    {
        first = _mm512_fmadd_ps(d[2 * i * step], _mm512_set1_ps(p->all[i]), first);
        end = _mm512_fmadd_ps(d[(2 * i + 1) * step], _mm512_set1_ps(p->all[i]), end);
    }
    UNROLL for (int k = 0; k < p->pairs; k++)
    {
        __m512 even = d[2 * p->pairs * step], odd = d[(2 * p->pairs - 1) * step];
        UNROLL for (int i = 0; i < p->pairs - 1; i++)
        {
            const __m512 c = _mm512_set1_ps(p->others[k][i]);
            even = _mm512_fmadd_ps(d[(2 * i + 2) * step], c, even);
            odd = _mm512_fmadd_ps(d[(2 * i + 1) * step], c, odd);
        }
        const __m512 x = _mm512_set1_ps(p->power[k][1]);
        v[(2 * k + 1) * step] = _mm512_fmadd_ps(odd, x, even);
        v[(2 * k + 2) * step] = _mm512_fnmadd_ps(odd, x, even);
    }
    v[0] = first;
    v[last * step] = end;
}

/* Sums of powers: m results of the positions. */
AVX512 void result_line(const struct points *p, int m, const __m512 *x, __m512 *y, int x_step,
                        int y_step)
{
    __m512 sum[3], difference[3];
    UNROLL for (int k = 0; k < p->pairs; k++)
    {
        const __m512 plus = x[(2 * k + 1) * x_step], minus = x[(2 * k + 2) * x_step];
        sum[k] = _mm512_add_ps(plus, minus);
        difference[k] = _mm512_sub_ps(plus, minus);
    }
    UNROLL for (int j = 0; j < m; j++)
    {
        __m512 of = j % 2 ? difference[0] : sum[0];
        if (j > 0)
            of = _mm512_mul_ps(of, _mm512_set1_ps(p->power[0][j]));
        UNROLL for (int k = 1; k < p->pairs; k++) of =
            _mm512_fmadd_ps(j % 2 ? difference[k] : sum[k], _mm512_set1_ps(p->power[k][j]), of);
        if (j == 0)
            of = _mm512_add_ps(of, x[0]);
        if (j == m - 1)
            of = _mm512_add_ps(of, x[(2 * p->pairs + 1) * x_step]);
        y[j * y_step] = of;
    }
}

/* Its transpose. */
AVX512 void gradient_line(const struct points *p, int m, const __m512 *y, __m512 *e, int y_step,
                          int e_step)
{
    UNROLL for (int k = 0; k < p->pairs; k++)
    {
        __m512 even = y[0], odd = _mm512_setzero_ps();
        UNROLL for (int j = 1; j < m; j++)
        {
            const __m512 power = _mm512_set1_ps(p->power[k][j]);
            if (j % 2)
                odd = _mm512_fmadd_ps(y[j * y_step], power, odd);
            else
                even = _mm512_fmadd_ps(y[j * y_step], power, even);
        }
        e[(2 * k + 1) * e_step] = _mm512_add_ps(even, odd);
        e[(2 * k + 2) * e_step] = _mm512_sub_ps(even, odd);
    }
    e[0] = y[0];
    e[(2 * p->pairs + 1) * e_step] = y[(m - 1) * y_step];
}

/* ---- tiles -------------------------------------------------------------------------------- */

struct place {
    int64_t image, top, left; /* of the tile's results */
};

static struct place place_of(const struct gr_tile_grid *grid, int64_t tile)
{
    const int64_t of_image = grid->rows * grid->cols, at = tile % of_image;
    return (struct place){tile / of_image, at / grid->cols * grid->m, at % grid->cols * grid->m};
}

static inline void next_place(const struct gr_tile_grid *grid, struct place *at)
{
    at->left += grid->m;
    if (at->left < grid->cols * grid->m)
        return;
    at->left = 0;
    at->top += grid->m;
    if (at->top < grid->rows * grid->m)
        return;
    at->top = 0;
    at->image++;
}

/*
 * A square of edge `size` at (top, left) of a picture of 16 channels, which starts at vector
 * `picture` of the data; zero outside.
 */
AVX512 void load_square(const void *data, int64_t picture, int64_t h, int64_t w, int64_t top,
                        int64_t left, int size, bool bf16, __m512 *to)
{
    const bool whole = top >= 0 && left >= 0 && top + size <= h && left + size <= w;
    if (whole) {
        const int64_t at = picture + top * w + left;
        for (int i = 0; i < size; i++)
            UNROLL for (int j = 0; j < size; j++) to[i * size + j] =
                load(data, at + i * w + j, bf16);
        return;
    }
    for (int i = 0; i < size; i++)
        for (int j = 0; j < size; j++) {
            const int64_t y = top + i, x = left + j;
            to[i * size + j] = y >= 0 && x >= 0 && y < h && x < w
                                   ? load(data, picture + y * w + x, bf16)
                                   : _mm512_setzero_ps();
        }
}

AVX512 void source_tiles(const struct gr_tile_grid *grid, const struct points *p, int size,
                         bool bf16, enum gr_tile_form form, const void *src, int64_t block,
                         int64_t blocks, int64_t first, int64_t count,
                         const struct gr_tile_buffer *to)
{
    const int64_t area = grid->h * grid->w;
    for (int64_t b = 0; b < blocks; b++) {
        struct place at = place_of(grid, first);
        for (int64_t t = 0; t < count; t++, next_place(grid, &at)) {
            const int64_t picture = (at.image * grid->groups * grid->in + block + b) * area;
            float *out = to->data + b * to->block;
            __m512 d[MOST * MOST], e[MOST * MOST];
            load_square(src, picture, grid->h, grid->w, at.top - grid->pad[0],
                        at.left - grid->pad[1], size, bf16, d);
            UNROLL for (int j = 0; j < size; j++) source_line(p, d + j, e + j, size);
            UNROLL for (int i = 0; i < size; i++)
            {
                __m512 v[MOST];
                source_line(p, e + i * size, v, 1);
                UNROLL for (int j = 0; j < size; j++)
                    store_form(out + (i * size + j) * to->position, t, v[j], form);
            }
        }
    }
}

AVX512 void gradient_tiles(const struct gr_tile_grid *grid, const struct points *p, int size, int m,
                           bool bf16, enum gr_tile_form form, const void *dy, int64_t block,
                           int64_t blocks, int64_t first, int64_t count,
                           const struct gr_tile_buffer *to)
{
    const int64_t area = grid->oh * grid->ow;
    for (int64_t b = 0; b < blocks; b++) {
        struct place at = place_of(grid, first);
        for (int64_t t = 0; t < count; t++, next_place(grid, &at)) {
            const int64_t picture = (at.image * grid->groups * grid->out + block + b) * area;
            float *out = to->data + b * to->block;
            __m512 y[MOST * MOST], e[MOST * MOST];
            load_square(dy, picture, grid->oh, grid->ow, at.top, at.left, m, bf16, y);
            __m512 sum = y[0];
            UNROLL for (int i = 1; i < m * m; i++) sum = _mm512_add_ps(sum, y[i]);
            _mm512_storeu_ps(to->sums + b * to->sums_block + t * LANES, sum);
            UNROLL for (int j = 0; j < m; j++) gradient_line(p, m, y + j, e + j, m, m);
            UNROLL for (int i = 0; i < size; i++)
            {
                __m512 v[MOST];
                gradient_line(p, m, e + i * m, v, 1, 1);
                UNROLL for (int j = 0; j < size; j++)
                    store_form(out + (i * size + j) * to->position, t, v[j], form);
            }
        }
    }
}

/* Results i, j of a tile below `high` and `wide`, from vector `to` of dst on. */
AVX512 void finish_tile(const struct gr_tile_finish *finish, int m, bool bf16, const __m512 *half,
                        const struct points *p, int size, __m512 offset, int64_t to, int64_t ow,
                        int64_t high, int64_t wide, void *dst)
{
    const __m512 least = _mm512_set1_ps(finish->relu ? 0 : -__builtin_inff());
    UNROLL for (int i = 0; i < m; i++)
    {
        __m512 y[MOST];
        result_line(p, m, half + i * size, y, 1, 1);
        UNROLL for (int j = 0; j < m; j++) if (i < high && j < wide)
        {
            __m512 x = _mm512_add_ps(y[j], offset);
            if (finish->addend)
                x = _mm512_add_ps(x, load(finish->addend, to + i * ow + j, bf16));
            store(dst, to + i * ow + j, _mm512_max_ps(least, x), bf16);
        }
    }
}

AVX512 void result_tiles(const struct gr_tile_grid *grid, const struct points *p, int size, int m,
                         bool bf16, const struct gr_tile_buffer *from, int64_t block,
                         int64_t blocks, int64_t first, int64_t count,
                         const struct gr_tile_finish *finish, void *dst)
{
    for (int64_t b = 0; b < blocks; b++) {
        struct place at = place_of(grid, first);
        for (int64_t t = 0; t < count; t++, next_place(grid, &at)) {
            const float *in = from->data + b * from->block + t * LANES;
            const int64_t picture = at.image * grid->groups * grid->out + block + b;
            __m512 half[MOST * MOST], offset = _mm512_setzero_ps();
            if (finish->bias)
                offset = _mm512_loadu_ps(finish->bias + (block + b) * LANES);
            UNROLL for (int j = 0; j < size; j++)
            {
                __m512 x[MOST];
                UNROLL for (int i = 0; i < size; i++) x[i] =
                    _mm512_loadu_ps(in + (i * size + j) * from->position);
                result_line(p, m, x, half + j, 1, size);
            }
            finish_tile(finish, m, bf16, half, p, size, offset,
                        (picture * grid->oh + at.top) * grid->ow + at.left, grid->ow,
                        grid->oh - at.top, grid->ow - at.left, dst);
        }
    }
}

/* The sizes and types there are, each compiled with its numbers as constants. */
TARGET void gr_tiles_avx512_source(const struct gr_tile_grid *grid, const void *src, int64_t block,
                                   int64_t blocks, int64_t first, int64_t count,
                                   const struct gr_tile_buffer *to)
{
#define SOURCE(POINTS, SIZE, BF16, FORM)                                                           \
    source_tiles(grid, POINTS, SIZE, BF16, FORM, src, block, blocks, first, count, to)
    if (to->form == GR_TILE_BF16)
        SOURCE(&points_6, 6, true, GR_TILE_BF16);
    else if (to->form == GR_TILE_PAIRS)
        SOURCE(&points_6, 6, true, GR_TILE_PAIRS);
    else if (grid->size == 6 && grid->in_bf16)
        SOURCE(&points_6, 6, true, GR_TILE_F32);
    else if (grid->size == 6)
        SOURCE(&points_6, 6, false, GR_TILE_F32);
    else if (grid->in_bf16)
        SOURCE(&points_8, 8, true, GR_TILE_F32);
    else
        SOURCE(&points_8, 8, false, GR_TILE_F32);
}

#define FOR_EACH_SIZE(CALL, ...)                                                                   \
    if (grid->size == 6 && grid->m == 2)                                                           \
        CALL(&points_6, 6, 2, __VA_ARGS__);                                                        \
    else if (grid->size == 6)                                                                      \
        CALL(&points_6, 6, 4, __VA_ARGS__);                                                        \
    else if (grid->m == 4)                                                                         \
        CALL(&points_8, 8, 4, __VA_ARGS__);                                                        \
    else                                                                                           \
        CALL(&points_8, 8, 6, __VA_ARGS__)

TARGET void gr_tiles_avx512_gradient(const struct gr_tile_grid *grid, const void *dy, int64_t block,
                                     int64_t blocks, int64_t first, int64_t count,
                                     const struct gr_tile_buffer *to)
{
#define GRADIENT(POINTS, SIZE, M, BF16, FORM)                                                      \
    gradient_tiles(grid, POINTS, SIZE, M, BF16, FORM, dy, block, blocks, first, count, to)
    if (to->form == GR_TILE_PAIRS && grid->m == 2)
        GRADIENT(&points_6, 6, 2, true, GR_TILE_PAIRS);
    else if (to->form == GR_TILE_PAIRS)
        GRADIENT(&points_6, 6, 4, true, GR_TILE_PAIRS);
    else if (grid->out_bf16) {
        FOR_EACH_SIZE(GRADIENT, true, GR_TILE_F32);
    } else {
        FOR_EACH_SIZE(GRADIENT, false, GR_TILE_F32);
    }
}

TARGET void gr_tiles_avx512_result(const struct gr_tile_grid *grid,
                                   const struct gr_tile_buffer *from, int64_t block, int64_t blocks,
                                   int64_t first, int64_t count,
                                   const struct gr_tile_finish *finish, void *dst)
{
#define RESULT(POINTS, SIZE, M, BF16)                                                              \
    result_tiles(grid, POINTS, SIZE, M, BF16, from, block, blocks, first, count, finish, dst)
    if (grid->out_bf16) {
        FOR_EACH_SIZE(RESULT, true);
    } else {
        FOR_EACH_SIZE(RESULT, false);
    }
}

/* ---- filters ------------------------------------------------------------------------------ */

TARGET void gr_tiles_avx512_filter(const struct gr_tile_grid *grid, const float *w, int64_t tap,
                                   bool turned, int64_t channel, float *u, int64_t position)
{
    const int64_t size = grid->size, taps = size + 1 - grid->m;
    const enum gr_tile_form form = grid->rounded ? GR_TILE_PAIRS : GR_TILE_F32;
    __m512 half[MOST * GR_TILE_TAPS]; /* [size, taps] */
    for (int64_t i = 0; i < size; i++)
        for (int64_t j = 0; j < taps; j++) {
            __m512 sum = _mm512_setzero_ps();
            for (int64_t k = 0; k < taps; k++) {
                const int64_t at = k * taps + j, from = turned ? taps * taps - 1 - at : at;
                sum = _mm512_fmadd_ps(_mm512_loadu_ps(w + from * tap),
                                      _mm512_set1_ps(grid->filter[i][k]), sum);
            }
            half[i * taps + j] = sum;
        }
    for (int64_t i = 0; i < size; i++)
        for (int64_t j = 0; j < size; j++) {
            __m512 sum = _mm512_setzero_ps();
            for (int64_t k = 0; k < taps; k++)
                sum = _mm512_fmadd_ps(half[i * taps + k], _mm512_set1_ps(grid->filter[j][k]), sum);
            store_form(u + (i * size + j) * position, channel, sum, form);
        }
}

TARGET void gr_tiles_avx512_filter_gradient(const struct gr_tile_grid *grid, const float *u,
                                            int64_t position, float *dw, int64_t tap)
{
    const int64_t size = grid->size, taps = size + 1 - grid->m;
    __m512 half[GR_TILE_TAPS * MOST]; /* [taps, size] */
    for (int64_t i = 0; i < taps; i++)
        for (int64_t j = 0; j < size; j++) {
            __m512 sum = _mm512_setzero_ps();
            for (int64_t k = 0; k < size; k++)
                sum = _mm512_fmadd_ps(_mm512_loadu_ps(u + (k * size + j) * position),
                                      _mm512_set1_ps(grid->filter[k][i]), sum);
            half[i * size + j] = sum;
        }
    for (int64_t i = 0; i < taps; i++)
        for (int64_t j = 0; j < taps; j++) {
            __m512 sum = _mm512_setzero_ps();
            for (int64_t k = 0; k < size; k++)
                sum = _mm512_fmadd_ps(half[i * size + k], _mm512_set1_ps(grid->filter[k][j]), sum);
            _mm512_storeu_ps(dw + (i * taps + j) * tap, sum);
        }
}

#else

bool gr_tiles_avx512_supported(bool bf16)
{
    (void)bf16;
    return false;
}

void gr_tiles_avx512_source(const struct gr_tile_grid *grid, const void *src, int64_t block,
                            int64_t blocks, int64_t first, int64_t count,
                            const struct gr_tile_buffer *to)
{
    (void)grid, (void)src, (void)block, (void)blocks, (void)first, (void)count, (void)to;
}

void gr_tiles_avx512_gradient(const struct gr_tile_grid *grid, const void *dy, int64_t block,
                              int64_t blocks, int64_t first, int64_t count,
                              const struct gr_tile_buffer *to)
{
    (void)grid, (void)dy, (void)block, (void)blocks, (void)first, (void)count, (void)to;
}

void gr_tiles_avx512_result(const struct gr_tile_grid *grid, const struct gr_tile_buffer *from,
                            int64_t block, int64_t blocks, int64_t first, int64_t count,
                            const struct gr_tile_finish *finish, void *dst)
{
    (void)grid, (void)from, (void)block, (void)blocks, (void)first, (void)count;
    (void)finish, (void)dst;
}

void gr_tiles_avx512_filter(const struct gr_tile_grid *grid, const float *w, int64_t tap,
                            bool turned, int64_t channel, float *u, int64_t position)
{
    (void)grid, (void)w, (void)tap, (void)turned, (void)channel, (void)u, (void)position;
}

void gr_tiles_avx512_filter_gradient(const struct gr_tile_grid *grid, const float *u,
                                     int64_t position, float *dw, int64_t tap)
{
    (void)grid, (void)u, (void)position, (void)dw, (void)tap;
}

#endif
