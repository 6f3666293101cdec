/*
 * Philox 4x32-10; see random.h for the paper. Everything is arithmetic on a number at a time,
 * without calls or branches, so that the loops over many numbers run in vectors, as wide as the
 * processor has them. The bits are the same for every width: no operation depends on it, and none
 * are contracted.
 */
#include "base/random.h"

#include <math.h>
#include <string.h>

#ifdef __clang__
#pragma STDC FP_CONTRACT OFF
#endif
#define INLINE static inline __attribute__((always_inline))

struct gr_random_key gr_random_key(uint64_t seed, enum gr_random_purpose purpose, uint32_t major,
                                   uint32_t minor)
{
    /* splitmix64's finaliser spreads small seeds over both words. */
    uint64_t z = seed + UINT64_C(0x9e3779b97f4a7c15) * (uint64_t)purpose;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    z ^= z >> 31;
    return (struct gr_random_key){{(uint32_t)z, (uint32_t)(z >> 32)}, major, minor};
}

enum { ROUNDS = 10 };
static const uint32_t weyl0 = UINT32_C(0x9e3779b9), weyl1 = UINT32_C(0xbb67ae85);

INLINE void philox_round(uint32_t *c0, uint32_t *c1, uint32_t *c2, uint32_t *c3, uint32_t k0,
                         uint32_t k1)
{
    const uint64_t p0 = UINT64_C(0xd2511f53) * *c0, p1 = UINT64_C(0xcd9e8d57) * *c2;
    *c0 = (uint32_t)(p1 >> 32) ^ *c1 ^ k0;
    *c1 = (uint32_t)p1;
    *c2 = (uint32_t)(p0 >> 32) ^ *c3 ^ k1;
    *c3 = (uint32_t)p0;
}

void gr_random_block(const struct gr_random_key *key, uint64_t index, uint32_t out[4])
{
    uint32_t k0 = key->word[0], k1 = key->word[1];
    out[0] = (uint32_t)index;
    out[1] = (uint32_t)(index >> 32);
    out[2] = key->major;
    out[3] = key->minor;
    for (int round = 0; round < ROUNDS; round++) {
        philox_round(&out[0], &out[1], &out[2], &out[3], k0, k1);
        k0 += weyl0;
        k1 += weyl1;
    }
}

/* ---- the numbers of a block -------------------------------------------------------------- */

INLINE float unit(uint32_t word)
{
    return (float)(int32_t)(word >> 8) * 0x1p-24f;
}

/*
 * The logarithm of a normal number up to 1: of its power of two, and a polynomial between the
 * square roots of 1/2 and 2 (Cephes, logf).
 */
INLINE float logarithm(float x)
{
    const int32_t root = 0x3f3504f3; /* the bits of sqrt(1/2) */
    int32_t bits;
    memcpy(&bits, &x, sizeof bits);
    const int32_t exponent = (bits - root) >> 23;
    bits -= exponent * (1 << 23);
    memcpy(&x, &bits, sizeof bits);
    const float e = (float)exponent, f = x - 1, z = f * f;
    float y = 7.0376836292e-2f * f - 1.1514610310e-1f;
    y = y * f + 1.1676998740e-1f;
    y = y * f - 1.2420140846e-1f;
    y = y * f + 1.4249322787e-1f;
    y = y * f - 1.6668057665e-1f;
    y = y * f + 2.0000714765e-1f;
    y = y * f - 2.4999993993e-1f;
    y = y * f + 3.3333331174e-1f;
    y = y * f * z - e * 2.12194440e-4f - 0.5f * z;
    return f + y + e * 0.693359375f; /* ln 2 = 0.693359375 - 0.000212194440 */
}

/* Cosine and sine of a whole turn's part, u in [0, 1): the nearest quarter, and the rest (Cephes).
 */
INLINE void turn(float u, float *cosine, float *sine)
{
    const int32_t quarter = (int32_t)(4 * u + 0.5f);
    const float x = 6.28318530717958648f * (u - 0.25f * (float)quarter), z = x * x;
    float s = -1.9515295891e-4f * z + 8.3321608736e-3f;
    s = (s * z - 1.6666654611e-1f) * z * x + x;
    float c = 2.443315711809948e-5f * z - 1.388731625493765e-3f;
    c = (c * z + 4.166664568298827e-2f) * z * z - 0.5f * z + 1;
    const float along = quarter & 1 ? s : c, across = quarter & 1 ? c : s;
    *cosine = (quarter + 1) & 2 ? -along : along;
    *sine = quarter & 2 ? -across : across;
}

