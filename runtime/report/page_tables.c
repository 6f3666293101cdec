/*
 * The figures of a report: tiles, best beside last, every epoch.
 */
#include "report/page.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { EPOCHS_OPEN = 12, MOST_ROWS = 120 };

bool gr_page_is_share(const struct gr_record *record, const char *name)
{
    bool any = false;
    if (strcmp(name, "loss") == 0)
        return false;
    for (size_t i = 0; i < record->n_epochs; i++)
        for (int val = 0; val < 2; val++) {
            const struct gr_record_stage *stage =
                val ? &record->epochs[i].val : &record->epochs[i].train;
            const double value = gr_record_figure(record, stage, name);
            any = any || !isnan(value);
            if (value < 0 || value > 1)
                return false;
        }
    return any;
}

enum gr_figure gr_page_figure(const struct gr_record *record, const char *name)
{
    return gr_page_is_share(record, name) ? GR_FIGURE_PERCENT : GR_FIGURE_NUMBER;
}

/* ---- large figures ----------------------------------------------------------------------- */

static void open_tile(struct gr_text *out, const char *title)
{
    gr_text_add(out, "<div class=\"tile\"><span class=\"label\">");
    gr_html_text(out, title);
    gr_text_add(out, "</span><b>");
}

/* A tile in a form that its note, a format of its own, ends. */
static void add_tile(struct gr_text *out, const char *title, enum gr_figure figure, double value,
                     const char *note)
{
    open_tile(out, title);
    gr_html_figure(out, figure, value);
    gr_text_add(out, "</b><span class=\"more\">%s</span></div>\n", note);
}

static void add_best_tile(const struct gr_record *record, struct gr_text *out)
{
    const struct gr_record_best best = gr_record_best(record);
    if (!best.epoch)
        return;
    struct gr_text title = {0};
    char note[96];
    gr_text_add(&title, "best %s", best.monitor);
    snprintf(note, sizeof note, "%s, epoch %" PRId64,
             best.of_validation ? "validation" : "training", best.epoch->epoch);
    add_tile(out, title.data ? title.data : "best", gr_page_figure(record, best.monitor),
             best.value, note);
    gr_text_release(&title);
}

void gr_page_tiles(const struct gr_page_run *run, struct gr_text *out)
{
    const struct gr_record *record = run->record;
    const struct gr_record_session session = gr_record_latest(record);
    const struct gr_record_epoch *last = gr_record_last(record);
    double training, validation;
    char note[96];
    gr_record_seconds(record, &training, &validation);
    gr_text_add(out, "<section class=\"tiles\">\n");
    add_best_tile(record, out);
    if (last && !isnan(last->val.loss))
        add_tile(out, "validation loss", GR_FIGURE_NUMBER, last->val.loss, "last epoch");
    if (last && !isnan(last->train.loss))
        add_tile(out, "training loss", GR_FIGURE_NUMBER, last->train.loss, "last epoch, mean");
    snprintf(note, sizeof note, session.epochs > 0 ? "of %" PRId64 " epochs" : "epochs",
             session.epochs);
    add_tile(out, "trained", GR_FIGURE_COUNT, last ? (double)last->epoch : 0, note);
    add_tile(out, "images a second", GR_FIGURE_RATE, gr_record_speed(record), "in training");
    struct gr_text time = {0};
    if (validation > 0) {
        gr_text_add(&time, "and ");
        gr_html_figure(&time, GR_FIGURE_DURATION, validation);
        gr_text_add(&time, " validating");
    }
    add_tile(out, "time training", GR_FIGURE_DURATION, training, time.data ? time.data : "");
    gr_text_release(&time);
    gr_text_add(out, "</section>\n");
}

/* ---- best and last ----------------------------------------------------------------------- */

static void add_figure_cell(struct gr_text *out, enum gr_figure figure, double value)
{
    gr_text_add(out, "<td class=\"n\"");
    if (isfinite(value))
        gr_text_add(out, " title=\"%.9g\"", value);
    gr_text_add(out, ">");
    gr_html_figure(out, figure, value);
    gr_text_add(out, "</td>");
}

static void add_summary_row(const struct gr_record *record, const struct gr_record_epoch *best,
                            const struct gr_record_epoch *last, bool val, const char *name,
                            struct gr_text *out)
{
    const struct gr_record_epoch *const epochs[] = {best, last};
    const enum gr_figure figure = gr_page_figure(record, name);
    gr_text_add(out, "<tr><th>%s ", val ? "validation" : "training");
    gr_html_text(out, name);
    gr_text_add(out, "</th>");
    for (int i = 0; i < 2; i++)
        add_figure_cell(
            out, figure,
            epochs[i] ? gr_record_figure(record, val ? &epochs[i]->val : &epochs[i]->train, name)
                      : (double)NAN);
    gr_text_add(out, "</tr>\n");
}

