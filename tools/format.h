/*
 * Figures as people read them. Each function writes into the buffer and returns it.
 */
#ifndef GR_TOOLS_FORMAT_H
#define GR_TOOLS_FORMAT_H

#include <stddef.h>
#include <stdint.h>

enum { GR_FIGURE = 64 };

const char *gr_grouped_text(int64_t number, char buffer[GR_FIGURE]);  /* "60,965,224" */
const char *gr_bytes_text(size_t bytes, char buffer[GR_FIGURE]);      /* "232.6 MiB" */
const char *gr_duration_text(double seconds, char buffer[GR_FIGURE]); /* "1:05:09" */
const char *gr_percent_text(double share, char buffer[GR_FIGURE]);    /* 0.9123 is "91.23 %" */
const char *gr_rate_text(double per_second, char buffer[GR_FIGURE]);  /* three digits or more */

/* A bar of at most 10 columns, filled to a share of 0 to 1 in eighths of a column. */
const char *gr_bar_text(double share, char buffer[GR_FIGURE]);

#endif