/* Each pair of words gives a radius and an angle, and these two numbers. */
INLINE void box_muller(uint32_t first, uint32_t second, float *x, float *y)
{
    float cosine, sine;
    const float radius = sqrtf(-2.0f * logarithm(1.0f - unit(first)));
    turn(unit(second), &cosine, &sine);
    *x = radius * cosine;
    *y = radius * sine;
}

void gr_random_uniforms(const struct gr_random_key *key, uint64_t block, float out[4])
{
    uint32_t words[4];
    gr_random_block(key, block, words);
    for (int i = 0; i < 4; i++)
        out[i] = unit(words[i]);
}

void gr_random_normals(const struct gr_random_key *key, uint64_t block, float out[4])
{
    uint32_t words[4];
    gr_random_block(key, block, words);
    box_muller(words[0], words[1], &out[0], &out[1]);
    box_muller(words[2], words[3], &out[2], &out[3]);
}

float gr_random_uniform(const struct gr_random_key *key, uint64_t index)
{
    float numbers[4];
    gr_random_uniforms(key, index / 4, numbers);
    return numbers[index % 4];
}

float gr_random_normal(const struct gr_random_key *key, uint64_t index)
{
    float numbers[4];
    gr_random_normals(key, index / 4, numbers);
    return numbers[index % 4];
}

/* ---- many blocks ------------------------------------------------------------------------- */

enum { LANES = 16 };

/* Blocks first to first + LANES - 1, side by side: one loop a step, since those become vectors. */
INLINE void philox_lanes(const struct gr_random_key *key, uint64_t first, uint32_t c[4][LANES])
{
    uint32_t k0 = key->word[0], k1 = key->word[1];
    for (int l = 0; l < LANES; l++) {
        const uint64_t index = first + (uint64_t)l;
        c[0][l] = (uint32_t)index;
        c[1][l] = (uint32_t)(index >> 32);
        c[2][l] = key->major;
        c[3][l] = key->minor;
    }
    for (int round = 0; round < ROUNDS; round++) {
        for (int l = 0; l < LANES; l++)
            philox_round(&c[0][l], &c[1][l], &c[2][l], &c[3][l], k0, k1);
        k0 += weyl0;
        k1 += weyl1;
    }
}

INLINE void word_lanes(const struct gr_random_key *key, uint64_t first, uint32_t *restrict out)
{
    uint32_t words[4][LANES];
    philox_lanes(key, first, words);
    for (int l = 0; l < LANES; l++)
        for (int i = 0; i < 4; i++)
            out[4 * l + i] = words[i][l];
}

INLINE void uniform_lanes(const struct gr_random_key *key, uint64_t first, float *restrict out)
{
    uint32_t words[4][LANES];
    philox_lanes(key, first, words);
    for (int l = 0; l < LANES; l++)
        for (int i = 0; i < 4; i++)
            out[4 * l + i] = unit(words[i][l]);
}

INLINE void normal_lanes(const struct gr_random_key *key, uint64_t first, float *restrict out)
{
    uint32_t words[4][LANES];
    float numbers[4][LANES];
    philox_lanes(key, first, words);
    for (int pair = 0; pair < 4; pair += 2)
        for (int l = 0; l < LANES; l++)
            box_muller(words[pair][l], words[pair + 1][l], &numbers[pair][l],
                       &numbers[pair + 1][l]);
    for (int l = 0; l < LANES; l++)
        for (int i = 0; i < 4; i++)
            out[4 * l + i] = numbers[i][l];
}

INLINE void word_blocks(const struct gr_random_key *key, uint64_t first, int64_t count,
                        uint32_t *out)
{
    int64_t b = 0;
    for (; b + LANES <= count; b += LANES)
        word_lanes(key, first + (uint64_t)b, out + 4 * b);
    for (; b < count; b++)
        gr_random_block(key, first + (uint64_t)b, out + 4 * b);
}

