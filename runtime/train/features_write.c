/*
 * Features to a file, row by row: what stays in memory is a label and a name for each image.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/safetensors_stream.h"
#include "train/features.h"

enum { NAME = 8192, NUMBER = 24, MOST_NAME_BYTES = 1 << 20, TENSORS = 3, PAIRS = 9 };

struct writer {
    struct gr_features_run *run;
    struct gr_tensor_stream stream;
    int32_t *labels; /* [count] */
    int64_t count;
    struct gr_text files; /* each name ended by a zero byte */
    char *class_names;    /* JSON */
    char shape[GR_SHAPE_TEXT], skipped[NUMBER];
    const char *metadata[2 * PAIRS];
    size_t n_metadata;
};

/* ---- metadata ---------------------------------------------------------------------------- */

/* "[256,6,6]". */
static void write_shape(const struct gr_shape *shape, char text[GR_SHAPE_TEXT])
{
    int length = snprintf(text, GR_SHAPE_TEXT, "[");
    for (int i = 0; i < shape->rank; i++)
        length += snprintf(text + length, (size_t)(GR_SHAPE_TEXT - length), "%s%" PRId64,
                           i ? "," : "", shape->dim[i]);
    snprintf(text + length, (size_t)(GR_SHAPE_TEXT - length), "]");
}

static bool write_class_names(struct writer *w, struct gr_error *err)
{
    struct gr_class_names names = {.count = gr_features_run_classes(w->run)};
    names.items = calloc((size_t)names.count + 1, sizeof *names.items);
    for (int64_t c = 0; names.items && c < names.count; c++)
        names.items[c] = gr_features_run_class(w->run, c);
    w->class_names = names.items ? gr_class_names_text(&names) : NULL;
    free(names.items);
    return w->class_names || gr_fail_memory(err, "names of classes");
}

static void add_pair(struct writer *w, const char *key, const char *text)
{
    w->metadata[2 * w->n_metadata] = key;
    w->metadata[2 * w->n_metadata + 1] = text;
    w->n_metadata++;
}

static bool fill_metadata(struct writer *w, struct gr_error *err)
{
    const struct gr_features_run *run = w->run;
    write_shape(&run->layer.shape, w->shape);
    snprintf(w->skipped, sizeof w->skipped, "%" PRId64, gr_dataset_count(run->batches.dataset));
    if (!write_class_names(w, err))
        return false;
    add_pair(w, "format", "graph-runner");
    add_pair(w, "content", "features");
    add_pair(w, "model", gr_model_name(run->model));
    add_pair(w, "layer", run->layer.name);
    add_pair(w, "about", run->layer.about);
    add_pair(w, "shape", w->shape);
    add_pair(w, "class_names", w->class_names);
    add_pair(w, "skipped", w->skipped);
    if (run->part)
        add_pair(w, "part", run->part);
    return true;
}

/* ---- tensors ----------------------------------------------------------------------------- */

/* In the order of the file. */
static void describe(const struct writer *w, int64_t images, int64_t name_bytes,
                     struct gr_tensor tensors[TENSORS])
{
    tensors[0] = (struct gr_tensor){"features", GR_F32, {2, {images, w->run->length}}, NULL};
    tensors[1] = (struct gr_tensor){"labels", GR_S32, {1, {images}}, NULL};
    tensors[2] = (struct gr_tensor){"files", GR_U8, {1, {name_bytes}}, NULL};
}

static bool open_file(struct writer *w, const char *path, struct gr_error *err)
{
    struct gr_tensor most[TENSORS];
    const int64_t images = gr_dataset_count(w->run->batches.dataset);
    describe(w, images, images * MOST_NAME_BYTES, most);
    w->labels = calloc((size_t)images, sizeof *w->labels);
    return (w->labels || gr_fail_memory(err, "features")) && fill_metadata(w, err) &&
           gr_tensor_stream_open(&w->stream, path, most, TENSORS, w->metadata, w->n_metadata, err);
}

static bool take(void *user, int64_t index, int32_t label, const float *row, struct gr_error *err)
{
    struct writer *w = user;
    char name[NAME];
    gr_dataset_sample_name(w->run->batches.dataset, index, name, sizeof name);
    gr_text_append(&w->files, name, strlen(name) + 1);
    w->labels[w->count++] = label;
    return gr_tensor_stream_put(&w->stream, row, (size_t)w->run->length * sizeof *row, err);
}

static bool close_file(struct writer *w, const struct gr_features_result *result,
                       struct gr_error *err)
{
    struct gr_tensor tensors[TENSORS];
    describe(w, w->count, (int64_t)w->files.length, tensors);
    snprintf(w->skipped, sizeof w->skipped, "%" PRId64, result->skipped);
    return gr_text_ok(&w->files, err) &&
           gr_tensor_stream_put(&w->stream, w->labels, (size_t)w->count * sizeof *w->labels, err) &&
           gr_tensor_stream_put(&w->stream, w->files.data, w->files.length, err) &&
           gr_tensor_stream_commit(&w->stream, tensors, TENSORS, w->metadata, w->n_metadata, err);
}

bool gr_features_write(struct gr_model *model, const struct gr_features_options *options,
                       const char *path, struct gr_features_result *result, struct gr_error *err)
{
    struct gr_features_run run;
    struct writer w = {.run = &run};
    const bool ok = gr_features_open(&run, model, options, err) && open_file(&w, path, err) &&
                    gr_features_each(&run, take, &w, result, err) && close_file(&w, result, err);
    gr_tensor_stream_release(&w.stream);
    gr_text_release(&w.files);
    free(w.class_names);
    free(w.labels);
    gr_features_close(&run);
    return ok;
}
