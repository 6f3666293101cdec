/*
 * Progress on standard error; see progress.h.
 */
#include "progress.h"

#include <inttypes.h>
#include <string.h>

#include "format.h"
#include "interrupt.h"
#include "measure.h"
#include "terminal.h"

enum { MOST_FIELDS = 8 + GR_MAX_METRICS, FIELD = 96, LINE = 1024 };

static const double terminal_interval = 0.1, plain_interval = 10; /* seconds */

/* A part of the progress line; the highest rank is left out first where the line is too long. */
struct field {
    int rank;
    char text[FIELD];
};

struct fields {
    struct field items[MOST_FIELDS];
    size_t count;
};

static void add(struct fields *fields, int rank, const char *format, ...) GR_TOOL_PRINTF(3, 4);

static void add(struct fields *fields, int rank, const char *format, ...)
{
    if (fields->count == MOST_FIELDS)
        return;
    struct field *field = &fields->items[fields->count++];
    va_list args;
    va_start(args, format);
    field->rank = rank;
    vsnprintf(field->text, sizeof field->text, format, args);
    va_end(args);
}

static void join(const struct fields *fields, const char *separator, char line[LINE])
{
    size_t length = 0;
    line[0] = '\0';
    for (size_t i = 0; i < fields->count; i++) {
        const int written = snprintf(line + length, LINE - length, "%s%s", i ? separator : "",
                                     fields->items[i].text);
        length += (size_t)written;
        if (length >= LINE)
            return;
    }
}

static void drop_least(struct fields *fields)
{
    size_t least = 0;
    for (size_t i = 1; i < fields->count; i++)
        if (fields->items[i].rank >= fields->items[least].rank)
            least = i;
    fields->count--;
    memmove(&fields->items[least], &fields->items[least + 1],
            (fields->count - least) * sizeof *fields->items);
}

/* ---- the line within an epoch ------------------------------------------------------------ */

static void add_position(struct fields *fields, const struct gr_progress *p, bool epochs)
{
    if (epochs && p->epochs)
        add(fields, 0, "epoch %" PRId64 "/%" PRId64, p->epoch, p->epochs);
    else if (epochs)
        add(fields, 0, "epoch %" PRId64, p->epoch);
    if (p->steps)
        add(fields, 1, "%s %" PRId64 "/%" PRId64, p->stage, p->step, p->steps);
    else
        add(fields, 1, "%s %" PRId64, p->stage, p->step);
}

static void describe(const struct gr_progress *p, bool epochs, struct fields *fields)
{
    char text[GR_FIGURE];
    const bool training = p->learning_rate > 0;
    add_position(fields, p, epochs);
    if (strcmp(p->stage, "features") != 0)
        add(fields, 2, p->loss < 1e4 ? "loss %.4f" : "loss %.4g", p->loss);
    for (int i = 0; i < p->n_metrics && i < GR_MAX_METRICS; i++)
        add(fields, 4 + i, "%s %s", p->metrics[i].name, gr_percent_text(p->metrics[i].value, text));
    if (training)
        add(fields, 20, "lr %.4g", p->learning_rate);
    add(fields, 5, "%s images/s", gr_rate_text(p->images_per_second, text));
    add(fields, 21, "wait %.0f %%", 100 * p->wait_share);
    if (p->seconds_left >= 0)
        add(fields, 3, "%s left", gr_duration_text(p->seconds_left, text));
}

static void show(const struct gr_progress *p, bool epochs, bool terminal)
{
    char line[LINE];
    struct fields fields = {.count = 0};
    describe(p, epochs, &fields);
    join(&fields, terminal ? " · " : "  ", line);
    if (!terminal) {
        fprintf(stderr, "%s\n", line);
        return;
    }
    while (fields.count > 1 && gr_text_columns(line) >= gr_terminal_width(stderr)) {
        drop_least(&fields);
        join(&fields, " · ", line);
    }
    gr_status_show(line);
}

/* ---- the line that sums up an epoch ------------------------------------------------------ */

static void add_results(struct fields *fields, const struct gr_progress *p)
{
    char text[GR_FIGURE];
    add(fields, 0, p->loss < 1e4 ? "%s loss %.4f" : "%s loss %.4g", p->stage, p->loss);
    for (int i = 0; i < p->n_metrics && i < GR_MAX_METRICS; i++)
        add(fields, 0, "%s %s", p->metrics[i].name, gr_percent_text(p->metrics[i].value, text));
}

/* train and val are the results of the two stages; either may be NULL. */
static void tell_epoch(const struct gr_display *display, const struct gr_progress *train,
                       const struct gr_progress *val)
{
    char line[LINE], text[GR_FIGURE];
    struct fields fields = {.count = 0};
    const struct gr_progress *any = train ? train : val;
    if (any->epochs) {
        const int digits = snprintf(text, sizeof text, "%" PRId64, any->epochs);
        add(&fields, 0, "epoch %*" PRId64 "/%" PRId64, digits, any->epoch, any->epochs);
    } else {
        add(&fields, 0, "epoch %" PRId64, any->epoch);
    }
    if (train)
        add_results(&fields, train);
    if (val)
        add_results(&fields, val);
    if (train)
        add(&fields, 0, "lr %.4g", train->learning_rate);
    add(&fields, 0, "%s", gr_duration_text(gr_measure_seconds() - display->epoch_started, text));
    join(&fields, "  ", line);
    gr_status_clear();
    fputs(line, stderr);
    if ((train && train->best) || (val && val->best))
        fprintf(stderr, "  %sbest%s", gr_style(stderr, GR_STYLE_GOOD),
                gr_style(stderr, GR_STYLE_PLAIN));
    fputc('\n', stderr);
}

static void note_epoch(struct gr_display *display, const struct gr_progress *progress)
{
    if (progress->epoch != display->epoch) {
        if (display->has_train)
            tell_epoch(display, &display->train, NULL);
        display->has_train = false;
        display->epoch = progress->epoch;
        display->epoch_started = gr_measure_seconds();
    }
    if (!progress->last)
        return;
    if (strcmp(progress->stage, "train") == 0) {
        display->train = *progress;
        display->has_train = true;
    } else {
        tell_epoch(display, display->has_train ? &display->train : NULL, progress);
        display->has_train = false;
    }
}

bool gr_display_progress(void *user, const struct gr_progress *progress)
{
    struct gr_display *display = user;
    const bool terminal = gr_is_terminal(stderr);
    if (!display->quiet) {
        const double time = gr_measure_seconds();
        if (display->shown <= 0 && !terminal)
            display->shown = time;
        if (time - display->shown >= (terminal ? terminal_interval : plain_interval)) {
            show(progress, display->epoch_lines, terminal);
            display->shown = time;
        }
        if (display->epoch_lines)
            note_epoch(display, progress);
    }
    return gr_interrupt_signal() == 0;
}

void gr_display_end(struct gr_display *display)
{
    if (display->has_train)
        tell_epoch(display, &display->train, NULL);
    display->has_train = false;
    gr_status_clear();
}
