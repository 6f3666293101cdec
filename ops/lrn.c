/*
 * lrn: local response normalisation across channels (Krizhevsky, Sutskever, Hinton 2012, 3.3),
 *
 *     dst = src · s^-beta,   s = k + alpha / size · Σ src²   over `size` adjacent channels,
 *
 * the window clipped at the first and last channel. An own kernel, since oneDNN's leaves a
 * workspace of twice the tensor: the backward recomputes s from src, which is cheaper than to read
 * it back.
 *
 * A position's channels are gathered into a row on the stack of the thread (they lie in blocks of
 * 16 or 8 in the blocked layouts, singly in the plain one), and all arithmetic is along the row.
 * AlexNet's own case has a faster kernel where the processor allows, lrn_avx512.c.
 */
#include <inttypes.h>
#include <math.h>
#include <omp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "loops.h"
#include "lrn_avx512.h"
#include "onednn.h"
#include "ops.h"
#include "vector_clones.h"

struct lrn_attrs {
    int64_t size;
    double alpha, beta, k;
};

static const struct gr_attr lrn_attrs[] = {
    {"size", GR_ATTR_INT, offsetof(struct lrn_attrs, size), .def = 5, .min = 1, .max = 255,
     .doc = "channels in the window; odd"},
    {"alpha", GR_ATTR_FLOAT, offsetof(struct lrn_attrs, alpha), .def = 1e-4, .min = 0, .max = 1e6,
     .doc = "scale of the sum of squares, divided by size"},
    {"beta", GR_ATTR_FLOAT, offsetof(struct lrn_attrs, beta), .def = 0.75, .min = 0, .max = 100,
     .doc = "exponent"},
    {"k", GR_ATTR_FLOAT, offsetof(struct lrn_attrs, k), .def = 1, .min = 1e-6, .max = 1e6,
     .doc = "constant added to the sum; 2 in the 2012 paper"},
    {0}};

static bool lrn_infer(struct gr_node *node, struct gr_error *err)
{
    const struct lrn_attrs *a = node->attrs;
    const struct gr_shape *shape = &node->inputs[0]->shape;
    if (!gr_loops_expect_f32(node, 0, err))
        return false;
    if (shape->rank < 2)
        return gr_node_fail(node, err, "input '%s' has no channels", node->inputs[0]->name);
    if (a->size % 2 == 0)
        return gr_node_fail(node, err, "size %" PRId64 " is not odd", a->size);
    return gr_node_output(node, NULL, GR_F32, shape, err) != NULL;
}

static const struct gr_op lrn_backward;

static bool lrn_grad(struct gr_node *node, struct gr_grad *grad, struct gr_error *err)
{
    struct gr_value *inputs[] = {gr_grad_output(grad, 0), node->inputs[0]};
    return gr_grad_emit(grad, &lrn_backward, inputs, 2, (const int[]){0}, 1, err) != NULL;
}

/* ---- kernels ----------------------------------------------------------------------------- */

struct lrn_state {
    int64_t n, c, area;   /* area: positions an image; c: padded to a multiple of block */
    int64_t block;        /* channels that lie together */
    int64_t radius, row;  /* row: floats of a row with its margins */
    float scale, beta, k; /* scale: alpha / size */
};

/* Where the first channel of position p lies. */
static inline int64_t position_offset(const struct lrn_state *s, int64_t p)
{
    return p / s->area * s->c * s->area + p % s->area * s->block;
}

/* Rows of a thread: with `radius` zeros before and after the channels. */
enum { ROW_SRC, ROW_SQUARE, ROW_SUM, ROW_OTHER, ROWS };

/* power[i] = s[i]^-beta, with the paper's 0.75 as two square roots. */
static inline void negative_power(const float *s, float *power, int64_t count, float beta)
{
    if (beta == 0.75f) {
#pragma omp simd
        for (int64_t i = 0; i < count; i++) {
            const float root = sqrtf(s[i]);
            power[i] = 1 / (root * sqrtf(root));
        }
        return;
    }
    for (int64_t i = 0; i < count; i++)
        power[i] = powf(s[i], -beta);
}

/* sum[i] = sum of in[i - radius .. i + radius]; in has zeros in its margins. */
static inline void window_sum(const float *in, float *sum, int64_t count, int64_t radius)
{
    if (radius == 2) {
#pragma omp simd
        for (int64_t i = 0; i < count; i++)
            sum[i] = in[i - 2] + in[i - 1] + in[i] + in[i + 1] + in[i + 2];
        return;
    }
    for (int64_t i = 0; i < count; i++)
        sum[i] = 0;
    for (int64_t j = -radius; j <= radius; j++) {
#pragma omp simd
        for (int64_t i = 0; i < count; i++)
            sum[i] += in[i + j];
    }
}

