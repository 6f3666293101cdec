/*
 * A convolution's weights as a picture: see gr_show_filters in graphrunner.h.
 */
#ifndef GR_TRAIN_FILTERS_H
#define GR_TRAIN_FILTERS_H

#include "base/shape.h"
#include "data/sheet.h"

/*
 * Paints weights [O, I, H, W], about `width` pixels wide, 0: as large as gr_show_filters does.
 * title may be NULL. The sheet is the caller's to release, also after a failure.
 */
bool gr_filters_draw(struct gr_sheet *sheet, const float *weights, const struct gr_shape *shape,
                     bool together, int64_t width, const char *title, struct gr_error *err);

#endif
