/*
 * Convolution by Winograd's transformation in kernels of our own (AVX-512, stride 1; 3×3 and 5×5,
 * in groups or not): tiles of 6×6 or 8×8 sources, see conv_tiles_avx512.h. An 8×8 tile multiplies
 * less and rounds more. Arithmetic is f32; activations may be stored in bf16, and then 6×6 tiles
 * may be rounded to bf16 once transformed, which halves the time of the products.
 *
 * Forward, a thread takes a block of tiles of one group through source transform, products and
 * result transform while they are in its cache. The gradient of the input is such a convolution of
 * dy with filters turned by half a turn, see conv_flipped.c. The gradient of the weights transposes
 * the algorithm: dw = Gᵀ [Σ over tiles of (Bᵀ d B) · (A dy Aᵀ)] G. A thread takes some of the
 * channels, or all threads all, and goes through the batch by parts: transforms, then at each
 * position a matrix product over tiles. Where a part ends changes nothing of the order of a sum.
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
 * words for each thread, and at least so many tiles, of a part of the batch.
 */
enum { BLOCK = 48, RESULTS = 4, PART = 1 << 19, LEAST_PART = 128 };

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
    gr_tiles_avx512_source(grid, src, g * grid->in, grid->in, first, count, &source);
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
        gr_tiles_avx512_result(grid, &result, g * grid->out + o, out, first, count, finish, dst);
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

/* Blocks of channels that are read and that result, all of one group, whose products are summed. */
struct cell {
    int64_t in, ins, out, outs; /* the first, counted over all groups, and how many */
};

static struct cell cell_of(const struct gr_tiles *s, int64_t g, int64_t i, int64_t o)
{
    const int64_t in = s->grid.in, out = s->grid.out;
    const int64_t first_in = in * i / s->in_shares, first_out = out * o / s->out_shares;
    return (struct cell){.in = g * in + first_in,
                         .ins = in * (i + 1) / s->in_shares - first_in,
                         .out = g * out + first_out,
                         .outs = out * (o + 1) / s->out_shares - first_out};
}

/* The scratch for a cell. */
struct sums {
    float *source, *gradient, *sum; /* [positions, blocks, ...] */
    float *tile;                    /* the sum of dy of each tile: [out, part, 16] */
    double *bias;                   /* [out, 16] */
};

static struct sums sums_of(const struct gr_tiles *s, float *scratch)
{
    struct sums sums = {.bias = (double *)(void *)scratch};
    sums.tile = scratch + 2 * LANES * s->outs;
    sums.source = sums.tile + s->part * LANES * s->outs;
    sums.gradient = sums.source + s->positions * s->source;
    sums.sum = sums.gradient + s->positions * s->result;
    return sums;
}

/* Tiles t to t + count - 1, t even, of the part that starts at `first`. */
static void transform_few(const struct gr_tiles *s, const struct cell *cell, const struct sums *to,
                          const void *dy, const void *src, int64_t first, int64_t t, int64_t count)
{
    const int64_t block = gr_tile_words(s->form, s->part), at = gr_tile_words(s->form, t);
    const struct gr_tile_buffer source = {
        .data = to->source + at, .position = s->source, .block = block, .form = s->form};
    const struct gr_tile_buffer gradient = {.data = to->gradient + at,
                                            .position = s->result,
                                            .block = block,
                                            .form = s->form,
                                            .sums = to->tile + t * LANES,
                                            .sums_block = s->part * LANES};
    gr_tiles_avx512_source(&s->grid, src, cell->in, cell->ins, first + t, count, &source);
    gr_tiles_avx512_gradient(&s->grid, dy, cell->out, cell->outs, first + t, count, &gradient);
}

static void multiply_position(const struct gr_tiles *s, const struct cell *cell,
                              const struct sums *of, int64_t p, int64_t count, bool fresh)
{
    const int64_t block = gr_tile_words(s->form, s->part);
    const struct gr_tile_product product = {.a = of->source + p * s->source,
                                            .b = of->gradient + p * s->result,
                                            .c = of->sum + p * s->filter,
                                            .a_block = block,
                                            .b_block = block,
                                            .c_block = cell->ins * LANES * LANES,
                                            .in = cell->ins,
                                            .out = cell->outs,
                                            .tiles = count,
                                            .rounded = s->grid.rounded};
    gr_tiles_avx512_correlate(&product, fresh);
}

/* bias += the tiles' sums of the cell's block o. */
static void add_bias(const struct gr_tiles *s, const struct sums *of, int64_t o, int64_t count,
                     bool fresh)
{
    const float *tile = of->tile + o * s->part * LANES;
    double *bias = of->bias + o * LANES;
    for (int64_t c = 0; fresh && c < LANES; c++)
        bias[c] = 0;
    for (int64_t t = 0; t < count; t++)
        for (int64_t c = 0; c < LANES; c++)
            bias[c] += (double)tile[t * LANES + c];
}

/* The sums of the cell's block o, [positions, 16 in, 16], to dw and db. */
static void transform_sums(const struct gr_tiles *s, const struct cell *cell, const struct sums *of,
                           int64_t o, float *dw, float *db)
{
    const int64_t in = s->grid.in, taps = s->taps * s->taps;
    for (int64_t i = 0; i < cell->ins; i++) {
        float *to = dw + ((cell->out + o) * in + cell->in % in + i) * taps * LANES * LANES;
        const float *from = of->sum + (o * cell->ins + i) * LANES * LANES;
        for (int64_t c = 0; c < LANES; c++)
            gr_tiles_avx512_filter_gradient(&s->grid, from + c * LANES, s->filter, to + c * LANES,
                                            (int64_t)LANES * LANES);
    }
    for (int64_t c = 0; db && cell->in % in == 0 && c < LANES; c++)
        db[(cell->out + o) * LANES + c] = (float)of->bias[o * LANES + c];
}

