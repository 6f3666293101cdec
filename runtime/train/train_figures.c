/*
 * The figures of a training run: rates, means, what is best, and how they are shown and recorded.
 */
#include <math.h>
#include <string.h>

#include "train/train.h"

double gr_trainer_rate_at(const struct gr_trainer *t, int64_t step)
{
    return gr_schedule_rate(&t->model->file->learning_rate, &t->standing.schedule, step,
                            t->steps_per_epoch, t->epochs);
}

double gr_trainer_rate(const struct gr_trainer *t)
{
    return gr_trainer_rate_at(t, t->standing.step);
}

/* The loss remembers about the last fifty steps, fewer at the start. */
void gr_trainer_smooth(struct gr_trainer *t)
{
    const double done = (double)t->standing.step;
    const double memory = done < 50 ? done / (done + 1) : 0.98;
    t->standing.smoothed = memory * t->standing.smoothed + (1 - memory) * gr_batches_loss(t->plan);
}

static double seconds_left(const struct gr_trainer *t)
{
    if (!t->run_steps)
        return -1;
    const double each =
        (gr_seconds() - t->run_start - t->validation_seconds) / (double)t->run_steps;
    int64_t left = (t->epochs - t->standing.epoch) * t->steps_per_epoch - t->standing.batch;
    if (t->max_steps && t->max_steps - t->standing.step < left)
        left = t->max_steps - t->standing.step;
    const int64_t done = t->standing.epoch + 1;
    return each * (double)left +
           t->validation_seconds / (double)done * (double)(t->epochs - t->standing.epoch);
}

double gr_trainer_monitored(const struct gr_trainer *t, const struct gr_metric *metrics,
                            int n_metrics, double loss)
{
    for (int i = 0; i < n_metrics; i++)
        if (strcmp(metrics[i].name, t->monitor) == 0)
            return metrics[i].value;
    return loss;
}

bool gr_trainer_is_best(const struct gr_trainer *t, double value)
{
    if (!isfinite(value) || !t->standing.has_best)
        return isfinite(value);
    return t->higher_is_better ? value > t->standing.best : value < t->standing.best;
}

/* Seconds of this epoch. */
static double waited(const struct gr_trainer *t)
{
    return t->before.wait + gr_loader_wait_seconds(t->data.loader) - t->wait_start;
}

bool gr_trainer_show(struct gr_trainer *t, double rate, bool last)
{
    if (!t->options->progress)
        return true;
    const double seconds = t->before.seconds + gr_seconds() - t->start;
    const double images = t->before.images + (double)t->epoch_images;
    struct gr_progress p = {.stage = "train",
                            .epoch = t->standing.epoch + 1,
                            .epochs = t->epochs,
                            .step = t->standing.batch,
                            .steps = t->steps_per_epoch,
                            .total_step = t->standing.step,
                            .loss = last ? t->standing.means.loss : t->standing.smoothed,
                            .n_metrics = t->standing.means.n_metrics,
                            .learning_rate = rate,
                            .images_per_second = seconds > 0 ? images / seconds : 0,
                            .wait_share = seconds > 0 ? waited(t) / seconds : 0,
                            .seconds_left = seconds_left(t),
                            .last = last};
    memcpy(p.metrics, t->standing.means.metrics, sizeof p.metrics);
    p.best = last && !t->validation.loader &&
             gr_trainer_is_best(t, gr_trainer_monitored(t, p.metrics, p.n_metrics, p.loss));
    return t->options->progress(t->options->progress_user, &p);
}

void gr_trainer_record_stage(struct gr_trainer *t, const char *stage,
                             const struct gr_eval_result *means, double rate, double seconds,
                             double images)
{
    struct gr_metric pairs[GR_MAX_METRICS + 8] = {{"epoch", (double)(t->standing.epoch + 1)},
                                                  {"step", (double)t->standing.step},
                                                  {"loss", means->loss}};
    size_t n = 3;
    for (int i = 0; i < means->n_metrics; i++)
        pairs[n++] = means->metrics[i];
    pairs[n++] = (struct gr_metric){"learning_rate", rate};
    pairs[n++] = (struct gr_metric){"images_per_second", seconds > 0 ? images / seconds : 0};
    pairs[n++] = (struct gr_metric){"seconds", seconds};
    if (strcmp(stage, "train") == 0)
        pairs[n++] = (struct gr_metric){"wait_share", seconds > 0 ? waited(t) / seconds : 0};
    gr_recording_stage(&t->recording, stage, pairs, n);
}

void gr_trainer_record_step(struct gr_trainer *t, int64_t images, double rate)
{
    const struct gr_curve_step step = {.step = t->standing.step,
                                       .loss = gr_batches_loss(t->plan),
                                       .learning_rate = rate,
                                       .images = (double)images,
                                       .seconds = gr_seconds() - t->start,
                                       .wait =
                                           gr_loader_wait_seconds(t->data.loader) - t->wait_start};
    gr_recording_step(&t->recording, &step, t->standing.smoothed);
}
