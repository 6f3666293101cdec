/*
 * Learning-rate policies; see schedule.h for their formulas. A policy is a row: its attribute table
 * and its closed form over a clock.
 */
#include "train/schedule.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const double pi = 3.14159265358979323846;

/* The first fields of every policy's attribute struct. */
struct common {
    double base, warmup_epochs, warmup_from;
    int64_t warmup_steps;
};

enum unit { EPOCHS, STEPS };
static const char *const units[] = {"epochs", "steps", NULL};

/* Of step, multistep, exp, poly and cosine alike: each table shows the fields that its policy has.
 */
struct curve {
    struct common common;
    int unit;
    double every, gamma, length, end, power;
    struct gr_floats at;
};

struct plateau {
    struct common common;
    double factor, threshold;
    int64_t drops, patience;
    const char *monitor;
};

/* How far training has come, and how long it is (0: unknown), in the policy's unit. */
struct clock {
    double now, whole;
};

/* The kind comes first, so that a choice's kind leads to its policy. */
struct policy {
    struct gr_kind kind;
    double (*rate)(const void *attrs, const struct gr_schedule_state *state, struct clock clock);
    bool has_unit; /* the attributes are a struct curve */
};

/* Rows that several tables share. */
/* clang-format off */
#define NUMBER(of, field, def, least, most, doc) \
    {#field, GR_ATTR_FLOAT, offsetof(struct of, field), false, def, least, most, NULL, doc}
#define COMMON \
    {"base", GR_ATTR_FLOAT, offsetof(struct common, base), true, 0, 0, 1e6, NULL, \
     "the learning rate that the policy starts from"}, \
    NUMBER(common, warmup_epochs, 0, 0, 1e9, "epochs of linear warm-up; a fraction is fine"), \
    {"warmup_steps", GR_ATTR_INT, offsetof(struct common, warmup_steps), false, 0, 0, 1e15, NULL, \
     "steps of linear warm-up, instead of warmup_epochs"}, \
    NUMBER(common, warmup_from, 0, 0, 1e6, "the learning rate that the warm-up rises from")
#define UNIT \
    {"unit", GR_ATTR_ENUM, offsetof(struct curve, unit), false, EPOCHS, 0, 0, units, \
     "what the policy's lengths count"}
#define LENGTH NUMBER(curve, length, 0, 0, 1e15, "units from base to end; 0: the whole training")
#define END NUMBER(curve, end, 0, 0, 1e6, "the last learning rate")
#define STEP_GAMMA NUMBER(curve, gamma, 0.1, 0, 1e6, "factor of each step down")
#define STOP {.name = NULL}
/* clang-format on */

static double fixed_rate(const void *attrs, const struct gr_schedule_state *state,
                         struct clock clock)
{
    (void)state, (void)clock;
    return ((const struct common *)attrs)->base;
}

static const struct gr_attr fixed_attrs[] = {COMMON, STOP};
static const struct policy fixed = {
    {"fixed", "the same learning rate throughout", fixed_attrs, sizeof(struct common)},
    fixed_rate,
    false};

static double step_rate(const void *attrs, const struct gr_schedule_state *state,
                        struct clock clock)
{
    (void)state;
    const struct curve *curve = attrs;
    /* The mite keeps 0.3 / 0.1 from being 2. */
    return curve->common.base * pow(curve->gamma, floor(clock.now / curve->every + 1e-9));
}

static const struct gr_attr step_attrs[] = {COMMON,
                                            UNIT,
                                            {"every", GR_ATTR_FLOAT, offsetof(struct curve, every),
                                             true, 0, 1e-9, 1e15, NULL,
                                             "units from one step down to the next"},
                                            STEP_GAMMA,
                                            STOP};
static const struct policy step = {
    {"step", "multiplied by gamma at regular intervals", step_attrs, sizeof(struct curve)},
    step_rate,
    true};

static double multistep_rate(const void *attrs, const struct gr_schedule_state *state,
                             struct clock clock)
{
    (void)state;
    const struct curve *curve = attrs;
    int passed = 0;
    while (passed < curve->at.count && curve->at.items[passed] <= clock.now)
        passed++;
    return curve->common.base * pow(curve->gamma, passed);
}

static const struct gr_attr multistep_attrs[] = {COMMON,
                                                 UNIT,
                                                 {"at", GR_ATTR_FLOATS, offsetof(struct curve, at),
                                                  true, 0, 0, 1e15, NULL,
                                                  "when to step down, rising"},
                                                 STEP_GAMMA,
                                                 STOP};
static const struct policy multistep = {
    {"multistep", "multiplied by gamma at given times", multistep_attrs, sizeof(struct curve)},
    multistep_rate,
    true};

static double exp_rate(const void *attrs, const struct gr_schedule_state *state, struct clock clock)
{
    (void)state;
    const struct curve *curve = attrs;
    return curve->common.base * pow(curve->gamma, clock.now);
}

static const struct gr_attr exp_attrs[] = {
    COMMON, UNIT, NUMBER(curve, gamma, 0.95, 0, 1e6, "factor of each unit of time"), STOP};
static const struct policy exponential = {
    {"exp", "falls exponentially, a little each step", exp_attrs, sizeof(struct curve)},
    exp_rate,
    true};

/* The share of the curve that is over, 0 to 1; a length that nobody knows never passes. */
static double progress(const struct curve *curve, struct clock clock)
{
    const double length = curve->length > 0 ? curve->length : clock.whole;
    if (!(length > 0))
        return 0;
    return clock.now < length ? clock.now / length : 1;
}

static double poly_rate(const void *attrs, const struct gr_schedule_state *state,
                        struct clock clock)
{
    (void)state;
    const struct curve *curve = attrs;
    return curve->end +
           (curve->common.base - curve->end) * pow(1 - progress(curve, clock), curve->power);
}

static const struct gr_attr poly_attrs[] = {
    COMMON,
    UNIT,
    LENGTH,
    END,
    NUMBER(curve, power, 1, 1e-9, 1e6, "of the polynomial; 1 is a straight line"),
    STOP};
static const struct policy poly = {
    {"poly", "falls as a power of the time left", poly_attrs, sizeof(struct curve)},
    poly_rate,
    true};

static double cosine_rate(const void *attrs, const struct gr_schedule_state *state,
                          struct clock clock)
{
    (void)state;
    const struct curve *curve = attrs;
    const double share = progress(curve, clock);
    return curve->end + (curve->common.base - curve->end) * (1 + cos(pi * share)) / 2;
}

static const struct gr_attr cosine_attrs[] = {COMMON, UNIT, LENGTH, END, STOP};
static const struct policy cosine = {
    {"cosine", "falls as half a cosine wave", cosine_attrs, sizeof(struct curve)},
    cosine_rate,
    true};

static double plateau_rate(const void *attrs, const struct gr_schedule_state *state,
                           struct clock clock)
{
    (void)clock;
    const struct plateau *plateau = attrs;
    return plateau->common.base * pow(plateau->factor, (double)state->drops);
}

static const struct gr_attr plateau_attrs[] = {
    COMMON,
    NUMBER(plateau, factor, 0.1, 0, 1, "what a drop multiplies the learning rate by"),
    {"drops", GR_ATTR_INT, offsetof(struct plateau, drops), false, 3, 0, 1e6, NULL,
     "how many drops; the plateau after the last ends the training"},
    {"patience", GR_ATTR_INT, offsetof(struct plateau, patience), false, 5, 1, 1e9, NULL,
     "validations in a row without improvement that make a plateau"},
    {"monitor", GR_ATTR_STRING, offsetof(struct plateau, monitor), false, 0, 0, 0, NULL,
     "the figure to watch; default the first metric, or the loss"},
    NUMBER(plateau, threshold, 1e-4, 0, 1e6,
           "the least difference to the best figure that counts as an improvement"),
    STOP};
static const struct policy plateau = {
    {"plateau", "drops when validation stops improving", plateau_attrs, sizeof(struct plateau)},
    plateau_rate,
    false};

const struct gr_kind *const gr_schedules[] = {&fixed.kind,       &step.kind, &multistep.kind,
                                              &exponential.kind, &poly.kind, &cosine.kind,
                                              &plateau.kind,     NULL};

const struct gr_kind *gr_schedule_find(const char *name)
{
    for (const struct gr_kind *const *kind = gr_schedules; *kind; kind++)
        if (strcmp((*kind)->name, name) == 0)
            return *kind;
    return NULL;
}

static const struct policy *policy_of(const struct gr_choice *schedule)
{
    return (const struct policy *)(const void *)schedule->kind;
}

bool gr_schedule_check(const struct gr_choice *schedule, struct gr_error *err)
{
    const char *name = schedule->kind->name;
    const struct common *common = schedule->attrs;
    if (common->warmup_epochs > 0 && common->warmup_steps > 0)
        return gr_fail(err, GR_ERR_MODEL,
                       "learning_rate: %s: warmup_epochs and warmup_steps exclude each other",
                       name);
    if (!policy_of(schedule)->has_unit)
        return true;
    const struct curve *curve = schedule->attrs;
    for (int i = 1; i < curve->at.count; i++)
        if (curve->at.items[i] <= curve->at.items[i - 1])
            return gr_fail(err, GR_ERR_MODEL, "learning_rate: %s: at: %g does not rise above %g",
                           name, curve->at.items[i], curve->at.items[i - 1]);
    if (curve->end > common->base)
        return gr_fail(err, GR_ERR_MODEL, "learning_rate: %s: end %g is above base %g", name,
                       curve->end, common->base);
    return true;
}

double gr_schedule_rate(const struct gr_choice *schedule, const struct gr_schedule_state *state,
                        int64_t at, int64_t steps_per_epoch, int64_t total_epochs)
{
    const struct policy *policy = policy_of(schedule);
    const struct common *common = schedule->attrs;
    struct clock clock = {(double)at / (double)steps_per_epoch, (double)total_epochs};
    if (policy->has_unit && ((const struct curve *)schedule->attrs)->unit == STEPS)
        clock = (struct clock){(double)at, (double)total_epochs * (double)steps_per_epoch};
    const double rate = policy->rate(common, state, clock);
    const double warmup = common->warmup_steps > 0
                              ? (double)common->warmup_steps
                              : round(common->warmup_epochs * (double)steps_per_epoch);
    if ((double)at >= warmup)
        return rate;
    return common->warmup_from + (rate - common->warmup_from) * ((double)at + 1) / warmup;
}

bool gr_schedule_spans_training(const struct gr_choice *schedule)
{
    const bool falls = schedule->kind == &poly.kind || schedule->kind == &cosine.kind;
    return falls && !(((const struct curve *)schedule->attrs)->length > 0);
}

enum gr_schedule_event gr_schedule_observe(const struct gr_choice *schedule,
                                           struct gr_schedule_state *state, double value,
                                           bool higher_is_better)
{
    if (schedule->kind != &plateau.kind || state->finished)
        return GR_SCHEDULE_NONE;
    const struct plateau *attrs = schedule->attrs;
    const double gain = higher_is_better ? value - state->best : state->best - value;
    if (!isnan(value) && (!state->seen || gain > attrs->threshold)) {
        state->best = value;
        state->seen = true;
        state->bad = 0;
        return GR_SCHEDULE_IMPROVED;
    }
    if (++state->bad < attrs->patience)
        return GR_SCHEDULE_NONE;
    state->bad = 0;
    if (state->drops < attrs->drops) {
        state->drops++;
        return GR_SCHEDULE_DROPPED;
    }
    state->finished = true;
    return GR_SCHEDULE_FINISHED;
}

const char *gr_schedule_monitor(const struct gr_choice *schedule)
{
    return schedule->kind == &plateau.kind ? ((const struct plateau *)schedule->attrs)->monitor
                                           : NULL;
}

/* The best value travels as its bits: exact, and the same in every locale. */
const char *gr_schedule_state_text(const struct gr_schedule_state *state,
                                   char buffer[GR_SCHEDULE_STATE_TEXT])
{
    uint64_t bits;
    memcpy(&bits, &state->best, sizeof bits);
    snprintf(buffer, GR_SCHEDULE_STATE_TEXT,
             "best %016" PRIx64 " seen %d bad %" PRId64 " drops %" PRId64 " finished %d", bits,
             state->seen, state->bad, state->drops, state->finished);
    return buffer;
}

bool gr_schedule_state_parse(struct gr_schedule_state *state, const char *text,
                             struct gr_error *err)
{
    uint64_t bits = 0;
    int seen = 0, finished = 0, length = -1;
    struct gr_schedule_state read = {0};
    const int fields = sscanf(
        text, "best %16" SCNx64 " seen %1d bad %18" SCNd64 " drops %18" SCNd64 " finished %1d%n",
        &bits, &seen, &read.bad, &read.drops, &finished, &length);
    const bool whole = fields == 5 && length > 0 && text[length] == '\0';
    if (!whole || read.bad < 0 || read.drops < 0 || (seen | finished) & ~1)
        return gr_fail(err, GR_ERR_DATA, "learning-rate state '%.60s' is not understood", text);
    memcpy(&read.best, &bits, sizeof bits);
    read.seen = seen;
    read.finished = finished;
    *state = read;
    return true;
}
