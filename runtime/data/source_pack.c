/*
 * The source `pack`: what `graph-runner data pack` wrote, by its index; see source_pack.h. No
 * archive is opened before an image is read from it.
 */
#define _DEFAULT_SOURCE
#include "data/source_pack.h"

#include "data/files.h"
#include "data/folders.h"
#include "data/pack_index.h"
#include "data/places.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

struct pack_attrs {
    const char *path;
};

static const struct gr_attr pack_table[] = {
    {.name = "path",
     .type = GR_ATTR_PATH,
     .offset = offsetof(struct pack_attrs, path),
     .required = true,
     .doc = "the folder that `graph-runner data pack` wrote"},
    {.name = NULL},
};

struct opening {
    const char *path;
    const struct gr_source_wish *wish;
    struct gr_samples *samples;
    struct gr_places places;
};

bool gr_pack_is(const char *path)
{
    return gr_pack_state(path) != GR_PACK_NONE;
}

static bool fail_index(const struct opening *o, const char *what, struct gr_error *err)
{
    return gr_fail(err, GR_ERR_DATA, "%s/%s: damaged: %s: delete it and pack again", o->path,
                   GR_PACK_INDEX, what);
}

/* ---- the head ---------------------------------------------------------------------------- */

static int64_t number(const json_t *head, const char *key)
{
    return (int64_t)json_integer_value(json_object_get(head, key));
}

static bool take_names(const struct opening *o, const json_t *list, struct gr_error *err)
{
    struct gr_names names = {0};
    struct gr_samples *samples = o->samples;
    bool done = true, all = json_is_array(list);
    for (size_t i = 0; done && all && i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        all = name != NULL;
        done = !all || gr_names_add(&names, &samples->pool, name) || gr_fail_memory(err, o->path);
    }
    if (done && all && (int64_t)names.count == samples->classes)
        done = gr_samples_name_classes(samples, &names, o->path, o->wish, err);
    gr_names_release(&names);
    return done;
}

static bool take_head(const struct opening *o, const json_t *head, struct gr_error *err)
{
    struct gr_samples *samples = o->samples;
    const int64_t classes = number(head, "classes"), wanted = o->wish->classes;
    samples->classes = classes;
    samples->channels = o->wish->channels;
    samples->height = number(head, "height");
    samples->width = number(head, "width");
    samples->mixed = json_is_true(json_object_get(head, "mixed"));
    if (classes < 0 || classes > INT32_MAX || samples->height < 0 || samples->width < 0)
        return fail_index(o, "its head makes no sense", err);
    if (wanted && classes > wanted)
        return gr_fail(err, GR_ERR_DATA,
                       "%s: %" PRId64 " classes, but the model's label has %" PRId64
                       ": set classes: %" PRId64 " in the model",
                       o->path, classes, wanted, classes);
    return take_names(o, json_object_get(head, "class_names"), err);
}

/* ---- shards ------------------------------------------------------------------------------ */

/* That the archive is there, as long as it was. */
static bool check_shard(const char *file, int64_t bytes, struct gr_error *err)
{
    size_t size;
    if (!gr_file_size(file, &size, err))
        return false;
    return (int64_t)size == bytes ||
           gr_fail(err, GR_ERR_DATA,
                   "%s: %zu bytes, but the index of its pack says %" PRId64
                   ": copy it again, or delete the pack's index and pack again",
                   file, size, bytes);
}

static bool take_shard(struct opening *o, const json_t *line, struct gr_error *err)
{
    struct gr_pack_shard shard;
    struct gr_error inner = {0};
    if (!gr_pack_shard_parse(line, &shard, &inner)) {
        gr_pack_shard_release(&shard);
        return inner.status == GR_ERR_DATA ? fail_index(o, inner.message, err)
                                           : gr_fail(err, inner.status, "%s", inner.message);
    }
    const char *file = gr_pool_printf(&o->samples->pool, "%s/%s", o->path, shard.name);
    bool done = file ? check_shard(file, shard.bytes, err) : gr_fail_memory(err, o->path);
    for (size_t i = 0; done && i < shard.count; i++) {
        const struct gr_packed *item = &shard.items[i];
        if (item->label >= o->samples->classes)
            done = fail_index(o, "a label is beyond its classes", err);
        done = done && gr_places_add(&o->places,
                                     &(struct gr_place){.file = file,
                                                        .title = file,
                                                        .offset = item->offset,
                                                        .size = item->size,
                                                        .label = item->label},
                                     err);
    }
    gr_pack_shard_release(&shard);
    return done;
}

