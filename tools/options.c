/*
 * Reading a command line by the tables; see options.h.
 */
#include "options.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "terminal.h"

const char *const gr_precisions[] = {
    [GR_PRECISION_F32] = "f32", [GR_PRECISION_BF16] = "bf16", NULL};
const char *const gr_kernel_sets[] = {
    [GR_KERNELS_AUTO] = "auto", [GR_KERNELS_OPENBLAS] = "openblas", NULL};
static const char *const tunes[] = {[GR_TUNE_AUTO] = "auto",
                                    [GR_TUNE_SET_OFF] = "off",
                                    [GR_TUNE_SET_KNOWN] = "known",
                                    [GR_TUNE_SET_MEASURE] = "measure",
                                    NULL};
const char *const gr_modes[] = {[GR_INFER] = "infer", [GR_TRAIN] = "train", NULL};

const struct gr_option gr_common_options[] = {
    {.name = "set",
     .type = GR_OPTION_WORD,
     .offset = GR_FIELD(sets),
     .value = "KEY=VALUE",
     .doc = "change a model key: train.batch=64; repeatable"},
    {.name = "data",
     .type = GR_OPTION_TEXT,
     .offset = GR_FIELD(data),
     .value = "DIR",
     .doc = "where relative data paths start"},
    {.name = "batch",
     .type = GR_OPTION_INT,
     .offset = GR_FIELD(batch),
     .value = "N",
     .min = 1,
     .max = 1e6,
     .doc = "images a step"},
    {.name = "threads",
     .type = GR_OPTION_INT,
     .offset = GR_FIELD(threads),
     .value = "N",
     .min = 1,
     .max = 4096,
     .doc = "threads (default: the cores this process may use)"},
    {.name = "precision",
     .type = GR_OPTION_CHOICE,
     .offset = GR_FIELD(precision),
     .value = "f32|bf16",
     .choices = gr_precisions,
     .def = "f32",
     .doc = "the numbers to compute with"},
    {.name = "kernels",
     .type = GR_OPTION_CHOICE,
     .offset = GR_FIELD(kernels),
     .value = "auto|openblas",
     .choices = gr_kernel_sets,
     .def = "auto",
     .doc = "oneDNN where it is fast, or OpenBLAS"},
    {.name = "tune",
     .type = GR_OPTION_CHOICE,
     .offset = GR_FIELD(tune),
     .value = "auto|off|known|measure",
     .choices = tunes,
     .def = "auto",
     .doc = "take the fastest kernels: those found before on this machine (known), or find them "
            "(measure; bench and train do); off: the usual ones"},
    {.name = "seed",
     .type = GR_OPTION_INT,
     .offset = GR_FIELD(seed),
     .value = "N",
     .min = 0,
     .max = 4294967295.0,
     .doc = "of all that is random (0: as the model says)"},
    {.name = "quiet",
     .letter = 'q',
     .type = GR_OPTION_FLAG,
     .offset = GR_FIELD(quiet),
     .doc = "results, warnings and errors only"},
    {.name = "verbose",
     .letter = 'v',
     .type = GR_OPTION_FLAG,
     .offset = GR_FIELD(verbose),
     .doc = "tell more of what is done"},
    {.name = NULL},
};

const struct gr_option gr_help_option[] = {
    {.name = "help",
     .letter = 'h',
     .type = GR_OPTION_FLAG,
     .offset = GR_FIELD(help),
     .doc = "this page"},
    {.name = NULL},
};

enum { TABLES = 3, MOST_NAMES = 64 };

/* The tables that a command reads its options from. */
static void tables_of(const struct gr_command *command, const struct gr_option *tables[TABLES])
{
    tables[0] = command->options;
    tables[1] = command->no_common ? NULL : gr_common_options;
    tables[2] = gr_help_option;
}

static bool misused(const struct gr_settings *settings, const char *format, ...)
    GR_TOOL_PRINTF(2, 3);

