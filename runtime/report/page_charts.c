/*
 * The curves of a report: which figures of the records become which lines.
 */
#include "report/page.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "report/chart.h"

enum { MOST_EPOCHS = 1000, POINTS_ALL = 8192 /* of all runs together, in a chart */ };

/* The steps of a run as rows of numbers, [n] each. */
struct steps {
    struct gr_curve curve;
    size_t n;
    double *x, *loss, *low, *high, *smooth, *rate, *speed, *even_speed, *wait;
};

/* The epochs of a run to draw: all, or every so many. */
struct epochs {
    const struct gr_record *record;
    size_t n, every;
    double *epoch, *step;
};

struct charts {
    const struct gr_page_run *runs;
    size_t count;
    struct gr_pool pool; /* of all rows of numbers */
    struct steps steps[GR_PAGE_RUNS];
    struct epochs epochs[GR_PAGE_RUNS];
    struct gr_chart_series series[GR_CHART_SERIES];
    size_t n_series;
    struct gr_text *out;
    bool failed;
};

static double *row(struct charts *charts, size_t n)
{
    double *numbers = gr_pool_array(&charts->pool, n + 1, sizeof *numbers);
    charts->failed = charts->failed || !numbers;
    return numbers;
}

/* ---- rows -------------------------------------------------------------------------------- */

static bool take_steps(struct charts *charts, size_t run, struct gr_error *err)
{
    struct steps *s = &charts->steps[run];
    const struct gr_record *record = charts->runs[run].record;
    if (!gr_curve_copy(&s->curve, &record->curve, err))
        return false;
    gr_curve_reduce(&s->curve, POINTS_ALL / charts->count);
    s->n = s->curve.count;
    double **const rows[] = {&s->x,    &s->loss,  &s->low,        &s->high, &s->smooth,
                             &s->rate, &s->speed, &s->even_speed, &s->wait};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        *rows[i] = row(charts, s->n);
    if (charts->failed)
        return gr_fail_memory(err, "drawing curves");
    for (size_t i = 0; i < s->n; i++) {
        const struct gr_curve_point *p = &s->curve.points[i];
        const bool finite = p->finite > 0;
        s->x[i] = ((double)p->first + (double)p->last) / 2;
        s->loss[i] = finite ? p->loss : (double)NAN;
        s->low[i] = finite ? p->loss_min : (double)NAN;
        s->high[i] = finite ? p->loss_max : (double)NAN;
        s->rate[i] = isfinite(p->learning_rate) ? p->learning_rate : (double)NAN;
        s->speed[i] = p->seconds > 0 && p->images > 0 ? p->images / p->seconds : (double)NAN;
        s->wait[i] = p->seconds > 0 ? p->wait / p->seconds : (double)NAN;
    }
    gr_curve_smooth(s->loss, s->n, s->smooth);
    gr_curve_smooth(s->speed, s->n, s->even_speed);
    return true;
}

static bool take_epochs(struct charts *charts, size_t run, struct gr_error *err)
{
    struct epochs *e = &charts->epochs[run];
    e->record = charts->runs[run].record;
    e->every = (e->record->n_epochs + MOST_EPOCHS - 1) / MOST_EPOCHS;
    e->n = e->every ? (e->record->n_epochs + e->every - 1) / e->every : 0;
    e->epoch = row(charts, e->n);
    e->step = row(charts, e->n);
    if (charts->failed)
        return gr_fail_memory(err, "drawing curves");
    for (size_t i = 0; i < e->n; i++) {
        const size_t at = e->record->n_epochs - 1 - (e->n - 1 - i) * e->every; /* the last is one */
        e->epoch[i] = (double)e->record->epochs[at].epoch;
        e->step[i] = (double)e->record->epochs[at].step;
    }
    return true;
}

/* A figure over the epochs; errors: one minus it. */
static double *over_epochs(struct charts *charts, const struct epochs *e, bool val,
                           const char *name, bool errors)
{
    double *values = row(charts, e->n);
    for (size_t i = 0; values && i < e->n; i++) {
        const size_t at = e->record->n_epochs - 1 - (e->n - 1 - i) * e->every;
        const struct gr_record_epoch *epoch = &e->record->epochs[at];
        const double value = gr_record_figure(e->record, val ? &epoch->val : &epoch->train, name);
        values[i] = errors ? 1 - value : value;
    }
    return values;
}

/* ---- series ------------------------------------------------------------------------------ */

static bool any(const double *values, size_t n)
{
    for (size_t i = 0; values && i < n; i++)
        if (!isnan(values[i]))
            return true;
    return false;
}

static void add(struct charts *charts, const struct gr_chart_series *series)
{
    if (charts->n_series < GR_CHART_SERIES && any(series->y, series->n))
        charts->series[charts->n_series++] = *series;
}

