/*
 * Writes MATLAB's files for tests; see make_mat.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "make_mat.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { INT8 = 1, UINT8 = 2, UINT16 = 4, INT32 = 5, UINT32 = 6, DOUBLE = 9, MATRIX = 14 };
enum { COMPRESSED = 15, UTF8 = 16 };         /* types of elements */
enum { STRUCTS = 2, TEXT = 4, DOUBLES = 6 }; /* classes of arrays */
enum { FIELDS = 5, NAME_BYTES = 16, ROOM = 65536 };

struct bytes {
    uint8_t data[ROOM];
    size_t size;
};

static void put(struct bytes *to, const void *data, size_t size)
{
    assert_true(to->size + size <= ROOM);
    if (size)
        memcpy(to->data + to->size, data, size);
    to->size += size;
}

static void put_word(struct bytes *to, uint32_t word)
{
    const uint8_t bytes[] = {(uint8_t)word, (uint8_t)(word >> 8), (uint8_t)(word >> 16),
                             (uint8_t)(word >> 24)};
    put(to, bytes, sizeof bytes);
}

/* As MATLAB does, up to four bytes go into the tag. */
static void put_element(struct bytes *to, uint32_t type, const void *data, size_t size)
{
    static const uint8_t zeros[8] = {0};
    if (size && size <= 4) {
        put_word(to, type | (uint32_t)size << 16);
        put(to, data, size);
        put(to, zeros, 4 - size);
        return;
    }
    put_word(to, type);
    put_word(to, (uint32_t)size);
    put(to, data, size);
    put(to, zeros, (8 - size % 8) % 8);
}

static void put_head(struct bytes *to, uint32_t kind, uint32_t rows, uint32_t columns,
                     const char *name)
{
    const uint32_t flags[] = {kind, 0}, shape[] = {rows, columns};
    put_element(to, UINT32, flags, sizeof flags);
    put_element(to, INT32, shape, sizeof shape);
    put_element(to, INT8, name, strlen(name));
}

/* A number is stored in the least type that holds it. */
static void put_number(struct bytes *to, const char *name, double number)
{
    struct bytes *array = calloc(1, sizeof *array);
    const uint8_t byte = (uint8_t)number;
    const uint16_t half = (uint16_t)number;
    assert_non_null(array);
    put_head(array, DOUBLES, 1, 1, name);
    if (byte == number)
        put_element(array, UINT8, &byte, 1);
    else if (half == number)
        put_element(array, UINT16, &half, 2);
    else
        put_element(array, DOUBLE, &number, 8);
    put_element(to, MATRIX, array->data, array->size);
    free(array);
}

/* A text of one byte a character, as 16 bits each or as they are. */
static void put_text(struct bytes *to, const char *text, bool wide)
{
    struct bytes *array = calloc(1, sizeof *array);
    uint16_t characters[256];
    const size_t length = strlen(text);
    assert_true(array && length <= 256);
    for (size_t i = 0; i < length; i++)
        characters[i] = (unsigned char)text[i];
    put_head(array, TEXT, 1, (uint32_t)length, "");
    put_element(array, wide ? UINT16 : UTF8, wide ? (const void *)characters : text,
                wide ? 2 * length : length);
    put_element(to, MATRIX, array->data, array->size);
    free(array);
}

static void put_synsets(struct bytes *to, const struct gr_make_mat_synset *items, size_t count)
{
    static const char names[FIELDS][NAME_BYTES] = {"ILSVRC2012_ID", "WNID", "words", "num_children",
                                                   "children"};
    const uint32_t name_bytes = NAME_BYTES;
    put_head(to, STRUCTS, (uint32_t)count, 1, "synsets");
    put_element(to, INT32, &name_bytes, 4);
    put_element(to, INT8, names, sizeof names);
    for (size_t i = 0; i < count; i++) {
        put_number(to, "", items[i].id);
        put_text(to, items[i].wnid, false);
        put_text(to, items[i].words, true);
        put_number(to, "", items[i].num_children);
        put_element(to, MATRIX, NULL, 0);
    }
}

uint8_t *gr_make_mat(const struct gr_make_mat_synset *items, size_t count, bool compressed,
                     size_t *size)
{
    struct bytes *file = calloc(3, sizeof *file), *array = file + 1, *element = file + 2;
    uLongf packed = ROOM;
    assert_non_null(file);
    put(file, "MATLAB 5.0 MAT-file, Platform: GLNXA64", 38);
    memset(file->data + file->size, ' ', 124 - file->size);
    memcpy(file->data + 124, "\0\1IM", 4);
    file->size = 128;
    put_number(file, "version", 1.5);
    put_synsets(array, items, count);
    put_element(element, MATRIX, array->data, array->size);
    if (compressed) {
        assert_int_equal(compress(array->data, &packed, element->data, element->size), Z_OK);
        put_word(file, COMPRESSED);
        put_word(file, (uint32_t)packed);
        put(file, array->data, packed);
    } else {
        put(file, element->data, element->size);
    }
    *size = file->size;
    uint8_t *bytes = malloc(file->size);
    assert_non_null(bytes);
    memcpy(bytes, file->data, file->size);
    free(file);
    return bytes;
}
