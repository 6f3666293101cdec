/*
 * Times reading, decoding and transforming the samples of a model's data, on one thread, and the
 * library's bare decoding of the same JPEG files, whole and as they are:
 *
 *   IMAGENET=... build/bench_decode models/alexnet.yaml [train|val]
 *
 * Rounds of the two take turns, both read the file (of a pack: the part of it). The rate is what we
 * do in the time of bare decoding: below 1, we take longer.
 */
#include "data/dataset.h"
#include "graphrunner.h"

#include <stdio.h>
#include <stdlib.h>

#include <jpeglib.h>

#include "base/clock.h"
#include "data/image.h"
#include "model/model.h"

enum { MOST = 1000, ROUNDS = 15, ALIGN = 64 };

static int fail(const struct gr_error *err)
{
    fprintf(stderr, "bench_decode: %s\n", err->message);
    return 1;
}

/* Decodes all of a file; whatever is wrong with it ends the program. */
static void decode_bare(const uint8_t *bytes, size_t size, struct gr_buffer *pixels)
{
    struct jpeg_decompress_struct info;
    struct jpeg_error_mgr errors;
    info.err = jpeg_std_error(&errors);
    jpeg_create_decompress(&info);
    jpeg_mem_src(&info, bytes, (unsigned long)size);
    jpeg_read_header(&info, TRUE);
    info.out_color_space = JCS_RGB;
    jpeg_start_decompress(&info);
    const size_t row = (size_t)info.output_width * 3;
    uint8_t *out = gr_buffer_reserve(pixels, row * info.output_height);
    while (out && info.output_scanline < info.output_height) {
        JSAMPROW line = out + row * info.output_scanline;
        jpeg_read_scanlines(&info, &line, 1);
    }
    jpeg_finish_decompress(&info);
    jpeg_destroy_decompress(&info);
}

static int64_t count_of(const struct gr_dataset *dataset)
{
    const int64_t count = gr_dataset_count(dataset);
    return count < MOST ? count : MOST;
}

/* Milliseconds an image. */
static double measure_bare(const struct gr_dataset *dataset)
{
    struct gr_scratch *scratch = gr_scratch_new();
    struct gr_buffer pixels = {0};
    struct gr_error err = {0};
    const double start = gr_seconds();
    for (int64_t i = 0; i < count_of(dataset); i++) {
        size_t size;
        const uint8_t *bytes = gr_dataset_load(dataset, i, scratch, &size, &err);
        if (!bytes)
            exit(fail(&err));
        decode_bare(bytes, size, &pixels);
    }
    const double seconds = gr_seconds() - start;
    gr_buffer_release(&pixels);
    gr_scratch_free(scratch);
    return 1e3 * seconds / (double)count_of(dataset);
}

static double measure(const struct gr_dataset *dataset)
{
    const struct gr_draw draw = {1, 0};
    struct gr_scratch *scratch = gr_scratch_new();
    const size_t bytes = (size_t)gr_shape_count(gr_dataset_shape(dataset)) * sizeof(float);
    float *out = aligned_alloc(ALIGN, (bytes + ALIGN - 1) / ALIGN * ALIGN); /* as the loader's */
    struct gr_error err = {0};
    const double start = gr_seconds();
    for (int64_t i = 0; scratch && out && i < count_of(dataset); i++)
        if (gr_dataset_read(dataset, i, &draw, scratch, out, &err) != GR_READ_DONE)
            exit(fail(&err));
    const double seconds = gr_seconds() - start;
    gr_scratch_free(scratch);
    free(out);
    return 1e3 * seconds / (double)count_of(dataset);
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void compare(const struct gr_dataset *dataset, const char *part)
{
    double rates[ROUNDS];
    for (int round = 0; round < ROUNDS; round++) {
        const double bare = measure_bare(dataset), ours = measure(dataset);
        printf("%s: %.3f ms an image, bare decoding %.3f ms, rate %.3f\n", part, ours, bare,
               bare / ours);
        rates[round] = bare / ours;
    }
    qsort(rates, ROUNDS, sizeof *rates, ascending);
    printf("%s: rate %.3f, the median of %d (%.3f to %.3f)\n", part, rates[ROUNDS / 2], ROUNDS,
           rates[0], rates[ROUNDS - 1]);
}

int main(int argc, char **argv)
{
    struct gr_error err = {0};
    if (argc < 2)
        return 2;
    struct gr_context *context = gr_context_new(gr_standard_ops(), NULL, &err);
    struct gr_model *model = context ? gr_model_load(context, argv[1], NULL, &err) : NULL;
    if (!model)
        return fail(&err);
    const struct gr_model_part *part =
        gr_model_file_part(model->file, argc > 2 ? argv[2] : "train");
    if (!part)
        return 2;
    struct gr_dataset *dataset =
        gr_dataset_open(&part->data, &model->file->inputs[0].shape, 0, NULL, NULL, &err);
    if (!dataset)
        return fail(&err);
    if (!gr_dataset_has_files(dataset)) {
        fprintf(stderr, "bench_decode: data.%s has no JPEG files\n", part->data.name);
        return 2;
    }
    compare(dataset, part->data.name);
    gr_dataset_free(dataset);
    gr_model_free(model);
    gr_context_free(context);
    return 0;
}
