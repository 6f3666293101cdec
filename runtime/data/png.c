/*
 * Decoding PNG; see png.h. As with libjpeg, errors jump back to where the decoder was set up.
 */
#include "data/png.h"

#include "data/decode.h"

#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

enum { CHUNK_MAX = 1 << 23, CHUNKS_CACHED = 64, DEFLATE_MOST = 1040 };

/*
 * Bounds on the work that a file may ask for: sides as JPEG has them, since each row costs
 * something, and pixels: some for any file, and more for each of its bytes.
 */
enum { SIDE_MAX = 65535, PIXELS_ANY = 1 << 26, PIXELS_A_BYTE = 256 };

struct reader {
    png_structp png;
    png_infop info;
    const uint8_t *bytes;
    size_t size, position;
    bool no_memory;
    char message[160];
};

static void on_error(png_structp png, png_const_charp text)
{
    struct reader *reader = png_get_error_ptr(png);
    reader->no_memory = strstr(text, "emory") != NULL;
    snprintf(reader->message, sizeof reader->message, "%s", text);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp text)
{
    (void)png, (void)text;
}

static void read_bytes(png_structp png, png_bytep out, size_t count)
{
    struct reader *reader = png_get_io_ptr(png);
    if (count > reader->size - reader->position)
        png_error(png, "the file ends early");
    memcpy(out, reader->bytes + reader->position, count);
    reader->position += count;
}

/*
 * That the chunks are there as long as they say: libpng takes memory for some of them, of up to
 * 2 GiB, before it reads them.
 */
static bool has_chunks(const struct reader *reader)
{
    enum { SIGNATURE = 8, AROUND = 12 };
    size_t at = SIGNATURE;
    while (at < reader->size) {
        if (reader->size - at < AROUND)
            return false;
        const size_t length = png_get_uint_32(reader->bytes + at);
        if (length > reader->size - at - AROUND)
            return false;
        if (memcmp(reader->bytes + at + 4, "IEND", 4) == 0)
            break;
        at += length + AROUND;
    }
    return true;
}

static bool reader_init(struct reader *reader, const uint8_t *bytes, size_t size)
{
    *reader = (struct reader){.bytes = bytes, .size = size};
    reader->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, reader, on_error, on_warning);
    reader->info = reader->png ? png_create_info_struct(reader->png) : NULL;
    if (!reader->info)
        return false;
    png_set_read_fn(reader->png, reader, read_bytes);
    png_set_user_limits(reader->png, GR_DECODE_PIXELS_MAX, GR_DECODE_PIXELS_MAX);
    png_set_chunk_malloc_max(reader->png, CHUNK_MAX);
    png_set_chunk_cache_max(reader->png, CHUNKS_CACHED);
    return true;
}

/* Reads the header; from here on rows come as 8-bit grey, or RGB. Needs the jump to be set. */
static void start(struct reader *reader, int channels)
{
    png_structp png = reader->png;
    if (!has_chunks(reader))
        png_error(png, "the file ends early");
    png_read_info(png, reader->info);
    const size_t width = png_get_image_width(png, reader->info);
    const size_t height = png_get_image_height(png, reader->info);
    if (width > SIDE_MAX || height > SIDE_MAX) {
        snprintf(reader->message, sizeof reader->message, "%zu×%zu: a side is at most %d pixels",
                 height, width, SIDE_MAX);
        png_longjmp(png, 1);
    }
    if (width > GR_DECODE_PIXELS_MAX / height) {
        snprintf(reader->message, sizeof reader->message,
                 "%zu×%zu pixels are more than the %d allowed", height, width,
                 GR_DECODE_PIXELS_MAX);
        png_longjmp(png, 1);
    }
    if (png_get_rowbytes(png, reader->info) * height / DEFLATE_MOST > reader->size) {
        snprintf(reader->message, sizeof reader->message,
                 "%zu×%zu pixels cannot be in a file of %zu bytes", height, width, reader->size);
        png_longjmp(png, 1);
    }
    if (width * height > PIXELS_ANY && width * height / PIXELS_A_BYTE > reader->size) {
        snprintf(reader->message, sizeof reader->message,
                 "%zu×%zu pixels are more work than a file of %zu bytes can be worth", height,
                 width, reader->size);
        png_longjmp(png, 1);
    }
    png_set_expand(png);
    png_set_scale_16(png);
    png_set_strip_alpha(png);
    if (channels == 3)
        png_set_gray_to_rgb(png);
    png_set_interlace_handling(png);
    png_read_update_info(png, reader->info);
}

