/*
 * Lists, by the first byte: a list of images with labels and a file of class names, a list of
 * synsets (text or MATLAB's) and the labels that go with it, a pattern of shards, the names of
 * class folders.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "fuzz.h"
#include "source_case.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/imagenet_labels.h"
#include "data/shards.h"

enum { PLACES = 3, FOLDERS_MOST = 4, PATH = 1024, BRACES_MOST = 2 };

static void list(struct gr_fuzz_bytes rest)
{
    static void *attrs;
    const struct gr_source *source = &gr_source_list;
    const struct gr_fuzz_bytes names = gr_fuzz_cut(&rest);
    if (!attrs)
        attrs = gr_fuzz_attrs(source);
    gr_fuzz_set(attrs, source, "file", gr_fuzz_file(0, rest));
    gr_fuzz_set(attrs, source, "root", gr_fuzz_folder());
    gr_fuzz_set(attrs, source, "class_names", names.size ? gr_fuzz_file(1, names) : NULL);
    gr_fuzz_put("a.jpg", (struct gr_fuzz_bytes){(const uint8_t *)"no image", 8});
    gr_fuzz_source(source, attrs, 3, true);
}

static void labels(struct gr_fuzz_bytes rest)
{
    struct gr_pool pool = {0};
    struct gr_synsets synsets = {0};
    struct gr_names classes = {0};
    struct gr_places places = {0};
    struct gr_error err = {0};
    const char *const file = gr_fuzz_file(0, gr_fuzz_cut(&rest));
    for (int i = 0; i < PLACES; i++)
        gr_places_add(&places, &(struct gr_place){.file = "x.jpg"}, &err);
    if (gr_synsets_read(&synsets, file, &pool, &err))
        gr_imagenet_label(&places, gr_fuzz_file(1, rest), &synsets, 2, &pool, &classes, &err);
    gr_synsets_release(&synsets);
    gr_names_release(&classes);
    gr_places_release(&places);
    gr_pool_release(&pool);
}

/* Not those that look at the disk, and few braces: paths may be a million. */
static void pattern(struct gr_fuzz_bytes rest)
{
    struct gr_pool pool = {0};
    struct gr_names paths = {0};
    struct gr_error err = {0};
    char *text = gr_fuzz_text(rest);
    size_t braces = 0;
    for (const char *c = text; *c; c++)
        braces += *c == '{';
    bool large = braces > BRACES_MOST || strpbrk(text, "*?[");
    for (const char *c = text; (c = strstr(c, "..")); c += 2)
        large = large || strspn(c + 2, "0123456789") > 2;
    if (!large)
        gr_shards_expand(text, &pool, &paths, &err);
    free(text);
    gr_names_release(&paths);
    gr_pool_release(&pool);
}

static void folders(struct gr_fuzz_bytes rest)
{
    static const char image_in[] = "%.*s/a.jpg";
    static void *attrs;
    char classes[PATH], path[FOLDERS_MOST][2 * PATH], image[2 * PATH + 8];
    int made = 0;
    char *text = gr_fuzz_text(rest);
    snprintf(classes, sizeof classes, "%s/classes", gr_fuzz_folder());
    mkdir(classes, 0700);
    for (char *line = strtok(text, "\n/"); line && made < FOLDERS_MOST;
         line = strtok(NULL, "\n/")) {
        snprintf(path[made], sizeof path[made], "%s/%.200s", classes, line);
        if (strcmp(line, ".") == 0 || strcmp(line, "..") == 0 || mkdir(path[made], 0700) != 0)
            continue;
        snprintf(image, sizeof image, image_in, 2 * PATH - 1, path[made++]);
        gr_fuzz_expect(symlink("/dev/null", image) == 0, "a file can be made");
    }
    if (!attrs)
        attrs = gr_fuzz_attrs(&gr_source_imagefolder);
    gr_fuzz_set(attrs, &gr_source_imagefolder, "path", classes);
    gr_fuzz_source(&gr_source_imagefolder, attrs, 3, true);
    while (made--) {
        snprintf(image, sizeof image, image_in, 2 * PATH - 1, path[made]);
        unlink(image);
        rmdir(path[made]);
    }
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const ways[])(struct gr_fuzz_bytes) = {list, labels, pattern, folders};
    struct gr_fuzz_bytes rest = {data, size};
    ways[gr_fuzz_byte(&rest) % 4](rest);
    return 0;
}
