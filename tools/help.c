/*
 * The help pages, made from the tables of commands and options.
 */
#include <string.h>

#include "commands.h"
#include "terminal.h"

enum { NARROWEST = 60, WIDEST = 100, NAME_COLUMN = 28, COMMAND_COLUMN = 12 };

static int page_width(FILE *file)
{
    const int width = gr_terminal_width(file);
    return width < NARROWEST ? NARROWEST : width > WIDEST ? WIDEST : width;
}

/* Prints text broken at spaces, from column `at` on; lines after the first start at `indent`. */
static void print_wrapped(FILE *file, const char *text, int at, int indent)
{
    const int width = page_width(file) - 1;
    int column = at;
    while (*text) {
        const int length = (int)strcspn(text, " \n");
        if (column > indent && column + 1 + length > width) {
            fprintf(file, "\n%*s", indent, "");
            column = indent;
        } else if (column > indent && column > at) {
            fputc(' ', file);
            column++;
        }
        fprintf(file, "%.*s", length, text);
        column += length;
        text += length;
        if (*text == '\n') {
            fprintf(file, "\n%*s", text[1] == '\n' ? 0 : indent, "");
            column = at = indent;
        }
        text += *text != '\0';
    }
    fputc('\n', file);
}

static void print_heading(FILE *file, const char *text)
{
    fprintf(file, "\n%s%s:%s\n", gr_style(file, GR_STYLE_BOLD), text,
            gr_style(file, GR_STYLE_PLAIN));
}

static void print_option(FILE *file, const struct gr_option *option)
{
    char name[64], doc[512];
    const char letter[] = {option->letter, '\0'};
    snprintf(name, sizeof name, "  %s%s%s--%s%s%s", option->letter ? "-" : "", letter,
             option->letter ? ", " : "    ", option->name, option->value ? " " : "",
             option->value ? option->value : "");
    snprintf(doc, sizeof doc,
             option->required ? "%s (needed)"
             : option->def    ? "%s (default: %s)"
                              : "%s",
             option->doc, option->def);
    fputs(name, file);
    int column = (int)strlen(name);
    if (column + 2 > NAME_COLUMN) {
        fputc('\n', file);
        column = 0;
    }
    fprintf(file, "%*s", NAME_COLUMN - column, "");
    print_wrapped(file, doc, NAME_COLUMN, NAME_COLUMN);
}

static void print_options(FILE *file, const struct gr_option *table)
{
    for (; table && table->name; table++)
        print_option(file, table);
}

static void print_exit_codes(FILE *file)
{
    static const struct {
        const char *code, *doc;
    } rows[] = {
        {"0", "done"},
        {"2", "the command line is wrong"},
        {"3", "the model file is wrong"},
        {"4", "the data are missing, corrupt or do not fit the model"},
        {"5", "the system failed, or a check did"},
        {"6", "diverged: a value is not a number, or infinite"},
        {"130, 143", "interrupted, after saving; a second time: at once"},
    };
    print_heading(file, "Exit codes");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        fprintf(file, "  %-*s%s\n", COMMAND_COLUMN, rows[i].code, rows[i].doc);
}

static void print_commands(FILE *file, const struct gr_command *const *table)
{
    print_heading(file, "Commands");
    for (; *table; table++)
        fprintf(file, "  %-*s%s\n", COMMAND_COLUMN, (*table)->name, (*table)->summary);
}

static void print_command(FILE *file, const struct gr_command *command)
{
    const bool options = command->options || !command->no_common;
    fprintf(file, "%sUsage:%s graph-runner %s %s%s\n\n", gr_style(file, GR_STYLE_BOLD),
            gr_style(file, GR_STYLE_PLAIN), command->name, command->operands,
            options ? " [OPTION...]" : "");
    print_wrapped(file, command->description, 0, 0);
    if (command->parts)
        print_commands(file, command->parts);
    print_heading(file, "Options");
    print_options(file, command->options);
    print_options(file, gr_help_option);
    if (!command->no_common) {
        print_heading(file, "Common options");
        print_options(file, gr_common_options);
    }
    if (command->examples)
        print_heading(file, command->examples[1].line ? "Examples" : "Example");
    for (const struct gr_example *row = command->examples; row && row->line; row++)
        fprintf(file, "  %s\n      %s\n", row->line, row->doc);
    print_exit_codes(file);
}

static void print_overview(FILE *file)
{
    fprintf(file, "%sUsage:%s graph-runner COMMAND ...\n\n", gr_style(file, GR_STYLE_BOLD),
            gr_style(file, GR_STYLE_PLAIN));
    print_wrapped(file,
                  "Trains and runs networks described in YAML, as one dataflow graph, on the CPU.",
                  0, 0);
    print_commands(file, gr_commands);
    print_heading(file, "Options");
    fprintf(file, "  %-*s%s\n", COMMAND_COLUMN, "--help", "this page; after a command, its own");
    fprintf(file, "  %-*s%s\n", COMMAND_COLUMN, "--version", "the version");
    print_exit_codes(file);
    fputs("\nResults go to standard output, progress and messages to standard error.\n", file);
}

void gr_help_print(FILE *file, const struct gr_command *command)
{
    if (command)
        print_command(file, command);
    else
        print_overview(file);
}

static int run(const struct gr_settings *settings)
{
    const struct gr_command *command = NULL;
    const size_t words = settings->operands.count;
    size_t used = words;
    if (words && !(command = gr_command_find(settings->operands.items, words, &used)))
        return GR_ERR_USAGE;
    if (used < words)
        return gr_tool_fail(GR_ERR_USAGE, "help: '%s' is one argument too many",
                            settings->operands.items[used]);
    gr_help_print(stdout, command);
    return GR_OK;
}

const struct gr_command gr_command_help = {
    .name = "help",
    .summary = "what a command does and takes",
    .operands = "[COMMAND...]",
    .max_operands = 2,
    .description = "Prints the help page of a command, or the list of commands.",
    .no_common = true,
    .run = run,
};
