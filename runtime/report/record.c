/*
 * A run's figures, taken in and asked for; see record.h. Reading files is in record_read.c.
 */
#include "report/record.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void gr_record_release(struct gr_record *record)
{
    free(record->sessions);
    free(record->epochs);
    gr_curve_release(&record->curve);
    gr_confusion_release(&record->confusion);
    gr_pool_release(&record->pool);
    *record = (struct gr_record){0};
}

/* ---- sessions ---------------------------------------------------------------------------- */

/* Keys of events and their fields: texts, then numbers. */
static const struct key {
    const char *name;
    size_t offset;
} texts[] =
    {
        {"command", offsetof(struct gr_record_session, command)},
        {"model", offsetof(struct gr_record_session, model)},
        {"precision", offsetof(struct gr_record_session, precision)},
        {"machine", offsetof(struct gr_record_session, machine)},
        {"system", offsetof(struct gr_record_session, system)},
        {"graph_runner", offsetof(struct gr_record_session, version)},
        {"monitor", offsetof(struct gr_record_session, monitor)},
},
  numbers[] = {
      {"time", offsetof(struct gr_record_session, started)},
      {"step", offsetof(struct gr_record_session, first_step)},
      {"higher_is_better", offsetof(struct gr_record_session, higher_is_better)},
      {"seed", offsetof(struct gr_record_session, seed)},
      {"batch", offsetof(struct gr_record_session, batch)},
      {"threads", offsetof(struct gr_record_session, threads)},
      {"cores", offsetof(struct gr_record_session, cores)},
      {"parameters", offsetof(struct gr_record_session, parameters)},
      {"epochs", offsetof(struct gr_record_session, epochs)},
      {"steps_per_epoch", offsetof(struct gr_record_session, steps_per_epoch)},
      {"train_images", offsetof(struct gr_record_session, train_images)},
};

static const struct gr_record_session unknown = {.higher_is_better = -1,
                                                 .seed = -1,
                                                 .batch = -1,
                                                 .threads = -1,
                                                 .cores = -1,
                                                 .parameters = -1,
                                                 .epochs = -1,
                                                 .steps_per_epoch = -1,
                                                 .train_images = -1,
                                                 .started = -1,
                                                 .ended = -1,
                                                 .first_step = -1,
                                                 .last_step = -1};

static int64_t whole(const json_t *event, const char *name)
{
    const json_t *value = json_object_get(event, name);
    return json_is_integer(value) ? (int64_t)json_integer_value(value) : -1;
}

/* A copy of the text under a key, or NULL; *ok becomes false when memory runs out. */
static const char *copy_text(struct gr_record *record, const json_t *event, const char *name,
                             bool *ok)
{
    const char *text = json_string_value(json_object_get(event, name));
    const char *copy = text ? gr_pool_strdup(&record->pool, text) : NULL;
    *ok = *ok && (!text || copy);
    return copy;
}

static bool start(struct gr_record *record, const json_t *event)
{
    bool ok = gr_grow((void **)&record->sessions, &record->sessions_capacity, record->n_sessions,
                      sizeof *record->sessions);
    if (!ok)
        return false;
    struct gr_record_session *session = &record->sessions[record->n_sessions++];
    *session = unknown;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        *(const char **)((char *)session + texts[i].offset) =
            copy_text(record, event, texts[i].name, &ok);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        *(int64_t *)((char *)session + numbers[i].offset) = whole(event, numbers[i].name);
    return ok;
}

static bool end(struct gr_record *record, const json_t *event)
{
    bool ok = true;
    if (!record->n_sessions)
        return true;
    struct gr_record_session *session = &record->sessions[record->n_sessions - 1];
    session->ended = whole(event, "time");
    session->last_step = whole(event, "step");
    session->outcome = copy_text(record, event, "outcome", &ok);
    session->message = copy_text(record, event, "message", &ok);
    return ok;
}

bool gr_record_event(struct gr_record *record, const json_t *event, struct gr_error *err)
{
    const char *kind = json_string_value(json_object_get(event, "event"));
    const bool ok = !kind                        ? true
                    : strcmp(kind, "start") == 0 ? start(record, event)
                    : strcmp(kind, "end") == 0   ? end(record, event)
                                                 : true;
    return ok || gr_fail_memory(err, "the record of a run");
}

struct gr_record_session gr_record_latest(const struct gr_record *record)
{
    return record->n_sessions ? record->sessions[record->n_sessions - 1] : unknown;
}

/* ---- epochs ------------------------------------------------------------------------------ */

static struct gr_record_stage no_stage(void)
{
    struct gr_record_stage stage = {.loss = (double)NAN,
                                    .learning_rate = (double)NAN,
                                    .images_per_second = (double)NAN,
                                    .seconds = (double)NAN,
                                    .wait_share = (double)NAN};
    for (int m = 0; m < GR_MAX_METRICS; m++)
        stage.metrics[m] = (double)NAN;
    return stage;
}

/* Where a stage keeps the figure of that name; a metric that is new gets a place. NULL: none. */
static double *field(struct gr_record *record, struct gr_record_stage *stage, const char *name)
{
    const struct {
        const char *name;
        double *place;
    } fields[] = {{"loss", &stage->loss},
                  {"learning_rate", &stage->learning_rate},
                  {"images_per_second", &stage->images_per_second},
                  {"seconds", &stage->seconds},
                  {"wait_share", &stage->wait_share}};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (strcmp(fields[i].name, name) == 0)
            return fields[i].place;
    for (int m = 0; m < record->n_metrics; m++)
        if (strcmp(record->metrics[m], name) == 0)
            return &stage->metrics[m];
    if (record->n_metrics == GR_MAX_METRICS)
        return NULL;
    const char *copy = gr_pool_strdup(&record->pool, name);
    if (!copy)
        return NULL;
    record->metrics[record->n_metrics] = copy;
    return &stage->metrics[record->n_metrics++];
}

