/*
 * Data sources on hostile files; see source_case.h.
 */
#include "source_case.h"

#include <stdlib.h>
#include <string.h>

#include "data/dataset.h"
#include "data/transform.h"
#include "fuzz.h"

enum { SIDE = 8, SAMPLES_MOST = 8 };

void *gr_fuzz_attrs(const struct gr_source *source)
{
    static struct gr_pool pool;
    void *attrs = gr_kind_defaults(&source->kind, &pool);
    gr_fuzz_expect(attrs != NULL, "there is memory");
    return attrs;
}

void gr_fuzz_set(void *attrs, const struct gr_source *source, const char *name, const char *text)
{
    const struct gr_attr *attr = gr_kind_attr(&source->kind, name);
    gr_fuzz_expect(attr && (attr->type == GR_ATTR_PATH || attr->type == GR_ATTR_STRING),
                   "the source has that attribute");
    memcpy((char *)attrs + attr->offset, &text, sizeof text);
}

/* A crop to SIDE×SIDE, made once. */
static const struct gr_choice *crop(void)
{
    static struct gr_pool pool;
    static struct gr_choice choice;
    if (!choice.kind) {
        const struct gr_kind *kind = &gr_transform_crop.kind;
        choice.attrs = gr_kind_defaults(kind, &pool);
        gr_fuzz_expect(choice.attrs != NULL, "there is memory");
        int64_t *size = (void *)((char *)choice.attrs + gr_kind_attr(kind, "size")->offset);
        size[0] = size[1] = SIDE;
        choice.kind = kind;
    }
    return &choice;
}

static void read_all(const struct gr_dataset *dataset, float *out)
{
    struct gr_scratch *scratch = gr_scratch_new();
    gr_fuzz_expect(scratch != NULL, "there is memory");
    const int64_t count = gr_dataset_count(dataset);
    for (int64_t i = 0; i < count && i < SAMPLES_MOST; i++) {
        const int64_t index = i % 2 ? count - 1 - i / 2 : i / 2; /* both ends */
        const struct gr_draw draw = {1, 0};
        struct gr_error err = {0};
        char name[64];
        gr_dataset_read(dataset, index, &draw, scratch, out, &err);
        gr_dataset_sample_name(dataset, index, name, sizeof name);
        gr_dataset_class_name(dataset, gr_dataset_label(dataset, index));
    }
    gr_scratch_free(scratch);
}

void gr_fuzz_source(const struct gr_source *source, const void *attrs, int64_t classes,
                    bool cropped)
{
    static float out[3 * 32 * 32];
    const bool cifar = source->side == 32;
    const int64_t side = cifar && !cropped ? 32 : SIDE;
    const struct gr_shape shape = {3, {3, side, side}}, grey = {3, {1, side, side}};
    struct gr_error err = {0};
    struct gr_choice choice = {&source->kind, NULL};
    memcpy(&choice.attrs, &attrs, sizeof attrs);
    const struct gr_data_part part = {"train", choice, crop(), cropped, false, NULL};
    const bool is_grey = source == &gr_source_idx;
    struct gr_dataset *dataset =
        gr_dataset_open(&part, is_grey ? &grey : &shape, classes, NULL, NULL, &err);
    if (!dataset)
        gr_fuzz_expect(err.status != GR_OK, "a failure says why");
    else
        read_all(dataset, out);
    gr_dataset_free(dataset);
}
