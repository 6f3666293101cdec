/*
 * Nearest images as a contact sheet: a row a query. A frame tells whether a neighbour is of the
 * query's class, where both have one.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/decode.h"
#include "data/pipeline.h"
#include "data/places.h"
#include "data/sheet.h"
#include "train/batches.h"
#include "train/nearest.h"

enum { TILE = 160, TEXT = 256, NAME = 8192, FRAME = 3, LEAD = 24 };

static const struct gr_colour of_query = {32, 38, 46}, same = {8, 69, 148}, other = {178, 24, 43},
                              nothing = {222, 226, 231};

struct gallery {
    const struct gr_features *features;
    const struct gr_nearest_options *options;
    const struct gr_neighbour *neighbours;
    struct gr_query *queries; /* [n_queries] */
    int64_t *wanted;          /* [tiles]: image of the features, or -1: a file or nothing */
    int64_t tiles;
    struct gr_data_part part;   /* with its transforms, of what is no file */
    struct gr_dataset *dataset; /* NULL: all are files, or there is no model */
    int64_t *samples;           /* [tiles]: number in the dataset, or -1 */
    struct gr_scratch *scratch;
    struct gr_source_scratch files;
    struct gr_resize_scratch resize;
    struct gr_buffer resized;
    float *values; /* of a sample */
    uint8_t *pixels;
    struct gr_sheet sheet;
};

static size_t columns(const struct gallery *g)
{
    return g->options->count + 1;
}

/* ---- where the pictures are -------------------------------------------------------------- */

static bool readable(const char *path)
{
    FILE *file = fopen(path, "rbe");
    if (file)
        fclose(file);
    return file != NULL;
}

static bool list(struct gallery *g, struct gr_error *err)
{
    const struct gr_nearest_options *o = g->options;
    g->tiles = (int64_t)(o->n_queries * columns(g));
    g->queries = calloc(o->n_queries, sizeof *g->queries);
    g->wanted = calloc((size_t)g->tiles, sizeof *g->wanted);
    g->samples = calloc((size_t)g->tiles, sizeof *g->samples);
    if (!g->queries || !g->wanted || !g->samples)
        return gr_fail_memory(err, "a sheet of images");
    for (size_t q = 0; q < o->n_queries; q++) {
        int64_t *wanted = g->wanted + q * columns(g);
        if (!gr_query_find(g->features, o->queries[q], o->model != NULL, &g->queries[q], err))
            return false;
        wanted[0] = g->queries[q].index;
        for (size_t k = 0; k < o->count; k++)
            wanted[k + 1] = g->neighbours[q * o->count + k].index;
    }
    for (int64_t t = 0; t < g->tiles; t++)
        g->samples[t] = -1;
    return true;
}

/* Finds the samples of the dataset that have the names of wanted images. */
static void find_samples(struct gallery *g)
{
    char name[NAME];
    for (int64_t s = 0; s < gr_dataset_count(g->dataset); s++) {
        gr_dataset_sample_name(g->dataset, s, name, sizeof name);
        for (int64_t t = 0; t < g->tiles; t++)
            if (g->wanted[t] >= 0 &&
                strcmp(name, gr_features_name(g->features, (size_t)g->wanted[t])) == 0)
                g->samples[t] = s;
    }
}

static bool open_dataset(struct gallery *g, const struct gr_model_input *image,
                         struct gr_error *err)
{
    const struct gr_context *context = g->options->model->context;
    const size_t elements = (size_t)gr_shape_count(&image->shape);
    if (!gr_batches_statistics(g->options->model, false, &g->part.statistics, err))
        return false;
    g->dataset = gr_dataset_open(&g->part, &image->shape, 0, context->log, context->log_user, err);
    g->scratch = gr_scratch_new();
    g->values = calloc(elements, sizeof *g->values);
    g->pixels = calloc(elements, 1);
    if (!g->dataset || !g->scratch || !g->values || !g->pixels)
        return gr_fail_memory(err, "a sheet of images"); /* unless the dataset said why */
    find_samples(g);
    return true;
}

