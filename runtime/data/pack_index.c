/*
 * The lines of a pack's index; see pack_index.h.
 */
#define _POSIX_C_SOURCE 200809L
#include "data/pack_index.h"

#include "base/json.h"
#include "base/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH = 4096, SUMS = 1 + GR_RGB + GR_PRODUCTS };

static bool has(const char *path, const char *name)
{
    char file[PATH];
    const int n = snprintf(file, sizeof file, "%s/%s", path, name);
    return n > 0 && n < PATH && access(file, F_OK) == 0;
}

enum gr_pack_state gr_pack_state(const char *path)
{
    if (has(path, GR_PACK_INDEX))
        return GR_PACK_WHOLE;
    return has(path, GR_PACK_UNFINISHED) ? GR_PACK_PART : GR_PACK_NONE;
}

bool gr_pack_refuse_part(const char *path, struct gr_error *err)
{
    if (gr_pack_state(path) != GR_PACK_PART)
        return true;
    return gr_fail(err, GR_ERR_DATA,
                   "%s: the pack is not finished: the `graph-runner data pack` that began it, run "
                   "again, goes on where it stopped",
                   path);
}

/* ---- writing ----------------------------------------------------------------------------- */

char *gr_pack_line(json_t *object)
{
    char *text = object ? gr_json_dump(object, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    const size_t length = text ? strlen(text) : 0;
    char *line = text ? realloc(text, length + 2) : NULL;
    if (line)
        strcpy(line + length, "\n");
    else
        free(text);
    json_decref(object);
    return line;
}

static void add_number(json_t **list, int64_t number)
{
    gr_json_append(list, json_integer((json_int_t)number));
}

json_t *gr_pack_shard_json(const struct gr_pack_shard *shard)
{
    json_t *offsets = json_array(), *sizes = json_array(), *labels = json_array();
    json_t *sums = json_array();
    for (size_t i = 0; i < shard->count; i++) {
        add_number(&offsets, shard->items[i].offset);
        add_number(&sizes, shard->items[i].size);
        add_number(&labels, shard->items[i].label);
    }
    add_number(&sums, (int64_t)shard->sums.count);
    for (int c = 0; c < GR_RGB; c++)
        add_number(&sums, (int64_t)shard->sums.sum[c]);
    for (int p = 0; p < GR_PRODUCTS; p++)
        add_number(&sums, (int64_t)shard->sums.product[p]);
    return json_pack("{s:s, s:I, s:o, s:o, s:o, s:I, s:O, s:o}", "shard", shard->name, "bytes",
                     (json_int_t)shard->bytes, "offsets", offsets, "sizes", sizes, "labels", labels,
                     "to", (json_int_t)shard->to, "skipped", shard->skipped, "sums", sums);
}

/* ---- reading ----------------------------------------------------------------------------- */

void gr_pack_shard_release(struct gr_pack_shard *shard)
{
    free(shard->items);
    json_decref(shard->skipped);
    *shard = (struct gr_pack_shard){0};
}

static int64_t number_at(const json_t *list, size_t index)
{
    const json_t *item = json_array_get(list, index);
    return json_is_integer(item) ? (int64_t)json_integer_value(item) : -1;
}

/* Every image within the archive and behind the one before it. */
static bool parse_items(const json_t *object, struct gr_pack_shard *shard)
{
    const json_t *offsets = json_object_get(object, "offsets");
    const json_t *sizes = json_object_get(object, "sizes");
    const json_t *labels = json_object_get(object, "labels");
    int64_t end = 0;
    for (size_t i = 0; i < shard->count; i++) {
        const int64_t offset = number_at(offsets, i), size = number_at(sizes, i);
        const int64_t label = number_at(labels, i);
        if (offset < end || offset > shard->bytes || size < 0 || size > shard->bytes - offset ||
            label < 0 || label > INT32_MAX)
            return false;
        shard->items[i] = (struct gr_packed){offset, size, (int32_t)label};
        end = offset + size;
    }
    return true;
}

static bool parse_sums(const json_t *object, struct gr_pixel_sums *sums)
{
    const json_t *list = json_object_get(object, "sums");
    bool sound = json_array_size(list) == SUMS;
    for (size_t i = 0; i < SUMS; i++)
        sound = sound && number_at(list, i) >= 0;
    sums->count = (uint64_t)number_at(list, 0);
    for (size_t c = 0; c < GR_RGB; c++)
        sums->sum[c] = (uint64_t)number_at(list, 1 + c);
    for (size_t p = 0; p < GR_PRODUCTS; p++)
        sums->product[p] = (uint64_t)number_at(list, 1 + GR_RGB + p);
    return sound;
}

bool gr_pack_shard_parse(const json_t *object, struct gr_pack_shard *shard, struct gr_error *err)
{
    const json_t *offsets = json_object_get(object, "offsets");
    *shard = (struct gr_pack_shard){
        .name = json_string_value(json_object_get(object, "shard")),
        .bytes = (int64_t)json_integer_value(json_object_get(object, "bytes")),
        .to = (int64_t)json_integer_value(json_object_get(object, "to")),
        .count = json_array_size(offsets),
        .skipped = json_incref(json_object_get(object, "skipped"))};
    shard->capacity = shard->count;
    shard->items = calloc(shard->count + 1, sizeof *shard->items);
    if (!shard->items)
        return gr_fail_memory(err, "the index of a pack");
    if (shard->name && *shard->name && !strchr(shard->name, '/') && shard->bytes > 0 &&
        json_is_array(shard->skipped) && parse_items(object, shard) &&
        parse_sums(object, &shard->sums))
        return true;
    return gr_fail(err, GR_ERR_DATA, "a line is not that of a shard");
}

json_t *gr_pack_read_line(FILE *file, const char *path, struct gr_error *err)
{
    struct gr_text line = {0};
    char block[1 << 14];
    size_t used = 0;
    json_t *object = NULL;
    int c = 0;
    errno = 0;
    while (c != '\n' && line.length < GR_PACK_LINE_MAX && (c = getc_unlocked(file)) != EOF) {
        block[used++] = (char)c;
        if (used == sizeof block || c == '\n') {
            gr_text_append(&line, block, used);
            used = 0;
        }
    }
    if (ferror(file))
        gr_fail_system(err, GR_ERR_RUNTIME, errno ? errno : EIO, "cannot read", path);
    else if (gr_text_ok(&line, err) && c == '\n')
        object = gr_json_parse(line.data, line.length, 0, NULL, err);
    gr_text_release(&line);
    if (json_is_object(object))
        return object;
    json_decref(object);
    return NULL;
}

json_t *gr_pack_head(const char *path, struct gr_error *err)
{
    char name[PATH];
    const int n = snprintf(name, sizeof name, "%s/%s", path, GR_PACK_INDEX);
    FILE *file = n > 0 && n < PATH ? fopen(name, "re") : NULL;
    if (!file) {
        gr_fail_system(err, GR_ERR_DATA, errno, "cannot open", name);
        return NULL;
    }
    json_t *head = gr_pack_read_line(file, name, err);
    fclose(file);
    const char *format = json_string_value(json_object_get(head, "format"));
    if (format && strcmp(format, GR_PACK_FORMAT) == 0)
        return head;
    json_decref(head);
    gr_fail(err, GR_ERR_DATA, "%s: not the index of a pack: delete it and pack again", name);
    return NULL;
}
