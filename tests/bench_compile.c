/*
 * Times the way from a model file to the first step, on generated models (how does it grow with the
 * number of nodes?) or on a file. Not a test, since it measures:
 *
 *   build/bench_compile                        every family, of 1,000 nodes and more
 *   build/bench_compile mixed 10000            one
 *   build/bench_compile mixed 10000 --yaml     writes that model instead
 *   build/bench_compile models/alexnet.yaml    a training step of this file
 *
 * A family is a way of wiring nodes: one after the other, residual blocks, inception-like branches,
 * one value read by all, values read again much later. Tensors are tiny, so that what counts is the
 * number of nodes.
 */
#define _DEFAULT_SOURCE
#include "graphrunner.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

enum { CHANNELS = 8, WINDOW = 6 };

/* A model file in the making. */
struct writer {
    FILE *file;
    int nodes, most;
    char last[32]; /* the node written last */
};

__attribute__((format(printf, 3, 4))) static void add(struct writer *w, const char *op,
                                                      const char *format, ...)
{
    va_list args;
    fprintf(w->file, "  - {name: n%d, op: %s", w->nodes, op);
    va_start(args, format);
    vfprintf(w->file, format, args); /* may name the node written last */
    va_end(args);
    fputs("}\n", w->file);
    snprintf(w->last, sizeof w->last, "n%d", w->nodes++);
}

static void add_conv(struct writer *w, const char *input, int kernel)
{
    add(w, "conv", ", inputs: %s, out_channels: %d, kernel: %d, pad: %d, bias: false", input,
        CHANNELS, kernel, kernel / 2);
}

/* ---- families ---------------------------------------------------------------------------- */

static void write_chain(struct writer *w)
{
    while (w->nodes < w->most)
        add(w, w->nodes % 2 ? "tanh" : "relu", "%s", "");
}

static void write_convolutions(struct writer *w)
{
    while (w->nodes < w->most) {
        add(w, "conv", ", out_channels: %d, kernel: 3, pad: 1", CHANNELS);
        add(w, "relu", "%s", "");
    }
}

static void write_residual_block(struct writer *w)
{
    char input[32];
    snprintf(input, sizeof input, "%s", w->last);
    add_conv(w, input, 3);
    add(w, "batch_norm", "%s", "");
    add(w, "relu", "%s", "");
    add_conv(w, w->last, 3);
    add(w, "batch_norm", "%s", "");
    add(w, "add", ", inputs: [%s, %s]", w->last, input);
    add(w, "relu", "%s", "");
}

static void write_residual(struct writer *w)
{
    while (w->nodes < w->most)
        write_residual_block(w);
}

/* Three branches, joined and brought back to the usual channels. */
static void write_inception_block(struct writer *w)
{
    char input[32], branches[3][32];
    snprintf(input, sizeof input, "%s", w->last);
    for (int i = 0; i < 3; i++) {
        add_conv(w, input, 1);
        add(w, "relu", "%s", "");
        add_conv(w, w->last, 2 * i + 1);
        add(w, "relu", "%s", "");
        snprintf(branches[i], sizeof branches[i], "%s", w->last);
    }
    add(w, "concat", ", inputs: [%s, %s, %s]", branches[0], branches[1], branches[2]);
    add_conv(w, w->last, 1);
}

static void write_inception(struct writer *w)
{
    while (w->nodes < w->most)
        write_inception_block(w);
}

/* One value that every second node reads, and one sum of all that comes of it. */
static void write_fan(struct writer *w)
{
    const int count = w->most / 2;
    char root[32];
    add(w, "relu", "%s", "");
    snprintf(root, sizeof root, "%s", w->last);
    for (int i = 0; i < count; i++) {
        add(w, "sigmoid", ", inputs: %s", root);
        add(w, "tanh", "%s", "");
    }
    fprintf(w->file, "  - {name: n%d, op: add, inputs: [", w->nodes);
    for (int i = 0; i < count; i++)
        fprintf(w->file, "%sn%d", i ? ", " : "", 2 * i + 2);
    fputs("]}\n", w->file);
    snprintf(w->last, sizeof w->last, "n%d", w->nodes++);
}

/* Values that are read again much later: lifetimes of every length at once. */
static void write_skips(struct writer *w)
{
    add(w, "relu", "%s", "");
    for (unsigned state = 1; w->nodes < w->most;) {
        state = state * 1664525u + 1013904223u;
        const int back = (int)((state >> 8) % (unsigned)w->nodes);
        add(w, "add", ", inputs: [%s, n%d]", w->last, back);
        add(w, "relu", "%s", "");
    }
}

static void write_mixed(struct writer *w)
{
    while (w->nodes < w->most) {
        write_residual_block(w);
        write_inception_block(w);
        add(w, "dropout", ", p: 0.1");
        add(w, "lrn", ", size: 5");
        add(w, "max_pool", ", kernel: 3, stride: 1, pad: 1");
    }
}

static const struct family {
    const char *name;
    void (*write)(struct writer *w);
} families[] = {
    {"chain", write_chain},       {"convolutions", write_convolutions},
    {"residual", write_residual}, {"inception", write_inception},
    {"fan", write_fan},           {"skips", write_skips},
    {"mixed", write_mixed},
};

