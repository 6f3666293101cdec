/*
 * Escaping and figures; see markup.h.
 */
#define _POSIX_C_SOURCE 200809L
#include "report/markup.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* ---- characters -------------------------------------------------------------------------- */

/* Bytes of the UTF-8 character that text begins with; 0: it begins with none. */
static size_t character(const char *text)
{
    const unsigned char *c = (const unsigned char *)text;
    const size_t length = c[0] < 0x80                   ? 1
                          : c[0] >= 0xc2 && c[0] < 0xe0 ? 2
                          : (c[0] & 0xf0) == 0xe0       ? 3
                          : c[0] >= 0xf0 && c[0] < 0xf5 ? 4
                                                        : 0;
    for (size_t i = 1; i < length; i++)
        if ((c[i] & 0xc0) != 0x80)
            return 0;
    const bool overlong = (c[0] == 0xe0 && c[1] < 0xa0) || (c[0] == 0xf0 && c[1] < 0x90);
    const bool beyond = (c[0] == 0xed && c[1] >= 0xa0) || (c[0] == 0xf4 && c[1] >= 0x90);
    return overlong || beyond ? 0 : length;
}

static void add_character(struct gr_text *out, const char *text, size_t length)
{
    const unsigned char c = (unsigned char)*text;
    if (length == 0)
        gr_text_append(out, "\xef\xbf\xbd", 3);
    else if (c == '&' || c == '<' || c == '>' || c == '"' || c == '\'')
        gr_text_add(out, "&#%d;", c);
    else if (c < ' ' || c == 0x7f)
        gr_text_append(out, " ", 1);
    else
        gr_text_append(out, text, length);
}

void gr_html_text(struct gr_text *out, const char *text)
{
    gr_html_short(out, text, SIZE_MAX);
}

void gr_html_short(struct gr_text *out, const char *text, size_t most)
{
    const bool fits = most == SIZE_MAX || gr_html_letters(text) <= most;
    for (size_t left = fits ? SIZE_MAX : most - 1; *text && left; left--) {
        const size_t length = character(text);
        add_character(out, text, length);
        text += length ? length : 1;
    }
    if (!fits)
        gr_text_append(out, "…", strlen("…"));
}

size_t gr_html_letters(const char *text)
{
    size_t letters = 0;
    for (; *text; letters++) {
        const size_t length = character(text);
        text += length ? length : 1;
    }
    return letters;
}

void gr_json_text(struct gr_text *out, const char *text)
{
    gr_text_append(out, "\"", 1);
    while (*text) {
        const size_t length = character(text);
        const unsigned char c = (unsigned char)*text;
        if (length == 0)
            gr_text_add(out, "\\ufffd");
        else if (c < ' ' || c == 0x7f || strchr("\"\\<>&'", c))
            gr_text_add(out, "\\u%04x", c);
        else
            gr_text_append(out, text, length);
        text += length ? length : 1;
    }
    gr_text_append(out, "\"", 1);
}

void gr_json_number(struct gr_text *out, double value, int digits)
{
    if (isfinite(value))
        gr_text_add(out, "%.*g", digits, value);
    else
        gr_text_append(out, "null", 4);
}

/* ---- figures ----------------------------------------------------------------------------- */

static void add_grouped(struct gr_text *out, double value)
{
    char digits[400];
    snprintf(digits, sizeof digits, "%.0f", fabs(value));
    const size_t length = strlen(digits);
    gr_text_add(out, "%s", value < 0 ? "-" : "");
    for (size_t i = 0; i < length; i++)
        gr_text_add(out, "%s%c", i && (length - i) % 3 == 0 ? "," : "", digits[i]);
}

static void add_duration(struct gr_text *out, double seconds)
{
    const double whole = floor(seconds + 0.5);
    const double hours = floor(whole / 3600);
    const int left = (int)(whole - 3600 * hours);
    if (seconds < 60)
        gr_text_add(out, seconds < 9.95 ? "%.1f s" : "%.0f s", seconds);
    else if (hours >= 1)
        gr_text_add(out, "%.0f:%02d:%02d", hours, left / 60, left % 60);
    else
        gr_text_add(out, "%d:%02d", left / 60, left % 60);
}

static void add_number(struct gr_text *out, double value)
{
    const double size = fabs(value);
    if (size > 0 && (size < 1e-3 || size >= 1e7))
        gr_text_add(out, "%.3g", value);
    else
        gr_text_add(out, size < 10 ? "%.4f" : size < 1000 ? "%.2f" : "%.0f", value);
}

void gr_html_figure(struct gr_text *out, enum gr_figure figure, double value)
{
    if (!isfinite(value)) {
        gr_text_add(out, "–");
        return;
    }
    switch (figure) {
    case GR_FIGURE_NUMBER:
        add_number(out, value);
        break;
    case GR_FIGURE_PERCENT:
        gr_text_add(out, "%.2f %%", 100 * value);
        break;
    case GR_FIGURE_COUNT:
        add_grouped(out, value);
        break;
    case GR_FIGURE_RATE:
        if (fabs(value) < 100)
            gr_text_add(out, "%.3g", value);
        else
            add_grouped(out, value);
        break;
    case GR_FIGURE_DURATION:
        add_duration(out, value);
        break;
    }
}

void gr_html_time(struct gr_text *out, int64_t time)
{
    const time_t seconds = (time_t)time;
    struct tm parts;
    char text[64];
    if (gmtime_r(&seconds, &parts) && strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", &parts))
        gr_text_add(out, "%s", text);
    else
        gr_text_add(out, "–");
}

void gr_html_base64(struct gr_text *out, const unsigned char *data, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < size; i += 3) {
        const size_t left = size - i;
        const unsigned bits = (unsigned)data[i] << 16 |
                              (left > 1 ? (unsigned)data[i + 1] << 8 : 0) |
                              (left > 2 ? (unsigned)data[i + 2] : 0);
        const char group[4] = {digits[bits >> 18], digits[bits >> 12 & 63],
                               left > 1 ? digits[bits >> 6 & 63] : '=',
                               left > 2 ? digits[bits & 63] : '='};
        gr_text_append(out, group, 4);
    }
}
