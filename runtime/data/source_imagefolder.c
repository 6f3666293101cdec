/*
 * The source `imagefolder`: a folder with a subfolder for each class, holding that class's image
 * files. Classes are numbered in the byte order of their folders' names, as other tools number
 * ImageNet's; samples go class by class, each in the byte order of its files.
 */
#include "data/folders.h"
#include "data/places.h"
#include "data/source_pack.h"

#include <inttypes.h>

struct imagefolder_attrs {
    const char *path;
};

static const struct gr_attr imagefolder_table[] = {
    {.name = "path",
     .type = GR_ATTR_PATH,
     .offset = offsetof(struct imagefolder_attrs, path),
     .required = true,
     .doc = "the folder that holds one folder of JPEG or PNG files for each class, or a pack"},
    {.name = NULL},
};

/* Adds the files of a class; pool keeps their paths. */
static bool add_class(const char *path, const char *name, int32_t label, struct gr_pool *pool,
                      struct gr_places *places, int64_t *ignored, struct gr_error *err)
{
    struct gr_names files = {0};
    struct gr_pool scrap = {0};
    const char *folder = gr_pool_printf(&scrap, "%s/%s", path, name);
    bool done = folder ? gr_folder_list(folder, GR_FOLDER_IMAGES, &scrap, &files, ignored, err)
                       : gr_fail_memory(err, path);
    if (done && !files.count)
        done =
            gr_fail(err, GR_ERR_DATA,
                    "%s: class \"%s\" is empty: its folder holds no .jpg, .jpeg or .png file; fill "
                    "it or remove it",
                    folder, name);
    for (size_t i = 0; done && i < files.count; i++) {
        const char *file = gr_pool_printf(pool, "%s/%s", folder, files.items[i]);
        done = file ? gr_places_add(places, &(struct gr_place){.file = file, .label = label}, err)
                    : gr_fail_memory(err, path);
    }
    gr_names_release(&files);
    gr_pool_release(&scrap);
    return done;
}

bool gr_imagefolder_open(const char *path, const struct gr_source_wish *wish,
                         struct gr_samples *samples, struct gr_error *err)
{
    struct gr_names classes = {0};
    struct gr_places places = {0};
    int64_t ignored = 0;
    bool done = gr_folder_list(path, GR_FOLDER_FOLDERS, &samples->pool, &classes, &ignored, err);
    if (done && !classes.count)
        done = gr_fail(err, GR_ERR_DATA,
                       "%s: no class folders: it must hold one folder for each class", path);
    done = done && gr_samples_name_classes(samples, &classes, path, wish, err);
    for (size_t i = 0; done && i < classes.count; i++)
        done =
            add_class(path, classes.items[i], (int32_t)i, &samples->pool, &places, &ignored, err);
    done = done && gr_places_keep(&places, samples, err);
    samples->channels = wish->channels;
    if (done && ignored)
        gr_source_log(wish, GR_LOG_INFO,
                      "%s: ignored %" PRId64 " that %s no image file or class folder", path,
                      ignored, ignored == 1 ? "is" : "are");
    gr_places_release(&places);
    gr_names_release(&classes);
    return done;
}

static bool imagefolder_open(const void *attrs, const struct gr_source_wish *wish,
                             struct gr_samples *samples, struct gr_error *err)
{
    const struct imagefolder_attrs *a = attrs;
    return gr_pack_is(a->path) ? gr_pack_open(a->path, wish, samples, err)
                               : gr_imagefolder_open(a->path, wish, samples, err);
}

static bool imagefolder_statistics(const void *attrs, struct gr_statistics *statistics,
                                   struct gr_error *err)
{
    const struct imagefolder_attrs *a = attrs;
    return gr_pack_statistics(a->path, statistics, err);
}

static int64_t imagefolder_square(const void *attrs)
{
    const struct imagefolder_attrs *a = attrs;
    return gr_pack_square(a->path);
}

const struct gr_source gr_source_imagefolder = {
    .kind = {"imagefolder", "a folder of image files for each class, such as ImageNet's",
             imagefolder_table, sizeof(struct imagefolder_attrs)},
    .open = imagefolder_open,
    .read = gr_places_read,
    .load = gr_places_load,
    .statistics = imagefolder_statistics,
    .square = imagefolder_square,
    .name = gr_places_name,
};
