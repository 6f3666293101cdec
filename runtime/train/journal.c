/*
 * The records of a run; see journal.h.
 */
#define _GNU_SOURCE
#include "train/journal.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "base/append.h"
#include "base/json.h"
#include "report/record.h"
#include "report/report.h"
#include "train/metrics.h"
#include "train/schedule.h"
#include "train/scores.h"

enum {
    PATH_SIZE = 4096,
    NAME_SIZE = 256,
    MOST_CLASSES = 2048, /* of a confusion matrix: 16 MiB */
    PAGE_SHARE = 20,     /* the page may take one part in so many of the time */
};

struct gr_journal {
    struct gr_model *model;
    const struct gr_train_options *options;
    struct gr_record record;
    struct gr_append *run;
    struct gr_metrics *steps;
    struct gr_confusion current; /* of the validation that goes on; counts NULL: not kept */
    double seconds, wait;        /* of the epoch, at the step before */
    char filters[NAME_SIZE];     /* the weights to draw, or "" */
    double written, cost;        /* the page: when, and in how many seconds */
    bool failing;                /* the page could not be written, which has been told */
};

static bool path_in(const struct gr_journal *journal, const char *name, char path[PATH_SIZE],
                    struct gr_error *err)
{
    const int n = snprintf(path, PATH_SIZE, "%s/%s", journal->options->out, name);
    return (n > 0 && n < PATH_SIZE) ||
           gr_fail(err, GR_ERR_USAGE, "the path of the run folder is too long");
}

/* ---- events ------------------------------------------------------------------------------ */

/* Writes it as a line and takes it into the record; event is given up. */
static bool put_event(struct gr_journal *journal, json_t *event, struct gr_error *err)
{
    struct gr_text line = {0};
    char *text = event ? gr_json_dump(event, JSON_COMPACT) : NULL;
    if (text)
        gr_text_add(&line, "%s\n", text);
    free(text);
    bool ok = text && gr_text_ok(&line, NULL) ? gr_record_event(&journal->record, event, err)
                                              : gr_fail_memory(err, "the record of a run");
    ok = ok && gr_append_write(journal->run, line.data, line.length, err);
    gr_text_release(&line);
    json_decref(event);
    return ok;
}

/* A text as JSON, whatever its bytes are. */
static json_t *text_json(const char *text)
{
    json_t *json = text ? json_string(text) : json_null();
    if (json || !text)
        return json;
    char *copy = strdup(text);
    for (char *c = copy; c && *c; c++)
        if ((unsigned char)*c >= 0x80)
            *c = '?';
    json = copy ? json_string(copy) : NULL;
    free(copy);
    return json;
}

static void name_system(char text[NAME_SIZE])
{
    struct utsname name;
    if (uname(&name) == 0)
        snprintf(text, NAME_SIZE, "%.60s %.80s %.60s", name.sysname, name.release, name.machine);
    else
        snprintf(text, NAME_SIZE, "unknown");
}

static bool put_start(struct gr_journal *journal, const struct gr_journal_facts *facts,
                      struct gr_error *err)
{
    const struct gr_model *model = journal->model;
    const struct gr_context *context = model->context;
    char system[NAME_SIZE];
    name_system(system);
    json_t *event =
        json_pack("{s:s, s:I, s:I, s:o, s:o, s:o, s:o, s:s, s:s, s:s, s:b}", "event", "start",
                  "time", (json_int_t)time(NULL), "step", (json_int_t)facts->step, "model",
                  text_json(model->file->name), "command", text_json(journal->options->command),
                  "machine", text_json(context->ops->machine(context->backend)), "monitor",
                  text_json(facts->monitor), "system", system, "precision",
                  journal->options->precision == GR_PRECISION_BF16 ? "bf16" : "f32", "graph_runner",
                  GR_VERSION, "resumed", journal->options->resume != NULL);
    const struct {
        const char *name;
        int64_t value;
    } numbers[] = {{"higher_is_better", facts->higher_is_better},
                   {"seed", (int64_t)model->seed},
                   {"batch", facts->batch},
                   {"threads", context->threads},
                   {"cores", sysconf(_SC_NPROCESSORS_ONLN)},
                   {"parameters", gr_model_parameter_count(model)},
                   {"epochs", facts->epochs},
                   {"steps_per_epoch", facts->steps_per_epoch}};
    for (size_t i = 0; event && i < sizeof numbers / sizeof *numbers; i++)
        json_object_set_new(event, numbers[i].name, json_integer(numbers[i].value));
    return put_event(journal, event, err);
}

