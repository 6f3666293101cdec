/*
 * A file of tensors written piece by piece, where how many rows there will be is known only at the
 * end: room for the header is left at the front, the tensors' bytes follow as they come, and the
 * header is written last. Like all files it appears whole or not at all.
 */
#ifndef GR_MODEL_SAFETENSORS_STREAM_H
#define GR_MODEL_SAFETENSORS_STREAM_H

#include "base/replace.h"
#include "model/safetensors.h"

/* Zero-initialised is nothing open. */
struct gr_tensor_stream {
    struct gr_replace replace;
    const char *path; /* borrowed */
    FILE *body;       /* where the bytes of tensors go */
    bool spooled;     /* that is a temporary file, as the file cannot be written out of order */
    size_t room;      /* bytes of the header */
};

/*
 * Opens path ("-": standard output) for tensors of at most these shapes and metadata no longer than
 * this, whose data are not looked at.
 */
bool gr_tensor_stream_open(struct gr_tensor_stream *stream, const char *path,
                           const struct gr_tensor *tensors, size_t count,
                           const char *const *metadata, size_t n_metadata, struct gr_error *err);

/*
 * The next bytes: tensor after tensor, in the order that safetensors.h gives them. Fails as soon as
 * the disk is full.
 */
bool gr_tensor_stream_put(struct gr_tensor_stream *stream, const void *data, size_t bytes,
                          struct gr_error *err);

/* Writes the header for what has been put, and makes it the file at path. */
bool gr_tensor_stream_commit(struct gr_tensor_stream *stream, const struct gr_tensor *tensors,
                             size_t count, const char *const *metadata, size_t n_metadata,
                             struct gr_error *err);

/* Ends it; without a commit, no trace is left. */
void gr_tensor_stream_release(struct gr_tensor_stream *stream);

#endif