/* Draws what has been added, and begins anew. */
static void draw(struct charts *charts, struct gr_chart chart)
{
    chart.series = charts->series;
    chart.n_series = charts->n_series;
    gr_chart_draw(&chart, charts->out);
    charts->n_series = 0;
}

/* Of several runs, the lines of each belong together and have one entry in the legend. */
static struct gr_chart_series of_run(struct charts *charts, size_t run, const char *name,
                                     int colour, int group)
{
    struct gr_chart_series series = {.name = name, .colour = colour, .group = group};
    if (charts->count == 1)
        return series;
    series.legend = charts->runs[run].label;
    series.name = gr_pool_printf(&charts->pool, "%s, %s", series.legend, name);
    charts->failed = charts->failed || !series.name;
    series.name = series.name ? series.name : "";
    series.colour = series.group = (int)run;
    return series;
}

/* ---- the charts -------------------------------------------------------------------------- */

static void add_loss(struct charts *charts, size_t run)
{
    const struct steps *s = &charts->steps[run];
    const struct epochs *e = &charts->epochs[run];
    const bool several = charts->count > 1, stepped = any(s->loss, s->n);
    struct gr_chart_series raw = of_run(charts, run, "training, each step", 0, 0);
    raw.style = GR_CHART_THIN;
    raw.n = s->n;
    raw.x = s->x;
    raw.y = s->loss;
    if (s->curve.stride > 1) {
        raw.name = "training, mean and range";
        raw.low = s->low;
        raw.high = s->high;
    }
    if (!several)
        add(charts, &raw);
    struct gr_chart_series smooth = of_run(charts, run, "training, smoothed", 0, 1);
    smooth.style = several ? GR_CHART_DASHED : GR_CHART_LINE;
    smooth.n = s->n;
    smooth.x = s->x;
    smooth.y = s->smooth;
    struct gr_chart_series means = of_run(charts, run, "training", 0, 2);
    means.style = several ? GR_CHART_DASHED : GR_CHART_DOTS;
    means.n = e->n;
    means.x = e->step;
    means.y = over_epochs(charts, e, false, "loss", false);
    const struct gr_chart_series *training = stepped ? &smooth : &means;
    struct gr_chart_series val = of_run(charts, run, "validation", 1, 3);
    val.style = GR_CHART_DOTS;
    val.n = e->n;
    val.x = e->step;
    val.y = over_epochs(charts, e, true, "loss", false);
    smooth.unlisted = means.unlisted = several && any(val.y, val.n);
    add(charts, training);
    add(charts, &val);
}

static void loss_note(const struct charts *charts, struct gr_text *note)
{
    const struct steps *s = &charts->steps[0];
    if (charts->count > 1) {
        gr_text_add(note, "Solid: validation. Dashed: training, smoothed over 2 %% of the run to "
                          "either side. Long runs are drawn by means of several steps.");
        return;
    }
    if (!s->n)
        return;
    if (s->curve.stride > 1) {
        gr_text_add(note, "Thinned: ");
        gr_html_figure(note, GR_FIGURE_COUNT, (double)s->curve.points[s->n - 1].last);
        gr_text_add(note,
                    " steps are drawn as %zu points of %" PRId64
                    " steps each, by their mean; the band is from the least loss to the "
                    "largest. ",
                    s->n, s->curve.stride);
    }
    gr_text_add(note, "The bold line is smoothed over 2 %% of the run to either side.");
}

static void draw_loss(struct charts *charts)
{
    struct gr_text note = {0};
    for (size_t r = 0; r < charts->count; r++)
        add_loss(charts, r);
    loss_note(charts, &note);
    draw(charts, (struct gr_chart){.id = "loss",
                                   .title = "Loss",
                                   .log_ratio = 15,
                                   .note = note.data,
                                   .x_title = "training steps",
                                   .wide = true});
    gr_text_release(&note);
}

static void add_error(struct charts *charts, size_t run, int metric, bool val)
{
    const struct epochs *e = &charts->epochs[run];
    const bool several = charts->count > 1;
    const char *name = e->record->metrics[metric];
    const char *text = gr_pool_printf(&charts->pool, "%s, %s", name, val ? "val." : "training");
    struct gr_chart_series series = of_run(charts, run, text ? text : "", val, 2 * metric + val);
    series.style = metric ? GR_CHART_DASHED : GR_CHART_DOTS;
    series.n = e->n;
    series.x = e->epoch;
    series.y = over_epochs(charts, e, val, name, true);
    series.unlisted = several && metric > 0;
    add(charts, &series);
}