/* ---- opening ----------------------------------------------------------------------------- */

bool gr_journal_scores(const struct gr_model *model, const char **scores, struct gr_error *err)
{
    const int64_t classes = gr_model_classes(model);
    const char *output = gr_scores_output(model, NULL);
    *scores = NULL;
    if (!output || classes < 1 || classes > MOST_CLASSES)
        return true;
    struct gr_graph *graph = gr_model_file_graph(model->file, 1, false, err);
    const struct gr_value *value = graph ? gr_graph_value(graph, output) : NULL;
    if (value && value->shape.rank == 2 && value->shape.dim[1] == classes && value->dtype == GR_F32)
        *scores = output;
    gr_graph_free(graph);
    return graph != NULL;
}

static bool open_events(struct gr_journal *journal, bool goes_on, struct gr_error *err)
{
    char path[PATH_SIZE];
    int64_t lines;
    return path_in(journal, GR_RUN_NAME, path, err) &&
           (journal->run = gr_append_open(path, !goes_on, err)) &&
           gr_append_cut_lines(journal->run, -1, &lines, err);
}

static bool open_files(struct gr_journal *journal, const struct gr_journal_facts *facts,
                       struct gr_error *err)
{
    char path[PATH_SIZE];
    if (!open_events(journal, facts->goes_on, err) || !path_in(journal, GR_STEPS_NAME, path, err))
        return false;
    journal->steps = gr_metrics_open(path, facts->goes_on ? facts->keep : 0, err);
    if (!journal->steps || !path_in(journal, GR_CONFUSION_NAME, path, err))
        return false;
    if (!facts->goes_on)
        unlink(path); /* of another run */
    return true;
}

/* What was there before, of a run that is resumed; nothing much is lost if it cannot be read. */
static void read_past(struct gr_journal *journal, bool goes_on)
{
    const struct gr_context *context = journal->model->context;
    struct gr_error err = {0};
    if (!goes_on || gr_record_read(&journal->record, journal->options->out, context->log,
                                   context->log_user, &err))
        return;
    if (err.status != GR_ERR_DATA) /* which says that there is none */
        gr_log(context, GR_LOG_WARNING, "the report begins anew: %s", err.message);
    gr_record_release(&journal->record);
}

/* More epochs, or fewer, are as good as planned from the start, but for these policies. */
static void tell_epochs(const struct gr_journal *journal, const struct gr_journal_facts *facts)
{
    const struct gr_record *record = &journal->record;
    const int64_t before =
        record->n_sessions ? record->sessions[record->n_sessions - 1].epochs : -1;
    const struct gr_choice *policy = &journal->model->file->learning_rate;
    if (before > 0 && before != facts->epochs && facts->step > 0 &&
        gr_schedule_spans_training(policy))
        gr_log(journal->model->context, GR_LOG_WARNING,
               "'%s' spreads the learning rate over all epochs, of which there are %" PRId64
               " now and were %" PRId64 ": what was trained before had other rates",
               policy->kind->name, facts->epochs, before);
}

