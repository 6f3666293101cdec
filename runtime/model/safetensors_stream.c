/*
 * Tensors written piece by piece; see safetensors_stream.h.
 */
#include "model/safetensors_stream.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { PREFIX = 8 };

static bool fail(const struct gr_tensor_stream *stream, struct gr_error *err)
{
    return gr_fail_system(err, GR_ERR_RUNTIME, errno ? errno : EIO, "cannot write", stream->path);
}

bool gr_tensor_stream_open(struct gr_tensor_stream *stream, const char *path,
                           const struct gr_tensor *tensors, size_t count,
                           const char *const *metadata, size_t n_metadata, struct gr_error *err)
{
    char *header = gr_safetensors_header(path, tensors, count, metadata, n_metadata, err);
    *stream = (struct gr_tensor_stream){.path = path, .room = header ? strlen(header) : 0};
    free(header);
    if (!stream->room || !gr_replace_open(&stream->replace, path, err))
        return false;
    stream->spooled = !stream->replace.target; /* not a regular file, whose front can wait */
    stream->body = stream->spooled ? tmpfile() : stream->replace.file;
    if (!stream->body)
        return gr_fail_system(err, GR_ERR_RUNTIME, errno, "cannot create a temporary file for",
                              path);
    return stream->spooled || fseek(stream->body, (long)(PREFIX + stream->room), SEEK_SET) == 0 ||
           fail(stream, err);
}

bool gr_tensor_stream_put(struct gr_tensor_stream *stream, const void *data, size_t bytes,
                          struct gr_error *err)
{
    errno = 0;
    return fwrite(data, 1, bytes, stream->body) == bytes || fail(stream, err);
}

/* From the temporary file to what could not be written out of order. */
static bool copy_body(struct gr_tensor_stream *stream, struct gr_error *err)
{
    char buffer[1 << 16];
    size_t bytes;
    rewind(stream->body);
    while ((bytes = fread(buffer, 1, sizeof buffer, stream->body)) > 0)
        if (fwrite(buffer, 1, bytes, stream->replace.file) != bytes)
            return fail(stream, err);
    return !ferror(stream->body) || fail(stream, err);
}

/* Fills the room with the header and spaces, which JSON allows behind it. */
static bool write_header(struct gr_tensor_stream *stream, const char *header, struct gr_error *err)
{
    FILE *file = stream->replace.file;
    const size_t length = strlen(header);
    unsigned char prefix[PREFIX];
    assert(length <= stream->room);
    gr_safetensors_prefix(stream->room, prefix);
    bool done = stream->spooled || fseek(file, 0, SEEK_SET) == 0;
    done = done && fwrite(prefix, 1, sizeof prefix, file) == sizeof prefix &&
           fwrite(header, 1, length, file) == length;
    for (size_t i = length; done && i < stream->room; i++)
        done = putc(' ', file) != EOF;
    return done || fail(stream, err);
}

bool gr_tensor_stream_commit(struct gr_tensor_stream *stream, const struct gr_tensor *tensors,
                             size_t count, const char *const *metadata, size_t n_metadata,
                             struct gr_error *err)
{
    char *header = gr_safetensors_header(stream->path, tensors, count, metadata, n_metadata, err);
    errno = 0;
    const bool done = header && write_header(stream, header, err) &&
                      (!stream->spooled || copy_body(stream, err)) &&
                      gr_replace_commit(&stream->replace, err);
    free(header);
    return done;
}

void gr_tensor_stream_release(struct gr_tensor_stream *stream)
{
    if (stream->spooled && stream->body)
        fclose(stream->body);
    gr_replace_release(&stream->replace);
    *stream = (struct gr_tensor_stream){0};
}
