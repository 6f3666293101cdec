/*
 * What the tests of packing share: a folder of small pictures in classes, the tool run on it, and
 * packs compared byte by byte.
 */
#ifndef GR_TESTS_PACK_CASE_H
#define GR_TESTS_PACK_CASE_H

#include <stdbool.h>
#include <stdint.h>

#include "support/folder.h"
#include "support/tool.h"

enum { GR_PACK_PICTURES = 40, GR_PACK_CLASSES = 4 };

/* A path in the test's folder; each of the last thirty stays valid. */
const char *gr_pack_at(const char *name);

/*
 * CMocka's setup: the tool's, and "photos" with GR_PACK_PICTURES noisy pictures of different sizes
 * in the classes ash, birch, cedar and dogwood: PNG and JPEG by turns.
 */
int gr_pack_set_up(void **state);

/* Pixel (h, w, c) of picture i, and its size. */
uint8_t gr_pack_pixel(int i, int h, int w, int c);
void gr_pack_extent(int i, int *height, int *width);

/* `data pack photos -o OUT --size 48 --shard-size 64K` and an option with its value, or NULL. */
struct gr_outcome gr_pack_run(int status, const char *out, const char *option, const char *value);

/* How many shards are whole and said to be, by unfinished.jsonl; -1 where there is none. */
int gr_pack_lines(const char *out);

/* Both packs are whole, and of the same files with the same bytes. */
void gr_pack_expect_same(const char *a, const char *b);

void gr_pack_copy_file(const char *from, const char *to);

#endif
