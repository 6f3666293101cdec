/*
 * Files for parsers that take paths; see fuzz.h.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memfd_create, nftw */
#endif
#include "fuzz.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SLOTS = 4, PATH = 512 };

void gr_fuzz_expect(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "does not hold: %s\n", what);
    abort();
}

void gr_fuzz_read(const void *data, size_t size)
{
    static volatile uint8_t seen;
    for (size_t i = 0; i < size; i++)
        seen = ((const uint8_t *)data)[i];
    (void)seen;
}

struct gr_fuzz_bytes gr_fuzz_cut(struct gr_fuzz_bytes *rest)
{
    struct gr_fuzz_bytes first = {rest->data, 0};
    if (rest->size < 2)
        return first;
    const size_t wanted = (size_t)rest->data[0] << 8 | rest->data[1];
    first.data = rest->data + 2;
    first.size = wanted < rest->size - 2 ? wanted : rest->size - 2;
    rest->data = first.data + first.size;
    rest->size -= 2 + first.size;
    return first;
}

uint8_t gr_fuzz_byte(struct gr_fuzz_bytes *rest)
{
    if (!rest->size)
        return 0;
    rest->size--;
    return *rest->data++;
}

char *gr_fuzz_text(struct gr_fuzz_bytes bytes)
{
    char *text = malloc(bytes.size + 1);
    gr_fuzz_expect(text != NULL, "there is memory for the input");
    if (bytes.size)
        memcpy(text, bytes.data, bytes.size);
    text[bytes.size] = '\0';
    return text;
}

static void fill(int file, struct gr_fuzz_bytes bytes)
{
    const bool done = ftruncate(file, (off_t)bytes.size) == 0 &&
                      pwrite(file, bytes.data, bytes.size, 0) == (ssize_t)bytes.size;
    gr_fuzz_expect(done, "the input can be written to a file");
}

const char *gr_fuzz_file(int slot, struct gr_fuzz_bytes bytes)
{
    static int files[SLOTS];
    static char paths[SLOTS][PATH];
    if (!*paths[slot]) {
        files[slot] = memfd_create("fuzz", MFD_CLOEXEC);
        gr_fuzz_expect(files[slot] >= 0, "there are files in memory");
        snprintf(paths[slot], PATH, "/proc/self/fd/%d", files[slot]);
    }
    fill(files[slot], bytes);
    return paths[slot];
}

/* ---- the folder -------------------------------------------------------------------------- */

static char folder[PATH];

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status, (void)type, (void)walk;
    return remove(path);
}

static void remove_folder(void)
{
    nftw(folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

const char *gr_fuzz_folder(void)
{
    if (!*folder) {
        const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
        snprintf(folder, sizeof folder, "%s/gr-fuzz-XXXXXX", base);
        gr_fuzz_expect(mkdtemp(folder) != NULL, "a folder can be made");
        atexit(remove_folder);
    }
    return folder;
}

void gr_fuzz_put(const char *name, struct gr_fuzz_bytes bytes)
{
    char path[2 * PATH];
    snprintf(path, sizeof path, "%s/%s", gr_fuzz_folder(), name);
    const int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    gr_fuzz_expect(file >= 0, "a file can be made in the folder");
    fill(file, bytes);
    close(file);
}
