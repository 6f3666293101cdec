/*
 * Nearest images by their features, which are read block by block. A product of matrices finds
 * candidates; their distances are then computed one by one in double precision, since in a
 * difference of large products the small distances, those that matter, would drown. Where the
 * rounding of the product may have kept a nearer image out, all are gone through one by one.
 */
#include "train/nearest.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "train/features.h"

enum { BLOCK = 1024, BLOCK_BYTES = 1 << 24, SPARE = 16 };

struct search {
    const struct gr_features *features;
    const struct gr_nearest_options *options;
    struct gr_query *queries;  /* [n_queries] */
    float *rows;               /* [n_queries, length] */
    float *block;              /* [block_rows, length]: of the features */
    size_t block_rows;         /* at most BLOCK */
    float *products;           /* [n_queries, BLOCK] */
    size_t kept;               /* candidates of a query */
    struct gr_neighbour *near; /* [n_queries, kept], here with closeness: the best first */
    size_t *count;             /* [n_queries] of them */
    bool *unsure;              /* [n_queries]: there may be nearer ones than the candidates */
    double longest;            /* of the rows */
};

static double dot(const float *a, const float *b, size_t length)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < length; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

/* ---- the queries' rows ------------------------------------------------------------------- */

struct taking {
    struct search *search;
    size_t next; /* query whose row comes next */
};

static size_t length_of(const struct search *s)
{
    return gr_features_length(s->features);
}

static bool take(void *user, int64_t index, int32_t label, const float *row, struct gr_error *err)
{
    struct taking *taking = user;
    struct search *s = taking->search;
    (void)index, (void)label, (void)err;
    while (s->queries[taking->next].index >= 0)
        taking->next++;
    memcpy(s->rows + taking->next++ * length_of(s), row, length_of(s) * sizeof *row);
    return true;
}

static bool check_layer(const struct search *s, const struct gr_features_run *run,
                        struct gr_error *err)
{
    return (size_t)run->length == length_of(s) ||
           gr_fail(err, GR_ERR_DATA,
                   "the features have %zu numbers an image, but '%s' of the model '%s' has %lld: "
                   "is it the model that they are of?",
                   length_of(s), run->layer.name, gr_model_name(run->model),
                   (long long)run->length);
}

/* Computes the features of the queries that are files. */
static bool compute(struct search *s, const char **paths, size_t n_paths, struct gr_error *err)
{
    const char *layer = gr_features_layer(s->features);
    const struct gr_features_options options = {.layer = *layer ? layer : NULL,
                                                .images = paths,
                                                .n_images = n_paths,
                                                .precision = s->options->precision,
                                                .max_corrupt = -1};
    struct taking taking = {s, 0};
    struct gr_features_result result;
    struct gr_features_run run;
    const bool ok = gr_features_open(&run, s->options->model, &options, err) &&
                    check_layer(s, &run, err) &&
                    gr_features_each(&run, take, &taking, &result, err);
    gr_features_close(&run);
    return ok;
}

static bool find_queries(struct search *s, struct gr_error *err)
{
    const struct gr_nearest_options *o = s->options;
    const char **paths = calloc(o->n_queries, sizeof *paths);
    size_t n_paths = 0;
    bool ok = paths || gr_fail_memory(err, "looking for images");
    for (size_t q = 0; ok && q < o->n_queries; q++) {
        struct gr_query *query = &s->queries[q];
        ok = gr_query_find(s->features, o->queries[q], o->model != NULL, query, err);
        if (ok && query->index < 0)
            paths[n_paths++] = query->text;
        else if (ok)
            ok = gr_features_rows(s->features, (size_t)query->index, 1, s->rows + q * length_of(s),
                                  err);
    }
    ok = ok && (!n_paths || compute(s, paths, n_paths, err));
    free(paths);
    return ok;
}

/* ---- the search -------------------------------------------------------------------------- */

