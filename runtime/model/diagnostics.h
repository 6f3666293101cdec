/*
 * Diagnostics: every mistake of a model file, collected while it is read and delivered together.
 *
 * One diagnostic is one text of several lines:
 *
 *     m.yaml:7:33: error: conv has no attribute 'kernal'
 *       - {name: conv1, op: conv, kernal: 3}
 *                                 ^
 *       in block 'basic' used at m.yaml:20:5
 *       did you mean 'kernel'?
 *
 * They come out sorted by position, each once.
 */
#ifndef GR_MODEL_DIAGNOSTICS_H
#define GR_MODEL_DIAGNOSTICS_H

#include "base/kind.h"
#include "base/text.h"

/* A block being used: the place that errors inside the block were called from. */
struct gr_block_use {
    const char *block;
    struct gr_mark mark;
    const struct gr_block_use *outer; /* the use around this one, or NULL */
};

/* A text that marks point into. Marks are matched to it by the identity of mark.file and name. */
struct gr_source {
    const char *name;
    const char *text;
    size_t length;
    int order; /* 0 is the model file; overrides follow */
    struct gr_source *next;
};

struct gr_diagnostic {
    struct gr_mark mark;
    const struct gr_block_use *use;
    const char *message;
    const char *suggestion; /* or NULL */
    int order;
    size_t serial;
};

/* Zero-initialised but for pool is empty. Everything lives in the pool but for the array. */
struct gr_diagnostics {
    struct gr_pool *pool;
    struct gr_source *sources;
    struct gr_diagnostic *items;
    size_t count, capacity;
    size_t dropped; /* beyond GR_DIAGNOSTICS_MAX */
    bool failed;    /* out of memory while noting one */
};

enum { GR_DIAGNOSTICS_MAX = 1000 };

/* Registers a text (borrowed) under a name; NULL: out of memory. The result's name is for marks. */
struct gr_source *gr_diagnostics_source(struct gr_diagnostics *all, const char *name,
                                        const char *text, size_t length);

/* Notes a mistake. use and suggestion may be NULL; both are borrowed. */
void gr_diagnose(struct gr_diagnostics *all, struct gr_mark mark, const struct gr_block_use *use,
                 const char *suggestion, const char *format, ...) GR_PRINTF(5, 6);

/* Sorts, drops repetitions and delivers each diagnostic as one text; log may be NULL. */
bool gr_diagnostics_deliver(struct gr_diagnostics *all, gr_log_fn *log, void *log_user,
                            struct gr_error *err);

/* Frees the array. The pool is the caller's. */
void gr_diagnostics_release(struct gr_diagnostics *all);

#endif
