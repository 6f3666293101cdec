/*
 * random_resized_crop: a window of random size, proportions and place, resized to a fixed size; as
 * torchvision's RandomResizedCrop. Ten times a share of the image's area is drawn, uniformly, and
 * proportions, uniformly in their logarithm; the first such window that fits is taken anywhere in
 * the image. If none does, it is the largest central one whose proportions are allowed.
 */
#include "data/transform.h"

#include <math.h>

enum { SIDE_MAX = 1 << 16, ATTEMPTS = 10 };

struct resized_crop_attrs {
    int64_t size[2];
    struct gr_floats scale, ratio;
};

static const struct gr_attr resized_crop_table[] = {
    {.name = "size",
     .type = GR_ATTR_SIZE2,
     .offset = offsetof(struct resized_crop_attrs, size),
     .required = true,
     .min = 1,
     .max = SIDE_MAX,
     .doc = "height and width that the window is resized to"},
    {.name = "scale",
     .type = GR_ATTR_FLOATS,
     .offset = offsetof(struct resized_crop_attrs, scale),
     .doc = "the window's share of the image's area, from and to (default: 0.08 and 1)"},
    {.name = "ratio",
     .type = GR_ATTR_FLOATS,
     .offset = offsetof(struct resized_crop_attrs, ratio),
     .doc = "its width / height, from and to (default: 3/4 and 4/3)"},
    {.name = NULL},
};

static const double usual_scale[2] = {0.08, 1}, usual_ratio[2] = {3.0 / 4, 4.0 / 3};

static const double *range_of(const struct gr_floats *range, const double usual[2])
{
    return range->count ? range->items : usual;
}

static bool check_range(const char *name, const struct gr_floats *range, double most,
                        struct gr_error *err)
{
    if (range->count == 0)
        return true;
    if (range->count != 2)
        return gr_fail(err, GR_ERR_MODEL, "random_resized_crop: %s takes two numbers, not %d", name,
                       range->count);
    for (int i = 0; i < 2; i++)
        if (!(range->items[i] > 0 && range->items[i] <= most))
            return gr_fail(err, GR_ERR_MODEL, "random_resized_crop: %s %g is not above 0, up to %g",
                           name, range->items[i], most);
    if (range->items[0] > range->items[1])
        return gr_fail(err, GR_ERR_MODEL, "random_resized_crop: %s goes from %g down to %g", name,
                       range->items[0], range->items[1]);
    return true;
}

static bool resized_crop_check(const void *attrs, struct gr_error *err)
{
    const struct resized_crop_attrs *a = attrs;
    return check_range("scale", &a->scale, 1, err) && check_range("ratio", &a->ratio, 1e3, err);
}

static bool resized_crop_infer(const void *attrs, struct gr_extent *extent, struct gr_error *err)
{
    const struct resized_crop_attrs *a = attrs;
    (void)err;
    extent->height = extent->low_height = a->size[0];
    extent->width = extent->low_width = a->size[1];
    return true;
}

/* A window of drawn size at a drawn place; false when it does not fit. */
static bool try_window(const struct resized_crop_attrs *a, const struct gr_draft *sample,
                       int attempt, int64_t height, int64_t width, struct gr_window *window)
{
    const double *scale = range_of(&a->scale, usual_scale);
    const double *ratio = range_of(&a->ratio, usual_ratio);
    const uint64_t block = sample->block + (uint64_t)attempt * GR_TRANSFORM_BLOCKS_ALL;
    float draw[4];
    gr_random_uniforms(&sample->key, block, draw);
    const double share = scale[0] + (scale[1] - scale[0]) * (double)draw[0];
    const double shape = ratio[0] * pow(ratio[1] / ratio[0], (double)draw[1]);
    const double area = (double)height * (double)width * share;
    window->width = llround(sqrt(area * shape));
    window->height = llround(sqrt(area / shape));
    if (window->width < 1 || window->width > width || window->height < 1 || window->height > height)
        return false;
    const uint64_t down = (uint64_t)(height - window->height);
    const uint64_t right = (uint64_t)(width - window->width);
    window->top = (int64_t)gr_random_below(&sample->key, 2 * (block + 1), down + 1);
    window->left = (int64_t)gr_random_below(&sample->key, 2 * (block + 1) + 1, right + 1);
    return true;
}

/* The largest window of allowed proportions, in the middle. */
static struct gr_window central_window(const struct resized_crop_attrs *a, int64_t height,
                                       int64_t width)
{
    const double *ratio = range_of(&a->ratio, usual_ratio);
    const double shape = (double)width / (double)height;
    struct gr_window window = {0, 0, height, width};
    if (shape < ratio[0])
        window.height = llround((double)width / ratio[0]);
    else if (shape > ratio[1])
        window.width = llround((double)height * ratio[1]);
    window.height = window.height < 1 ? 1 : window.height > height ? height : window.height;
    window.width = window.width < 1 ? 1 : window.width > width ? width : window.width;
    window.top = (height - window.height) / 2;
    window.left = (width - window.width) / 2;
    return window;
}

/* First the window is cut out; with its pixels in place, they are resized. */
static enum gr_placing resized_crop_place(const void *attrs, struct gr_draft *sample,
                                          struct gr_error *err)
{
    const struct resized_crop_attrs *a = attrs;
    struct gr_placement *p = &sample->placement;
    (void)err;
    if (!sample->laters) {
        const int64_t height = p->window.height, width = p->window.width;
        struct gr_window window = {0};
        bool found = false;
        for (int i = 0; i < ATTEMPTS && !found; i++)
            found = try_window(a, sample, i, height, width, &window);
        if (!found)
            window = central_window(a, height, width);
        gr_placement_cut(p, &window);
        return GR_PLACING_LATER;
    }
    p->height = p->window.height = a->size[0];
    p->width = p->window.width = a->size[1];
    return GR_PLACING_DONE;
}

const struct gr_transform gr_transform_random_resized_crop = {
    .kind = {"random_resized_crop", "cuts out a window of random size and shape, and resizes it",
             resized_crop_table, sizeof(struct resized_crop_attrs)},
    .check = resized_crop_check,
    .infer = resized_crop_infer,
    .place = resized_crop_place,
};
