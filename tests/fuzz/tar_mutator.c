/*
 * Mutations of archives that keep the checksums of headers right, since nothing behind a wrong one
 * is looked at.
 */
#include "tar_mutator.h"

#include <stdio.h>
#include <string.h>

#include "fuzz.h"

enum { BLOCK = 512, CHECKSUM = 148, MAGIC = 257 };

static void seal(uint8_t *header)
{
    char text[8];
    unsigned sum = 0;
    memset(header + CHECKSUM, ' ', 8);
    for (int i = 0; i < BLOCK; i++)
        sum += header[i];
    snprintf(text, sizeof text, "%06o", sum & 0777777);
    memcpy(header + CHECKSUM, text, 7);
}

/* Headers stand at any offset here: parts of an input come before archives. */
void gr_fuzz_tar_seal(uint8_t *data, size_t size)
{
    for (size_t at = 0; size >= BLOCK && at <= size - BLOCK;) {
        if (memcmp(data + at + MAGIC, "ustar", 5) == 0) {
            seal(data + at);
            at += BLOCK;
        } else {
            at++;
        }
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed)
{
    size = LLVMFuzzerMutate(data, size, most);
    if (seed % 8) /* else checksums are wrong now and then */
        gr_fuzz_tar_seal(data, size);
    return size;
}
