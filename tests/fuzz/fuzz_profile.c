/*
 * A profile, as `dot --profile` reads it.
 */
#include "fuzz.h"

#include "profile_file.h"
#include "settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gr_profile_file file = {0};
    struct gr_settings settings = {.mode = -1};
    const char *path = gr_fuzz_file(0, (struct gr_fuzz_bytes){data, size});
    gr_profile_file_open(&file, path, &settings);
    gr_profile_file_close(&file);
    return 0;
}
