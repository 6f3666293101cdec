/*
 * ImageNet's classes; see synsets.h.
 */
#include "data/synsets.h"

#include "data/files.h"

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

bool gr_synsets_read(struct gr_synsets *synsets, const char *path, struct gr_pool *pool,
                     struct gr_error *err)
{
    int64_t count = 0;
    const char **lines = gr_file_lines(path, GR_LIST_BYTES_MAX, pool, &count, err);
    if (!lines)
        return false;
    synsets->items = gr_pool_array(pool, (size_t)count, sizeof *synsets->items);
    synsets->by_id = gr_pool_array(pool, (size_t)count, sizeof *synsets->by_id);
    if (!synsets->items || !synsets->by_id)
        return gr_fail_memory(err, path);
    for (int64_t i = 0; i < count; i++) {
        struct gr_synset *synset = &synsets->items[synsets->count];
        char *line = gr_pool_strdup(pool, lines[i]);
        if (!line)
            return gr_fail_memory(err, path);
        if (!line[strspn(line, blanks)] || line[0] == '#')
            continue;
        if (!parse(line, synset))
            return gr_fail(err, GR_ERR_DATA,
                           "%s:%" PRId64 ": not a synset: \"%.200s\": write `ID wnid`", path, i + 1,
                           lines[i]);
        if (gr_map_get(&synsets->by_wnid, synset->wnid))
            return gr_fail(err, GR_ERR_DATA, "%s:%" PRId64 ": '%s' is there for the second time",
                           path, i + 1, synset->wnid);
        if (!gr_map_put(&synsets->by_wnid, synset->wnid, synset))
            return gr_fail_memory(err, path);
        if (synset->id > synsets->largest_id)
            synsets->largest_id = synset->id;
        synsets->count++;
    }
    return sort(synsets, path, err);
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
