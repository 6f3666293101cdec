/*
 * A convolution's weights as a picture, like the paper's figure of conv1: filters of three channels
 * in colour, those of others as one grey tile a channel, a row a filter. Zero is the middle grey.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/params.h"
#include "model/model.h"
#include "train/filters.h"

enum { RGB = 3, FIGURE_COLUMNS = 16, TEXT = 256, PLANE_LEAST = 12, MOST_NAMES = 64 };

/* ---- finding the weights ----------------------------------------------------------------- */

static bool is_filters(const struct gr_stored *stored)
{
    const char *dot = strrchr(stored->value.name, '.');
    return stored->value.shape.rank == 4 && dot && strcmp(dot, ".weight") == 0;
}

static bool belongs_to(const struct gr_stored *stored, const char *node)
{
    const size_t length = strlen(node);
    return strncmp(stored->value.name, node, length) == 0 &&
           strcmp(stored->value.name + length, ".weight") == 0;
}

static bool fail_unknown(const struct gr_model *model, const char *node, struct gr_error *err)
{
    char texts[MOST_NAMES][TEXT];
    const char *names[MOST_NAMES];
    size_t count = 0;
    for (size_t i = 0; i < gr_params_count(model->params) && count < MOST_NAMES; i++) {
        const struct gr_stored *stored = gr_params_at(model->params, i);
        if (!is_filters(stored))
            continue;
        const char *name = stored->value.name;
        snprintf(texts[count], TEXT, "%.*s", (int)(strrchr(name, '.') - name), name);
        names[count] = texts[count];
        count++;
    }
    const char *near = node ? gr_nearest(node, names, count) : NULL;
    return gr_fail(err, GR_ERR_USAGE, "the model '%s' has no convolution %s%s%s%s%s%s%s",
                   gr_model_name(model), node ? "'" : "", node ? node : "to show", node ? "'" : "",
                   node ? " with weights of its own" : "", near ? "; did you mean '" : "",
                   near ? near : "", near ? "'?" : "");
}

/* The weights of the node; NULL: of the first convolution. */
static const struct gr_stored *find(struct gr_model *model, const char *node, struct gr_error *err)
{
    if (!gr_model_materialise(model, err))
        return NULL;
    for (size_t i = 0; i < gr_params_count(model->params); i++) {
        const struct gr_stored *stored = gr_params_at(model->params, i);
        if (is_filters(stored) && (!node || belongs_to(stored, node)))
            return stored;
    }
    fail_unknown(model, node, err);
    return NULL;
}

/* ---- painting ---------------------------------------------------------------------------- */

/* Filters [O, I, H, W] and the tiles to paint of each. */
struct filters {
    const float *weights;
    int64_t O, H, W;
    int64_t tiles; /* of a filter */
    int channels;  /* of a tile */
    bool together;
};

static float largest(const float *values, int64_t count)
{
    float most = 0;
    for (int64_t i = 0; i < count; i++)
        most = fabsf(values[i]) > most ? fabsf(values[i]) : most;
    return most;
}

/* -most to most become 1 to 255; what is no number is black. */
static void to_pixels(const float *values, int64_t count, float most, uint8_t *pixels)
{
    for (int64_t i = 0; i < count; i++) {
        const float share = most > 0 ? values[i] / most : 0;
        pixels[i] = isfinite(share) ? (uint8_t)lrintf(128 + 127 * share) : 0;
    }
}

static bool paint(struct gr_sheet *sheet, const struct filters *filters, struct gr_error *err)
{
    const int64_t tile = filters->channels * filters->H * filters->W;
    const int64_t filter = filters->tiles * tile;
    float most = largest(filters->weights, filters->O * filter);
    uint8_t *pixels = malloc((size_t)tile);
    if (!pixels)
        return gr_fail_memory(err, "painting filters");
    for (int64_t o = 0; o < filters->O; o++) {
        const float *weights = filters->weights + o * filter;
        if (!filters->together)
            most = largest(weights, filter);
        for (int64_t i = 0; i < filters->tiles; i++) {
            const struct gr_view view =
                gr_view_planar(pixels, filters->channels, filters->H, filters->W);
            to_pixels(weights + i * tile, tile, most, pixels);
            gr_sheet_put(sheet, o * filters->tiles + i, &view, NULL);
        }
    }
    free(pixels);
    return true;
}

/* The size of a weight, for a tile to take so much room. */
static int64_t fitting(int64_t room, int64_t W)
{
    const int64_t scale = room / W;
    return scale < 1 ? 1 : scale > 12 ? 12 : scale;
}

bool gr_filters_draw(struct gr_sheet *sheet, const float *weights, const struct gr_shape *shape,
                     bool together, int64_t width, const char *title, struct gr_error *err)
{
    const bool colour = shape->dim[1] == RGB;
    const struct filters filters = {.weights = weights,
                                    .O = shape->dim[0],
                                    .H = shape->dim[2],
                                    .W = shape->dim[3],
                                    .tiles = colour ? 1 : shape->dim[1],
                                    .channels = colour ? RGB : 1,
                                    .together = together};
    const bool figure = filters.tiles == 1;
    const int64_t side = filters.H > filters.W ? filters.H : filters.W;
    const int64_t gap = figure ? 4 : 2, usual = figure ? 0 : (PLANE_LEAST + side - 1) / side;
    const int64_t columns = !figure                      ? filters.tiles
                            : filters.O < FIGURE_COLUMNS ? filters.O
                                                         : FIGURE_COLUMNS;
    const struct gr_sheet_options options = {
        .count = filters.O * filters.tiles,
        .height = filters.H,
        .width = filters.W,
        .columns = columns,
        .scale = width ? fitting(width / columns - gap, filters.W) : usual,
        .gap = gap,
        .bare = true,
        .title = title};
    return gr_sheet_init(sheet, &options, err) && paint(sheet, &filters, err);
}

static bool show(const struct gr_model *model, const struct gr_stored *stored, const float *weights,
                 bool together, const char *path, struct gr_error *err)
{
    const struct gr_shape *shape = &stored->value.shape;
    struct gr_sheet sheet = {0};
    char title[TEXT];
    snprintf(title, sizeof title, "%s: %s, %" PRId64 " x %" PRId64 " x %" PRId64 " x %" PRId64 "%s",
             gr_model_name(model), stored->value.name, shape->dim[0], shape->dim[1], shape->dim[2],
             shape->dim[3], together ? ", together" : "");
    const bool ok = gr_filters_draw(&sheet, weights, shape, together, 0, title, err) &&
                    gr_picture_write(&sheet.picture, path, err);
    gr_sheet_release(&sheet);
    return ok;
}

bool gr_show_filters(struct gr_model *model, const char *node, bool together, const char *path,
                     struct gr_error *err)
{
    const struct gr_stored *stored = find(model, node, err);
    if (!stored)
        return false;
    const size_t count = (size_t)gr_shape_count(&stored->value.shape);
    float *weights = malloc(count * sizeof *weights); /* [O, I, H, W] */
    const bool ok = (weights || gr_fail_memory(err, "painting filters")) &&
                    gr_params_get(model->params, stored, weights, count, err) &&
                    show(model, stored, weights, together, path, err);
    free(weights);
    return ok;
}
