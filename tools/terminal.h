/*
 * Talking to the person at the terminal: errors and the library's log on standard error, the one
 * line that progress rewrites there, colour, and how wide a text is.
 */
#ifndef GR_TOOLS_TERMINAL_H
#define GR_TOOLS_TERMINAL_H

#include <stdarg.h>
#include <stdio.h>

#include "graphrunner.h"

#if defined(__GNUC__)
#define GR_TOOL_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define GR_TOOL_PRINTF(text, first)
#endif

/* Says "graph-runner: ..." on standard error; returns the status, as an exit code. */
int gr_tool_fail(enum gr_status status, const char *format, ...) GR_TOOL_PRINTF(2, 3);
int gr_tool_error(const struct gr_error *err);
int gr_tool_no_memory(void);

/* Says "graph-runner: warning: ...". */
void gr_tool_warn(const char *format, ...) GR_TOOL_PRINTF(1, 2);

/* How much of the log is shown; the default is GR_LOG_INFO. */
void gr_tool_log_level(enum gr_log_level level);

/* The log callback. Errors are diagnostics of a model file and are printed as they are. */
void gr_tool_log(void *user, enum gr_log_level level, const char *text);

bool gr_is_terminal(FILE *file);

/* Columns of the terminal behind file; 80 if it is none or does not say. */
int gr_terminal_width(FILE *file);

enum gr_style { GR_STYLE_PLAIN, GR_STYLE_BOLD, GR_STYLE_DIM, GR_STYLE_GOOD, GR_STYLE_BAD };

/* The escape sequence that begins a style: "" where there is no colour (no terminal, NO_COLOR). */
const char *gr_style(FILE *file, enum gr_style style);

/* Shows text in the line of standard error that the next call, or any other output, rewrites. */
void gr_status_show(const char *text);
void gr_status_clear(void);

/* Columns that a UTF-8 text takes. */
int gr_text_columns(const char *text);

/* How many of its bytes fit in so many columns. */
size_t gr_text_fit(const char *text, int columns);

#endif
