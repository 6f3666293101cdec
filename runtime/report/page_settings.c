/*
 * What was run, and several runs side by side.
 */
#include "report/page.h"

#include <math.h>
#include <string.h>

enum { MOST_SESSIONS = 12 };

const char *gr_page_model_name(const struct gr_page_run *run)
{
    const struct gr_record_session session = gr_record_latest(run->record);
    return session.model ? session.model : run->model ? run->model->name : run->label;
}

/* ---- settings ---------------------------------------------------------------------------- */

enum setting_kind { TEXT, NUMBER, TIME };

/* What is told of how a run was made, by fields of its latest session. */
static const struct setting {
    const char *title;
    enum setting_kind kind;
    size_t offset;
    bool code; /* set in monospace */
} settings[] = {
    {"command", TEXT, offsetof(struct gr_record_session, command), true},
    {"started", TIME, offsetof(struct gr_record_session, started), false},
    {"ended", TIME, offsetof(struct gr_record_session, ended), false},
    {"outcome", TEXT, offsetof(struct gr_record_session, outcome), false},
    {"message", TEXT, offsetof(struct gr_record_session, message), false},
    {"seed", NUMBER, offsetof(struct gr_record_session, seed), false},
    {"batch", NUMBER, offsetof(struct gr_record_session, batch), false},
    {"training images", NUMBER, offsetof(struct gr_record_session, train_images), false},
    {"steps an epoch", NUMBER, offsetof(struct gr_record_session, steps_per_epoch), false},
    {"parameters", NUMBER, offsetof(struct gr_record_session, parameters), false},
    {"precision", TEXT, offsetof(struct gr_record_session, precision), false},
    {"threads", NUMBER, offsetof(struct gr_record_session, threads), false},
    {"cores", NUMBER, offsetof(struct gr_record_session, cores), false},
    {"machine", TEXT, offsetof(struct gr_record_session, machine), false},
    {"system", TEXT, offsetof(struct gr_record_session, system), false},
    {"graph-runner", TEXT, offsetof(struct gr_record_session, version), false},
};

enum { N_SETTINGS = sizeof settings / sizeof *settings };

static const char *text_of(const struct setting *setting, const struct gr_record_session *session)
{
    return *(const char *const *)((const char *)session + setting->offset);
}

static int64_t number_of(const struct setting *setting, const struct gr_record_session *session)
{
    return *(const int64_t *)((const char *)session + setting->offset);
}

static bool is_known(const struct setting *setting, const struct gr_record_session *session)
{
    return setting->kind == TEXT ? text_of(setting, session) != NULL
                                 : number_of(setting, session) >= 0;
}

static void add_setting(const struct setting *setting, const struct gr_record_session *session,
                        struct gr_text *out)
{
    if (!is_known(setting, session)) {
        gr_text_add(out, "–");
    } else if (setting->kind == NUMBER) {
        gr_html_figure(out, GR_FIGURE_COUNT, (double)number_of(setting, session));
    } else if (setting->kind == TIME) {
        gr_html_time(out, number_of(setting, session));
    } else {
        gr_text_add(out, "%s", setting->code ? "<code>" : "");
        gr_html_text(out, text_of(setting, session));
        gr_text_add(out, "%s", setting->code ? "</code>" : "");
    }
}

/* A run that was interrupted and gone on with. */
static void add_sessions(const struct gr_record *record, struct gr_text *out)
{
    const size_t n = record->n_sessions;
    gr_text_add(out, "<dt>sessions</dt><dd><ol>");
    if (n > MOST_SESSIONS)
        gr_text_add(out, "<li>… %zu before</li>", n - MOST_SESSIONS);
    for (size_t i = n > MOST_SESSIONS ? n - MOST_SESSIONS : 0; i < n; i++) {
        const struct gr_record_session *session = &record->sessions[i];
        gr_text_add(out, "<li>");
        gr_html_time(out, session->started);
        gr_text_add(out, ", from step ");
        gr_html_figure(out, GR_FIGURE_COUNT, (double)session->first_step);
        if (session->last_step >= 0) {
            gr_text_add(out, " to ");
            gr_html_figure(out, GR_FIGURE_COUNT, (double)session->last_step);
        }
        gr_text_add(out, ": ");
        gr_html_text(out, session->outcome ? session->outcome : "no end recorded");
        gr_text_add(out, "</li>");
    }
    gr_text_add(out, "</ol></dd>\n");
}

void gr_page_settings(const struct gr_page_run *run, struct gr_text *out)
{
    const struct gr_record_session session = gr_record_latest(run->record);
    gr_text_add(out, "<dl class=\"settings\">\n<dt>model</dt><dd>");
    gr_html_text(out, gr_page_model_name(run));
    gr_text_add(out, "</dd>\n<dt>folder</dt><dd><code>");
    gr_html_text(out, run->folder);
    gr_text_add(out, "</code></dd>\n");
    for (size_t i = 0; i < N_SETTINGS; i++) {
        if (!is_known(&settings[i], &session))
            continue;
        gr_text_add(out, "<dt>%s</dt><dd>", settings[i].title);
        add_setting(&settings[i], &session, out);
        gr_text_add(out, "</dd>\n");
    }
    if (run->record->n_sessions > 1)
        add_sessions(run->record, out);
    gr_text_add(out, "</dl>\n");
}

