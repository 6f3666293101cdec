/*
 * What a query means; see nearest.h.
 */
#define _DEFAULT_SOURCE
#include "train/nearest.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "data/places.h"

/* Are they one file, by whatever paths? */
static bool same_file(const char *one, const char *other)
{
    struct stat a, b;
    return strcmp(gr_base_name(one), gr_base_name(other)) == 0 && stat(one, &a) == 0 &&
           stat(other, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

bool gr_query_is(const struct gr_features *features, const struct gr_query *query, size_t index)
{
    const char *name = gr_features_name(features, index);
    if (query->index >= 0)
        return strcmp(name, gr_features_name(features, (size_t)query->index)) == 0;
    return same_file(name, query->text);
}

static bool is_file(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && !S_ISDIR(status.st_mode);
}

/* Does the name end in the text, after a '/' or the ':' behind an archive? */
static bool ends_in(const char *name, const char *text)
{
    const size_t length = strlen(name), end = strlen(text);
    return length > end && strcmp(name + length - end, text) == 0 &&
           (name[length - end - 1] == '/' || name[length - end - 1] == ':');
}

/* The only image whose name ends so. A usage error where there are two; -1 and none without. */
static bool find_end(const struct gr_features *features, const char *text, int64_t *index,
                     struct gr_error *err)
{
    for (size_t i = 0; i < gr_features_count(features); i++) {
        const char *name = gr_features_name(features, i);
        if (!ends_in(name, text))
            continue;
        if (*index >= 0 && strcmp(name, gr_features_name(features, (size_t)*index)) != 0)
            return gr_fail(err, GR_ERR_USAGE, "'%s' can be '%s' or '%s': give more of the name",
                           text, gr_features_name(features, (size_t)*index), name);
        *index = *index < 0 ? (int64_t)i : *index;
    }
    return true;
}

static bool fail_unknown(const struct gr_features *features, const char *text, struct gr_error *err)
{
    const size_t count = gr_features_count(features);
    const char **names = calloc(count, sizeof *names);
    if (is_file(text)) {
        free(names);
        return gr_fail(err, GR_ERR_USAGE,
                       "'%s' is no image of the features: to compute its own takes the model and "
                       "its weights",
                       text);
    }
    for (size_t i = 0; names && i < count; i++)
        names[i] = gr_base_name(gr_features_name(features, i));
    const char *near = names ? gr_nearest(gr_base_name(text), names, count) : NULL;
    free(names);
    return gr_fail(err, GR_ERR_USAGE, "'%s' is neither an image of the features nor a file%s%s%s",
                   text, near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

bool gr_query_find(const struct gr_features *features, const char *text, bool has_model,
                   struct gr_query *query, struct gr_error *err)
{
    const size_t count = gr_features_count(features);
    const bool file = is_file(text);
    *query = (struct gr_query){text, -1};
    for (size_t i = 0; query->index < 0 && i < count; i++)
        if (strcmp(gr_features_name(features, i), text) == 0)
            query->index = (int64_t)i;
    for (size_t i = 0; query->index < 0 && file && i < count; i++)
        if (same_file(gr_features_name(features, i), text))
            query->index = (int64_t)i;
    if (query->index >= 0 || (file && has_model))
        return true;
    return find_end(features, text, &query->index, err) &&
           (query->index >= 0 || fail_unknown(features, text, err));
}
