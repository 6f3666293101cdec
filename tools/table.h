/*
 * A table of texts in aligned columns. Cells are added one after the other, row by row; columns are
 * as wide as their widest cell, counted in columns of the terminal, not bytes.
 */
#ifndef GR_TOOLS_TABLE_H
#define GR_TOOLS_TABLE_H

#include <stdbool.h>
#include <stdio.h>

#include "terminal.h"

/* LEFT_CUT: at the left, and cut where the terminal is too narrow; for one column of a table. */
enum gr_alignment { GR_LEFT, GR_RIGHT, GR_LEFT_CUT };

struct gr_column {
    const char *title;
    enum gr_alignment alignment;
};

/* Zero-initialised but for columns and n_columns is empty. */
struct gr_table {
    const struct gr_column *columns;
    size_t n_columns;
    char **cells; /* [rows × n_columns]; a row of NULLs is a line across */
    size_t count, capacity;
    bool failed; /* memory ran out; printing says so */
};

void gr_table_add(struct gr_table *table, const char *format, ...) GR_TOOL_PRINTF(2, 3);
void gr_table_rule(struct gr_table *table);

/* Prints titles (unless all are ""), a line, the rows. Returns GR_OK or, having said so, a failure.
 */
int gr_table_print(const struct gr_table *table, FILE *file);
void gr_table_release(struct gr_table *table);

#endif
