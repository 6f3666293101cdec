/*
 * Writing tar archives: headers in the form that every program reads (ustar), with no owner and no
 * time, so that the same files make the same archive.
 */
#ifndef GR_DATA_TAR_WRITE_H
#define GR_DATA_TAR_WRITE_H

#include <stddef.h>
#include <stdint.h>

enum {
    GR_TAR_BLOCK = 512,
    GR_TAR_NAME_MAX = 99,
    GR_TAR_END = 1024 /* zeros that end an archive */
};

/* The header of a regular file; the name is at most GR_TAR_NAME_MAX bytes, size below 8 GiB. */
void gr_tar_header(const char *name, size_t size, uint8_t block[GR_TAR_BLOCK]);

/* Zeros that follow a file's bytes, up to the next block. */
size_t gr_tar_padding(size_t size);

#endif
