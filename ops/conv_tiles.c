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
#include <stdio.h>
#include <stdlib.h>

#include "conv.h"
#include "conv_filters.h"
#include "ops.h"

enum { LANES = GR_TILE_LANES };

/*
 * Tiles that a thread takes at a time, a multiple of GR_TILE_ROWS; blocks of results at a time;
 * floats, and at least so many tiles, of a part of the batch.
 */
enum { BLOCK = 48, RESULTS = 4, PART = 3 << 20, LEAST_PART = 128 };

_Static_assert(BLOCK % GR_TILE_ROWS == 0, "products read whole rows of tiles");

struct tiles_state {
    struct gr_tile_grid grid;
    enum gr_tile_form form; /* of what is transformed */
    int64_t images, taps, positions;
    int64_t source, result, filter; /* words from a position to the next of each buffer */
    int64_t block, part;            /* tiles of a block, of a part */
    int64_t stride;                 /* of a block in its buffer */
    int64_t blocks, shares;         /* of tiles; into which a block's results are divided */
    bool turned, relu;
    bool kept; /* filters come transformed */
    int threads;
    char impl[40];
};

/* ---- forward and the gradient of the input -------------------------------------------------- */

/* Block `at` of the tiles of group g, share `share` of the results, with the thread's own buffers.
 */
