/*
 * What the command line asked for: one struct for all commands, filled through the option tables
 * (options.h). A command reads the fields of the options that it lists.
 */
#ifndef GR_TOOLS_SETTINGS_H
#define GR_TOOLS_SETTINGS_H

#include "graphrunner.h"

/* --tune; auto: measure where many steps will gain by it, else take what is known. */
enum gr_tune_setting { GR_TUNE_AUTO, GR_TUNE_SET_OFF, GR_TUNE_SET_KNOWN, GR_TUNE_SET_MEASURE };

/* A list of texts; owned by the settings. */
struct gr_words {
    char **items;
    size_t count;
};

struct gr_settings {
    const struct gr_command *command;
    char *const *arguments; /* [n_arguments] that followed its name, borrowed */
    size_t n_arguments;
    struct gr_words operands;

    /* Common to all commands that read a model. */
    struct gr_words sets;
    const char *data;
    int64_t batch, threads, seed; /* 0: not said */
    int precision, kernels;       /* enum gr_precision, enum gr_kernels */
    int tune;                     /* enum gr_tune_setting */
    bool quiet, verbose;

    /* Of single commands. Texts are borrowed from argv; NULL: not said. */
    const char *out, *resume, *weights, *save_weights;
    const char *part, *csv, *inputs, *outputs, *trace, *profile, *node, *layer, *model, *size;
    struct gr_words fetch, confusion;
    struct gr_words only, except, rename, freeze;
    int mode;     /* enum gr_mode */
    int distance; /* enum gr_distance */
    int64_t epochs, steps, kept, watch, warmup, top, first, count, max_corrupt;
    int64_t memory_budget; /* bytes; 0: not said */
    int64_t side, quality, shard_size;
    int keep, order;
    double learning_rate, tolerance;
    bool json, nodes, primitives, no_memory_plan, no_fusion, help;
    bool ten_crop, per_class, together;
};

void gr_settings_release(struct gr_settings *settings);

/* The command line, quoted where a shell needs it; for the caller to free. NULL: out of memory. */
char *gr_settings_command_line(const struct gr_settings *settings);

/* Adds a copy of the first length bytes; false: out of memory. */
bool gr_words_add(struct gr_words *words, const char *text, size_t length);

#endif
