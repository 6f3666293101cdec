/*
 * A kernel on trial; see trial.h.
 */
#include "graph/trial.h"

#include <math.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "graph/arena.h"
#include "graph/memory.h"

bool gr_trial_fits(const struct gr_node *node)
{
    return node->n_inputs <= GR_TRIAL_VALUES && node->n_outputs <= GR_TRIAL_VALUES;
}

struct gr_planning gr_trial_planning(struct gr_trial *t, const struct gr_node *node,
                                     struct gr_backend *backend, enum gr_precision precision)
{
    for (int o = 0; o < node->n_outputs; o++)
        t->dst[o] = &gr_layout_plain;
    return (struct gr_planning){.node = node,
                                .backend = backend,
                                .precision = precision,
                                .src = t->src,
                                .home = t->home,
                                .dst = t->dst,
                                .kernel = &t->kernel};
}

/* ---- memory ------------------------------------------------------------------------------ */

void gr_trial_fill(void *data, size_t bytes)
{
    uint16_t some[4096];
    uint32_t state = 1;
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        state = state * 1664525u + 1013904223u;
        some[i] = (uint16_t)(0x3c00u | (state >> 24 & 0x7fu) | (state >> 31) << 15);
    }
    for (size_t at = 0; at < bytes; at += sizeof some)
        memcpy((char *)data + at, some, bytes - at < sizeof some ? bytes - at : sizeof some);
}

static void *numbers(size_t bytes)
{
    void *data = gr_arena_new(bytes + GR_MEMORY_ALIGN);
    if (data)
        gr_trial_fill(data, bytes);
    return data;
}

static bool take_memory(const struct gr_node *node, struct gr_trial *t)
{
    bool ok = (t->scratch = gr_arena_new(t->kernel.scratch_bytes + GR_MEMORY_ALIGN)) != NULL;
    for (int i = 0; ok && i < node->n_inputs; i++)
        ok = (t->in[i] = numbers(gr_layout_bytes(t->src[i], node->inputs[i]))) != NULL;
    for (int o = 0; ok && o < node->n_outputs; o++)
        ok = (t->out[o] = gr_arena_new(gr_layout_bytes(t->dst[o], node->outputs[o]))) != NULL;
    return ok;
}

static void release_memory(struct gr_trial *t)
{
    for (int i = 0; i < GR_TRIAL_VALUES; i++) {
        gr_arena_free(t->in[i]);
        gr_arena_free(t->out[i]);
        t->in[i] = t->out[i] = NULL;
    }
    gr_arena_free(t->scratch);
    t->scratch = NULL;
}

void gr_trial_release(struct gr_trial *t)
{
    release_memory(t);
    gr_kernel_release(&t->kernel);
    *t = (struct gr_trial){0};
}

/* ---- caches ------------------------------------------------------------------------------ */

enum { SWEEP_BYTES = 96 << 20, LINE = 64 }; /* as much as most processors' last cache */

static volatile unsigned char swept; /* what is read has to go somewhere */

static void read_all(const void *data, size_t bytes)
{
    const unsigned char *at = data;
    unsigned sum = 0;
#pragma omp parallel for reduction(+ : sum) schedule(static)
    for (size_t i = 0; i < bytes; i += LINE)
        sum += at[i];
    swept = (unsigned char)sum;
}

/*
 * Fills the caches with other memory, and then with what is not cold: results and scratch too,
 * which in a program lie where other values lay just before.
 */
static void cool(const struct gr_trial *t, const struct gr_node *node, const void *sweep)
{
    read_all(sweep, SWEEP_BYTES);
    read_all(t->scratch, t->kernel.scratch_bytes);
    for (int o = 0; o < node->n_outputs; o++)
        read_all(t->out[o], gr_layout_bytes(t->dst[o], node->outputs[o]));
    for (int i = 0; i < node->n_inputs; i++)
        if (!(t->cold >> i & 1u))
            read_all(t->in[i], gr_layout_bytes(t->src[i], node->inputs[i]));
}

/* ---- time -------------------------------------------------------------------------------- */

/*
 * In all at most so many times the runs that were asked for. By how much a run may be slower than
 * the best so far and count, though a thread lost its processor for a moment; and runs that differ
 * by more were disturbed.
 */
enum { ATTEMPTS = 4 };
static const double alike = 1.05, spread = 1.25;

/* How often a thread of the process had to leave its processor to another program. */
static long switches(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? usage.ru_nivcsw : 0;
}

/* Returns when all threads have a processor: one that lost its own before would not count. */
static void gather(void)
{
#pragma omp parallel
    {
#pragma omp barrier
    }
}

static bool run_once(const struct gr_trial *t, const struct gr_node *node,
                     const struct gr_buffers *buffers, const void *sweep, double *seconds,
                     bool *calm, struct gr_error *err)
{
    const struct gr_run run = {0};
    if (sweep)
        cool(t, node, sweep);
    gather();
    const long before = switches();
    const double start = gr_seconds();
    const bool ok = t->kernel.run(&t->kernel, node, buffers, &run, err);
    *seconds = gr_seconds() - start;
    *calm = switches() == before;
    return ok;
}

bool gr_trial_time(struct gr_trial *t, const struct gr_node *node, int runs, double hopeless,
                   double *seconds, struct gr_error *err)
{
    void *sweep = t->cold ? numbers(SWEEP_BYTES) : NULL;
    bool ok =
        (take_memory(node, t) && (sweep || !t->cold)) || gr_fail_memory(err, "measuring kernels");
    const struct gr_buffers buffers = {t->in, t->out, t->scratch};
    ok = ok && (!t->kernel.bind || t->kernel.bind(&t->kernel, &buffers, err));
    double first = 0, took = 0, best = HUGE_VAL, worst = 0;
    int counted = 0;
    bool calm, ever_calm = false;
    ok = ok && run_once(t, node, &buffers, sweep, &first, &calm, err);
    for (int r = 1; ok && first <= hopeless && counted < runs - 1 && r < ATTEMPTS * runs; r++) {
        ok = run_once(t, node, &buffers, sweep, &took, &calm, err);
        counted += calm || took < alike * fmin(first, best);
        ever_calm = ever_calm || calm;
        best = fmin(best, took);
        worst = fmax(worst, took);
    }
    *seconds = best < HUGE_VAL ? best : first;
    t->disturbed = !ever_calm && worst > spread * best;
    release_memory(t);
    gr_arena_free(sweep);
    return ok;
}
