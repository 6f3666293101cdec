/*
 * The source `imagenet`: ILSVRC as it is handed out, without unpacking. For training the tar that
 * holds a tar for each class, or a folder of those; for validation the flat tar, or a folder, and a
 * file of labels. Class folders, and a tar of such, do as well.
 *
 * Classes are numbered in the byte order of their wnids, samples go class by class, each in the
 * byte order of file names: tars give the very samples that the unpacked folder would.
 */
#define _DEFAULT_SOURCE
#include "base/parallel.h"
#include "data/decode.h"
#include "data/imagenet_labels.h"
#include "data/source_pack.h"
#include "data/tar.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { THREADS = 8 }; /* they wait for the disk */

struct imagenet_attrs {
    const char *path, *labels, *synsets;
};

static const struct gr_attr imagenet_table[] = {
    {.name = "path",
     .type = GR_ATTR_PATH,
     .offset = offsetof(struct imagenet_attrs, path),
     .required = true,
     .doc = "training: the tar of one tar a class, a folder of those, or class folders; with "
            "labels: the flat validation tar or folder; or a pack of either"},
    {.name = "labels",
     .type = GR_ATTR_PATH,
     .offset = offsetof(struct imagenet_attrs, labels),
     .doc = "labels of the flat set in the order of file names, one a line: ILSVRC2012_IDs (the "
            "devkit's ground truth; needs synsets) or wnids"},
    {.name = "synsets",
     .type = GR_ATTR_PATH,
     .offset = offsetof(struct imagenet_attrs, synsets),
     .doc = "the devkit's meta.mat, or a text file of lines `ID wnid`, maybe with words; the words "
            "name the classes"},
    {.name = NULL},
};

/* An archive of one class. */
struct inner {
    struct gr_tar tar;
    int32_t class;
    int64_t images;
    struct finding *finding;
};

/* What is being found. Classes are numbered as they come, and in the end by their names. */
struct finding {
    const struct imagenet_attrs *attrs;
    const struct gr_source_wish *wish;
    struct gr_samples *samples;
    struct gr_synsets synsets;
    struct gr_places places;
    struct gr_names classes;
    struct gr_map numbers; /* class name to int32_t */
    int32_t last;          /* the class met last: names come in runs */
    struct inner *inner;
    size_t n_inner, inner_capacity;
    int64_t ignored, loose; /* files that are no images; images in no class folder */
    pthread_mutex_t lock;   /* while archives are scanned */
    struct gr_error err;
};

/* ---- what is in an archive --------------------------------------------------------------- */

static bool is_tar(const char *name)
{
    const size_t length = strlen(name);
    return length > 4 && strcasecmp(name + length - 4, ".tar") == 0;
}

static bool is_image(const char *name)
{
    return gr_base_name(name)[0] != '.' && gr_image_named(name);
}

/* The number of the class whose name is these bytes, a new one if need be; -1: out of memory. */
static int32_t class_of(struct finding *finding, const char *name, size_t length)
{
    struct gr_names *classes = &finding->classes;
    struct gr_pool *pool = &finding->samples->pool;
    const char *last = classes->count ? classes->items[finding->last] : "";
    if (strlen(last) == length && memcmp(last, name, length) == 0)
        return finding->last;
    char *copy = gr_pool_strndup(pool, name, length);
    int32_t *number = copy ? gr_map_get(&finding->numbers, copy) : NULL;
    if (!number) {
        number = copy ? gr_pool_alloc(pool, sizeof *number) : NULL;
        if (!number || !gr_names_add(classes, pool, copy) ||
            !gr_map_put(&finding->numbers, copy, number))
            return -1;
        *number = (int32_t)classes->count - 1;
    }
    return finding->last = *number;
}

static bool add_image(struct finding *finding, const struct gr_tar_member *member, int32_t class,
                      struct gr_error *err)
{
    const char *name = gr_pool_strdup(&finding->samples->pool, member->name);
    const struct gr_tar *tar = member->tar;
    if (!name || class < 0)
        return gr_fail_memory(err, tar->title);
    return gr_places_add(
        &finding->places,
        &(struct gr_place){tar->path, tar->title, name, member->offset, member->size, class}, err);
}

static bool add_inner(struct finding *finding, const struct gr_tar *tar, const char *name,
                      struct gr_error *err)
{
    void *items = finding->inner;
    const char *base = gr_base_name(name);
    const int32_t class = class_of(finding, base, strlen(base) - 4);
    if (class < 0 ||
        !gr_grow(&items, &finding->inner_capacity, finding->n_inner, sizeof *finding->inner))
        return gr_fail_memory(err, tar->title);
    finding->inner = items;
    finding->inner[finding->n_inner++] = (struct inner){*tar, class, 0, finding};
    return true;
}

