/*
 * MATLAB's files of version 5, what `save` writes, as far as ImageNet's meta.mat needs them: one
 * array of structs, whose fields are texts and numbers. Little-endian, compressed or not.
 */
#ifndef GR_DATA_MAT_H
#define GR_DATA_MAT_H

#include "base/pool.h"
#include "data/image.h"

/* Bounds: the kit's meta.mat is far below both. */
enum { GR_MAT_BYTES_MAX = 1 << 24, GR_MAT_UNPACKED_MAX = 1 << 26 };

/* A field of one struct, as it lies in the file. */
struct gr_mat_value {
    int kind; /* of MATLAB's classes; 0: empty */
    int type; /* of the elements */
    const uint8_t *data;
    size_t size; /* bytes */
};

/* Zero-initialised is closed. The values go struct by struct, in each field by field. */
struct gr_mat {
    const char *path; /* borrowed */
    struct gr_buffer file, unpacked;
    const uint8_t *at, *end; /* what is left */
    const char *names;       /* [fields], each in name_bytes bytes and ended by a zero byte */
    size_t fields, name_bytes;
    int64_t structs;
};

/* Whether the file says that it is MATLAB's, of any version. */
bool gr_mat_is(const char *path, bool *is, struct gr_error *err);

/* Finds the array of structs that has this name. Failures name the file, damage is GR_ERR_DATA. */
bool gr_mat_open(struct gr_mat *mat, const char *path, const char *name, struct gr_error *err);
void gr_mat_release(struct gr_mat *mat);

/* The name of field i. */
const char *gr_mat_field(const struct gr_mat *mat, size_t i);

/* The next of structs × fields values; points into mat. */
bool gr_mat_next(struct gr_mat *mat, struct gr_mat_value *value, struct gr_error *err);

/* A text as UTF-8 in the pool; "" where it is none. NULL: out of memory. */
char *gr_mat_text(const struct gr_mat_value *value, struct gr_pool *pool);

/* A single number. NaN: it is none. */
double gr_mat_number(const struct gr_mat_value *value);

#endif
