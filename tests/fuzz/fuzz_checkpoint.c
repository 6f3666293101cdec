/*
 * A checkpoint of a stranger's run, by the first byte: resumed, loaded as weights, or taken over in
 * part. The model stays the same; the seed among its corpus is a checkpoint of it.
 */
#include "fuzz.h"

#include <string.h>

#include "checkpoint_case.h"
#include "train/checkpoint.h"

static struct gr_model *open_model(void)
{
    struct gr_error err = {0};
    const struct gr_context_options options = {.threads = 1, .kernels = GR_KERNELS_OPENBLAS};
    struct gr_context *context = gr_context_new(gr_standard_ops(), &options, &err);
    const struct gr_fuzz_bytes bytes = {(const uint8_t *)gr_fuzz_checkpoint_model,
                                        strlen(gr_fuzz_checkpoint_model)};
    const struct gr_model_options seeded = {.seed = GR_FUZZ_SEED};
    struct gr_model *model =
        context ? gr_model_load(context, gr_fuzz_file(0, bytes), &seeded, &err) : NULL;
    gr_fuzz_expect(model != NULL, "the target's model can be read");
    return model;
}

static void resume(struct gr_model *model, const char *path)
{
    const struct gr_plan_options options = {.mode = GR_TRAIN, .batch = 2, .update = true};
    struct gr_checkpoint checkpoint;
    struct gr_error err = {0};
    if (!gr_checkpoint_open(&checkpoint, model, path, &err))
        return;
    gr_checkpoint_recall(&checkpoint, model, &options);
    gr_checkpoint_restore(&checkpoint, model, &err);
    gr_checkpoint_release(&checkpoint);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const renames[] = {"fc*.*=fc.*", "a=fc"}, *const only[] = {"fc*"};
    static struct gr_model *model;
    struct gr_fuzz_bytes rest = {data, size};
    struct gr_error err = {0};
    const struct gr_transfer_options taking = {
        .only = only, .n_only = 1, .rename = renames, .n_rename = 2};
    if (!model)
        model = open_model();
    const uint8_t way = gr_fuzz_byte(&rest) % 3;
    const char *path = gr_fuzz_file(1, rest);
    if (way == 0)
        resume(model, path);
    else if (way == 1)
        gr_model_load_weights(model, path, &err);
    else
        gr_model_transfer_weights(model, path, &taking, &err);
    return 0;
}
