/*
 * A small sound shard of a pack, of which the pack's target and the seeds of its corpus know the
 * places.
 */
#ifndef GR_FUZZ_SHARD_CASE_H
#define GR_FUZZ_SHARD_CASE_H

#include <stddef.h>
#include <stdint.h>

enum { GR_FUZZ_SHARD = 1 << 14, GR_FUZZ_PICTURES = 2 };

/* Writes it and returns its length. */
size_t gr_fuzz_shard(uint8_t shard[GR_FUZZ_SHARD]);

/* Where picture i lies. */
extern size_t gr_fuzz_shard_offset[GR_FUZZ_PICTURES], gr_fuzz_shard_size[GR_FUZZ_PICTURES];

#endif