/* The part of the data that the features are of, if some of them are no files. */
static bool open_part(struct gallery *g, struct gr_error *err)
{
    struct gr_model *model = g->options->model;
    const struct gr_model_input *image, *label;
    const char *name = gr_features_part(g->features);
    bool missing = false;
    for (int64_t t = 0; t < g->tiles && !missing; t++)
        missing =
            g->wanted[t] >= 0 && !readable(gr_features_name(g->features, (size_t)g->wanted[t]));
    const struct gr_model_part *found =
        model && name && missing ? gr_model_file_part(model->file, name) : NULL;
    if (!found)
        return true;
    const struct gr_model_part *like = gr_batches_preprocessing(model, err);
    if (!like || !gr_batches_inputs(model, &image, &label, err) ||
        !gr_model_unset_check(&found->source_unset, err))
        return false;
    g->part = found->data;
    g->part.transforms = like->data.transforms;
    g->part.n_transforms = like->data.n_transforms;
    return open_dataset(g, image, err);
}

/* ---- a picture --------------------------------------------------------------------------- */

/* Makes the view as large as a tile has room for. */
static bool fit(struct gallery *g, struct gr_view *view)
{
    const int64_t room_h = g->sheet.height / g->sheet.scale;
    const int64_t room_w = g->sheet.width / g->sheet.scale;
    struct gr_placement place = gr_placement_whole(view->height, view->width);
    const bool tall = view->height * room_w > view->width * room_h;
    place.height = tall ? room_h : view->height * room_w / view->width;
    place.width = tall ? view->width * room_h / view->height : room_w;
    place.height = place.height < 1 ? 1 : place.height;
    place.width = place.width < 1 ? 1 : place.width;
    place.window = (struct gr_window){0, 0, place.height, place.width};
    return gr_image_place(view, &place, &g->resize, &g->resized, NULL);
}

static bool see_sample(struct gallery *g, int64_t sample, struct gr_view *view,
                       struct gr_error *err)
{
    const struct gr_draw draw = {0};
    const struct gr_shape *shape = gr_dataset_shape(g->dataset);
    if (gr_dataset_read(g->dataset, sample, &draw, g->scratch, g->values, err) != GR_READ_DONE)
        return false;
    gr_pipeline_pixels(gr_dataset_pipeline(g->dataset), g->values, g->pixels);
    *view = gr_view_planar(g->pixels, (int)shape->dim[0], shape->dim[1], shape->dim[2]);
    return true;
}

/* The picture of a tile: a sample of the dataset, or else a file. False: why is in *err. */
static bool see(struct gallery *g, int64_t tile, struct gr_view *view, struct gr_error *err)
{
    const size_t query = (size_t)tile / columns(g);
    const struct gr_source_target target = {.shortest = TILE};
    const char *path = g->wanted[tile] >= 0 ? gr_features_name(g->features, (size_t)g->wanted[tile])
                                            : g->queries[query].text;
    if (g->samples[tile] >= 0)
        return see_sample(g, g->samples[tile], view, err);
    return gr_image_read(path, 3, &target, &g->files, view, err) &&
           (fit(g, view) || gr_fail_memory(err, "a sheet of pictures"));
}

/* ---- the sheet --------------------------------------------------------------------------- */

static int64_t label_of(const struct gallery *g, int64_t index)
{
    return index < 0 ? -1 : gr_features_label(g->features, (size_t)index);
}

/* The class by name or number, "" without. */
static const char *class_text(const struct gallery *g, int64_t label, char text[TEXT])
{
    const char *name = gr_features_class_name(g->features, label);
    text[0] = '\0';
    if (name)
        snprintf(text, TEXT, "%s", name);
    else if (label >= 0)
        snprintf(text, TEXT, "%" PRId64, label);
    return text;
}

