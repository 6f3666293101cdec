/*
 * Convolution by Winograd's transformation in kernels of our own (AVX-512, stride 1; 3×3 and 5×5,
 * in groups or not): tiles of 6×6 or 8×8 sources, see conv_tiles_avx512.h. An 8×8 tile multiplies
 * less and rounds more. Arithmetic is f32; activations may be stored in bf16, and then 6×6 tiles
 * may be rounded to bf16 once transformed, which halves the time of the products.
 *
 * Forward, a thread takes a block of tiles of one group through source transform, products and
 * result transform while they are in its cache. The gradient of the input is such a convolution of
 * dy with filters turned by half a turn, see conv_flipped.c. The gradient of the weights transposes
 * the algorithm: dw = Gᵀ [Σ over tiles of (Bᵀ d B) · (A dy Aᵀ)] G. A part of the batch is
 * transformed by all threads, then each takes positions, whose sums over tiles are matrix products.
 * Either way who computes a number makes no difference to it: bits are the same for any number of
 * threads.
 */
#include <math.h>
#include <omp.h>

#include "conv_tiles.h"

#include "conv_filters.h"

enum { LANES = GR_TILE_LANES };

/*
 * Tiles that a thread takes at a time, a multiple of GR_TILE_ROWS; blocks of results at a time;
 * floats, and at least so many tiles, of a part of the batch.
 */
enum { BLOCK = 48, RESULTS = 4, PART = 3 << 20, LEAST_PART = 128 };

_Static_assert(BLOCK % GR_TILE_ROWS == 0, "products read whole rows of tiles");

/* ---- forward and the gradient of the input -------------------------------------------------- */

/* Block `at` of the tiles of group g, share `share` of the results, with the thread's own buffers.
 */
static void convolve_block(const struct gr_tiles *s, const void *src, const float *u,
                           const struct gr_tile_finish *finish, void *dst, int64_t g, int64_t at,
                           int64_t share, float *own)
{
    const struct gr_tile_grid *grid = &s->grid;
    const int64_t tiles = s->images * grid->rows * grid->cols, first = at * s->block;
    const int64_t count = tiles - first < s->block ? tiles - first : s->block;
    const struct gr_tile_buffer source = {.data = own,
                                          .position = s->source,
                                          .block = gr_tile_words(s->form, s->stride),
                                          .form = s->form};
    const struct gr_tile_buffer result = {
        .data = own + s->positions * s->source, .position = s->result, .block = s->stride * LANES};
    const int64_t end = grid->out * (share + 1) / s->shares;
    gr_tiles_avx512_source(grid, src, g, first, count, &source);
    for (int64_t o = grid->out * share / s->shares; o < end; o += RESULTS) {
        const int64_t out = end - o < RESULTS ? end - o : RESULTS;
        const int64_t filters = grid->in * gr_conv_filters_block(grid);
        for (int64_t p = 0; p < s->positions; p++) {
            const struct gr_tile_product product = {.a = source.data + p * s->source,
                                                    .b = u + (g * s->positions + p) * s->filter +
                                                         o * filters,
                                                    .c = result.data + p * s->result,
                                                    .a_block = source.block,
                                                    .b_block = filters,
                                                    .c_block = result.block,
                                                    .in = grid->in,
                                                    .out = out,
                                                    .tiles = count,
                                                    .rounded = grid->rounded};
            gr_tiles_avx512_multiply(&product);
        }
        gr_tiles_avx512_result(grid, &result, g, o, out, first, count, finish, dst);
    }
}

void gr_tiles_convolve(const struct gr_tiles *s, const void *src, const float *weights,
                       const struct gr_tile_finish *finish, void *dst, float *scratch)
{
    float *owned = scratch + (s->kept ? 0 : gr_conv_filters_count(&s->grid));
    const float *u = s->kept ? weights : scratch;
    if (!s->kept)
        gr_conv_filters_transform(&s->grid, s->turned, weights, scratch);
#pragma omp parallel num_threads(s->threads)
    {
        float *own = owned + omp_get_thread_num() * s->positions * (s->source + s->result);
#pragma omp for collapse(3) schedule(dynamic)
        for (int64_t g = 0; g < s->grid.groups; g++)
            for (int64_t at = 0; at < s->blocks; at++)
                for (int64_t share = 0; share < s->shares; share++)
                    convolve_block(s, src, u, finish, dst, g, at, share, own);
    }
}

/* ---- the gradient of the weights ------------------------------------------------------------ */

/* The parts of the scratch: transformed sources and gradients of a part of the batch, and sums. */
struct sums {
    float *source, *gradient, *sum; /* [G, positions, blocks, ...] */
    float *bias;                    /* of each tile: [G, out, part, 16] */
};

