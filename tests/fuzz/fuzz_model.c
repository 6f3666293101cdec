/*
 * A model file: read, checked, its shapes inferred; what is sound must read the same once resolved.
 * Small ones are compiled as well, for inference and for a training step; nothing is run.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* setenv */
#endif
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "model/model_file.h"

enum { BATCH = 2, NODES_MOST = 24, ELEMENTS_MOST = 1 << 18 };

static void ignore(void *user, enum gr_log_level level, const char *text)
{
    (void)user, (void)level;
    gr_fuzz_expect(!strchr(text, 0x1b), "no escape character in a diagnostic");
}

/* Few nodes, and little memory for their values. */
static bool is_small(const struct gr_model_file *file)
{
    struct gr_error err = {0};
    if (file->n_nodes > NODES_MOST)
        return false;
    struct gr_graph *graph = gr_model_file_graph(file, BATCH, true, &err);
    int64_t total = 0;
    for (size_t v = 0; graph && v < graph->n_values && total <= ELEMENTS_MOST; v++) {
        const int64_t count = gr_shape_count(&graph->values[v]->shape);
        total += count < ELEMENTS_MOST ? count : ELEMENTS_MOST;
    }
    const bool small = graph && total <= ELEMENTS_MOST;
    gr_graph_free(graph);
    return small;
}

static void compile(struct gr_model *model, enum gr_mode mode)
{
    const struct gr_plan_options options = {.mode = mode, .batch = BATCH, .update = mode};
    struct gr_error err = {0};
    gr_plan_free(gr_plan_new(model, &options, &err));
}

/* The resolved text is a model file and stands for itself. */
static void read_again(struct gr_context *context, const struct gr_model_file *file)
{
    struct gr_error err = {0};
    const size_t length = strlen(file->resolved);
    const struct gr_fuzz_bytes text = {(const uint8_t *)file->resolved, length};
    struct gr_model *model = gr_model_load(context, gr_fuzz_file(0, text), NULL, &err);
    gr_fuzz_expect(model != NULL, "a resolved model can be read");
    gr_fuzz_expect(strcmp(gr_model_resolved(model), file->resolved) == 0,
                   "a resolved model stands for itself");
    if (is_small(file)) {
        compile(model, GR_INFER);
        compile(model, GR_TRAIN);
    }
    gr_model_free(model);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct gr_context *context;
    struct gr_error err = {0};
    if (!context) {
        setenv("GR_FUZZ", "3", 1);
        const struct gr_context_options options = {.threads = 1, .kernels = GR_KERNELS_AUTO};
        context = gr_context_new(gr_standard_ops(), &options, &err);
        gr_fuzz_expect(context != NULL, "there is a context");
    }
    struct gr_model_file *file = gr_model_file_parse(gr_standard_ops(), (const char *)data, size,
                                                     "fuzz.yaml", NULL, ignore, NULL, &err);
    if (file)
        read_again(context, file);
    gr_model_file_free(file);
    return 0;
}
