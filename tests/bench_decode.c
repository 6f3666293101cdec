/*
 * Times reading, decoding and transforming the samples of a model's data, on one thread:
 *
 *   IMAGENET=... build/bench_decode models/alexnet.yaml [train|val]
 */
#include "data/dataset.h"
#include "graphrunner.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "model/model.h"

enum { MOST = 1000 };

static int fail(const struct gr_error *err)
{
    fprintf(stderr, "bench_decode: %s\n", err->message);
    return 1;
}

/* Milliseconds a sample. */
static bool measure(const struct gr_dataset *dataset, double *milliseconds, struct gr_error *err)
{
    const int64_t count = gr_dataset_count(dataset) < MOST ? gr_dataset_count(dataset) : MOST;
    const struct gr_draw draw = {1, 0};
    struct gr_scratch *scratch = gr_scratch_new();
    float *out = calloc((size_t)gr_shape_count(gr_dataset_shape(dataset)), sizeof *out);
    bool ok = scratch && out;
    const double start = gr_seconds();
    for (int64_t i = 0; ok && i < count; i++)
        ok = gr_dataset_read(dataset, i, &draw, scratch, out, err) == GR_READ_DONE;
    *milliseconds = 1e3 * (gr_seconds() - start) / (double)count;
    gr_scratch_free(scratch);
    free(out);
    return ok;
}

int main(int argc, char **argv)
{
    struct gr_error err = {0};
    if (argc < 2)
        return 2;
    struct gr_context *context = gr_context_new(gr_standard_ops(), NULL, &err);
    struct gr_model *model = context ? gr_model_load(context, argv[1], NULL, &err) : NULL;
    if (!model)
        return fail(&err);
    const struct gr_model_part *part =
        gr_model_file_part(model->file, argc > 2 ? argv[2] : "train");
    if (!part)
        return 2;
    struct gr_dataset *dataset =
        gr_dataset_open(&part->data, &model->file->inputs[0].shape, 0, NULL, NULL, &err);
    for (int round = 0; dataset && round < 3; round++) {
        double milliseconds;
        if (!measure(dataset, &milliseconds, &err))
            return fail(&err);
        printf("%s: %.3f ms an image\n", part->data.name, milliseconds);
    }
    if (!dataset)
        return fail(&err);
    gr_dataset_free(dataset);
    gr_model_free(model);
    gr_context_free(context);
    return 0;
}
