/*
 * Writes tar archives for tests; see make_tar.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "make_tar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 512 };

/* Zeroed room for size bytes at the end, in whole blocks. */
static uint8_t *grow(struct gr_make_tar *tar, size_t size)
{
    const size_t blocks = (size + BLOCK - 1) / BLOCK * BLOCK;
    tar->bytes = realloc(tar->bytes, tar->size + blocks + 1);
    assert_non_null(tar->bytes);
    uint8_t *at = tar->bytes + tar->size;
    memset(at, 0, blocks);
    tar->size += blocks;
    return at;
}

void gr_make_tar_seal(struct gr_make_tar *tar, size_t header)
{
    uint8_t *at = tar->bytes + header;
    char text[8];
    unsigned sum = 0;
    memset(at + 148, ' ', 8);
    for (int i = 0; i < BLOCK; i++)
        sum += at[i];
    snprintf(text, sizeof text, "%06o", sum & 0777777);
    memcpy(at + 148, text, 7);
}

size_t gr_make_tar_add(struct gr_make_tar *tar, char type, const char *name, const void *data,
                       size_t size)
{
    const size_t header = tar->size;
    uint8_t *at = grow(tar, BLOCK);
    char number[16];
    assert_true(strlen(name) <= 100);
    memcpy(at, name, strlen(name));
    memcpy(at + 100, "0000644", 7);
    snprintf(number, sizeof number, "%011zo", size);
    memcpy(at + 124, number, 11);
    at[156] = (uint8_t)type;
    memcpy(at + 257,
           "ustar\0"
           "00",
           8);
    gr_make_tar_seal(tar, header);
    if (size)
        memcpy(grow(tar, size), data, size);
    return header;
}

void gr_make_tar_add_file(struct gr_make_tar *tar, const char *name, const char *path)
{
    static uint8_t bytes[1 << 20];
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    const size_t size = fread(bytes, 1, sizeof bytes, file);
    assert_true(size < sizeof bytes);
    assert_int_equal(fclose(file), 0);
    gr_make_tar_add(tar, '0', name, bytes, size);
}

void gr_make_tar_end(struct gr_make_tar *tar)
{
    grow(tar, 2 * BLOCK);
}

void gr_make_tar_write(const struct gr_make_tar *tar, const char *path)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(tar->bytes, 1, tar->size, file), tar->size);
    assert_int_equal(fclose(file), 0);
}

void gr_make_tar_release(struct gr_make_tar *tar)
{
    free(tar->bytes);
    *tar = (struct gr_make_tar){0};
}