/* The blocks of a position; a size known to the compiler makes each copy one or two moves. */
static inline void gather(const struct lrn_state *s, const float *from, float *row)
{
    if (s->block == 16)
        for (int64_t b = 0; b < s->c; b += 16)
            memcpy(row + b, from + b * s->area, 16 * sizeof *row);
    else
        for (int64_t b = 0; b < s->c; b += s->block)
            memcpy(row + b, from + b * s->area, (size_t)s->block * sizeof *row);
}

static inline void scatter(const struct lrn_state *s, const float *row, float *to)
{
    if (s->block == 16)
        for (int64_t b = 0; b < s->c; b += 16)
            memcpy(to + b * s->area, row + b, 16 * sizeof *row);
    else
        for (int64_t b = 0; b < s->c; b += s->block)
            memcpy(to + b * s->area, row + b, (size_t)s->block * sizeof *row);
}

/* src's row and squares, and s in the row `sum`. */
static inline void normaliser(const struct lrn_state *s, const float *at, float *src, float *square,
                              float *sum)
{
    gather(s, at, src);
#pragma omp simd
    for (int64_t i = 0; i < s->c; i++)
        square[i] = src[i] * src[i];
    window_sum(square, sum, s->c, s->radius);
#pragma omp simd
    for (int64_t i = 0; i < s->c; i++)
        sum[i] = s->k + s->scale * sum[i];
}

GR_VECTOR_CLONES
static void forward_rows(const struct lrn_state *s, const float *src, float *dst, float *rows,
                         int64_t first, int64_t last)
{
    float *x = rows + ROW_SRC * s->row, *square = rows + ROW_SQUARE * s->row + s->radius;
    float *sum = rows + ROW_SUM * s->row;
    for (int64_t p = first; p < last; p++) {
        const int64_t at = position_offset(s, p);
        normaliser(s, src + at, x, square, sum);
        negative_power(sum, sum, s->c, s->beta);
#pragma omp simd
        for (int64_t i = 0; i < s->c; i++)
            x[i] *= sum[i];
        scatter(s, x, dst + at);
    }
}

/*
 * dx_i = dy_i s_i^-beta - 2 alpha beta / size · x_i · Σ_j dy_j x_j s_j^(-beta - 1), j in i's
 * window.
 */
GR_VECTOR_CLONES
static void backward_rows(const struct lrn_state *s, const float *dy, const float *src, float *dx,
                          float *rows, int64_t first, int64_t last)
{
    float *x = rows + ROW_SRC * s->row, *ratio = rows + ROW_SQUARE * s->row + s->radius;
    float *sum = rows + ROW_SUM * s->row, *grad = rows + ROW_OTHER * s->row;
    const float factor = 2 * s->scale * s->beta;
    for (int64_t p = first; p < last; p++) {
        const int64_t at = position_offset(s, p);
        normaliser(s, src + at, x, ratio, sum);
        gather(s, dy + at, grad);
#pragma omp simd
        for (int64_t i = 0; i < s->c; i++)
            ratio[i] = grad[i] * x[i] / sum[i];
        negative_power(sum, sum, s->c, s->beta);
#pragma omp simd
        for (int64_t i = 0; i < s->c; i++) {
            ratio[i] *= sum[i];
            grad[i] *= sum[i];
        }
        window_sum(ratio, sum, s->c, s->radius);
#pragma omp simd
        for (int64_t i = 0; i < s->c; i++)
            grad[i] -= factor * x[i] * sum[i];
        scatter(s, grad, dx + at);
    }
}

/* Each thread takes a range of positions and its own rows of the scratch. */
static bool lrn_run(const struct gr_kernel *kernel, const struct gr_node *node,
                    const struct gr_buffers *buffers, const struct gr_run *run,
                    struct gr_error *err)
{
    (void)run, (void)err;
    const struct lrn_state *s = kernel->state;
    const int64_t positions = s->n * s->area;
    const int most = (int)(kernel->scratch_bytes / sizeof(float) / (size_t)(ROWS * s->row));
#pragma omp parallel num_threads(most)
    {
        const int64_t t = omp_get_thread_num(), threads = omp_get_num_threads();
        float *rows = (float *)buffers->scratch + t * ROWS * s->row;
        const int64_t first = positions * t / threads, last = positions * (t + 1) / threads;
        memset(rows, 0, (size_t)(ROWS * s->row) * sizeof *rows); /* the margins stay zero */
        if (node->forward)
            backward_rows(s, buffers->src[0], buffers->src[1], buffers->dst[0], rows, first, last);
        else
            forward_rows(s, buffers->src[0], buffers->dst[0], rows, first, last);
    }
    return true;
}

