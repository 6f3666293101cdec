/*
 * Colours of training data; see statistics.h.
 */
#include "data/statistics.h"

#include "base/json.h"
#include "base/vector_clones.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* LAPACK, within OpenBLAS; the last two are the lengths that Fortran passes of jobz and uplo. */
extern void dsyev_(const char *jobz, const char *uplo, const int *n, double *a, const int *lda,
                   double *w, double *work, const int *lwork, int *info, size_t jobz_length,
                   size_t uplo_length);

enum { RUN = 1 << 16 }; /* pixels whose products fit in 32 bits */

/* ---- sums -------------------------------------------------------------------------------- */

static void add_grey(struct gr_pixel_sums *sums, const uint8_t *pixel, int64_t count)
{
    uint32_t sum = 0, product = 0;
    for (int64_t i = 0; i < count; i++) {
        sum += pixel[i];
        product += (uint32_t)pixel[i] * pixel[i];
    }
    sums->sum[0] += sum;
    sums->product[0] += product;
}

GR_VECTOR_CLONES static void add_colour(struct gr_pixel_sums *sums, const uint8_t *pixel,
                                        int64_t count)
{
    uint32_t sum[GR_RGB] = {0}, product[GR_PRODUCTS] = {0};
    for (int64_t i = 0; i < count; i++) {
        const uint32_t r = pixel[3 * i], g = pixel[3 * i + 1], b = pixel[3 * i + 2];
        sum[0] += r;
        sum[1] += g;
        sum[2] += b;
        product[0] += r * r;
        product[1] += r * g;
        product[2] += r * b;
        product[3] += g * g;
        product[4] += g * b;
        product[5] += b * b;
    }
    for (int c = 0; c < GR_RGB; c++)
        sums->sum[c] += sum[c];
    for (int p = 0; p < GR_PRODUCTS; p++)
        sums->product[p] += product[p];
}

void gr_pixel_sums_add(struct gr_pixel_sums *sums, const struct gr_view *view)
{
    for (int64_t h = 0; h < view->height; h++)
        for (int64_t w = 0; w < view->width; w += RUN) {
            const uint8_t *pixel =
                view->pixels + (ptrdiff_t)h * view->row_stride + (ptrdiff_t)w * view->channels;
            const int64_t left = view->width - w, count = left < RUN ? left : RUN;
            if (view->channels == 1)
                add_grey(sums, pixel, count);
            else
                add_colour(sums, pixel, count);
        }
    sums->count += (uint64_t)(view->height * view->width);
}

void gr_pixel_sums_merge(struct gr_pixel_sums *sums, const struct gr_pixel_sums *more)
{
    sums->count += more->count;
    for (int c = 0; c < GR_RGB; c++)
        sums->sum[c] += more->sum[c];
    for (int p = 0; p < GR_PRODUCTS; p++)
        sums->product[p] += more->product[p];
}

/* ---- principal components ---------------------------------------------------------------- */

/* Of components that only rounding tells apart the first counts as largest. */
static void direct(double vector[GR_RGB])
{
    int largest = 0;
    for (int c = 1; c < GR_RGB; c++)
        if (fabs(vector[c]) > fabs(vector[largest]) * (1 + 1e-9))
            largest = c;
    const double sign = vector[largest] < 0 ? -1 : 1;
    for (int c = 0; c < GR_RGB; c++)
        vector[c] = sign * vector[c] + 0; /* no negative zeros */
}

static bool find_components(struct gr_statistics *statistics, struct gr_error *err)
{
    const int n = GR_RGB, room = 64;
    double a[GR_RGB * GR_RGB], values[GR_RGB], work[64];
    const int threads = openblas_get_num_threads();
    int info = 0;
    memcpy(a, statistics->covariance, sizeof a);
    openblas_set_num_threads(1); /* with more, last digits are others */
    dsyev_("V", "U", &n, a, &n, values, work, &room, &info, 1, 1);
    openblas_set_num_threads(threads);
    if (info != 0)
        return gr_fail(err, GR_ERR_RUNTIME,
                       "the principal components of RGB cannot be computed: dsyev says %d", info);
    for (int i = 0; i < GR_RGB; i++) { /* LAPACK has the smallest first, vectors as columns */
        const int from = GR_RGB - 1 - i;
        double *vector = &statistics->eigenvectors[GR_RGB * i];
        statistics->eigenvalues[i] = values[from] > 0 ? values[from] : 0;
        memcpy(vector, &a[GR_RGB * from], GR_RGB * sizeof *vector);
        direct(vector);
    }
    return true;
}

