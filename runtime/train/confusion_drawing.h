/*
 * What the drawings of a confusion matrix (SVG and PNG) share: where things stand, in units of the
 * SVG's pixels, shades, colours and texts.
 *
 * A row for each label, a column for each class predicted, shaded by the share of the label's
 * images. What is right lies on the diagonal, in blue; mistakes are in red. Shades go by the square
 * root, so that rare mistakes are seen.
 */
#ifndef GR_TRAIN_CONFUSION_DRAWING_H
#define GR_TRAIN_CONFUSION_DRAWING_H

#include "data/picture.h"
#include "train/confusion.h"

enum {
    GR_CONFUSION_SHADES = 12,
    GR_CONFUSION_MARGIN = 24,
    GR_CONFUSION_NAME_LETTERS = 24, /* longer names are cut */
    GR_CONFUSION_NAME_BYTES = 256,
    GR_CONFUSION_LEGEND_STEP = 10, /* from shade to shade */
};

/* A drawing at work. */
struct gr_confusion_layout {
    const struct gr_confusion *confusion;
    gr_class_name_fn *name;
    const void *user;
    bool named, numbered;         /* is there room for names, and for numbers in cells? */
    double cell, left, top, side; /* of the matrix */
    double width, height;         /* of all */
    double legend[2];             /* where the legends of what is wrong and right begin */
};

struct gr_confusion_layout gr_confusion_lay_out(const struct gr_confusion *confusion,
                                                gr_class_name_fn *name, const void *user);

/* The name of a class or else its number; returns how many letters are to be shown. */
int gr_confusion_class_text(const struct gr_confusion_layout *layout, int64_t index,
                            char text[GR_CONFUSION_NAME_BYTES]);

/* 0: nothing; 1 to GR_CONFUSION_SHADES. */
int gr_confusion_shade(uint32_t count, int64_t images);
struct gr_colour gr_confusion_colour(bool right, int shade);

/* "0.2", "7", "99.8", "100": whole numbers say nothing of what is almost none or all. */
const char *gr_confusion_percent(double percent, char text[16]);

#endif
