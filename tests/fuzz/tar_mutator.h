/*
 * Writes right checksums into whatever in the bytes looks like a tar header.
 */
#ifndef GR_FUZZ_TAR_MUTATOR_H
#define GR_FUZZ_TAR_MUTATOR_H

#include <stddef.h>
#include <stdint.h>

void gr_fuzz_tar_seal(uint8_t *data, size_t size);

#endif
