/*
 * Small files as bytes; see bytes.h.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* pipe, fdopen */
#endif
#include "bytes.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <string.h>
#include <unistd.h>

void gr_bytes_add(struct gr_bytes *bytes, const void *data, size_t length)
{
    assert_true(length <= sizeof bytes->data - bytes->length);
    if (length)
        memcpy(bytes->data + bytes->length, data, length);
    bytes->length += length;
}

void gr_bytes_save(const struct gr_bytes *bytes, const char *path)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes->data, 1, bytes->length, file), bytes->length);
    assert_int_equal(fclose(file), 0);
}

struct gr_bytes gr_bytes_load(const char *path)
{
    struct gr_bytes bytes = {0};
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    bytes.length = fread(bytes.data, 1, sizeof bytes.data, file);
    assert_true(bytes.length < sizeof bytes.data);
    fclose(file);
    return bytes;
}

FILE *gr_bytes_pipe(const struct gr_bytes *bytes)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], bytes->data, bytes->length), bytes->length);
    close(ends[1]);
    FILE *stream = fdopen(ends[0], "rb");
    assert_non_null(stream);
    return stream;
}

struct gr_bytes gr_bytes_safetensors(uint64_t length, const char *header, size_t data_length)
{
    struct gr_bytes bytes = {0};
    for (int i = 0; i < 8; i++)
        gr_bytes_add(&bytes, &(unsigned char){(unsigned char)(length >> (8 * i))}, 1);
    gr_bytes_add(&bytes, header, strlen(header));
    for (size_t i = 0; i < data_length; i++)
        gr_bytes_add(&bytes, &(unsigned char){(unsigned char)i}, 1);
    return bytes;
}
