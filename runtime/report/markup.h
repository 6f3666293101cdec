/*
 * Text for the page: whatever comes from outside (names, paths, messages) goes through here, so
 * that it shows as it is written and never becomes markup or script.
 */
#ifndef GR_REPORT_MARKUP_H
#define GR_REPORT_MARKUP_H

#include "base/text.h"

#include <stdint.h>

/*
 * Appends text as HTML, fit for content and for quoted attributes. Control characters are spaces,
 * bytes that are no UTF-8 are U+FFFD.
 */
void gr_html_text(struct gr_text *out, const char *text);

/* The same, at most so many characters, an ellipsis for the rest. */
void gr_html_short(struct gr_text *out, const char *text, size_t most);

/* Characters of a text in UTF-8. */
size_t gr_html_letters(const char *text);

/* Appends text as a JSON string that is safe in a script element. */
void gr_json_text(struct gr_text *out, const char *text);

/* Appends a number with so many significant digits; JSON's null where it is not finite. */
void gr_json_number(struct gr_text *out, double value, int digits);

/* How a figure is shown. */
enum gr_figure {
    GR_FIGURE_NUMBER,   /* 0.2326 */
    GR_FIGURE_PERCENT,  /* 91.73 % */
    GR_FIGURE_COUNT,    /* 60,965,224 */
    GR_FIGURE_RATE,     /* 10,411 */
    GR_FIGURE_DURATION, /* 1:05:09, 12.3 s */
};

/* Appends it; a dash where it is not finite. */
void gr_html_figure(struct gr_text *out, enum gr_figure figure, double value);

/* Appends a point in time, in seconds since 1970, as "2026-03-01 14:05 UTC". */
void gr_html_time(struct gr_text *out, int64_t time);

/* Appends bytes as base64. */
void gr_html_base64(struct gr_text *out, const unsigned char *data, size_t size);

#endif