static struct sums sums_of(const struct gr_tiles *s, float *scratch)
{
    const int64_t each = s->grid.groups * s->positions;
    struct sums sums = {.source = scratch};
    sums.gradient = sums.source + each * s->source;
    sums.sum = sums.gradient + each * s->result;
    sums.bias = sums.sum + each * s->filter;
    return sums;
}

/* Tiles of a part, first of which `first`, transformed; shared out in blocks. */
static void transform_part(const struct gr_tiles *s, const struct sums *to, const void *dy,
                           const void *src, int64_t first, int64_t count)
{
    const int64_t stride = gr_tile_words(s->form, s->part), bias = s->part * LANES;
    enum { FEW = 16 }; /* even: see gr_tile_words */
#pragma omp for collapse(2) schedule(dynamic)
    for (int64_t g = 0; g < s->grid.groups; g++)
        for (int64_t t = 0; t < count; t += FEW) {
            const int64_t few = count - t < FEW ? count - t : FEW;
            const int64_t at = g * s->positions, tile = gr_tile_words(s->form, t);
            const struct gr_tile_buffer source = {.data = to->source + at * s->source + tile,
                                                  .position = s->source,
                                                  .block = stride,
                                                  .form = s->form};
            const struct gr_tile_buffer gradient = {.data = to->gradient + at * s->result + tile,
                                                    .position = s->result,
                                                    .block = stride,
                                                    .form = s->form,
                                                    .sums = to->bias + g * s->grid.out * bias +
                                                            t * LANES,
                                                    .sums_block = bias};
            gr_tiles_avx512_source(&s->grid, src, g, first + t, few, &source);
            gr_tiles_avx512_gradient(&s->grid, dy, g, first + t, few, &gradient);
        }
}

/* db += the tiles' sums. */
static void add_bias(const struct gr_tiles *s, const float *sums, int64_t count, bool fresh,
                     float *db)
{
    const int64_t stride = s->part * LANES;
    for (int64_t o = 0; o < s->grid.out; o++)
        for (int64_t c = 0; c < LANES; c++) {
            double sum = fresh ? 0 : (double)db[o * LANES + c];
            for (int64_t t = 0; t < count; t++)
                sum += (double)sums[o * stride + t * LANES + c];
            db[o * LANES + c] = (float)sum;
        }
}

static void multiply_part(const struct gr_tiles *s, const struct sums *of, int64_t count,
                          bool fresh, float *db)
{
    const struct gr_tile_grid *grid = &s->grid;
    const int64_t stride = gr_tile_words(s->form, s->part), bias = s->part * LANES;
#pragma omp for collapse(2) schedule(dynamic)
    for (int64_t g = 0; g < grid->groups; g++)
        for (int64_t p = 0; p < s->positions; p++) {
            const int64_t at = g * s->positions + p;
            const struct gr_tile_product product = {.a = of->source + at * s->source,
                                                    .b = of->gradient + at * s->result,
                                                    .c = of->sum + at * s->filter,
                                                    .a_block = stride,
                                                    .b_block = stride,
                                                    .c_block = grid->in * LANES * LANES,
                                                    .in = grid->in,
                                                    .out = grid->out,
                                                    .tiles = count,
                                                    .rounded = grid->rounded};
            gr_tiles_avx512_correlate(&product, fresh);
            if (db && p == 0)
                add_bias(s, of->bias + g * grid->out * bias, count, fresh,
                         db + g * grid->out * LANES);
        }
}

/* Sums of a group [positions, out, 16 in, 16] to OIhw16i16o. */
static void transform_sums(const struct gr_tiles *s, const float *sum, float *dw)
{
    const struct gr_tile_grid *grid = &s->grid;
    const int64_t in = grid->in, out = grid->out, taps = s->taps * s->taps;
#pragma omp for collapse(3) schedule(static)
    for (int64_t g = 0; g < grid->groups; g++)
        for (int64_t o = 0; o < out; o++)
            for (int64_t i = 0; i < in; i++) {
                float *to = dw + ((g * out + o) * in + i) * taps * LANES * LANES;
                const float *from =
                    sum + g * s->positions * s->filter + (o * in + i) * LANES * LANES;
                for (int64_t c = 0; c < LANES; c++)
                    gr_tiles_avx512_filter_gradient(grid, from + c * LANES, s->filter,
                                                    to + c * LANES, (int64_t)LANES * LANES);
            }
}

