/*
 * Reading data files; see files.h. zlib is included only here.
 */
#define _DEFAULT_SOURCE
#include "data/files.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

/* Deflate expands to 1032 times at most. Where that is much, a data set that is believed does less.
 */
enum { DEFLATE_MOST = 1040, DEFLATE_USUAL = 64, DEFLATE_FREE = 1 << 28 };

struct gr_data_file {
    gzFile gz;
    size_t size, position; /* bytes on disk; bytes read so far, unpacked */
    char path[];
};

static bool fail_open(const char *path, int number, struct gr_error *err)
{
    return gr_fail_system(err, GR_ERR_DATA, number, "cannot open", path);
}

/* A folder opens like a file, but cannot be read like one. */
bool gr_file_size(const char *path, size_t *size, struct gr_error *err)
{
    struct stat status;
    if (stat(path, &status) != 0)
        return fail_open(path, errno, err);
    if (!S_ISREG(status.st_mode))
        return fail_open(path, S_ISDIR(status.st_mode) ? EISDIR : EINVAL, err);
    *size = (size_t)status.st_size;
    return true;
}

struct gr_data_file *gr_data_file_open(const char *path, struct gr_error *err)
{
    size_t size, length = strlen(path) + 1;
    if (!gr_file_size(path, &size, err))
        return NULL;
    struct gr_data_file *file = calloc(1, sizeof *file + length);
    if (!file) {
        gr_fail_memory(err, "opening a data file");
        return NULL;
    }
    memcpy(file->path, path, length);
    file->size = size;
    errno = 0;
    file->gz = gzopen(path, "rb");
    if (!file->gz) {
        fail_open(path, errno ? errno : ENOMEM, err);
        free(file);
        return NULL;
    }
    gzbuffer(file->gz, 1 << 17);
    return file;
}

void gr_data_file_close(struct gr_data_file *file)
{
    if (file)
        gzclose_r(file->gz);
    free(file);
}

static bool fail_read(struct gr_data_file *file, size_t missing, struct gr_error *err)
{
    int code = Z_OK;
    const char *text = gzerror(file->gz, &code);
    if (code == Z_ERRNO)
        return gr_fail_system(err, GR_ERR_DATA, errno, "cannot read", file->path);
    if (code == Z_MEM_ERROR)
        return gr_fail_memory(err, file->path);
    if (code == Z_OK || code == Z_BUF_ERROR)
        return gr_fail(err, GR_ERR_DATA,
                       "%s: truncated: the file ends %zu bytes early: fetch it again", file->path,
                       missing);
    return gr_fail(err, GR_ERR_DATA, "%s: damaged gzip data: %s: fetch it again", file->path, text);
}

bool gr_data_file_read(struct gr_data_file *file, void *data, size_t bytes, struct gr_error *err)
{
    uint8_t *to = data;
    while (bytes) {
        const unsigned most = 1u << 30;
        const int got = gzread(file->gz, to, bytes < most ? (unsigned)bytes : most);
        if (got <= 0)
            return fail_read(file, bytes, err);
        to += got;
        bytes -= (size_t)got;
        file->position += (size_t)got;
    }
    return true;
}

int64_t gr_data_file_size(struct gr_data_file *file)
{
    return gzdirect(file->gz) ? (int64_t)file->size : -1;
}

bool gr_data_file_expect(struct gr_data_file *file, size_t bytes, struct gr_error *err)
{
    const bool direct = gzdirect(file->gz);
    const size_t left = file->size - (direct ? file->position : 0);
    if (!direct && bytes > DEFLATE_FREE && bytes / DEFLATE_USUAL > left &&
        bytes / DEFLATE_MOST <= left)
        return gr_fail(
            err, GR_ERR_DATA,
            "%s: its header announces %zu bytes, packed into %zu: unpack it first if you "
            "trust it",
            file->path, bytes, left);
    if (direct ? bytes <= left : bytes / DEFLATE_MOST <= left)
        return true;
    return gr_fail(err, GR_ERR_DATA,
                   "%s: truncated: its header announces %zu bytes, the file has %zu: fetch it "
                   "again",
                   file->path, bytes, left);
}

bool gr_data_file_end(struct gr_data_file *file, struct gr_error *err)
{
    char byte;
    int code = Z_OK;
    const int got = gzread(file->gz, &byte, 1);
    if (got < 0)
        return fail_read(file, 0, err);
    if (got == 0)
        gzerror(file->gz, &code);
    if (code == Z_BUF_ERROR)
        return gr_fail(err, GR_ERR_DATA,
                       "%s: truncated: the end of its gzip data, with their checksum, is missing: "
                       "fetch it again",
                       file->path);
    if (got > 0)
        return gr_fail(err, GR_ERR_DATA, "%s: longer than its header announces: fetch it again",
                       file->path);
    return true;
}

