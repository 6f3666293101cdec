/*
 * See batch_norm_loops.h.
 */
#include "batch_norm_loops.h"

#include <math.h>
#include <omp.h>

#include "vector_clones.h"

/*
 * Positions of a piece at most; elements from which a piece's pivot is taken; bytes of a thread's
 * part of the blocks that go through all passes together.
 */
enum { PERIOD = GR_NORM_PERIOD, PIECE = 1024, PREFIX = 128, CACHE = 384 << 10 };

struct gr_norm_form gr_norm_form_of(const struct gr_shape *shape, int64_t lanes)
{
    struct gr_norm_form form = {.N = shape->dim[0], .C = shape->dim[1], .HW = 1, .lanes = lanes};
    for (int i = 2; i < shape->rank; i++)
        form.HW *= shape->dim[i];
    form.blocks = (form.C + lanes - 1) / lanes;
    const int64_t most = PIECE * PERIOD / lanes;
    form.images = most > form.HW ? most / form.HW : 1;
    form.parts = (form.HW + most - 1) / most;
    form.pieces = (form.N + form.images - 1) / form.images * form.parts;
    return form;
}

/* [blocks, 2, pieces, lanes] */
int64_t gr_norm_scratch(const struct gr_norm_form *form)
{
    return form->blocks * 2 * form->pieces * form->lanes;
}

static float *partial(const struct gr_norm_form *form, float *scratch, int64_t block, int which)
{
    return scratch + (block * 2 + which) * form->pieces * form->lanes;
}

/* ---- dividing the work ------------------------------------------------------------------- */

/* A thread's share of some blocks: pieces, counted over blocks and images. */
struct share {
    int64_t first, last;
};

/* How many blocks go through all passes together. */
static int64_t together(const struct gr_norm_form *form, int64_t element_bytes)
{
    const int64_t bytes = form->N * form->HW * form->lanes * element_bytes;
    const int64_t blocks = CACHE * (int64_t)omp_get_num_threads() / (bytes ? bytes : 1);
    return blocks > 1 ? blocks : 1;
}

static struct share share_of(const struct gr_norm_form *form, int64_t block, int64_t blocks)
{
    const int64_t each = form->pieces, threads = omp_get_num_threads();
    const int64_t left = form->blocks - block, count = (left < blocks ? left : blocks) * each;
    const int64_t t = omp_get_thread_num();
    return (struct share){block * each + count * t / threads,
                          block * each + count * (t + 1) / threads};
}

struct piece {
    int64_t block, number; /* number: among those of the block */
    int64_t at, count;     /* the first element in memory; how many of each image */
    int64_t images, size;  /* images, and positions in all of them */
};

/* Piece i of all. */
static struct piece piece_of(const struct gr_norm_form *form, int64_t i)
{
    const int64_t block = i / form->pieces, number = i % form->pieces;
    const int64_t n = number / form->parts * form->images, part = number % form->parts;
    const int64_t start = form->HW * part / form->parts;
    const int64_t end = form->HW * (part + 1) / form->parts, left = form->N - n;
    const int64_t images = left < form->images ? left : form->images;
    return (struct piece){.block = block,
                          .number = number,
                          .at = ((n * form->blocks + block) * form->HW + start) * form->lanes,
                          .count = (end - start) * form->lanes,
                          .images = images,
                          .size = images * (end - start)};
}

/* The part of a tensor that belongs to image k of the piece. */
static struct gr_norm_tensor tensor_at(const struct gr_norm_form *form, struct gr_norm_tensor t,
                                       const struct piece *p, int64_t k)
{
    return gr_norm_from(t, p->at + k * form->blocks * form->HW * form->lanes);
}

/* ---- sums -------------------------------------------------------------------------------- */

/* The sixteen floats' sum for each lane. */
static void fold(int64_t lanes, const float *of, double *to)
{
    for (int64_t l = 0; l < lanes; l++) {
        to[l] = 0;
        for (int64_t j = l; j < PERIOD; j += lanes)
            to[l] += (double)of[j];
    }
}

