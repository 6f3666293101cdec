/*
 * Class scores: what evaluation and prediction read from a model's output, [N, classes].
 */
#ifndef GR_TRAIN_SCORES_H
#define GR_TRAIN_SCORES_H

#include "model/model.h"

/* The output that holds them; NULL and a model error where the model has no output. */
const char *gr_scores_output(const struct gr_model *model, struct gr_error *err);

/*
 * That each of the N rows is a distribution, as a softmax's is; else a model error that names the
 * output.
 */
bool gr_scores_check(const float *scores, int64_t N, int64_t classes, const char *output,
                     struct gr_error *err);

/* Averages the views of each image, checked so: [images, views, classes] to [images, classes]. */
bool gr_scores_average(const float *scores, int64_t images, int64_t views, int64_t classes,
                       const char *output, float *averages, struct gr_error *err);

/*
 * How many of a row's classes rank before that one: 0 is the best. Of equal scores the lower class
 * ranks first, and NaN above every number, as in the models' accuracies.
 */
int64_t gr_scores_rank(const float *row, int64_t classes, int64_t label);

/* The `top` classes with the highest scores, best first; -1 beyond the last class. */
void gr_scores_top(const float *row, int64_t classes, int top, int64_t *best);

#endif
