/*
 * The source `synthetic`: images made up on the fly, for trying a model without data. Each class
 * has a pattern of 8×8 grey or coloured blocks; noise is laid over it. What a class looks like is
 * the same in every part, only the noise depends on `seed`, so that a network can learn on one part
 * and be tested on another.
 */
#include "base/random.h"
#include "data/source.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { BLOCKS = 8, PATTERN_SEED = 8 };

struct synthetic_attrs {
    int64_t count, classes, seed;
    double noise;
};

static const struct gr_attr synthetic_table[] = {
    {.name = "count",
     .type = GR_ATTR_INT,
     .offset = offsetof(struct synthetic_attrs, count),
     .def = 1024,
     .min = 1,
     .max = UINT32_MAX,
     .doc = "how many images"},
    {.name = "classes",
     .type = GR_ATTR_INT,
     .offset = offsetof(struct synthetic_attrs, classes),
     .max = INT32_MAX,
     .doc = "how many classes; 0: as many as the model's label has"},
    {.name = "noise",
     .type = GR_ATTR_FLOAT,
     .offset = offsetof(struct synthetic_attrs, noise),
     .def = 32,
     .max = 255,
     .doc = "standard deviation of what is added to each pixel"},
    {.name = "seed",
     .type = GR_ATTR_INT,
     .offset = offsetof(struct synthetic_attrs, seed),
     .max = UINT32_MAX,
     .doc = "of the noise; give each part its own"},
    {.name = NULL},
};

static bool synthetic_open(const void *attrs, const struct gr_source_wish *wish,
                           struct gr_samples *samples, struct gr_error *err)
{
    const struct synthetic_attrs *a = attrs;
    samples->count = a->count;
    samples->classes = a->classes ? a->classes : wish->classes ? wish->classes : 10;
    samples->channels = wish->channels;
    samples->height = wish->height;
    samples->width = wish->width;
    struct synthetic_attrs *state = gr_pool_alloc(&samples->pool, sizeof *state);
    samples->labels = calloc((size_t)a->count, sizeof *samples->labels);
    if (!state || !samples->labels)
        return gr_fail_memory(err, "opening a dataset");
    *state = *a;
    samples->state = state;
    for (int64_t i = 0; i < a->count; i++)
        samples->labels[i] = (int32_t)(i % samples->classes);
    return true;
}

/* Adds noise to one row: each pixel's is the sum of four uniform bytes, near enough to normal. */
static void add_noise(uint8_t *row, int64_t count, const struct gr_random_key *key, uint64_t block,
                      float noise)
{
    const float scale = noise / 147.8f; /* the standard deviation of that sum */
    uint32_t word[4] = {0};
    for (int64_t i = 0; i < count; i++) {
        if (i % 4 == 0)
            gr_random_block(key, block++, word);
        const uint32_t w = word[i % 4];
        const uint32_t sum = (w & 255) + (w >> 8 & 255) + (w >> 16 & 255) + (w >> 24);
        const float value = (float)row[i] + ((float)sum - 510) * scale;
        row[i] = (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
    }
}

static bool synthetic_read(const struct gr_samples *samples, int64_t index,
                           const struct gr_source_target *target, struct gr_source_scratch *scratch,
                           struct gr_view *view, struct gr_error *err)
{
    const struct synthetic_attrs *a = samples->state;
    const int64_t C = samples->channels, H = samples->height, W = samples->width;
    (void)target;
    size_t bytes;
    if (!gr_size_multiply((size_t)(C * H), (size_t)W, &bytes))
        return gr_fail_memory(err, "making an image");
    uint8_t *pixels = gr_buffer_reserve(&scratch->pixels, bytes); /* [C, H, W] */
    if (!pixels)
        return gr_fail_memory(err, "making an image");
    const struct gr_random_key pattern = gr_random_key(
        PATTERN_SEED, GR_RANDOM_SYNTHETIC, UINT32_MAX, (uint32_t)samples->labels[index]);
    const struct gr_random_key noise =
        gr_random_key((uint64_t)a->seed, GR_RANDOM_SYNTHETIC, 0, (uint32_t)index);
    for (int64_t c = 0; c < C; c++)
        for (int64_t h = 0; h < H; h++) {
            const int64_t first = (c * BLOCKS + h * BLOCKS / H) * BLOCKS;
            float level[BLOCKS]; /* 64 to 192: the noise has room */
            for (int i = 0; i < BLOCKS; i++)
                level[i] = 64 + 128 * gr_random_uniform(&pattern, (uint64_t)(first + i));
            uint8_t *row = pixels + (c * H + h) * W;
            for (int64_t w = 0; w < W; w++)
                row[w] = (uint8_t)level[w * BLOCKS / W];
            if (a->noise > 0)
                add_noise(row, W, &noise, (uint64_t)(c * H + h) * (uint64_t)((W + 3) / 4),
                          (float)a->noise);
        }
    *view = gr_view_planar(pixels, (int)C, H, W);
    return true;
}

static void synthetic_name(const struct gr_samples *samples, int64_t index, char *buffer,
                           size_t size)
{
    (void)samples;
    snprintf(buffer, size, "synthetic[%" PRId64 "]", index);
}

const struct gr_source gr_source_synthetic = {
    .kind = {"synthetic", "made-up images of the model's input shape, a pattern for each class",
             synthetic_table, sizeof(struct synthetic_attrs)},
    .fixed_size = true,
    .open = synthetic_open,
    .read = synthetic_read,
    .name = synthetic_name,
};
