/*
 * Decoding JPEG; see jpeg.h. libjpeg reports errors by a callback that must not return: ours keeps
 * the message and jumps back to decode(), whose state is all in one struct.
 */
#include "data/jpeg.h"

#include "data/decode.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>
/* after jpeglib.h */
#include <jerror.h>

static const long memory_max = 1L << 30; /* bytes that libjpeg may use */

enum { CMYK = 4, MARGIN = 2 };

/*
 * Bounds on the work that a file may ask for, in blocks of 8×8 times scans: some for any file, and
 * more for each of its bytes. An empty picture in ten progressive scans takes 80 a byte. What is
 * coded arithmetically can take any number, and so can scans that say "nothing here": 6 kB of both
 * are 15 seconds.
 */
enum { SCANS_MAX = 500, WORK_ANY = 1 << 18, WORK_A_BYTE = 256 };

struct decoder {
    struct jpeg_decompress_struct info; /* first, so that callbacks can cast back */
    struct jpeg_error_mgr manager;
    struct jpeg_progress_mgr progress;
    jmp_buf escape;
    size_t size;   /* of the file */
    size_t blocks; /* of all components */
    bool no_memory;
    char message[JMSG_LENGTH_MAX];
};

/* Warnings after which part of the image is guesswork. */
static const int fatal_warnings[] = {JWRN_JPEG_EOF,       JWRN_HIT_MARKER,  JWRN_HUFF_BAD_CODE,
                                     JWRN_ARITH_BAD_CODE, JWRN_MUST_RESYNC, JWRN_BOGUS_PROGRESSION};

static void on_error(j_common_ptr info)
{
    struct decoder *decoder = (struct decoder *)(void *)info;
    info->err->format_message(info, decoder->message);
    decoder->no_memory = info->err->msg_code == JERR_OUT_OF_MEMORY;
    longjmp(decoder->escape, 1);
}

static void on_message(j_common_ptr info, int level)
{
    for (size_t i = 0; level < 0 && i < sizeof fatal_warnings / sizeof *fatal_warnings; i++)
        if (info->err->msg_code == fatal_warnings[i])
            on_error(info);
}

static void on_output(j_common_ptr info)
{
    (void)info;
}

static void check_work(struct decoder *decoder, size_t scans)
{
    const struct jpeg_decompress_struct *info = &decoder->info;
    if (scans > SCANS_MAX)
        snprintf(decoder->message, sizeof decoder->message, "more than %d scans", SCANS_MAX);
    else if (decoder->blocks * scans > WORK_ANY + WORK_A_BYTE * decoder->size)
        snprintf(decoder->message, sizeof decoder->message,
                 "%u×%u pixels in %zu scan%s are more work than a file of %zu bytes can be worth",
                 info->image_height, info->image_width, scans, scans == 1 ? "" : "s",
                 decoder->size);
    else
        return;
    longjmp(decoder->escape, 1);
}

/* libjpeg asks at every row of every scan. */
static void on_progress(j_common_ptr info)
{
    struct decoder *decoder = (struct decoder *)(void *)info;
    const int scans = decoder->info.input_scan_number;
    check_work(decoder, scans > 1 ? (size_t)scans : 1);
}

static void decoder_init(struct decoder *decoder)
{
    memset(decoder, 0, sizeof *decoder);
    decoder->info.err = jpeg_std_error(&decoder->manager);
    decoder->manager.error_exit = on_error;
    decoder->manager.emit_message = on_message;
    decoder->manager.output_message = on_output;
    decoder->progress.progress_monitor = on_progress;
}

/* The smallest of 1, 2, 4 and 8 eighths that leaves the image no smaller than the target. */
static unsigned scale_for(const struct gr_source_target *target, size_t height, size_t width)
{
    const size_t need_h = (size_t)(target->shortest ? target->shortest : target->height);
    const size_t need_w = (size_t)(target->shortest ? target->shortest : target->width);
    if (!need_h || !need_w)
        return 8;
    for (unsigned m = 1; m < 8; m *= 2)
        if ((height * m + 7) / 8 >= need_h && (width * m + 7) / 8 >= need_w)
            return m;
    return 8;
}