static bool take_lines(struct opening *o, FILE *file, const char *index, struct gr_error *err)
{
    json_t *head = gr_pack_read_line(file, index, err);
    const char *format = json_string_value(json_object_get(head, "format"));
    bool done = format && strcmp(format, GR_PACK_FORMAT) == 0
                    ? take_head(o, head, err)
                    : fail_index(o, "it does not begin as one", err);
    const int64_t shards = number(head, "shards"), samples = number(head, "samples");
    json_decref(head);
    for (int64_t i = 0; done && i < shards; i++) {
        json_t *line = gr_pack_read_line(file, index, err);
        done = line ? take_shard(o, line, err) : fail_index(o, "it is cut short", err);
        json_decref(line);
    }
    if (done && (int64_t)o->places.count != samples)
        done = fail_index(o, "its images are not as many as its head says", err);
    return done;
}

bool gr_pack_open(const char *path, const struct gr_source_wish *wish, struct gr_samples *samples,
                  struct gr_error *err)
{
    struct opening o = {.path = path, .wish = wish, .samples = samples};
    if (!gr_pack_refuse_part(path, err))
        return false;
    const char *index = gr_pool_printf(&samples->pool, "%s/%s", path, GR_PACK_INDEX);
    if (!index)
        return gr_fail_memory(err, path);
    FILE *file = fopen(index, "re");
    if (!file)
        return gr_fail_system(err, GR_ERR_DATA, errno, "cannot open", index);
    const bool done = take_lines(&o, file, index, err) && gr_places_keep(&o.places, samples, err);
    fclose(file);
    gr_places_release(&o.places);
    return done;
}

bool gr_pack_statistics(const char *path, struct gr_statistics *statistics, struct gr_error *err)
{
    *statistics = (struct gr_statistics){0};
    if (!gr_pack_refuse_part(path, err))
        return false;
    if (!gr_pack_is(path))
        return true;
    json_t *head = gr_pack_head(path, err);
    if (head)
        gr_statistics_parse(json_object_get(head, "statistics"), statistics);
    json_decref(head);
    return head != NULL;
}

int64_t gr_pack_square(const char *path)
{
    json_t *head = path && gr_pack_state(path) == GR_PACK_WHOLE ? gr_pack_head(path, NULL) : NULL;
    const int64_t height = number(head, "height"), width = number(head, "width");
    json_decref(head);
    return height == width && height > 0 ? height : 0;
}

/* ---- the source -------------------------------------------------------------------------- */

static bool pack_open(const void *attrs, const struct gr_source_wish *wish,
                      struct gr_samples *samples, struct gr_error *err)
{
    const struct pack_attrs *a = attrs;
    return gr_pack_open(a->path, wish, samples, err);
}

static bool pack_statistics(const void *attrs, struct gr_statistics *statistics,
                            struct gr_error *err)
{
    const struct pack_attrs *a = attrs;
    return gr_pack_statistics(a->path, statistics, err);
}

static int64_t pack_square(const void *attrs)
{
    const struct pack_attrs *a = attrs;
    return gr_pack_square(a->path);
}

const struct gr_source gr_source_pack = {
    .kind = {"pack", "what `graph-runner data pack` wrote", pack_table, sizeof(struct pack_attrs)},
    .open = pack_open,
    .read = gr_places_read,
    .load = gr_places_load,
    .statistics = pack_statistics,
    .square = pack_square,
    .name = gr_places_name,
};
