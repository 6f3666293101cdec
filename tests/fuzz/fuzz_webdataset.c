/*
 * A WebDataset shard and a file of class names.
 */
#include "fuzz.h"
#include "source_case.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void *attrs;
    struct gr_fuzz_bytes rest = {data, size};
    const struct gr_source *source = &gr_source_webdataset;
    const uint8_t way = gr_fuzz_byte(&rest);
    const struct gr_fuzz_bytes names = gr_fuzz_cut(&rest);
    if (!attrs)
        attrs = gr_fuzz_attrs(source);
    gr_fuzz_set(attrs, source, "shards", gr_fuzz_file(0, rest));
    gr_fuzz_set(attrs, source, "class_names", way & 1 ? gr_fuzz_file(1, names) : NULL);
    gr_fuzz_source(source, attrs, way & 2 ? 3 : 0, way & 4);
    return 0;
}
