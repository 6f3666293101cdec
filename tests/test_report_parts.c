/*
 * The parts of a report, each by itself: thinned curves, smoothing, axes, escaping, drawings of
 * graphs in layers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report/axis.h"
#include "report/curve.h"
#include "report/layers.h"
#include "report/markup.h"

/* ---- curves ------------------------------------------------------------------------------ */

/* A loss that looks random, the same each time. */
static double loss_of(int64_t step)
{
    return (double)(step * 7919 % 10007) / 1000;
}

static void add_step(struct gr_curve *curve, int64_t step, double loss)
{
    struct gr_error err = {0};
    const struct gr_curve_step figures = {.step = step,
                                          .loss = loss,
                                          .learning_rate = 1 / (double)step,
                                          .images = 2,
                                          .seconds = 0.5,
                                          .wait = 0.125};
    assert_true(gr_curve_add(curve, &figures, &err));
}

/* Holds each point against the steps that it says it stands for, and all against the whole run. */
static void check_curve(const struct gr_curve *curve, int64_t first, int64_t last)
{
    int64_t next = first;
    assert_true(curve->count <= GR_CURVE_POINTS);
    for (size_t i = 0; i < curve->count; i++) {
        const struct gr_curve_point *p = &curve->points[i];
        double sum = 0, least = INFINITY, most = -INFINITY;
        assert_int_equal(p->first, next);
        for (int64_t step = p->first; step <= p->last; step++) {
            const double loss = loss_of(step);
            sum += loss;
            least = fmin(least, loss);
            most = fmax(most, loss);
        }
        const double steps = (double)(p->last - p->first + 1);
        assert_true(fabs(p->loss - sum / steps) < 1e-9);
        assert_true(p->loss_min == least && p->loss_max == most);
        assert_true(p->images == 2 * steps && p->seconds == 0.5 * steps);
        assert_true(p->wait == 0.125 * steps);
        assert_true(p->learning_rate == 1 / (double)p->last);
        next = p->last + 1;
    }
    assert_int_equal(next, last + 1);
}

static void a_curve_is_exact_until_it_is_full(void **state)
{
    struct gr_curve curve = {0};
    (void)state;
    for (int64_t step = 1; step <= GR_CURVE_POINTS; step++)
        add_step(&curve, step, loss_of(step));
    assert_int_equal(curve.count, GR_CURVE_POINTS);
    assert_int_equal(curve.stride, 1);
    check_curve(&curve, 1, GR_CURVE_POINTS);
    gr_curve_release(&curve);
}

static void a_long_curve_keeps_means_and_extremes(void **state)
{
    struct gr_curve curve = {0};
    (void)state;
    for (int64_t step = 1; step <= 100000; step++) {
        add_step(&curve, step, loss_of(step));
        assert_true(curve.count <= GR_CURVE_POINTS);
    }
    assert_true(curve.count >= GR_CURVE_POINTS / 2);
    check_curve(&curve, 1, 100000);
    gr_curve_reduce(&curve, 100);
    assert_true(curve.count <= 100 && curve.count >= 50);
    check_curve(&curve, 1, 100000);
    gr_curve_release(&curve);
}

static void a_curve_may_begin_anywhere(void **state)
{
    struct gr_curve curve = {0};
    (void)state;
    for (int64_t step = 1000001; step <= 1005000; step++)
        add_step(&curve, step, loss_of(step));
    check_curve(&curve, 1000001, 1005000);
    gr_curve_release(&curve);
}

/* A run resumed from step 500 after it had come to 700. */
static void steps_done_again_replace_what_was_there(void **state)
{
    struct gr_curve curve = {0};
    (void)state;
    for (int64_t step = 1; step <= 700; step++)
        add_step(&curve, step, step > 500 ? 99 : loss_of(step));
    for (int64_t step = 501; step <= 800; step++)
        add_step(&curve, step, loss_of(step));
    check_curve(&curve, 1, 800);
    gr_curve_release(&curve);
}

static void steps_without_a_loss_count_without_it(void **state)
{
    struct gr_curve curve = {0};
    (void)state;
    for (int64_t step = 1; step <= 4; step++)
        add_step(&curve, step, step == 3 ? 7 : (double)NAN);
    gr_curve_reduce(&curve, 1);
    assert_int_equal(curve.count, 1);
    assert_int_equal(curve.points[0].finite, 1);
    assert_true(curve.points[0].loss == 7 && curve.points[0].loss_min == 7);
    assert_true(curve.points[0].images == 8);
    gr_curve_release(&curve);
}

