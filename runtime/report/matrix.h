/*
 * The confusion matrix on the page: drawn with the classes' names where there are few, scaled down
 * to blocks of classes where there are many, and in both cases as tables of the classes that fare
 * worst and of the mistakes made most often.
 */
#ifndef GR_REPORT_MATRIX_H
#define GR_REPORT_MATRIX_H

#include "report/markup.h"
#include "train/confusion.h"

/* names [classes], each may be NULL or "", or NULL. False and *err: out of memory. */
bool gr_matrix_draw(const struct gr_confusion *confusion, const char *const *names,
                    struct gr_text *out, struct gr_error *err);

#endif
