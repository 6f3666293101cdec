/*
 * Two runs' folders compared; see run_files.h.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* scandir */
#endif
#include "run_files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const timing[] = {"seconds", "wait_seconds", "images_per_second", "wait_share"};
enum { TIMING = sizeof timing / sizeof *timing, PATH = 4096 };

char *gr_run_files_read(const char *path, size_t *length)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_msg("%s cannot be read", path);
    fseek(file, 0, SEEK_END);
    *length = (size_t)ftell(file);
    rewind(file);
    char *bytes = malloc(*length + 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *length, file), *length);
    bytes[*length] = '\0';
    fclose(file);
    return bytes;
}

/* ---- JSON -------------------------------------------------------------------------------- */

static void drop_timing(json_t *json)
{
    const char *key;
    json_t *value;
    void *next;
    for (size_t i = 0; i < TIMING; i++)
        json_object_del(json, timing[i]);
    json_object_foreach_safe(json, next, key, value) drop_timing(value);
}

/* Of lines of JSON, or of one object over several. */
static char *timeless_json(const char *text)
{
    size_t used = 0;
    char *kept = calloc(strlen(text) + 2, 1);
    assert_non_null(kept);
    while (*text) {
        json_error_t error;
        json_t *json = json_loads(text, JSON_DISABLE_EOF_CHECK, &error);
        if (!json)
            fail_msg("%s: %.200s", error.text, text);
        drop_timing(json);
        char *line = json_dumps(json, JSON_COMPACT);
        used += (size_t)sprintf(kept + used, "%s\n", line);
        free(line);
        json_decref(json);
        text += error.position;
        text += strspn(text, " \n");
    }
    return kept;
}

static void expect_same_json(const char *name, const char *a, const char *b)
{
    char *kept_a = timeless_json(a), *kept_b = timeless_json(b);
    if (strcmp(kept_a, kept_b) != 0)
        fail_msg("%s differs:\n%s\nand\n%s", name, kept_a, kept_b);
    free(kept_a);
    free(kept_b);
}

/* ---- events ------------------------------------------------------------------------------ */

static uint64_t varint(const uint8_t **at)
{
    uint64_t value = 0;
    int shift = 0;
    do
        value |= (uint64_t)(**at & 0x7f) << shift, shift += 7;
    while (*(*at)++ & 0x80);
    return value;
}

/* Is it a value {tag = 1, simple_value = 2} that tells of the time? */
static bool is_timing(const uint8_t *value)
{
    const uint8_t *at = value + 1;
    const size_t length = (size_t)varint(&at);
    for (size_t i = 0; i < TIMING; i++)
        if (length > strlen(timing[i]) && memcmp(at, timing[i], strlen(timing[i])) == 0 &&
            at[strlen(timing[i])] == '/')
            return true;
    return false;
}

/* The records without their lengths, checksums, times of day and values that tell of the time. */
static uint8_t *timeless_events(const char *bytes, size_t length, size_t *used)
{
    uint8_t *kept = calloc(length + 1, 1);
    assert_non_null(kept);
    *used = 0;
    for (size_t at = 0; at + 12 <= length;) {
        uint64_t size;
        memcpy(&size, bytes + at, sizeof size);
        const uint8_t *event = (const uint8_t *)bytes + at + 12;
        at += 12 + (size_t)size + 4;
        assert_true(at <= length);
        const uint8_t *const end = event + size;
        const uint8_t *next = event + 9; /* behind the time of day, a double */
        while (next < end) {
            const uint8_t *from = next++;
            if (*from == 0x10) { /* step */
                varint(&next);
            } else { /* version or summary: bytes; of a summary, what is in it is looked at */
                const size_t inside = (size_t)varint(&next);
                if (*from != 0x2a)
                    next += inside;
            }
            if (*from != 0x2a) {
                memcpy(kept + *used, from, (size_t)(next - from));
                *used += (size_t)(next - from);
                continue;
            }
            while (next < end) { /* values of the summary */
                const uint8_t *value = ++next;
                const size_t inside = (size_t)varint(&value);
                if (!is_timing(value)) {
                    memcpy(kept + *used, value, inside);
                    *used += inside;
                }
                next = value + inside;
            }
        }
    }
    return kept;
}

static void expect_same_events(const char *name, const char *a, size_t length_a, const char *b,
                               size_t length_b)
{
    size_t used_a, used_b;
    uint8_t *kept_a = timeless_events(a, length_a, &used_a);
    uint8_t *kept_b = timeless_events(b, length_b, &used_b);
    if (used_a != used_b || memcmp(kept_a, kept_b, used_a) != 0)
        fail_msg("%s: the events differ: %zu and %zu bytes", name, used_a, used_b);
    free(kept_a);
    free(kept_b);
}

/* ---- folders ----------------------------------------------------------------------------- */

static int is_no_dot(const struct dirent *entry)
{
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

static bool ends_with(const char *name, const char *end)
{
    const size_t length = strlen(name), tail = strlen(end);
    return length >= tail && strcmp(name + length - tail, end) == 0;
}

static void compare(const char *folder_a, const char *folder_b, const char *name)
{
    char path[PATH];
    size_t length_a, length_b;
    snprintf(path, sizeof path, "%s/%s", folder_a, name);
    char *a = gr_run_files_read(path, &length_a);
    snprintf(path, sizeof path, "%s/%s", folder_b, name);
    char *b = gr_run_files_read(path, &length_b);
    if (strstr(name, "tfevents"))
        expect_same_events(name, a, length_a, b, length_b);
    else if (ends_with(name, ".jsonl") || ends_with(name, ".json"))
        expect_same_json(name, a, b);
    else if (length_a != length_b || memcmp(a, b, length_a) != 0)
        fail_msg("%s/%s and that of %s differ", folder_a, name, folder_b);
    free(a);
    free(b);
}

void gr_run_files_expect_same(const char *folder_a, const char *folder_b)
{
    struct dirent **a, **b;
    const int n = scandir(folder_a, &a, is_no_dot, alphasort);
    const int m = scandir(folder_b, &b, is_no_dot, alphasort);
    assert_true(n > 0 && m > 0);
    for (int i = 0; i < n || i < m; i++) {
        if (i >= n || i >= m || strcmp(a[i]->d_name, b[i]->d_name) != 0)
            fail_msg("%s has %s where %s has %s", folder_a, i < n ? a[i]->d_name : "nothing",
                     folder_b, i < m ? b[i]->d_name : "nothing");
        if (strcmp(a[i]->d_name, "report.html") != 0 && strcmp(a[i]->d_name, "run.jsonl") != 0)
            compare(folder_a, folder_b, a[i]->d_name);
        free(a[i]);
        free(b[i]);
    }
    free(a);
    free(b);
}
