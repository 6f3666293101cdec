/*
 * The labels of ILSVRC's validation set; see imagenet_labels.h.
 */
#include "data/imagenet_labels.h"

#include "data/files.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct lines {
    const char *path;
    const char **items; /* [count] */
    int64_t count;
};

/* An ID, or 0. */
static int64_t id_of(const char *line)
{
    const size_t digits = strspn(line, "0123456789");
    return digits && digits < 10 && !line[digits] ? strtoll(line, NULL, 10) : 0;
}

/* The wnid that line i means. NULL: none. */
static const char *wnid_of(const struct lines *lines, int64_t i, const struct gr_synsets *synsets,
                           struct gr_error *err)
{
    const char *line = lines->items[i];
    const int64_t id = id_of(line);
    if (!id && *line && !strpbrk(line, " \t,"))
        return line;
    const struct gr_synset *synset = id ? gr_synsets_of_id(synsets, id) : NULL;
    if (synset)
        return synset->wnid;
    if (id)
        gr_fail(err, GR_ERR_DATA,
                "%s:%" PRId64 ": no synset has the ID %" PRId64 ", of %" PRId64 " synsets",
                lines->path, i + 1, id, synsets->count);
    else
        gr_fail(err, GR_ERR_DATA, "%s:%" PRId64 ": neither an ILSVRC2012_ID nor a wnid: \"%.200s\"",
                lines->path, i + 1, line);
    return NULL;
}

/* IDs mean nothing without the list that says which synset each is. */
static bool check_ids(const struct lines *lines, const struct gr_synsets *synsets,
                      struct gr_error *err)
{
    if (!lines->count || !id_of(lines->items[0]) || synsets->largest_id)
        return true;
    return gr_fail(
        err, GR_ERR_DATA,
        "%s: holds ILSVRC2012_IDs: give `synsets`, the devkit's meta.mat or a text file of lines "
        "`ID wnid`: labels are the order of wnids, which is not that of IDs",
        lines->path);
}

/* The classes: without repetition and sorted. */
static bool collect(const struct lines *lines, const struct gr_synsets *synsets, int64_t most,
                    struct gr_pool *pool, struct gr_names *classes, struct gr_error *err)
{
    const bool bounded = most && synsets->count > most;
    for (int64_t i = 0; i < synsets->count; i++)
        if (!bounded || synsets->items[i].id <= most)
            if (!gr_names_add(classes, pool, synsets->items[i].wnid))
                return gr_fail_memory(err, lines->path);
    for (int64_t i = 0; !synsets->count && i < lines->count; i++)
        if (!gr_names_add(classes, pool, lines->items[i]))
            return gr_fail_memory(err, lines->path);
    gr_names_sort(classes);
    size_t kept = 0;
    for (size_t i = 0; i < classes->count; i++)
        if (!kept || strcmp(classes->items[kept - 1], classes->items[i]) != 0)
            classes->items[kept++] = classes->items[i];
    classes->count = kept;
    return true;
}

static bool label_all(struct gr_places *places, const struct lines *lines,
                      const struct gr_synsets *synsets, const struct gr_names *classes,
                      struct gr_error *err)
{
    for (int64_t i = 0; i < lines->count; i++) {
        const char *wnid = wnid_of(lines, i, synsets, err);
        if (!wnid)
            return false;
        const int64_t label = gr_names_find(classes, wnid);
        if (label < 0)
            return gr_fail(err, GR_ERR_DATA,
                           "%s:%" PRId64 ": '%s' is none of the %zu classes of the synsets",
                           lines->path, i + 1, wnid, classes->count);
        places->items[i].label = (int32_t)label;
    }
    return true;
}

bool gr_imagenet_label(struct gr_places *places, const char *path, const struct gr_synsets *synsets,
                       int64_t most, struct gr_pool *pool, struct gr_names *classes,
                       struct gr_error *err)
{
    struct gr_pool text = {0};
    struct lines lines = {.path = path};
    lines.items = gr_file_lines(path, GR_LIST_BYTES_MAX, &text, &lines.count, err);
    bool done = lines.items && check_ids(&lines, synsets, err);
    if (done && lines.count != (int64_t)places->count)
        done = gr_fail(err, GR_ERR_DATA,
                       "%s: %" PRId64 " labels, but there are %zu images: give the two that belong "
                       "together",
                       path, lines.count, places->count);
    done = done && collect(&lines, synsets, most, pool, classes, err) &&
           label_all(places, &lines, synsets, classes, err);
    gr_pool_release(&text);
    return done;
}