/* The same for what lrn_avx512.h knows: no rows, a position at a time in registers. */
static bool lrn_run_avx512(const struct gr_kernel *kernel, const struct gr_node *node,
                           const struct gr_buffers *buffers, const struct gr_run *run,
                           struct gr_error *err)
{
    (void)run, (void)err;
    const struct lrn_state *s = kernel->state;
    const struct gr_lrn_column column = {s->c / s->block, s->area * s->block, s->scale, s->k};
    const float *src = buffers->src[0];
    float *dst = buffers->dst[0];
#pragma omp parallel for schedule(static)
    for (int64_t p = 0; p < s->n * s->area; p++) {
        const int64_t at = position_offset(s, p);
        if (node->forward)
            gr_lrn_avx512_backward(&column, src + at, (const float *)buffers->src[1] + at,
                                   dst + at);
        else
            gr_lrn_avx512_forward(&column, src + at, dst + at);
    }
    return true;
}

/* Channels that lie together in a layout this kernel reads; 0: another layout. */
static int64_t block_of(const struct gr_layout *layout)
{
    static const struct {
        const char *name;
        int64_t block;
    } known[] = {{"plain", 1}, {"nChw16c", 16}, {"nChw8c", 8}};
    for (size_t i = 0; layout && i < sizeof known / sizeof *known; i++)
        if (strcmp(layout->name, known[i].name) == 0)
            return known[i].block;
    return 0;
}

/* src is read, and all else laid, in the layout that src has, if the kernel knows it. */
static bool plan(struct gr_planning *planning, int data_input, struct gr_error *err)
{
    const struct gr_node *node = planning->node;
    const struct lrn_attrs *a = node->attrs;
    const struct gr_shape *shape = &node->outputs[0]->shape;
    const struct gr_layout *layout = planning->src[data_input];
    if (gr_layout_dtype(layout, node->inputs[data_input]) != GR_F32)
        layout = gr_onednn_blocked(planning->backend, node->inputs[data_input], GR_F32, err);
    if (!layout && planning->src[data_input])
        return false;
    if (!block_of(layout))
        layout = &gr_layout_plain;
    struct lrn_state *s = calloc(1, sizeof *s);
    if (!s)
        return gr_fail_memory(err, "a kernel");
    const int64_t block = block_of(layout);
    *s = (struct lrn_state){.n = shape->dim[0],
                            .c = (shape->dim[1] + block - 1) / block * block,
                            .area = gr_shape_count(shape) / shape->dim[0] / shape->dim[1],
                            .block = block,
                            .radius = a->size / 2,
                            .scale = (float)(a->alpha / (double)a->size),
                            .beta = (float)a->beta,
                            .k = (float)a->k};
    s->row = (s->c + 2 * s->radius + 15) / 16 * 16;
    for (int i = 0; i < node->n_inputs; i++)
        planning->src[i] = layout;
    planning->dst[0] = layout;
    *planning->kernel = (struct gr_kernel){
        .impl = block > 1 ? "rows:blocked" : "rows:plain",
        .scratch_bytes = (size_t)(planning->backend->threads * ROWS * s->row) * sizeof(float),
        .in_place = 1,
        .state = s,
        .run = lrn_run,
        .free_state = free};
    if (block == 16 && a->size == 5 && a->beta == 0.75 && gr_lrn_avx512_supported()) {
        planning->kernel->impl = "avx512:blocked";
        planning->kernel->scratch_bytes = 0;
        planning->kernel->run = lrn_run_avx512;
    }
    return true;
}

static bool lrn_plan(struct gr_planning *planning, struct gr_error *err)
{
    return plan(planning, 0, err);
}

static bool backward_plan(struct gr_planning *planning, struct gr_error *err)
{
    return plan(planning, 1, err);
}

const struct gr_op gr_op_lrn = {
    .kind = {"lrn", "local response normalisation across channels", lrn_attrs,
             sizeof(struct lrn_attrs)},
    .category = "normalisation",
    .min_inputs = 1,
    .max_inputs = 1,
    .input_doc = "src [N, C, ...]",
    .infer = lrn_infer,
    .grad = lrn_grad,
    .plan = lrn_plan,
};

static const struct gr_op lrn_backward = {
    .kind = {.name = "lrn_backward", .doc = "the gradient of lrn's input"},
    .flags = GR_OP_INTERNAL,
    .plan = backward_plan,
};
