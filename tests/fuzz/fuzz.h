/*
 * What the fuzz targets share. A target is one file, fuzz_NAME.c, whose LLVMFuzzerTestOneInput
 * hands bytes to a parser as a stranger may have written them. With libFuzzer it is a fuzzer;
 * linked with standalone.c, by any compiler, it runs the files that it is given, as a test.
 */
#ifndef GR_FUZZ_H
#define GR_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* libFuzzer's names. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);

struct gr_fuzz_bytes {
    const uint8_t *data;
    size_t size;
};

/* Takes the first part off *rest: the two bytes before it, big-endian, say how long it is. */
struct gr_fuzz_bytes gr_fuzz_cut(struct gr_fuzz_bytes *rest);

/* The first byte of *rest, taken off it; 0 where there is none. */
uint8_t gr_fuzz_byte(struct gr_fuzz_bytes *rest);

/* The part as a text, for the caller to free; it ends at a zero byte. */
char *gr_fuzz_text(struct gr_fuzz_bytes bytes);

/*
 * A path where these bytes are read, until the slot (0 to 3) is used again: memory, not a disk.
 * Always the same path for a slot.
 */
const char *gr_fuzz_file(int slot, struct gr_fuzz_bytes bytes);

/* A folder of this process, gone when it ends; and a file in it. */
const char *gr_fuzz_folder(void);
void gr_fuzz_put(const char *name, struct gr_fuzz_bytes bytes);

/* Reads memory, so that sanitizers see whether it may be. */
void gr_fuzz_read(const void *data, size_t size);

/* Ends the process as a crash does unless what must hold holds. */
void gr_fuzz_expect(bool holds, const char *what);

#endif
