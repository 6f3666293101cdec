/*
 * Overrides, and what values can hold: lines "KEY=VALUE" over a small model with blocks, variables
 * and every section.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* setenv */
#endif
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "model/model_file.h"

enum { SETS_MOST = 8 };

static const char model[] =
    "format: 1\n"
    "name: small\n"
    "vars: {classes: 4, width: 3, many: [1, 2], flag: true}\n"
    "inputs:\n"
    "  image: {shape: [3, 8, 8]}\n"
    "  label: {classes: $(classes)}\n"
    "blocks:\n"
    "  unit:\n"
    "    params: {channels: required, stride: 1, short: false}\n"
    "    inputs: [x]\n"
    "    nodes:\n"
    "      - {name: conv, op: conv, inputs: x, out_channels: $(channels * 2), kernel: 3, pad: 1,\n"
    "         stride: $(stride)}\n"
    "      - {name: side, op: relu, when: $(short)}\n"
    "      - {name: act, op: relu}\n"
    "nodes:\n"
    "  - {name: u1, block: unit, inputs: image, channels: $(width)}\n"
    "  - {name: u2.b, block: unit, channels: 2, short: true}\n"
    "  - {name: fc, op: linear, out_features: $(classes), weight_init: {gaussian: {std: 0.1}}}\n"
    "  - {name: loss, op: softmax_cross_entropy, inputs: [fc, label]}\n"
    "  - {name: top1, op: accuracy, inputs: [fc, label]}\n"
    "train: {loss: loss, metrics: [top1], batch: 2, optimizer: sgd, learning_rate: 0.1}\n"
    "data:\n"
    "  train: {synthetic: {count: 8}, transform: [flip, scale]}\n";

static struct gr_model_file *read(const char *text, const struct gr_model_options *options)
{
    struct gr_error err = {0};
    return gr_model_file_parse(gr_standard_ops(), text, strlen(text), "fuzz.yaml", options, NULL,
                               NULL, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *sets[SETS_MOST];
    struct gr_model_options options = {.sets = sets};
    char *text = gr_fuzz_text((struct gr_fuzz_bytes){data, size});
    for (char *line = strtok(text, "\n"); line && options.n_sets < SETS_MOST;
         line = strtok(NULL, "\n"))
        sets[options.n_sets++] = line;
    setenv("GR_FUZZ", "3", 1);
    struct gr_model_file *file = read(model, &options);
    struct gr_model_file *again = file ? read(file->resolved, NULL) : NULL;
    if (file)
        gr_fuzz_expect(again && strcmp(again->resolved, file->resolved) == 0,
                       "a resolved model stands for itself");
    gr_model_file_free(again);
    gr_model_file_free(file);
    free(text);
    return 0;
}
