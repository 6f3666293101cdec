/*
 * Painting pictures and writing them as PNG or JPEG; see picture.h.
 */
#include "data/picture.h"

#include <errno.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/replace.h"
#include "data/font.h"
#include "data/jpeg_write.h"

enum { RGB = 3, SIDE_MAX = 1 << 16 };
static const int64_t pixels_max = INT64_C(1) << 28;

bool gr_picture_init(struct gr_picture *picture, int64_t height, int64_t width,
                     struct gr_colour colour, struct gr_error *err)
{
    *picture = (struct gr_picture){.height = height, .width = width};
    if (height < 1 || width < 1 || height > SIDE_MAX || width > SIDE_MAX ||
        height > pixels_max / width)
        return gr_fail(err, GR_ERR_RUNTIME, "a picture of %lld×%lld pixels is too large",
                       (long long)height, (long long)width);
    picture->pixels = malloc((size_t)height * (size_t)width * RGB);
    if (!picture->pixels)
        return gr_fail_memory(err, "painting a picture");
    gr_picture_fill(picture, &(struct gr_window){0, 0, height, width}, colour);
    return true;
}

void gr_picture_release(struct gr_picture *picture)
{
    free(picture->pixels);
    *picture = (struct gr_picture){0};
}

/* ---- painting ---------------------------------------------------------------------------- */

static int64_t within(int64_t at, int64_t end)
{
    return at < 0 ? 0 : at > end ? end : at;
}

void gr_picture_fill(struct gr_picture *picture, const struct gr_window *window,
                     struct gr_colour colour)
{
    const int64_t bottom = within(window->top + window->height, picture->height);
    const int64_t left = within(window->left, picture->width);
    const int64_t right = within(window->left + window->width, picture->width);
    for (int64_t h = within(window->top, picture->height); h < bottom; h++) {
        uint8_t *pixel = picture->pixels + (h * picture->width + left) * RGB;
        for (int64_t w = left; w < right; w++, pixel += RGB) {
            pixel[0] = colour.red;
            pixel[1] = colour.green;
            pixel[2] = colour.blue;
        }
    }
}

void gr_picture_frame(struct gr_picture *picture, const struct gr_window *window, int64_t thickness,
                      struct gr_colour colour)
{
    const int64_t t = thickness, top = window->top, left = window->left;
    const int64_t height = window->height, width = window->width;
    const struct gr_window sides[] = {{top - t, left - t, t, width + 2 * t},
                                      {top + height, left - t, t, width + 2 * t},
                                      {top, left - t, height, t},
                                      {top, left + width, height, t}};
    for (int i = 0; i < 4; i++)
        gr_picture_fill(picture, &sides[i], colour);
}

void gr_picture_draw(struct gr_picture *picture, int64_t top, int64_t left,
                     const struct gr_view *view, int64_t scale)
{
    const ptrdiff_t next = view->channels == RGB ? view->channel_stride : 0;
    for (int64_t h = 0; h < view->height; h++)
        for (int64_t w = 0; w < view->width; w++) {
            const uint8_t *pixel =
                view->pixels + (ptrdiff_t)h * view->row_stride + (ptrdiff_t)w * view->column_stride;
            const struct gr_colour colour = {pixel[0], pixel[next], pixel[2 * next]};
            gr_picture_fill(picture,
                            &(struct gr_window){top + h * scale, left + w * scale, scale, scale},
                            colour);
        }
}

/* ---- text -------------------------------------------------------------------------------- */

static bool continues(char byte)
{
    return ((unsigned char)byte & 0xc0) == 0x80; /* of a character in UTF-8, a further byte */
}

static int64_t characters(const char *text)
{
    int64_t count = 0;
    for (; *text; text++)
        count += !continues(*text);
    return count;
}

/* The character that begins here; those beyond the first 2,048 and half ones are 0. */
static uint32_t character(const char *text)
{
    const unsigned char first = (unsigned char)text[0], second = (unsigned char)text[first != 0];
    if (first < 0x80)
        return first;
    return (first & 0xe0) == 0xc0 && continues((char)second)
               ? (uint32_t)(first & 0x1f) << 6 | (second & 0x3f)
               : 0;
}

int64_t gr_picture_text_width(const char *text, int64_t scale)
{
    const int64_t count = characters(text);
    return count ? (count * GR_GLYPH_ADVANCE - (GR_GLYPH_ADVANCE - GR_GLYPH_WIDTH)) * scale : 0;
}

/* Where a line of text begins and how it is written. */
struct writing {
    int64_t top, left, scale;
    struct gr_colour colour;
    bool up; /* it runs upwards, and top is where its first character ends */
};

