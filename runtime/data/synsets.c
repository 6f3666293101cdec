/*
 * ImageNet's classes; see synsets.h.
 */
#include "data/synsets.h"

#include "data/files.h"
#include "data/mat.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char blanks[] = " \t";

/* The next word of *line, cut off in place, and *line behind it. "" when there is none. */
static char *next_word(char **line)
{
    char *word = *line + strspn(*line, blanks);
    char *end = word + strcspn(word, blanks);
    *line = *end ? end + 1 + strspn(end + 1, blanks) : end;
    *end = 0;
    return word;
}

/* A word that is a number from 1 on; 0 otherwise. */
static int64_t id_of(const char *word)
{
    const size_t digits = strspn(word, "0123456789");
    return digits && digits < 10 && !word[digits] ? strtoll(word, NULL, 10) : 0;
}

/* An ID at the head of the rest of a line is taken off it. */
static int64_t take_id(char **rest)
{
    char *behind = *rest + strcspn(*rest, blanks);
    const char kept = *behind;
    *behind = 0;
    const int64_t id = id_of(*rest);
    *behind = kept;
    if (id)
        next_word(rest);
    return id;
}

static bool parse(char *line, struct gr_synset *synset)
{
    char *rest = line;
    const char *first = next_word(&rest);
    synset->id = id_of(first);
    synset->wnid = synset->id ? next_word(&rest) : first;
    if (!synset->id)
        synset->id = take_id(&rest);
    synset->words = *rest ? rest : NULL;
    return *synset->wnid && !id_of(synset->wnid);
}

static int by_id(const void *a, const void *b)
{
    const int64_t x = (*(const struct gr_synset *const *)a)->id;
    const int64_t y = (*(const struct gr_synset *const *)b)->id;
    return (x > y) - (x < y);
}

/* Sorts by ID, which no two have in common. */
static bool sort(struct gr_synsets *synsets, const char *path, struct gr_error *err)
{
    const size_t count = (size_t)synsets->count;
    for (size_t i = 0; i < count; i++)
        synsets->by_id[i] = &synsets->items[i];
    if (count)
        qsort(synsets->by_id, count, sizeof *synsets->by_id, by_id);
    for (size_t i = 1; i < count; i++)
        if (synsets->by_id[i]->id && synsets->by_id[i]->id == synsets->by_id[i - 1]->id)
            return gr_fail(err, GR_ERR_DATA, "%s: '%s' and '%s' have the same ID %" PRId64, path,
                           synsets->by_id[i - 1]->wnid, synsets->by_id[i]->wnid,
                           synsets->by_id[i]->id);
    return true;
}

static bool make_room(struct gr_synsets *synsets, int64_t count, const char *path,
                      struct gr_pool *pool, struct gr_error *err)
{
    synsets->items = gr_pool_array(pool, (size_t)count, sizeof *synsets->items);
    synsets->by_id = gr_pool_array(pool, (size_t)count, sizeof *synsets->by_id);
    return (synsets->items && synsets->by_id) || gr_fail_memory(err, path);
}

/* Adds one that stands in line `line` of the file. */
static bool add(struct gr_synsets *synsets, const struct gr_synset *synset, const char *path,
                int64_t line, struct gr_error *err)
{
    struct gr_synset *item = &synsets->items[synsets->count];
    if (gr_map_get(&synsets->by_wnid, synset->wnid))
        return gr_fail(err, GR_ERR_DATA, "%s:%" PRId64 ": '%s' is there for the second time", path,
                       line, synset->wnid);
    *item = *synset;
    if (!gr_map_put(&synsets->by_wnid, item->wnid, item))
        return gr_fail_memory(err, path);
    if (item->id > synsets->largest_id)
        synsets->largest_id = item->id;
    synsets->count++;
    return true;
}

