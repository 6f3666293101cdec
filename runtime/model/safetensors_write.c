/*
 * Writing safetensors; see safetensors.h for the layout. The header is complete before the first
 * byte is written, so that the tensors stream from where they are.
 */
#include "model/safetensors.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/json.h"
#include "base/replace.h"
#include "base/shape.h"

/* The order of types in a file: the more bytes the sooner, as alignment wants it. */
static const int dtype_order[GR_DTYPE_COUNT] = {
    [GR_F32] = 0, [GR_S32] = 1, [GR_BF16] = 2, [GR_U8] = 3};

static int compare(const void *left, const void *right)
{
    const struct gr_tensor *a = *(const struct gr_tensor *const *)left;
    const struct gr_tensor *b = *(const struct gr_tensor *const *)right;
    const int order = dtype_order[a->dtype] - dtype_order[b->dtype];
    return order ? order : strcmp(a->name, b->name);
}

static size_t tensor_bytes(const struct gr_tensor *tensor)
{
    return (size_t)gr_shape_count(&tensor->shape) * gr_dtype_size(tensor->dtype);
}

static bool add_metadata(json_t *header, const char *path, const char *const *metadata,
                         size_t n_metadata, struct gr_error *err)
{
    if (!n_metadata)
        return true;
    json_t *object = json_object();
    if (json_object_set_new(header, GR_SAFETENSORS_METADATA, object) != 0)
        return gr_fail_memory(err, "a header of tensors");
    for (size_t i = 0; i < 2 * n_metadata; i += 2) {
        if (json_object_get(object, metadata[i]))
            return gr_fail(err, GR_ERR_USAGE, "%s: metadata '%s' is given twice", path,
                           metadata[i]);
        if (!gr_json_set_text(object, metadata[i], metadata[i + 1], err))
            return gr_fail(err, GR_ERR_USAGE, "%s: metadata '%s' is not UTF-8", path, metadata[i]);
    }
    return true;
}

/* Adds the tensor's entry; *offset is where its bytes begin, then where they end. */
static bool add_tensor(json_t *header, const char *path, const struct gr_tensor *tensor,
                       json_int_t *offset, struct gr_error *err)
{
    if (strcmp(tensor->name, GR_SAFETENSORS_METADATA) == 0)
        return gr_fail(err, GR_ERR_USAGE, "%s: a tensor cannot be named '%s'", path, tensor->name);
    if (strlen(tensor->name) > GR_SAFETENSORS_NAME_MAX)
        return gr_fail(err, GR_ERR_USAGE,
                       "%s: the name of tensor '%.40s...' is longer than %d bytes", path,
                       tensor->name, GR_SAFETENSORS_NAME_MAX);
    if (json_object_size(header) > GR_SAFETENSORS_TENSORS_MAX)
        return gr_fail(err, GR_ERR_USAGE, "%s: more tensors than the %d that a file may hold", path,
                       GR_SAFETENSORS_TENSORS_MAX);
    if (json_object_get(header, tensor->name))
        return gr_fail(err, GR_ERR_USAGE, "%s: two tensors are named '%s'", path, tensor->name);
    if (!gr_shape_check(&tensor->shape) || tensor_bytes(tensor) > (uint64_t)(INT64_MAX - *offset))
        return gr_fail(err, GR_ERR_USAGE, "%s: tensor '%s' is empty or too large", path,
                       tensor->name);
    const json_int_t end = *offset + (json_int_t)tensor_bytes(tensor);
    json_t *shape = json_array();
    for (int i = 0; i < tensor->shape.rank; i++)
        gr_json_append(&shape, json_integer(tensor->shape.dim[i]));
    json_t *entry = json_pack("{s:s, s:o, s:[I, I]}", "dtype", gr_safetensors_dtype(tensor->dtype),
                              "shape", shape, "data_offsets", *offset, end);
    *offset = end;
    if (!entry)
        return gr_fail_memory(err, "a header of tensors");
    errno = 0;
    if (json_object_set_new(header, tensor->name, entry) != 0)
        return errno == ENOMEM
                   ? gr_fail_memory(err, "a header of tensors")
                   : gr_fail(err, GR_ERR_USAGE, "%s: a tensor's name is not UTF-8: '%s'", path,
                             tensor->name);
    return true;
}

/* The padded header as text, for the caller to free; NULL and *err on failure. */
static char *header_of(const char *path, const struct gr_tensor *const *tensors, size_t count,
                       const char *const *metadata, size_t n_metadata, struct gr_error *err)
{
    char *padded = NULL, *text = NULL;
    json_int_t offset = 0;
    json_t *header = json_object();
    bool ok = header ? true : gr_fail_memory(err, "a header of tensors");
    ok = ok && add_metadata(header, path, metadata, n_metadata, err);
    for (size_t i = 0; ok && i < count; i++)
        ok = add_tensor(header, path, tensors[i], &offset, err);
    if (!ok)
        goto out;
    text = gr_json_dump(header, JSON_COMPACT);
    const size_t length = text ? strlen(text) : 0, whole = (length + 7) / 8 * 8;
    padded = text ? malloc(whole + 1) : NULL;
    if (!padded) {
        gr_fail_memory(err, "a header of tensors");
        goto out;
    }
    memset(padded, ' ', whole);
    memcpy(padded, text, length);
    padded[whole] = '\0';
    if (whole > GR_SAFETENSORS_HEADER_MAX) {
        gr_fail(err, GR_ERR_USAGE, "%s: header of %zu bytes is longer than the %d allowed", path,
                whole, (int)GR_SAFETENSORS_HEADER_MAX);
        free(padded);
        padded = NULL;
    }
out:
    free(text);
    json_decref(header);
    return padded;
}