/* ---- several runs ------------------------------------------------------------------------ */

/* The values of a row in all columns, so that rows in which runs differ can be marked. */
static void add_row(struct gr_text *out, const char *title, const struct gr_text *cells,
                    size_t count)
{
    bool same = true;
    for (size_t r = 0; r < count; r++)
        same = same && cells[r].data && cells[0].data && strcmp(cells[r].data, cells[0].data) == 0;
    gr_text_add(out, "<tr%s><th>", same ? " class=\"same\"" : "");
    gr_html_text(out, title);
    gr_text_add(out, "</th>");
    for (size_t r = 0; r < count; r++)
        gr_text_add(out, "<td>%s</td>", cells[r].data ? cells[r].data : "");
    gr_text_add(out, "</tr>\n");
}

/* What a row of the comparison says of a run. */
enum comparison { BEST, BEST_EPOCH, VAL_LOSS, TRAIN_LOSS, EPOCHS, STEPS, SPEED, TRAINING, N_ROWS };

static void add_result(const struct gr_page_run *run, enum comparison row, struct gr_text *out)
{
    const struct gr_record *record = run->record;
    const struct gr_record_best best = gr_record_best(record);
    const struct gr_record_epoch *last = gr_record_last(record);
    double training, validation;
    gr_record_seconds(record, &training, &validation);
    const struct {
        enum gr_figure figure;
        double value;
    } figures[N_ROWS] = {
        [BEST] = {gr_page_figure(record, best.monitor), best.value},
        [BEST_EPOCH] = {GR_FIGURE_COUNT, best.epoch ? (double)best.epoch->epoch : (double)NAN},
        [VAL_LOSS] = {GR_FIGURE_NUMBER, last ? last->val.loss : (double)NAN},
        [TRAIN_LOSS] = {GR_FIGURE_NUMBER, last ? last->train.loss : (double)NAN},
        [EPOCHS] = {GR_FIGURE_COUNT, last ? (double)last->epoch : 0},
        [STEPS] = {GR_FIGURE_COUNT, (double)gr_record_steps(record)},
        [SPEED] = {GR_FIGURE_RATE, gr_record_speed(record)},
        [TRAINING] = {GR_FIGURE_DURATION, training}};
    gr_text_add(out, "%s", row == BEST ? "<b>" : "");
    gr_html_figure(out, figures[row].figure, figures[row].value);
    if (row == BEST) {
        gr_text_add(out, "</b> ");
        gr_html_text(out, best.monitor);
    }
}

static const char *const result_titles[N_ROWS] = {
    "best",   "best epoch",     "last validation loss", "last training loss",
    "epochs", "training steps", "images a second",      "time training"};

/* A row: the model, results, then settings as far as any run knows them. */
static void compare(const struct gr_page_run *runs, size_t count, int row, struct gr_text *out)
{
    struct gr_text cells[GR_PAGE_RUNS] = {{0}};
    const int result = row - 1, setting = row - 1 - N_ROWS;
    bool any = setting < 0;
    for (size_t r = 0; r < count; r++) {
        const struct gr_record_session session = gr_record_latest(runs[r].record);
        if (setting >= 0) {
            any = any || is_known(&settings[setting], &session);
            add_setting(&settings[setting], &session, &cells[r]);
        } else if (result >= 0) {
            add_result(&runs[r], (enum comparison)result, &cells[r]);
        } else {
            gr_html_text(&cells[r], gr_page_model_name(&runs[r]));
        }
    }
    if (any)
        add_row(out,
                setting >= 0  ? settings[setting].title
                : result >= 0 ? result_titles[result]
                              : "model",
                cells, count);
    for (size_t r = 0; r < count; r++) {
        out->failed = out->failed || cells[r].failed;
        gr_text_release(&cells[r]);
    }
}

/* Rows from `from` on, before `to`. */
static void add_table(const struct gr_page_run *runs, size_t count, int from, int to,
                      struct gr_text *out)
{
    gr_text_add(out, "<div class=\"scroll\"><table class=\"comparison\">\n<tr><th></th>");
    for (size_t r = 0; r < count; r++) {
        gr_text_add(out, "<th class=\"c%zu\"><i></i>", r % 8);
        gr_html_text(out, runs[r].label);
        gr_text_add(out, "</th>");
    }
    gr_text_add(out, "</tr>\n");
    for (int i = from; i < to; i++)
        compare(runs, count, i, out);
    gr_text_add(out, "</table></div>\n");
}

void gr_page_results(const struct gr_page_run *runs, size_t count, struct gr_text *out)
{
    gr_text_add(out, "<section class=\"results\">\n");
    add_table(runs, count, 0, 1 + N_ROWS, out);
    gr_text_add(out, "</section>\n");
}

void gr_page_differences(const struct gr_page_run *runs, size_t count, struct gr_text *out)
{
    gr_text_add(out, "<section>\n<h2>How they were run</h2>\n");
    add_table(runs, count, 1 + N_ROWS, 1 + N_ROWS + N_SETTINGS, out);
    gr_text_add(out, "<p class=\"note\">Grey rows are the same in all runs.</p>\n</section>\n");
}
