/*
 * Ten views of an image, as AlexNet was tested: the windows at its centre and in its four corners,
 * each as it is and mirrored. They take the place of the part's last crop, are of its size, and cut
 * what the transforms before it leave; those after it see each view by itself.
 */
#ifndef GR_DATA_TEN_CROP_H
#define GR_DATA_TEN_CROP_H

#include "data/image.h"

enum { GR_TEN_CROP_VIEWS = 10 };

/* Zero-initialised is none: the crop stays as it is. */
struct gr_ten_crop {
    int at; /* the crop's place among the transforms */
    int64_t height, width;
};

/*
 * View k of an image, from 0: centre, top left, top right, bottom left, bottom right, then the
 * same mirrored. A data error where the image is smaller than the window.
 */
bool gr_ten_crop_view(const struct gr_ten_crop *crop, const struct gr_view *image, int k,
                      struct gr_view *view, struct gr_error *err);

#endif