/*
 * The mean of each lane of a piece and the sum of squared deviations from it, in one pass: the
 * deviations that are summed up are from the mean of the first elements, lest a large mean spoil
 * them.
 */
static void piece_moments(const struct gr_norm_form *form, const struct gr_norm_kernel *kernel,
                          struct gr_norm_tensor x, const struct piece *p, float *mean, float *m2)
{
    const int64_t lanes = form->lanes, prefix = p->count < PREFIX ? p->count : PREFIX;
    float pivot[PERIOD] = {0}, sum[PERIOD] = {0}, square[PERIOD] = {0};
    double s[PERIOD], q[PERIOD];
    kernel->moments(pivot, tensor_at(form, x, p, 0), prefix, sum, square);
    fold(lanes, sum, s);
    for (int64_t j = 0; j < PERIOD; j++) {
        pivot[j] = (float)(s[j % lanes] * (double)lanes / (double)prefix);
        sum[j] = square[j] = 0;
    }
    for (int64_t k = 0; k < p->images; k++)
        kernel->moments(pivot, tensor_at(form, x, p, k), p->count, sum, square);
    fold(lanes, sum, s);
    fold(lanes, square, q);
    for (int64_t l = 0; l < lanes; l++) {
        const double average = s[l] / (double)p->size;
        mean[l] = (float)((double)pivot[l] + average);
        m2[l] = (float)fmax(q[l] - s[l] * average, 0);
    }
}

/*
 * The moments of a block from those of its pieces: M2 = Σ M2_p + size_p · (mean_p - mean)². The
 * number of lanes is known where this is inlined.
 */
static inline void join(const struct gr_norm_form *form, const float *means, const float *squares,
                        int64_t lanes, double *mean, double *variance)
{
    const double count = (double)form->N * (double)form->HW;
    for (int64_t l = 0; l < lanes; l++)
        mean[l] = variance[l] = 0;
    for (int64_t i = 0; i < form->pieces; i++) {
        const double size = (double)piece_of(form, i).size;
        for (int64_t l = 0; l < lanes; l++)
            mean[l] += size * (double)means[i * lanes + l];
    }
    for (int64_t l = 0; l < lanes; l++)
        mean[l] /= count;
    for (int64_t i = 0; i < form->pieces; i++) {
        const double size = (double)piece_of(form, i).size;
        for (int64_t l = 0; l < lanes; l++) {
            const double d = (double)means[i * lanes + l] - mean[l];
            variance[l] += (double)squares[i * lanes + l] + size * d * d;
        }
    }
    for (int64_t l = 0; l < lanes; l++)
        variance[l] /= count;
}

GR_VECTOR_CLONES static void block_moments(const struct gr_norm_form *form, float *scratch,
                                           int64_t block, double *mean, double *variance)
{
    const float *means = partial(form, scratch, block, 0);
    const float *squares = partial(form, scratch, block, 1);
    if (form->lanes == 16)
        join(form, means, squares, 16, mean, variance);
    else if (form->lanes == 8)
        join(form, means, squares, 8, mean, variance);
    else
        join(form, means, squares, 1, mean, variance);
}

static inline void total(const float *of, int64_t count, int64_t lanes, double *sum)
{
    for (int64_t l = 0; l < lanes; l++)
        sum[l] = 0;
    for (int64_t i = 0; i < count; i++)
        for (int64_t l = 0; l < lanes; l++)
            sum[l] += (double)of[i * lanes + l];
}

/* The sum over the pieces of a block. */
GR_VECTOR_CLONES static void block_sum(const struct gr_norm_form *form, const float *of,
                                       double *sum)
{
    const int64_t count = form->pieces;
    if (form->lanes == 16)
        total(of, count, 16, sum);
    else if (form->lanes == 8)
        total(of, count, 8, sum);
    else
        total(of, count, 1, sum);
}

