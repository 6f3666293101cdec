/*
 * Reading tar archives in place: where each member's bytes lie, so that they can be read later, in
 * any order and from any thread. Of our own, since archive libraries read from front to back.
 *
 * Understood are ustar, GNU's long names and large sizes, and pax headers (path, size). Nothing is
 * believed: numbers are checked against what the archive can hold, headers by their checksums, and
 * an archive without its end was cut short. Links, devices and folders are passed over.
 */
#ifndef GR_DATA_TAR_H
#define GR_DATA_TAR_H

#include "data/image.h"

enum { GR_TAR_NAME_BYTES_MAX = 4096 };

/* An archive: size bytes from offset on in a file. Texts are borrowed. */
struct gr_tar {
    const char *path;
    const char *title; /* for messages: the path, or "train.tar:n01440764.tar" */
    int64_t offset, size;
};

/* A file in it. The name ends with the call that gets it; offset is from the start of the path. */
struct gr_tar_member {
    const char *name; /* without "./" before it */
    int64_t offset, size;
    int file; /* open while the archive is scanned */
    const struct gr_tar *tar;
};

/* The whole of the file at path, as an archive. GR_ERR_DATA if there is none. */
bool gr_tar_open(const char *path, struct gr_tar *tar, struct gr_error *err);

/*
 * Calls each for every regular file, in the order of the archive, until one returns false (with
 * *err set). Fails with GR_ERR_DATA, naming archive and offset.
 */
bool gr_tar_scan(const struct gr_tar *tar,
                 bool (*each)(void *user, const struct gr_tar_member *member, struct gr_error *err),
                 void *user, struct gr_error *err);

/* All of a member of at most `most` bytes into the buffer, from within `each`. */
bool gr_tar_read(const struct gr_tar_member *member, size_t most, struct gr_buffer *buffer,
                 struct gr_error *err);

#endif
