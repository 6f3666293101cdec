/*
 * The confusion matrix: how often images of each class were taken for each class.
 */
#ifndef GR_TRAIN_CONFUSION_H
#define GR_TRAIN_CONFUSION_H

#include "base/error.h"

#include <stdint.h>
#include <stdio.h>

/* Zero-initialised is none. */
struct gr_confusion {
    int64_t classes;
    uint32_t *counts; /* [label, predicted] */
};

/* Names a class into the buffer, or makes it "". */
typedef const char *gr_class_name_fn(const void *user, int64_t index, char *buffer, size_t size);

bool gr_confusion_init(struct gr_confusion *confusion, int64_t classes, struct gr_error *err);
void gr_confusion_release(struct gr_confusion *confusion);

int64_t gr_confusion_images(const struct gr_confusion *confusion, int64_t label);

/* The class's row summed up; its name is left alone. */
void gr_confusion_class(const struct gr_confusion *confusion, int64_t label,
                        struct gr_class_result *result);

/* Can gr_confusion_write write a file of that name? A usage error if not. */
bool gr_confusion_path_check(const char *path, struct gr_error *err);

/*
 * Writes it atomically: FILE.csv holds the counts, a line for each label, with the classes' names
 * (or numbers) in the first line and column; FILE.svg and FILE.png are drawings, each row's shares
 * as shades.
 */
bool gr_confusion_write(const struct gr_confusion *confusion, const char *title,
                        gr_class_name_fn *name, const void *name_user, const char *path,
                        struct gr_error *err);

/* The drawing, to a stream; write errors stay with the stream. */
void gr_confusion_draw(const struct gr_confusion *confusion, const char *title,
                       gr_class_name_fn *name, const void *name_user, FILE *file);

/* The same as PNG; path is for messages. */
bool gr_confusion_paint(const struct gr_confusion *confusion, const char *title,
                        gr_class_name_fn *name, const void *name_user, FILE *file, const char *path,
                        struct gr_error *err);

/* A text in double quotes, as CSV has it. */
void gr_csv_quoted(FILE *file, const char *text);

#endif
