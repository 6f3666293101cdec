/*
 * Standard error, colour and columns; see terminal.h.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* wcwidth */
#endif
#include "terminal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

/* One process has one standard error: the line shown there and how much is said. */
static bool status_shown;
static enum gr_log_level most_shown = GR_LOG_INFO;

bool gr_is_terminal(FILE *file)
{
    return isatty(fileno(file)) == 1;
}

int gr_terminal_width(FILE *file)
{
    struct winsize size;
    if (ioctl(fileno(file), TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    return 80;
}

const char *gr_style(FILE *file, enum gr_style style)
{
    static const char *const codes[] = {[GR_STYLE_PLAIN] = "\033[0m",
                                        [GR_STYLE_BOLD] = "\033[1m",
                                        [GR_STYLE_DIM] = "\033[2m",
                                        [GR_STYLE_GOOD] = "\033[32m",
                                        [GR_STYLE_BAD] = "\033[31m"};
    const char *off = getenv("NO_COLOR"), *term = getenv("TERM");
    if ((off && *off) || !term || strcmp(term, "dumb") == 0 || !gr_is_terminal(file))
        return "";
    return codes[style];
}

/* ---- the line that is rewritten ---------------------------------------------------------- */

void gr_status_show(const char *text)
{
    /* The last column stays free: writing there wraps on some terminals. */
    char line[1024];
    snprintf(line, sizeof line, "%s", text);
    const size_t bytes = gr_text_fit(gr_plain_text(line, false), gr_terminal_width(stderr) - 1);
    fprintf(stderr, "\r%.*s\033[K", (int)bytes, line);
    fflush(stderr);
    status_shown = true;
}

void gr_status_clear(void)
{
    if (status_shown)
        fputs("\r\033[K", stderr);
    status_shown = false;
}

/* ---- messages ---------------------------------------------------------------------------- */

static void say(enum gr_style style, const char *kind, const char *format, va_list args)
    GR_TOOL_PRINTF(3, 0);

static void say(enum gr_style style, const char *kind, const char *format, va_list args)
{
    char text[8192];
    vsnprintf(text, sizeof text, format, args);
    gr_status_clear();
    fflush(stdout);
    fprintf(stderr, "%sgraph-runner:%s %s%s\n", gr_style(stderr, style),
            gr_style(stderr, GR_STYLE_PLAIN), kind, gr_plain_text(text, true));
}

int gr_tool_fail(enum gr_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(GR_STYLE_BAD, "", format, args);
    va_end(args);
    return (int)status;
}

int gr_tool_error(const struct gr_error *err)
{
    if (err->status == GR_OK)
        return gr_tool_fail(GR_ERR_RUNTIME, "failed without saying why");
    return gr_tool_fail(err->status, "%s", err->message);
}

int gr_tool_no_memory(void)
{
    return gr_tool_fail(GR_ERR_RUNTIME, "out of memory");
}

void gr_tool_warn(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(GR_STYLE_BOLD, "warning: ", format, args);
    va_end(args);
}

void gr_tool_log_level(enum gr_log_level level)
{
    most_shown = level;
}

void gr_tool_log(void *user, enum gr_log_level level, const char *text)
{
    (void)user;
    if (level > most_shown)
        return;
    if (level == GR_LOG_WARNING) {
        gr_tool_warn("%s", text);
        return;
    }
    gr_status_clear();
    const size_t length = strlen(text);
    char *copy = malloc(length + 1);
    if (!copy)
        return;
    fprintf(stderr, "%s%s", gr_plain_text(strcpy(copy, text), true),
            length && text[length - 1] == '\n' ? "" : "\n");
    free(copy);
}

/* ---- columns ----------------------------------------------------------------------------- */

/* The next character: its bytes (at least 1) and its columns. */
static size_t next(const char *text, int *columns)
{
    wchar_t letter;
    mbstate_t state = {0};
    const size_t bytes = mbrtowc(&letter, text, MB_CUR_MAX, &state);
    *columns = 1;
    if (bytes == 0 || bytes > MB_CUR_MAX)
        return 1;
    const int width = wcwidth(letter);
    *columns = width < 0 ? 1 : width;
    return bytes;
}

int gr_text_columns(const char *text)
{
    int total = 0, columns;
    for (size_t at = 0; text[at]; total += columns)
        at += next(text + at, &columns);
    return total;
}

size_t gr_text_fit(const char *text, int columns)
{
    int total = 0, width;
    size_t at = 0;
    while (text[at]) {
        const size_t bytes = next(text + at, &width);
        if (total + width > columns)
            break;
        total += width;
        at += bytes;
    }
    return at;
}
