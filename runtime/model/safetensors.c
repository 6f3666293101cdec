/*
 * Reading safetensors; see safetensors.h for the layout. The file is not trusted: every number in
 * the header is checked against the others and, where it can be known, the file's size before
 * memory is taken. Since tensors are contiguous, one pass from front to end reads them, each to its
 * aligned place, from a file or a pipe alike. One of a file may be passed over, for the caller to
 * read piece by piece.
 */
#include "model/safetensors.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/json.h"
#include "base/map.h"
#include "base/pool.h"
#include "base/shape.h"
#include "model/safetensors_types.h"

enum { ALIGN = 64 };

struct gr_tensor_file {
    struct gr_pool pool;
    struct gr_tensor *tensors; /* [count], in the order of their bytes */
    size_t count;
    struct gr_map by_name, metadata;
    void *data; /* of all tensors, each aligned */
};

/* A tensor as the header tells of it. */
struct entry {
    struct gr_tensor tensor;
    const struct gr_safetensors_type *type;
    int64_t begin, end; /* bytes in the file, from the end of the header */
};

/* A file being read. */
struct reading {
    FILE *stream;
    const char *name;
    int64_t left; /* bytes not yet read, or -1: unknown */
    struct gr_tensor_file *file;
    struct entry *entries; /* [file->count] */
    const char *leave;     /* a tensor that may stay in the file, or NULL */
    int64_t left_at;       /* where its bytes begin, -1: it was read */
    bool summed;           /* it has a checksum */
    unsigned long sum;     /* of the bytes so far */
    struct gr_error *err;
};

/* Text from the file for a message: short, and one line whatever is in it. */
struct quoted {
    char text[84];
};

static struct quoted quote(const char *text)
{
    struct quoted quoted;
    size_t i = 0;
    for (; text[i] && i < sizeof quoted.text - 4; i++)
        quoted.text[i] = (unsigned char)text[i] < ' ' || text[i] == 0x7f ? '?' : text[i];
    if (text[i])
        while (i && ((unsigned char)text[i] & 0xc0) == 0x80) /* not within a character */
            i--;
    strcpy(quoted.text + i, text[i] ? "..." : "");
    return quoted;
}

static bool fail(const struct reading *in, const char *tensor, const char *format, ...)
    GR_PRINTF(3, 4);

/* "NAME: tensor 'TENSOR': ..." or, without a tensor, "NAME: ...". */
static bool fail(const struct reading *in, const char *tensor, const char *format, ...)
{
    char what[512];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    if (!tensor)
        return gr_fail(in->err, GR_ERR_DATA, "%s: %s", in->name, what);
    return gr_fail(in->err, GR_ERR_DATA, "%s: tensor '%s': %s", in->name, quote(tensor).text, what);
}

/* Reads exactly that many bytes; false: the file ended (no error set) or failed (error set). */
static bool take(struct reading *in, void *data, size_t bytes)
{
    errno = 0;
    if (bytes && fread(data, 1, bytes, in->stream) != bytes) {
        if (ferror(in->stream))
            gr_fail_system(in->err, GR_ERR_RUNTIME, errno ? errno : EIO, "cannot read", in->name);
        return false;
    }
    if (in->left >= 0)
        in->left -= (int64_t)bytes;
    if (in->summed)
        in->sum = crc32_z(in->sum, data, bytes);
    return true;
}

/* ---- the header -------------------------------------------------------------------------- */

/* Are there no more values than allowed? Each but the first has one of these signs before it. */
static bool check_values(const struct reading *in, const char *text, size_t length)
{
    size_t values = 0;
    bool quoted_text = false;
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '"')
            quoted_text = !quoted_text;
        else if (quoted_text)
            i += text[i] == '\\';
        else
            values += text[i] == ',' || text[i] == '[' || text[i] == '{';
    }
    return values <= GR_SAFETENSORS_VALUES_MAX
               ? true
               : fail(in, NULL, "header holds %zu values, more than the %d allowed", values,
                      GR_SAFETENSORS_VALUES_MAX);
}

