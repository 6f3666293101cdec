/*
 * The update of a fully connected weight by few images: the gradient of an element is a sum of so
 * many products, made while the weight's part of it is updated, instead of by a product of matrices
 * that writes it and reads it again. What is left is to read and write weight and velocity once.
 *
 * The weight is a sequence of runs, each with one index along one dimension and neighbours along
 * the other: rows of plain memory, or rows of the blocks [in, out] that oneDNN likes.
 */
#include <stdlib.h>

#include "bf16.h"
#include "linear.h"
#include "sgd.h"
#include "vector_clones.h"

/* Above so many images the products cost more than the memory. */
enum { MOST_IMAGES = 16 };

struct outer {
    const struct gr_node *update; /* sgd's */
    struct gr_sgd_copies copies;
    int64_t n, c, o, count;        /* images, inputs, outputs; floats of the weight */
    int64_t padded_c, padded_o;    /* rounded up to whole blocks */
    int64_t rows, lanes;           /* of a block [in, out]; 0, 0: plain */
    int64_t in_stride, out_stride; /* of the blocks, in blocks */
    int dy;                        /* the input that is dy; src and the rate follow */
    enum gr_dtype type;            /* of dy and src */
};

/* ---- a part of the gradient -------------------------------------------------------------- */

/* g[i] = the sum over n of single[n * single_stride] * run[n * run_stride + i] */
GR_VECTOR_CLONES
static void sum_products(float *restrict g, int64_t count, int64_t n, const float *single,
                         int64_t single_stride, const float *run, int64_t run_stride)
{
    const float first = single[0];
#pragma omp simd
    for (int64_t i = 0; i < count; i++)
        g[i] = first * run[i];
    for (int64_t k = 1; k < n; k++) {
        const float x = single[k * single_stride];
        const float *at = run + k * run_stride;
#pragma omp simd
        for (int64_t i = 0; i < count; i++)
            g[i] += x * at[i];
    }
}

/* The gradient of `count` floats of the weight from the first on; src [N, C], dy [N, O] padded. */
static void make_gradient(const struct outer *s, const float *src, const float *dy, int64_t first,
                          int64_t count, float *g)
{
    const int64_t longest = s->lanes ? s->lanes : s->c;
    for (int64_t done = 0, length; done < count; done += length) {
        const int64_t at = first + done, run = at / longest, lane = at % longest;
        length = count - done < longest - lane ? count - done : longest - lane;
        if (!s->lanes) {
            sum_products(g + done, length, s->n, dy + run, s->padded_o, src + lane, s->padded_c);
            continue;
        }
        const int64_t block = run / s->rows, row = run % s->rows;
        const int64_t in_blocks = s->padded_c / s->rows, out_blocks = s->padded_o / s->lanes;
        const int64_t in = block / s->in_stride % in_blocks;
        const int64_t out = block / s->out_stride % out_blocks;
        sum_products(g + done, length, s->n, src + in * s->rows + row, s->padded_c,
                     dy + out * s->lanes + lane, s->padded_o);
    }
}

/* [n, width] to f32 in rows of `padded`, zeros behind. */
static void widen_rows(const struct outer *s, const void *src, int64_t width, int64_t padded,
                       float *dst)
{
    for (int64_t k = 0; k < s->n; k++) {
        float *row = dst + k * padded;
        if (s->type == GR_BF16)
            gr_bf16_widen((const uint16_t *)src + k * width, row, width);
        else
            memcpy(row, (const float *)src + k * width, (size_t)width * sizeof *row);
        memset(row + width, 0, (size_t)(padded - width) * sizeof *row);
    }
}

/* ---- the kernel -------------------------------------------------------------------------- */

static void sum_bias(const struct outer *s, const float *dy, float *db)
{
    memcpy(db, dy, (size_t)s->o * sizeof *db);
    for (int64_t k = 1; k < s->n; k++)
        for (int64_t o = 0; o < s->o; o++)
            db[o] += dy[k * s->padded_o + o];
}