ssize_t gr_file_pread(int file, void *data, size_t bytes, int64_t offset)
{
    size_t done = 0;
    while (done < bytes) {
        const ssize_t got =
            pread(file, (uint8_t *)data + done, bytes - done, (off_t)(offset + (int64_t)done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return (ssize_t)done;
}

/* Up to bytes of the file into the buffer; how many there were in *size. */
static bool read_part(const char *path, int64_t offset, size_t bytes, struct gr_buffer *buffer,
                      size_t *size, struct gr_error *err)
{
    uint8_t *data = gr_buffer_reserve(buffer, bytes);
    if (!data)
        return gr_fail_memory(err, "reading a data file");
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return fail_open(path, errno, err);
    const ssize_t got = gr_file_pread(file, data, bytes, offset);
    const int number = errno;
    close(file);
    if (got < 0)
        return gr_fail_system(err, GR_ERR_DATA, number, "cannot read", path);
    *size = (size_t)got;
    return true;
}

bool gr_file_read_whole(const char *path, size_t most, struct gr_buffer *buffer, size_t *size,
                        struct gr_error *err)
{
    size_t bytes;
    if (!gr_file_size(path, &bytes, err))
        return false;
    if (bytes > most)
        return gr_fail(err, GR_ERR_DATA, "%s: %zu bytes are more than the %zu allowed", path, bytes,
                       most);
    return read_part(path, 0, bytes, buffer, size, err);
}

bool gr_file_read_part(const char *path, int64_t offset, size_t bytes, struct gr_buffer *buffer,
                       struct gr_error *err)
{
    size_t size;
    if (!read_part(path, offset, bytes, buffer, &size, err))
        return false;
    if (size == bytes)
        return true;
    return gr_fail(err, GR_ERR_DATA,
                   "%s: truncated: it has no %zu bytes at offset %" PRId64 ": fetch it again", path,
                   bytes, offset);
}

void gr_file_announce(const char *path, int64_t offset, int64_t bytes)
{
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return; /* reading will say so */
    posix_fadvise(file, (off_t)offset, (off_t)bytes, POSIX_FADV_WILLNEED);
    close(file);
}

/* That it is text, of lines that are not endless. */
static bool check_text(const char *path, const char *text, size_t size, struct gr_error *err)
{
    int64_t line = 1;
    size_t length = 0;
    for (size_t i = 0; i < size; i++) {
        if (!text[i])
            return gr_fail(err, GR_ERR_DATA, "%s:%" PRId64 ": a zero byte: not a text file", path,
                           line);
        length = text[i] == '\n' ? 0 : length + 1;
        line += text[i] == '\n';
        if (length > GR_LINE_BYTES_MAX)
            return gr_fail(err, GR_ERR_DATA,
                           "%s:%" PRId64 ": the line is longer than the %d bytes allowed", path,
                           line, GR_LINE_BYTES_MAX);
    }
    return true;
}

/* Cuts text into lines in place. */
static const char **split(char *text, struct gr_pool *pool, int64_t *count)
{
    size_t lines = 0;
    for (const char *p = text; *p; p++)
        lines += *p == '\n' || !p[1];
    const char **line = gr_pool_array(pool, lines + 1, sizeof *line);
    if (!line)
        return NULL;
    for (size_t i = 0; i < lines; i++) {
        line[i] = text;
        const size_t length = strcspn(text, "\n");
        char *end = text + length;
        text = end + (*end != 0);
        *end = 0;
        if (length && end[-1] == '\r')
            end[-1] = 0;
    }
    *count = (int64_t)lines;
    return line;
}

const char **gr_file_lines(const char *path, size_t most, struct gr_pool *pool, int64_t *count,
                           struct gr_error *err)
{
    struct gr_buffer buffer = {0};
    const char **lines = NULL;
    size_t size;
    if (!gr_file_read_whole(path, most, &buffer, &size, err) ||
        !check_text(path, (const char *)buffer.data, size, err))
        goto out;
    char *text = gr_pool_strndup(pool, (const char *)buffer.data, size);
    lines = text ? split(text, pool, count) : NULL;
    if (!lines)
        gr_fail_memory(err, "reading a text file");
out:
    gr_buffer_release(&buffer);
    return lines;
}
