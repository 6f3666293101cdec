/*
 * The autotuner; see tune.h.
 */
#include "graph/tune.h"

#include <math.h>
#include <string.h>

#include "base/text.h"
#include "graph/trial.h"

/* Below this many multiply-accumulates there is nothing to win; this much faster wins. */
static const double least_macs = 5e6, margin = 0.95;

/* So much slower than the best so far may yet be the best; two rounds that agree settle it. */
static const double contends = 1.3, agrees = 1.1;

enum { ROUNDS = 2, MOST_ROUNDS = 6, RUNS = 3 };

/* ---- the key ----------------------------------------------------------------------------- */

static void add_shapes(struct gr_text *text, struct gr_value *const *values, int count)
{
    char shape[GR_SHAPE_TEXT];
    for (int i = 0; i < count; i++)
        gr_text_add(text, " %s", gr_shape_text(&values[i]->shape, shape));
}

/*
 * "conv_backward_data f32 kernel 3, pad 1: 128×384×13×13 384×256×3×3 to 128×256×13×13 as nChw16c
 * OIhw16i16o of direct, winograd": what is chosen among belongs to it, so that a version that knows
 * more kernels chooses anew.
 */
static bool write_key(const struct gr_program *program, const struct gr_node *node,
                      const struct gr_layout *const *src, const char *const *names, int count,
                      struct gr_text *text, struct gr_error *err)
{
    const struct gr_node *described = node->forward ? node->forward : node;
    const bool bf16 = program->options.precision == GR_PRECISION_BF16;
    gr_text_add(text, "%s %s ", node->op->kind.name, bf16 ? "bf16" : "f32");
    gr_kind_describe(&described->op->kind, node->attrs, 16, false, text);
    gr_text_add(text, ":");
    add_shapes(text, node->inputs, node->n_inputs);
    gr_text_add(text, " to");
    add_shapes(text, node->outputs, node->n_outputs);
    gr_text_add(text, " as");
    for (int i = 0; i < node->n_inputs; i++)
        gr_text_add(text, " %s", src[i] ? src[i]->name : "new");
    for (int k = 0; k < count; k++)
        gr_text_add(text, "%s %s", k ? "," : " of", names[k]);
    return gr_text_ok(text, err);
}

/* ---- measuring --------------------------------------------------------------------------- */

/* What it takes to bring a value from one layout to another. */
static bool time_reorder(struct gr_program *program, struct gr_value *value,
                         const struct gr_layout *from, const struct gr_layout *to, double *seconds,
                         struct gr_error *err)
{
    struct gr_value *ends[] = {value, value};
    const struct gr_node node = {.name = value->name,
                                 .op = program->graph->ops->reorder,
                                 .n_inputs = 1,
                                 .n_outputs = 1,
                                 .inputs = ends,
                                 .outputs = ends + 1,
                                 .graph = program->graph};
    struct gr_trial t = {.src = {from}};
    struct gr_planning planning = gr_trial_planning(&t, &node, program->backend, GR_PRECISION_F32);
    double took = 0;
    t.dst[0] = to;
    const bool ok = from == to || (node.op->plan(&planning, err) &&
                                   gr_trial_time(&t, &node, RUNS, HUGE_VAL, &took, err));
    *seconds += took;
    gr_trial_release(&t);
    return ok;
}

/* The reorders of the inputs. What is derived from parameters alone is reordered once, not now. */
static bool time_inputs(struct gr_program *program, const struct gr_node *node,
                        const struct gr_layout *const *src, const struct gr_trial *t,
                        double *seconds, struct gr_error *err)
{
    for (int i = 0; i < node->n_inputs; i++) {
        struct gr_value *value = node->inputs[i];
        const struct gr_layout *from = src[i] ? src[i] : t->home[i];
        if (program->slots[value->id].derived || !from)
            continue;
        if (!time_reorder(program, value, from, t->src[i], seconds, err))
            return false;
    }
    return true;
}

/* Where a result is wanted: see tune.h. */
static const struct gr_layout *wanted(const struct gr_program *program,
                                      const struct gr_value *value, const struct gr_layout *usual)
{
    const struct gr_layout *of = value->of && (size_t)value->of->id < program->n_slots
                                     ? program->slots[value->of->id].layout
                                     : NULL;
    return of && gr_layout_dtype(of, value) == gr_layout_dtype(usual, value) ? of : usual;
}

/*
 * The parameters among the inputs, where they make up much of what is read: between two steps
 * other layers' have passed through the caches.
 */
static unsigned cold_inputs(const struct gr_program *program, const struct gr_node *node,
                            const struct gr_trial *t)
{
    size_t all = 0, parameters = 0;
    unsigned cold = 0;
    for (int i = 0; i < node->n_inputs; i++) {
        const size_t bytes = gr_layout_bytes(t->src[i], node->inputs[i]);
        all += bytes;
        if (program->slots[node->inputs[i]->id].derived) {
            parameters += bytes;
            cold |= 1u << i;
        }
    }
    return parameters > all / 8 ? cold : 0;
}