/* A row of RGB to luminance, in place. */
static void make_grey(uint8_t *row, size_t width)
{
    for (size_t w = 0; w < width; w++)
        row[w] = (uint8_t)((299 * row[3 * w] + 587 * row[3 * w + 1] + 114 * row[3 * w + 2] + 500) /
                           1000);
}

/*
 * The rows from first on, count of them, full width: [count, row]. An interlaced image is made of
 * several passes over all rows, so all of them are kept.
 */
static uint8_t *read_rows(struct reader *reader, size_t first, size_t count,
                          struct gr_buffer *pixels)
{
    const size_t row = png_get_rowbytes(reader->png, reader->info);
    const size_t height = png_get_image_height(reader->png, reader->info);
    const bool passes = png_get_interlace_type(reader->png, reader->info) != PNG_INTERLACE_NONE;
    uint8_t *out = gr_buffer_reserve(pixels, row * (passes ? height : count + 1));
    if (!out)
        return NULL;
    const size_t skipped = passes ? 0 : first, kept = passes ? height : count;
    for (int pass = 0; pass < (passes ? PNG_INTERLACE_ADAM7_PASSES : 1); pass++)
        for (size_t h = 0; h < height; h++) {
            const size_t at = h >= skipped && h - skipped < kept ? h - skipped : count;
            png_read_row(reader->png, out + row * at, NULL);
        }
    png_read_end(reader->png, NULL);
    return out + row * (first - skipped);
}

static bool decode(struct reader *reader, int channels, const struct gr_source_target *target,
                   struct gr_buffer *pixels, struct gr_view *view, struct gr_error *err)
{
    const int64_t height = png_get_image_height(reader->png, reader->info);
    const int64_t width = png_get_image_width(reader->png, reader->info);
    const int stored = png_get_channels(reader->png, reader->info);
    const size_t row = png_get_rowbytes(reader->png, reader->info);
    struct gr_window window = {0, 0, height, width};
    if (target->choose && !target->choose(target->user, height, width, &window, err))
        return false;
    uint8_t *out = read_rows(reader, (size_t)window.top, (size_t)window.height, pixels);
    if (!out)
        return gr_fail_memory(err, "decoding a PNG file");
    for (int64_t h = 0; stored > channels && h < window.height; h++)
        make_grey(out + row * (size_t)h, (size_t)width);
    *view = (struct gr_view){out, channels, window.height, width, 1, (ptrdiff_t)row, channels};
    *view = gr_view_window(view, 0, window.left, window.height, window.width);
    return true;
}

bool gr_png_decode(const uint8_t *bytes, size_t size, int channels,
                   const struct gr_source_target *target, struct gr_buffer *pixels,
                   struct gr_view *view, struct gr_error *err)
{
    struct reader reader;
    if (!reader_init(&reader, bytes, size)) {
        png_destroy_read_struct(&reader.png, NULL, NULL);
        return gr_fail_memory(err, "decoding a PNG file");
    }
    if (setjmp(png_jmpbuf(reader.png))) {
        png_destroy_read_struct(&reader.png, &reader.info, NULL);
        if (reader.no_memory)
            return gr_fail_memory(err, "decoding a PNG file");
        return gr_fail(err, GR_ERR_DATA, "corrupt PNG: %s", reader.message);
    }
    start(&reader, channels);
    const bool done = decode(&reader, channels, target, pixels, view, err);
    png_destroy_read_struct(&reader.png, &reader.info, NULL);
    return done;
}

/* The header is the first chunk, at a fixed place; whether it is sound, decoding tells. */
bool gr_png_inspect(const uint8_t *bytes, size_t size, struct gr_image_facts *facts,
                    struct gr_error *err)
{
    enum { WIDTH = 16, HEIGHT = 20, COLOUR = 25 };
    if (size <= COLOUR || memcmp(bytes + 12, "IHDR", 4) != 0)
        return gr_fail(err, GR_ERR_DATA, "corrupt PNG: no header");
    facts->width = png_get_uint_32(bytes + WIDTH);
    facts->height = png_get_uint_32(bytes + HEIGHT);
    facts->grey = !(bytes[COLOUR] & (PNG_COLOR_MASK_COLOR | PNG_COLOR_MASK_PALETTE));
    return true;
}
