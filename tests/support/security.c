/*
 * SECURITY.md against the code; see security.h.
 */
#include "security.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

void gr_expect_contains(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("\"%s\" does not contain \"%s\"", text, part);
}

void gr_security_expect(const char *what, long long limit)
{
    static char page[1 << 15];
    char digits[32], grouped[48] = "", row[160];
    FILE *file = fopen(GR_SOURCE_DIR "/SECURITY.md", "r");
    assert_non_null(file);
    page[fread(page, 1, sizeof page - 1, file)] = '\0';
    fclose(file);
    const int length = snprintf(digits, sizeof digits, "%lld", limit);
    for (int d = 0, at = 0; d < length; d++) {
        if (d && (length - d) % 3 == 0)
            grouped[at++] = ',';
        grouped[at++] = digits[d];
        grouped[at] = '\0';
    }
    snprintf(row, sizeof row, "| %s | %s |", what, grouped);
    gr_expect_contains(page, row);
}
