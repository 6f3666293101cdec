/*
 * Writes small JPEG files for tests; see make_jpeg.h. libjpeg's own error handler, which ends the
 * process, is good enough here.
 */
#include "make_jpeg.h"

#include <stdio.h>
#include <stdlib.h>

#include <jpeglib.h>

bool gr_make_jpeg(const char *path, const uint8_t *pixels, int height, int width, int channels,
                  int quality, bool progressive)
{
    struct jpeg_compress_struct info = {0};
    struct jpeg_error_mgr manager;
    const size_t row = (size_t)width * (size_t)channels;
    FILE *file = fopen(path, "wb");
    JSAMPLE *line = malloc(row);
    if (!file || !line) {
        free(line);
        if (file)
            fclose(file);
        return false;
    }
    info.err = jpeg_std_error(&manager);
    jpeg_create_compress(&info);
    jpeg_stdio_dest(&info, file);
    info.image_width = (JDIMENSION)width;
    info.image_height = (JDIMENSION)height;
    info.input_components = channels;
    info.in_color_space = channels == 1 ? JCS_GRAYSCALE : channels == 3 ? JCS_RGB : JCS_CMYK;
    jpeg_set_defaults(&info);
    jpeg_set_quality(&info, quality, TRUE);
    for (int c = 0; c < info.num_components; c++)
        info.comp_info[c].h_samp_factor = info.comp_info[c].v_samp_factor = 1;
    if (progressive)
        jpeg_simple_progression(&info);
    jpeg_start_compress(&info, TRUE);
    while (info.next_scanline < info.image_height) {
        for (size_t i = 0; i < row; i++)
            line[i] = pixels[info.next_scanline * row + i];
        jpeg_write_scanlines(&info, &line, 1);
    }
    jpeg_finish_compress(&info);
    jpeg_destroy_compress(&info);
    free(line);
    return fclose(file) == 0;
}

bool gr_make_plain_jpeg(const char *path, int height, int width, uint8_t red, uint8_t green,
                        uint8_t blue)
{
    const size_t count = (size_t)height * (size_t)width;
    uint8_t *pixels = malloc(count * 3);
    if (!pixels)
        return false;
    for (size_t i = 0; i < count; i++) {
        pixels[3 * i] = red;
        pixels[3 * i + 1] = green;
        pixels[3 * i + 2] = blue;
    }
    const bool done = gr_make_jpeg(path, pixels, height, width, 3, 95, false);
    free(pixels);
    return done;
}
