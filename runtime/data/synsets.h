/*
 * ImageNet's classes: which synset (wnid, "n02119789") has which ILSVRC2012_ID and which words, as
 * read from the development kit's meta.mat or a text file. Labels are places in the sorted wnids,
 * as in Caffe and torchvision; an ID is not a label, since IDs follow another order.
 */
#ifndef GR_DATA_SYNSETS_H
#define GR_DATA_SYNSETS_H

#include "base/map.h"
#include "base/pool.h"

#include <stdint.h>

struct gr_synset {
    const char *wnid;
    int64_t id;        /* ILSVRC2012_ID; 0: not said */
    const char *words; /* "kit fox, Vulpes macrotis"; NULL: not said */
};

/* Zero-initialised is none. Texts and items belong to the pool that it was read into. */
struct gr_synsets {
    struct gr_synset *items;
    const struct gr_synset **by_id; /* [count], sorted */
    int64_t count, largest_id;
    struct gr_map by_wnid;
};

/*
 * Lines "ID wnid", "wnid ID", "wnid" or "ID wnid words...", "wnid words...", as in map_clsloc.txt,
 * synset_words.txt and the like. Empty lines and those that start with # are passed over. Or
 * MATLAB's file meta.mat as it is, whose inner nodes of WordNet's tree are left out.
 */
bool gr_synsets_read(struct gr_synsets *synsets, const char *path, struct gr_pool *pool,
                     struct gr_error *err);
void gr_synsets_release(struct gr_synsets *synsets);

/* The synset's words if they are known, else the wnid itself. */
const char *gr_synsets_words(const struct gr_synsets *synsets, const char *wnid);

/* The synset of that ID, or NULL. */
const struct gr_synset *gr_synsets_of_id(const struct gr_synsets *synsets, int64_t id);

#endif