enum { N_FAMILIES = sizeof families / sizeof *families };

static void write_model(FILE *file, const struct family *family, int nodes)
{
    struct writer w = {.file = file, .most = nodes, .last = "image"};
    fprintf(file,
            "format: 1\nname: %s\ninputs:\n  image: {shape: [%d, %d, %d]}\n  label: {classes: 4}\n"
            "nodes:\n",
            family->name, CHANNELS, WINDOW, WINDOW);
    family->write(&w);
    add(&w, "linear", ", out_features: 4");
    fprintf(file, "  - {name: loss, op: softmax_cross_entropy, inputs: [%s, label]}\n", w.last);
    fputs("train:\n  loss: loss\n  batch: 2\n  optimizer: {sgd: {momentum: 0.9}}\n"
          "  learning_rate: 0.01\n",
          file);
}

/* ---- measuring --------------------------------------------------------------------------- */

static int fail(const struct gr_error *err)
{
    fprintf(stderr, "bench_compile: %s\n", err->message);
    return 1;
}

static void log_line(void *user, enum gr_log_level level, const char *text)
{
    (void)user;
    if (level <= GR_LOG_WARNING)
        fprintf(stderr, "%s\n", text);
}

static int time_plan(struct gr_model *model, enum gr_mode mode)
{
    struct gr_error err = {0};
    const struct gr_plan_options options = {.mode = mode, .update = mode == GR_TRAIN};
    const double start = gr_seconds();
    struct gr_plan *plan = gr_plan_new(model, &options, &err);
    const double built = gr_seconds();
    if (!plan || !gr_plan_run(plan, &err)) {
        gr_plan_free(plan);
        return fail(&err);
    }
    const double run = gr_seconds();
    const struct gr_memory_report memory = gr_plan_memory(plan);
    printf("  %7zu  %7.3f  %7.3f  %5.3f", gr_plan_node_count(plan), built - start, run - built,
           (double)memory.planned / (double)memory.lower_bound);
    gr_plan_free(plan);
    return 0;
}

static int time_model(const struct family *family, int nodes)
{
    char path[] = "/tmp/bench_compile_XXXXXX";
    struct gr_error err = {0};
    const int fd = mkstemp(path);
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (!file)
        return 1;
    write_model(file, family, nodes);
    fclose(file);
    struct gr_context *context =
        gr_context_new(gr_standard_ops(), &(struct gr_context_options){.log = log_line}, &err);
    const double start = gr_seconds();
    struct gr_model *model = context ? gr_model_load(context, path, NULL, &err) : NULL;
    int status = model ? 0 : fail(&err);
    if (model)
        printf("%-12s  %7d  %7.3f", family->name, nodes, gr_seconds() - start);
    for (int mode = GR_INFER; status == 0 && mode <= GR_TRAIN; mode++)
        status = time_plan(model, (enum gr_mode)mode);
    putchar('\n');
    fflush(stdout);
    gr_model_free(model);
    gr_context_free(context);
    remove(path);
    return status;
}

static int time_file(const char *path)
{
    struct gr_error err = {0};
    const struct gr_plan_options options = {.mode = GR_TRAIN, .update = true};
    double times[5] = {gr_seconds()};
    struct gr_context *context =
        gr_context_new(gr_standard_ops(), &(struct gr_context_options){.log = log_line}, &err);
    struct gr_model *model = context ? gr_model_load(context, path, NULL, &err) : NULL;
    times[1] = gr_seconds();
    struct gr_plan *plan = model ? gr_plan_new(model, &options, &err) : NULL;
    times[2] = gr_seconds();
    bool ok = plan != NULL;
    for (int i = 3; ok && i < 5; i++) {
        ok = gr_plan_run(plan, &err);
        times[i] = gr_seconds();
    }
    if (ok)
        printf("%s: load %.3f s, plan %.3f s, first step %.3f s, second step %.3f s\n", path,
               times[1] - times[0], times[2] - times[1], times[3] - times[2], times[4] - times[3]);
    gr_plan_free(plan);
    gr_model_free(model);
    gr_context_free(context);
    return ok ? 0 : fail(&err);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strstr(argv[1], ".yaml"))
        return time_file(argv[1]);
    static const int sizes[] = {1000, 10000, 20000, 40000, 80000};
    const bool yaml = argc > 3 && strcmp(argv[3], "--yaml") == 0;
    if (!yaml)
        printf("%-12s  %7s  %7s  %7s  %7s  %7s  %5s  %7s  %7s  %7s  %5s\n", "family", "nodes",
               "load s", "infer", "plan s", "run s", "bound", "train", "plan s", "run s", "bound");
    int status = 0;
    for (int f = 0; f < N_FAMILIES; f++) {
        if (argc > 1 && strcmp(argv[1], families[f].name) != 0 && strcmp(argv[1], "all") != 0)
            continue;
        if (yaml)
            return write_model(stdout, &families[f], atoi(argv[2])), 0;
        if (argc > 2)
            status |= time_model(&families[f], atoi(argv[2]));
        for (size_t s = 0; argc <= 2 && s < sizeof sizes / sizeof *sizes; s++)
            status |= time_model(&families[f], sizes[s]);
    }
    return status;
}
