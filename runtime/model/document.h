/*
 * A YAML document as a tree with marks: what libyaml's events become before anything is understood.
 *
 * Anchors, aliases and merge keys are resolved here (an alias is a copy, so that an override of one
 * place does not change another), duplicate keys are mistakes, and depth and size are bounded, so
 * that a bomb of aliases ends in a message. Only document.c includes yaml.h.
 */
#ifndef GR_MODEL_DOCUMENT_H
#define GR_MODEL_DOCUMENT_H

#include "model/diagnostics.h"

enum gr_doc_type { GR_DOC_SCALAR, GR_DOC_SEQUENCE, GR_DOC_MAPPING };

struct gr_doc_pair {
    const char *key;
    struct gr_mark mark; /* of the key */
    struct gr_doc *value;
};

struct gr_doc {
    enum gr_doc_type type;
    struct gr_mark mark;
    const struct gr_block_use *use; /* the block use this was expanded for, or NULL */
    const char *text;               /* of a scalar */
    bool plain;                     /* scalar: not quoted, so it may be a number */
    bool broken; /* stands for what was in error already: nothing more is said about it */
    const char
        *unset; /* scalar: names an environment variable that is not set; text is as written */
    int height; /* levels of lists and mappings in it: 0 for a scalar */
    size_t count, capacity;    /* of items or pairs */
    struct gr_doc **items;     /* of a sequence */
    struct gr_doc_pair *pairs; /* of a mapping */
};

enum {
    GR_DOC_MAX_BYTES = 16 << 20, /* of a file */
    GR_DOC_MAX_NODES = 500000,   /* after aliases and blocks, of a file of no more bytes */
    GR_DOC_MAX_DEPTH = 64,
    GR_DOC_MAX_KEYS = 1024,     /* of a mapping */
    GR_DOC_MAX_TEXT = 64 << 20, /* bytes that copies and variables add to what is written */
};

/* Makes nodes in a pool and counts them: no more than the bytes read, where those are many. */
struct gr_doc_maker {
    struct gr_pool *pool;
    struct gr_diagnostics *diagnostics;
    size_t nodes, bytes;
    size_t text; /* bytes of copied keys and texts, and of what variables stand for */
    bool full;   /* a bound was met, and told once */
    bool failed; /* out of memory */
};

/*
 * Parses one document. Columns of the first line are counted from 1 + indent (the value of an
 * override is part of a longer line). Mistakes are noted; NULL when nothing could be made of it.
 */
struct gr_doc *gr_doc_parse(struct gr_doc_maker *maker, const struct gr_source *source,
                            size_t indent);

/* New nodes and a deep copy; NULL: out of memory or too many. use replaces the copies' own. */
struct gr_doc *gr_doc_new(struct gr_doc_maker *maker, enum gr_doc_type type, struct gr_mark mark);
struct gr_doc *gr_doc_scalar(struct gr_doc_maker *maker, const char *text, struct gr_mark mark);
struct gr_doc *gr_doc_copy(struct gr_doc_maker *maker, const struct gr_doc *doc);
bool gr_doc_append(struct gr_doc_maker *maker, struct gr_doc *sequence, struct gr_doc *item);

/* Appends a pair; the key (borrowed) must be new. */
bool gr_doc_put(struct gr_doc_maker *maker, struct gr_doc *mapping, const char *key,
                struct gr_mark mark, struct gr_doc *value);

/* Counts bytes of text that the file did not spell out; false: they are too many, noted once. */
bool gr_doc_count_text(struct gr_doc_maker *maker, size_t bytes, struct gr_mark mark);

/* The pair or value under a key; NULL: absent, or doc is NULL or no mapping. */
struct gr_doc_pair *gr_doc_pair(const struct gr_doc *mapping, const char *key);
struct gr_doc *gr_doc_get(const struct gr_doc *mapping, const char *key);

/* Is it a scalar written as nothing, ~ or null? */
bool gr_doc_is_null(const struct gr_doc *doc);

/* "a list", "a mapping", "nothing", "'abc'": for messages; from the pool. */
const char *gr_doc_describe(struct gr_pool *pool, const struct gr_doc *doc);

#endif
