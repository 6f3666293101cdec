/*
 * The source `idx`: the files of MNIST and its successors. A big-endian header (two zero bytes, the
 * element type, the number of dimensions, then each dimension in 32 bits), then the elements.
 * Images are [N, H, W] bytes, or [N, H, W, C] or [N, C, H, W] with C 1 or 3; labels are [N] bytes.
 */
#include "data/files.h"
#include "data/source.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { TYPE_U8 = 8, RANK_MAX = 4, SIDE_MAX = 1 << 16 };

struct idx_attrs {
    const char *images, *labels;
};

static const struct gr_attr idx_table[] = {
    {.name = "images",
     .type = GR_ATTR_PATH,
     .offset = offsetof(struct idx_attrs, images),
     .required = true,
     .doc = "the file of images, gzipped or not"},
    {.name = "labels",
     .type = GR_ATTR_PATH,
     .offset = offsetof(struct idx_attrs, labels),
     .required = true,
     .doc = "the file of labels, gzipped or not"},
    {.name = NULL},
};

struct idx_state {
    const char *labels; /* path, for messages */
    bool planar;
};

static uint32_t big_endian(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* Reads a header of bytes with `lowest` to `highest` dimensions; *total is their product. */
static bool read_header(struct gr_data_file *file, const char *path, int lowest, int highest,
                        int64_t dim[RANK_MAX], int *rank, size_t *total, struct gr_error *err)
{
    uint8_t bytes[4];
    if (!gr_data_file_read(file, bytes, 4, err))
        return false;
    *rank = bytes[3];
    if (bytes[0] || bytes[1] || bytes[2] != TYPE_U8 || *rank < lowest || *rank > highest)
        return gr_fail(err, GR_ERR_DATA,
                       "%s: wrong magic number 0x%08" PRIx32 ": %s in IDX format start with "
                       "0x%08x",
                       path, big_endian(bytes), highest == 1 ? "labels" : "images",
                       0x800u + (unsigned)lowest);
    *total = 1;
    for (int i = 0; i < *rank; i++) {
        if (!gr_data_file_read(file, bytes, 4, err))
            return false;
        dim[i] = big_endian(bytes);
        if (dim[i] == 0 || (i && dim[i] > SIDE_MAX) ||
            !gr_size_multiply(*total, (size_t)dim[i], total))
            return gr_fail(err, GR_ERR_DATA, "%s: dimension %d of %d in the header is %" PRId64,
                           path, i + 1, *rank, dim[i]);
    }
    return gr_data_file_expect(file, *total, err);
}

/* Which of the dimensions are height, width and channels. */
static bool set_layout(const char *path, const int64_t dim[RANK_MAX], int rank,
                       struct gr_samples *samples, struct gr_error *err)
{
    struct idx_state *state = samples->state;
    const bool last = rank == 4 && (dim[3] == 1 || dim[3] == 3);
    const bool first = rank == 4 && !last && (dim[1] == 1 || dim[1] == 3);
    if (rank == 4 && !last && !first)
        return gr_fail(err, GR_ERR_DATA,
                       "%s: images of %" PRId64 "×%" PRId64 "×%" PRId64
                       " have neither 1 nor 3 channels",
                       path, dim[1], dim[2], dim[3]);
    state->planar = rank == 3 || first;
    samples->channels = rank == 3 ? 1 : (int)(last ? dim[3] : dim[1]);
    samples->height = first ? dim[2] : dim[1];
    samples->width = first ? dim[3] : dim[2];
    return true;
}

static bool read_images(const char *path, struct gr_samples *samples, struct gr_error *err)
{
    int64_t dim[RANK_MAX];
    int rank;
    size_t total;
    bool done = false;
    struct gr_data_file *file = gr_data_file_open(path, err);
    if (!file || !read_header(file, path, 3, 4, dim, &rank, &total, err) ||
        !set_layout(path, dim, rank, samples, err))
        goto out;
    samples->count = dim[0];
    samples->pixels = malloc(total);
    if (!samples->pixels) {
        gr_fail_memory(err, path);
        goto out;
    }
    done = gr_data_file_read(file, samples->pixels, total, err) && gr_data_file_end(file, err);
out:
    gr_data_file_close(file);
    return done;
}

static bool read_labels(const struct idx_attrs *a, struct gr_samples *samples, struct gr_error *err)
{
    int64_t count[RANK_MAX];
    int rank;
    size_t total;
    bool done = false;
    uint8_t *bytes = NULL;
    struct gr_data_file *file = gr_data_file_open(a->labels, err);
    if (!file || !read_header(file, a->labels, 1, 1, count, &rank, &total, err))
        goto out;
    if (count[0] != samples->count) {
        gr_fail(err, GR_ERR_DATA,
                "%s: %" PRId64 " labels, but %s holds %" PRId64 " images: name two files that "
                "belong together",
                a->labels, count[0], a->images, samples->count);
        goto out;
    }
    bytes = malloc(total);
    samples->labels = calloc(total, sizeof *samples->labels);
    if (!bytes || !samples->labels) {
        gr_fail_memory(err, a->labels);
        goto out;
    }
    if (!gr_data_file_read(file, bytes, total, err) || !gr_data_file_end(file, err))
        goto out;
    for (size_t i = 0; i < total; i++) {
        samples->labels[i] = bytes[i];
        if (bytes[i] >= samples->classes)
            samples->classes = bytes[i] + 1;
    }
    done = true;
out:
    free(bytes);
    gr_data_file_close(file);
    return done;
}

static bool idx_open(const void *attrs, const struct gr_source_wish *wish,
                     struct gr_samples *samples, struct gr_error *err)
{
    const struct idx_attrs *a = attrs;
    (void)wish;
    struct idx_state *state = gr_pool_alloc(&samples->pool, sizeof *state);
    if (!state)
        return gr_fail_memory(err, "opening a dataset");
    samples->state = state;
    state->labels = a->labels;
    return read_images(a->images, samples, err) && read_labels(a, samples, err);
}

static bool idx_read(const struct gr_samples *samples, int64_t index,
                     const struct gr_source_target *target, struct gr_source_scratch *scratch,
                     struct gr_view *view, struct gr_error *err)
{
    const struct idx_state *state = samples->state;
    const int64_t bytes = samples->channels * samples->height * samples->width;
    const uint8_t *pixels = samples->pixels + index * bytes;
    (void)target, (void)scratch, (void)err;
    *view = (state->planar ? gr_view_planar : gr_view_interleaved)(pixels, samples->channels,
                                                                   samples->height, samples->width);
    return true;
}

static void idx_name(const struct gr_samples *samples, int64_t index, char *buffer, size_t size)
{
    const struct idx_state *state = samples->state;
    snprintf(buffer, size, "%s[%" PRId64 "]", state->labels, index);
}

const struct gr_source gr_source_idx = {
    .kind = {"idx", "images and labels in the IDX files of MNIST and Fashion-MNIST", idx_table,
             sizeof(struct idx_attrs)},
    .fixed_size = true,
    .open = idx_open,
    .read = idx_read,
    .name = idx_name,
};