static bool outer_run(const struct gr_kernel *kernel, const struct gr_node *node,
                      const struct gr_buffers *buffers, const struct gr_run *run,
                      struct gr_error *err)
{
    (void)run, (void)err;
    const struct outer *s = kernel->state;
    float *src = buffers->scratch, *dy = src + s->n * s->padded_c;
    struct gr_sgd_step step = gr_sgd_step(s->update, *(const float *)buffers->src[s->dy + 2]);
    step.copies = &s->copies;
    step.src = buffers->src;
    widen_rows(s, buffers->src[s->dy], s->o, s->padded_o, dy);
    widen_rows(s, buffers->src[s->dy + 1], s->c, s->padded_c, src);
#pragma omp parallel for schedule(static)
    for (int64_t at = 0; at < s->count; at += GR_SGD_CHUNK) {
        float g[GR_SGD_CHUNK];
        struct gr_sgd_step part = step;
        part.w = (float *)buffers->src[0] + at;
        part.v = s->dy > 1 ? (float *)buffers->src[1] + at : NULL;
        part.g = g;
        part.first = at;
        part.count = s->count - at < GR_SGD_CHUNK ? s->count - at : GR_SGD_CHUNK;
        make_gradient(s, src, dy, at, part.count, g);
        gr_sgd_apply_part(&part);
    }
    if (node->n_outputs)
        sum_bias(s, dy, buffers->dst[0]);
    return true;
}

/* ---- planning ---------------------------------------------------------------------------- */

/* Is the weight a sequence of runs, of which a chunk holds whole blocks? */
static bool find_runs(struct outer *s, gr_md weight)
{
    struct gr_onednn_facts f;
    gr_onednn_facts(weight, &f);
    if (!f.blocked || f.rank != 2)
        return false;
    s->padded_o = f.padded[0];
    s->padded_c = f.padded[1];
    s->count = s->padded_o * s->padded_c;
    if (f.n_blocks == 0)
        return f.strides[1] == 1 && f.strides[0] == s->c;
    if (f.n_blocks != 2 || f.indices[0] != 1 || f.indices[1] != 0)
        return false;
    s->rows = f.blocks[0];
    s->lanes = f.blocks[1];
    const int64_t unit = s->rows * s->lanes;
    s->out_stride = f.strides[0] / unit;
    s->in_stride = f.strides[1] / unit;
    return GR_SGD_CHUNK % unit == 0;
}

static bool plan_reading(struct gr_planning *planning, const struct outer *s,
                         const struct gr_layout *weight, struct gr_error *err)
{
    const struct gr_node *node = planning->node;
    for (int i = 0; i < s->dy; i++)
        planning->src[i] = weight;
    for (int i = s->dy; i < s->dy + 2; i++)
        planning->src[i] = gr_onednn_plain(planning->backend, node->inputs[i], s->type, err);
    planning->src[s->dy + 2] = &gr_layout_plain; /* the rate */
    return planning->src[s->dy] && planning->src[s->dy + 1];
}

bool gr_linear_outer(struct gr_planning *planning, const struct gr_node *update,
                     struct gr_error *err)
{
    const struct gr_node *node = planning->node;
    const struct gr_linear_sizes sizes = gr_linear_sizes(node);
    const struct gr_layout *weight = planning->src[0] ? planning->src[0] : &gr_layout_plain;
    struct gr_desc desc = {0};
    if (sizes.n > MOST_IMAGES || planning->backend->kernels == GR_KERNELS_OPENBLAS)
        return true;
    struct outer *s = calloc(1, sizeof *s);
    if (!s)
        return gr_fail_memory(err, "an update kernel");
    *s = (struct outer){.update = update, .n = sizes.n, .c = sizes.c, .o = sizes.o};
    s->dy = 1 + update->op->n_states(update->attrs);
    s->type = gr_planning_dtype(planning);
    bool ok = gr_desc_in(&desc, node->inputs[0], weight, err);
    const bool runs = ok && find_runs(s, gr_desc_get(&desc));
    gr_desc_release(&desc);
    ok = ok && (!runs || (plan_reading(planning, s, weight, err) &&
                          gr_sgd_plan_copies(planning, &s->copies, err)));
    if (!ok || !runs) {
        free(s);
        return ok;
    }
    *planning->kernel = (struct gr_kernel){
        .impl = "outer product",
        .scratch_bytes = (size_t)(s->n * (s->padded_c + s->padded_o)) * sizeof(float),
        .state = s,
        .free_state = free,
        .run = outer_run};
    return true;
}