static json_t *parse_header(struct reading *in, const char *text, size_t length)
{
    json_error_t problem;
    if (text[0] != '{') {
        fail(in, NULL, "header does not begin with '{': not a safetensors file");
        return NULL;
    }
    if (!check_values(in, text, length))
        return NULL;
    json_t *header = gr_json_parse(text, length, JSON_REJECT_DUPLICATES, &problem, in->err);
    if (!header)
        fail(in, NULL, "header is not valid JSON: %s (byte %d)", quote(problem.text).text,
             problem.position);
    return header;
}

/* The header as JSON, for the caller to drop; NULL and an error on failure. */
static json_t *read_header(struct reading *in)
{
    unsigned char prefix[8];
    uint64_t length = 0;
    if (!take(in, prefix, sizeof prefix)) {
        fail(in, NULL, "too short for a safetensors file");
        return NULL;
    }
    for (int i = 0; i < 8; i++)
        length |= (uint64_t)prefix[i] << (8 * i);
    if (length > GR_SAFETENSORS_HEADER_MAX) {
        fail(in, NULL, "header of %" PRIu64 " bytes is longer than the %d allowed", length,
             (int)GR_SAFETENSORS_HEADER_MAX);
        return NULL;
    }
    if (length < 2 || (in->left >= 0 && length > (uint64_t)in->left)) {
        fail(in, NULL, "header of %" PRIu64 " bytes does not fit the file", length);
        return NULL;
    }
    char *text = malloc(length);
    json_t *header = NULL;
    if (!text)
        gr_fail_memory(in->err, "a header of tensors");
    else if (!take(in, text, length))
        fail(in, NULL, "header of %" PRIu64 " bytes does not fit the file", length);
    else if ((header = parse_header(in, text, length)))
        in->summed = gr_safetensors_sum(text, length, &in->sum);
    free(text);
    return header;
}

static bool read_metadata(struct reading *in, json_t *object)
{
    const char *key;
    json_t *value;
    if (!json_is_object(object))
        return fail(in, NULL, "%s is not an object", GR_SAFETENSORS_METADATA);
    json_object_foreach(object, key, value)
    {
        if (!json_is_string(value))
            return fail(in, NULL, "metadata '%s' is not a string", quote(key).text);
        char *name = gr_pool_strdup(&in->file->pool, key);
        char *text = gr_pool_strdup(&in->file->pool, json_string_value(value));
        if (!name || !text || !gr_map_put(&in->file->metadata, name, text))
            return gr_fail_memory(in->err, "metadata of tensors");
    }
    return true;
}

/* Has it no elements? */
static bool is_empty(const struct gr_shape *shape)
{
    bool empty = false;
    for (int i = 0; i < shape->rank; i++)
        empty = empty || shape->dim[i] == 0;
    return empty;
}

static bool read_shape(struct reading *in, const char *name, const json_t *array,
                       struct gr_shape *shape)
{
    if (!json_is_array(array))
        return fail(in, name, "shape is missing or not a list");
    const size_t rank = json_array_size(array);
    if (rank > GR_MAX_RANK)
        return fail(in, name, "has %zu dimensions, more than the %d supported", rank, GR_MAX_RANK);
    shape->rank = (int)rank;
    for (size_t i = 0; i < rank; i++) {
        const json_t *dim = json_array_get(array, i);
        if (!json_is_integer(dim) || json_integer_value(dim) < 0)
            return fail(in, name, "dimension %zu is not a whole number", i);
        shape->dim[i] = json_integer_value(dim);
    }
    return is_empty(shape) || gr_shape_check(shape) ? true : fail(in, name, "shape is too large");
}

