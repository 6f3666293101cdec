/*
 * color_jitter: brightness, contrast, saturation and hue of an image, each changed by a factor (an
 * angle) drawn from a range anew each epoch, in a random order or in that one. With y the luminance
 * (ITU-R BT.601) of a pixel and m the mean luminance of the image as it is by then,
 *
 *     brightness f   v ← f·v
 *     contrast f     v ← f·v + (1−f)·m
 *     saturation f   v ← f·v + (1−f)·y
 *     hue f          turned by f of a whole turn in HSV, where saturation and value stay
 *
 * each clipped to 0 to 255, all in f32, and rounded to 8 bits once, at the end. Ranges are those of
 * torchvision's ColorJitter (which rounds after each). Grey images have no saturation and no hue.
 */
#include "data/transform.h"

#include <string.h>

#include "base/vector_clones.h"

enum { RGB = 3, LANES = 16 };
enum change { BRIGHTNESS, CONTRAST, SATURATION, HUE, CHANGES };
enum order { ORDER_RANDOM, ORDER_FIXED };
static const char *const orders[] = {"random", "fixed", NULL};

struct jitter_attrs {
    struct gr_floats range[CHANGES];
    int order;
};

static const struct gr_attr jitter_table[] = {
    {.name = "brightness",
     .type = GR_ATTR_FLOATS,
     .offset = offsetof(struct jitter_attrs, range[BRIGHTNESS]),
     .doc = "x: a factor of 1 - x (or 0) to 1 + x; or two numbers, from and to; absent: as it is"},
    {.name = "contrast",
     .type = GR_ATTR_FLOATS,
     .offset = offsetof(struct jitter_attrs, range[CONTRAST]),
     .doc = "the same: 0 is grey all over, 1 as it is"},
    {.name = "saturation",
     .type = GR_ATTR_FLOATS,
     .offset = offsetof(struct jitter_attrs, range[SATURATION]),
     .doc = "the same: 0 is without colour, 1 as it is"},
    {.name = "hue",
     .type = GR_ATTR_FLOATS,
     .offset = offsetof(struct jitter_attrs, range[HUE]),
     .doc = "x: turned by -x to x of a whole turn, x at most 0.5; or from and to"},
    {.name = "order",
     .type = GR_ATTR_ENUM,
     .offset = offsetof(struct jitter_attrs, order),
     .choices = orders,
     .doc = "of the four: drawn, or as they stand here"},
    {.name = NULL},
};

/* ---- ranges ------------------------------------------------------------------------------ */

static double most(enum change change)
{
    return change == HUE ? 0.5 : 1e3;
}

/* What is drawn from, uniformly; false when nothing is to change. */
static bool range_of(const struct jitter_attrs *a, enum change change, double *low, double *high)
{
    const struct gr_floats *range = &a->range[change];
    const double centre = change == HUE ? 0 : 1, floor = change == HUE ? -0.5 : 0;
    if (range->count == 0)
        return false;
    *low = range->count == 2 ? range->items[0] : centre - range->items[0];
    *high = range->count == 2 ? range->items[1] : centre + range->items[0];
    if (range->count == 1 && *low < floor)
        *low = floor;
    return *low != centre || *high != centre;
}

static bool jitter_check(const void *attrs, struct gr_error *err)
{
    const struct jitter_attrs *a = attrs;
    for (int i = 0; i < CHANGES; i++) {
        const struct gr_floats *range = &a->range[i];
        const char *name = jitter_table[i].name;
        const double floor = i == HUE && range->count == 2 ? -0.5 : 0;
        if (range->count > 2)
            return gr_fail(err, GR_ERR_MODEL, "color_jitter: %s takes one number or two, not %d",
                           name, range->count);
        for (int k = 0; k < range->count; k++)
            if (!(range->items[k] >= floor && range->items[k] <= most((enum change)i)))
                return gr_fail(err, GR_ERR_MODEL, "color_jitter: %s %g is not from %g to %g", name,
                               range->items[k], floor, most((enum change)i));
        if (range->count == 2 && range->items[0] > range->items[1])
            return gr_fail(err, GR_ERR_MODEL, "color_jitter: %s goes from %g down to %g", name,
                           range->items[0], range->items[1]);
    }
    return true;
}

