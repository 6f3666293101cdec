/*
 * MATLAB's files; see mat.h. The format is MathWorks' "MAT-File Format", level 5: elements of a tag
 * (type, bytes) and data, which hold other elements. libmatio reads it all, but needs HDF5 for it,
 * and of what strangers hand out only one array matters here.
 */
#include "data/mat.h"

#include "data/files.h"

#include <math.h>
#include <string.h>
#include <zlib.h>

enum { HEADER = 128, TAG = 8 };

/* Types of elements. */
enum {
    INT8 = 1,
    UINT8 = 2,
    INT16 = 3,
    UINT16 = 4,
    INT32 = 5,
    UINT32 = 6,
    SINGLE = 7,
    DOUBLE = 9,
    MATRIX = 14,
    COMPRESSED = 15,
    UTF8 = 16,
    UTF16 = 17,
};

/* MATLAB's classes of arrays. */
enum { STRUCTS = 2, TEXT = 4, FIRST_NUMBER = 6, LAST_NUMBER = 15 };

struct element {
    uint32_t type;
    const uint8_t *data;
    size_t size;
};

static uint32_t word(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

bool gr_mat_is(const char *path, bool *is, struct gr_error *err)
{
    static const char magic[] = "MATLAB ";
    const size_t length = sizeof magic - 1;
    struct gr_buffer head = {0};
    size_t size;
    *is = false;
    bool done = gr_file_size(path, &size, err);
    if (done && size >= length) {
        done = gr_file_read_part(path, 0, length, &head, err);
        *is = done && memcmp(head.data, magic, length) == 0;
    }
    gr_buffer_release(&head);
    return done;
}

static bool damaged(const struct gr_mat *mat, struct gr_error *err)
{
    return gr_fail(err, GR_ERR_DATA, "%s: damaged: not a whole MATLAB file: fetch it again",
                   mat->path);
}

/* The element at *at, and *at behind it. Up to four bytes may lie in the tag itself. */
static bool take(const uint8_t **at, const uint8_t *end, struct element *element)
{
    const size_t left = (size_t)(end - *at);
    if (left < TAG)
        return false;
    element->type = word(*at);
    const uint32_t small = element->type >> 16;
    element->type &= small ? 0xffff : 0xffffffff;
    element->size = small ? small : word(*at + 4);
    element->data = *at + (small ? 4 : TAG);
    if (element->size > (small ? 4 : left - TAG))
        return false;
    const size_t bytes = small ? TAG : TAG + element->size;
    const size_t padded = element->type == COMPRESSED ? bytes : (bytes + 7) / 8 * 8;
    *at += padded < left ? padded : left;
    return true;
}

/* Unpacks into mat->unpacked; *size: how much. */
static bool unpack(struct gr_mat *mat, const struct element *packed, size_t *size,
                   struct gr_error *err)
{
    for (size_t room = 1 << 20; room <= GR_MAT_UNPACKED_MAX; room *= 2) {
        uLongf got = (uLongf)room;
        if (!gr_buffer_reserve(&mat->unpacked, room))
            return gr_fail_memory(err, mat->path);
        const int code = uncompress(mat->unpacked.data, &got, packed->data, (uLong)packed->size);
        *size = (size_t)got;
        if (code == Z_OK)
            return true;
        if (code == Z_MEM_ERROR)
            return gr_fail_memory(err, mat->path);
        if (code != Z_BUF_ERROR)
            return damaged(mat, err);
    }
    return gr_fail(err, GR_ERR_DATA, "%s: unpacks to more than the %d bytes allowed", mat->path,
                   GR_MAT_UNPACKED_MAX);
}

/* The head of an array of any class: its class, and in *name its name. */
static int array_head(const uint8_t **at, const uint8_t *end, struct element *name, size_t *count)
{
    struct element flags, shape;
    if (!take(at, end, &flags) || flags.size < 4 || !take(at, end, &shape) || !take(at, end, name))
        return 0;
    *count = 1;
    for (size_t i = 0; i + 4 <= shape.size; i += 4)
        if (!gr_size_multiply(*count, word(shape.data + i), count))
            return 0;
    return flags.data[0];
}

/* Behind the head of an array of structs: the names of its fields, and then their values. */
static bool begin(struct gr_mat *mat, size_t count, struct gr_error *err)
{
    struct element length, names;
    if (!take(&mat->at, mat->end, &length) || length.size != 4 || !take(&mat->at, mat->end, &names))
        return damaged(mat, err);
    mat->name_bytes = word(length.data);
    mat->names = (const char *)names.data;
    mat->fields = mat->name_bytes ? names.size / mat->name_bytes : 0;
    for (size_t i = 0; i < mat->fields; i++)
        if (!memchr(gr_mat_field(mat, i), 0, mat->name_bytes))
            return damaged(mat, err);
    size_t values;
    if (!mat->fields || !gr_size_multiply(count, mat->fields, &values) ||
        values > (size_t)(mat->end - mat->at) / TAG)
        return damaged(mat, err);
    mat->structs = (int64_t)count;
    return true;
}

/* Goes through the arrays of the file until one has that name and holds structs. */
static bool find(struct gr_mat *mat, size_t size, const char *name, struct gr_error *err)
{
    const uint8_t *at = mat->file.data + HEADER, *end = mat->file.data + size;
    while (at < end) {
        struct element array, title;
        size_t count;
        if (!take(&at, end, &array))
            return damaged(mat, err);
        if (array.type == COMPRESSED) {
            size_t unpacked = 0;
            if (!unpack(mat, &array, &unpacked, err))
                return false;
            const uint8_t *inside = mat->unpacked.data;
            if (!take(&inside, inside + unpacked, &array))
                return damaged(mat, err);
        }
        mat->at = array.data;
        mat->end = array.data + array.size;
        const int kind = array_head(&mat->at, mat->end, &title, &count);
        if (array.type == MATRIX && kind == STRUCTS && title.size == strlen(name) &&
            memcmp(title.data, name, title.size) == 0)
            return begin(mat, count, err);
    }
    return gr_fail(err, GR_ERR_DATA, "%s: holds no array of structs named '%s'", mat->path, name);
}

bool gr_mat_open(struct gr_mat *mat, const char *path, const char *name, struct gr_error *err)
{
    static const char version[] = "MATLAB 5.0 ";
    size_t size;
    *mat = (struct gr_mat){.path = path};
    if (!gr_file_read_whole(path, GR_MAT_BYTES_MAX, &mat->file, &size, err))
        return false;
    if (size < HEADER)
        return damaged(mat, err);
    if (memcmp(mat->file.data, version, sizeof version - 1) != 0 ||
        memcmp(mat->file.data + HEADER - 2, "IM", 2) != 0)
        return gr_fail(err, GR_ERR_DATA,
                       "%s: a MATLAB file, but not a little-endian one of version 5", path);
    return find(mat, size, name, err);
}

void gr_mat_release(struct gr_mat *mat)
{
    gr_buffer_release(&mat->file);
    gr_buffer_release(&mat->unpacked);
    *mat = (struct gr_mat){0};
}

const char *gr_mat_field(const struct gr_mat *mat, size_t i)
{
    return mat->names + i * mat->name_bytes;
}

bool gr_mat_next(struct gr_mat *mat, struct gr_mat_value *value, struct gr_error *err)
{
    struct element array, name, data;
    *value = (struct gr_mat_value){0};
    if (!take(&mat->at, mat->end, &array) || array.type != MATRIX)
        return damaged(mat, err);
    if (!array.size) /* an empty field */
        return true;
    const uint8_t *at = array.data, *end = at + array.size;
    size_t count;
    value->kind = array_head(&at, end, &name, &count);
    if (!value->kind)
        return damaged(mat, err);
    if (value->kind != TEXT && (value->kind < FIRST_NUMBER || value->kind > LAST_NUMBER))
        return true; /* a cell, a struct: of no interest */
    if (!take(&at, end, &data))
        return count ? damaged(mat, err) : true;
    value->type = (int)data.type;
    value->data = data.data;
    value->size = data.size;
    return true;
}

/* Appends a character; half of a pair, beyond the basic plane, becomes a '?'. */
static char *put_utf8(char *to, uint32_t c)
{
    if (c >= 0xd800 && c < 0xe000)
        c = '?';
    if (c < 0x80) {
        *to++ = (char)c;
    } else if (c < 0x800) {
        *to++ = (char)(0xc0 | c >> 6);
        *to++ = (char)(0x80 | (c & 0x3f));
    } else {
        *to++ = (char)(0xe0 | c >> 12);
        *to++ = (char)(0x80 | (c >> 6 & 0x3f));
        *to++ = (char)(0x80 | (c & 0x3f));
    }
    return to;
}

char *gr_mat_text(const struct gr_mat_value *value, struct gr_pool *pool)
{
    if (value->kind != TEXT || !value->size)
        return gr_pool_strdup(pool, "");
    if (value->type == UTF8)
        return gr_pool_strndup(pool, (const char *)value->data, value->size);
    const size_t width = value->type == UINT16 || value->type == UTF16 ? 2 : 1;
    char *text = gr_pool_array(pool, 3 * (value->size / width) + 1, 1), *to = text;
    for (size_t i = 0; text && i + width <= value->size; i += width)
        to = put_utf8(to, value->data[i] | (width == 2 ? (uint32_t)value->data[i + 1] << 8 : 0));
    return text;
}

double gr_mat_number(const struct gr_mat_value *value)
{
    static const struct {
        int type, bits;
        bool is_signed;
    } types[] = {{INT8, 8, true},   {UINT8, 8, false},   {INT16, 16, true},   {UINT16, 16, false},
                 {INT32, 32, true}, {UINT32, 32, false}, {SINGLE, 32, false}, {DOUBLE, 64, false}};
    size_t i = 0, count = sizeof types / sizeof *types;
    while (i < count && types[i].type != value->type)
        i++;
    if (value->kind == TEXT || i == count || value->size * 8 != (size_t)types[i].bits)
        return NAN;
    uint64_t bits = 0;
    for (size_t k = 0; k < value->size; k++)
        bits |= (uint64_t)value->data[k] << 8 * k;
    const uint32_t low = (uint32_t)bits;
    float single;
    double number = (double)bits;
    memcpy(&single, &low, sizeof single);
    if (types[i].is_signed && bits >> (types[i].bits - 1))
        number -= ldexp(1, types[i].bits);
    if (value->type == DOUBLE)
        memcpy(&number, &bits, sizeof number);
    return value->type == SINGLE ? (double)single : number;
}