static bool misused(const struct gr_settings *settings, const char *format, ...)
{
    char message[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    gr_tool_fail(GR_ERR_USAGE, "%s: %s", settings->command->name, message);
    fprintf(stderr, "try 'graph-runner %s --help'\n", settings->command->name);
    return false;
}

/* ---- values ------------------------------------------------------------------------------ */

/* The text as a number, which must be the whole of it. */
static bool read_number(const char *text, bool integer, double *number, int64_t *whole)
{
    char *end = NULL;
    errno = 0;
    if (integer)
        *number = (double)(*whole = strtoll(text, &end, 10));
    else
        *number = strtod(text, &end);
    return end != text && !*end && errno == 0 && isfinite(*number) && *text != ' ';
}

static bool store_number(const struct gr_settings *settings, const struct gr_option *option,
                         const char *text, void *field)
{
    const bool integer = option->type == GR_OPTION_INT;
    double number = 0;
    int64_t whole = 0;
    if (!read_number(text, integer, &number, &whole))
        return misused(settings, "--%s: '%s' is not %s", option->name, text,
                       integer ? "an integer" : "a number");
    if ((option->min != 0 || option->max != 0) && (number < option->min || number > option->max))
        return misused(settings, "--%s: %s is not within %.10g to %.10g", option->name, text,
                       option->min, option->max);
    if (integer)
        *(int64_t *)field = whole;
    else
        *(double *)field = number;
    return true;
}

/* 900M, 1.5G, 800KiB: K, M and G are thousands, Ki, Mi and Gi 1024; B may follow. */
static bool store_bytes(const struct gr_settings *settings, const struct gr_option *option,
                        const char *text, int64_t *field)
{
    static const char prefixes[] = "KMGT";
    char *end = NULL;
    errno = 0;
    double bytes = isdigit((unsigned char)*text) ? strtod(text, &end) : 0;
    if (end && *end && *end != 'B') {
        const char *prefix = strchr(prefixes, toupper((unsigned char)*end));
        const bool binary = prefix && end[1] == 'i';
        bytes *= prefix ? pow(binary ? 1024 : 1000, (double)(prefix - prefixes + 1)) : 0;
        end += prefix ? 1 + binary : 0;
    }
    if (end && *end == 'B')
        end++;
    if (!end || *end || errno != 0 || !(bytes >= 1 && bytes < 9e18))
        return misused(settings, "--%s: '%s' is not a number of bytes, such as 900M or 1.5GiB",
                       option->name, text);
    *field = (int64_t)bytes;
    return true;
}

static bool store_choice(const struct gr_settings *settings, const struct gr_option *option,
                         const char *text, void *field)
{
    size_t count = 0;
    while (option->choices[count]) {
        if (strcmp(option->choices[count], text) == 0) {
            *(int *)field = (int)count;
            return true;
        }
        count++;
    }
    const char *near = gr_nearest(text, option->choices, count);
    return misused(settings, "--%s: '%s' is not one of %s%s%s%s", option->name, text, option->value,
                   near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static bool store_words(const struct gr_settings *settings, const struct gr_option *option,
                        const char *text, struct gr_words *words)
{
    for (;;) {
        const size_t length = option->type == GR_OPTION_WORDS ? strcspn(text, ",") : strlen(text);
        if (!length)
            return misused(settings, "--%s: a name is empty", option->name);
        if (!gr_words_add(words, text, length))
            return misused(settings, "out of memory");
        if (!text[length])
            return true;
        text += length + 1;
    }
}

static bool store(struct gr_settings *settings, const struct gr_option *option, const char *text)
{
    void *field = (char *)settings + option->offset;
    switch (option->type) {
    case GR_OPTION_FLAG:
        *(bool *)field = true;
        return true;
    case GR_OPTION_INT:
    case GR_OPTION_NUMBER:
        return store_number(settings, option, text, field);
    case GR_OPTION_BYTES:
        return store_bytes(settings, option, text, field);
    case GR_OPTION_CHOICE:
        return store_choice(settings, option, text, field);
    case GR_OPTION_TEXT:
        if (!*text)
            return misused(settings, "--%s: the value is empty", option->name);
        *(const char **)field = text;
        return true;
    case GR_OPTION_WORD:
    case GR_OPTION_WORDS:
        return store_words(settings, option, text, field);
    }
    return false;
}

/* ---- arguments --------------------------------------------------------------------------- */

static const struct gr_option *find(const struct gr_command *command, const char *name,
                                    size_t length)
{
    const struct gr_option *tables[TABLES];
    tables_of(command, tables);
    for (int t = 0; t < TABLES; t++)
        for (const struct gr_option *row = tables[t]; row && row->name; row++)
            if ((strlen(row->name) == length && memcmp(row->name, name, length) == 0) ||
                (row->letter && length == 1 && name[0] == row->letter))
                return row;
    return NULL;
}

static bool unknown(const struct gr_settings *settings, const char *argument)
{
    const struct gr_option *tables[TABLES];
    const char *names[MOST_NAMES];
    char word[64];
    size_t count = 0;
    tables_of(settings->command, tables);
    for (int t = 0; t < TABLES; t++)
        for (const struct gr_option *row = tables[t]; row && row->name && count < MOST_NAMES; row++)
            names[count++] = row->name;
    snprintf(word, sizeof word, "%.*s", (int)strcspn(argument, "="), argument);
    const char *near = gr_nearest(word + strspn(word, "-"), names, count);
    return misused(settings, "unknown option '%s'%s%s%s", word, near ? "; did you mean '--" : "",
                   near ? near : "", near ? "'?" : "");
}

/* Reads the option at arguments[*at], and its value, which may be the argument after it. */
static bool read_option(struct gr_settings *settings, char **arguments, size_t count, size_t *at)
{
    const char *argument = arguments[*at];
    const bool is_long = argument[1] == '-';
    const char *name = argument + (is_long ? 2 : 1);
    const size_t length = is_long ? strcspn(name, "=") : 1;
    const struct gr_option *option =
        is_long && length < 2 ? NULL : find(settings->command, name, length);
    if (!option)
        return unknown(settings, argument);
    const char *value = is_long && name[length] == '=' ? name + length + 1
                        : !is_long && name[1]          ? name + 1
                                                       : NULL;
    if (option->type == GR_OPTION_FLAG) {
        if (value)
            return misused(settings, "--%s takes no value", option->name);
    } else if (!value) {
        if (*at + 1 >= count || strncmp(arguments[*at + 1], "--", 2) == 0)
            return misused(settings, "--%s needs a value: --%s %s", option->name, option->name,
                           option->value);
        value = arguments[++*at];
    }
    return store(settings, option, value);
}

static bool set_defaults(struct gr_settings *settings)
{
    const struct gr_option *tables[TABLES];
    tables_of(settings->command, tables);
    for (int t = 0; t < TABLES; t++)
        for (const struct gr_option *row = tables[t]; row && row->name; row++)
            if (row->def && !store(settings, row, row->def))
                return false;
    return true;
}

/* Says which operand is the first that is missing. */
static bool missing(const struct gr_settings *settings)
{
    const struct gr_command *command = settings->command;
    const char *operand = command->operands;
    for (size_t i = 0; i < settings->operands.count && strchr(operand, ' '); i++)
        operand = strchr(operand, ' ') + 1;
    return misused(settings, "%.*s is missing: graph-runner %s %s", (int)strcspn(operand, " .["),
                   operand, command->name, command->operands);
}

/* Is everything there that the command cannot do without? */
static bool check(const struct gr_settings *settings)
{
    const struct gr_command *command = settings->command;
    for (const struct gr_option *row = command->options; row && row->name; row++) {
        const void *field = (const char *)settings + row->offset;
        if (row->required && !*(const char *const *)field)
            return misused(settings, "--%s %s is needed", row->name, row->value);
    }
    if (settings->operands.count < command->min_operands)
        return missing(settings);
    if (settings->operands.count > command->max_operands)
        return misused(settings, "'%s' is one argument too many: graph-runner %s %s",
                       settings->operands.items[command->max_operands], command->name,
                       command->operands);
    return true;
}

bool gr_options_parse(struct gr_settings *settings, char **arguments, size_t count)
{
    bool options = true;
    if (!set_defaults(settings))
        return false;
    for (size_t i = 0; i < count; i++) {
        const char *argument = arguments[i];
        if (options && strcmp(argument, "--") == 0)
            options = false;
        else if (options && argument[0] == '-' && argument[1]) {
            if (!read_option(settings, arguments, count, &i))
                return false;
        } else if (!gr_words_add(&settings->operands, argument, strlen(argument)))
            return misused(settings, "out of memory");
    }
    return settings->help || check(settings);
}
