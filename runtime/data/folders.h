/*
 * Looking into folders: what is in one, in byte order; and folders whose subfolders are classes.
 */
#ifndef GR_DATA_FOLDERS_H
#define GR_DATA_FOLDERS_H

#include "data/source.h"

/* A growing list of texts. The texts belong to a pool, the list to the heap. */
struct gr_names {
    const char **items;
    size_t count, capacity;
};

bool gr_names_add(struct gr_names *names, struct gr_pool *pool, const char *name);
void gr_names_sort(struct gr_names *names);                            /* by bytes */
int64_t gr_names_find(const struct gr_names *names, const char *name); /* in sorted ones; or -1 */
void gr_names_release(struct gr_names *names);

/* What of a folder is wanted: subfolders, image files by their names, or .tar files. */
enum gr_folder_part { GR_FOLDER_FOLDERS, GR_FOLDER_IMAGES, GR_FOLDER_TARS };

/*
 * Adds the names of that part of a folder, sorted; all else visible counts into *ignored.
 * GR_ERR_DATA when it cannot be opened.
 */
bool gr_folder_list(const char *path, enum gr_folder_part part, struct gr_pool *pool,
                    struct gr_names *names, int64_t *ignored, struct gr_error *err);

/* True for a folder; false also where there is nothing. */
bool gr_is_folder(const char *path);

/* The source imagefolder: fills in samples, whose places are files (data/places.h). */
bool gr_imagefolder_open(const char *path, const struct gr_source_wish *wish,
                         struct gr_samples *samples, struct gr_error *err);

/* Takes the names as the classes of samples, unless they are more than the model has. */
bool gr_samples_name_classes(struct gr_samples *samples, const struct gr_names *names,
                             const char *path, const struct gr_source_wish *wish,
                             struct gr_error *err);

/*
 * Takes the lines of a text file as the names of the classes, of which there must be as many as
 * labels need at least, and as the model has at most. path NULL: no names, and nothing to do.
 */
bool gr_samples_read_names(struct gr_samples *samples, const char *path,
                           const struct gr_source_wish *wish, struct gr_error *err);

#endif
