/*
 * Tables in aligned columns; see table.h.
 */
#include "table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { GAP = 2, NARROWEST = 10, MOST_COLUMNS = 12, LONGEST_CELL = 1024 };

static void push(struct gr_table *table, char *cell)
{
    if (table->count == table->capacity) {
        const size_t capacity = table->capacity ? table->capacity * 2 : 64;
        char **cells = realloc(table->cells, capacity * sizeof *cells);
        if (!cells) {
            table->failed = true;
            free(cell);
            return;
        }
        table->cells = cells;
        table->capacity = capacity;
    }
    table->cells[table->count++] = cell;
}

void gr_table_add(struct gr_table *table, const char *format, ...)
{
    char text[LONGEST_CELL];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    gr_plain_text(text, false);
    char *cell = malloc(strlen(text) + 1);
    if (!cell) {
        table->failed = true;
        return;
    }
    push(table, strcpy(cell, text));
}

void gr_table_rule(struct gr_table *table)
{
    for (size_t c = 0; c < table->n_columns; c++)
        push(table, NULL);
}

static int column_width(const struct gr_table *table, size_t column)
{
    int widest = gr_text_columns(table->columns[column].title);
    for (size_t i = column; i < table->count; i += table->n_columns) {
        const int width = table->cells[i] ? gr_text_columns(table->cells[i]) : 0;
        widest = width > widest ? width : widest;
    }
    return widest;
}

static int total_width(const struct gr_table *table, const int *widths)
{
    int total = -GAP;
    for (size_t c = 0; c < table->n_columns; c++)
        total += widths[c] + GAP;
    return total;
}

/* Narrows the column that may be cut until the table fits the terminal, if it can. */
static void fit_terminal(const struct gr_table *table, int *widths, FILE *file)
{
    const int excess = total_width(table, widths) - gr_terminal_width(file);
    for (size_t c = 0; c < table->n_columns && excess > 0 && gr_is_terminal(file); c++)
        if (table->columns[c].alignment == GR_LEFT_CUT && widths[c] > NARROWEST)
            widths[c] = widths[c] - excess > NARROWEST ? widths[c] - excess : NARROWEST;
}

static void print_cell(FILE *file, const char *text, int width, bool right)
{
    const int padding = width - gr_text_columns(text);
    if (padding < 0)
        fprintf(file, "%.*s…", (int)gr_text_fit(text, width - 1), text);
    else
        fprintf(file, "%*s%s%*s", right ? padding : 0, "", text, right ? 0 : padding, "");
}

/* Prints a row up to its last text, so that no line ends in spaces. texts[c] is column c's. */
static void print_row(const struct gr_table *table, const int *widths, const char *const *texts,
                      FILE *file)
{
    size_t count = table->n_columns;
    while (count && !*texts[count - 1])
        count--;
    for (size_t c = 0; c < count; c++) {
        const bool right = table->columns[c].alignment == GR_RIGHT;
        const int own = gr_text_columns(texts[c]);
        const bool last = c + 1 == count && !right && own < widths[c];
        fprintf(file, "%*s", c ? GAP : 0, "");
        print_cell(file, texts[c], last ? own : widths[c], right);
    }
    fputc('\n', file);
}

static void print_rule(const struct gr_table *table, const int *widths, FILE *file)
{
    const int total = total_width(table, widths);
    fputs(gr_style(file, GR_STYLE_DIM), file);
    for (int i = 0; i < total; i++)
        fputs("─", file);
    fprintf(file, "%s\n", gr_style(file, GR_STYLE_PLAIN));
}

int gr_table_print(const struct gr_table *table, FILE *file)
{
    const char *titles[MOST_COLUMNS];
    int widths[MOST_COLUMNS] = {0};
    bool titled = false;
    if (table->failed)
        return gr_tool_no_memory();
    assert(table->n_columns <= MOST_COLUMNS);
    for (size_t c = 0; c < table->n_columns; c++) {
        titles[c] = table->columns[c].title;
        titled = titled || *titles[c];
        widths[c] = column_width(table, c);
    }
    fit_terminal(table, widths, file);
    if (titled) {
        fputs(gr_style(file, GR_STYLE_BOLD), file);
        print_row(table, widths, titles, file);
        fputs(gr_style(file, GR_STYLE_PLAIN), file);
        print_rule(table, widths, file);
    }
    for (size_t row = 0; row + table->n_columns <= table->count; row += table->n_columns) {
        if (table->cells[row])
            print_row(table, widths, (const char *const *)table->cells + row, file);
        else
            print_rule(table, widths, file);
    }
    return GR_OK;
}

void gr_table_release(struct gr_table *table)
{
    for (size_t i = 0; i < table->count; i++)
        free(table->cells[i]);
    free(table->cells);
    table->cells = NULL;
    table->count = table->capacity = 0;
}
