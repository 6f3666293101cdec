/*
 * A file of kernel choices, as in a stranger's run folder.
 */
#include "fuzz.h"

#include "model/tuning_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gr_error err = {0};
    struct gr_tuning *tuning = gr_tuning_new(false, &err);
    gr_fuzz_expect(tuning != NULL, "there is memory");
    gr_tuning_file_load(tuning, gr_fuzz_file(0, (struct gr_fuzz_bytes){data, size}), "fuzz", &err);
    gr_tuning_find(tuning, "conv");
    gr_tuning_free(tuning);
    return 0;
}