/* Plans a candidate and times it for the chain; kernel.run stays NULL where there is none such. */
static bool try_candidate(struct gr_program *program, const struct gr_node *node,
                          const struct gr_layout *const *src, const char *name,
                          const struct gr_trial *usual, double best, struct gr_trial *t,
                          double *seconds, struct gr_error *err)
{
    struct gr_planning planning =
        gr_trial_planning(t, node, program->backend, program->options.precision);
    planning.choice = name;
    for (int i = 0; i < node->n_inputs; i++)
        t->src[i] = src[i];
    if (!node->op->plan(&planning, err))
        return false;
    if (!t->kernel.run)
        return true;
    t->cold = cold_inputs(program, node, t);
    if (!gr_trial_time(t, node, RUNS, 4 * best, seconds, err))
        return false;
    const bool contending = *seconds < contends * best;
    if (contending && !time_inputs(program, node, src, t, seconds, err))
        return false;
    for (int o = 0; usual->kernel.run && contending && o < node->n_outputs; o++)
        if (!time_reorder(program, node->outputs[o], t->dst[o],
                          wanted(program, node->outputs[o], usual->dst[o]), seconds, err))
            return false;
    return true;
}

/* What is known of a candidate: its best rounds. */
struct finding {
    double seconds, second; /* infinite: none such */
    bool disturbed;         /* its last round was */
};

/* "direct 93.0 ms, winograd 53.4 ms". */
static void report(const struct gr_program *program, const struct gr_node *node,
                   const char *const *names, const struct finding *found, int count)
{
    struct gr_text text = {0};
    for (int k = 0; k < count; k++)
        if (found[k].seconds < HUGE_VAL)
            gr_text_add(&text, "%s%s %.2f ms", text.length ? ", " : "", names[k],
                        1e3 * found[k].seconds);
    if (text.data)
        gr_tuning_report(program->options.tuning, node->name, text.data);
    gr_text_release(&text);
}

/* May another round change what is known of it? */
static bool is_open(const struct finding *f, double best)
{
    return f->seconds < contends * best && (f->disturbed || f->second > agrees * f->seconds);
}

static bool any_open(const struct finding *found, int count, double best)
{
    for (int k = 0; k < count; k++)
        if (is_open(&found[k], best))
            return true;
    return false;
}

/* The fastest: its index. The usual one, unless another is faster by the margin. */
static int fastest(const struct finding *found, int count)
{
    int best = 0;
    for (int k = 1; k < count; k++)
        if (found[k].seconds < (best ? 1 : margin) * found[best].seconds)
            best = k;
    return best;
}

/*
 * The candidates in turn, and all once more, since the machine's speed changes by the minute; then
 * those that contend until two of their rounds agree. Each counts with its best round.
 */
static bool measure(struct gr_program *program, const struct gr_node *node,
                    const struct gr_layout *const *src, const char *const *names, int count,
                    struct finding *found, struct gr_error *err)
{
    struct gr_trial usual = {0};
    double best = HUGE_VAL;
    bool ok = true;
    for (int k = 0; k < count; k++)
        found[k] = (struct finding){HUGE_VAL, HUGE_VAL, false};
    for (int r = 0; ok && r < MOST_ROUNDS && (r < ROUNDS || any_open(found, count, best)); r++)
        for (int k = 0; ok && k < count; k++) {
            struct gr_trial other = {0}, *t = k || r ? &other : &usual;
            double took = 0;
            if (r && (r < ROUNDS ? found[k].seconds > 2 * best : !is_open(&found[k], best)))
                continue;
            ok = try_candidate(program, node, src, names[k], &usual, best, t, &took, err);
            if (ok && t->kernel.run) {
                found[k].second = fmin(found[k].second, fmax(found[k].seconds, took));
                found[k].seconds = fmin(found[k].seconds, took);
                found[k].disturbed = t->disturbed;
            }
            best = fmin(best, found[k].seconds);
            gr_trial_release(&other);
        }
    gr_trial_release(&usual);
    if (ok)
        report(program, node, names, found, count);
    return ok;
}

/* Measures, chooses and records. */
static bool choose(struct gr_program *program, const struct gr_node *node,
                   const struct gr_layout *const *src, const char *const *names, int count,
                   const char *key, const char **choice, struct gr_error *err)
{
    struct gr_tuning *tuning = program->options.tuning;
    struct finding found[GR_MAX_CANDIDATES];
    if (!gr_tuning_begin(tuning, node->name, err) ||
        !measure(program, node, src, names, count, found, err))
        return false;
    const int best = fastest(found, count);
    const bool unsure = any_open(found, count, found[best].seconds);
    *choice = names[best];
    return gr_tuning_record(tuning, key, *choice, found[best].seconds,
                            unsure ? GR_TUNING_UNSURE : GR_TUNING_MEASURED, err);
}

/* ---- choosing ---------------------------------------------------------------------------- */

bool gr_tune(struct gr_program *program, const struct gr_node *node,
             const struct gr_layout *const *src, const char **choice, double *seconds,
             struct gr_error *err)
{
    struct gr_tuning *tuning = program->options.tuning;
    const char *names[GR_MAX_CANDIDATES];
    const struct gr_planning planning = {
        .node = node, .backend = program->backend, .precision = program->options.precision};
    *choice = program->options.choice;
    *seconds = -1;
    if (*choice)
        return true;
    if (!tuning || !node->op->candidates || !node->op->macs || node->op->macs(node) < least_macs ||
        !gr_trial_fits(node))
        return true;
    const int count = node->op->candidates(&planning, names);
    if (count < 2)
        return true;
    struct gr_text key = {0};
    bool ok = write_key(program, node, src, names, count, &key, err);
    const char *known = ok ? gr_tuning_find(tuning, key.data) : NULL;
    for (int k = 0; known && k < count; k++)
        if (strcmp(names[k], known) == 0)
            *choice = names[k];
    if (ok && !*choice && gr_tuning_measures(tuning))
        ok = choose(program, node, src, names, count, key.data, choice, err);
    if (ok && *choice)
        *seconds = gr_tuning_seconds(tuning, key.data);
    gr_text_release(&key);
    return ok;
}
