/*
 * The source `list`: a text file of lines `path label`, for image files kept anywhere. The label is
 * what follows the last blank, so paths may hold blanks. Empty lines and lines that start with #
 * are passed over.
 */
#include "data/files.h"
#include "data/folders.h"
#include "data/places.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct list_attrs {
    const char *file, *root, *class_names;
};

static const struct gr_attr list_table[] = {
    {.name = "file",
     .type = GR_ATTR_PATH,
     .offset = offsetof(struct list_attrs, file),
     .required = true,
     .doc = "text file of lines `path label`"},
    {.name = "root",
     .type = GR_ATTR_PATH,
     .offset = offsetof(struct list_attrs, root),
     .doc = "folder that relative paths in the list start from; absent: the list's own"},
    {.name = "class_names",
     .type = GR_ATTR_PATH,
     .offset = offsetof(struct list_attrs, class_names),
     .doc = "text file of class names, one a line in the order of labels"},
    {.name = NULL},
};

/* Where relative paths start, with its slash; "" for the working folder. NULL: out of memory. */
static const char *root_of(const struct list_attrs *a, struct gr_pool *pool)
{
    if (a->root)
        return gr_pool_printf(pool, "%s/", a->root);
    const char *slash = strrchr(a->file, '/');
    return gr_pool_strndup(pool, a->file, slash ? (size_t)(slash + 1 - a->file) : 0);
}

/* Takes the label off the end of a line and returns the length of the path, 0 if there is none. */
static size_t parse_line(const char *line, int32_t *label)
{
    size_t end = strlen(line);
    while (end && strchr(" \t", line[end - 1]))
        end--;
    size_t digits = end;
    while (digits && line[digits - 1] >= '0' && line[digits - 1] <= '9')
        digits--;
    size_t path = digits;
    while (path && strchr(" \t", line[path - 1]))
        path--;
    if (digits == end || path == digits)
        return 0;
    errno = 0;
    const long long value = strtoll(line + digits, NULL, 10);
    if (errno || value > INT32_MAX)
        return 0;
    *label = (int32_t)value;
    return path;
}

static bool check_first(const struct gr_samples *samples, const struct list_attrs *a,
                        struct gr_error *err)
{
    const char *path = ((const struct gr_place *)samples->state)->file;
    struct gr_error inner = {0};
    size_t size;
    if (gr_file_size(path, &size, &inner))
        return true;
    return gr_fail(err, inner.status, "%s: it is the first file of %s: check `root`", inner.message,
                   a->file);
}

static bool add_line(const struct list_attrs *a, const char *root, const char *line, int64_t number,
                     const struct gr_source_wish *wish, struct gr_places *places,
                     struct gr_samples *samples, struct gr_error *err)
{
    int32_t label = 0;
    const size_t length = parse_line(line, &label);
    if (!length)
        return gr_fail(err, GR_ERR_DATA, "%s:%" PRId64 ": not a path and a label: \"%.200s\"",
                       a->file, number, line);
    if (wish->classes && label >= wish->classes)
        return gr_fail(err, GR_ERR_DATA,
                       "%s:%" PRId64 ": label %" PRId32 ", but the model's label has %" PRId64
                       " classes, 0 to %" PRId64,
                       a->file, number, label, wish->classes, wish->classes - 1);
    char *path = gr_pool_alloc(&samples->pool, strlen(root) + length + 1);
    if (!path)
        return gr_fail_memory(err, a->file);
    if (line[0] != '/')
        strcpy(path, root);
    strncat(path, line, length);
    if (label >= samples->classes)
        samples->classes = label + 1;
    return gr_places_add(places, &(struct gr_place){.file = path, .label = label}, err);
}

static bool list_open(const void *attrs, const struct gr_source_wish *wish,
                      struct gr_samples *samples, struct gr_error *err)
{
    const struct list_attrs *a = attrs;
    struct gr_pool text = {0};
    struct gr_places places = {0};
    int64_t count = 0;
    bool done = false;
    const char **lines = gr_file_lines(a->file, GR_LIST_BYTES_MAX, &text, &count, err);
    if (!lines)
        goto out;
    const char *root = root_of(a, &text);
    if (!root) {
        gr_fail_memory(err, a->file);
        goto out;
    }
    for (int64_t i = 0; i < count; i++)
        if (lines[i][0] && lines[i][0] != '#' &&
            !add_line(a, root, lines[i], i + 1, wish, &places, samples, err))
            goto out;
    samples->channels = wish->channels;
    if (!places.count)
        gr_fail(err, GR_ERR_DATA, "%s: the list is empty: write lines `path label`", a->file);
    done = places.count && gr_places_keep(&places, samples, err) && check_first(samples, a, err) &&
           gr_samples_read_names(samples, a->class_names, wish, err);
out:
    gr_places_release(&places);
    gr_pool_release(&text);
    return done;
}

const struct gr_source gr_source_list = {
    .kind = {"list", "image files listed with their labels in a text file", list_table,
             sizeof(struct list_attrs)},
    .open = list_open,
    .read = gr_places_read,
    .load = gr_places_load,
    .name = gr_places_name,
};
