/*
 * What the drawings of a confusion matrix share; see confusion_drawing.h.
 */
#include "train/confusion_drawing.h"

#include <inttypes.h>
#include <math.h>

enum {
    NAMED = 64,    /* more classes than these stay without names */
    NUMBERED = 16, /* more have no numbers in their cells */
    SIDE = 640,    /* of the matrix, as near as whole cells come */
    LEGEND = 560,
    LETTER = 7, /* width */
};

int gr_confusion_class_text(const struct gr_confusion_layout *layout, int64_t index,
                            char text[GR_CONFUSION_NAME_BYTES])
{
    int letters = 0;
    if (!*layout->name(layout->user, index, text, GR_CONFUSION_NAME_BYTES - 4))
        snprintf(text, GR_CONFUSION_NAME_BYTES, "%" PRId64, index);
    for (const char *at = text; *at; at++)
        letters += (*at & 0xc0) != 0x80; /* of UTF-8 */
    return letters < GR_CONFUSION_NAME_LETTERS ? letters : GR_CONFUSION_NAME_LETTERS;
}

int gr_confusion_shade(uint32_t count, int64_t images)
{
    if (!count)
        return 0;
    const int shade = (int)ceil(sqrt((double)count / (double)images) * GR_CONFUSION_SHADES);
    return shade > GR_CONFUSION_SHADES ? GR_CONFUSION_SHADES : shade;
}

struct gr_colour gr_confusion_colour(bool right, int shade)
{
    const double full[2][3] = {{178, 24, 43}, {8, 69, 148}};
    const double share = (double)shade / GR_CONFUSION_SHADES;
    uint8_t rgb[3];
    for (int c = 0; c < 3; c++)
        rgb[c] = (uint8_t)lround(255 - share * (255 - full[right][c]));
    return (struct gr_colour){rgb[0], rgb[1], rgb[2]};
}

const char *gr_confusion_percent(double percent, char text[16])
{
    const bool odd = (percent > 0 && percent < 0.95) || (percent > 99.05 && percent < 100);
    snprintf(text, 16, odd ? "%.1f" : "%.0f", odd ? floor(10 * percent) / 10 : percent);
    return text;
}

/* What the names take at the left and at the top. */
static double name_room(const struct gr_confusion_layout *layout)
{
    int most = 0;
    char text[GR_CONFUSION_NAME_BYTES];
    for (int64_t i = 0; i < layout->confusion->classes; i++) {
        const int letters = gr_confusion_class_text(layout, i, text);
        most = letters > most ? letters : most;
    }
    return most * LETTER + 8;
}

struct gr_confusion_layout gr_confusion_lay_out(const struct gr_confusion *confusion,
                                                gr_class_name_fn *name, const void *user)
{
    struct gr_confusion_layout l = {.confusion = confusion,
                                    .name = name,
                                    .user = user,
                                    .named = confusion->classes <= NAMED,
                                    .numbered = confusion->classes <= NUMBERED};
    const double names = l.named ? name_room(&l) : 0;
    const double least = l.named ? 14 : 1;
    l.cell = floor((double)SIDE / (double)confusion->classes);
    l.cell = l.cell < least ? least : l.cell > 56 ? 56 : l.cell;
    l.side = l.cell * (double)confusion->classes;
    l.left = 2 * GR_CONFUSION_MARGIN + names;
    l.top = 3 * GR_CONFUSION_MARGIN + names;
    const double wide = l.side > LEGEND ? l.side : LEGEND;
    l.width = l.left + wide + GR_CONFUSION_MARGIN;
    l.legend[false] = l.left + wide / 2;
    l.legend[true] = l.left;
    l.height = l.top + l.side + 2 * GR_CONFUSION_MARGIN;
    return l;
}
