/*
 * Packing; see pack.h. Threads make JPEG files of a batch of images, and one of them meanwhile
 * writes the batch before it, in order.
 */
#define _DEFAULT_SOURCE
#include "data/pack.h"

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/json.h"
#include "base/parallel.h"
#include "data/jpeg_write.h"
#include "data/pack_folder.h"
#include "data/pipeline.h"
#include "data/places.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS_MAX = 64, NAME = 1024, KEY = 80 };

/* Images of a batch for each thread, at most: fewer of large ones, to bound what waits in memory.
 */
enum { IMAGES_MOST = 32, IMAGES_LEAST = 2, PIXELS_A_THREAD = IMAGES_MOST * 256 * 256 };

/* An image made small, or why it could not be. */
struct made {
    uint8_t *bytes; /* heap */
    size_t size;
    struct gr_pixel_sums sums;
    char *message; /* heap */
};

struct batch {
    int64_t first; /* place in the order */
    int64_t count;
    struct made *items; /* [most of a batch] */
};

struct scratch {
    struct gr_source_scratch source;
    struct gr_pipeline_scratch pipeline;
    struct gr_buffer dense;
};

struct packer {
    const struct gr_packing *packing;
    uint32_t *order; /* [samples]; heap */
    struct gr_choice transforms[2];
    struct gr_pool pool; /* of these */
    struct gr_pipeline pipeline;
    struct gr_pack_folder folder;
    struct gr_shard_writer writer;
    int64_t before, skipped; /* images dealt with before, unreadable ones so far */
    struct batch making, writing;
    int64_t batch; /* most images of one */
    struct scratch scratch[THREADS_MAX];
    struct gr_error write_err, make_err; /* other than of data */
    atomic_int_fast64_t done;
    atomic_bool failed; /* and make_err is the first thread's */
    double start;
};

/* ---- one image --------------------------------------------------------------------------- */

/* Of the view that was read: smaller, summed up, and as JPEG. */
static bool make_small(struct packer *packer, struct scratch *scratch, struct gr_pipeline_run *run,
                       struct gr_view *view, struct made *made, struct gr_error *err)
{
    if (!gr_pipeline_place(run, view, view, err))
        return false;
    if (!gr_view_make_dense(view, &scratch->dense))
        return gr_fail_memory(err, "packing an image");
    gr_pixel_sums_add(&made->sums, view);
    return gr_jpeg_encode(view, packer->packing->quality, &made->bytes, &made->size, err);
}

static bool make(struct packer *packer, struct scratch *scratch, int64_t index, struct made *made,
                 struct gr_error *err)
{
    const struct gr_packing *p = packer->packing;
    const struct gr_random_key key = {{0}, 0, 0}; /* nothing is drawn */
    struct gr_pipeline_run run;
    struct gr_error inner = {0};
    struct gr_view view;
    char name[NAME];
    gr_pipeline_start(&run, &packer->pipeline, &key, &scratch->pipeline);
    if (!p->source->read(p->samples, index, &run.target, &scratch->source, &view, err))
        return false;
    if (make_small(packer, scratch, &run, &view, made, &inner))
        return true;
    p->source->name(p->samples, index, name, sizeof name);
    return gr_fail(err, inner.status, "%s: %s", name, inner.message);
}

static void clear(struct made *made)
{
    free(made->bytes);
    free(made->message);
    *made = (struct made){0};
}

static bool make_one(struct packer *packer, int thread, int64_t i)
{
    struct made *made = &packer->making.items[i];
    struct gr_error err = {0};
    const uint32_t index = packer->order[packer->making.first + i];
    if (make(packer, &packer->scratch[thread], index, made, &err))
        return true;
    if (err.status == GR_ERR_DATA && (made->message = strdup(err.message)))
        return true;
    if (!atomic_exchange(&packer->failed, true))
        packer->make_err = err;
    return false;
}

/* ---- writing ----------------------------------------------------------------------------- */

/* What the last '/' or ':', which stands between an archive and its member, leaves of a name. */
static const char *own_name(const char *name)
{
    const char *base = gr_base_name(name), *colon = strrchr(base, ':');
    return colon ? colon + 1 : base;
}

