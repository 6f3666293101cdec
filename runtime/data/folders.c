/*
 * Looking into folders; see folders.h.
 */
#define _DEFAULT_SOURCE
#include "data/folders.h"

#include "data/decode.h"
#include "data/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

bool gr_names_add(struct gr_names *names, struct gr_pool *pool, const char *name)
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

void gr_names_sort(struct gr_names *names)
{
    if (names->count)
        qsort(names->items, names->count, sizeof *names->items, by_bytes);
}

int64_t gr_names_find(const struct gr_names *names, const char *name)
{
    const char **found =
        names->count ? bsearch(&name, names->items, names->count, sizeof *names->items, by_bytes)
                     : NULL;
    return found ? found - names->items : -1;
}

void gr_names_release(struct gr_names *names)
{
    free(names->items);
    *names = (struct gr_names){0};
}

static bool folder_at(int dir, const char *name)
{
    struct stat status;
    return fstatat(dir, name, &status, 0) == 0 && S_ISDIR(status.st_mode);
}

bool gr_is_folder(const char *path)
{
    return folder_at(AT_FDCWD, path);
}

static bool is_wanted(int dir, const char *name, enum gr_folder_part part)
{
    const size_t length = strlen(name);
    switch (part) {
    case GR_FOLDER_FOLDERS:
        return folder_at(dir, name);
    case GR_FOLDER_IMAGES:
        return gr_image_named(name);
    case GR_FOLDER_TARS:
        return length > 4 && strcasecmp(name + length - 4, ".tar") == 0;
    }
    return false;
}

bool gr_folder_list(const char *path, enum gr_folder_part part, struct gr_pool *pool,
                    struct gr_names *names, int64_t *ignored, struct gr_error *err)
{
    DIR *dir = opendir(path);
    if (!dir)
        return gr_fail_system(err, GR_ERR_DATA, errno, "cannot open", path);
    bool done = true;
    for (const struct dirent *entry; done && (errno = 0, entry = readdir(dir));) {
        if (entry->d_name[0] == '.')
            continue;
        if (is_wanted(dirfd(dir), entry->d_name, part))
            done = gr_names_add(names, pool, entry->d_name) || gr_fail_memory(err, path);
        else
            ++*ignored;
    }
    if (done && errno)
        done = gr_fail_system(err, GR_ERR_DATA, errno, "cannot read", path);
    closedir(dir);
    gr_names_sort(names);
    return done;
}

bool gr_samples_name_classes(struct gr_samples *samples, const struct gr_names *names,
                             const char *path, const struct gr_source_wish *wish,
                             struct gr_error *err)
{
    if (wish->classes && (int64_t)names->count > wish->classes)
        return gr_fail(err, GR_ERR_DATA,
                       "%s: %zu classes, but the model's label has %" PRId64
                       ": set classes: %zu in the model, or remove some",
                       path, names->count, wish->classes, names->count);
    const char **items = gr_pool_array(&samples->pool, names->count, sizeof *items);
    if (!items)
        return gr_fail_memory(err, "opening a dataset");
    if (names->count)
        memcpy(items, names->items, names->count * sizeof *items);
    samples->class_names = items;
    samples->classes = (int64_t)names->count;
    return true;
}

bool gr_samples_read_names(struct gr_samples *samples, const char *path,
                           const struct gr_source_wish *wish, struct gr_error *err)
{
    int64_t count = 0;
    if (!path)
        return true;
    const char **lines = gr_file_lines(path, GR_LIST_BYTES_MAX, &samples->pool, &count, err);
    if (!lines)
        return false;
    if (count < samples->classes)
        return gr_fail(err, GR_ERR_DATA,
                       "%s: %" PRId64 " class names, but labels go up to %" PRId64, path, count,
                       samples->classes - 1);
    const struct gr_names names = {lines, (size_t)count, (size_t)count};
    return gr_samples_name_classes(samples, &names, path, wish, err);
}
