/*
 * The checksum of a safetensors file: one more entry of its metadata; see safetensors.h.
 */
#include <string.h>
#include <zlib.h>

#include "model/safetensors.h"

/* The texts of metadata have their quotes escaped, so that the key stands nowhere else. */
char *gr_safetensors_checksum(char *header, size_t length)
{
    static const char key[] = "\"" GR_SAFETENSORS_CHECKSUM "\":\"";
    const size_t needed = sizeof key - 1 + GR_SAFETENSORS_DIGITS;
    char *at = header;
    const char *const end = header + length;
    while ((at = memchr(at, '"', (size_t)(end - at))) && (size_t)(end - at) >= needed) {
        if (memcmp(at, key, sizeof key - 1) == 0)
            return at + sizeof key - 1;
        at++;
    }
    return NULL;
}

bool gr_safetensors_sum(char *header, size_t length, unsigned long *sum)
{
    unsigned char prefix[8];
    char found[GR_SAFETENSORS_DIGITS];
    char *digits = gr_safetensors_checksum(header, length);
    if (!digits)
        return false;
    gr_safetensors_prefix(length, prefix);
    memcpy(found, digits, sizeof found);
    memcpy(digits, GR_SAFETENSORS_NO_SUM, sizeof found);
    *sum = crc32_z(crc32_z(0, prefix, sizeof prefix), (const unsigned char *)header, length);
    memcpy(digits, found, sizeof found);
    return true;
}