/* Pointers to the tensors in the order of a file; heap. */
static const struct gr_tensor **sort(const struct gr_tensor *tensors, size_t count,
                                     struct gr_error *err)
{
    const struct gr_tensor **sorted = calloc(count ? count : 1, sizeof *sorted);
    if (!sorted) {
        gr_fail_memory(err, "a table of tensors");
        return NULL;
    }
    for (size_t i = 0; i < count; i++)
        sorted[i] = &tensors[i];
    qsort(sorted, count, sizeof *sorted, compare);
    return sorted;
}

char *gr_safetensors_header(const char *path, const struct gr_tensor *tensors, size_t count,
                            const char *const *metadata, size_t n_metadata, struct gr_error *err)
{
    const struct gr_tensor **sorted = sort(tensors, count, err);
    char *header = sorted ? header_of(path, sorted, count, metadata, n_metadata, err) : NULL;
    free(sorted);
    return header;
}

void gr_safetensors_prefix(size_t length, unsigned char prefix[8])
{
    for (int i = 0; i < 8; i++)
        prefix[i] = (unsigned char)((uint64_t)length >> (8 * i));
}

/* ---- the checksum ------------------------------------------------------------------------ */

/* Puts the checksum of the file to be into its header. */
static void sum_up(char *header, const struct gr_tensor *const *tensors, size_t count)
{
    const size_t length = strlen(header);
    char digits[GR_SAFETENSORS_DIGITS + 1];
    unsigned long sum;
    gr_safetensors_sum(header, length, &sum);
    for (size_t i = 0; i < count; i++)
        sum = crc32_z(sum, tensors[i]->data, tensor_bytes(tensors[i]));
    snprintf(digits, sizeof digits, "%08lx", sum);
    memcpy(gr_safetensors_checksum(header, length), digits, GR_SAFETENSORS_DIGITS);
}

/* The metadata with room for a checksum, on the heap; NULL: out of memory. */
static const char **with_sum(const char *const *metadata, size_t n_metadata, struct gr_error *err)
{
    const char **more = calloc(2 * n_metadata + 2, sizeof *more);
    if (!more) {
        gr_fail_memory(err, "a header of tensors");
        return NULL;
    }
    if (n_metadata)
        memcpy(more, metadata, 2 * n_metadata * sizeof *more);
    more[2 * n_metadata] = GR_SAFETENSORS_CHECKSUM;
    more[2 * n_metadata + 1] = GR_SAFETENSORS_NO_SUM;
    return more;
}

/* ---- the file ---------------------------------------------------------------------------- */

static bool put(FILE *file, const void *data, size_t bytes)
{
    return fwrite(data, 1, bytes, file) == bytes;
}

static bool put_all(FILE *file, const char *header, const struct gr_tensor *const *tensors,
                    size_t count)
{
    const size_t length = strlen(header);
    unsigned char prefix[8];
    gr_safetensors_prefix(length, prefix);
    bool ok = put(file, prefix, sizeof prefix) && put(file, header, length);
    for (size_t i = 0; ok && i < count; i++)
        ok = put(file, tensors[i]->data, tensor_bytes(tensors[i]));
    return ok;
}

static bool write_file(const char *path, const struct gr_tensor *tensors, size_t count,
                       const char *const *metadata, size_t n_metadata, bool summed,
                       struct gr_error *err)
{
    bool ok = false;
    char *header = NULL;
    struct gr_replace replace = {0};
    const struct gr_tensor **sorted = sort(tensors, count, err);
    if (!sorted)
        return false;
    header = header_of(path, sorted, count, metadata, n_metadata, err);
    if (!header)
        goto out;
    if (summed)
        sum_up(header, sorted, count);
    if (!gr_replace_open(&replace, path, err))
        goto out;
    errno = 0;
    ok = put_all(replace.file, header, sorted, count)
             ? gr_replace_commit(&replace, err)
             : gr_fail_system(err, GR_ERR_RUNTIME, errno ? errno : EIO, "cannot write", path);
out:
    gr_replace_release(&replace);
    free(header);
    free(sorted);
    return ok;
}

bool gr_tensor_file_write(const char *path, const struct gr_tensor *tensors, size_t count,
                          const char *const *metadata, size_t n_metadata, struct gr_error *err)
{
    return write_file(path, tensors, count, metadata, n_metadata, false, err);
}

bool gr_safetensors_write_summed(const char *path, const struct gr_tensor *tensors, size_t count,
                                 const char *const *metadata, size_t n_metadata,
                                 struct gr_error *err)
{
    const char **more = with_sum(metadata, n_metadata, err);
    const bool ok = more && write_file(path, tensors, count, more, n_metadata + 1, true, err);
    free(more);
    return ok;
}
