/*
 * CIFAR: a file of records, of 10 or of 100 classes by the first byte.
 */
#include "fuzz.h"
#include "source_case.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void *ten, *hundred;
    struct gr_fuzz_bytes rest = {data, size};
    const uint8_t way = gr_fuzz_byte(&rest);
    const struct gr_source *source = way & 1 ? &gr_source_cifar100 : &gr_source_cifar10;
    if (!ten) {
        ten = gr_fuzz_attrs(&gr_source_cifar10);
        hundred = gr_fuzz_attrs(&gr_source_cifar100);
    }
    void *attrs = way & 1 ? hundred : ten;
    gr_fuzz_set(attrs, source, "path", gr_fuzz_file(0, rest));
    gr_fuzz_source(source, attrs, way & 2 ? 10 : 0, way & 4);
    return 0;
}