static void smoothing_keeps_lines_and_gaps(void **state)
{
    enum { N = 500 };
    double values[N], smooth[N];
    (void)state;
    for (int i = 0; i < N; i++)
        values[i] = 3 - 0.01 * i;
    gr_curve_smooth(values, N, smooth);
    for (int i = 0; i < N - N / 50; i++) /* at the end the past alone counts */
        assert_true(fabs(smooth[i] - values[i]) < 1e-12);
    for (int i = 0; i < N; i++)
        values[i] = i % 2 ? 1 : 3;
    values[250] = NAN;
    gr_curve_smooth(values, N, smooth);
    assert_true(isnan(smooth[250]));
    assert_true(smooth[0] == 3); /* the beginning is as it was */
    for (int i = 10; i < N; i++)
        assert_true(i == 250 || fabs(smooth[i] - 2) < 0.2);
}

/* ---- axes -------------------------------------------------------------------------------- */

static void check_axis(double low, double high, bool log)
{
    const struct gr_axis axis = gr_axis_make(low, high, 5, log, true);
    assert_true(isfinite(axis.low) && isfinite(axis.high) && axis.low < axis.high);
    assert_true(axis.n_ticks <= GR_AXIS_TICKS);
    assert_true(log || axis.n_ticks >= 2);
    for (int i = 0; i < axis.n_ticks; i++) {
        const double place = gr_axis_place(&axis, axis.ticks[i]);
        assert_true(place > -1e-3 && place < 1 + 1e-3);
        assert_true(i == 0 || axis.ticks[i] > axis.ticks[i - 1]);
    }
    if (fabs(low) < 1e201 && fabs(high) < 1e201 && (!log || low > 1e-201))
        assert_true(gr_axis_place(&axis, low) > -1e-3 && gr_axis_place(&axis, high) < 1 + 1e-3);
}

static void axes_bear_any_range(void **state)
{
    static const double values[] = {-1.7e308, -1e200, -3, -1e-9, -0.0, 0,   1e-300, 1e-9,
                                    0.1,      0.3,    1,  7,     1e6,  1e9, 1e200,  1.7e308};
    const size_t n = sizeof values / sizeof *values;
    (void)state;
    for (size_t a = 0; a < n; a++)
        for (size_t b = a; b < n; b++) {
            check_axis(values[a], values[b], false);
            if (values[a] > 0)
                check_axis(values[a], values[b], true);
        }
}

static void check_labels(double low, double high, bool percent, const char *wanted)
{
    struct gr_text out = {0};
    const struct gr_axis axis = gr_axis_make(low, high, 5, false, true);
    for (int i = 0; i < axis.n_ticks; i++) {
        gr_text_add(&out, "%s", i ? "|" : "");
        gr_axis_label(&axis, axis.ticks[i], percent, &out);
    }
    assert_string_equal(out.data, wanted);
    gr_text_release(&out);
}

static void ticks_are_round_numbers(void **state)
{
    (void)state;
    check_labels(0, 1, false, "0|0.2|0.4|0.6|0.8|1.0");
    check_labels(0.02, 0.31, true, "0 %|10 %|20 %|30 %|40 %");
    check_labels(0, 90000, false, "0|20k|40k|60k|80k|100k");
    check_labels(0, 4.2e6, false, "0|1M|2M|3M|4M|5M");
    check_labels(-1, 1, false, "-1.0|-0.5|0|0.5|1.0");
}

/* ---- escaping ---------------------------------------------------------------------------- */

static void check_text(void (*add)(struct gr_text *out, const char *text), const char *text,
                       const char *wanted)
{
    struct gr_text out = {0};
    add(&out, text);
    assert_string_equal(out.data ? out.data : "", wanted);
    gr_text_release(&out);
}

