/*
 * The names of classes that a model file does not say: they come with the data it is trained on,
 * travel in the metadata of its weights, and so are there when the data are not.
 */
#ifndef GR_MODEL_CLASS_NAMES_H
#define GR_MODEL_CLASS_NAMES_H

#include "base/pool.h"

#include <stdint.h>

/* Zero-initialised is none. */
struct gr_class_names {
    struct gr_pool pool;
    const char **items; /* [count], of the pool; NULL: that class has no name */
    int64_t count;
    bool of_training; /* they are those of the data being trained on: no weights' count more */
};

/* Takes copies of `count` names (each may be NULL) in the place of what is there. */
bool gr_class_names_set(struct gr_class_names *names, const char *const *items, int64_t count,
                        struct gr_error *err);
void gr_class_names_release(struct gr_class_names *names);

/* As a JSON list, for metadata; heap. Bytes that are no UTF-8 become "?". NULL: out of memory. */
char *gr_class_names_text(const struct gr_class_names *names);

/*
 * Takes the names that a weights file brings, at most `most`; none where it has none or they make
 * no sense. False: out of memory.
 */
bool gr_class_names_parse(struct gr_class_names *names, const char *text, int64_t most,
                          struct gr_error *err);

/*
 * A class of `items` whose name stands elsewhere in names: its place there, and *at the place in
 * items. -1: none, the two agree as far as they know the same names.
 */
int64_t gr_class_names_misplaced(const struct gr_class_names *names, const char *const *items,
                                 int64_t count, int64_t *at);

#endif
