/*
 * The sources `cifar10` and `cifar100` in their binary version: records of one label byte
 * (CIFAR-100: coarse, then fine) and 3×32×32 bytes, planar. Class names come from the text files
 * beside them.
 */
#define _DEFAULT_SOURCE
#include "data/files.h"
#include "data/source.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { SIDE = 32, PIXELS = 3 * SIDE * SIDE, FILES_MAX = 5 };

/* What tells the two apart. */
struct variant {
    int label_bytes;
    const char *train[FILES_MAX + 1], *test[2]; /* NULL-terminated */
};

static const struct variant cifar10 = {
    1,
    {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin",
     "data_batch_5.bin", NULL},
    {"test_batch.bin", NULL},
};
static const struct variant cifar100 = {2, {"train.bin", NULL}, {"test.bin", NULL}};

enum labels { LABELS_FINE, LABELS_COARSE };
static const char *const label_choices[] = {"fine", "coarse", NULL};

struct cifar_attrs {
    const char *path;
    bool train;
    int labels;
};

static const struct gr_attr cifar10_table[] = {
    {.name = "path",
     .type = GR_ATTR_PATH,
     .offset = offsetof(struct cifar_attrs, path),
     .required = true,
     .doc = "the folder of data_batch_*.bin and test_batch.bin, or one such file"},
    {.name = "train",
     .type = GR_ATTR_BOOL,
     .offset = offsetof(struct cifar_attrs, train),
     .def = 1,
     .doc = "of a folder: the 50,000 training images, or the 10,000 test images"},
    {.name = NULL},
};

static const struct gr_attr cifar100_table[] = {
    {.name = "path",
     .type = GR_ATTR_PATH,
     .offset = offsetof(struct cifar_attrs, path),
     .required = true,
     .doc = "the folder of train.bin and test.bin, or one such file"},
    {.name = "train",
     .type = GR_ATTR_BOOL,
     .offset = offsetof(struct cifar_attrs, train),
     .def = 1,
     .doc = "of a folder: the 50,000 training images, or the 10,000 test images"},
    {.name = "labels",
     .type = GR_ATTR_ENUM,
     .offset = offsetof(struct cifar_attrs, labels),
     .choices = label_choices,
     .doc = "the 100 classes, or the 20 that they belong to"},
    {.name = NULL},
};

struct cifar_state {
    int label_bytes, label_at;
    int files;
    const char *path[FILES_MAX];
    int64_t end[FILES_MAX]; /* records up to and with this file */
};