static void convolve_block(const struct tiles_state *s, const void *src, const float *u,
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

static bool convolve_run(const struct gr_kernel *kernel, const struct gr_node *node,
                         const struct gr_buffers *buffers, const struct gr_run *run,
                         struct gr_error *err)
{
    (void)run, (void)err;
    const struct tiles_state *s = kernel->state;
    const struct gr_conv_attrs *a = node->attrs;
    const struct gr_tile_finish finish = {.bias = a->bias && !s->turned ? buffers->src[2] : NULL,
                                          .addend = a->add && !s->turned ? buffers->src[2 + a->bias]
                                                                         : NULL,
                                          .relu = s->relu};
    float *made = buffers->scratch, *owned = made + (s->kept ? 0 : gr_conv_filters_count(&s->grid));
    const float *u = s->kept ? buffers->src[1] : made;
    if (!s->kept)
        gr_conv_filters_transform(&s->grid, s->turned, buffers->src[1], made);
#pragma omp parallel num_threads(s->threads)
    {
        float *own = owned + omp_get_thread_num() * s->positions * (s->source + s->result);
#pragma omp for collapse(3) schedule(dynamic)
        for (int64_t g = 0; g < s->grid.groups; g++)
            for (int64_t at = 0; at < s->blocks; at++)
                for (int64_t share = 0; share < s->shares; share++)
                    convolve_block(s, buffers->src[0], u, &finish, buffers->dst[0], g, at, share,
                                   own);
    }
    return true;
}

/* ---- the gradient of the weights ------------------------------------------------------------ */

/* The parts of the scratch: transformed sources and gradients of a part of the batch, and sums. */
struct sums {
    float *source, *gradient, *sum; /* [G, positions, blocks, ...] */
    float *bias;                    /* of each tile: [G, out, part, 16] */
};

static struct sums sums_of(const struct tiles_state *s, float *scratch)
{
    const int64_t each = s->grid.groups * s->positions;
    struct sums sums = {.source = scratch};
    sums.gradient = sums.source + each * s->source;
    sums.sum = sums.gradient + each * s->result;
    sums.bias = sums.sum + each * s->filter;
    return sums;
}

/* Tiles of a part, first of which `first`, transformed; shared out in blocks. */
static void transform_part(const struct tiles_state *s, const struct sums *to, const void *dy,
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
static void add_bias(const struct tiles_state *s, const float *sums, int64_t count, bool fresh,
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

static void multiply_part(const struct tiles_state *s, const struct sums *of, int64_t count,
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
static void transform_sums(const struct tiles_state *s, const float *sum, float *dw)
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

static bool weights_run(const struct gr_kernel *kernel, const struct gr_node *node,
                        const struct gr_buffers *buffers, const struct gr_run *run,
                        struct gr_error *err)
{
    (void)run, (void)err;
    const struct tiles_state *s = kernel->state;
    const struct sums sums = sums_of(s, buffers->scratch);
    const int64_t tiles = s->images * s->grid.rows * s->grid.cols;
    float *db = node->n_outputs > 1 ? buffers->dst[1] : NULL;
#pragma omp parallel
    {
        for (int64_t first = 0; first < tiles; first += s->part) {
            const int64_t count = tiles - first < s->part ? tiles - first : s->part;
            transform_part(s, &sums, buffers->src[0], buffers->src[1], first, count);
            multiply_part(s, &sums, count, first == 0, db);
        }
        transform_sums(s, sums.sum, buffers->dst[0]);
    }
    return true;
}

/* ---- planning ------------------------------------------------------------------------------- */

static struct gr_tile_grid grid_of(const struct gr_planning *planning, enum gr_conv_pass pass,
                                   int64_t size, bool rounded)
{
    const struct gr_conv_attrs *a = planning->node->attrs;
    const struct gr_conv_sizes s = gr_conv_sizes(planning->node);
    const int64_t in = s.c / s.g / LANES, out = s.o / s.g / LANES, m = size + 1 - s.kh;
    struct gr_tile_grid grid = {.size = size,
                                .m = m,
                                .h = s.h,
                                .w = s.w,
                                .oh = s.oh,
                                .ow = s.ow,
                                .pad = {a->pad[0], a->pad[1]},
                                .groups = s.g,
                                .in = in,
                                .out = out};
    if (pass == GR_CONV_DATA) {
        grid = (struct gr_tile_grid){.size = size,
                                     .m = m,
                                     .h = s.oh,
                                     .w = s.ow,
                                     .oh = s.h,
                                     .ow = s.w,
                                     .pad = {s.kh - 1 - a->pad[0], s.kw - 1 - a->pad[1]},
                                     .groups = s.g,
                                     .in = out,
                                     .out = in};
    }
    grid.in_bf16 = grid.out_bf16 = gr_planning_dtype(planning) == GR_BF16;
    grid.rounded = rounded;
    grid.rows = (grid.oh + m - 1) / m;
    grid.cols = (grid.ow + m - 1) / m;
    gr_conv_filters_init(&grid);
    return grid;
}

/*
 * Activations in blocks of 16 channels, weights so that a vector is of the channels that result, or
 * kept as filters.
 */
static bool settle(struct gr_planning *planning, const struct tiles_state *s,
                   enum gr_conv_pass pass, struct gr_error *err)
{
    const struct gr_node *node = planning->node;
    struct gr_backend *backend = planning->backend;
    const enum gr_dtype type = gr_planning_dtype(planning);
    const struct gr_conv_attrs *a = node->attrs;
    const bool sums = pass == GR_CONV_WEIGHTS;
    const struct gr_value *value = sums ? node->outputs[0] : node->inputs[1];
    const struct gr_layout *weights =
        gr_conv_filters_blocked(backend, value, &s->grid, s->turned, err);
    for (int i = 0; i < node->n_inputs; i++)
        planning->src[i] = i == 0 || sums ? gr_onednn_blocked(backend, node->inputs[i], type, err)
                                          : &gr_layout_plain;
    *(sums ? &planning->dst[0] : &planning->src[1]) = weights;
    if (!sums)
        planning->dst[0] = gr_onednn_blocked(backend, node->outputs[0], type, err);
    if (pass == GR_CONV_FORWARD && a->add)
        planning->src[2 + a->bias] = planning->dst[0];
    if (s->kept) {
        planning->home[1] = weights;
        planning->src[1] = gr_conv_filters_layout(backend, &s->grid, err);
    }
    return weights && planning->src[0] && planning->src[1] && planning->dst[0];
}

static int64_t rounded_up(int64_t count, int64_t multiple)
{
    return (count + multiple - 1) / multiple * multiple;
}

/*
 * Divides tiles into blocks, and the results of a block into shares, so that few of them occupy all
 * threads: products are of at least 6 tiles, and each share transforms the block's sources again,
 * about a tenth of the work on it.
 */
static void divide_tiles(struct tiles_state *s, int64_t tiles)
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

/* How much is worked on at a time, and the scratch for it. */
static size_t divide(struct tiles_state *s, enum gr_conv_pass pass)
{
    const struct gr_tile_grid *grid = &s->grid;
    const int64_t tiles = s->images * grid->rows * grid->cols;
    if (pass == GR_CONV_WEIGHTS) {
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
    divide_tiles(s, tiles);
    s->filter = gr_conv_filters_position(grid);
    s->source = gr_conv_filters_spread(gr_tile_words(s->form, s->stride) * grid->in);
    s->result =
        gr_conv_filters_spread(s->stride * (grid->out < RESULTS ? grid->out : RESULTS) * LANES);
    return (size_t)((s->kept ? 0 : gr_conv_filters_count(grid)) +
                    s->positions * s->threads * (s->source + s->result)) *
           sizeof(float);
}

static bool plan(struct gr_planning *planning, enum gr_conv_pass pass, int64_t size, bool rounded,
                 struct gr_error *err)
{
    const struct gr_conv_attrs *a = planning->node->attrs;
    struct tiles_state *s = calloc(1, sizeof *s);
    if (!s)
        return gr_fail_memory(err, "a kernel");
    *s = (struct tiles_state){.grid = grid_of(planning, pass, size, rounded),
                              .form = !rounded                  ? GR_TILE_F32
                                      : pass == GR_CONV_WEIGHTS ? GR_TILE_PAIRS
                                                                : GR_TILE_BF16,
                              .images = gr_conv_sizes(planning->node).n,
                              .taps = a->kernel[0],
                              .positions = size * size,
                              .turned = pass == GR_CONV_DATA,
                              .relu = pass == GR_CONV_FORWARD && a->activation.function,
                              .kept = pass == GR_CONV_FORWARD && !planning->node->graph->training,
                              .threads = planning->backend->threads};
    const size_t bytes = divide(s, pass);
    if (!settle(planning, s, pass, err)) {
        free(s);
        return false;
    }
    snprintf(s->impl, sizeof s->impl, "avx512:winograd %lldx%lld%s", (long long)size,
             (long long)size, rounded ? " bf16" : "");
    *planning->kernel =
        (struct gr_kernel){.impl = s->impl,
                           .scratch_bytes = bytes,
                           .state = s,
                           .run = pass == GR_CONV_WEIGHTS ? weights_run : convolve_run,
                           .free_state = free};
    return true;
}

bool gr_conv_takes_tiles(const struct gr_planning *planning)
{
    const struct gr_conv_attrs *a = planning->node->attrs;
    const struct gr_conv_sizes s = gr_conv_sizes(planning->node);
    const bool relu = a->activation.algorithm == dnnl_eltwise_relu && a->activation.alpha == 0;
    return gr_conv_flips(planning) && s.kh == s.kw && (s.kh == 3 || s.kh == 5) &&
           s.c / s.g % LANES == 0 && s.o / s.g % LANES == 0 && (!a->activation.function || relu) &&
           gr_tiles_avx512_supported(gr_planning_dtype(planning) == GR_BF16) &&
           gr_onednn_has_isa(dnnl_cpu_isa_avx512_core);
}

bool gr_conv_takes_rounded_tiles(const struct gr_planning *planning)
{
    return gr_planning_dtype(planning) == GR_BF16 && gr_conv_takes_tiles(planning);
}

bool gr_conv_tiles_6_forward(struct gr_planning *planning, struct gr_error *err)
{
    return plan(planning, GR_CONV_FORWARD, 6, false, err);
}

bool gr_conv_tiles_6_data(struct gr_planning *planning, struct gr_error *err)
{
    return plan(planning, GR_CONV_DATA, 6, false, err);
}

bool gr_conv_tiles_6_weights(struct gr_planning *planning, struct gr_error *err)
{
    return plan(planning, GR_CONV_WEIGHTS, 6, false, err);
}

bool gr_conv_tiles_8_forward(struct gr_planning *planning, struct gr_error *err)
{
    return plan(planning, GR_CONV_FORWARD, 8, false, err);
}

bool gr_conv_tiles_8_data(struct gr_planning *planning, struct gr_error *err)
{
    return plan(planning, GR_CONV_DATA, 8, false, err);
}

bool gr_conv_tiles_8_weights(struct gr_planning *planning, struct gr_error *err)
{
    return plan(planning, GR_CONV_WEIGHTS, 8, false, err);
}

bool gr_conv_tiles_6_bf16_forward(struct gr_planning *planning, struct gr_error *err)
{
    return plan(planning, GR_CONV_FORWARD, 6, true, err);
}

bool gr_conv_tiles_6_bf16_data(struct gr_planning *planning, struct gr_error *err)
{
    return plan(planning, GR_CONV_DATA, 6, true, err);
}

bool gr_conv_tiles_6_bf16_weights(struct gr_planning *planning, struct gr_error *err)
{
    return plan(planning, GR_CONV_WEIGHTS, 6, true, err);
}