struct gr_journal *gr_journal_open(struct gr_model *model, const struct gr_train_options *options,
                                   const struct gr_journal_facts *facts, struct gr_error *err)
{
    struct gr_journal *journal = calloc(1, sizeof *journal);
    if (!journal) {
        gr_fail_memory(err, "the records of a run");
        return NULL;
    }
    journal->model = model;
    journal->options = options;
    bool ok = open_files(journal, facts, err);
    journal->record.sum.after = facts->epoch_step;
    if (ok)
        read_past(journal, facts->goes_on);
    if (ok)
        tell_epochs(journal, facts);
    ok = ok && put_start(journal, facts, err);
    const char *scores = NULL;
    ok = ok && gr_journal_scores(model, &scores, err);
    if (ok && facts->validation && scores)
        ok = gr_confusion_init(&journal->current, gr_model_classes(model), err);
    gr_report_filters_name(model->file, journal->filters, sizeof journal->filters, NULL);
    if (ok)
        return journal;
    gr_append_close(journal->run, NULL);
    gr_metrics_close(journal->steps, NULL);
    gr_record_release(&journal->record);
    free(journal);
    return NULL;
}

/* ---- figures ----------------------------------------------------------------------------- */

bool gr_journal_step(struct gr_journal *journal, const struct gr_curve_step *step,
                     struct gr_error *err)
{
    struct gr_curve_step own = *step;
    if (step->seconds < journal->seconds || step->wait < journal->wait) /* another epoch */
        journal->seconds = journal->wait = 0;
    own.seconds -= journal->seconds;
    own.wait -= journal->wait;
    journal->seconds = step->seconds;
    journal->wait = step->wait;
    const struct gr_metric pairs[] = {
        {"step", (double)own.step}, {"loss", own.loss},       {"learning_rate", own.learning_rate},
        {"images", own.images},     {"seconds", own.seconds}, {"wait_seconds", own.wait}};
    const bool written =
        gr_metrics_write(journal->steps, "step", pairs, sizeof pairs / sizeof *pairs, err);
    return gr_curve_add(&journal->record.curve, &own, err) && written;
}

bool gr_journal_renew(struct gr_journal *journal, struct gr_error *err)
{
    return gr_append_renew(journal->run, err) && gr_metrics_renew(journal->steps, err);
}

struct gr_record_sum gr_journal_before(const struct gr_journal *journal)
{
    return journal->record.sum;
}

const struct gr_metrics *gr_journal_steps(const struct gr_journal *journal)
{
    return journal->steps;
}

bool gr_journal_stage(struct gr_journal *journal, const char *stage, const struct gr_metric *pairs,
                      size_t count, struct gr_error *err)
{
    journal->seconds = journal->wait = 0;
    return gr_record_stage(&journal->record, stage, pairs, count, err);
}

/* ---- the confusion matrix ---------------------------------------------------------------- */

void gr_journal_validate(struct gr_journal *journal)
{
    const size_t classes = (size_t)journal->current.classes;
    if (journal->current.counts)
        memset(journal->current.counts, 0, classes * classes * sizeof *journal->current.counts);
}

bool gr_journal_measure(void *user, const struct gr_plan *plan, const struct gr_batch *batch,
                        struct gr_eval_result *result, struct gr_error *err)
{
    struct gr_journal *journal = user;
    const int64_t classes = journal->current.classes;
    (void)err;
    gr_batches_accumulate(plan, batch->count, result);
    if (!journal->current.counts)
        return true;
    const struct gr_tensor scores = gr_plan_target(plan, gr_plan_target_count(plan) - 1);
    for (int64_t n = 0; n < batch->count; n++) {
        int64_t best;
        gr_scores_top((const float *)scores.data + n * classes, classes, 1, &best);
        if (batch->labels[n] >= 0)
            journal->current.counts[batch->labels[n] * classes + best]++;
    }
    return true;
}

/* Names of classes do not change in a run. */
static bool name_classes(struct gr_journal *journal, struct gr_error *err)
{
    struct gr_record *record = &journal->record;
    const int64_t classes = journal->current.classes;
    record->class_names =
        gr_pool_array(&record->pool, (size_t)classes, sizeof *record->class_names);
    if (!record->class_names)
        return gr_fail_memory(err, "names of classes");
    for (int64_t i = 0; i < classes; i++)
        record->class_names[i] = gr_model_class_name(journal->model, i);
    return true;
}

