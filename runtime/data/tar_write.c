/*
 * Headers of tar archives; see tar_write.h.
 */
#include "data/tar_write.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

void gr_tar_header(const char *name, size_t size, uint8_t block[GR_TAR_BLOCK])
{
    static const char fixed[] = "0000644\0000000000\0000000000"; /* mode, user, group */
    char *text = (char *)block;
    unsigned sum = 0;
    assert(strlen(name) <= GR_TAR_NAME_MAX && size < (size_t)1 << 33);
    memset(block, 0, GR_TAR_BLOCK);
    strcpy(text, name);
    memcpy(text + 100, fixed, sizeof fixed);
    snprintf(text + 124, 12, "%011zo", size);
    memcpy(text + 136, "00000000000", 12); /* time */
    memset(text + 148, ' ', 8);            /* the sum counts itself as blanks */
    text[156] = '0';
    memcpy(text + 257, "ustar\00000", 8); /* no zero at the end: NOLINT(bugprone-not-null*) */
    for (size_t i = 0; i < GR_TAR_BLOCK; i++)
        sum += block[i];
    snprintf(text + 148, 8, "%06o", sum);
}

size_t gr_tar_padding(size_t size)
{
    return (GR_TAR_BLOCK - size % GR_TAR_BLOCK) % GR_TAR_BLOCK;
}