void gr_tiles_correlate(const struct gr_tiles *s, const void *dy, const void *src, float *dw,
                        float *db, float *scratch)
{
    const struct sums sums = sums_of(s, scratch);
    const int64_t tiles = s->images * s->grid.rows * s->grid.cols;
#pragma omp parallel
    {
        for (int64_t first = 0; first < tiles; first += s->part) {
            const int64_t count = tiles - first < s->part ? tiles - first : s->part;
            transform_part(s, &sums, dy, src, first, count);
            multiply_part(s, &sums, count, first == 0, db);
        }
        transform_sums(s, sums.sum, dw);
    }
}

/* ---- how the work is divided ---------------------------------------------------------------- */

static int64_t rounded_up(int64_t count, int64_t multiple)
{
    return (count + multiple - 1) / multiple * multiple;
}

/*
 * Divides tiles into blocks, and the results of a block into shares, so that few of them occupy all
 * threads: products are of at least 6 tiles, and each share transforms the block's sources again,
 * about a tenth of the work on it.
 */
static void divide_blocks(struct gr_tiles *s, int64_t tiles)
{
    const int64_t groups = s->grid.groups, fewest = (tiles + BLOCK - 1) / BLOCK;
    double least = HUGE_VAL;
    for (int64_t n = fewest; n <= fewest + s->threads; n++)
        for (int64_t shares = 1; shares <= s->grid.out; shares++) {
            const int64_t block = (tiles + n - 1) / n, tasks = groups * n * shares;
            const double rounds = (double)((tasks + s->threads - 1) / s->threads);
            const double time = rounds * (double)rounded_up(block, 6) * (1 / (double)shares + 0.1);
            if (time < least) {
                least = time;
                s->block = block;
                s->blocks = (tiles + block - 1) / block;
                s->shares = shares;
            }
            if (groups * n * shares >= 4 * s->threads)
                break;
        }
    s->stride = rounded_up(s->block, GR_TILE_ROWS);
}

/* Parts of the batch, as large as their scratch may be. */
static size_t divide_parts(struct gr_tiles *s, int64_t tiles)
{
    const struct gr_tile_grid *grid = &s->grid;
    const int64_t blocks = grid->groups * (grid->in + grid->out);
    const int64_t part = PART / (gr_tile_words(s->form, 1) * blocks * s->positions);
    s->part = part > LEAST_PART ? part / 2 * 2 : LEAST_PART;
    s->part = s->part < tiles ? s->part : rounded_up(tiles, 2);
    s->source = gr_conv_filters_spread(gr_tile_words(s->form, s->part) * grid->in);
    s->result = gr_conv_filters_spread(gr_tile_words(s->form, s->part) * grid->out);
    s->filter = gr_conv_filters_spread(grid->in * LANES * grid->out * LANES);
    return (size_t)(grid->groups * (s->positions * (s->source + s->result + s->filter) +
                                    s->part * grid->out * LANES)) *
           sizeof(float);
}

static size_t divide_batch(struct gr_tiles *s, int64_t tiles)
{
    const struct gr_tile_grid *grid = &s->grid;
    divide_blocks(s, tiles);
    s->filter = gr_conv_filters_position(grid);
    s->source = gr_conv_filters_spread(gr_tile_words(s->form, s->stride) * grid->in);
    s->result =
        gr_conv_filters_spread(s->stride * (grid->out < RESULTS ? grid->out : RESULTS) * LANES);
    return (size_t)((s->kept ? 0 : gr_conv_filters_count(grid)) +
                    s->positions * s->threads * (s->source + s->result)) *
           sizeof(float);
}

size_t gr_tiles_init(struct gr_tiles *s, const struct gr_tile_grid *like, int64_t images,
                     int64_t taps, enum gr_conv_pass pass, bool kept, int threads)
{
    struct gr_tile_grid *grid = &s->grid;
    *s = (struct gr_tiles){.grid = *like,
                           .form = !like->rounded            ? GR_TILE_F32
                                   : pass == GR_CONV_WEIGHTS ? GR_TILE_PAIRS
                                                             : GR_TILE_BF16,
                           .images = images,
                           .taps = taps,
                           .positions = like->size * like->size,
                           .turned = pass == GR_CONV_DATA,
                           .kept = kept,
                           .threads = threads};
    grid->m = grid->size + 1 - taps;
    grid->rows = (grid->oh + grid->m - 1) / grid->m;
    grid->cols = (grid->ow + grid->m - 1) / grid->m;
    gr_conv_filters_init(grid);
    const int64_t tiles = images * grid->rows * grid->cols;
    return pass == GR_CONV_WEIGHTS ? divide_parts(s, tiles) : divide_batch(s, tiles);
}