/* Of several runs only validation, where there is one. */
static void add_errors(struct charts *charts, size_t run)
{
    const struct gr_record *record = charts->runs[run].record;
    const bool validated = gr_record_best(record).of_validation;
    for (int val = 1; val >= 0; val--)
        for (int m = 0; m < record->n_metrics; m++)
            if (gr_page_is_share(record, record->metrics[m]) &&
                (charts->count == 1 || val == validated))
                add_error(charts, run, m, val);
}

static void draw_errors(struct charts *charts)
{
    const struct gr_record *record = charts->runs[0].record;
    struct gr_text note = {0};
    for (size_t r = 0; r < charts->count; r++)
        add_errors(charts, r);
    if (charts->count > 1 && record->n_metrics) {
        gr_text_add(&note, "Solid: ");
        gr_html_text(&note, record->metrics[0]);
        gr_text_add(&note, record->n_metrics > 1 ? "; dashed: the others. " : ". ");
        gr_text_add(&note, "Of validation, where there is one.");
    }
    if (charts->epochs[0].every > 1)
        gr_text_add(&note, " Thinned: of %zu epochs, every %zu. is drawn.", record->n_epochs,
                    charts->epochs[0].every);
    draw(charts, (struct gr_chart){.id = "error",
                                   .title = "Error",
                                   .note = note.data,
                                   .x_title = "epochs",
                                   .percent = true,
                                   .whole_x = true});
    gr_text_release(&note);
}

/* A figure of steps, or of epochs where there are no steps. */
static void add_either(struct charts *charts, size_t run, const char *name, const double *of_steps,
                       const char *of_epochs)
{
    const struct steps *s = &charts->steps[run];
    const struct epochs *e = &charts->epochs[run];
    const bool stepped = any(of_steps, s->n);
    struct gr_chart_series series = of_run(charts, run, name, 0, 1);
    series.style = stepped ? GR_CHART_LINE : GR_CHART_DOTS;
    series.n = stepped ? s->n : e->n;
    series.x = stepped ? s->x : e->step;
    if (stepped)
        series.y = of_steps;
    else
        series.y = over_epochs(charts, e, false, of_epochs, false);
    add(charts, &series);
}

static void draw_rate(struct charts *charts)
{
    for (size_t r = 0; r < charts->count; r++)
        add_either(charts, r, "learning rate", charts->steps[r].rate, "learning_rate");
    draw(charts, (struct gr_chart){.id = "rate",
                                   .title = "Learning rate",
                                   .log_ratio = 50,
                                   .x_title = "training steps",
                                   .from_zero = true});
}

static void draw_speed(struct charts *charts)
{
    for (size_t r = 0; r < charts->count; r++) {
        const struct steps *s = &charts->steps[r];
        struct gr_chart_series raw = of_run(charts, r, "as measured", 0, 0);
        raw.style = GR_CHART_THIN;
        raw.n = s->n;
        raw.x = s->x;
        raw.y = s->speed;
        if (charts->count == 1)
            add(charts, &raw);
        add_either(charts, r, "smoothed", s->even_speed, "images_per_second");
    }
    draw(charts, (struct gr_chart){.id = "speed",
                                   .title = "Throughput, images a second",
                                   .x_title = "training steps",
                                   .from_zero = true});
}

static void draw_wait(struct charts *charts)
{
    for (size_t r = 0; r < charts->count; r++) {
        struct steps *s = &charts->steps[r];
        double *even = row(charts, s->n);
        if (even)
            gr_curve_smooth(s->wait, s->n, even);
        add_either(charts, r, "waiting, smoothed", even, "wait_share");
    }
    draw(charts, (struct gr_chart){.id = "wait",
                                   .title = "Share of the time that steps waited for data",
                                   .trim = true,
                                   .reach = 0.01,
                                   .x_title = "training steps",
                                   .percent = true,
                                   .from_zero = true});
}

bool gr_page_charts(const struct gr_page_run *runs, size_t count, struct gr_text *out,
                    struct gr_error *err)
{
    struct charts *charts = calloc(1, sizeof *charts);
    if (!charts)
        return gr_fail_memory(err, "drawing curves");
    charts->runs = runs;
    charts->count = count;
    charts->out = out;
    bool ok = true;
    for (size_t r = 0; ok && r < count; r++)
        ok = take_steps(charts, r, err) && take_epochs(charts, r, err);
    if (ok) {
        gr_text_add(out, "<section class=\"charts\">\n");
        draw_loss(charts);
        draw_errors(charts);
        draw_rate(charts);
        draw_speed(charts);
        draw_wait(charts);
        gr_text_add(out, "</section>\n");
        ok = !charts->failed || gr_fail_memory(err, "drawing curves");
    }
    for (size_t r = 0; r < count; r++)
        gr_curve_release(&charts->steps[r].curve);
    gr_pool_release(&charts->pool);
    free(charts);
    return ok;
}