static bool read_offsets(struct reading *in, const char *name, const json_t *array,
                         struct entry *entry)
{
    const json_t *begin = json_array_get(array, 0), *end = json_array_get(array, 1);
    if (json_array_size(array) != 2 || !json_is_integer(begin) || !json_is_integer(end))
        return fail(in, name, "data_offsets is not a list of two whole numbers");
    entry->begin = json_integer_value(begin);
    entry->end = json_integer_value(end);
    if (entry->begin < 0 || entry->begin > entry->end)
        return fail(in, name, "data_offsets %" PRId64 " to %" PRId64 " are not a range",
                    entry->begin, entry->end);
    const struct gr_shape *shape = &entry->tensor.shape;
    const int64_t bytes = is_empty(shape) ? 0 : gr_shape_count(shape) * (int64_t)entry->type->bytes;
    if (entry->end - entry->begin != bytes) {
        char text[GR_SHAPE_TEXT];
        return fail(in, name, "data_offsets span %" PRId64 " bytes, but %s of %s take %" PRId64,
                    entry->end - entry->begin, gr_shape_text(shape, text), entry->type->name,
                    bytes);
    }
    return true;
}

static bool read_entry(struct reading *in, const char *name, json_t *object, struct entry *entry)
{
    if (strlen(name) > GR_SAFETENSORS_NAME_MAX)
        return fail(in, name, "its name has %zu bytes, more than the %d allowed", strlen(name),
                    GR_SAFETENSORS_NAME_MAX);
    if (!json_is_object(object))
        return fail(in, name, "is not an object");
    const char *dtype = json_string_value(json_object_get(object, "dtype"));
    if (!dtype)
        return fail(in, name, "dtype is missing or not a string");
    entry->type = gr_safetensors_type(dtype);
    if (!entry->type)
        return fail(in, name, "dtype '%s' is not supported", quote(dtype).text);
    entry->tensor.dtype = entry->type->dtype;
    entry->tensor.name = gr_pool_strdup(&in->file->pool, name);
    if (!entry->tensor.name)
        return gr_fail_memory(in->err, "a table of tensors");
    return read_shape(in, name, json_object_get(object, "shape"), &entry->tensor.shape) &&
           read_offsets(in, name, json_object_get(object, "data_offsets"), entry);
}

static bool read_entries(struct reading *in, json_t *header)
{
    const char *name;
    json_t *value;
    if (json_object_size(header) > GR_SAFETENSORS_TENSORS_MAX + 1) /* with metadata */
        return fail(in, NULL, "header names %zu tensors, more than the %d allowed",
                    json_object_size(header), GR_SAFETENSORS_TENSORS_MAX);
    in->entries = gr_pool_array(&in->file->pool, json_object_size(header), sizeof *in->entries);
    if (!in->entries)
        return gr_fail_memory(in->err, "a table of tensors");
    json_object_foreach(header, name, value)
    {
        if (strcmp(name, GR_SAFETENSORS_METADATA) == 0) {
            if (!read_metadata(in, value))
                return false;
            continue;
        }
        struct entry *entry = &in->entries[in->file->count];
        if (!read_entry(in, name, value, entry))
            return false;
        in->file->count += !is_empty(&entry->tensor.shape); /* which nothing here could use */
    }
    return true;
}

/* ---- the data ---------------------------------------------------------------------------- */

static int by_begin(const void *left, const void *right)
{
    const struct entry *a = left, *b = right;
    return a->begin != b->begin ? (a->begin > b->begin) - (a->begin < b->begin)
                                : strcmp(a->tensor.name, b->tensor.name);
}

/* Sorts the tensors by place and checks that they fill the rest of the file exactly. */
static bool check_places(struct reading *in)
{
    const size_t count = in->file->count;
    int64_t end = 0;
    qsort(in->entries, count, sizeof *in->entries, by_begin);
    for (size_t i = 0; i < count; i++) {
        const struct entry *entry = &in->entries[i];
        if (entry->begin > end)
            return fail(in, entry->tensor.name,
                        "data begin at byte %" PRId64 ", leaving a hole from byte %" PRId64,
                        entry->begin, end);
        if (entry->begin < end)
            return fail(in, entry->tensor.name,
                        "data begin at byte %" PRId64 ", overlapping those of tensor '%s'",
                        entry->begin, quote(entry[-1].tensor.name).text);
        end = entry->end;
    }
    if (in->left >= 0 && end != in->left)
        return fail(in, NULL,
                    "tensors take %" PRId64 " bytes, but %" PRId64 " bytes follow the header", end,
                    in->left);
    return true;
}