/* ---- forward ----------------------------------------------------------------------------- */

/* The scale and so on of a channel; of a lane past the last one zero. */
static void set_channel(struct gr_norm_channels *c, int64_t j, double mean, double variance,
                        double eps, const float *weight, const float *bias)
{
    c->mean[j] = (float)mean;
    c->scale[j] = (float)(1 / sqrt(variance + eps)) * (weight ? *weight : 1);
    c->bias[j] = bias ? *bias : 0;
}

/* From the block's lanes to sixteen floats. */
static void repeat(const struct gr_norm_form *form, struct gr_norm_channels *c)
{
    for (int64_t j = form->lanes; j < PERIOD; j++) {
        c->mean[j] = c->mean[j - form->lanes];
        c->scale[j] = c->scale[j - form->lanes];
        c->bias[j] = c->bias[j - form->lanes];
        c->shift[j] = c->shift[j - form->lanes];
        c->slope[j] = c->slope[j - form->lanes];
    }
}

/* The numbers of a block's channels, the batch's once more by each thread that needs them. */
static void forward_channels(const struct gr_norm_form *form, const struct gr_norm_forward *f,
                             float *scratch, int64_t block, bool put, struct gr_norm_channels *to)
{
    double mean[PERIOD], variance[PERIOD];
    *to = (struct gr_norm_channels){0};
    if (f->batch)
        block_moments(form, scratch, block, mean, variance);
    for (int64_t l = 0; l < form->lanes && block * form->lanes + l < form->C; l++) {
        const int64_t c = block * form->lanes + l;
        if (put && f->batch && f->mean)
            f->mean[c] = (float)mean[l];
        if (put && f->batch && f->variance)
            f->variance[c] = (float)variance[l];
        set_channel(to, l, f->batch ? mean[l] : (double)f->mean[c],
                    f->batch ? (double)(float)variance[l] : (double)f->variance[c], f->eps,
                    f->weight ? f->weight + c : NULL, f->bias ? f->bias + c : NULL);
    }
    repeat(form, to);
}

static void forward_thread(const struct gr_norm_form *form, const struct gr_norm_work *work,
                           const struct gr_norm_forward *f)
{
    const int64_t blocks = together(form, (int64_t)gr_element_size(f->x.bf16));
    struct gr_norm_channels channels;
    for (int64_t block = 0; block < form->blocks; block += blocks) {
        const struct share share = share_of(form, block, blocks);
        for (int64_t i = share.first; f->batch && i < share.last; i++) {
            const struct piece p = piece_of(form, i);
            piece_moments(form, work->kernel, f->x, &p,
                          partial(form, work->scratch, p.block, 0) + p.number * form->lanes,
                          partial(form, work->scratch, p.block, 1) + p.number * form->lanes);
        }
        if (f->batch) {
#pragma omp barrier
        }
        for (int64_t i = share.first; i < share.last; i++) {
            const struct piece p = piece_of(form, i);
            if (i == share.first || p.number == 0)
                forward_channels(form, f, work->scratch, p.block, p.number == 0, &channels);
            for (int64_t k = 0; k < p.images; k++)
                work->kernel->apply(&channels, tensor_at(form, f->x, &p, k),
                                    tensor_at(form, f->addend, &p, k), tensor_at(form, f->y, &p, k),
                                    p.count, f->relu);
        }
    }
}

void gr_norm_forward(const struct gr_norm_form *form, const struct gr_norm_work *work,
                     const struct gr_norm_forward *f)
{
#pragma omp parallel num_threads(work->threads)
    forward_thread(form, work, f);
}

/* ---- backward ---------------------------------------------------------------------------- */