/* ---- changes ----------------------------------------------------------------------------- */

/* Planes of f32 pixels, 0 to 255: [channels][count], and one to spare for luminance. */
struct planes {
    float *plane[RGB];
    float *luminance;
    int channels;
    int64_t count;
};

static inline float clipped(float value)
{
    value = value < 0 ? 0 : value;
    return value > 255 ? 255 : value;
}

GR_VECTOR_CLONES static void scale(const struct planes *p, float factor, float offset)
{
    for (int c = 0; c < p->channels; c++) {
        float *restrict v = p->plane[c];
        for (int64_t i = 0; i < p->count; i++)
            v[i] = clipped(factor * v[i] + offset);
    }
}

/* The luminance of each pixel: of a grey image, itself. */
GR_VECTOR_CLONES static const float *luminance(const struct planes *p)
{
    const float *restrict r = p->plane[0], *restrict g = p->plane[1], *restrict b = p->plane[2];
    float *restrict y = p->luminance;
    if (p->channels != RGB)
        return r;
    for (int64_t i = 0; i < p->count; i++)
        y[i] = 0.299f * r[i] + 0.587f * g[i] + 0.114f * b[i];
    return y;
}

/* Summed in lanes, so that it is the same for every width of vectors. */
GR_VECTOR_CLONES static float mean(const float *values, int64_t count)
{
    float lane[LANES] = {0};
    double sum = 0;
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (int l = 0; l < LANES; l++)
            lane[l] += values[i + l];
    for (; i < count; i++)
        sum += (double)values[i];
    for (int l = 0; l < LANES; l++)
        sum += (double)lane[l];
    return (float)(sum / (double)count);
}

static void contrast(const struct planes *p, float factor)
{
    scale(p, factor, (1 - factor) * mean(luminance(p), p->count));
}

GR_VECTOR_CLONES static void saturation(const struct planes *p, float factor)
{
    if (p->channels != RGB)
        return;
    const float *restrict y = luminance(p);
    for (int c = 0; c < RGB; c++) {
        float *restrict v = p->plane[c];
        for (int64_t i = 0; i < p->count; i++)
            v[i] = clipped(factor * v[i] + (1 - factor) * y[i]);
    }
}

/* A position on the colour wheel of six, brought into [0, 6) from at most one turn away. */
static inline float around(float position)
{
    position = position < 0 ? position + 6 : position;
    return position >= 6 ? position - 6 : position;
}

/* How much of a pixel's chroma a channel lacks at a position counted from the channel's own. */
static inline float lacking(float position)
{
    const float back = 4 - position, near = position < back ? position : back;
    return near < 0 ? 0 : near > 1 ? 1 : near;
}

/* Without branches, to run in vectors. Positions: 0 red, 1 yellow, 2 green, ... 5 magenta. */
GR_VECTOR_CLONES static void hue(const struct planes *p, float turn)
{
    float *restrict red = p->plane[0], *restrict green = p->plane[1], *restrict blue = p->plane[2];
    if (p->channels != RGB)
        return;
    for (int64_t i = 0; i < p->count; i++) {
        const float r = red[i], g = green[i], b = blue[i];
        const float rg = r > g ? r : g, most_of = rg > b ? rg : b;
        const float low = r < g ? r : g, least = low < b ? low : b;
        const float chroma = most_of - least, unit = 1 / (chroma > 0 ? chroma : 1);
        const float from_red = (g - b) * unit, from_green = 2 + (b - r) * unit,
                    from_blue = 4 + (r - g) * unit;
        const float own = most_of == r ? from_red : most_of == g ? from_green : from_blue;
        const float turned = around(around(own) + 6 * turn);
        red[i] = most_of - chroma * lacking(around(turned + 5));
        green[i] = most_of - chroma * lacking(around(turned + 3));
        blue[i] = most_of - chroma * lacking(around(turned + 1));
    }
}