/* A member of the outermost archive. */
static bool take_member(void *user, const struct gr_tar_member *member, struct gr_error *err)
{
    struct finding *finding = user;
    const struct gr_tar *tar = member->tar;
    const char *base = gr_base_name(member->name);
    if (base[0] != '.' && is_tar(base)) {
        const char *title =
            gr_pool_printf(&finding->samples->pool, "%s:%s", tar->title, member->name);
        const struct gr_tar inner = {tar->path, title, member->offset, member->size};
        return title ? add_inner(finding, &inner, base, err) : gr_fail_memory(err, tar->title);
    }
    if (!is_image(member->name)) {
        finding->ignored++;
        return true;
    }
    if (finding->attrs->labels)
        return add_image(finding, member, 0, err);
    if (base == member->name) {
        finding->loose++;
        return true;
    }
    const char *end = base - 1, *start = end;
    while (start > member->name && start[-1] != '/')
        start--;
    return add_image(finding, member, class_of(finding, start, (size_t)(end - start)), err);
}

/* Images with a label beside each: a shard of a pack, say one whose index was not copied. */
static bool fail_shard(const struct gr_tar_member *member, struct gr_error *err)
{
    return gr_fail(
        err, GR_ERR_DATA,
        "%s: a shard with labels (%s), not a class: of a pack, the folder must be whole, "
        "with its index.jsonl; `webdataset` reads other shards",
        member->tar->title, member->name);
}

/* A member of a class's archive. Several are scanned at a time. */
static bool take_inner_member(void *user, const struct gr_tar_member *member, struct gr_error *err)
{
    struct inner *inner = user;
    struct finding *finding = inner->finding;
    const char *dot = strrchr(member->name, '.');
    bool done = true;
    if (dot && strcmp(dot, ".cls") == 0)
        return fail_shard(member, err);
    pthread_mutex_lock(&finding->lock);
    if (is_image(member->name)) {
        inner->images++;
        done = add_image(finding, member, inner->class, err);
    } else {
        finding->ignored++;
    }
    pthread_mutex_unlock(&finding->lock);
    return done;
}

static bool scan_inner(void *user, int thread, int64_t i)
{
    struct finding *finding = user;
    struct inner *inner = &finding->inner[i];
    struct gr_error err = {0};
    (void)thread;
    if (gr_tar_scan(&inner->tar, take_inner_member, inner, &err) && inner->images)
        return true;
    gr_fail(&err, GR_ERR_DATA,
            "%s: class \"%s\" is empty: its archive holds no .jpg, .jpeg or .png file",
            inner->tar.title, finding->classes.items[inner->class]);
    pthread_mutex_lock(&finding->lock);
    gr_fail(&finding->err, err.status, "%s", err.message);
    pthread_mutex_unlock(&finding->lock);
    return false;
}

static bool scan_all_inner(struct finding *finding, struct gr_error *err)
{
    if (gr_parallel((int64_t)finding->n_inner, THREADS, scan_inner, finding))
        return true;
    return gr_fail(err, finding->err.status, "%s", finding->err.message);
}

/* ---- by class ---------------------------------------------------------------------------- */

static bool list_class_tars(struct finding *finding, struct gr_error *err)
{
    struct gr_names tars = {0};
    struct gr_pool *pool = &finding->samples->pool;
    const char *path = finding->attrs->path;
    bool done = gr_folder_list(path, GR_FOLDER_TARS, pool, &tars, &finding->ignored, err);
    for (size_t i = 0; done && i < tars.count; i++) {
        struct gr_tar tar;
        const char *file = gr_pool_printf(pool, "%s/%s", path, tars.items[i]);
        done = file ? gr_tar_open(file, &tar, err) && add_inner(finding, &tar, tars.items[i], err)
                    : gr_fail_memory(err, path);
    }
    gr_names_release(&tars);
    return done;
}

/* Renumbers the classes by their sorted names, and gives them to the samples. */
static bool order_classes(struct finding *finding, struct gr_error *err)
{
    struct gr_names sorted = {0};
    int32_t *rank = calloc(finding->classes.count + 1, sizeof *rank);
    bool done = rank || gr_fail_memory(err, finding->attrs->path);
    for (size_t i = 0; done && i < finding->classes.count; i++)
        done = gr_names_add(&sorted, &finding->samples->pool, finding->classes.items[i]) ||
               gr_fail_memory(err, finding->attrs->path);
    gr_names_sort(&sorted);
    for (size_t i = 0; done && i < sorted.count; i++)
        rank[i] = (int32_t)gr_names_find(&sorted, finding->classes.items[i]);
    for (size_t i = 0; done && i < finding->places.count; i++)
        finding->places.items[i].label = rank[finding->places.items[i].label];
    free(rank);
    gr_names_release(&finding->classes);
    finding->classes = sorted;
    gr_places_sort(&finding->places);
    return done;
}