/* A dot of the text's own rows and columns. */
static void draw_dot(struct gr_picture *picture, const struct writing *writing, int64_t h,
                     int64_t w)
{
    const int64_t scale = writing->scale;
    const struct gr_window dot = {writing->top + (writing->up ? -w - 1 : h) * scale,
                                  writing->left + (writing->up ? h : w) * scale, scale, scale};
    gr_picture_fill(picture, &dot, writing->colour);
}

static void draw_text(struct gr_picture *picture, const struct writing *writing, int64_t room,
                      const char *text)
{
    const int64_t count = characters(text);
    const int64_t whole = count <= room ? count : room - 2; /* the rest are the dots */
    for (int64_t i = 0; *text && i < room; i++) {
        const uint8_t *rows = gr_font_glyph(i < whole ? character(text) : '.');
        for (int64_t h = 0; h < GR_GLYPH_HEIGHT; h++)
            for (int64_t w = 0; w < GR_GLYPH_WIDTH; w++)
                if (rows[h] >> (GR_GLYPH_WIDTH - 1 - w) & 1)
                    draw_dot(picture, writing, h, i * GR_GLYPH_ADVANCE + w);
        do
            text++;
        while (continues(*text));
    }
}

/* Characters that fit. */
static int64_t room_of(int64_t width, int64_t scale)
{
    const int64_t gap = GR_GLYPH_ADVANCE - GR_GLYPH_WIDTH;
    return (width / scale + gap) / GR_GLYPH_ADVANCE;
}

void gr_picture_text(struct gr_picture *picture, int64_t top, int64_t left, int64_t width,
                     int64_t scale, struct gr_colour colour, const char *text)
{
    const struct writing writing = {top, left, scale, colour, false};
    draw_text(picture, &writing, room_of(width, scale), text);
}

void gr_picture_text_up(struct gr_picture *picture, int64_t bottom, int64_t left, int64_t height,
                        int64_t scale, struct gr_colour colour, const char *text)
{
    const struct writing writing = {bottom, left, scale, colour, true};
    draw_text(picture, &writing, room_of(height, scale), text);
}

/* ---- PNG --------------------------------------------------------------------------------- */

bool gr_picture_print(const struct gr_picture *picture, FILE *file, const char *name,
                      struct gr_error *err)
{
    png_image image = {.version = PNG_IMAGE_VERSION,
                       .width = (png_uint_32)picture->width,
                       .height = (png_uint_32)picture->height,
                       .format = PNG_FORMAT_RGB};
    errno = 0;
    const bool done = png_image_write_to_stdio(&image, file, 0, picture->pixels, 0, NULL) != 0;
    const int failure = errno;
    if (!done)
        gr_fail(err, GR_ERR_RUNTIME, "%s: cannot write: %s", name,
                failure ? strerror(failure) : image.message);
    png_image_free(&image);
    return done;
}

static bool ends_in(const char *path, const char *end)
{
    const size_t length = strlen(path), tail = strlen(end);
    return length >= tail && strcasecmp(path + length - tail, end) == 0;
}

static bool is_jpeg(const char *path)
{
    return ends_in(path, ".jpg") || ends_in(path, ".jpeg");
}

/* The ends of pictures in other formats, which nobody should get a PNG in. */
static bool check_name(const char *path, struct gr_error *err)
{
    static const char *const others[] = {".gif", ".bmp", ".tif", ".tiff", ".webp", ".svg", ".pdf"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (ends_in(path, others[i]))
            return gr_fail(err, GR_ERR_USAGE, "%s: pictures are written as .png or .jpg", path);
    return true;
}

static bool print_jpeg(const struct gr_picture *picture, FILE *file, const char *name,
                       struct gr_error *err)
{
    enum { QUALITY = 92 };
    const struct gr_view view =
        gr_view_interleaved(picture->pixels, 3, picture->height, picture->width);
    uint8_t *bytes = NULL;
    size_t size = 0;
    if (!gr_jpeg_encode(&view, QUALITY, &bytes, &size, err))
        return false;
    const bool written = fwrite(bytes, 1, size, file) == size && fflush(file) == 0;
    free(bytes);
    return written ||
           gr_fail(err, GR_ERR_RUNTIME, "%s: cannot be written: %s", name, strerror(errno));
}

bool gr_picture_write(const struct gr_picture *picture, const char *path, struct gr_error *err)
{
    struct gr_replace file = {0};
    const bool done =
        check_name(path, err) && gr_replace_open(&file, path, err) &&
        (is_jpeg(path) ? print_jpeg : gr_picture_print)(picture, file.file, path, err) &&
        gr_replace_commit(&file, err);
    gr_replace_release(&file);
    return done;
}