/* The image's number and what is left of its name: "00001234-n01440764_10026". */
static void key_of(const struct packer *packer, int64_t place, char key[KEY])
{
    const struct gr_packing *p = packer->packing;
    char name[NAME];
    p->source->name(p->samples, packer->order[place], name, sizeof name);
    const char *base = own_name(name), *dot = strrchr(base, '.');
    int length = snprintf(key, KEY, "%08" PRId64 "-", place);
    for (const char *c = base; *c && c != dot && length + 1 < KEY; c++) {
        const bool plain = strchr("_-", *c) || (*c >= '0' && *c <= '9') ||
                           (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z');
        key[length++] = plain ? *c : '_'; /* a dot would end the key */
    }
    key[length] = '\0';
}

static bool keep_shard(struct packer *packer, int64_t to, struct gr_error *err)
{
    packer->writer.shard.to = to;
    const bool done = gr_pack_folder_keep(&packer->folder, &packer->writer, err);
    gr_shard_release(&packer->writer);
    return done;
}

static bool skip(struct packer *packer, const char *why, struct gr_error *err)
{
    const int64_t most = packer->packing->max_corrupt;
    json_t *text = json_string(why);
    if (!text)
        text = json_string("an image whose name is not UTF-8");
    if (json_array_append_new(packer->writer.shard.skipped, text) != 0)
        return gr_fail_memory(err, "packing");
    if (++packer->skipped <= most)
        return true;
    return gr_fail(err, GR_ERR_DATA,
                   "more than %" PRId64 " images cannot be read (--max-corrupt); the last is %s",
                   most, why);
}

static bool write_one(struct packer *packer, int64_t place, struct made *made, struct gr_error *err)
{
    const struct gr_packing *p = packer->packing;
    struct gr_shard_writer *writer = &packer->writer;
    char key[KEY];
    if (made->bytes && writer->shard.count &&
        (gr_shard_size_with(writer, made->size) > p->shard_bytes ||
         writer->shard.count == GR_PACK_IMAGES_MAX) &&
        !keep_shard(packer, place, err))
        return false;
    if (!gr_shard_is_open(writer) && !gr_pack_folder_shard(&packer->folder, writer, err))
        return false;
    if (!made->bytes)
        return skip(packer, made->message, err);
    key_of(packer, place, key);
    gr_pixel_sums_merge(&writer->shard.sums, &made->sums);
    return gr_shard_put(writer, key, made->bytes, made->size,
                        p->samples->labels[packer->order[place]], err);
}

static bool write_batch(struct packer *packer, struct gr_error *err)
{
    const struct batch *batch = &packer->writing;
    for (int64_t i = 0; i < batch->count; i++)
        if (!write_one(packer, batch->first + i, &batch->items[i], err))
            return false;
    return true;
}

/* ---- in parallel ------------------------------------------------------------------------- */

static bool report_progress(struct packer *packer)
{
    const struct gr_packing *p = packer->packing;
    const int64_t count = p->samples->count, here = atomic_load(&packer->done);
    const int64_t done = packer->before + here;
    const double passed = gr_seconds() - packer->start;
    const double left = here ? passed / (double)here * (double)(count - done) : -1;
    return !p->progress || p->progress(p->progress_user, p->name, done, count, left);
}

/* Piece 0 is to write the batch before, the others are to make an image each. */
static bool work(void *user, int thread, int64_t piece)
{
    struct packer *packer = user;
    if (piece == 0)
        return write_batch(packer, &packer->write_err);
    if (!make_one(packer, thread, piece - 1))
        return false;
    atomic_fetch_add(&packer->done, 1);
    return thread != 0 || report_progress(packer);
}

static void log_skipped(const struct packer *packer, const struct batch *batch)
{
    const struct gr_packing *p = packer->packing;
    for (int64_t i = 0; p->log && i < batch->count; i++)
        if (batch->items[i].message)
            p->log(p->log_user, GR_LOG_WARNING, batch->items[i].message);
}

static void end_batch(struct batch *batch)
{
    for (int64_t i = 0; batch->items && i < batch->count; i++)
        clear(&batch->items[i]);
    batch->count = 0;
}

static bool run(struct packer *packer, struct gr_error *err)
{
    const int64_t count = packer->packing->samples->count;
    int64_t next = packer->folder.totals.to;
    bool done = true;
    packer->before = next;
    packer->skipped = packer->folder.totals.skipped;
    packer->start = gr_seconds();
    while (done && (next < count || packer->making.count)) {
        const struct batch made = packer->making;
        packer->making = packer->writing;
        packer->writing = made;
        packer->making.first = next;
        packer->making.count = count - next < packer->batch ? count - next : packer->batch;
        next += packer->making.count;
        done = gr_parallel(packer->making.count + 1, packer->packing->threads, work, packer);
        log_skipped(packer, &packer->writing);
        end_batch(&packer->writing);
    }
    if (packer->write_err.status)
        gr_fail(err, packer->write_err.status, "%s", packer->write_err.message);
    if (packer->make_err.status)
        gr_fail(err, packer->make_err.status, "%s", packer->make_err.message);
    return done && (!gr_shard_is_open(&packer->writer) || keep_shard(packer, count, err));
}

/* ---- what is written for whom ------------------------------------------------------------ */

/* A number that labels and names of all images go into: other data have another. */
static void fingerprint(const struct gr_packing *p, char text[32])
{
    uint64_t hash = 0;
    for (int64_t i = 0; i < p->samples->count; i++) {
        char name[NAME];
        p->source->name(p->samples, i, name, sizeof name);
        const char *base = own_name(name);
        const uint64_t word = (uint64_t)p->samples->labels[i] << 32 | gr_crc32c(base, strlen(base));
        hash = (hash ^ word) * 0xbf58476d1ce4e5b9u;
        hash ^= hash >> 29;
    }
    snprintf(text, 32, "%016" PRIx64, hash);
}

/* What must be the same to go on with a pack. */
static json_t *begun_json(const struct gr_packing *p)
{
    char text[32];
    fingerprint(p, text);
    return json_pack("{s:{s:I, s:s, s:i, s:I, s:s, s:i}, s:{s:I, s:s}}", "settings", "size",
                     (json_int_t)p->size, "keep", p->whole ? "whole" : "center", "quality",
                     p->quality, "shard-size", (json_int_t)p->shard_bytes, "order",
                     p->mixed ? "mixed" : "source", "channels", p->samples->channels, "source",
                     "images", (json_int_t)p->samples->count, "fingerprint", text);
}

static json_t *names_json(const struct gr_samples *samples)
{
    json_t *list = json_array();
    for (int64_t c = 0; c < samples->classes; c++) {
        const char *name = samples->class_names ? samples->class_names[c] : NULL;
        json_t *text = name ? json_string(name) : NULL; /* NULL: no UTF-8 */
        gr_json_append(&list, text ? text : json_null());
    }
    return list;
}

static json_t *head_json(const struct packer *packer, const struct gr_statistics *statistics)
{
    const struct gr_packing *p = packer->packing;
    const struct gr_pack_totals *totals = &packer->folder.totals;
    const json_int_t side = p->whole ? 0 : (json_int_t)p->size;
    const json_t *begun = packer->folder.begun;
    json_t *head = json_pack(
        "{s:s, s:I, s:I, s:I, s:I, s:i, s:I, s:I, s:b, s:I, s:O, s:O, s:o}", "format",
        GR_PACK_FORMAT, "samples", (json_int_t)totals->images, "shards", (json_int_t)totals->shards,
        "bytes", (json_int_t)totals->bytes, "classes", (json_int_t)p->samples->classes, "channels",
        p->samples->channels, "height", side, "width", side, "mixed", p->mixed, "skipped",
        (json_int_t)totals->skipped, "settings", json_object_get(begun, "settings"), "source",
        json_object_get(begun, "source"), "statistics", gr_statistics_json(statistics));
    if (!head || !p->samples->class_names ||
        json_object_set_new(head, "class_names", names_json(p->samples)) == 0)
        return head;
    json_decref(head);
    return NULL;
}

static void set_result(const json_t *head, int64_t before, struct gr_pack_result *result)
{
    result->images = json_integer_value(json_object_get(head, "samples"));
    result->shards = json_integer_value(json_object_get(head, "shards"));
    result->bytes = json_integer_value(json_object_get(head, "bytes"));
    result->skipped = json_integer_value(json_object_get(head, "skipped"));
    result->classes = json_integer_value(json_object_get(head, "classes"));
    result->before = before;
    gr_statistics_parse(json_object_get(head, "statistics"), &result->statistics);
}

/* ---- setting up -------------------------------------------------------------------------- */

static void *field(const struct gr_choice *choice, const char *name)
{
    return (char *)choice->attrs + gr_kind_attr(choice->kind, name)->offset;
}

/* resize: {shortest: N}, crop: {size: N}: as training would do it. */
static bool set_transforms(struct packer *packer, struct gr_error *err)
{
    const struct gr_packing *p = packer->packing;
    struct gr_choice *resize = &packer->transforms[0], *crop = &packer->transforms[1];
    resize->kind = &gr_transform_resize.kind;
    crop->kind = &gr_transform_crop.kind;
    resize->attrs = gr_kind_defaults(resize->kind, &packer->pool);
    crop->attrs = gr_kind_defaults(crop->kind, &packer->pool);
    if (!resize->attrs || !crop->attrs)
        return gr_fail_memory(err, "packing");
    *(int64_t *)field(resize, "shortest") = p->size;
    int64_t *size = field(crop, "size");
    size[0] = size[1] = p->size;
    packer->pipeline =
        (struct gr_pipeline){.transforms = packer->transforms, .count = p->whole ? 1 : 2};
    gr_transform_resize.target(resize->attrs, &packer->pipeline.target);
    return true;
}

static bool set_up(struct packer *packer, struct gr_error *err)
{
    const struct gr_packing *p = packer->packing;
    const struct gr_random_key key = gr_random_key(0, GR_RANDOM_SHUFFLE, UINT32_MAX, 0);
    const int threads = p->threads < THREADS_MAX ? p->threads : THREADS_MAX;
    const int64_t fit = PIXELS_A_THREAD / (p->size * p->size);
    packer->batch = fit > IMAGES_MOST ? IMAGES_MOST : fit < IMAGES_LEAST ? IMAGES_LEAST : fit;
    packer->batch *= threads;
    packer->order = calloc((size_t)p->samples->count, sizeof *packer->order);
    packer->making.items = calloc((size_t)packer->batch, sizeof *packer->making.items);
    packer->writing.items = calloc((size_t)packer->batch, sizeof *packer->writing.items);
    if (!packer->order || !packer->making.items || !packer->writing.items)
        return gr_fail_memory(err, "packing");
    for (int64_t i = 0; i < p->samples->count; i++)
        packer->order[i] = (uint32_t)i;
    if (p->mixed)
        gr_random_shuffle(&key, packer->order, p->samples->count);
    return set_transforms(packer, err);
}

static void release(struct packer *packer)
{
    end_batch(&packer->making);
    end_batch(&packer->writing);
    free(packer->making.items);
    free(packer->writing.items);
    free(packer->order);
    for (int i = 0; i < THREADS_MAX; i++) {
        struct scratch *scratch = &packer->scratch[i];
        gr_buffer_release(&scratch->source.file);
        gr_buffer_release(&scratch->source.pixels);
        gr_buffer_release(&scratch->dense);
        gr_pipeline_scratch_release(&scratch->pipeline);
    }
    gr_shard_release(&packer->writer);
    gr_pack_folder_close(&packer->folder);
    gr_pool_release(&packer->pool);
}

/* ---- all of it --------------------------------------------------------------------------- */

/* Tells, of an error that came while writing, that the work is not lost. */
static bool fail_kept(const struct packer *packer, const struct gr_error *inner,
                      struct gr_error *err)
{
    const int64_t shards = packer->folder.totals.shards;
    if (!inner->status || inner->status == GR_ERR_USAGE)
        return inner->status && gr_fail(err, inner->status, "%s", inner->message);
    if (!shards)
        return gr_fail(err, inner->status,
                       "%s; no shard is whole yet: the same command begins anew", inner->message);
    return gr_fail(err, inner->status,
                   "%s; what is packed so far, %" PRId64 " shard%s, is kept: the same command goes "
                   "on with it",
                   inner->message, shards, shards == 1 ? "" : "s");
}

static bool finish(struct packer *packer, struct gr_pack_result *result, struct gr_error *err)
{
    const struct gr_pack_totals *totals = &packer->folder.totals;
    struct gr_statistics statistics;
    if (!totals->images)
        return gr_fail(err, GR_ERR_DATA, "%s: none of its images can be read",
                       packer->packing->name);
    if (!gr_statistics_compute(&totals->sums, packer->packing->samples->channels, &statistics, err))
        return false;
    json_t *head = head_json(packer, &statistics);
    if (!head)
        return gr_fail_memory(err, "the index of a pack");
    set_result(head, packer->before, result);
    return gr_pack_folder_finish(&packer->folder, head, err);
}

bool gr_pack(const struct gr_packing *packing, struct gr_pack_result *result, struct gr_error *err)
{
    const double start = gr_seconds();
    struct gr_error inner = {0};
    struct packer *packer = calloc(1, sizeof *packer);
    json_t *begun = begun_json(packing);
    *result = (struct gr_pack_result){0};
    bool done = (packer && begun) || gr_fail_memory(err, "packing");
    if (packer) {
        packer->packing = packing;
        packer->folder.lines = -1;
        done = done && set_up(packer, err) &&
               gr_pack_folder_open(&packer->folder, packing->folder, begun, err);
        if (done && packer->folder.head)
            set_result(packer->folder.head, packing->samples->count, result);
        else if (done && !(run(packer, &inner) && finish(packer, result, &inner)))
            done = fail_kept(packer, &inner, err);
        release(packer);
    }
    free(packer);
    json_decref(begun);
    result->seconds = gr_seconds() - start;
    return done;
}
