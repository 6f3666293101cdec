/*
 * The autotuner; see tune.h.
 */
#include "graph/tune.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "graph/arena.h"
#include "graph/memory.h"

/* Below this many multiply-accumulates there is nothing to win; this much faster wins. */
static const double least_macs = 5e6, margin = 0.95;

enum { ROUNDS = 2, RUNS = 3, MOST_VALUES = 16 };

/* A kernel on trial, with layouts and memory of its own. */
struct trial {
    struct gr_kernel kernel;
    const struct gr_layout *src[MOST_VALUES], *home[MOST_VALUES], *dst[MOST_VALUES];
    void *in[MOST_VALUES], *out[MOST_VALUES], *scratch;
};

static void release_memory(struct trial *t)
{
    for (int i = 0; i < MOST_VALUES; i++) {
        gr_arena_free(t->in[i]);
        gr_arena_free(t->out[i]);
        t->in[i] = t->out[i] = NULL;
    }
    gr_arena_free(t->scratch);
    t->scratch = NULL;
}

static void trial_release(struct trial *t)
{
    release_memory(t);
    if (t->kernel.free_state)
        t->kernel.free_state(t->kernel.state);
    *t = (struct trial){0};
}

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

/* Small numbers of either sign, in f32 and in bf16 alike. */
static void *numbers(size_t bytes)
{
    uint16_t some[4096];
    uint32_t state = 1;
    char *data = gr_arena_new(bytes + GR_MEMORY_ALIGN);
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        state = state * 1664525u + 1013904223u;
        some[i] = (uint16_t)(0x3c00u | (state >> 24 & 0x7fu) | (state >> 31) << 15);
    }
    for (size_t at = 0; data && at < bytes; at += sizeof some)
        memcpy(data + at, some, bytes - at < sizeof some ? bytes - at : sizeof some);
    return data;
}

static bool take_memory(const struct gr_node *node, struct trial *t)
{
    bool ok = (t->scratch = gr_arena_new(t->kernel.scratch_bytes + GR_MEMORY_ALIGN)) != NULL;
    for (int i = 0; ok && i < node->n_inputs; i++)
        ok = (t->in[i] = numbers(gr_layout_bytes(t->src[i], node->inputs[i]))) != NULL;
    for (int o = 0; ok && o < node->n_outputs; o++)
        ok = (t->out[o] = gr_arena_new(gr_layout_bytes(t->dst[o], node->outputs[o]))) != NULL;
    return ok;
}

/* The best of some runs; the first, which warms up, is enough if it is hopeless beside `best`. */
static bool time_kernel(const struct gr_node *node, struct trial *t, double best, double *seconds,
                        struct gr_error *err)
{
    const struct gr_run run = {0};
    bool ok = take_memory(node, t) || gr_fail_memory(err, "measuring kernels");
    const struct gr_buffers buffers = {t->in, t->out, t->scratch};
    ok = ok && (!t->kernel.bind || t->kernel.bind(&t->kernel, &buffers, err));
    for (int r = 0; ok && r < RUNS; r++) {
        const double start = gr_seconds();
        ok = t->kernel.run(&t->kernel, node, &buffers, &run, err);
        const double took = gr_seconds() - start;
        *seconds = r < 2 || took < *seconds ? took : *seconds;
        if (r == 0 && took > 4 * best)
            break;
    }
    release_memory(t);
    return ok;
}

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
    struct trial t = {.src = {from}, .dst = {to}};
    struct gr_planning planning = {.node = &node,
                                   .backend = program->backend,
                                   .src = t.src,
                                   .home = t.home,
                                   .dst = t.dst,
                                   .kernel = &t.kernel};
    double took = 0;
    const bool ok = from == to ||
                    (node.op->plan(&planning, err) && time_kernel(&node, &t, HUGE_VAL, &took, err));
    *seconds += took;
    trial_release(&t);
    return ok;
}