static void describe(const struct gallery *g, int64_t tile, char caption[2 * TEXT])
{
    char class[TEXT];
    const size_t query = (size_t)tile / columns(g), k = (size_t)tile % columns(g);
    const int64_t index = g->wanted[tile];
    class_text(g, label_of(g, index), class);
    if (k)
        snprintf(caption, 2 * TEXT, "%s\n%.4g", class,
                 g->neighbours[query * g->options->count + k - 1].distance);
    else
        snprintf(caption, 2 * TEXT, "%s%s%s", class, *class ? "\n" : "",
                 gr_base_name(index >= 0 ? gr_features_name(g->features, (size_t)index)
                                         : g->queries[query].text));
}

/* What cannot be read becomes a grey tile; false: memory or the like ran out. */
static bool put(struct gallery *g, int64_t tile, struct gr_error *err)
{
    struct gr_error unseen = {0};
    static const uint8_t blank[1] = {0};
    char caption[2 * TEXT];
    struct gr_view view = gr_view_planar(blank, 1, 1, 1);
    const size_t query = (size_t)tile / columns(g);
    const bool is_query = (size_t)tile % columns(g) == 0;
    const int64_t label = label_of(g, g->wanted[tile]);
    const int64_t wanted = label_of(g, g->queries[query].index);
    if (!is_query && g->wanted[tile] < 0)
        return true;
    describe(g, tile, caption);
    const bool seen = see(g, tile, &view, &unseen);
    if (unseen.status == GR_ERR_RUNTIME)
        return gr_fail(err, unseen.status, "%s", unseen.message);
    const int64_t side = g->sheet.scale;
    const struct gr_window place =
        gr_sheet_place(&g->sheet, tile, seen ? view.height : g->sheet.height / side,
                       seen ? view.width : g->sheet.width / side);
    gr_sheet_put(&g->sheet, tile, &view, caption);
    if (!seen)
        gr_picture_fill(&g->sheet.picture, &place, nothing);
    if (is_query || (label >= 0 && wanted >= 0))
        gr_picture_frame(&g->sheet.picture, &place, FRAME,
                         is_query          ? of_query
                         : label == wanted ? same
                                           : other);
    return true;
}

static bool paint(struct gallery *g, struct gr_error *err)
{
    char title[TEXT];
    const char *layer = gr_features_layer(g->features);
    const struct gr_shape *shape = g->dataset ? gr_dataset_shape(g->dataset) : NULL;
    snprintf(title, sizeof title, "nearest by %s distance%s%s",
             g->options->distance == GR_EUCLIDEAN ? "Euclidean" : "cosine", *layer ? ": " : "",
             layer);
    const struct gr_sheet_options options = {.count = g->tiles,
                                             .height = shape ? shape->dim[1] : TILE,
                                             .width = shape ? shape->dim[2] : TILE,
                                             .columns = (int64_t)columns(g),
                                             .captions = 2,
                                             .lead = LEAD,
                                             .title = title};
    if (!gr_sheet_init(&g->sheet, &options, err))
        return false;
    bool done = true;
    for (int64_t t = 0; done && t < g->tiles; t++)
        done = put(g, t, err);
    return done;
}

static void release(struct gallery *g)
{
    gr_sheet_release(&g->sheet);
    gr_dataset_free(g->dataset);
    gr_scratch_free(g->scratch);
    gr_buffer_release(&g->files.file);
    gr_buffer_release(&g->files.pixels);
    gr_buffer_release(&g->resize.rows);
    gr_buffer_release(&g->resize.columns);
    gr_buffer_release(&g->resize.lines);
    gr_buffer_release(&g->resized);
    free(g->queries);
    free(g->wanted);
    free(g->samples);
    free(g->values);
    free(g->pixels);
}

bool gr_show_nearest(const struct gr_features *features, const struct gr_nearest_options *options,
                     const struct gr_neighbour *neighbours, const char *path, struct gr_error *err)
{
    struct gallery g = {.features = features, .options = options, .neighbours = neighbours};
    const bool ok = list(&g, err) && open_part(&g, err) && paint(&g, err) &&
                    gr_picture_write(&g.sheet.picture, path, err);
    release(&g);
    return ok;
}