static bool is_folder(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

/* The files that the attributes name. */
static bool list_files(const struct cifar_attrs *a, const struct variant *variant,
                       struct gr_samples *samples, struct gr_error *err)
{
    struct cifar_state *state = samples->state;
    if (!is_folder(a->path)) {
        state->path[state->files++] = a->path;
        return true;
    }
    const char *const *names = a->train ? variant->train : variant->test;
    for (int i = 0; names[i]; i++) {
        char *path = gr_pool_printf(&samples->pool, "%s/%s", a->path, names[i]);
        if (!path)
            return gr_fail_memory(err, "opening a dataset");
        state->path[state->files++] = path;
    }
    return true;
}

/* Appends one file's records to samples->pixels, which hold whole records. */
static bool read_file(struct gr_samples *samples, int index, struct gr_error *err)
{
    struct cifar_state *state = samples->state;
    const char *path = state->path[index];
    const int64_t record = state->label_bytes + PIXELS;
    bool done = false;
    struct gr_data_file *file = gr_data_file_open(path, err);
    if (!file)
        return false;
    int64_t size = gr_data_file_size(file);
    if (size < 0) {
        gr_fail(err, GR_ERR_DATA, "%s: is gzipped: unpack it", path);
        goto out;
    }
    if (size == 0 || size % record) {
        gr_fail(err, GR_ERR_DATA,
                "%s: %" PRId64 " bytes are not a whole number of records of %" PRId64
                ": fetch it again",
                path, size, record);
        goto out;
    }
    uint8_t *grown = realloc(samples->pixels, (size_t)(samples->count * record + size));
    if (!grown) {
        gr_fail_memory(err, path);
        goto out;
    }
    samples->pixels = grown;
    done = gr_data_file_read(file, grown + samples->count * record, (size_t)size, err);
    samples->count += size / record;
    state->end[index] = samples->count;
out:
    gr_data_file_close(file);
    return done;
}

/* Class names are a courtesy: no file, no names. */
static void read_names(const struct cifar_attrs *a, const char *name, struct gr_samples *samples)
{
    int64_t count = 0;
    char *path = gr_pool_printf(&samples->pool, "%s/%s", a->path, name);
    if (!path || !is_folder(a->path))
        return;
    const char **lines = gr_file_lines(path, GR_LIST_BYTES_MAX, &samples->pool, &count, NULL);
    if (lines && count >= samples->classes)
        samples->class_names = lines;
}

static bool cifar_open(const struct cifar_attrs *a, const struct variant *variant, int classes,
                       const char *names, struct gr_samples *samples, struct gr_error *err)
{
    struct cifar_state *state = gr_pool_alloc(&samples->pool, sizeof *state);
    if (!state)
        return gr_fail_memory(err, "opening a dataset");
    samples->state = state;
    state->label_bytes = variant->label_bytes;
    state->label_at = variant->label_bytes == 2 && a->labels == LABELS_FINE;
    samples->channels = 3;
    samples->height = samples->width = SIDE;
    samples->classes = classes;
    if (!list_files(a, variant, samples, err))
        return false;
    for (int i = 0; i < state->files; i++)
        if (!read_file(samples, i, err))
            return false;
    samples->labels = calloc((size_t)samples->count, sizeof *samples->labels);
    if (!samples->labels)
        return gr_fail_memory(err, "opening a dataset");
    for (int64_t i = 0; i < samples->count; i++)
        samples->labels[i] = samples->pixels[i * (state->label_bytes + PIXELS) + state->label_at];
    read_names(a, names, samples);
    return true;
}

static bool cifar10_open(const void *attrs, const struct gr_source_wish *wish,
                         struct gr_samples *samples, struct gr_error *err)
{
    (void)wish;
    return cifar_open(attrs, &cifar10, 10, "batches.meta.txt", samples, err);
}

static bool cifar100_open(const void *attrs, const struct gr_source_wish *wish,
                          struct gr_samples *samples, struct gr_error *err)
{
    const struct cifar_attrs *a = attrs;
    const bool fine = a->labels == LABELS_FINE;
    (void)wish;
    return cifar_open(a, &cifar100, fine ? 100 : 20,
                      fine ? "fine_label_names.txt" : "coarse_label_names.txt", samples, err);
}

static bool cifar_read(const struct gr_samples *samples, int64_t index,
                       const struct gr_source_target *target, struct gr_source_scratch *scratch,
                       struct gr_view *view, struct gr_error *err)
{
    const struct cifar_state *state = samples->state;
    const int64_t record = state->label_bytes + PIXELS;
    (void)target, (void)scratch, (void)err;
    *view = gr_view_planar(samples->pixels + index * record + state->label_bytes, 3, SIDE, SIDE);
    return true;
}

static void cifar_name(const struct gr_samples *samples, int64_t index, char *buffer, size_t size)
{
    const struct cifar_state *state = samples->state;
    int file = 0;
    while (file + 1 < state->files && index >= state->end[file])
        file++;
    snprintf(buffer, size, "%s[%" PRId64 "]", state->path[file],
             index - (file ? state->end[file - 1] : 0));
}

const struct gr_source gr_source_cifar10 = {
    .kind = {"cifar10", "CIFAR-10, binary version", cifar10_table, sizeof(struct cifar_attrs)},
    .side = SIDE,
    .fixed_size = true,
    .open = cifar10_open,
    .read = cifar_read,
    .name = cifar_name,
};

const struct gr_source gr_source_cifar100 = {
    .kind = {"cifar100", "CIFAR-100, binary version", cifar100_table, sizeof(struct cifar_attrs)},
    .side = SIDE,
    .fixed_size = true,
    .open = cifar100_open,
    .read = cifar_read,
    .name = cifar_name,
};