static const char *class_name(const void *user, int64_t index, char *buffer, size_t size)
{
    const struct gr_record *record = user;
    snprintf(buffer, size, "%s", record->class_names[index] ? record->class_names[index] : "");
    return buffer;
}

bool gr_journal_best(struct gr_journal *journal, struct gr_error *err)
{
    struct gr_record *record = &journal->record;
    if (!journal->current.counts)
        return true;
    const bool known = record->confusion.classes == journal->current.classes;
    if (!known) {
        gr_confusion_release(&record->confusion);
        if (!gr_confusion_init(&record->confusion, journal->current.classes, err) ||
            !name_classes(journal, err))
            return false;
    }
    const struct gr_confusion best = journal->current;
    journal->current = record->confusion;
    record->confusion = best;
    return true;
}

bool gr_journal_write_best(const struct gr_journal *journal, struct gr_error *err)
{
    const struct gr_record *record = &journal->record;
    char path[PATH_SIZE];
    return !record->confusion.counts ||
           (path_in(journal, GR_CONFUSION_NAME, path, err) &&
            gr_confusion_write(&record->confusion, "", class_name, record, path, err));
}

/* ---- the page ---------------------------------------------------------------------------- */

static bool draw_filters(const struct gr_journal *journal, struct gr_sheet *sheet,
                         struct gr_error *err)
{
    const struct gr_params *params = journal->model->params;
    const struct gr_stored *stored =
        *journal->filters ? gr_params_find(params, journal->filters) : NULL;
    if (!stored)
        return true;
    const size_t count = (size_t)gr_shape_count(&stored->value.shape);
    float *weights = malloc(count * sizeof *weights);
    const bool ok = (weights || gr_fail_memory(err, "drawing filters")) &&
                    gr_params_get(params, stored, weights, count, err) &&
                    gr_report_filters_draw(sheet, weights, &stored->value.shape, err);
    free(weights);
    return ok;
}

static void write_page(struct gr_journal *journal)
{
    char path[PATH_SIZE];
    struct gr_error err = {0};
    struct gr_sheet sheet = {0};
    const double start = gr_seconds();
    const char *slash = strrchr(journal->options->out, '/');
    bool ok = path_in(journal, GR_REPORT_NAME, path, &err) && draw_filters(journal, &sheet, &err);
    const struct gr_page_run run = {.label = slash && slash[1] ? slash + 1 : journal->options->out,
                                    .folder = journal->options->out,
                                    .record = &journal->record,
                                    .model = journal->model->file,
                                    .model_text = gr_model_resolved(journal->model),
                                    .filters = sheet.picture.pixels ? &sheet.picture : NULL};
    ok = ok && gr_page_write(&run, 1, path, &err);
    gr_sheet_release(&sheet);
    if (!ok && !journal->failing)
        gr_log(journal->model->context, GR_LOG_WARNING,
               "the report is not written, and training goes on: %s", err.message);
    journal->failing = !ok;
    journal->written = gr_seconds();
    journal->cost = journal->written - start;
    gr_log(journal->model->context, GR_LOG_DEBUG, "the report took %.1f ms", 1e3 * journal->cost);
}

void gr_journal_page(struct gr_journal *journal)
{
    if (gr_seconds() - journal->written >= PAGE_SHARE * journal->cost)
        write_page(journal);
}

bool gr_journal_close(struct gr_journal *journal, int64_t step, const char *outcome,
                      const char *message, struct gr_error *err)
{
    if (!journal)
        return true;
    json_t *event =
        json_pack("{s:s, s:I, s:I, s:s, s:o}", "event", "end", "time", (json_int_t)time(NULL),
                  "step", (json_int_t)step, "outcome", outcome, "message", text_json(message));
    put_event(journal, event, NULL); /* what cannot be written now is tried again below */
    if (journal->record.n_epochs || journal->record.curve.count)
        write_page(journal);
    bool ok = gr_metrics_close(journal->steps, err);
    ok = gr_append_close(journal->run, err) && ok;
    gr_confusion_release(&journal->current);
    gr_record_release(&journal->record);
    free(journal);
    return ok;
}