static bool read_lines(struct gr_synsets *synsets, const char *path, struct gr_pool *pool,
                       struct gr_error *err)
{
    int64_t count = 0;
    const char **lines = gr_file_lines(path, GR_LIST_BYTES_MAX, pool, &count, err);
    if (!lines || !make_room(synsets, count, path, pool, err))
        return false;
    for (int64_t i = 0; i < count; i++) {
        struct gr_synset synset;
        char *line = gr_pool_strdup(pool, lines[i]);
        if (!line)
            return gr_fail_memory(err, path);
        if (!line[strspn(line, blanks)] || line[0] == '#')
            continue;
        if (!parse(line, &synset))
            return gr_fail(err, GR_ERR_DATA,
                           "%s:%" PRId64 ": not a synset: \"%.200s\": write `ID wnid`", path, i + 1,
                           lines[i]);
        if (!add(synsets, &synset, path, i + 1, err))
            return false;
    }
    return true;
}

/* ---- the development kit's meta.mat ------------------------------------------------------ */

/* What a field says: ILSVRC2012_ID (of other years, theirs), WNID, words, num_children. */
static bool take_field(const char *field, const struct gr_mat_value *value,
                       struct gr_synset *synset, bool *inner, struct gr_pool *pool)
{
    const double number = gr_mat_number(value);
    if (strncmp(field, "ILSVRC", 6) == 0)
        synset->id = number >= 1 && number < 1e9 ? (int64_t)number : 0;
    else if (strcmp(field, "num_children") == 0)
        *inner = number > 0;
    else if (strcmp(field, "WNID") == 0)
        return (synset->wnid = gr_mat_text(value, pool)) != NULL;
    else if (strcmp(field, "words") == 0)
        return (synset->words = gr_mat_text(value, pool)) != NULL;
    return true;
}

static bool take_struct(struct gr_mat *mat, struct gr_synset *synset, bool *inner,
                        struct gr_pool *pool, struct gr_error *err)
{
    *synset = (struct gr_synset){.wnid = ""};
    *inner = false;
    for (size_t i = 0; i < mat->fields; i++) {
        struct gr_mat_value value;
        if (!gr_mat_next(mat, &value, err))
            return false;
        if (!take_field(gr_mat_field(mat, i), &value, synset, inner, pool))
            return gr_fail_memory(err, mat->path);
    }
    return true;
}

/* All but the inner nodes of WordNet's tree, which are no classes. */
static bool take_structs(struct gr_synsets *synsets, struct gr_mat *mat, struct gr_pool *pool,
                         struct gr_error *err)
{
    if (!make_room(synsets, mat->structs, mat->path, pool, err))
        return false;
    for (int64_t i = 0; i < mat->structs; i++) {
        struct gr_synset synset;
        bool inner;
        if (!take_struct(mat, &synset, &inner, pool, err))
            return false;
        if (!synset.id || !*synset.wnid)
            return gr_fail(err, GR_ERR_DATA,
                           "%s:%" PRId64 ": not a synset: it lacks ILSVRC2012_ID or WNID",
                           mat->path, i + 1);
        if (!inner && !add(synsets, &synset, mat->path, i + 1, err))
            return false;
    }
    return true;
}

static bool read_mat(struct gr_synsets *synsets, const char *path, struct gr_pool *pool,
                     struct gr_error *err)
{
    struct gr_mat mat;
    const bool done =
        gr_mat_open(&mat, path, "synsets", err) && take_structs(synsets, &mat, pool, err);
    gr_mat_release(&mat);
    return done;
}

bool gr_synsets_read(struct gr_synsets *synsets, const char *path, struct gr_pool *pool,
                     struct gr_error *err)
{
    bool mat;
    return gr_mat_is(path, &mat, err) && (mat ? read_mat : read_lines)(synsets, path, pool, err) &&
           sort(synsets, path, err);
}

void gr_synsets_release(struct gr_synsets *synsets)
{
    gr_map_release(&synsets->by_wnid);
    *synsets = (struct gr_synsets){0};
}

const char *gr_synsets_words(const struct gr_synsets *synsets, const char *wnid)
{
    const struct gr_synset *synset = gr_map_get(&synsets->by_wnid, wnid);
    return synset && synset->words ? synset->words : wnid;
}

const struct gr_synset *gr_synsets_of_id(const struct gr_synsets *synsets, int64_t id)
{
    const struct gr_synset wanted = {.id = id}, *key = &wanted;
    const struct gr_synset **found =
        synsets->count
            ? bsearch(&key, synsets->by_id, (size_t)synsets->count, sizeof *synsets->by_id, by_id)
            : NULL;
    return found ? *found : NULL;
}