static void texts_cannot_become_markup(void **state)
{
    (void)state;
    check_text(gr_html_text, "<b a='1' b=\"2\">&amp;",
               "&#60;b a=&#39;1&#39; b=&#34;2&#34;&#62;&#38;"
               "amp;");
    check_text(gr_html_text, "a\n\tb\x7f", "a  b ");
    check_text(gr_html_text, "Größe 日本 🦆", "Größe 日本 🦆");
    /* Bytes that are no UTF-8: alone, overlong, cut short, a surrogate, beyond the last. */
    check_text(gr_html_text, "\xff|\xc0\xaf|\xe6\x97|\xed\xa0\x80|\xf4\x90\x80\x80",
               "\uFFFD|\uFFFD\uFFFD|\uFFFD\uFFFD|\uFFFD\uFFFD\uFFFD|\uFFFD\uFFFD\uFFFD\uFFFD");
    check_text(gr_json_text, "</script>\"\\\n&'",
               "\"\\u003c/script\\u003e\\u0022\\u005c\\u000a\\u0026"
               "\\u0027\"");
    check_text(gr_json_text, "é\xff", "\"é\\ufffd\"");
}

static void check_short(const char *text, size_t most, const char *wanted)
{
    struct gr_text out = {0};
    gr_html_short(&out, text, most);
    assert_string_equal(out.data, wanted);
    gr_text_release(&out);
}

static void long_texts_are_cut_between_characters(void **state)
{
    (void)state;
    check_short("äöüß", 4, "äöüß");
    check_short("äöüßa", 4, "äöü…");
    check_short("<<<<<", 3, "&#60;&#60;…");
}

static void check_figure(enum gr_figure figure, double value, const char *wanted)
{
    struct gr_text out = {0};
    gr_html_figure(&out, figure, value);
    assert_string_equal(out.data, wanted);
    gr_text_release(&out);
}

static void figures_read_well(void **state)
{
    (void)state;
    check_figure(GR_FIGURE_NUMBER, 0.232612, "0.2326");
    check_figure(GR_FIGURE_NUMBER, 0.00001234, "1.23e-05");
    check_figure(GR_FIGURE_NUMBER, NAN, "–");
    check_figure(GR_FIGURE_PERCENT, 0.91734, "91.73 %");
    check_figure(GR_FIGURE_COUNT, 60965224, "60,965,224");
    check_figure(GR_FIGURE_COUNT, -1000, "-1,000");
    check_figure(GR_FIGURE_RATE, 10411.4, "10,411");
    check_figure(GR_FIGURE_DURATION, 3.21, "3.2 s");
    check_figure(GR_FIGURE_DURATION, 59.99, "60 s");
    check_figure(GR_FIGURE_DURATION, 65, "1:05");
    check_figure(GR_FIGURE_DURATION, 7509.6, "2:05:10");
}

static void base64_is_the_standards(void **state)
{
    static const char *const pairs[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"\xff\xfe\xfd", "//79"}};
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        struct gr_text out = {0};
        gr_html_base64(&out, (const unsigned char *)pairs[i][0], strlen(pairs[i][0]));
        assert_string_equal(out.data ? out.data : "", pairs[i][1]);
        gr_text_release(&out);
    }
}

/* ---- layers ------------------------------------------------------------------------------ */

enum { BOXES = 40, EDGES = 400 };

/* Every edge points down through a waypoint in each layer between; nothing overlaps. */
static void check_layers(const struct gr_layers *layers)
{
    for (int e = 0; e < layers->n_edges; e++) {
        const struct gr_layers_edge *edge = &layers->edges[e];
        int layer = layers->items[edge->from].layer;
        for (int k = 0; k < edge->n_via; k++)
            assert_int_equal(layers->items[edge->via + k].layer, ++layer);
        assert_int_equal(layers->items[edge->to].layer, layer + 1);
    }
    for (int layer = 0; layer < layers->n_layers; layer++) {
        for (int i = layers->first[layer] + 1; i < layers->first[layer + 1]; i++) {
            const struct gr_layers_item *a = &layers->items[layers->order[i - 1]];
            const struct gr_layers_item *b = &layers->items[layers->order[i]];
            assert_true(b->x - a->x >= (a->width + b->width) / 2 + 1);
        }
        for (int i = layers->first[layer]; i < layers->first[layer + 1]; i++) {
            const struct gr_layers_item *item = &layers->items[layers->order[i]];
            assert_int_equal(item->layer, layer);
            assert_true(item->x - item->width / 2 > -1e-6);
            assert_true(item->x + item->width / 2 < layers->width + 1e-6);
            assert_true(item->y > -1e-6 && item->y + item->height < layers->height + 1e-6);
        }
    }
}