void gr_page_summary(const struct gr_page_run *run, struct gr_text *out)
{
    const struct gr_record *record = run->record;
    const struct gr_record_best best = gr_record_best(record);
    const struct gr_record_epoch *last = gr_record_last(record);
    if (!last)
        return;
    gr_text_add(out, "<table class=\"summary\">\n<tr><th></th><th class=\"n\">best epoch</th><th "
                     "class=\"n\">last epoch</th></tr>\n<tr><th>epoch</th>");
    add_figure_cell(out, GR_FIGURE_COUNT, best.epoch ? (double)best.epoch->epoch : (double)NAN);
    add_figure_cell(out, GR_FIGURE_COUNT, (double)last->epoch);
    gr_text_add(out, "</tr>\n<tr><th>training steps</th>");
    add_figure_cell(out, GR_FIGURE_COUNT, best.epoch ? (double)best.epoch->step : (double)NAN);
    add_figure_cell(out, GR_FIGURE_COUNT, (double)last->step);
    gr_text_add(out, "</tr>\n");
    for (int val = best.of_validation; val >= 0; val--) {
        add_summary_row(record, best.epoch, last, val, "loss", out);
        for (int m = 0; m < record->n_metrics; m++)
            add_summary_row(record, best.epoch, last, val, record->metrics[m], out);
    }
    gr_text_add(out, "</table>\n");
}

/* ---- epochs ------------------------------------------------------------------------------ */

static void add_epoch_heads(const struct gr_record *record, struct gr_text *out)
{
    gr_text_add(out, "<tr><th class=\"n\">epoch</th><th class=\"n\">steps</th>");
    for (int val = 0; val < 2; val++) {
        gr_text_add(out, "<th class=\"n\">%s loss</th>", val ? "val." : "training");
        for (int m = 0; m < record->n_metrics; m++) {
            gr_text_add(out, "<th class=\"n\">%s ", val ? "val." : "training");
            gr_html_text(out, record->metrics[m]);
            gr_text_add(out, "</th>");
        }
    }
    gr_text_add(out, "<th class=\"n\">learning rate</th><th class=\"n\">images/s</th><th "
                     "class=\"n\">waiting</th><th class=\"n\">time</th></tr>\n");
}

static void add_epoch(const struct gr_record *record, const struct gr_record_epoch *epoch,
                      bool best, struct gr_text *out)
{
    gr_text_add(out, "<tr%s>", best ? " class=\"best\"" : "");
    add_figure_cell(out, GR_FIGURE_COUNT, (double)epoch->epoch);
    add_figure_cell(out, GR_FIGURE_COUNT, (double)epoch->step);
    for (int val = 0; val < 2; val++) {
        const struct gr_record_stage *stage = val ? &epoch->val : &epoch->train;
        add_figure_cell(out, GR_FIGURE_NUMBER, stage->loss);
        for (int m = 0; m < record->n_metrics; m++)
            add_figure_cell(out, gr_page_figure(record, record->metrics[m]), stage->metrics[m]);
    }
    const double rate = epoch->train.learning_rate;
    gr_text_add(out, "<td class=\"n\">");
    if (isfinite(rate))
        gr_text_add(out, "%.3g", rate);
    gr_text_add(out, "</td>");
    add_figure_cell(out, GR_FIGURE_RATE, epoch->train.images_per_second);
    add_figure_cell(out, GR_FIGURE_PERCENT, epoch->train.wait_share);
    add_figure_cell(out, GR_FIGURE_DURATION,
                    epoch->train.seconds + (isnan(epoch->val.seconds) ? 0 : epoch->val.seconds));
    gr_text_add(out, "</tr>\n");
}

void gr_page_epochs(const struct gr_page_run *run, struct gr_text *out)
{
    const struct gr_record *record = run->record;
    const struct gr_record_best best = gr_record_best(record);
    const size_t n = record->n_epochs, from = n > MOST_ROWS ? n - MOST_ROWS : 0;
    if (!n)
        return;
    gr_text_add(out, "<details%s><summary>Figures of each epoch</summary>\n",
                n <= EPOCHS_OPEN ? " open=\"\"" : "");
    if (from)
        gr_text_add(out,
                    "<p class=\"note\">The last %d of %zu epochs, and the best; all are in "
                    "<code>metrics.jsonl</code>.</p>\n",
                    MOST_ROWS, n);
    gr_text_add(out, "<div class=\"scroll\"><table class=\"epochs\">\n");
    add_epoch_heads(record, out);
    if (best.epoch && best.epoch < record->epochs + from)
        add_epoch(record, best.epoch, true, out);
    for (size_t i = from; i < n; i++)
        add_epoch(record, &record->epochs[i], &record->epochs[i] == best.epoch, out);
    gr_text_add(out, "</table></div>\n</details>\n");
}
