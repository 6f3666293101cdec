/*
 * Safetensors, the tensor file of the Python world: what graphrunner.h's gr_tensor_file_* read and
 * write.
 *
 *   8 bytes   n, the header's length, little-endian
 *   n bytes   JSON: {"__metadata__": {"key": "text"},
 *                    "name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...}
 *             beginning with "{", padded with spaces to a multiple of 8 when written
 *   the rest  the tensors' bytes, little-endian, row-major, at data_offsets from here: contiguous,
 *             neither holes nor overlaps, nothing behind the last
 *
 * Tensors are written as that world's own writer orders them: wider types first (F32, I32, BF16,
 * U8), then by name. Read, a tensor is one of our types: F64 and F16 become f32, BOOL u8, other
 * integers s32 (a value beyond its range is an error); other types are an error that names the
 * tensor. So are those of rank above GR_MAX_RANK. Tensors without elements are left out: nothing
 * here could use them.
 */
#ifndef GR_MODEL_SAFETENSORS_H
#define GR_MODEL_SAFETENSORS_H

#include "base/error.h"

#include <stdio.h>

/*
 * Bytes of a header, as everywhere; tensors in a file; JSON values in a header, which take some
 * hundred bytes of memory each; bytes of a tensor's name.
 */
enum {
    GR_SAFETENSORS_HEADER_MAX = 100000000,
    GR_SAFETENSORS_TENSORS_MAX = 100000,
    GR_SAFETENSORS_VALUES_MAX = 32 * GR_SAFETENSORS_TENSORS_MAX,
    GR_SAFETENSORS_NAME_MAX = 1024,
};

#define GR_SAFETENSORS_METADATA "__metadata__"

/*
 * The key of a checksum among the metadata: CRC-32 (zlib's) as eight hexadecimal digits, over all
 * bytes of the file with these digits as zeros. It belongs to the layout no more than other
 * metadata do. A file that has it is checked when it is read.
 */
#define GR_SAFETENSORS_CHECKSUM "graph-runner.crc32"

/* gr_tensor_file_write with a checksum as one more entry of the metadata. */
bool gr_safetensors_write_summed(const char *path, const struct gr_tensor *tensors, size_t count,
                                 const char *const *metadata, size_t n_metadata,
                                 struct gr_error *err);

#define GR_SAFETENSORS_NO_SUM "00000000"
enum { GR_SAFETENSORS_DIGITS = 8 };

/* Where the digits of the checksum stand in a header, or NULL. */
char *gr_safetensors_checksum(char *header, size_t length);

/*
 * The sum of all before the tensors, to go on with. The header is as before when it returns; false:
 * it has no checksum.
 */
bool gr_safetensors_sum(char *header, size_t length, unsigned long *sum);

/* The type's name in a file. */
const char *gr_safetensors_dtype(enum gr_dtype dtype);

/*
 * The header of a file of these tensors as text, padded, for the caller to free; their data are not
 * looked at. NULL and *err on failure. And the eight bytes before it.
 */
char *gr_safetensors_header(const char *path, const struct gr_tensor *tensors, size_t count,
                            const char *const *metadata, size_t n_metadata, struct gr_error *err);
void gr_safetensors_prefix(size_t length, unsigned char prefix[8]);

/*
 * gr_tensor_file_read from a stream, to its end; name stands for it in messages. A stream of known
 * size (a regular file) is checked before memory for the tensors is taken.
 */
struct gr_tensor_file *gr_tensor_file_read_stream(FILE *stream, const char *name,
                                                  struct gr_error *err);

/*
 * The same, but that tensor stays in the file if this is a regular one and the tensor's bytes need
 * no conversion: its data are then NULL, and *place is where in the file they begin; else -1.
 */
struct gr_tensor_file *gr_tensor_file_read_but(FILE *stream, const char *name, const char *tensor,
                                               int64_t *place, struct gr_error *err);

#endif
