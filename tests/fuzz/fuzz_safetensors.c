/*
 * A file of tensors, from a file or (by the first byte) a stream of unknown size; and as a file of
 * features. What was read is written and read again.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* fmemopen */
#endif
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/statistics.h"
#include "model/class_names.h"
#include "model/safetensors.h"

/* What lies in metadata as text of its own. */
static void read_metadata(const struct gr_tensor_file *file)
{
    struct gr_class_names names = {0};
    struct gr_statistics statistics;
    gr_class_names_parse(&names, gr_tensor_file_metadata(file, "class_names"), 1000, NULL);
    gr_class_names_release(&names);
    gr_statistics_parse_text(gr_tensor_file_metadata(file, "statistics"), &statistics, NULL);
}

static void write_again(const struct gr_tensor_file *file)
{
    struct gr_error err = {0};
    const size_t count = gr_tensor_file_count(file);
    struct gr_tensor *tensors = calloc(count + 1, sizeof *tensors);
    gr_fuzz_expect(tensors != NULL, "there is memory");
    for (size_t i = 0; i < count; i++)
        tensors[i] = *gr_tensor_file_get(file, i);
    char *header = gr_safetensors_header("fuzz", tensors, count, NULL, 0, &err);
    gr_fuzz_expect(header != NULL, "what was read can be written");
    free(header);
    free(tensors);
}

static void read_features(const char *path)
{
    enum { ROW_MOST = 1024 };
    static float row[ROW_MOST];
    struct gr_error err = {0};
    struct gr_features *features = gr_features_read(path, &err);
    if (!features)
        return;
    const size_t count = gr_features_count(features), length = gr_features_length(features);
    for (size_t i = 0; i < count; i++) {
        const char *name = gr_features_name(features, i);
        if (length <= ROW_MOST && gr_features_rows(features, i, 1, row, &err))
            gr_fuzz_read(row, length * sizeof *row);
        gr_fuzz_read(name, strlen(name) + 1);
    }
    gr_features_class_name(features, gr_features_label(features, 0));
    gr_features_free(features);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gr_fuzz_bytes rest = {data, size};
    struct gr_error err = {0};
    const bool stream = gr_fuzz_byte(&rest) & 1;
    union {
        const uint8_t *constant;
        void *any; /* fmemopen only reads */
    } bytes = {.constant = rest.data};
    const char *path = gr_fuzz_file(0, rest);
    FILE *file = stream && rest.size ? fmemopen(bytes.any, rest.size, "rb") : fopen(path, "rb");
    gr_fuzz_expect(file != NULL, "the input can be opened");
    struct gr_tensor_file *tensors = gr_tensor_file_read_stream(file, "fuzz", &err);
    if (tensors) {
        read_metadata(tensors);
        write_again(tensors);
        read_features(path);
    }
    gr_tensor_file_free(tensors);
    fclose(file);
    return 0;
}
