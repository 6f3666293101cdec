/*
 * A small shard; see shard_case.h.
 */
#include "shard_case.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/jpeg_write.h"
#include "data/tar_write.h"
#include "fuzz.h"

size_t gr_fuzz_shard_offset[GR_FUZZ_PICTURES], gr_fuzz_shard_size[GR_FUZZ_PICTURES];

static size_t put(uint8_t *to, const char *name, const void *bytes, size_t size)
{
    gr_tar_header(name, size, to);
    memcpy(to + GR_TAR_BLOCK, bytes, size);
    return GR_TAR_BLOCK + size + gr_tar_padding(size);
}

size_t gr_fuzz_shard(uint8_t shard[GR_FUZZ_SHARD])
{
    static const int64_t sides[GR_FUZZ_PICTURES][2] = {{8, 8}, {5, 7}};
    static uint8_t pixels[8 * 8 * 3];
    size_t length = 0;
    memset(shard, 0, GR_FUZZ_SHARD);
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i * 37);
    for (int i = 0; i < GR_FUZZ_PICTURES; i++) {
        const struct gr_view view = gr_view_interleaved(pixels, 3, sides[i][0], sides[i][1]);
        uint8_t *bytes = NULL;
        char name[32];
        gr_fuzz_expect(gr_jpeg_encode(&view, 90, &bytes, &gr_fuzz_shard_size[i], NULL),
                       "a picture can be made");
        snprintf(name, sizeof name, "%08d.jpg", i);
        gr_fuzz_shard_offset[i] = length + GR_TAR_BLOCK;
        length += put(shard + length, name, bytes, gr_fuzz_shard_size[i]);
        snprintf(name, sizeof name, "%08d.cls", i);
        length += put(shard + length, name, "1", 1);
        free(bytes);
    }
    return length + GR_TAR_END;
}