/* Keeps the image among the candidates of query q if it is one of the closest so far. */
static void consider(struct search *s, size_t q, size_t index, double closeness)
{
    struct gr_neighbour *near = s->near + q * s->kept;
    size_t at = s->count[q];
    if (at == s->kept && !(closeness > near[at - 1].distance))
        return;
    if (gr_query_is(s->features, &s->queries[q], index))
        return;
    at -= at == s->kept;
    for (; at > 0 && closeness > near[at - 1].distance; at--)
        near[at] = near[at - 1];
    near[at] = (struct gr_neighbour){(int64_t)index, closeness};
    s->count[q] += s->count[q] < s->kept;
}

/* What grows as the distance falls, from a query's product with a row; it lacks the query's part.
 */
static double closeness_of(enum gr_distance distance, double product, double square)
{
    const double closeness = distance == GR_EUCLIDEAN ? 2 * product - square
                             : square > 0             ? product / sqrt(square)
                                                      : 0;
    return isnan(closeness) ? -(double)INFINITY : closeness;
}

/* Looks for candidates of all queries in a block of rows. */
static void search_block(struct search *s, size_t first, size_t count)
{
    const size_t length = length_of(s), n = s->options->n_queries;
    const float *block = s->block;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)n, (blasint)count,
                (blasint)length, 1, s->rows, (blasint)length, block, (blasint)length, 0,
                s->products, BLOCK);
    for (size_t i = 0; i < count; i++) {
        const double square = dot(block + i * length, block + i * length, length);
        s->longest = sqrt(square) > s->longest ? sqrt(square) : s->longest;
        for (size_t q = 0; q < n; q++)
            consider(
                s, q, first + i,
                closeness_of(s->options->distance, (double)s->products[q * BLOCK + i], square));
    }
}

/* ---- exactly ----------------------------------------------------------------------------- */

static double distance_of(enum gr_distance distance, const float *a, const float *b, size_t length)
{
    double result;
    if (distance == GR_EUCLIDEAN) {
        double sum = 0;
        for (size_t i = 0; i < length; i++)
            sum += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        result = sqrt(sum);
    } else {
        const double squares = dot(a, a, length) * dot(b, b, length);
        result = squares > 0 ? fmax(0, 1 - dot(a, b, length) / sqrt(squares)) : 1;
    }
    return isnan(result) ? (double)INFINITY : result;
}