INLINE void uniform_blocks(const struct gr_random_key *key, uint64_t first, int64_t count,
                           float *out)
{
    int64_t b = 0;
    for (; b + LANES <= count; b += LANES)
        uniform_lanes(key, first + (uint64_t)b, out + 4 * b);
    for (; b < count; b++)
        gr_random_uniforms(key, first + (uint64_t)b, out + 4 * b);
}

INLINE void normal_blocks(const struct gr_random_key *key, uint64_t first, int64_t count,
                          float *out)
{
    int64_t b = 0;
    for (; b + LANES <= count; b += LANES)
        normal_lanes(key, first + (uint64_t)b, out + 4 * b);
    for (; b < count; b++)
        gr_random_normals(key, first + (uint64_t)b, out + 4 * b);
}

#ifdef __x86_64__

#define AVX2 __attribute__((target("avx2")))
#define AVX512 __attribute__((target("avx512f")))

AVX2 static void words_avx2(const struct gr_random_key *key, uint64_t first, int64_t count,
                            uint32_t *out)
{
    word_blocks(key, first, count, out);
}

AVX512 static void words_avx512(const struct gr_random_key *key, uint64_t first, int64_t count,
                                uint32_t *out)
{
    word_blocks(key, first, count, out);
}

AVX2 static void uniforms_avx2(const struct gr_random_key *key, uint64_t first, int64_t count,
                               float *out)
{
    uniform_blocks(key, first, count, out);
}

AVX512 static void uniforms_avx512(const struct gr_random_key *key, uint64_t first, int64_t count,
                                   float *out)
{
    uniform_blocks(key, first, count, out);
}

AVX2 static void normals_avx2(const struct gr_random_key *key, uint64_t first, int64_t count,
                              float *out)
{
    normal_blocks(key, first, count, out);
}

AVX512 static void normals_avx512(const struct gr_random_key *key, uint64_t first, int64_t count,
                                  float *out)
{
    normal_blocks(key, first, count, out);
}

#endif

void gr_random_word_blocks(const struct gr_random_key *key, uint64_t first, int64_t count,
                           uint32_t *out)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx512f")) {
        words_avx512(key, first, count, out);
        return;
    }
    if (__builtin_cpu_supports("avx2")) {
        words_avx2(key, first, count, out);
        return;
    }
#endif
    word_blocks(key, first, count, out);
}

void gr_random_uniform_blocks(const struct gr_random_key *key, uint64_t first, int64_t count,
                              float *out)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx512f")) {
        uniforms_avx512(key, first, count, out);
        return;
    }
    if (__builtin_cpu_supports("avx2")) {
        uniforms_avx2(key, first, count, out);
        return;
    }
#endif
    uniform_blocks(key, first, count, out);
}

void gr_random_normal_blocks(const struct gr_random_key *key, uint64_t first, int64_t count,
                             float *out)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx512f")) {
        normals_avx512(key, first, count, out);
        return;
    }
    if (__builtin_cpu_supports("avx2")) {
        normals_avx2(key, first, count, out);
        return;
    }
#endif
    normal_blocks(key, first, count, out);
}

/* ---- others ------------------------------------------------------------------------------ */

uint64_t gr_random_below(const struct gr_random_key *key, uint64_t index, uint64_t bound)
{
    uint32_t words[4];
    gr_random_block(key, index / 2, words);
    const unsigned pair = (unsigned)(index % 2) * 2;
    const uint64_t word = (uint64_t)words[pair + 1] << 32 | words[pair];
    return word % bound; /* the bias, bound / 2^64, is below anything a run can show */
}

void gr_random_shuffle(const struct gr_random_key *key, uint32_t *items, int64_t count)
{
    for (int64_t i = count - 1; i > 0; i--) {
        const uint64_t other = gr_random_below(key, (uint64_t)i, (uint64_t)i + 1);
        const uint32_t swapped = items[i];
        items[i] = items[other];
        items[other] = swapped;
    }
}

uint32_t gr_random_name(const char *name)
{
    uint32_t hash = UINT32_C(2166136261);
    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * UINT32_C(16777619);
    return hash;
}
