/*
 * A file of features, checked and open. Labels and names are in memory; rows, a hundred times as
 * much, stay in the file, where it is one that can be read again.
 */
#define _DEFAULT_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/model.h"
#include "model/safetensors.h"

struct gr_features {
    FILE *stream;
    char *path;
    int64_t place; /* of the rows in the stream, -1: they are in memory */
    struct gr_tensor_file *file;
    const struct gr_tensor *rows; /* [N, D] */
    const int32_t *labels;        /* [N] */
    const char **names;           /* [N], heap, borrowed from the file */
    struct gr_class_names class_names;
};

static bool fail(const char *path, const char *why, struct gr_error *err)
{
    return gr_fail(err, GR_ERR_DATA, "%s: not a file of features: %s", path, why);
}

static const struct gr_tensor *find(const struct gr_tensor_file *file, const char *path,
                                    const char *name, enum gr_dtype dtype, int rank,
                                    struct gr_error *err)
{
    const struct gr_tensor *tensor = gr_tensor_file_find(file, name);
    if (tensor && tensor->dtype == dtype && tensor->shape.rank == rank)
        return tensor;
    gr_fail(err, GR_ERR_DATA,
            "%s: not a file of features: it has no tensor '%s' of %s with %d dimension%s", path,
            name, gr_dtype_name(dtype), rank, rank == 1 ? "" : "s");
    return NULL;
}

/* Each name ends with a zero byte, and there is one for each row. */
static bool find_names(struct gr_features *features, const struct gr_tensor *bytes,
                       const char *path, struct gr_error *err)
{
    const size_t rows = gr_features_count(features), size = (size_t)bytes->shape.dim[0];
    const char *text = bytes->data, *const end = text + size;
    size_t count = 0;
    features->names = calloc(rows, sizeof *features->names);
    if (!features->names)
        return gr_fail_memory(err, "features");
    if (end[-1])
        return fail(path, "its last file name does not end", err);
    for (; text < end; text += strlen(text) + 1, count++)
        if (count < rows)
            features->names[count] = text;
    return count == rows || fail(path, "it has not one file name for each row", err);
}

static bool check(struct gr_features *features, const char *path, struct gr_error *err)
{
    const struct gr_tensor_file *file = features->file;
    const char *class_names = gr_tensor_file_metadata(file, "class_names");
    features->rows = find(file, path, "features", GR_F32, 2, err);
    const struct gr_tensor *labels =
        features->rows ? find(file, path, "labels", GR_S32, 1, err) : NULL;
    const struct gr_tensor *files = labels ? find(file, path, "files", GR_U8, 1, err) : NULL;
    if (!files)
        return false;
    if (labels->shape.dim[0] != features->rows->shape.dim[0])
        return fail(path, "it has not one label for each row", err);
    features->labels = labels->data;
    return find_names(features, files, path, err) &&
           gr_class_names_parse(&features->class_names, class_names, INT32_MAX, err);
}

static bool open_file(struct gr_features *features, const char *path, struct gr_error *err)
{
    const bool piped = strcmp(path, "-") == 0;
    features->path = strdup(piped ? "standard input" : path);
    if (!features->path)
        return gr_fail_memory(err, "features");
    features->stream = piped ? stdin : fopen(path, "rbe");
    if (!features->stream)
        return gr_fail_system(err, GR_ERR_DATA, errno, "cannot open", path);
    features->file = gr_tensor_file_read_but(features->stream, features->path, "features",
                                             &features->place, err);
    return features->file && check(features, features->path, err);
}

struct gr_features *gr_features_read(const char *path, struct gr_error *err)
{
    struct gr_features *features = calloc(1, sizeof *features);
    if (!features)
        gr_fail_memory(err, "features");
    else if (open_file(features, path, err))
        return features;
    gr_features_free(features);
    return NULL;
}

void gr_features_free(struct gr_features *features)
{
    if (!features)
        return;
    gr_class_names_release(&features->class_names);
    gr_tensor_file_free(features->file);
    if (features->stream && features->stream != stdin)
        fclose(features->stream);
    free(features->path);
    free(features->names);
    free(features);
}

size_t gr_features_count(const struct gr_features *features)
{
    return (size_t)features->rows->shape.dim[0];
}

size_t gr_features_length(const struct gr_features *features)
{
    return (size_t)features->rows->shape.dim[1];
}

bool gr_features_rows(const struct gr_features *features, size_t first, size_t count, float *rows,
                      struct gr_error *err)
{
    const size_t length = gr_features_length(features);
    char *to = (char *)rows;
    size_t left = count * length * sizeof *rows;
    if (features->place < 0) {
        memcpy(rows, (const float *)features->rows->data + first * length, left);
        return true;
    }
    off_t at = (off_t)features->place + (off_t)(first * length * sizeof *rows);
    while (left) {
        const ssize_t done = pread(fileno(features->stream), to, left, at);
        if (done == 0)
            return gr_fail(err, GR_ERR_DATA, "%s: has become shorter since it was opened",
                           features->path);
        if (done < 0 && errno != EINTR)
            return gr_fail_system(err, GR_ERR_RUNTIME, errno, "cannot read", features->path);
        to += done > 0 ? done : 0;
        at += done > 0 ? done : 0;
        left -= done > 0 ? (size_t)done : 0;
    }
    return true;
}

const char *gr_features_layer(const struct gr_features *features)
{
    const char *layer = gr_tensor_file_metadata(features->file, "layer");
    return layer ? layer : "";
}

const char *gr_features_part(const struct gr_features *features)
{
    return gr_tensor_file_metadata(features->file, "part");
}

const char *gr_features_name(const struct gr_features *features, size_t index)
{
    return features->names[index];
}

int64_t gr_features_label(const struct gr_features *features, size_t index)
{
    return features->labels[index];
}

const char *gr_features_class_name(const struct gr_features *features, int64_t label)
{
    const struct gr_class_names *names = &features->class_names;
    return label >= 0 && label < names->count ? names->items[label] : NULL;
}
