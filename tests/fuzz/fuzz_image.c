/*
 * An image file decoded, as grey or RGB, whole, in part or made smaller, turned upright by its EXIF
 * data, and taken through a part's transforms. The first byte chooses.
 */
#include "fuzz.h"

#include <string.h>
#include <zlib.h>

#include "data/decode.h"
#include "model/model_file.h"

enum { SIDE = 16, CHANNELS = 3, PARTS = 4 };

static const char text[] =
    "format: 1\n"
    "inputs: {image: {shape: [3, 16, 16]}, label: {classes: 3}}\n"
    "nodes:\n"
    "  - {name: fc, op: linear, inputs: image, out_features: 3}\n"
    "  - {name: loss, op: softmax_cross_entropy, inputs: [fc, label]}\n"
    "data:\n"
    "  p0: {imagefolder: {path: x}, transform: [resize: {shortest: 20}, crop: {size: 16}, scale]}\n"
    "  p1: {imagefolder: {path: x}, transform: [crop: {size: 16, mode: random}, flip]}\n"
    "  p2: {imagefolder: {path: x}, transform: [random_resized_crop: {size: 16},\n"
    "       color_jitter: {brightness: 0.4, contrast: 0.4, saturation: 0.4}, normalize: {\n"
    "       mean: [0.5, 0.5, 0.5], std: [0.2, 0.2, 0.2]}]}\n"
    "  p3: {cifar10: {path: x}, transform: [crop: {size: 16}, grayscale: {channels: 3}]}\n";

static const struct gr_model_file *parts(void)
{
    static struct gr_model_file *file;
    struct gr_error err = {0};
    if (!file)
        file = gr_model_file_parse(gr_standard_ops(), text, strlen(text), "fuzz.yaml", NULL, NULL,
                                   NULL, &err);
    gr_fuzz_expect(file != NULL, "the target's model can be read");
    return file;
}

static bool choose_middle(void *user, int64_t height, int64_t width, struct gr_window *window,
                          struct gr_error *err)
{
    (void)user, (void)err;
    *window = (struct gr_window){height / 3, width / 3, (height + 1) / 2, (width + 1) / 2};
    return true;
}

/* All of what is shown is there to be read. */
static void look_at(const struct gr_view *view)
{
    for (int c = 0; c < view->channels; c++)
        for (int64_t h = 0; h < view->height; h++)
            for (int64_t w = 0; w < view->width; w++)
                gr_fuzz_read(view->pixels + c * view->channel_stride +
                                 (ptrdiff_t)h * view->row_stride +
                                 (ptrdiff_t)w * view->column_stride,
                             1);
}

static void decode(struct gr_fuzz_bytes bytes, int channels, bool part, int64_t shortest)
{
    static struct gr_buffer pixels;
    const struct gr_source_target target = {.shortest = shortest,
                                            .choose = part ? choose_middle : NULL};
    struct gr_image_facts facts;
    struct gr_error err = {0};
    struct gr_view view;
    gr_image_inspect(bytes.data, bytes.size, &facts, &err);
    err = (struct gr_error){0};
    if (gr_image_decode(bytes.data, bytes.size, channels, &target, &pixels, &view, &err))
        look_at(&view);
    gr_buffer_release(&pixels); /* so that what is too little is found out */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static float out[CHANNELS * SIDE * SIDE];
    const struct gr_shape shape = {3, {CHANNELS, SIDE, SIDE}};
    struct gr_fuzz_bytes rest = {data, size};
    struct gr_error err = {0};
    const uint8_t way = gr_fuzz_byte(&rest);
    if (way & 1)
        gr_data_part_image(&parts()->parts[way / 2 % PARTS].data, &shape, gr_fuzz_file(0, rest),
                           out, &err);
    else
        decode(rest, way & 2 ? 3 : 1, way & 4, way & 8 ? 4 : 0);
    return 0;
}

/* ---- checksums --------------------------------------------------------------------------- */

static size_t number(const uint8_t *at)
{
    return (size_t)at[0] << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
}

/* Those of PNG's chunks: nothing of a chunk with a wrong one is looked at. */
static void seal(uint8_t *png, size_t size)
{
    for (size_t at = 8; at + 12 <= size;) {
        const size_t length = number(png + at);
        if (length > size - at - 12)
            return;
        uint8_t *end = png + at + 8 + length;
        const unsigned long sum = crc32(0, png + at + 4, (unsigned)length + 4);
        for (int i = 0; i < 4; i++)
            end[i] = (uint8_t)(sum >> (24 - 8 * i));
        at += length + 12;
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed)
{
    size = LLVMFuzzerMutate(data, size, most);
    if (size > 9 && seed % 8 && memcmp(data + 1, "\x89PNG", 4) == 0)
        seal(data + 1, size - 1);
    return size;
}