/* The reorders of the inputs. What is derived from parameters alone is reordered once, not now. */
static bool time_inputs(struct gr_program *program, const struct gr_node *node,
                        const struct gr_layout *const *src, const struct trial *t, double *seconds,
                        struct gr_error *err)
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

/* Plans a candidate and times it for the chain; kernel.run stays NULL where there is none such. */
static bool try_candidate(struct gr_program *program, const struct gr_node *node,
                          const struct gr_layout *const *src, const char *name,
                          const struct trial *usual, double best, struct trial *t, double *seconds,
                          struct gr_error *err)
{
    struct gr_planning planning = {.node = node,
                                   .backend = program->backend,
                                   .precision = program->options.precision,
                                   .choice = name,
                                   .src = t->src,
                                   .home = t->home,
                                   .dst = t->dst,
                                   .kernel = &t->kernel};
    for (int i = 0; i < node->n_inputs; i++)
        t->src[i] = src[i];
    for (int o = 0; o < node->n_outputs; o++)
        t->dst[o] = &gr_layout_plain;
    if (!node->op->plan(&planning, err))
        return false;
    if (!t->kernel.run)
        return true;
    if (!time_kernel(node, t, best, seconds, err) ||
        (*seconds < best && !time_inputs(program, node, src, t, seconds, err)))
        return false;
    for (int o = 0; usual->kernel.run && *seconds < best && o < node->n_outputs; o++)
        if (!time_reorder(program, node->outputs[o], t->dst[o],
                          wanted(program, node->outputs[o], usual->dst[o]), seconds, err))
            return false;
    return true;
}

/* "direct 93.0 ms, winograd 53.4 ms". */
static void report(const struct gr_program *program, const struct gr_node *node,
                   const char *const *names, const double *seconds, int count)
{
    struct gr_text text = {0};
    for (int k = 0; k < count; k++)
        if (seconds[k] < HUGE_VAL)
            gr_text_add(&text, "%s%s %.2f ms", text.length ? ", " : "", names[k], 1e3 * seconds[k]);
    if (text.data)
        gr_tuning_report(program->options.tuning, node->name, text.data);
    gr_text_release(&text);
}

/*
 * The candidates in turn, and all once more, since the machine's speed changes by the minute: each
 * counts with its better round.
 */
static bool measure(struct gr_program *program, const struct gr_node *node,
                    const struct gr_layout *const *src, const char *const *names, int count,
                    const char **choice, double *best, struct gr_error *err)
{
    struct trial usual = {0};
    double seconds[GR_MAX_CANDIDATES];
    bool ok = true;
    for (int k = 0; k < count; k++)
        seconds[k] = HUGE_VAL;
    *best = HUGE_VAL;
    for (int r = 0; ok && r < ROUNDS; r++)
        for (int k = 0; ok && k < count; k++) {
            struct trial other = {0}, *t = k || r ? &other : &usual;
            double took = 0;
            if (r && seconds[k] > 2 * *best)
                continue;
            ok = try_candidate(program, node, src, names[k], &usual, *best, t, &took, err);
            if (ok && t->kernel.run)
                seconds[k] = fmin(seconds[k], took);
            *best = fmin(*best, seconds[k]);
            trial_release(&other);
        }
    trial_release(&usual);
    if (ok)
        report(program, node, names, seconds, count);
    *choice = names[0];
    *best = seconds[0];
    for (int k = 1; ok && k < count; k++)
        if (seconds[k] < (*best == seconds[0] ? margin : 1) * *best) {
            *best = seconds[k];
            *choice = names[k];
        }
    return ok;
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
        node->n_inputs > MOST_VALUES || node->n_outputs > MOST_VALUES)
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
    if (ok && !*choice && gr_tuning_measures(tuning)) {
        double took;
        gr_tuning_report(tuning, node->name, NULL);
        ok = measure(program, node, src, names, count, choice, &took, err) &&
             gr_tuning_record(tuning, key.data, *choice, took, true, err);
    }
    if (ok && *choice)
        *seconds = gr_tuning_seconds(tuning, key.data);
    gr_text_release(&key);
    return ok;
}