enum { FEW = 16 }; /* tiles of a task */

/* A cell by one thread. */
static void correlate_alone(const struct gr_tiles *s, const struct cell *cell, const void *dy,
                            const void *src, float *dw, float *db, float *scratch)
{
    const struct sums sums = sums_of(s, scratch);
    const int64_t tiles = s->images * s->grid.rows * s->grid.cols;
    for (int64_t first = 0; first < tiles; first += s->part) {
        const int64_t count = tiles - first < s->part ? tiles - first : s->part;
        transform_few(s, cell, &sums, dy, src, first, 0, count);
        for (int64_t p = 0; p < s->positions; p++)
            multiply_position(s, cell, &sums, p, count, first == 0);
        for (int64_t o = 0; o < cell->outs; o++)
            add_bias(s, &sums, o, count, first == 0);
    }
    for (int64_t o = 0; o < cell->outs; o++)
        transform_sums(s, cell, &sums, o, dw, db);
}

/* A cell by all threads. */
static void correlate_together(const struct gr_tiles *s, const struct cell *cell, const void *dy,
                               const void *src, float *dw, float *db, float *scratch)
{
    const struct sums sums = sums_of(s, scratch);
    const int64_t tiles = s->images * s->grid.rows * s->grid.cols;
    for (int64_t first = 0; first < tiles; first += s->part) {
        const int64_t count = tiles - first < s->part ? tiles - first : s->part;
#pragma omp for schedule(dynamic)
        for (int64_t t = 0; t < count; t += FEW)
            transform_few(s, cell, &sums, dy, src, first, t, count - t < FEW ? count - t : FEW);
#pragma omp for schedule(dynamic) nowait
        for (int64_t p = 0; p < s->positions; p++)
            multiply_position(s, cell, &sums, p, count, first == 0);
#pragma omp for schedule(static)
        for (int64_t o = 0; o < cell->outs; o++)
            add_bias(s, &sums, o, count, first == 0);
    }
#pragma omp for schedule(static)
    for (int64_t o = 0; o < cell->outs; o++)
        transform_sums(s, cell, &sums, o, dw, db);
}

void gr_tiles_correlate(const struct gr_tiles *s, const void *dy, const void *src, float *dw,
                        float *db, float *scratch)
{
    if (s->together) {
#pragma omp parallel num_threads(s->threads)
        for (int64_t g = 0; g < s->grid.groups; g++) {
            const struct cell cell = cell_of(s, g, 0, 0);
            correlate_together(s, &cell, dy, src, dw, db, scratch);
        }
        return;
    }
#pragma omp parallel for collapse(3) schedule(dynamic) num_threads(s->threads)
    for (int64_t g = 0; g < s->grid.groups; g++)
        for (int64_t o = 0; o < s->out_shares; o++)
            for (int64_t i = 0; i < s->in_shares; i++) {
                const struct cell cell = cell_of(s, g, i, o);
                correlate_alone(s, &cell, dy, src, dw, db, scratch + omp_get_thread_num() * s->own);
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

/*
 * Divides the sums into cells, each of a thread, which transforms what it needs on its own: nothing
 * is shared, but the more cells, the more is transformed more than once. Where that would be too
 * much, all threads work on all of a group. Costs are of blocks of a tile: a product is 1.
 */
static void divide_sums(struct gr_tiles *s)
{
    const int64_t in = s->grid.in, out = s->grid.out, groups = s->grid.groups;
    const double transform = s->grid.rounded ? 1 : 0.5;
    const double ideal =
        (double)groups * ((double)(in * out) + transform * (double)(in + out)) / s->threads;
    double least = HUGE_VAL;
    for (int64_t i = 1; i <= in; i++)
        for (int64_t o = 1; o <= out && groups * i * o <= 4 * s->threads; o++) {
            const int64_t ins = (in + i - 1) / i, outs = (out + o - 1) / o;
            const double rounds = (double)((groups * i * o + s->threads - 1) / s->threads);
            const double time = rounds * ((double)(ins * outs) + transform * (double)(ins + outs));
            if (time < least) {
                least = time;
                s->in_shares = i;
                s->out_shares = o;
            }
        }
    s->together = !(least <= 1.25 * ideal);
    if (s->together)
        s->in_shares = s->out_shares = 1;
    s->ins = (in + s->in_shares - 1) / s->in_shares;
    s->outs = (out + s->out_shares - 1) / s->out_shares;
}

/*
 * Parts of the batch whose tiles stay in the caches, so long that the sums, which are read and
 * written for each, weigh little.
 */
static size_t divide_parts(struct gr_tiles *s, int64_t tiles)
{
    divide_sums(s);
    const int64_t words = gr_tile_words(s->form, 1) * (s->ins + s->outs) * s->positions;
    const int64_t part = PART * (s->together ? s->threads : 1) / words;
    s->part = part > LEAST_PART ? part / 2 * 2 : LEAST_PART;
    s->part = s->part < tiles ? s->part : rounded_up(tiles, 2);
    s->source = gr_conv_filters_spread(gr_tile_words(s->form, s->part) * s->ins);
    s->result = gr_conv_filters_spread(gr_tile_words(s->form, s->part) * s->outs);
    s->filter = gr_conv_filters_spread(s->ins * LANES * s->outs * LANES);
    s->own = s->positions * (s->source + s->result + s->filter) + (s->part + 2) * LANES * s->outs;
    return (size_t)(s->own * (s->together ? 1 : s->threads)) * sizeof(float);
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