static void apply_change(const struct planes *p, enum change change, float factor)
{
    switch (change) {
    case BRIGHTNESS:
        scale(p, factor, 0);
        break;
    case CONTRAST:
        contrast(p, factor);
        break;
    case SATURATION:
        saturation(p, factor);
        break;
    case HUE:
        hue(p, factor);
        break;
    case CHANGES:
        break;
    }
}

/* ---- a sample ---------------------------------------------------------------------------- */

/* The permutation of that number, of 4! = 24: its digits say which of those left comes next. */
static void set_order(unsigned number, enum change order[CHANGES])
{
    enum change left[CHANGES] = {BRIGHTNESS, CONTRAST, SATURATION, HUE};
    for (unsigned i = 0, n = CHANGES; i < CHANGES; i++, n--) {
        const unsigned pick = number % n;
        number /= n;
        order[i] = left[pick];
        memmove(&left[pick], &left[pick + 1], (n - pick - 1) * sizeof *left);
    }
}

/* Room for the planes and for the bytes that come of them; the view's pixels are in the planes. */
static bool open_planes(struct planes *p, struct gr_draft *sample, uint8_t **bytes,
                        struct gr_error *err)
{
    static const float one[GR_CHANNELS_MAX] = {1, 1, 1, 1}, zero[GR_CHANNELS_MAX];
    const struct gr_view *view = &sample->view;
    const size_t count = (size_t)(view->height * view->width), planes = (size_t)view->channels;
    void *memory =
        gr_buffer_reserve(sample->buffer, count * ((planes + 1) * sizeof(float) + planes));
    if (!memory)
        return gr_fail_memory(err, "changing the colours of an image");
    float *floats = memory;
    *p = (struct planes){.channels = view->channels, .count = (int64_t)count};
    for (int c = 0; c < view->channels; c++)
        p->plane[c] = floats + (size_t)c * count;
    p->luminance = floats + planes * count;
    *bytes = (uint8_t *)(p->luminance + count);
    gr_view_write(view, one, zero, floats);
    return true;
}

GR_VECTOR_CLONES static void round_planes(const struct planes *p, uint8_t *bytes)
{
    const float *restrict values = p->plane[0]; /* the planes lie one behind the other */
    uint8_t *restrict rounded = bytes;
    for (int64_t i = 0; i < p->count * p->channels; i++)
        rounded[i] = (uint8_t)(int32_t)(values[i] + 0.5f);
}

static bool jitter_apply(const void *attrs, struct gr_draft *sample, struct gr_error *err)
{
    const struct jitter_attrs *a = attrs;
    const int64_t height = sample->view.height, width = sample->view.width;
    const int channels = sample->view.channels;
    enum change order[CHANGES];
    struct planes planes = {0};
    uint8_t *bytes = NULL;
    float draw[4];
    if (!open_planes(&planes, sample, &bytes, err))
        return false;
    gr_random_uniforms(&sample->key, sample->block, draw);
    set_order(a->order == ORDER_FIXED
                  ? 0
                  : (unsigned)gr_random_below(&sample->key, 2 * (sample->block + 1), 24),
              order);
    for (int i = 0; i < CHANGES; i++) {
        double low, high;
        if (range_of(a, order[i], &low, &high))
            apply_change(&planes, order[i], (float)(low + (high - low) * (double)draw[order[i]]));
    }
    round_planes(&planes, bytes);
    sample->view = gr_view_planar(bytes, channels, height, width);
    return true;
}

const struct gr_transform gr_transform_color_jitter = {
    .kind = {"color_jitter", "changes brightness, contrast, saturation and hue at random",
             jitter_table, sizeof(struct jitter_attrs)},
    .check = jitter_check,
    .apply = jitter_apply,
};