static double pair(const struct gr_metric *pairs, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(pairs[i].name, name) == 0)
            return pairs[i].value;
    return (double)NAN;
}

/* The epoch, new if it is not the last with this stage still to come. NULL: out of memory. */
static struct gr_record_epoch *open_epoch(struct gr_record *record, int64_t epoch, bool val)
{
    while (record->n_epochs) {
        struct gr_record_epoch *last = &record->epochs[record->n_epochs - 1];
        if (last->epoch < epoch)
            break;
        if (last->epoch == epoch && !(val ? last->val.there : last->train.there || last->val.there))
            return last;
        record->n_epochs--;
    }
    if (!gr_grow((void **)&record->epochs, &record->epochs_capacity, record->n_epochs,
                 sizeof *record->epochs))
        return NULL;
    struct gr_record_epoch *made = &record->epochs[record->n_epochs++];
    *made = (struct gr_record_epoch){epoch, 0, no_stage(), no_stage()};
    return made;
}

bool gr_record_stage(struct gr_record *record, const char *stage, const struct gr_metric *pairs,
                     size_t count, struct gr_error *err)
{
    const bool val = strcmp(stage, "val") == 0;
    const double epoch = pair(pairs, count, "epoch"), step = pair(pairs, count, "step");
    if ((!val && strcmp(stage, "train") != 0) || !(epoch >= 1 && epoch < 0x1p53))
        return true;
    struct gr_record_epoch *into = open_epoch(record, (int64_t)epoch, val);
    if (!into)
        return gr_fail_memory(err, "the record of a run");
    into->step = step >= 0 && step < 0x1p53 ? (int64_t)step : 0;
    struct gr_record_stage *figures = val ? &into->val : &into->train;
    figures->there = true;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(pairs[i].name, "epoch") == 0 || strcmp(pairs[i].name, "step") == 0)
            continue;
        double *place = field(record, figures, pairs[i].name);
        if (place)
            *place = isfinite(pairs[i].value) ? pairs[i].value : (double)NAN;
    }
    return true;
}

/* ---- asking ------------------------------------------------------------------------------ */

double gr_record_figure(const struct gr_record *record, const struct gr_record_stage *stage,
                        const char *name)
{
    if (strcmp(name, "loss") == 0)
        return stage->loss;
    for (int m = 0; m < record->n_metrics; m++)
        if (strcmp(record->metrics[m], name) == 0)
            return stage->metrics[m];
    return (double)NAN;
}

struct gr_record_best gr_record_best(const struct gr_record *record)
{
    const struct gr_record_session session = gr_record_latest(record);
    struct gr_record_best best = {.value = (double)NAN};
    best.monitor = session.monitor     ? session.monitor
                   : record->n_metrics ? record->metrics[0]
                                       : "loss";
    best.higher = session.higher_is_better < 0 ? strcmp(best.monitor, "loss") != 0
                                               : session.higher_is_better > 0;
    for (size_t i = 0; i < record->n_epochs; i++)
        best.of_validation = best.of_validation || record->epochs[i].val.there;
    for (size_t i = 0; i < record->n_epochs; i++) {
        const struct gr_record_epoch *epoch = &record->epochs[i];
        const double value = gr_record_figure(
            record, best.of_validation ? &epoch->val : &epoch->train, best.monitor);
        if (isnan(value) ||
            (best.epoch && !(best.higher ? value > best.value : value < best.value)))
            continue;
        best.value = value;
        best.epoch = epoch;
    }
    return best;
}

void gr_record_seconds(const struct gr_record *record, double *training, double *validation)
{
    double epochs = 0, steps = 0;
    *validation = 0;
    for (size_t i = 0; i < record->n_epochs; i++) {
        epochs += isnan(record->epochs[i].train.seconds) ? 0 : record->epochs[i].train.seconds;
        *validation += isnan(record->epochs[i].val.seconds) ? 0 : record->epochs[i].val.seconds;
    }
    for (size_t i = 0; i < record->curve.count; i++)
        steps += record->curve.points[i].seconds;
    *training = steps > epochs ? steps : epochs;
}

const struct gr_record_epoch *gr_record_last(const struct gr_record *record)
{
    return record->n_epochs ? &record->epochs[record->n_epochs - 1] : NULL;
}

int64_t gr_record_steps(const struct gr_record *record)
{
    const struct gr_record_epoch *last = gr_record_last(record);
    const int64_t of_epochs = last ? last->step : 0;
    const size_t points = record->curve.count;
    const int64_t of_curve = points ? record->curve.points[points - 1].last : 0;
    return of_curve > of_epochs ? of_curve : of_epochs;
}

double gr_record_speed(const struct gr_record *record)
{
    double images = 0, seconds = 0;
    for (size_t i = 0; i < record->curve.count; i++) {
        images += record->curve.points[i].images;
        seconds += record->curve.points[i].seconds;
    }
    if (images > 0 && seconds > 0)
        return images / seconds;
    return gr_record_last(record) ? gr_record_last(record)->train.images_per_second : (double)NAN;
}
