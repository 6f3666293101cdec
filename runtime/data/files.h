/*
 * Reading data files: records from a file that may be gzipped, a whole small file, the lines of a
 * text. All failures are GR_ERR_DATA and name the file.
 */
#ifndef GR_DATA_FILES_H
#define GR_DATA_FILES_H

#include "base/pool.h"
#include "data/image.h"

#include <sys/types.h>

/* A file read from front to end; gzip is recognised by its content and unpacked. */
struct gr_data_file;

struct gr_data_file *gr_data_file_open(const char *path, struct gr_error *err);
void gr_data_file_close(struct gr_data_file *file); /* NULL is allowed */

/* Exactly bytes of them; fewer is "truncated". */
bool gr_data_file_read(struct gr_data_file *file, void *data, size_t bytes, struct gr_error *err);

/*
 * Whether the rest of the file can be that many bytes, as a header claims: exactly for a plain
 * file, at most what deflate can expand to for a gzipped one. So no header makes us allocate more
 * than the file could fill.
 */
bool gr_data_file_expect(struct gr_data_file *file, size_t bytes, struct gr_error *err);

/* Fails when bytes are left. */
bool gr_data_file_end(struct gr_data_file *file, struct gr_error *err);

/* The bytes of a plain file, or -1 for a gzipped one. */
int64_t gr_data_file_size(struct gr_data_file *file);

/* The bytes of a regular file. */
bool gr_file_size(const char *path, size_t *size, struct gr_error *err);

/* As many of the bytes as an open file has from offset on; -1 and errno on failure. */
ssize_t gr_file_pread(int file, void *data, size_t bytes, int64_t offset);

/* All of a file of at most `most` bytes into the buffer; its length in *size. */
bool gr_file_read_whole(const char *path, size_t most, struct gr_buffer *buffer, size_t *size,
                        struct gr_error *err);

/* bytes of a file from offset on into the buffer. */
bool gr_file_read_part(const char *path, int64_t offset, size_t bytes, struct gr_buffer *buffer,
                       struct gr_error *err);

/* Has the disk read bytes of a file, in its own time, since they are wanted soon. */
void gr_file_announce(const char *path, int64_t offset, int64_t bytes);

/* Bounds of text files: a list of a million images with their paths is a tenth of the first. */
enum { GR_LIST_BYTES_MAX = 1 << 30, GR_LINE_BYTES_MAX = 1 << 16 };

/*
 * The lines of a text file of at most `most` bytes without their ends (\n or \r\n), in the pool; a
 * last empty one is left out. NULL on failure.
 */
const char **gr_file_lines(const char *path, size_t most, struct gr_pool *pool, int64_t *count,
                           struct gr_error *err);

#endif