bool gr_statistics_compute(const struct gr_pixel_sums *sums, int channels,
                           struct gr_statistics *statistics, struct gr_error *err)
{
    const double count = (double)sums->count, unit = 255.0 * 255.0;
    int p = 0;
    *statistics = (struct gr_statistics){.channels = channels};
    for (int c = 0; c < channels; c++)
        statistics->mean[c] = (double)sums->sum[c] / count;
    for (int c = 0; c < channels; c++)
        for (int d = c; d < channels; d++, p++) {
            const double product = (double)sums->product[p] / count;
            const double covariance = (product - statistics->mean[c] * statistics->mean[d]) / unit;
            statistics->covariance[GR_RGB * c + d] = covariance;
            statistics->covariance[GR_RGB * d + c] = covariance;
        }
    return channels != GR_RGB || find_components(statistics, err);
}

/* ---- JSON -------------------------------------------------------------------------------- */

static json_t *numbers_json(const double *numbers, int count)
{
    json_t *list = json_array();
    for (int i = 0; i < count; i++)
        gr_json_append(&list, json_real(numbers[i]));
    return list;
}

static bool numbers_parse(const json_t *json, const char *key, double *numbers, int count)
{
    const json_t *list = json_object_get(json, key);
    bool sound = json_array_size(list) == (size_t)count;
    for (int i = 0; sound && i < count; i++) {
        const json_t *item = json_array_get(list, (size_t)i);
        sound = json_is_number(item);
        numbers[i] = json_number_value(item);
    }
    return sound;
}

json_t *gr_statistics_json(const struct gr_statistics *statistics)
{
    json_t *mean = numbers_json(statistics->mean, statistics->channels);
    if (statistics->channels != GR_RGB)
        return json_pack("{s:o, s:o}", "mean", mean, "variance",
                         numbers_json(statistics->covariance, 1));
    return json_pack("{s:o, s:o, s:o, s:o}", "mean", mean, "covariance",
                     numbers_json(statistics->covariance, 9), "eigenvalues",
                     numbers_json(statistics->eigenvalues, 3), "eigenvectors",
                     numbers_json(statistics->eigenvectors, 9));
}

bool gr_statistics_parse(const json_t *json, struct gr_statistics *statistics)
{
    struct gr_statistics read = {.channels = (int)json_array_size(json_object_get(json, "mean"))};
    *statistics = (struct gr_statistics){0};
    const bool colour = read.channels == GR_RGB;
    if ((!colour && read.channels != 1) || !numbers_parse(json, "mean", read.mean, read.channels))
        return false;
    if (colour ? !numbers_parse(json, "covariance", read.covariance, 9) ||
                     !numbers_parse(json, "eigenvalues", read.eigenvalues, 3) ||
                     !numbers_parse(json, "eigenvectors", read.eigenvectors, 9)
               : !numbers_parse(json, "variance", read.covariance, 1))
        return false;
    *statistics = read;
    return true;
}

char *gr_statistics_text(const struct gr_statistics *statistics)
{
    json_t *json = gr_statistics_json(statistics);
    char *text = json ? gr_json_dump(json, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    json_decref(json);
    return text;
}

bool gr_statistics_parse_text(const char *text, struct gr_statistics *statistics,
                              struct gr_error *err)
{
    struct gr_error failed = {0};
    json_t *json = text ? gr_json_parse(text, strlen(text), 0, NULL, &failed) : NULL;
    const bool sound = gr_statistics_parse(json, statistics);
    json_decref(json);
    return failed.status ? gr_fail_memory(err, "what is known of colours") : sound;
}