static int nearer_first(const void *a, const void *b)
{
    const struct gr_neighbour *x = a, *y = b;
    if (x->distance < y->distance || x->distance > y->distance)
        return x->distance < y->distance ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

/* The distances of a block's rows to those queries whose candidates are not sure. */
static void measure_block(struct search *s, size_t first, size_t count)
{
    const size_t length = length_of(s);
    for (size_t q = 0; q < s->options->n_queries; q++)
        for (size_t i = 0; s->unsure[q] && i < count; i++)
            consider(s, q, first + i,
                     -distance_of(s->options->distance, s->rows + q * length, s->block + i * length,
                                  length));
}

/*
 * Can no image be nearer than the last of those wanted that is not among the candidates? Their
 * closeness was `worst` at most, give or take what n products summed up in f32 round.
 */
static bool is_sure(const struct search *s, size_t q, double worst)
{
    const size_t length = length_of(s);
    const float *row = s->rows + q * length;
    const double square = dot(row, row, length), rounding = (double)length * 0x1p-24;
    const double last = s->near[q * s->kept + s->options->count - 1].distance;
    if (s->options->distance == GR_EUCLIDEAN)
        return square - last * last >= worst + 2 * rounding * sqrt(square) * s->longest;
    return sqrt(square) * (1 - last) >= worst + rounding * sqrt(square);
}

/* Candidates by distance, the nearest first. */
static bool measure(struct search *s, size_t q, struct gr_error *err)
{
    struct gr_neighbour *near = s->near + q * s->kept;
    const size_t length = length_of(s), count = s->count[q];
    const double worst = count ? near[count - 1].distance : 0;
    for (size_t k = 0; k < count; k++) {
        if (!gr_features_rows(s->features, (size_t)near[k].index, 1, s->block, err))
            return false;
        near[k].distance =
            distance_of(s->options->distance, s->rows + q * length, s->block, length);
    }
    qsort(near, count, sizeof *near, nearer_first);
    s->unsure[q] = count == s->kept && !is_sure(s, q, worst);
    return true;
}

/* ---- the whole --------------------------------------------------------------------------- */

static bool each_block(struct search *s, void (*look)(struct search *, size_t, size_t),
                       struct gr_error *err)
{
    const size_t images = gr_features_count(s->features);
    for (size_t first = 0; first < images; first += s->block_rows) {
        const size_t count = images - first < s->block_rows ? images - first : s->block_rows;
        if (!gr_features_rows(s->features, first, count, s->block, err))
            return false;
        look(s, first, count);
    }
    return true;
}

/* Goes through all images once more for the queries that it takes. */
static bool search_exactly(struct search *s, struct gr_error *err)
{
    bool any = false;
    for (size_t q = 0; q < s->options->n_queries; q++) {
        s->count[q] = s->unsure[q] ? 0 : s->count[q];
        any = any || s->unsure[q];
    }
    if (any && !each_block(s, measure_block, err))
        return false;
    for (size_t q = 0; q < s->options->n_queries; q++)
        for (size_t k = 0; s->unsure[q] && k < s->count[q]; k++)
            s->near[q * s->kept + k].distance *= -1;
    return true;
}

static bool set_up(struct search *s, struct gr_error *err)
{
    const struct gr_nearest_options *o = s->options;
    const size_t images = gr_features_count(s->features);
    if (!o->n_queries || !o->count)
        return gr_fail(err, GR_ERR_USAGE, "there is no image to look for, or no neighbour to tell");
    s->kept = o->count > images / 2 ? images : 2 * o->count + SPARE;
    s->queries = calloc(o->n_queries, sizeof *s->queries);
    s->rows = calloc(o->n_queries * length_of(s), sizeof *s->rows);
    s->block_rows = BLOCK_BYTES / sizeof *s->block / length_of(s);
    s->block_rows = s->block_rows > BLOCK ? BLOCK : s->block_rows < 1 ? 1 : s->block_rows;
    s->block = calloc(s->block_rows * length_of(s), sizeof *s->block);
    s->products = calloc(o->n_queries * BLOCK, sizeof *s->products);
    s->unsure = calloc(o->n_queries, sizeof *s->unsure);
    s->near = calloc(o->n_queries * s->kept, sizeof *s->near);
    s->count = calloc(o->n_queries, sizeof *s->count);
    return (s->queries && s->rows && s->block && s->products && s->unsure && s->near && s->count) ||
           gr_fail_memory(err, "looking for images");
}

bool gr_nearest_images(const struct gr_features *features, const struct gr_nearest_options *options,
                       struct gr_neighbour *neighbours, struct gr_error *err)
{
    struct search s = {.features = features, .options = options};
    bool ok = set_up(&s, err) && find_queries(&s, err) && each_block(&s, search_block, err);
    for (size_t q = 0; ok && q < options->n_queries; q++)
        ok = measure(&s, q, err);
    ok = ok && search_exactly(&s, err);
    for (size_t q = 0; ok && q < options->n_queries; q++)
        for (size_t k = 0; k < options->count; k++)
            neighbours[q * options->count + k] = k < s.count[q]
                                                     ? s.near[q * s.kept + k]
                                                     : (struct gr_neighbour){-1, (double)INFINITY};
    free(s.queries);
    free(s.rows);
    free(s.block);
    free(s.products);
    free(s.unsure);
    free(s.near);
    free(s.count);
    return ok;
}
