/*
 * Ten views of an image; see ten_crop.h.
 */
#include "data/ten_crop.h"

#include <inttypes.h>

bool gr_ten_crop_view(const struct gr_ten_crop *crop, const struct gr_view *image, int k,
                      struct gr_view *view, struct gr_error *err)
{
    const int64_t down = image->height - crop->height, right = image->width - crop->width;
    if (down < 0 || right < 0)
        return gr_fail(err, GR_ERR_DATA,
                       "ten-crop: %" PRId64 "×%" PRId64 " does not fit into an image of %" PRId64
                       "×%" PRId64,
                       crop->height, crop->width, image->height, image->width);
    const int place = k % 5;
    const int64_t top = place == 0 ? down / 2 : place >= 3 ? down : 0;
    const int64_t left = place == 0 ? right / 2 : place % 2 == 0 ? right : 0;
    *view = gr_view_window(image, top, left, crop->height, crop->width);
    if (k >= 5)
        *view = gr_view_mirrored(view);
    return true;
}