static bool find_by_class(struct finding *finding, struct gr_error *err)
{
    const char *path = finding->attrs->path;
    struct gr_tar tar;
    if (!finding->n_inner &&
        !(gr_tar_open(path, &tar, err) && gr_tar_scan(&tar, take_member, finding, err)))
        return false;
    if (!scan_all_inner(finding, err))
        return false;
    if (!finding->classes.count)
        return gr_fail(err, GR_ERR_DATA, "%s: no classes: %s", path,
                       finding->loose ? "its images are in no folders; the flat validation set "
                                        "needs `labels`"
                                      : "it must hold a tar or a folder of images for each class");
    return order_classes(finding, err);
}

/* ---- flat -------------------------------------------------------------------------------- */

static bool list_images(struct finding *finding, struct gr_error *err)
{
    struct gr_names files = {0};
    struct gr_pool *pool = &finding->samples->pool;
    const char *path = finding->attrs->path;
    bool done = gr_folder_list(path, GR_FOLDER_IMAGES, pool, &files, &finding->ignored, err);
    for (size_t i = 0; done && i < files.count; i++) {
        const char *file = gr_pool_printf(pool, "%s/%s", path, files.items[i]);
        done = file ? gr_places_add(&finding->places, &(struct gr_place){.file = file}, err)
                    : gr_fail_memory(err, path);
    }
    gr_names_release(&files);
    return done;
}

static bool find_flat(struct finding *finding, struct gr_error *err)
{
    const struct imagenet_attrs *a = finding->attrs;
    struct gr_tar tar;
    if (gr_is_folder(a->path)
            ? !list_images(finding, err)
            : !(gr_tar_open(a->path, &tar, err) && gr_tar_scan(&tar, take_member, finding, err)))
        return false;
    gr_places_sort(&finding->places);
    return gr_imagenet_label(&finding->places, a->labels, &finding->synsets, finding->wish->classes,
                             &finding->samples->pool, &finding->classes, err);
}

/* ---- the source -------------------------------------------------------------------------- */

static bool find(struct finding *finding, struct gr_error *err)
{
    const struct imagenet_attrs *a = finding->attrs;
    struct gr_samples *samples = finding->samples;
    if (!a->labels && gr_is_folder(a->path)) {
        if (!list_class_tars(finding, err))
            return false;
        if (!finding->n_inner)
            return gr_imagefolder_open(a->path, finding->wish, samples, err);
    }
    if (!(a->labels ? find_flat(finding, err) : find_by_class(finding, err)))
        return false;
    if (finding->ignored)
        gr_source_log(finding->wish, GR_LOG_INFO, "%s: ignored %" PRId64 " that %s no image file",
                      a->path, finding->ignored, finding->ignored == 1 ? "is" : "are");
    samples->channels = finding->wish->channels;
    return gr_samples_name_classes(samples, &finding->classes, a->path, finding->wish, err) &&
           gr_places_keep(&finding->places, samples, err);
}

/* Words for wnids, where the list of synsets has them. */
static bool put_words(struct finding *finding, struct gr_error *err)
{
    struct gr_samples *samples = finding->samples;
    const size_t count = (size_t)samples->classes;
    const char **words = gr_pool_array(&samples->pool, count, sizeof *words);
    if (!words)
        return gr_fail_memory(err, "opening a dataset");
    for (size_t i = 0; i < count; i++)
        words[i] = gr_synsets_words(&finding->synsets, samples->class_names[i]);
    samples->class_names = words;
    return true;
}

static bool imagenet_open(const void *attrs, const struct gr_source_wish *wish,
                          struct gr_samples *samples, struct gr_error *err)
{
    const struct imagenet_attrs *a = attrs;
    struct finding finding = {.attrs = a, .wish = wish, .samples = samples};
    if (gr_pack_is(a->path))
        return gr_pack_open(a->path, wish, samples, err);
    if (pthread_mutex_init(&finding.lock, NULL) != 0)
        return gr_fail_memory(err, "opening a dataset");
    const bool done =
        (!a->synsets || gr_synsets_read(&finding.synsets, a->synsets, &samples->pool, err)) &&
        find(&finding, err) && put_words(&finding, err);
    pthread_mutex_destroy(&finding.lock);
    gr_synsets_release(&finding.synsets);
    gr_places_release(&finding.places);
    gr_names_release(&finding.classes);
    gr_map_release(&finding.numbers);
    free(finding.inner);
    return done;
}

static bool imagenet_statistics(const void *attrs, struct gr_statistics *statistics,
                                struct gr_error *err)
{
    const struct imagenet_attrs *a = attrs;
    return gr_pack_statistics(a->path, statistics, err);
}

static int64_t imagenet_square(const void *attrs)
{
    const struct imagenet_attrs *a = attrs;
    return gr_pack_square(a->path);
}

const struct gr_source gr_source_imagenet = {
    .kind = {"imagenet", "ImageNet (ILSVRC) as it is handed out, tars within tars", imagenet_table,
             sizeof(struct imagenet_attrs)},
    .open = imagenet_open,
    .read = gr_places_read,
    .load = gr_places_load,
    .statistics = imagenet_statistics,
    .square = imagenet_square,
    .name = gr_places_name,
};
