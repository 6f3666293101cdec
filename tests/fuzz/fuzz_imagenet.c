/*
 * ILSVRC as it is handed out: a list of synsets, a file of labels and an archive. The first byte
 * says whether it is the training set, a tar of tars, or the flat one with labels.
 */
#include "fuzz.h"
#include "source_case.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void *attrs;
    struct gr_fuzz_bytes rest = {data, size};
    const struct gr_source *source = &gr_source_imagenet;
    const uint8_t way = gr_fuzz_byte(&rest);
    const struct gr_fuzz_bytes synsets = gr_fuzz_cut(&rest), labels = gr_fuzz_cut(&rest);
    if (!attrs)
        attrs = gr_fuzz_attrs(source);
    gr_fuzz_set(attrs, source, "path", gr_fuzz_file(0, rest));
    gr_fuzz_set(attrs, source, "synsets", way & 1 ? gr_fuzz_file(1, synsets) : NULL);
    gr_fuzz_set(attrs, source, "labels", way & 2 ? gr_fuzz_file(2, labels) : NULL);
    gr_fuzz_source(source, attrs, way & 4 ? 3 : 0, true);
    return 0;
}
