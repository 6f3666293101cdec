/*
 * Philox 4x32-10; see random.h for the paper.
 */
#include "base/random.h"

#include <math.h>

static const float two_pi = 6.28318530717958648f;

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

void gr_random_block(const struct gr_random_key *key, uint64_t index, uint32_t out[4])
{
    uint32_t c0 = (uint32_t)index, c1 = (uint32_t)(index >> 32), c2 = key->major, c3 = key->minor;
    uint32_t k0 = key->word[0], k1 = key->word[1];
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = UINT64_C(0xd2511f53) * c0, p1 = UINT64_C(0xcd9e8d57) * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += UINT32_C(0x9e3779b9);
        k1 += UINT32_C(0xbb67ae85);
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

static float unit(uint32_t word)
{
    return (float)(word >> 8) * 0x1p-24f;
}

void gr_random_uniforms(const struct gr_random_key *key, uint64_t block, float out[4])
{
    uint32_t words[4];
    gr_random_block(key, block, words);
    for (int i = 0; i < 4; i++)
        out[i] = unit(words[i]);
}

/* Each pair of words gives a radius and an angle, and these two numbers. */
void gr_random_normals(const struct gr_random_key *key, uint64_t block, float out[4])
{
    uint32_t words[4];
    gr_random_block(key, block, words);
    for (int pair = 0; pair < 4; pair += 2) {
        const float radius = sqrtf(-2.0f * logf(1.0f - unit(words[pair])));
        const float angle = two_pi * unit(words[pair + 1]);
        out[pair] = radius * cosf(angle);
        out[pair + 1] = radius * sinf(angle);
    }
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

uint64_t gr_random_below(const struct gr_random_key *key, uint64_t index, uint64_t bound)
{
    uint32_t words[4];
    gr_random_block(key, index / 2, words);
    const unsigned pair = (unsigned)(index % 2) * 2;
    const uint64_t word = (uint64_t)words[pair + 1] << 32 | words[pair];
    return word % bound; /* the bias, bound / 2^64, is below anything a run can show */
}

uint32_t gr_random_name(const char *name)
{
    uint32_t hash = UINT32_C(2166136261);
    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * UINT32_C(16777619);
    return hash;
}
