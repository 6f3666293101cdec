/*
 * Class scores; see scores.h.
 */
#include "train/scores.h"

#include <inttypes.h>
#include <math.h>

const char *gr_scores_output(const struct gr_model *model, struct gr_error *err)
{
    if (model->file->n_outputs)
        return model->file->outputs[0];
    gr_fail(err, GR_ERR_MODEL, "%s: the model has no output such as a softmax", model->file->path);
    return NULL;
}

bool gr_scores_check(const float *scores, int64_t N, int64_t classes, const char *output,
                     struct gr_error *err)
{
    for (int64_t n = 0; n < N; n++) {
        double sum = 0;
        bool negative = false;
        for (int64_t c = 0; c < classes; c++) {
            sum += (double)scores[n * classes + c];
            negative = negative || scores[n * classes + c] < 0;
        }
        if (negative || fabs(sum - 1) > 1e-3)
            return gr_fail(err, GR_ERR_MODEL,
                           "'%s' is no softmax: its values, which add up to %g, are no "
                           "probabilities; let a node {name: prob, op: softmax} follow it",
                           output, sum);
    }
    return true;
}

bool gr_scores_average(const float *scores, int64_t images, int64_t views, int64_t classes,
                       const char *output, float *averages, struct gr_error *err)
{
    if (!gr_scores_check(scores, images * views, classes, output, err))
        return false;
    for (int64_t n = 0; n < images; n++)
        for (int64_t c = 0; c < classes; c++) {
            double sum = 0;
            for (int64_t v = 0; v < views; v++)
                sum += (double)scores[(n * views + v) * classes + c];
            averages[n * classes + c] = (float)(sum / (double)views);
        }
    return true;
}

int64_t gr_scores_rank(const float *row, int64_t classes, int64_t label)
{
    const float mine = row[label];
    int64_t rank = 0;
    for (int64_t c = 0; c < classes; c++)
        rank += !(row[c] <= mine) || (row[c] >= mine && c < label);
    return rank;
}

void gr_scores_top(const float *row, int64_t classes, int top, int64_t *best)
{
    for (int k = 0; k < top; k++) {
        best[k] = -1;
        for (int64_t c = 0; c < classes; c++) {
            bool taken = false;
            for (int j = 0; j < k; j++)
                taken = taken || best[j] == c;
            if (!taken && (best[k] < 0 || row[c] > row[best[k]]))
                best[k] = c;
        }
    }
}
