/*
 * pca_lighting, the colour jitter of the paper on AlexNet (Krizhevsky, Sutskever, Hinton, NIPS
 * 2012, section 4.1): to every pixel of an image is added
 *
 *     255 · [p1 p2 p3] · [α1·λ1, α2·λ2, α3·λ3]ᵀ      α ~ N(0, std), drawn once each use of the
 * image
 *
 * with (λ, p) the eigenvalues and eigenvectors of the covariance of the training set's RGB values.
 * The paper does not say in what units λ is. Its std of 0.1 makes sense for values from 0 to 1, and
 * so are the eigenvalues that everyone uses; hence the 255, since pixels here go up to that.
 *
 * What is added is one number a channel, so it becomes part of the offset with which the sample is
 * written: nothing is rounded or clipped, and it costs nothing.
 */
#include "data/transform.h"

#include <math.h>

enum { RGB = 3 };

/*
 * Of a random subset of ImageNet's training images, values from 0 to 1; from Facebook's
 * fb.resnet.torch (2016, datasets/imagenet.lua), which stores the eigenvectors as columns.
 */
static const double imagenet_values[RGB] = {0.2175, 0.0188, 0.0045};
static const double imagenet_vectors[RGB * RGB] = {
    -0.5675, -0.5808, -0.5836, /* p1: red, green, blue */
    0.7192,  -0.0045, -0.6948, /* p2 */
    0.4009,  -0.8140, 0.4203,  /* p3 */
};

struct lighting_attrs {
    double std;
    struct gr_floats values, vectors;
};

static const struct gr_attr lighting_table[] = {
    {.name = "std",
     .type = GR_ATTR_FLOAT,
     .offset = offsetof(struct lighting_attrs, std),
     .def = 0.1,
     .max = 10,
     .doc = "standard deviation of the three α"},
    {.name = "eigenvalues",
     .type = GR_ATTR_FLOATS,
     .offset = offsetof(struct lighting_attrs, values),
     .doc = "of the covariance of RGB values from 0 to 1 (default: those of the training data, "
            "where they are a pack; else ImageNet's)"},
    {.name = "eigenvectors",
     .type = GR_ATTR_FLOATS,
     .offset = offsetof(struct lighting_attrs, vectors),
     .doc = "red, green and blue of the first, of the second, of the third: nine numbers"},
    {.name = NULL},
};

static bool check_values(const struct gr_floats *values, struct gr_error *err)
{
    double sum = 0;
    for (int i = 0; i < RGB; i++) {
        if (values->items[i] < 0)
            return gr_fail(err, GR_ERR_MODEL, "pca_lighting: eigenvalue %g is below 0",
                           values->items[i]);
        sum += values->items[i];
    }
    if (sum > RGB * 0.25) /* no variance of numbers from 0 to 1 is above 1/4 */
        return gr_fail(err, GR_ERR_MODEL,
                       "pca_lighting: eigenvalues add up to %g, more than the 0.75 possible for "
                       "values from 0 to 1: divide those of values from 0 to 255 by 255² = 65025",
                       sum);
    return true;
}

static bool check_vectors(const struct gr_floats *vectors, struct gr_error *err)
{
    for (int i = 0; i < RGB; i++)
        for (int j = i; j < RGB; j++) {
            double product = 0;
            for (int c = 0; c < RGB; c++)
                product += vectors->items[RGB * i + c] * vectors->items[RGB * j + c];
            if (fabs(product - (i == j)) > 0.01)
                return gr_fail(err, GR_ERR_MODEL,
                               "pca_lighting: the product of eigenvectors %d and %d is %.3g, not "
                               "%d: they are no orthonormal three",
                               i + 1, j + 1, product, i == j);
        }
    return true;
}

static bool lighting_check(const void *attrs, struct gr_error *err)
{
    const struct lighting_attrs *a = attrs;
    if (!a->values.count && !a->vectors.count)
        return true;
    if (a->values.count != RGB || a->vectors.count != RGB * RGB)
        return gr_fail(err, GR_ERR_MODEL,
                       "pca_lighting: %d eigenvalues and %d numbers of eigenvectors; give 3 and 9, "
                       "or neither",
                       a->values.count, a->vectors.count);
    return check_values(&a->values, err) && check_vectors(&a->vectors, err);
}

static bool lighting_infer(const void *attrs, struct gr_extent *extent, struct gr_error *err)
{
    (void)attrs;
    if (extent->channels == RGB)
        return true;
    return gr_fail(err, GR_ERR_DATA, "pca_lighting: samples have %d channel, colour has 3",
                   extent->channels);
}

static void lighting_shift(const void *attrs, const struct gr_statistics *statistics,
                           const struct gr_random_key *key, uint64_t block,
                           double shift[GR_CHANNELS_MAX])
{
    const struct lighting_attrs *a = attrs;
    const bool known = statistics && statistics->channels == RGB;
    const double *values = known ? statistics->eigenvalues : imagenet_values;
    const double *vectors = known ? statistics->eigenvectors : imagenet_vectors;
    if (a->values.count) {
        values = a->values.items;
        vectors = a->vectors.items;
    }
    float normal[4];
    gr_random_normals(key, block, normal);
    for (int i = 0; i < RGB; i++)
        for (int c = 0; c < RGB; c++)
            shift[c] += 255 * vectors[RGB * i + c] * (a->std * (double)normal[i] * values[i]);
}

const struct gr_transform gr_transform_pca_lighting = {
    .kind = {"pca_lighting",
             "adds a random colour along the principal components of RGB, as AlexNet",
             lighting_table, sizeof(struct lighting_attrs)},
    .check = lighting_check,
    .infer = lighting_infer,
    .shift = lighting_shift,
};
