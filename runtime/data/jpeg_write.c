/*
 * Encoding JPEG; see jpeg_write.h.
 */
#include "data/jpeg_write.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <jpeglib.h>
/* after jpeglib.h */
#include <jerror.h>

enum { FIRST_BYTES = 4096 };

struct encoder {
    struct jpeg_compress_struct info; /* first, so that callbacks can cast back */
    struct jpeg_error_mgr manager;
    struct jpeg_destination_mgr destination;
    jmp_buf escape;
    uint8_t *bytes;
    size_t size, capacity; /* bytes of the file, once it is whole; of room */
    bool no_memory;
    char message[JMSG_LENGTH_MAX];
};

static void on_error(j_common_ptr info)
{
    struct encoder *encoder = (struct encoder *)(void *)info;
    info->err->format_message(info, encoder->message);
    encoder->no_memory = encoder->no_memory || info->err->msg_code == JERR_OUT_OF_MEMORY;
    longjmp(encoder->escape, 1);
}

static void on_output(j_common_ptr info)
{
    (void)info;
}

/*
 * The destination: bytes that grow. libjpeg's own, jpeg_mem_dest, leaves a pointer to memory that
 * it freed when it fails.
 */
static void more_room(j_compress_ptr info)
{
    struct encoder *encoder = (struct encoder *)info;
    const size_t capacity = encoder->capacity ? encoder->capacity * 2 : FIRST_BYTES;
    uint8_t *grown = realloc(encoder->bytes, capacity);
    if (!grown) {
        encoder->no_memory = true;
        longjmp(encoder->escape, 1);
    }
    encoder->bytes = grown;
    encoder->destination.next_output_byte = grown + encoder->capacity;
    encoder->destination.free_in_buffer = capacity - encoder->capacity;
    encoder->capacity = capacity;
}

static boolean on_full(j_compress_ptr info)
{
    more_room(info);
    return TRUE;
}

static void on_end(j_compress_ptr info)
{
    struct encoder *encoder = (struct encoder *)info;
    encoder->size = encoder->capacity - encoder->destination.free_in_buffer;
}

static void encode(struct encoder *encoder, const struct gr_view *view, int quality)
{
    struct jpeg_compress_struct *info = &encoder->info;
    info->image_width = (JDIMENSION)view->width;
    info->image_height = (JDIMENSION)view->height;
    info->input_components = view->channels;
    info->in_color_space = view->channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_set_defaults(info);
    jpeg_set_quality(info, quality, TRUE);
    for (int c = 0; c < info->num_components; c++)
        info->comp_info[c].h_samp_factor = info->comp_info[c].v_samp_factor = 1;
    jpeg_start_compress(info, TRUE);
    while (info->next_scanline < info->image_height) {
        const uint8_t *from = view->pixels + (ptrdiff_t)info->next_scanline * view->row_stride;
        union {
            const uint8_t *constant;
            JSAMPLE *sample; /* libjpeg only reads */
        } row = {.constant = from};
        jpeg_write_scanlines(info, &row.sample, 1);
    }
    jpeg_finish_compress(info);
}

bool gr_jpeg_encode(const struct gr_view *view, int quality, uint8_t **bytes, size_t *size,
                    struct gr_error *err)
{
    struct encoder encoder = {.size = 0};
    if (view->height > JPEG_MAX_DIMENSION || view->width > JPEG_MAX_DIMENSION)
        return gr_fail(err, GR_ERR_DATA,
                       "%" PRId64 "×%" PRId64 " pixels: a side of JPEG has at most %ld",
                       view->height, view->width, JPEG_MAX_DIMENSION);
    encoder.info.err = jpeg_std_error(&encoder.manager);
    encoder.manager.error_exit = on_error;
    encoder.manager.output_message = on_output;
    if (setjmp(encoder.escape)) {
        jpeg_destroy_compress(&encoder.info);
        free(encoder.bytes);
        if (encoder.no_memory)
            return gr_fail_memory(err, "encoding a JPEG file");
        return gr_fail(err, GR_ERR_RUNTIME, "encoding a JPEG file: %s", encoder.message);
    }
    jpeg_create_compress(&encoder.info);
    encoder.destination = (struct jpeg_destination_mgr){
        .init_destination = more_room, .empty_output_buffer = on_full, .term_destination = on_end};
    encoder.info.dest = &encoder.destination;
    encode(&encoder, view, quality);
    jpeg_destroy_compress(&encoder.info);
    *bytes = encoder.bytes;
    *size = encoder.size;
    return true;
}
