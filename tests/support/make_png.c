/*
 * Writes small PNG files for tests; see make_png.h. libpng's own error handler, which ends the
 * process, is good enough here.
 */
#include "make_png.h"

#include <png.h>
#include <stdio.h>

static void set_palette(png_structp png, png_infop info, const struct gr_make_png *what)
{
    png_color colours[256];
    for (int i = 0; i < what->n_palette; i++)
        colours[i] =
            (png_color){what->palette[3 * i], what->palette[3 * i + 1], what->palette[3 * i + 2]};
    if (what->n_palette)
        png_set_PLTE(png, info, colours, what->n_palette);
    if (what->alpha)
        png_set_tRNS(png, info, what->alpha, what->n_palette, NULL);
}

bool gr_make_png(const char *path, const struct gr_make_png *what, const uint8_t *rows)
{
    FILE *file = fopen(path, "wb");
    if (!file)
        return false;
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    png_init_io(png, file);
    png_set_IHDR(png, info, (png_uint_32)what->width, (png_uint_32)what->height, what->depth,
                 what->colour, what->interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_BASE, PNG_FILTER_TYPE_BASE);
    set_palette(png, info, what);
    png_write_info(png, info);
    if (what->exif)
        png_write_chunk(png, (png_const_bytep) "eXIf", what->exif, what->exif_size);
    const int passes = png_set_interlace_handling(png);
    const size_t row = png_get_rowbytes(png, info);
    for (int pass = 0; pass < passes; pass++)
        for (int h = 0; h < what->height; h++)
            png_write_row(png, rows + row * (size_t)h);
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    return fclose(file) == 0;
}

bool gr_make_rgb_png(const char *path, const uint8_t *pixels, int height, int width)
{
    const struct gr_make_png what = {
        .height = height, .width = width, .colour = PNG_COLOR_TYPE_RGB, .depth = 8};
    return gr_make_png(path, &what, pixels);
}
