/*
 * Large zeroed memory; see arena.h. A header of one cache line before the data remembers the size.
 */
#define _DEFAULT_SOURCE
#include "graph/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { HEADER = 64, HUGE_PAGE = 2 << 20, LARGE = 4 << 20 };

struct header {
    void *start;  /* what the system gave */
    size_t bytes; /* 0: from malloc */
};

void *gr_arena_new(size_t bytes)
{
    if (bytes > SIZE_MAX / 2)
        return NULL;
    struct header header = {0};
    char *base;
    if (bytes < LARGE) {
        const size_t size = (bytes + HEADER + 63) / 64 * 64;
        base = header.start = aligned_alloc(64, size);
        if (!base)
            return NULL;
        memset(base, 0, size);
    } else {
        /* Room to start the data at a huge page's boundary. */
        header.bytes = bytes + 2 * HUGE_PAGE;
        header.start =
            mmap(NULL, header.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (header.start == MAP_FAILED)
            return NULL;
        const uintptr_t data =
            ((uintptr_t)header.start + HEADER + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
        base = (char *)header.start + (data - (uintptr_t)header.start) - HEADER;
#ifdef MADV_HUGEPAGE
        madvise(base + HEADER, bytes, MADV_HUGEPAGE);
#endif
    }
    memcpy(base, &header, sizeof header);
    return base + HEADER;
}

void gr_arena_free(void *data)
{
    if (!data)
        return;
    struct header header;
    memcpy(&header, (char *)data - HEADER, sizeof header);
    if (header.bytes)
        munmap(header.start, header.bytes);
    else
        free(header.start);
}
