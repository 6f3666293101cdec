/*
 * The update of a fully connected weight by few images: the gradient of an element is a sum of so
 * many products, made while the weight's part of it is updated, instead of by a product of matrices
 * that writes it and reads it again. What is left is to read and write weight and velocity once.
 *
 * The weight lies plain, or in the blocks [in, out] that oneDNN likes.
 */
#include <stdlib.h>

#include "bf16.h"
#include "linear.h"
#include "sgd.h"
#include "vector_clones.h"

/* Above so many images the products cost more than the memory; of a block's rows and lanes. */
enum { MOST_IMAGES = 4, LONGEST = 64 };

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

/* Of a cache line; the compiler splits them where the processor's are smaller. */
enum { LANES = 16 };
typedef float floats __attribute__((vector_size(4 * LANES)));

/* g [rows, lanes] = the sum over n of single [n, rows] times run [n, lanes], lanes of LANES */
GR_VECTOR_CLONES
static void sum_products(float *g, int64_t rows, int64_t lanes, int64_t n, const float *single,
                         const float *run)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t l = 0; l < lanes; l += LANES) {
            floats sum = {0}, x;
            for (int64_t k = 0; k < n; k++) {
                memcpy(&x, run + k * lanes + l, sizeof x);
                sum += single[k * rows + r] * x;
            }
            memcpy(g + r * lanes + l, &sum, sizeof sum);
        }
}

/* Of the block of the weight, src [N, C] and dy [N, O] padded. */
static void make_block(const struct outer *s, const float *src, const float *dy, int64_t block,
                       float *g)
{
    float single[MOST_IMAGES * LONGEST], run[MOST_IMAGES * LONGEST];
    const int64_t in = block / s->in_stride % (s->padded_c / s->rows) * s->rows;
    const int64_t out = block / s->out_stride % (s->padded_o / s->lanes) * s->lanes;
    for (int64_t k = 0; k < s->n; k++) { /* side by side: rows of src and dy fall into one set */
        memcpy(single + k * s->rows, src + k * s->padded_c + in, (size_t)s->rows * sizeof *src);
        memcpy(run + k * s->lanes, dy + k * s->padded_o + out, (size_t)s->lanes * sizeof *dy);
    }
    sum_products(g, s->rows, s->lanes, s->n, single, run);
}

/* Of `count` floats of a plain weight from the first on. */
GR_VECTOR_CLONES
static void make_plain(const struct outer *s, const float *src, const float *dy, int64_t first,
                       int64_t count, float *restrict g)
{
    for (int64_t done = 0, length; done < count; done += length) {
        const int64_t o = (first + done) / s->c, c = (first + done) % s->c;
        length = count - done < s->c - c ? count - done : s->c - c;
        for (int64_t k = 0; k < s->n; k++) {
            const float x = dy[k * s->o + o], *run = src + k * s->c + c;
#pragma omp simd
            for (int64_t i = 0; i < length; i++)
                g[done + i] = (k ? g[done + i] : 0) + x * run[i];
        }
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
    const int64_t chunk = s->lanes ? s->rows * s->lanes : GR_SGD_CHUNK;
#pragma omp parallel for schedule(static)
    for (int64_t at = 0; at < s->count; at += chunk) {
        float g[GR_SGD_CHUNK];
        struct gr_sgd_step part = step;
        part.w = (float *)buffers->src[0] + at;
        part.v = s->dy > 1 ? (float *)buffers->src[1] + at : NULL;
        part.g = g;
        part.first = at;
        part.count = s->count - at < chunk ? s->count - at : chunk;
        if (s->lanes)
            make_block(s, src, dy, at / chunk, g);
        else
            make_plain(s, src, dy, at, part.count, g);
        gr_sgd_apply_part(&part);
    }
    if (node->n_outputs)
        sum_bias(s, dy, buffers->dst[0]);
    return true;
}

/* ---- planning ---------------------------------------------------------------------------- */

/* Does the weight lie plain or in blocks [in, out]? */
static bool find_blocks(struct outer *s, gr_md weight)
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
    return s->rows <= LONGEST && s->lanes <= LONGEST && s->lanes % LANES == 0;
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
    const bool known = ok && find_blocks(s, gr_desc_get(&desc));
    gr_desc_release(&desc);
    ok = ok && (!known || (plan_reading(planning, s, weight, err) &&
                           gr_sgd_plan_copies(planning, &s->copies, err)));
    if (!ok || !known) {
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
