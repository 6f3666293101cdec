/*
 * The sources and transforms there are. A new one is a file and a row.
 */
#include "data/kinds.h"

#include "data/transform.h"

const struct gr_kind *const gr_data_sources[] = {
    &gr_source_imagefolder.kind, &gr_source_imagenet.kind,
    &gr_source_pack.kind,        &gr_source_webdataset.kind,
    &gr_source_list.kind,        &gr_source_idx.kind,
    &gr_source_cifar10.kind,     &gr_source_cifar100.kind,
    &gr_source_synthetic.kind,   NULL,
};

const struct gr_kind *const gr_data_transforms[] = {
    &gr_transform_resize.kind,
    &gr_transform_crop.kind,
    &gr_transform_random_resized_crop.kind,
    &gr_transform_flip.kind,
    &gr_transform_color_jitter.kind,
    &gr_transform_grayscale.kind,
    &gr_transform_pca_lighting.kind,
    &gr_transform_scale.kind,
    &gr_transform_mean.kind,
    &gr_transform_normalize.kind,
    NULL,
};
