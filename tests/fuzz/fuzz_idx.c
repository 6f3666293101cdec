/*
 * IDX: the first part is the file of images, the rest that of labels; gzipped or not.
 */
#include "fuzz.h"
#include "source_case.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void *attrs;
    struct gr_fuzz_bytes rest = {data, size};
    const uint8_t way = gr_fuzz_byte(&rest);
    const struct gr_fuzz_bytes images = gr_fuzz_cut(&rest);
    if (!attrs)
        attrs = gr_fuzz_attrs(&gr_source_idx);
    gr_fuzz_set(attrs, &gr_source_idx, "images", gr_fuzz_file(0, images));
    gr_fuzz_set(attrs, &gr_source_idx, "labels", gr_fuzz_file(1, rest));
    gr_fuzz_source(&gr_source_idx, attrs, 10, way & 1);
    return 0;
}
