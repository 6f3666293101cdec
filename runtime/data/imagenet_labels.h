/*
 * The labels of ILSVRC's validation set: its images are numbered and flat, their classes are lines
 * of a text file.
 */
#ifndef GR_DATA_IMAGENET_LABELS_H
#define GR_DATA_IMAGENET_LABELS_H

#include "data/folders.h"
#include "data/places.h"
#include "data/synsets.h"

/*
 * Labels the places, which are in the order of their names, by the lines of the file at path, as
 * many as there are places. A line is an ILSVRC2012_ID (the devkit's ground truth), which needs
 * synsets with IDs, or a wnid. *classes become the wnids, sorted: those of synsets, or without them
 * those of the file. Where there are more than `most` synsets (0: any), those of IDs beyond it are
 * no classes: the devkit's list goes on with inner nodes of WordNet's tree.
 */
bool gr_imagenet_label(struct gr_places *places, const char *path, const struct gr_synsets *synsets,
                       int64_t most, struct gr_pool *pool, struct gr_names *classes,
                       struct gr_error *err);

#endif