/* Stays in the file: a regular one, which can be read again, with the bytes that are wanted. */
static bool is_left(const struct reading *in, const struct entry *entry)
{
    return in->leave && in->left >= 0 && !entry->type->convert &&
           strcmp(entry->tensor.name, in->leave) == 0;
}

/* In memory. */
static size_t aligned_bytes(const struct reading *in, const struct entry *entry)
{
    const struct gr_tensor *tensor = &entry->tensor;
    const size_t bytes = (size_t)gr_shape_count(&tensor->shape) * gr_dtype_size(tensor->dtype);
    return is_left(in, entry) ? 0 : (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

/* Gives every tensor its place in memory. */
static bool take_memory(struct reading *in)
{
    struct gr_tensor_file *file = in->file;
    size_t total = 0;
    for (size_t i = 0; i < file->count; i++) {
        const size_t bytes = aligned_bytes(in, &in->entries[i]);
        if (bytes > PTRDIFF_MAX - total)
            return gr_fail_memory(in->err, "tensors of a file");
        total += bytes;
    }
    file->tensors = gr_pool_array(&file->pool, file->count, sizeof *file->tensors);
    file->data = total ? aligned_alloc(ALIGN, total) : NULL;
    if (!file->tensors || (total && !file->data))
        return gr_fail_memory(in->err, "tensors of a file");
    char *place = file->data;
    for (size_t i = 0; i < file->count; i++) {
        in->entries[i].tensor.data = is_left(in, &in->entries[i]) ? NULL : place;
        place += aligned_bytes(in, &in->entries[i]);
    }
    return true;
}

/* Reads a tensor through a buffer, since its elements change their type on the way. */
static bool convert(struct reading *in, const struct entry *entry)
{
    unsigned char buffer[8192];
    const size_t size = entry->type->bytes, count = (size_t)gr_shape_count(&entry->tensor.shape);
    const size_t wide = gr_dtype_size(entry->tensor.dtype);
    for (size_t done = 0; done < count;) {
        const size_t room = sizeof buffer / size;
        const size_t part = count - done < room ? count - done : room;
        if (!take(in, buffer, part * size))
            return fail(in, entry->tensor.name, "the file ends inside it");
        const size_t good =
            entry->type->convert(buffer, size, part, (char *)entry->tensor.data + done * wide);
        if (good < part)
            return fail(in, entry->tensor.name, "element %zu of %s does not fit %s", done + good,
                        entry->type->name, gr_dtype_name(entry->tensor.dtype));
        done += part;
    }
    return true;
}

/* What has a checksum is read for its sake. */
static bool pass_over(struct reading *in, const struct entry *entry)
{
    unsigned char buffer[1 << 16];
    in->left_at = ftell(in->stream);
    if (in->left_at < 0)
        return gr_fail_system(in->err, GR_ERR_RUNTIME, errno, "cannot read", in->name);
    if (!in->summed)
        return fseek(in->stream, (long)(entry->end - entry->begin), SEEK_CUR) == 0 ||
               gr_fail_system(in->err, GR_ERR_RUNTIME, errno, "cannot read", in->name);
    for (int64_t left = entry->end - entry->begin, part; left > 0; left -= part) {
        part = left < (int64_t)sizeof buffer ? left : (int64_t)sizeof buffer;
        if (!take(in, buffer, (size_t)part))
            return fail(in, entry->tensor.name, "the file ends inside it");
    }
    return true;
}

static bool read_data(struct reading *in)
{
    struct gr_tensor_file *file = in->file;
    for (size_t i = 0; i < file->count; i++) {
        const struct entry *entry = &in->entries[i];
        if (entry->type->convert) {
            if (!convert(in, entry))
                return false;
        } else if (is_left(in, entry)) {
            if (!pass_over(in, entry))
                return false;
        } else if (!take(in, entry->tensor.data, (size_t)(entry->end - entry->begin))) {
            return fail(in, entry->tensor.name, "the file ends inside it");
        }
        file->tensors[i] = entry->tensor;
        if (!gr_map_put(&file->by_name, entry->tensor.name, &file->tensors[i]))
            return gr_fail_memory(in->err, "a table of tensors");
    }
    if (getc(in->stream) != EOF)
        return fail(in, NULL, "bytes follow the last tensor");
    return true;
}

/* Does the checksum, if there is one, agree with the bytes? */
static bool check_sum(struct reading *in)
{
    char sum[16];
    const char *wanted = gr_map_get(&in->file->metadata, GR_SAFETENSORS_CHECKSUM);
    if (!wanted)
        return true;
    snprintf(sum, sizeof sum, "%08lx", in->sum);
    return (in->summed && strcmp(sum, wanted) == 0) ||
           fail(
               in, NULL,
               "the checksum of its bytes is %s, not %s as its metadata ('%s') say: it is damaged, "
               "or was changed by a program that kept them",
               in->summed ? sum : "not known", quote(wanted).text, GR_SAFETENSORS_CHECKSUM);
}

static bool read_all(struct reading *in)
{
    json_t *header = read_header(in);
    const bool ok = header && read_entries(in, header) && check_places(in) && take_memory(in) &&
                    read_data(in) && check_sum(in);
    json_decref(header);
    return ok;
}

/* The bytes from here to the end of a regular file; -1 for what has no size, as a pipe. */
static int64_t bytes_left(FILE *stream)
{
    const long here = ftell(stream);
    if (here < 0 || fseek(stream, 0, SEEK_END) != 0)
        return -1;
    const long end = ftell(stream);
    if (fseek(stream, here, SEEK_SET) != 0)
        return -1;
    return end <= here ? -1 : end - here; /* devices say 0 */
}

struct gr_tensor_file *gr_tensor_file_read_but(FILE *stream, const char *name, const char *tensor,
                                               int64_t *place, struct gr_error *err)
{
    struct gr_error own = {0};
    struct reading in = {.stream = stream,
                         .name = name,
                         .left = bytes_left(stream),
                         .leave = tensor,
                         .left_at = -1,
                         .err = &own};
    in.file = calloc(1, sizeof *in.file);
    if (!in.file)
        gr_fail_memory(&own, "tensors of a file");
    if (in.file && read_all(&in)) {
        *place = in.left_at;
        return in.file;
    }
    gr_fail(err, own.status, "%s", own.message);
    gr_tensor_file_free(in.file);
    return NULL;
}

struct gr_tensor_file *gr_tensor_file_read_stream(FILE *stream, const char *name,
                                                  struct gr_error *err)
{
    int64_t place;
    return gr_tensor_file_read_but(stream, name, NULL, &place, err);
}

/* ---- the public face --------------------------------------------------------------------- */

struct gr_tensor_file *gr_tensor_file_read(const char *path, struct gr_error *err)
{
    if (strcmp(path, "-") == 0)
        return gr_tensor_file_read_stream(stdin, "standard input", err);
    FILE *stream = fopen(path, "rbe");
    if (!stream) {
        gr_fail_system(err, GR_ERR_DATA, errno, "cannot open", path);
        return NULL;
    }
    struct gr_tensor_file *file = gr_tensor_file_read_stream(stream, path, err);
    fclose(stream);
    return file;
}

void gr_tensor_file_free(struct gr_tensor_file *file)
{
    if (!file)
        return;
    gr_map_release(&file->by_name);
    gr_map_release(&file->metadata);
    gr_pool_release(&file->pool);
    free(file->data);
    free(file);
}

size_t gr_tensor_file_count(const struct gr_tensor_file *file)
{
    return file->count;
}

const struct gr_tensor *gr_tensor_file_get(const struct gr_tensor_file *file, size_t index)
{
    return index < file->count ? &file->tensors[index] : NULL;
}

const struct gr_tensor *gr_tensor_file_find(const struct gr_tensor_file *file, const char *name)
{
    return gr_map_get(&file->by_name, name);
}

const char *gr_tensor_file_metadata(const struct gr_tensor_file *file, const char *key)
{
    return gr_map_get(&file->metadata, key);
}
