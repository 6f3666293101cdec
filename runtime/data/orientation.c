/*
 * The orientation in EXIF data, and views that follow it; see orientation.h.
 *
 * EXIF is a TIFF file: a byte order, the offset of a directory, and there entries of twelve bytes:
 * tag, type, count, value. It lies in JPEG's segment APP1 or PNG's chunk eXIf.
 */
#include "data/orientation.h"

#include <string.h>

enum { TAG_ORIENTATION = 0x0112, TYPE_SHORT = 3, TIFF_HEADER = 8, ENTRY = 12, LAST = 8 };

/* ---- reading ----------------------------------------------------------------------------- */

struct span {
    const uint8_t *bytes;
    size_t size;
};

/* count bytes at offset as a number; 0 where the span ends before. */
static uint32_t number(struct span span, size_t offset, int count, bool little)
{
    uint32_t value = 0;
    if (offset > span.size || (size_t)count > span.size - offset)
        return 0;
    for (int i = 0; i < count; i++)
        value = value << 8 | span.bytes[offset + (size_t)(little ? count - 1 - i : i)];
    return value;
}

static int read_tiff(struct span tiff)
{
    const bool little = tiff.size && tiff.bytes[0] == 'I';
    if (tiff.size < TIFF_HEADER ||
        (memcmp(tiff.bytes, "II\x2a\0", 4) != 0 && memcmp(tiff.bytes, "MM\0\x2a", 4) != 0))
        return GR_UPRIGHT;
    const size_t directory = number(tiff, 4, 4, little);
    const size_t entries = number(tiff, directory, 2, little);
    for (size_t i = 0; i < entries; i++) {
        const size_t entry = directory + 2 + i * ENTRY;
        if (number(tiff, entry, 2, little) != TAG_ORIENTATION)
            continue;
        const uint32_t value = number(tiff, entry + 8, 2, little);
        const bool sound =
            number(tiff, entry + 2, 2, little) == TYPE_SHORT && value >= 1 && value <= LAST;
        return sound ? (int)value : GR_UPRIGHT;
    }
    return GR_UPRIGHT;
}

static bool starts_with(struct span span, const char *text, size_t size)
{
    return span.size >= size && memcmp(span.bytes, text, size) == 0;
}

static struct span after(struct span span, size_t bytes)
{
    return bytes < span.size ? (struct span){span.bytes + bytes, span.size - bytes}
                             : (struct span){span.bytes, 0};
}

static struct span first(struct span span, size_t bytes)
{
    return (struct span){span.bytes, bytes < span.size ? bytes : span.size};
}

/* Segments are FF, a code, and the length of what follows, itself included. */
static int read_jpeg(struct span file)
{
    static const char exif[] = "Exif\0"; /* two zeros */
    enum { APP1 = 0xe1, START_OF_SCAN = 0xda, FILL = 0xff };
    for (file = after(file, 2); file.size > 4 && file.bytes[0] == 0xff;) {
        const uint8_t code = file.bytes[1];
        const size_t length = number(file, 2, 2, false);
        const struct span segment = first(after(file, 4), length < 2 ? 0 : length - 2);
        if (code == START_OF_SCAN)
            break;
        if (code == APP1 && starts_with(segment, exif, sizeof exif))
            return read_tiff(after(segment, sizeof exif));
        file = after(file, code == FILL ? 1 : 2 + (length < 2 ? 2 : length));
    }
    return GR_UPRIGHT;
}

/* Chunks are a length, a name, the data and four bytes of checksum. */
static int read_png(struct span file)
{
    for (file = after(file, 8); file.size > 8;) {
        const size_t length = number(file, 0, 4, false);
        if (memcmp(file.bytes + 4, "IDAT", 4) == 0)
            break;
        if (memcmp(file.bytes + 4, "eXIf", 4) == 0)
            return read_tiff(first(after(file, 8), length));
        file = after(file, 12 + length);
    }
    return GR_UPRIGHT;
}

int gr_orientation_read(const uint8_t *bytes, size_t size)
{
    const struct span file = {bytes, size};
    if (starts_with(file, "\xff\xd8", 2))
        return read_jpeg(file);
    return starts_with(file, "\x89PNG", 4) ? read_png(file) : GR_UPRIGHT;
}

/* ---- views ------------------------------------------------------------------------------- */

bool gr_orientation_turned(int orientation)
{
    return orientation >= 5;
}

/* Stored rows, or columns, go against the upright direction that they become. */
static bool rows_reversed(int orientation)
{
    return orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
}

static bool columns_reversed(int orientation)
{
    return orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
}

struct gr_window gr_orientation_stored(int orientation, const struct gr_window *upright,
                                       int64_t height, int64_t width)
{
    struct gr_window w = *upright;
    if (gr_orientation_turned(orientation)) {
        w = (struct gr_window){upright->left, upright->top, upright->width, upright->height};
        const int64_t stored_width = height;
        height = width;
        width = stored_width;
    }
    if (rows_reversed(orientation))
        w.top = height - w.top - w.height;
    if (columns_reversed(orientation))
        w.left = width - w.left - w.width;
    return w;
}

struct gr_view gr_orientation_upright(int orientation, const struct gr_view *stored)
{
    struct gr_view view = *stored;
    if (rows_reversed(orientation)) {
        view.pixels += (ptrdiff_t)(stored->height - 1) * stored->row_stride;
        view.row_stride = -stored->row_stride;
    }
    if (columns_reversed(orientation))
        view = gr_view_mirrored(&view);
    if (gr_orientation_turned(orientation)) {
        const struct gr_view turned = view;
        view.height = turned.width;
        view.width = turned.height;
        view.row_stride = turned.column_stride;
        view.column_stride = turned.row_stride;
    }
    return view;
}
