/*
 * Encoding JPEG in memory with libjpeg-turbo: baseline, colours at full resolution. Pictures that
 * were made smaller have as much detail in colours as in brightness; the usual halving of colours
 * (4:2:0) would take away what the original's halving had left.
 */
#ifndef GR_DATA_JPEG_WRITE_H
#define GR_DATA_JPEG_WRITE_H

#include "data/image.h"

/*
 * A view of 1 channel (grey) or 3 (RGB) whose columns are dense, at a quality of 1 to 100. The same
 * picture always gives the same bytes. *bytes is the caller's, to free(). Fails with
 * GR_ERR_RUNTIME, or GR_ERR_DATA where it is larger than JPEG allows.
 */
bool gr_jpeg_encode(const struct gr_view *view, int quality, uint8_t **bytes, size_t *size,
                    struct gr_error *err);

#endif
