/*
 * Small files as bytes, to make by hand, change and compare. A failure ends the test.
 */
#ifndef GR_TESTS_BYTES_H
#define GR_TESTS_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Zero-initialised is empty. */
struct gr_bytes {
    size_t length;
    unsigned char data[4096];
};

void gr_bytes_add(struct gr_bytes *bytes, const void *data, size_t length);
void gr_bytes_save(const struct gr_bytes *bytes, const char *path);
struct gr_bytes gr_bytes_load(const char *path);

/* A stream that gives them and has no size, as a pipe; for the caller to close. */
FILE *gr_bytes_pipe(const struct gr_bytes *bytes);

/* A safetensors file: the header's length as claimed, the header, data_length bytes 0, 1, 2, ... */
struct gr_bytes gr_bytes_safetensors(uint64_t length, const char *header, size_t data_length);

#endif
