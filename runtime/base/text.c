/*
 * A growing string, and the nearest word; see text.h.
 */
#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool reserve(struct gr_text *text, size_t extra)
{
    if (text->failed || extra > SIZE_MAX / 4 - text->length)
        return false;
    if (text->length + extra < text->capacity)
        return true;
    size_t capacity = (text->length + extra + 1) * 2;
    char *data = realloc(text->data, capacity);
    if (!data)
        return false;
    text->data = data;
    text->capacity = capacity;
    return true;
}

void gr_text_append(struct gr_text *text, const char *data, size_t length)
{
    if (!reserve(text, length)) {
        text->failed = true;
        return;
    }
    if (length)
        memcpy(text->data + text->length, data, length);
    text->length += length;
    text->data[text->length] = '\0';
}

void gr_text_add(struct gr_text *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length < 0 || !reserve(text, (size_t)length)) {
        text->failed = true;
        return;
    }
    va_start(args, format);
    vsnprintf(text->data + text->length, (size_t)length + 1, format, args);
    va_end(args);
    text->length += (size_t)length;
}

bool gr_text_ok(const struct gr_text *text, struct gr_error *err)
{
    return text->failed ? gr_fail_memory(err, "building a text") : true;
}

void gr_text_release(struct gr_text *text)
{
    free(text->data);
    *text = (struct gr_text){0};
}

/* ---- characters -------------------------------------------------------------------------- */

size_t gr_utf8_length(const char *text, size_t left)
{
    static const unsigned smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *byte = (const unsigned char *)text;
    if (!left || byte[0] < 0x80)
        return left ? 1 : 0;
    const size_t length = byte[0] < 0xe0 ? 2 : byte[0] < 0xf0 ? 3 : 4;
    unsigned value = byte[0] & (0x7fu >> length);
    if (byte[0] < 0xc2 || byte[0] > 0xf4 || length > left)
        return 0;
    for (size_t i = 1; i < length; i++) {
        if ((byte[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (byte[i] & 0x3fu);
    }
    const bool surrogate = value >= 0xd800 && value <= 0xdfff;
    return value < smallest[length] || value > 0x10ffff || surrogate ? 0 : length;
}

/* C0, DEL, and C1 in UTF-8, which terminals take for commands too. */
static bool is_control(const unsigned char *c)
{
    return *c < ' ' || *c == 0x7f || (c[0] == 0xc2 && c[1] < 0xa0);
}

char *gr_plain_text(char *text, bool lines)
{
    for (char *c = text; *c;) {
        const size_t length = gr_utf8_length(c, 4);
        const bool kept = lines && (*c == '\n' || *c == '\t');
        if (!length || (is_control((const unsigned char *)c) && !kept))
            memset(c, '?', length ? length : 1);
        c += length ? length : 1;
    }
    return text;
}

/* ---- words ------------------------------------------------------------------------------- */

enum { LONGEST_WORD = 63 };

static size_t smallest(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Optimal string alignment distance: insertions, deletions, substitutions, adjacent swaps. */
static size_t distance(const char *a, const char *b)
{
    size_t rows[3][LONGEST_WORD + 1];
    const size_t n = strlen(a), m = strlen(b);
    size_t *before = rows[0], *last = rows[1], *now = rows[2];
    for (size_t j = 0; j <= m; j++)
        last[j] = j;
    for (size_t i = 1; i <= n; i++) {
        now[0] = i;
        for (size_t j = 1; j <= m; j++) {
            now[j] =
                smallest(last[j - 1] + (a[i - 1] != b[j - 1]), smallest(last[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = smallest(now[j], before[j - 2] + 1);
        }
        size_t *spare = before;
        before = last;
        last = now;
        now = spare;
    }
    return last[m];
}

const char *gr_nearest(const char *word, const char *const *candidates, size_t count)
{
    const size_t length = strlen(word);
    if (length > LONGEST_WORD)
        return NULL;
    size_t best = length / 3 > 1 ? length / 3 : 1;
    const char *nearest = NULL;
    for (size_t i = 0; i < count; i++) {
        if (strlen(candidates[i]) > LONGEST_WORD)
            continue;
        size_t d = distance(word, candidates[i]);
        if (d < best || (d == best && !nearest)) {
            best = d;
            nearest = candidates[i];
        }
    }
    return nearest;
}
