/*
 * The index of a pack, beside a shard that is sound: two pictures of 8×8 and 5×7 pixels.
 */
#include "fuzz.h"
#include "source_case.h"

#include <stdlib.h>
#include <string.h>

#include "data/jpeg_write.h"
#include "data/tar_write.h"
#include "shard_case.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void *attrs;
    struct gr_fuzz_bytes rest = {data, size};
    const struct gr_source *source = &gr_source_pack;
    struct gr_statistics statistics;
    struct gr_error err = {0};
    const uint8_t way = gr_fuzz_byte(&rest);
    if (!attrs) {
        attrs = gr_fuzz_attrs(source);
        gr_fuzz_set(attrs, source, "path", gr_fuzz_folder());
        uint8_t shard[GR_FUZZ_SHARD];
        const size_t length = gr_fuzz_shard(shard);
        gr_fuzz_put("000000.tar", (struct gr_fuzz_bytes){shard, length});
    }
    gr_fuzz_put("index.jsonl", rest);
    source->statistics(attrs, &statistics, &err);
    gr_fuzz_source(source, attrs, way & 1 ? 3 : 0, way & 2);
    return 0;
}
