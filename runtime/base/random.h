/*
 * Counter-based random numbers: Philox 4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel Random
 * Numbers: As Easy as 1, 2, 3", SC 2011).
 *
 * A draw is a pure function of (seed, purpose, major, minor, index): no state, so no draw depends
 * on the thread count or on what was drawn before. `major` is the training step or epoch, `minor`
 * the sample, parameter or node; what they mean is the purpose's.
 */
#ifndef GR_BASE_RANDOM_H
#define GR_BASE_RANDOM_H

#include <stdint.h>

enum gr_random_purpose {
    GR_RANDOM_INIT = 1,
    GR_RANDOM_DROPOUT,
    GR_RANDOM_SHUFFLE,
    GR_RANDOM_AUGMENT,
    GR_RANDOM_SYNTHETIC,
    GR_RANDOM_CHECK,
};

struct gr_random_key {
    uint32_t word[2]; /* from the seed and the purpose */
    uint32_t major;   /* step or epoch */
    uint32_t minor;   /* sample, parameter or node */
};

struct gr_random_key gr_random_key(uint64_t seed, enum gr_random_purpose purpose, uint32_t major,
                                   uint32_t minor);

/* The index-th block of four 32-bit words of the key's sequence. */
void gr_random_block(const struct gr_random_key *key, uint64_t index, uint32_t out[4]);

/* The index-th number of the key's sequence: uniform in [0, 1), 24 bits. */
float gr_random_uniform(const struct gr_random_key *key, uint64_t index);

/* The index-th number of the key's sequence: N(0, 1) by Box-Muller. */
float gr_random_normal(const struct gr_random_key *key, uint64_t index);

/* Numbers 4·block to 4·block + 3 of the same sequences: a quarter, or less, of the work of each
 * alone. */
void gr_random_uniforms(const struct gr_random_key *key, uint64_t block, float out[4]);
void gr_random_normals(const struct gr_random_key *key, uint64_t block, float out[4]);

/* The words of count blocks from the first one on, into out [4 * count], in vectors. */
void gr_random_word_blocks(const struct gr_random_key *key, uint64_t first, int64_t count,
                           uint32_t *out);

/* The numbers of count blocks from the first one on, into out [4 * count], in vectors. */
void gr_random_uniform_blocks(const struct gr_random_key *key, uint64_t first, int64_t count,
                              float *out);
void gr_random_normal_blocks(const struct gr_random_key *key, uint64_t first, int64_t count,
                             float *out);

/* The index-th number of the key's sequence: an integer in [0, bound), bound at least 1. */
uint64_t gr_random_below(const struct gr_random_key *key, uint64_t index, uint64_t bound);

/* Fisher and Yates's shuffle, from the end, by the key's sequence. */
void gr_random_shuffle(const struct gr_random_key *key, uint32_t *items, int64_t count);

/* FNV-1a of a name: the `minor` of parameters and nodes. */
uint32_t gr_random_name(const char *name);

#endif
