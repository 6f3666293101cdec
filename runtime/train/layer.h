/*
 * A layer of a model by name: the value that features are made of.
 */
#ifndef GR_TRAIN_LAYER_H
#define GR_TRAIN_LAYER_H

#include "model/model.h"

enum { GR_LAYER_TEXT = 512 }; /* as in struct gr_features_result */

struct gr_layer {
    char name[GR_LAYER_TEXT];  /* of the value */
    char about[GR_LAYER_TEXT]; /* where it stands: "relu of fc7, before drop7" */
    struct gr_shape shape;     /* of one image's activations */
};

/*
 * The value of that name. NULL: the model's representation, which is what the last layer with
 * weights before its first output reads, without dropout: fc7 behind its ReLU in AlexNet. A usage
 * error with a suggestion where there is none, or where it has no row for each image.
 */
bool gr_layer_find(const struct gr_model *model, const char *name, struct gr_layer *layer,
                   struct gr_error *err);

#endif
