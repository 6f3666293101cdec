/*
 * A kind is something chosen by name in a model file: an op, an initialiser, an optimizer, a
 * learning-rate policy, a data source, a transform. It is a name, a sentence of documentation and a
 * table of attributes. The table drives parsing, defaults, error messages, `graph-runner ops` and
 * the labels of the DOT export; nothing else knows the attributes' names.
 */
#ifndef GR_BASE_KIND_H
#define GR_BASE_KIND_H

#include "base/pool.h"
#include "base/text.h"

#include <stdint.h>

/* What an attribute is in the model file, and the C type of its field. */
enum gr_attr_type {
    GR_ATTR_INT,    /* int64_t */
    GR_ATTR_FLOAT,  /* double */
    GR_ATTR_BOOL,   /* bool */
    GR_ATTR_ENUM,   /* int: the index into choices */
    GR_ATTR_SIZE2,  /* int64_t[2]: height, width; one number stands for both */
    GR_ATTR_PAD4,   /* int64_t[4]: top, left, bottom, right; one number for all, two for h and w */
    GR_ATTR_INTS,   /* struct gr_ints: a list of integers */
    GR_ATTR_FLOATS, /* struct gr_floats: a list of numbers; one number is a list of one */
    GR_ATTR_STRING, /* const char *: NULL when absent */
    GR_ATTR_PATH,   /* const char *: as STRING, relative to the directory of the model file */
};

enum { GR_ATTR_LIST_MAX = 256 };

struct gr_ints {
    int count;
    const int64_t *items;
};

struct gr_floats {
    int count;
    const double *items;
};

struct gr_attr {
    const char *name;
    enum gr_attr_type type;
    size_t offset; /* of the field in the kind's attribute struct */
    bool required;
    double def;                 /* default of INT, FLOAT, BOOL, SIZE2, PAD4; choice index of ENUM */
    double min, max;            /* inclusive bounds of each number; both 0: any */
    const char *const *choices; /* ENUM: NULL-terminated */
    const char *doc;
};

/* An attribute table ends with a row whose name is NULL. attrs may be NULL: no attributes. */
struct gr_kind {
    const char *name, *doc;
    const struct gr_attr *attrs;
    size_t attrs_size; /* bytes of the attribute struct */
};

/* A kind chosen, with its attributes; kind NULL: nothing chosen. attrs is borrowed from a pool. */
struct gr_choice {
    const struct gr_kind *kind;
    void *attrs;
};

/* Where in a model file something was written; line and column count from 1, 0 is nowhere. */
struct gr_mark {
    const char *file;
    int line, column;
};

/* The attribute of that name, or NULL. */
const struct gr_attr *gr_kind_attr(const struct gr_kind *kind, const char *name);

/* A fresh attribute struct holding every default; NULL: out of memory. */
void *gr_kind_defaults(const struct gr_kind *kind, struct gr_pool *pool);

/*
 * Appends "kernel 11, stride 4": the attributes of `attrs` that differ from their default, at most
 * `most` of them, separated by ", "; with yaml, in YAML's own "name: value" form.
 */
void gr_kind_describe(const struct gr_kind *kind, const void *attrs, int most, bool yaml,
                      struct gr_text *out);

#endif
