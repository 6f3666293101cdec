/*
 * The element types of safetensors files and how each becomes one of ours.
 */
#ifndef GR_MODEL_SAFETENSORS_TYPES_H
#define GR_MODEL_SAFETENSORS_TYPES_H

#include "base/error.h"

struct gr_safetensors_type {
    const char *name;    /* "F32" */
    size_t bytes;        /* of an element in the file */
    enum gr_dtype dtype; /* that it has in memory */
    /*
     * Converts count elements of that many bytes, unaligned, and returns how many it could: fewer
     * than count when one does not fit. NULL: the bytes are the same.
     */
    size_t (*convert)(const unsigned char *src, size_t bytes, size_t count, void *dst);
};

/* The type of that name, or NULL. */
const struct gr_safetensors_type *gr_safetensors_type(const char *name);

#endif