static void piece_sums(const struct gr_norm_form *form, const struct gr_norm_work *work,
                       const struct gr_norm_backward *b, const struct gr_norm_channels *channels,
                       const struct piece *p)
{
    float sum[PERIOD] = {0}, product[PERIOD] = {0};
    float *to_sum = partial(form, work->scratch, p->block, 0) + p->number * form->lanes;
    float *to_product = partial(form, work->scratch, p->block, 1) + p->number * form->lanes;
    double s[PERIOD], q[PERIOD];
    for (int64_t k = 0; k < p->images; k++)
        work->kernel->sums(channels, tensor_at(form, b->dy, p, k), tensor_at(form, b->x, p, k),
                           p->count, b->relu, sum, product);
    fold(form->lanes, sum, s);
    fold(form->lanes, product, q);
    for (int64_t l = 0; l < form->lanes; l++) {
        to_sum[l] = (float)s[l];
        to_product[l] = (float)q[l];
    }
}

/* What the first pass needs of a block's channels. */
static void backward_channels(const struct gr_norm_form *form, const struct gr_norm_backward *b,
                              int64_t block, struct gr_norm_channels *to)
{
    *to = (struct gr_norm_channels){0};
    for (int64_t l = 0; l < form->lanes && block * form->lanes + l < form->C; l++) {
        const int64_t c = block * form->lanes + l;
        set_channel(to, l, (double)b->mean[c], (double)b->variance[c], b->eps,
                    b->weight ? b->weight + c : NULL, b->bias ? b->bias + c : NULL);
    }
    repeat(form, to);
}

/* What the second one needs besides; and the gradients of weight and bias. */
static void backward_slopes(const struct gr_norm_form *form, const struct gr_norm_backward *b,
                            float *scratch, int64_t block, bool put, struct gr_norm_channels *to)
{
    const double count = b->batch ? (double)form->N * (double)form->HW : INFINITY;
    double sum[PERIOD], product[PERIOD];
    block_sum(form, partial(form, scratch, block, 0), sum);
    block_sum(form, partial(form, scratch, block, 1), product);
    for (int64_t l = 0; l < form->lanes && block * form->lanes + l < form->C; l++) {
        const int64_t c = block * form->lanes + l;
        const double inverse = 1 / sqrt((double)b->variance[c] + b->eps);
        to->shift[l] = (float)(-sum[l] / count) * to->scale[l];
        to->slope[l] = (float)(-product[l] * inverse * inverse / count) * to->scale[l];
        if (put && b->dweight)
            b->dweight[c] = (float)(product[l] * inverse);
        if (put && b->dbias)
            b->dbias[c] = (float)sum[l];
    }
    repeat(form, to);
}

static void backward_thread(const struct gr_norm_form *form, const struct gr_norm_work *work,
                            const struct gr_norm_backward *b)
{
    const int64_t blocks =
        together(form, (int64_t)(gr_element_size(b->x.bf16) + gr_element_size(b->dy.bf16)));
    struct gr_norm_channels channels;
    for (int64_t block = 0; block < form->blocks; block += blocks) {
        const struct share share = share_of(form, block, blocks);
        for (int64_t i = share.first; i < share.last; i++) {
            const struct piece p = piece_of(form, i);
            if (i == share.first || p.number == 0)
                backward_channels(form, b, p.block, &channels);
            piece_sums(form, work, b, &channels, &p);
        }
#pragma omp barrier
        for (int64_t i = share.first; i < share.last; i++) {
            const struct piece p = piece_of(form, i);
            if (i == share.first || p.number == 0) {
                backward_channels(form, b, p.block, &channels);
                backward_slopes(form, b, work->scratch, p.block, p.number == 0, &channels);
            }
            for (int64_t k = 0; b->dx.data && k < p.images; k++)
                work->kernel->gradient(&channels, tensor_at(form, b->dy, &p, k),
                                       tensor_at(form, b->x, &p, k), tensor_at(form, b->dx, &p, k),
                                       p.count, b->relu);
        }
    }
}

void gr_norm_backward(const struct gr_norm_form *form, const struct gr_norm_work *work,
                      const struct gr_norm_backward *b)
{
#pragma omp parallel num_threads(work->threads)
    backward_thread(form, work, b);
}
