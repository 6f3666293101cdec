/*
 * The source `imagefolder`: a folder with a subfolder for each class, holding that class's JPEG
 * files. Classes are numbered in the byte order of their folders' names, as other tools number
 * ImageNet's; samples go class by class, each in the byte order of its files.
 */
#define _DEFAULT_SOURCE
#include "data/jpeg.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct imagefolder_attrs {
    const char *path;
};

static const struct gr_attr imagefolder_table[] = {
    {.name = "path",
     .type = GR_ATTR_PATH,
     .offset = offsetof(struct imagefolder_attrs, path),
     .required = true,
     .doc = "the folder that holds one folder of JPEG files for each class"},
    {.name = NULL},
};

/* A growing list of strings that a pool owns. */
struct names {
    const char **items;
    size_t count, capacity;
};

static bool names_add(struct names *names, struct gr_pool *pool, const char *name)
{
    void *items = names->items;
    if (!gr_grow(&items, &names->capacity, names->count, sizeof *names->items))
        return false;
    names->items = items;
    const char *copy = gr_pool_strdup(pool, name);
    if (copy)
        names->items[names->count++] = copy;
    return copy != NULL;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool is_folder(DIR *dir, const char *name)
{
    struct stat status;
    return fstatat(dirfd(dir), name, &status, 0) == 0 && S_ISDIR(status.st_mode);
}

/*
 * The names in a folder, sorted: its subfolders, or its JPEG files. Everything else visible counts
 * as ignored.
 */
static bool list_folder(const char *path, bool folders, struct gr_pool *pool, struct names *names,
                        int64_t *ignored, struct gr_error *err)
{
    DIR *dir = opendir(path);
    if (!dir)
        return gr_fail_system(err, GR_ERR_DATA, errno, "cannot open", path);
    bool done = true;
    for (const struct dirent *entry; done && (entry = readdir(dir));) {
        if (entry->d_name[0] == '.')
            continue;
        if (folders ? is_folder(dir, entry->d_name) : gr_jpeg_named(entry->d_name))
            done = names_add(names, pool, entry->d_name) || gr_fail_memory(err, path);
        else
            ++*ignored;
    }
    closedir(dir);
    if (names->count)
        qsort(names->items, names->count, sizeof *names->items, by_bytes);
    return done;
}

/* What the scan collects: paths and labels, growing together. */
struct scan {
    struct names paths;
    int32_t *labels;
    size_t labels_capacity;
    int64_t ignored;
};

static bool add_class(const char *path, const char *name, int32_t label, struct gr_pool *pool,
                      struct scan *scan, struct gr_error *err)
{
    struct names files = {0};
    struct gr_pool scrap = {0};
    bool done = false;
    const char *folder = gr_pool_printf(&scrap, "%s/%s", path, name);
    if (!folder) {
        gr_fail_memory(err, path);
        goto out;
    }
    if (!list_folder(folder, false, &scrap, &files, &scan->ignored, err))
        goto out;
    if (!files.count) {
        gr_fail(err, GR_ERR_DATA,
                "%s: class \"%s\" is empty: its folder holds no .jpg or .jpeg file", folder, name);
        goto out;
    }
    for (size_t i = 0; i < files.count; i++) {
        void *labels = scan->labels;
        const char *file = gr_pool_printf(&scrap, "%s/%s", folder, files.items[i]);
        if (!gr_grow(&labels, &scan->labels_capacity, scan->paths.count, sizeof *scan->labels)) {
            gr_fail_memory(err, path);
            goto out;
        }
        scan->labels = labels;
        scan->labels[scan->paths.count] = label;
        if (!file || !names_add(&scan->paths, pool, file)) {
            gr_fail_memory(err, path);
            goto out;
        }
    }
    done = true;
out:
    free(files.items);
    gr_pool_release(&scrap);
    return done;
}

/* Hands the lists over to the pool, where samples are found. */
static bool keep(struct gr_samples *samples, const struct names *classes, const struct names *paths,
                 struct gr_error *err)
{
    const char **names = gr_pool_array(&samples->pool, classes->count, sizeof *names);
    const char **files = gr_pool_array(&samples->pool, paths->count, sizeof *files);
    if (!names || !files)
        return gr_fail_memory(err, "opening a dataset");
    memcpy(names, classes->items, classes->count * sizeof *names);
    memcpy(files, paths->items, paths->count * sizeof *files);
    samples->class_names = names;
    samples->classes = (int64_t)classes->count;
    samples->state = files;
    samples->count = (int64_t)paths->count;
    return true;
}

static bool imagefolder_open(const void *attrs, const struct gr_source_wish *wish,
                             struct gr_samples *samples, struct gr_error *err)
{
    const struct imagefolder_attrs *a = attrs;
    struct names classes = {0};
    struct scan scan = {0};
    bool done = false;
    if (!list_folder(a->path, true, &samples->pool, &classes, &scan.ignored, err))
        goto out;
    if (!classes.count) {
        gr_fail(err, GR_ERR_DATA, "%s: no class folders: it must hold one folder for each class",
                a->path);
        goto out;
    }
    if (wish->classes && (int64_t)classes.count > wish->classes) {
        gr_fail(err, GR_ERR_DATA,
                "%s: %zu class folders, but the model's label has %" PRId64
                " classes: set classes: %zu in the model, or remove folders",
                a->path, classes.count, wish->classes, classes.count);
        goto out;
    }
    for (size_t i = 0; i < classes.count; i++)
        if (!add_class(a->path, classes.items[i], (int32_t)i, &samples->pool, &scan, err))
            goto out;
    if (!keep(samples, &classes, &scan.paths, err))
        goto out;
    samples->channels = wish->channels;
    samples->labels = scan.labels;
    scan.labels = NULL;
    if (scan.ignored)
        gr_source_log(wish, GR_LOG_INFO,
                      "%s: ignored %" PRId64 " that %s no JPEG file or class "
                      "folder",
                      a->path, scan.ignored, scan.ignored == 1 ? "is" : "are");
    done = true;
out:
    free(classes.items);
    free(scan.paths.items);
    free(scan.labels);
    return done;
}

const struct gr_source gr_source_imagefolder = {
    .kind = {"imagefolder", "a folder of JPEG files for each class, such as ImageNet's",
             imagefolder_table, sizeof(struct imagefolder_attrs)},
    .open = imagefolder_open,
    .read = gr_jpeg_samples_read,
    .name = gr_jpeg_samples_name,
};
