/*
 * Image files given by path; see source_images.h.
 */
#include "data/source_images.h"

#include "base/map.h"
#include "data/folders.h"
#include "data/places.h"
#include "data/transform.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

enum { DEEPEST = 32 }; /* folders in folders: links may go round */

struct collecting {
    struct gr_pool *pool;
    struct gr_places places;
    struct gr_names classes;
    struct gr_map numbers; /* of classes by name: their place in the list above, from 1 */
    int64_t ignored;
};

/* ---- classes ----------------------------------------------------------------------------- */

static bool add_class(struct collecting *c, const char *name, struct gr_error *err)
{
    if (!gr_names_add(&c->classes, c->pool, name))
        return gr_fail_memory(err, "opening images");
    const char *const *last = &c->classes.items[c->classes.count - 1];
    void *number = gr_pool_alloc(c->pool, sizeof(size_t));
    if (!number)
        return gr_fail_memory(err, "opening images");
    *(size_t *)number = c->classes.count;
    return !**last || gr_map_get(&c->numbers, *last) || gr_map_put(&c->numbers, *last, number) ||
           gr_fail_memory(err, "opening images");
}

/* The class that a folder stands for, or -1; below a given folder it may be a new one. */
static bool class_of(struct collecting *c, const char *folder, bool below, int32_t *label,
                     struct gr_error *err)
{
    const char *name = gr_base_name(folder);
    const size_t *number = gr_map_get(&c->numbers, name);
    *label = number ? (int32_t)*number - 1 : -1;
    if (number || !below)
        return true;
    *label = (int32_t)c->classes.count;
    return add_class(c, name, err);
}

/* ---- files and folders ------------------------------------------------------------------- */

static bool add_file(struct collecting *c, const char *path, int32_t label, struct gr_error *err)
{
    return gr_places_add(&c->places, &(struct gr_place){.file = path, .label = label}, err);
}

static bool add_files(struct collecting *c, const char *folder, const struct gr_names *files,
                      bool below, struct gr_error *err)
{
    int32_t label = -1;
    bool done = !files->count || class_of(c, folder, below, &label, err);
    for (size_t i = 0; done && i < files->count; i++) {
        const char *path = gr_pool_printf(c->pool, "%s/%s", folder, files->items[i]);
        done = path ? add_file(c, path, label, err) : gr_fail_memory(err, "opening images");
    }
    return done;
}

static bool add_folder(struct collecting *c, const char *folder, int depth, struct gr_error *err)
{
    struct gr_names files = {0}, folders = {0};
    struct gr_pool scrap = {0};
    int64_t others = 0;
    bool done =
        depth < DEEPEST ||
        gr_fail(err, GR_ERR_DATA, "%s: folders are more than %d deep: does a link go round?",
                folder, DEEPEST);
    done = done && gr_folder_list(folder, GR_FOLDER_IMAGES, &scrap, &files, &others, err) &&
           gr_folder_list(folder, GR_FOLDER_FOLDERS, &scrap, &folders, &c->ignored, err) &&
           add_files(c, folder, &files, depth > 0, err);
    c->ignored -= (int64_t)files.count; /* they were no folders */
    for (size_t i = 0; done && i < folders.count; i++) {
        const char *path = gr_pool_printf(&scrap, "%s/%s", folder, folders.items[i]);
        done = path ? add_folder(c, path, depth + 1, err) : gr_fail_memory(err, "opening images");
    }
    gr_names_release(&files);
    gr_names_release(&folders);
    gr_pool_release(&scrap);
    return done;
}

/* "photos/" is "photos"; "/" stays. */
static char *without_slashes(struct gr_pool *pool, const char *path)
{
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    return gr_pool_strndup(pool, path, length);
}

