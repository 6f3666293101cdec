/*
 * The page put together; see page.h. Style and script are page.css and page.js, which the build
 * embeds as text.
 */
#define _POSIX_C_SOURCE 200809L
#include "report/page.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/replace.h"
#include "report/matrix.h"
#include "report/network.h"
#include "report/page_files.h"

enum { MOST_TEXT = 200000 /* of a model file */ };

/* Nothing may be loaded from anywhere: what the page needs is in it. */
static const char policy[] = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
                             "script-src 'unsafe-inline'";

/* ---- pieces ------------------------------------------------------------------------------ */

static void open_page(const struct gr_page_run *runs, size_t count, struct gr_text *out)
{
    gr_text_add(out,
                "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                "<meta http-equiv=\"Content-Security-Policy\" content=\"%s\">\n"
                "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                "<meta name=\"color-scheme\" content=\"light dark\">\n<title>",
                policy);
    if (count == 1)
        gr_html_text(out, gr_page_model_name(&runs[0]));
    else
        gr_text_add(out, "%zu runs", count);
    gr_text_add(out, " · Graph Runner</title>\n<style>\n");
    gr_text_append(out, gr_page_css, gr_page_css_size);
    gr_text_add(out, "</style>\n</head>\n<body>\n<main>\n");
}

static void close_page(struct gr_text *out)
{
    gr_text_add(out, "<footer>Written by graph-runner " GR_VERSION ", ");
    gr_html_time(out, (int64_t)time(NULL));
    gr_text_add(
        out, ". The page is complete in itself: it loads nothing.</footer>\n</main>\n<script>\n");
    gr_text_append(out, gr_page_js, gr_page_js_size);
    gr_text_add(out, "</script>\n</body>\n</html>\n");
}

/* "finished", "interrupted after step 312", ... */
static void add_state(const struct gr_page_run *run, struct gr_text *out)
{
    static const struct {
        const char *outcome, *text;
    } outcomes[] = {{"finished", "finished"},
                    {"plateau", "finished: the plateau after the last drop of the rate"},
                    {"interrupted", "interrupted"},
                    {"failed", "failed"}};
    const struct gr_record_session session = gr_record_latest(run->record);
    const char *text = run->record->n_sessions ? "in training" : "";
    for (size_t i = 0; session.outcome && i < sizeof outcomes / sizeof *outcomes; i++)
        if (strcmp(outcomes[i].outcome, session.outcome) == 0)
            text = outcomes[i].text;
    if (*text)
        gr_text_add(out, " <span class=\"state %s\">%s</span>",
                    session.outcome && strcmp(session.outcome, "failed") == 0 ? "bad" : "", text);
}

static void add_heading(const struct gr_page_run *runs, size_t count, struct gr_text *out)
{
    gr_text_add(out, "<header>\n<h1>");
    if (count > 1) {
        gr_text_add(out, "%zu runs side by side</h1>\n</header>\n", count);
        return;
    }
    gr_html_text(out, gr_page_model_name(&runs[0]));
    add_state(&runs[0], out);
    gr_text_add(out, "</h1>\n<p class=\"sub\"><code>");
    gr_html_text(out, runs[0].folder);
    gr_text_add(out, "</code></p>\n</header>\n");
}

static bool add_confusion(const struct gr_page_run *run, struct gr_text *out, struct gr_error *err)
{
    const struct gr_record *record = run->record;
    const struct gr_record_best best = gr_record_best(record);
    if (!record->confusion.counts)
        return true;
    gr_text_add(out, "<section>\n<h2>What is taken for what</h2>\n<p class=\"sub\">Validation%s",
                best.epoch ? " of the best epoch" : "");
    if (best.epoch)
        gr_text_add(out, ", %" PRId64, best.epoch->epoch);
    gr_text_add(out, ".</p>\n");
    if (!gr_matrix_draw(&record->confusion, record->class_names, out, err))
        return false;
    gr_text_add(out, "</section>\n");
    return true;
}

static bool add_filters(const struct gr_page_run *run, struct gr_text *out, struct gr_error *err)
{
    char *data = NULL;
    size_t size = 0;
    if (!run->filters)
        return true;
    FILE *file = open_memstream(&data, &size);
    bool ok = file && gr_picture_print(run->filters, file, "the filters", err);
    ok = file && fclose(file) == 0 && ok;
    if (ok) {
        gr_text_add(out,
                    "<section>\n<h2>Filters of the first convolution</h2>\n<div "
                    "class=\"scroll\"><img class=\"filters\" alt=\"the weights of each filter\" "
                    "width=\"%" PRId64 "\" height=\"%" PRId64 "\" src=\"data:image/png;base64,",
                    run->filters->width, run->filters->height);
        gr_html_base64(out, (const unsigned char *)data, size);
        gr_text_add(out, "\"></div>\n<p class=\"note\">Zero is the middle grey, the largest "
                         "magnitude of each filter black or white.</p>\n</section>\n");
    }
    free(data);
    return ok || gr_fail_memory(err, "drawing filters");
}

