/*
 * Writes MATLAB's files of version 5 for tests: ImageNet's meta.mat, as MATLAB saves it.
 */
#ifndef GR_TESTS_MAKE_MAT_H
#define GR_TESTS_MAKE_MAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gr_make_mat_synset {
    int id;
    const char *wnid, *words; /* words in ISO 8859-1 */
    int num_children;
};

/*
 * A number `version`, and the array of structs `synsets` with the fields ILSVRC2012_ID, WNID,
 * words, num_children and children. Returns the bytes, on the heap, and their number.
 */
uint8_t *gr_make_mat(const struct gr_make_mat_synset *items, size_t count, bool compressed,
                     size_t *size);

#endif