static bool add_path(struct collecting *c, const char *given, struct gr_error *err)
{
    char *path = without_slashes(c->pool, given), *slash;
    struct stat status;
    int32_t label = -1;
    if (!path)
        return gr_fail_memory(err, "opening images");
    if (stat(path, &status) != 0)
        return gr_fail_system(err, GR_ERR_DATA, errno, "cannot open", path);
    if (S_ISDIR(status.st_mode)) {
        const size_t before = c->places.count;
        return add_folder(c, path, 0, err) &&
               (c->places.count > before ||
                gr_fail(err, GR_ERR_DATA, "%s: there is no .jpg, .jpeg or .png file in it", path));
    }
    char *folder = gr_pool_strdup(c->pool, path);
    if (!folder)
        return gr_fail_memory(err, "opening images");
    if ((slash = strrchr(folder, '/'))) {
        *slash = '\0';
        class_of(c, folder, false, &label, err); /* adds nothing, so cannot fail */
    }
    return add_file(c, path, label, err);
}

/* ---- the source -------------------------------------------------------------------------- */

static bool collect(struct collecting *c, const struct gr_images_attrs *a, struct gr_error *err)
{
    bool done = true;
    for (int64_t i = 0; done && i < a->n_class_names; i++)
        done = add_class(c, a->class_names[i] ? a->class_names[i] : "", err);
    for (size_t i = 0; done && i < a->n_paths; i++)
        done = add_path(c, a->paths[i], err);
    return done;
}

static bool images_open(const void *attrs, const struct gr_source_wish *wish,
                        struct gr_samples *samples, struct gr_error *err)
{
    struct collecting c = {.pool = &samples->pool};
    const struct gr_source_wish any = {.classes = 0};
    const bool done =
        collect(&c, attrs, err) &&
        (!c.classes.count || gr_samples_name_classes(samples, &c.classes, "images", &any, err)) &&
        gr_places_keep(&c.places, samples, err);
    samples->channels = wish->channels;
    if (done && c.ignored > 0)
        gr_source_log(wish, GR_LOG_INFO, "ignored %lld that %s no image file", (long long)c.ignored,
                      c.ignored == 1 ? "is" : "are");
    gr_map_release(&c.numbers);
    gr_names_release(&c.classes);
    gr_places_release(&c.places);
    return done;
}

const struct gr_source gr_source_images = {
    .kind = {"images", "image files given by path", NULL, sizeof(struct gr_images_attrs)},
    .given = true,
    .open = images_open,
    .read = gr_places_read,
    .load = gr_places_load,
    .name = gr_places_name,
};

/* ---- a part of them ---------------------------------------------------------------------- */

/* Puts a resize or a crop to such sides before the part's transforms; width 0: there is one. */
static bool put_first(struct gr_data_part *part, const struct gr_kind *kind, const char *attr,
                      int64_t height, int64_t width, struct gr_pool *pool, struct gr_error *err)
{
    const size_t count = (size_t)part->n_transforms;
    struct gr_choice *transforms = gr_pool_array(pool, count + 1, sizeof *transforms);
    void *attrs = gr_kind_defaults(kind, pool);
    if (!transforms || !attrs)
        return gr_fail_memory(err, "opening images");
    int64_t *sides = (int64_t *)(void *)((char *)attrs + gr_kind_attr(kind, attr)->offset);
    sides[0] = height;
    if (width)
        sides[1] = width;
    transforms[0] = (struct gr_choice){kind, attrs};
    if (count)
        memcpy(transforms + 1, part->transforms, count * sizeof *transforms);
    part->transforms = transforms;
    part->n_transforms++;
    return true;
}

bool gr_images_part(const struct gr_data_part *like, const struct gr_shape *sample_shape,
                    struct gr_images_attrs *attrs, struct gr_pool *pool, struct gr_data_part *part,
                    struct gr_error *err)
{
    const struct gr_source *source = (const struct gr_source *)(const void *)like->source.kind;
    const struct gr_kind *resize = &gr_transform_resize.kind, *crop = &gr_transform_crop.kind;
    *part = *like;
    part->source = (struct gr_choice){&gr_source_images.kind, attrs};
    part->ten_crop = false;
    for (int i = 0; i < like->n_transforms; i++)
        if (like->transforms[i].kind == resize)
            return true;
    const int64_t square = source->square ? source->square(like->source.attrs) : 0;
    if (square)
        return put_first(part, crop, "size", square, square, pool, err) &&
               put_first(part, resize, "shortest", square, 0, pool, err);
    return !source->fixed_size ||
           put_first(part, resize, "size", source->side ? source->side : sample_shape->dim[1],
                     source->side ? source->side : sample_shape->dim[2], pool, err);
}
