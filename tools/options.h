/*
 * The command line as tables. A row says what an option is called, what it takes, where its value
 * goes and what it is for; parsing, defaults, error messages and the help pages all read the row.
 *
 *     --name VALUE   --name=VALUE   -o VALUE   --flag   -- (what follows are operands)
 *
 * Options may stand anywhere, before operands and after. "-" is an operand.
 */
#ifndef GR_TOOLS_OPTIONS_H
#define GR_TOOLS_OPTIONS_H

#include "settings.h"

/* What an option takes, and the type of its field in struct gr_settings. */
enum gr_option_type {
    GR_OPTION_FLAG,   /* bool */
    GR_OPTION_INT,    /* int64_t, within min and max */
    GR_OPTION_NUMBER, /* double, within min and max */
    GR_OPTION_BYTES,  /* int64_t, at least 1: "900M" (10^6), "1.5GiB" (2^30), "800000" */
    GR_OPTION_CHOICE, /* int: the index into choices */
    GR_OPTION_TEXT,   /* const char * */
    GR_OPTION_WORD,   /* struct gr_words: one more each time */
    GR_OPTION_WORDS,  /* struct gr_words: the same, several separated by commas */
};

struct gr_option {
    const char *name;
    char letter; /* "-o" for short, or 0 */
    enum gr_option_type type;
    size_t offset;
    const char *value;          /* what stands for it in the help: "N" */
    double min, max;            /* inclusive; both 0: any */
    const char *const *choices; /* ends with NULL */
    const char *def;            /* the default, as written on a command line; or NULL */
    bool required;
    const char *doc;
};

#define GR_FIELD(name) offsetof(struct gr_settings, name)

/* Rows that several commands have. */
#define GR_WEIGHTS_OPTION(needed)                                                                  \
    {                                                                                              \
        .name = "weights", .type = GR_OPTION_TEXT, .offset = GR_FIELD(weights), .value = "FILE",   \
        .required = needed, .doc = "trained weights, as safetensors"                               \
    }
#define GR_JSON_OPTION                                                                             \
    {                                                                                              \
        .name = "json", .type = GR_OPTION_FLAG, .offset = GR_FIELD(json),                          \
        .doc = "print the result as JSON"                                                          \
    }
#define GR_TEN_CROP_OPTION                                                                         \
    {                                                                                              \
        .name = "ten-crop", .type = GR_OPTION_FLAG, .offset = GR_FIELD(ten_crop),                  \
        .doc = "average over centre, corners and their reflections, as AlexNet was tested"         \
    }
#define GR_MODE_OPTION(usual)                                                                      \
    {                                                                                              \
        .name = "mode", .type = GR_OPTION_CHOICE, .offset = GR_FIELD(mode),                        \
        .value = "infer|train", .choices = gr_modes, .def = usual,                                 \
        .doc = "inference, or a whole training step"                                               \
    }
#define GR_NO_MEMORY_PLAN_OPTION                                                                   \
    {                                                                                              \
        .name = "no-memory-plan", .type = GR_OPTION_FLAG, .offset = GR_FIELD(no_memory_plan),      \
        .doc = "give every value memory of its own; same results"                                  \
    }
#define GR_MEMORY_BUDGET_OPTION(more)                                                              \
    {                                                                                              \
        .name = "memory-budget", .type = GR_OPTION_BYTES, .offset = GR_FIELD(memory_budget),       \
        .value = "BYTES",                                                                          \
        .doc = "fit a training step into 900M or 1.5G by computing some again" more                \
    }
#define GR_MAX_CORRUPT_OPTION                                                                      \
    {                                                                                              \
        .name = "max-corrupt", .type = GR_OPTION_INT, .offset = GR_FIELD(max_corrupt),             \
        .value = "N", .min = 0, .max = 1e9, .def = "100", .doc = "unreadable images to bear with"  \
    }

/* A table ends with a row whose name is NULL. */
extern const struct gr_option gr_common_options[];
extern const struct gr_option gr_help_option[];
extern const char *const gr_modes[], *const gr_precisions[]; /* end with NULL */
extern const char *const gr_kernel_sets[];

/*
 * Reads the arguments that follow the command's name into settings, which must be zero but for
 * command. Says what is wrong on standard error; the settings are to be released in any case.
 */
bool gr_options_parse(struct gr_settings *settings, char **arguments, size_t count);

#endif