/* One row of CMYK to RGB or luminance. Adobe's programs write 255 for no ink. */
static void convert_cmyk(const uint8_t *src, bool inverted, size_t width, int channels,
                         uint8_t *dst)
{
    for (size_t w = 0; w < width; w++, src += CMYK, dst += channels) {
        unsigned rgb[3];
        const unsigned k = inverted ? src[3] : 255u - src[3];
        for (int c = 0; c < 3; c++)
            rgb[c] = ((inverted ? src[c] : 255u - src[c]) * k + 127) / 255;
        if (channels == 1)
            dst[0] = (uint8_t)((299 * rgb[0] + 587 * rgb[1] + 114 * rgb[2] + 500) / 1000);
        for (int c = 0; channels == 3 && c < 3; c++)
            dst[c] = (uint8_t)rgb[c];
    }
}

/*
 * No more pixels than are allowed, and none that cannot be there: Huffman codes take at least one
 * bit for each block of 8×8.
 */
static void check_size(struct decoder *decoder)
{
    const struct jpeg_decompress_struct *info = &decoder->info;
    if (info->image_width > GR_DECODE_PIXELS_MAX / info->image_height) {
        snprintf(decoder->message, sizeof decoder->message,
                 "%u×%u pixels are more than the %d allowed", info->image_height, info->image_width,
                 GR_DECODE_PIXELS_MAX);
        longjmp(decoder->escape, 1);
    }
    for (int c = 0; c < info->num_components; c++)
        decoder->blocks +=
            (size_t)info->comp_info[c].width_in_blocks * info->comp_info[c].height_in_blocks;
    if (!info->arith_code && decoder->blocks / 8 > decoder->size) {
        snprintf(decoder->message, sizeof decoder->message,
                 "%u×%u pixels cannot be in a file of %zu bytes", info->image_height,
                 info->image_width, decoder->size);
        longjmp(decoder->escape, 1);
    }
    check_work(decoder, 1);
}

/* Reads the header and sets what comes out. */
static void start(struct decoder *decoder, int channels, const struct gr_source_target *target)
{
    struct jpeg_decompress_struct *info = &decoder->info;
    info->mem->max_memory_to_use = memory_max;
    info->progress = &decoder->progress;
    jpeg_read_header(info, TRUE);
    check_size(decoder);
    const bool inks = info->jpeg_color_space == JCS_CMYK || info->jpeg_color_space == JCS_YCCK;
    info->out_color_space = inks ? JCS_CMYK : channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    info->scale_num = scale_for(target, info->image_height, info->image_width);
    info->scale_denom = 8;
    jpeg_start_decompress(info);
}

/* ---- the pixels; all these need decoder->escape set -------------------------------------- */

static void read_row(struct jpeg_decompress_struct *info, uint8_t *row)
{
    JSAMPROW rows[1] = {row};
    jpeg_read_scanlines(info, rows, 1);
}

/* The whole image: [H, W, channels], followed by one row of inks if need be. */
static bool decode_whole(struct decoder *decoder, int channels, struct gr_buffer *pixels,
                         struct gr_view *view)
{
    struct jpeg_decompress_struct *info = &decoder->info;
    const size_t width = info->output_width, height = info->output_height;
    const size_t row = width * (size_t)channels;
    const bool inks = info->out_color_space == JCS_CMYK;
    uint8_t *out = gr_buffer_reserve(pixels, row * height + (inks ? width * CMYK : 0));
    if (!out)
        return false;
    uint8_t *ink = out + row * height;
    while (info->output_scanline < height) {
        uint8_t *line = out + row * info->output_scanline;
        read_row(info, inks ? ink : line);
        if (inks)
            convert_cmyk(ink, info->saw_Adobe_marker, width, channels, line);
    }
    *view = gr_view_interleaved(out, channels, (int64_t)height, (int64_t)width);
    return true;
}

/*
 * Some of the rows and columns. The chosen columns begin where a block of the file does, and
 * libjpeg takes their ends for those of the image when it interpolates colours: hence the margin.
 * Skipping to the end of the image would read nothing, so the last row is decoded, into a spare
 * one: a file that ends early is found out.
 */