static void random_graphs_are_laid_out_without_overlaps(void **state)
{
    (void)state;
    srand(5);
    for (int trial = 0; trial < 200; trial++) {
        struct gr_layers layers = {0};
        struct gr_layers_item boxes[BOXES] = {{0}};
        struct gr_layers_edge edges[EDGES];
        struct gr_error err = {0};
        const int n = 1 + rand() % BOXES;
        int n_edges = 0;
        for (int i = 0; i < n; i++) {
            boxes[i].width = 20 + rand() % 200;
            boxes[i].height = 10 + rand() % 80;
            for (int from = 0; from < i; from++)
                if (n_edges < EDGES && (from == i - 1 ? rand() % 4 : rand() % n == 0))
                    edges[n_edges++] = (struct gr_layers_edge){.from = from, .to = i};
        }
        assert_true(gr_layers_init(&layers, boxes, n, edges, n_edges, &err));
        check_layers(&layers);
        gr_layers_fold(&layers, 1e6, 100);
        check_layers(&layers);
        gr_layers_release(&layers);
    }
}

/* Ten boxes below each other, each second of which is also reached past the one between. */
static void a_chain_is_straight_and_folds_into_columns(void **state)
{
    struct gr_layers layers = {0};
    struct gr_layers_item boxes[11];
    struct gr_layers_edge edges[15];
    struct gr_error err = {0};
    int n_edges = 0;
    (void)state;
    for (int i = 0; i < 11; i++) {
        boxes[i] = (struct gr_layers_item){.width = 100, .height = 50};
        if (i)
            edges[n_edges++] = (struct gr_layers_edge){.from = i - 1, .to = i};
        if (i && i % 2 == 0)
            edges[n_edges++] = (struct gr_layers_edge){.from = i - 2, .to = i};
    }
    assert_true(gr_layers_init(&layers, boxes, 11, edges, n_edges, &err));
    assert_int_equal(layers.n_layers, 11);
    for (int i = 1; i < 11; i++)
        assert_true(fabs(layers.items[i].x - layers.items[0].x) < 1);
    const double tall = layers.height;
    gr_layers_fold(&layers, 600, 300);
    assert_int_equal(layers.n_columns, 3);
    assert_true(layers.width <= 600 && layers.height < 0.5 * tall);
    assert_int_equal(gr_layers_column_of(&layers, 0), 0);
    assert_int_equal(gr_layers_column_of(&layers, 10), 2);
    gr_layers_release(&layers);
}

static void what_is_too_large_to_look_at_is_refused(void **state)
{
    enum { MANY = 600 };
    struct gr_layers layers = {0};
    struct gr_error err = {0};
    struct gr_layers_item *boxes = calloc(MANY, sizeof *boxes);
    struct gr_layers_edge *edges = calloc(2 * MANY, sizeof *edges);
    int n_edges = 0;
    (void)state;
    for (int i = 1; i < MANY; i++) {
        edges[n_edges++] = (struct gr_layers_edge){.from = i - 1, .to = i};
        edges[n_edges++] = (struct gr_layers_edge){.from = 0, .to = i};
    }
    assert_false(gr_layers_init(&layers, boxes, MANY, edges, n_edges, &err));
    assert_int_equal(err.status, GR_ERR_USAGE);
    gr_layers_release(&layers);
    free(boxes);
    free(edges);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_curve_is_exact_until_it_is_full),
        cmocka_unit_test(a_long_curve_keeps_means_and_extremes),
        cmocka_unit_test(a_curve_may_begin_anywhere),
        cmocka_unit_test(steps_done_again_replace_what_was_there),
        cmocka_unit_test(steps_without_a_loss_count_without_it),
        cmocka_unit_test(smoothing_keeps_lines_and_gaps),
        cmocka_unit_test(axes_bear_any_range),
        cmocka_unit_test(ticks_are_round_numbers),
        cmocka_unit_test(texts_cannot_become_markup),
        cmocka_unit_test(long_texts_are_cut_between_characters),
        cmocka_unit_test(figures_read_well),
        cmocka_unit_test(base64_is_the_standards),
        cmocka_unit_test(random_graphs_are_laid_out_without_overlaps),
        cmocka_unit_test(a_chain_is_straight_and_folds_into_columns),
        cmocka_unit_test(what_is_too_large_to_look_at_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
