/*
 * The model whose checkpoints the checkpoint target reads; a seed of its corpus is one.
 */
#ifndef GR_FUZZ_CHECKPOINT_CASE_H
#define GR_FUZZ_CHECKPOINT_CASE_H

enum { GR_FUZZ_SEED = 7 }; /* of its weights */

static const char gr_fuzz_checkpoint_model[] =
    "format: 1\n"
    "inputs: {image: {shape: [1, 4, 4]}, label: {classes: 3}}\n"
    "nodes:\n"
    "  - {name: fc, op: linear, inputs: image, out_features: 3}\n"
    "  - {name: loss, op: softmax_cross_entropy, inputs: [fc, label]}\n"
    "  - {name: top1, op: accuracy, inputs: [fc, label]}\n"
    "train: {loss: loss, metrics: [top1], batch: 2, optimizer: {sgd: {momentum: 0.9}},\n"
    "        learning_rate: {plateau: {base: 0.1, monitor: top1}}}\n";

#endif
