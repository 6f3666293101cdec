/*
 * The figures of a run on their way to its records; see recording.h.
 */
#include "train/recording.h"

#include <inttypes.h>

#include "report/record.h"
#include "train/run_folder.h"

enum { STEPS_AN_EVENT = 100 };

/* ---- opening ----------------------------------------------------------------------------- */

/* After a crash of the whole machine, say. */
static void warn_of_missing(const struct gr_recording *recording, const char *folder,
                            const char *name, int64_t there, int64_t wanted)
{
    if (there < wanted)
        gr_log(recording->context, GR_LOG_WARNING,
               "%s/%s: the last %" PRId64 " of %" PRId64 " records are missing", folder, name,
               wanted - there, wanted);
}

static void check_counts(const struct gr_recording *recording, const char *folder,
                         const struct gr_records *kept)
{
    const struct gr_records there = gr_recording_count(recording);
    warn_of_missing(recording, folder, GR_STEPS_NAME, there.steps, kept->steps);
    warn_of_missing(recording, folder, GR_METRICS_NAME, there.metrics, kept->metrics);
    warn_of_missing(recording, folder, GR_EVENTS_NAME, there.events, kept->events);
}

bool gr_recording_open(struct gr_recording *recording, struct gr_model *model,
                       const struct gr_train_options *options, const struct gr_journal_facts *facts,
                       const struct gr_records *kept, struct gr_error *err)
{
    const struct gr_records none = {0, 0, 0};
    char metrics[GR_RUN_PATH], events[GR_RUN_PATH];
    recording->context = model->context;
    if (!facts->goes_on)
        kept = &none;
    if (!gr_run_path(options->out, GR_METRICS_NAME, metrics, err) ||
        !gr_run_path(options->out, GR_EVENTS_NAME, events, err) ||
        !(recording->metrics = gr_metrics_open(metrics, kept->metrics, err)) ||
        !(recording->events = gr_events_open(events, kept->events, err)) ||
        !(recording->journal = gr_journal_open(model, options, facts, err)))
        return false;
    check_counts(recording, options->out, kept);
    return true;
}

bool gr_recording_renew(struct gr_recording *recording, struct gr_error *err)
{
    recording->no_table = true; /* if there is one */
    return gr_journal_renew(recording->journal, err) && gr_metrics_renew(recording->metrics, err) &&
           gr_events_renew(recording->events, err);
}

struct gr_records gr_recording_count(const struct gr_recording *recording)
{
    return (struct gr_records){.steps = gr_metrics_count(gr_journal_steps(recording->journal)),
                               .metrics = gr_metrics_count(recording->metrics),
                               .events = gr_events_count(recording->events)};
}

void gr_recording_files(const struct gr_recording *recording, int files[3])
{
    files[0] = gr_metrics_fd(gr_journal_steps(recording->journal));
    files[1] = gr_metrics_fd(recording->metrics);
    files[2] = gr_events_fd(recording->events);
}

/* ---- figures ----------------------------------------------------------------------------- */

/* Tells of trouble when it begins and when it ends. */
static void note(struct gr_recording *recording, bool ok, const struct gr_error *err)
{
    if (!ok && !recording->failing)
        gr_log(recording->context, GR_LOG_WARNING,
               "%s; training goes on, and what is missing is written as soon as that can be",
               err->message);
    if (ok && recording->failing)
        gr_log(recording->context, GR_LOG_INFO, "the records of the run are written again");
    recording->failing = !ok;
}

void gr_recording_step(struct gr_recording *recording, const struct gr_curve_step *step,
                       double smoothed)
{
    struct gr_error err = {0};
    bool ok = gr_journal_step(recording->journal, step, &err);
    if (step->step % STEPS_AN_EVENT == 0) {
        const struct gr_metric scalars[] = {{"loss", smoothed},
                                            {"learning_rate", step->learning_rate}};
        ok = gr_events_write(recording->events, "step", step->step, scalars, 2, &err) && ok;
    }
    note(recording, ok, &err);
}

/* The confusion matrix of the best validation, if it is still to be written. */
static bool write_table(struct gr_recording *recording, struct gr_error *err)
{
    recording->no_table = recording->no_table && !gr_journal_write_best(recording->journal, err);
    return !recording->no_table;
}

void gr_recording_stage(struct gr_recording *recording, const char *stage,
                        const struct gr_metric *pairs, size_t count)
{
    struct gr_error err = {0};
    const int64_t step = (int64_t)pairs[1].value;
    bool ok = gr_metrics_write(recording->metrics, stage, pairs, count, &err);
    ok = gr_journal_stage(recording->journal, stage, pairs, count, &err) && ok;
    ok = gr_events_write(recording->events, stage, step, pairs + 2, count - 2, &err) && ok;
    ok = write_table(recording, &err) && ok;
    note(recording, ok, &err);
}

void gr_recording_best(struct gr_recording *recording)
{
    struct gr_error err = {0};
    recording->no_table = true;
    if (!gr_journal_best(recording->journal, &err) || !write_table(recording, &err))
        note(recording, false, &err);
}

bool gr_recording_close(struct gr_recording *recording, int64_t step, const char *outcome,
                        const char *message, struct gr_error *err)
{
    const bool table = write_table(recording, err);
    bool ok = gr_journal_close(recording->journal, step, outcome, message, err);
    ok = gr_metrics_close(recording->metrics, err) && ok;
    ok = gr_events_close(recording->events, err) && ok && table;
    *recording = (struct gr_recording){0};
    return ok;
}
