/*
 * What the tests of packing share; see pack_case.h.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "support/make_jpeg.h"
#include "support/make_png.h"
#include "support/pack_case.h"

enum { PATHS = 30, SIDE_MOST = 96 };

const char *gr_pack_at(const char *name)
{
    static char paths[PATHS][GR_FOLDER_PATH];
    static int next;
    char *path = paths[next++ % PATHS];
    gr_folder_file(name, path);
    return path;
}

void gr_pack_extent(int i, int *height, int *width)
{
    *height = 40 + 7 * (i % 6);
    *width = 36 + 11 * (i % 5);
}

/* A gradient with noise: something that JPEG cannot make nothing of. */
uint8_t gr_pack_pixel(int i, int h, int w, int c)
{
    const uint32_t noise = (uint32_t)(((i * 97 + h) * 101 + w) * 3 + c) * 2654435761u;
    return (uint8_t)((h * (c + 1) + w * 2 + i * 3) % 160 + (int)(noise >> 26));
}

static void make_picture(const char *path, int i)
{
    static uint8_t pixels[SIDE_MOST * SIDE_MOST * 3];
    int height, width;
    gr_pack_extent(i, &height, &width);
    for (int h = 0; h < height; h++)
        for (int w = 0; w < width; w++)
            for (int c = 0; c < 3; c++)
                pixels[(h * width + w) * 3 + c] = gr_pack_pixel(i, h, w, c);
    assert_true(i % 2 ? gr_make_jpeg(path, pixels, height, width, 3, 95, false)
                      : gr_make_rgb_png(path, pixels, height, width));
}

int gr_pack_set_up(void **state)
{
    static const char *const classes[GR_PACK_CLASSES] = {"ash", "birch", "cedar", "dogwood"};
    if (gr_tool_set_up(state) != 0)
        return -1;
    assert_int_equal(mkdir(gr_pack_at("photos"), 0700), 0);
    for (int i = 0; i < GR_PACK_PICTURES; i++) {
        char name[64];
        const char *class = classes[i * GR_PACK_CLASSES / GR_PACK_PICTURES];
        snprintf(name, sizeof name, "photos/%s", class);
        mkdir(gr_pack_at(name), 0700);
        snprintf(name, sizeof name, "photos/%s/%s_%03d.%s", class, class, i, i % 2 ? "jpg" : "png");
        make_picture(gr_pack_at(name), i);
    }
    return 0;
}

struct gr_outcome gr_pack_run(int status, const char *out, const char *option, const char *value)
{
    return gr_tool_run(status, "data", "pack", gr_pack_at("photos"), "-o", gr_pack_at(out),
                       "--size", "48", "--shard-size", "64K", option, value, NULL);
}

int gr_pack_lines(const char *out)
{
    char name[GR_FOLDER_PATH];
    int lines = 0;
    snprintf(name, sizeof name, "%s/unfinished.jsonl", out);
    FILE *file = fopen(gr_pack_at(name), "rb");
    if (!file)
        return -1;
    for (int c; (c = getc(file)) != EOF;)
        lines += c == '\n';
    fclose(file);
    return lines ? lines - 1 : 0;
}

static void expect_same_file(const char *folder, const char *with, const char *name)
{
    char path[2][GR_FOLDER_PATH];
    snprintf(path[0], sizeof path[0], "%.400s/%.400s", folder, name);
    snprintf(path[1], sizeof path[1], "%.400s/%.400s", with, name);
    FILE *a = fopen(gr_pack_at(path[0]), "rb"), *b = fopen(gr_pack_at(path[1]), "rb");
    if (!a || !b)
        fail_msg("%s is only in one of %s and %s", name, folder, with);
    int x, y;
    do {
        x = getc(a);
        y = getc(b);
    } while (x == y && x != EOF);
    if (x != y)
        fail_msg("%s differs at byte %ld", name, ftell(a) - 1);
    fclose(a);
    fclose(b);
}

static int compare_all(const char *folder, const char *with)
{
    DIR *dir = opendir(gr_pack_at(folder));
    int count = 0;
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] == '.')
            continue;
        expect_same_file(folder, with, entry->d_name);
        count++;
    }
    closedir(dir);
    return count;
}

void gr_pack_expect_same(const char *a, const char *b)
{
    assert_int_equal(gr_pack_lines(a), -1);
    assert_true(compare_all(a, b) > 2); /* shards and an index */
    compare_all(b, a);
}

void gr_pack_copy_file(const char *from, const char *to)
{
    FILE *a = fopen(gr_pack_at(from), "rb"), *b = fopen(gr_pack_at(to), "wb");
    assert_true(a && b);
    for (int c; (c = getc(a)) != EOF;)
        putc(c, b);
    fclose(a);
    assert_int_equal(fclose(b), 0);
}