static bool decode_window(struct decoder *decoder, int channels, const struct gr_window *window,
                          struct gr_buffer *pixels, struct gr_view *view)
{
    struct jpeg_decompress_struct *info = &decoder->info;
    const JDIMENSION left = (JDIMENSION)window->left, end = left + (JDIMENSION)window->width;
    JDIMENSION first = left < MARGIN ? 0 : left - MARGIN;
    JDIMENSION width = (info->output_width - end < MARGIN ? info->output_width : end + MARGIN);
    width -= first;
    jpeg_crop_scanline(info, &first, &width);
    const size_t row = (size_t)width * (size_t)channels;
    const size_t rows = (size_t)window->height;
    uint8_t *out = gr_buffer_reserve(pixels, row * (rows + 1));
    if (!out)
        return false;
    if (window->top)
        jpeg_skip_scanlines(info, (JDIMENSION)window->top);
    for (size_t h = 0; h < rows; h++)
        read_row(info, out + row * h);
    if (info->output_scanline < info->output_height) {
        jpeg_skip_scanlines(info, info->output_height - info->output_scanline - 1);
        read_row(info, out + row * rows);
    }
    *view = gr_view_interleaved(out, channels, window->height, (int64_t)width);
    *view = gr_view_window(view, 0, (int64_t)(left - first), window->height, window->width);
    return true;
}

/* Can libjpeg decode a part of this to the bits of the whole? */
static bool can_crop(const struct jpeg_decompress_struct *info)
{
    bool usual = info->out_color_space != JCS_CMYK;
    for (int c = 0; c < info->num_components;
         c++) /* before version 3 it fails for 4:1 when scaling */
        usual =
            usual && info->comp_info[c].h_samp_factor <= 2 && info->comp_info[c].v_samp_factor <= 2;
    return usual;
}

static bool decode(struct decoder *decoder, int channels, const struct gr_source_target *target,
                   struct gr_buffer *pixels, struct gr_view *view, struct gr_error *err)
{
    struct jpeg_decompress_struct *info = &decoder->info;
    const int64_t height = info->output_height, width = info->output_width;
    struct gr_window window = {0, 0, height, width};
    if (target->choose && !target->choose(target->user, height, width, &window, err))
        return false;
    const bool whole = window.height == height && window.width == width;
    const bool part = !whole && can_crop(info);
    if (part ? !decode_window(decoder, channels, &window, pixels, view)
             : !decode_whole(decoder, channels, pixels, view))
        return gr_fail_memory(err, "decoding a JPEG file");
    jpeg_finish_decompress(info);
    if (!part)
        *view = gr_view_window(view, window.top, window.left, window.height, window.width);
    return true;
}

static bool give_up(struct decoder *decoder, struct gr_error *err)
{
    jpeg_destroy_decompress(&decoder->info);
    return decoder->no_memory ? gr_fail_memory(err, "decoding a JPEG file")
                              : gr_fail(err, GR_ERR_DATA, "corrupt JPEG: %s", decoder->message);
}

bool gr_jpeg_decode(const uint8_t *bytes, size_t size, int channels,
                    const struct gr_source_target *target, struct gr_buffer *pixels,
                    struct gr_view *view, struct gr_error *err)
{
    struct decoder decoder;
    decoder_init(&decoder);
    decoder.size = size;
    if (setjmp(decoder.escape))
        return give_up(&decoder, err);
    jpeg_create_decompress(&decoder.info);
    jpeg_mem_src(&decoder.info, bytes, (unsigned long)size);
    start(&decoder, channels, target);
    const bool done = decode(&decoder, channels, target, pixels, view, err);
    jpeg_destroy_decompress(&decoder.info);
    return done;
}

bool gr_jpeg_inspect(const uint8_t *bytes, size_t size, struct gr_image_facts *facts,
                     struct gr_error *err)
{
    struct decoder decoder;
    const struct jpeg_decompress_struct *info = &decoder.info;
    decoder_init(&decoder);
    if (setjmp(decoder.escape))
        return give_up(&decoder, err);
    jpeg_create_decompress(&decoder.info);
    jpeg_mem_src(&decoder.info, bytes, (unsigned long)size);
    jpeg_read_header(&decoder.info, TRUE);
    facts->height = info->image_height;
    facts->width = info->image_width;
    facts->grey = info->jpeg_color_space == JCS_GRAYSCALE;
    facts->cmyk = info->jpeg_color_space == JCS_CMYK || info->jpeg_color_space == JCS_YCCK;
    jpeg_destroy_decompress(&decoder.info);
    return true;
}
