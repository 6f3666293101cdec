/*
 * Writes tar archives for tests, member by member, in memory: also ones that no program would make.
 */
#ifndef GR_TESTS_MAKE_TAR_H
#define GR_TESTS_MAKE_TAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zero-initialised is empty. bytes is on the heap. */
struct gr_make_tar {
    uint8_t *bytes;
    size_t size;
};

/* A header of this type ('0': a file) followed by its data; returns the header's offset. */
size_t gr_make_tar_add(struct gr_make_tar *tar, char type, const char *name, const void *data,
                       size_t size);

/* The same for a file on disk. */
void gr_make_tar_add_file(struct gr_make_tar *tar, const char *name, const char *path);

/* Computes the checksum of the header at that offset again. */
void gr_make_tar_seal(struct gr_make_tar *tar, size_t header);

/* The two blocks of zeros at the end. */
void gr_make_tar_end(struct gr_make_tar *tar);

void gr_make_tar_write(const struct gr_make_tar *tar, const char *path);
void gr_make_tar_release(struct gr_make_tar *tar);

#endif
