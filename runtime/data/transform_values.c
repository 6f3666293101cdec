/*
 * Transforms of values: scale, mean, normalize. Each maps a channel's values linearly, so that all
 * of them together are one multiplication and one addition when the sample is written out.
 */
#include "data/transform.h"

/* ---- scale ------------------------------------------------------------------------------- */

struct scale_attrs {
    double factor;
};

static const struct gr_attr scale_table[] = {
    {.name = "factor",
     .type = GR_ATTR_FLOAT,
     .offset = offsetof(struct scale_attrs, factor),
     .def = 1.0 / 255,
     .doc = "what each value is multiplied by; 1/255 takes pixels to [0, 1]"},
    {.name = NULL},
};

static void scale_values(const void *attrs, const struct gr_statistics *statistics, int channel,
                         double *scale, double *offset)
{
    const struct scale_attrs *a = attrs;
    (void)statistics;
    (void)channel;
    *scale *= a->factor;
    *offset *= a->factor;
}

const struct gr_transform gr_transform_scale = {
    .kind = {"scale", "multiplies the values", scale_table, sizeof(struct scale_attrs)},
    .values = scale_values,
};

/* ---- mean and normalize ------------------------------------------------------------------ */

enum { RGB = 3 };

/* Of ImageNet's training set, pixels from 0 to 255: 0.485, 0.456, 0.406 of the range. */
static const double imagenet_mean[RGB] = {123.68, 116.779, 103.939};

struct normalize_attrs {
    struct gr_floats mean, std;
};

static const struct gr_attr mean_table[] = {
    {.name = "values",
     .type = GR_ATTR_FLOATS,
     .offset = offsetof(struct normalize_attrs, mean),
     .doc = "one for each channel, or one for all (default: that of the training data, where they "
            "are a pack; else ImageNet's)"},
    {.name = NULL},
};

static const struct gr_attr normalize_table[] = {
    {.name = "mean",
     .type = GR_ATTR_FLOATS,
     .offset = offsetof(struct normalize_attrs, mean),
     .required = true,
     .doc = "subtracted; one for each channel, or one for all"},
    {.name = "std",
     .type = GR_ATTR_FLOATS,
     .offset = offsetof(struct normalize_attrs, std),
     .required = true,
     .doc = "divided by; one for each channel, or one for all"},
    {.name = NULL},
};

static double of_channel(const struct gr_floats *list, int channel)
{
    return list->items[list->count == 1 ? 0 : channel];
}

static bool fits(const char *what, const struct gr_floats *list, int channels, struct gr_error *err)
{
    if (list->count == 1 || list->count == channels)
        return true;
    return gr_fail(err, GR_ERR_DATA, "%s: %d numbers for %d channel%s", what, list->count, channels,
                   channels == 1 ? "" : "s");
}

static bool mean_infer(const void *attrs, struct gr_extent *extent, struct gr_error *err)
{
    const struct normalize_attrs *a = attrs;
    const struct gr_statistics *known = extent->statistics;
    if (a->mean.count)
        return fits("mean: values", &a->mean, extent->channels, err);
    if (known && known->channels != extent->channels)
        return gr_fail(err, GR_ERR_DATA,
                       "mean: the pack of the training data knows that of %d channel%s, but "
                       "samples have %d: give values",
                       known->channels, known->channels == 1 ? "" : "s", extent->channels);
    return known || extent->channels == RGB ||
           gr_fail(err, GR_ERR_DATA, "mean: of grey images there is no usual one: give values");
}

/* The mean of pixels has been scaled like them by the time it is subtracted. */
static void mean_values(const void *attrs, const struct gr_statistics *statistics, int channel,
                        double *scale, double *offset)
{
    const struct normalize_attrs *a = attrs;
    if (a->mean.count)
        *offset -= of_channel(&a->mean, channel);
    else
        *offset = -*scale * (statistics ? statistics->mean : imagenet_mean)[channel];
}

static bool normalize_check(const void *attrs, struct gr_error *err)
{
    const struct normalize_attrs *a = attrs;
    for (int i = 0; i < a->std.count; i++)
        if (!(a->std.items[i] > 0))
            return gr_fail(err, GR_ERR_MODEL, "normalize: std %g is not above 0", a->std.items[i]);
    return true;
}

static bool normalize_infer(const void *attrs, struct gr_extent *extent, struct gr_error *err)
{
    const struct normalize_attrs *a = attrs;
    return fits("normalize: mean", &a->mean, extent->channels, err) &&
           fits("normalize: std", &a->std, extent->channels, err);
}

static void normalize_values(const void *attrs, const struct gr_statistics *statistics, int channel,
                             double *scale, double *offset)
{
    const struct normalize_attrs *a = attrs;
    (void)statistics;
    const double std = of_channel(&a->std, channel);
    *scale /= std;
    *offset = (*offset - of_channel(&a->mean, channel)) / std;
}

const struct gr_transform gr_transform_mean = {
    .kind = {"mean", "subtracts the mean", mean_table, sizeof(struct normalize_attrs)},
    .infer = mean_infer,
    .values = mean_values,
};

const struct gr_transform gr_transform_normalize = {
    .kind = {"normalize", "subtracts the mean and divides by the standard deviation",
             normalize_table, sizeof(struct normalize_attrs)},
    .check = normalize_check,
    .infer = normalize_infer,
    .values = normalize_values,
};