/* One that cannot be built is left out: the model may have been changed by hand. */
static void add_network(const struct gr_page_run *run, struct gr_text *out)
{
    struct gr_text drawing = {0};
    if (run->model && gr_network_draw(run->model, &drawing, NULL) && drawing.data) {
        gr_text_add(out,
                    "<section>\n<h2>The network</h2>\n<p class=\"sub\">Forward nodes as written, "
                    "with the shapes of their outputs for one image.</p>\n");
        gr_text_append(out, drawing.data, drawing.length);
        gr_text_add(out, "</section>\n");
    }
    out->failed = out->failed || drawing.failed;
    gr_text_release(&drawing);
}

static void add_model_text(const struct gr_page_run *run, struct gr_text *out)
{
    if (!run->model_text || strlen(run->model_text) > MOST_TEXT)
        return;
    gr_text_add(out, "<details><summary>The model as trained (model.yaml)</summary>\n<pre>");
    for (const char *line = run->model_text; *line;) { /* gr_html_text makes newlines spaces */
        const size_t length = strcspn(line, "\n");
        char *text = strndup(line, length);
        out->failed = out->failed || !text;
        gr_html_text(out, text ? text : "");
        free(text);
        line += length;
        if (*line == '\n') {
            gr_text_append(out, "\n", 1);
            line++;
        }
    }
    gr_text_add(out, "</pre>\n</details>\n");
}

/* ---- pages ------------------------------------------------------------------------------- */

static bool add_single(const struct gr_page_run *run, struct gr_text *out, struct gr_error *err)
{
    gr_page_tiles(run, out);
    if (!gr_page_charts(run, 1, out, err) || !add_confusion(run, out, err) ||
        !add_filters(run, out, err))
        return false;
    add_network(run, out);
    gr_text_add(out, "<section>\n<h2>The run</h2>\n<div class=\"run\">\n");
    gr_page_settings(run, out);
    gr_page_summary(run, out);
    gr_text_add(out, "</div>\n");
    gr_page_epochs(run, out);
    add_model_text(run, out);
    gr_text_add(out, "</section>\n");
    return true;
}

static bool add_several(const struct gr_page_run *runs, size_t count, struct gr_text *out,
                        struct gr_error *err)
{
    gr_page_results(runs, count, out);
    if (!gr_page_charts(runs, count, out, err))
        return false;
    gr_page_differences(runs, count, out);
    for (size_t r = 0; r < count; r++) {
        gr_text_add(out, "<details class=\"one\"><summary class=\"c%zu\"><i></i>", r % 8);
        gr_html_text(out, runs[r].label);
        add_state(&runs[r], out);
        gr_text_add(out, "</summary>\n");
        if (!add_confusion(&runs[r], out, err) || !add_filters(&runs[r], out, err))
            return false;
        add_network(&runs[r], out);
        gr_text_add(out, "<section>\n<h2>The run</h2>\n");
        gr_page_settings(&runs[r], out);
        gr_page_epochs(&runs[r], out);
        add_model_text(&runs[r], out);
        gr_text_add(out, "</section>\n</details>\n");
    }
    return true;
}

bool gr_page_build(const struct gr_page_run *runs, size_t count, struct gr_text *out,
                   struct gr_error *err)
{
    open_page(runs, count, out);
    add_heading(runs, count, out);
    if (!(count == 1 ? add_single(runs, out, err) : add_several(runs, count, out, err)))
        return false;
    close_page(out);
    return gr_text_ok(out, err);
}

bool gr_page_write(const struct gr_page_run *runs, size_t count, const char *path,
                   struct gr_error *err)
{
    struct gr_text page = {0};
    struct gr_replace replace = {0};
    bool ok = gr_page_build(runs, count, &page, err) && gr_replace_open(&replace, path, err);
    if (ok) {
        fwrite(page.data, 1, page.length, replace.file); /* commit reports a failed write */
        ok = gr_replace_commit(&replace, err);
    }
    gr_replace_release(&replace);
    gr_text_release(&page);
    return ok;
}
