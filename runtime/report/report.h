/*
 * A run made ready for the page: its record with the model's graph and a picture of its filters.
 */
#ifndef GR_REPORT_REPORT_H
#define GR_REPORT_REPORT_H

#include "data/sheet.h"
#include "report/page.h"

#define GR_REPORT_NAME "report.html"

/*
 * The weights of the model's first convolution: which value, in the order of the graph. Copies its
 * name, "" if there is none. False and *err: the graph cannot be built.
 */
bool gr_report_filters_name(const struct gr_model_file *file, char *name, size_t size,
                            struct gr_error *err);

/*
 * Draws such weights [O, I, H, W] as large as a page is wide. The sheet stays empty where that
 * would be too large a picture.
 */
bool gr_report_filters_draw(struct gr_sheet *sheet, const float *weights,
                            const struct gr_shape *shape, struct gr_error *err);

#endif
