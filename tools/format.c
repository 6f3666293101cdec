/*
 * Figures as people read them; see format.h.
 */
#include "format.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

const char *gr_grouped_text(int64_t number, char buffer[GR_FIGURE])
{
    char digits[32];
    snprintf(digits, sizeof digits, "%" PRId64, number);
    size_t out = 0;
    const size_t sign = digits[0] == '-', length = strlen(digits);
    for (size_t i = 0; i < length; i++) {
        if (i > sign && (length - i) % 3 == 0)
            buffer[out++] = ',';
        buffer[out++] = digits[i];
    }
    buffer[out] = '\0';
    return buffer;
}

const char *gr_bytes_text(size_t bytes, char buffer[GR_FIGURE])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    enum { UNITS = sizeof units / sizeof *units };
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1000 && unit + 1 < UNITS) {
        value /= 1024;
        unit++;
    }
    snprintf(buffer, GR_FIGURE, "%.*f %s", unit == 0 ? 0 : value < 10 ? 2 : 1, value, units[unit]);
    return buffer;
}

const char *gr_duration_text(double seconds, char buffer[GR_FIGURE])
{
    const int64_t whole = seconds > 0 && seconds < 1e12 ? llround(seconds) : 0;
    snprintf(buffer, GR_FIGURE, "%" PRId64 ":%02d:%02d", whole / 3600, (int)(whole / 60 % 60),
             (int)(whole % 60));
    return buffer;
}

const char *gr_percent_text(double share, char buffer[GR_FIGURE])
{
    snprintf(buffer, GR_FIGURE, "%.2f %%", 100 * share);
    return buffer;
}

const char *gr_rate_text(double per_second, char buffer[GR_FIGURE])
{
    const int decimals = per_second < 10 ? 2 : per_second < 100 ? 1 : 0;
    snprintf(buffer, GR_FIGURE, "%.*f", decimals, per_second);
    return buffer;
}

const char *gr_bar_text(double share, char buffer[GR_FIGURE])
{
    static const char *const parts[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    enum { COLUMNS = 10 };
    const int eighths = share > 0 ? (int)lround((share < 1 ? share : 1) * COLUMNS * 8) : 0;
    buffer[0] = '\0';
    for (int i = 0; i < eighths / 8; i++)
        strcat(buffer, "█");
    strcat(buffer, parts[eighths % 8]);
    return buffer;
}
