/*
 * The files that work leaves; see trial_files.h.
 */
#define _GNU_SOURCE
#include "trial_files.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <fnmatch.h>
#include <ftw.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "graphrunner.h"

enum { DEPTH = 8, LINE = 1 << 16 };

static const char *walked_folder; /* what nftw's functions need to know */
static const char *walked_to;
static struct gr_trial_files *walked;

/* ---- resetting --------------------------------------------------------------------------- */

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status, (void)type;
    return walk->level == 0 ? 0 : remove(path);
}

static void copy_file(const char *from, const char *to)
{
    char block[4096];
    size_t got;
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    assert_non_null(in);
    assert_non_null(out);
    while ((got = fread(block, 1, sizeof block, in)) > 0)
        assert_int_equal(fwrite(block, 1, got, out), got);
    fclose(in);
    assert_int_equal(fclose(out), 0);
}

static int copy_entry(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    char to[1024];
    (void)status;
    snprintf(to, sizeof to, "%s%s", walked_to, path + strlen(walked_folder));
    if (type == FTW_D)
        return walk->level ? mkdir(to, 0700) : 0;
    copy_file(path, to);
    return 0;
}

void gr_trial_files_reset(const char *folder, const char *from)
{
    mkdir(folder, 0700);
    assert_int_equal(nftw(folder, remove_entry, DEPTH, FTW_DEPTH | FTW_PHYS), 0);
    walked_folder = from;
    walked_to = folder;
    if (from)
        assert_int_equal(nftw(from, copy_entry, DEPTH, FTW_PHYS), 0);
}

/* ---- listing ----------------------------------------------------------------------------- */

static uint64_t hash_of(const char *path)
{
    uint64_t hash = 1469598103934665603u;
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    for (int c; (c = getc(file)) != EOF;)
        hash = (hash ^ (unsigned char)c) * 1099511628211u;
    fclose(file);
    return hash;
}

static struct gr_trial_file *find(const struct gr_trial_files *files, const char *name)
{
    for (size_t i = 0; i < files->count; i++)
        if (strcmp(files->files[i].name, name) == 0)
            return (struct gr_trial_file *)(uintptr_t)&files->files[i];
    return NULL;
}

static int list_entry(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    const char *name = path + strlen(walked_folder) + 1;
    (void)status, (void)walk;
    if (type != FTW_F)
        return 0;
    struct gr_trial_file *file = find(walked, name);
    if (!file) {
        assert_true(walked->count < GR_TRIAL_FILES);
        file = &walked->files[walked->count++];
        snprintf(file->name, sizeof file->name, "%s", name);
        file->hash = hash_of(path);
    }
    file->varies = file->varies || file->hash != hash_of(path);
    return 0;
}

void gr_trial_files_list(struct gr_trial_files *files, const char *folder)
{
    walked_folder = folder;
    walked = files;
    assert_int_equal(nftw(folder, list_entry, DEPTH, FTW_PHYS), 0);
}

/* ---- comparing --------------------------------------------------------------------------- */

/* Every line is JSON and ends; the last may be cut short where the work failed. */
static bool is_whole_jsonl(const char *path, FILE *file, enum gr_trial_end end)
{
    static char line[LINE];
    (void)path;
    while (fgets(line, sizeof line, file)) {
        json_t *value = json_loads(line, 0, NULL);
        const bool ends = strchr(line, '\n');
        json_decref(value);
        if (ends ? !value : end != GR_TRIAL_FAILED)
            return false;
    }
    return true;
}

static bool ends_with(FILE *file, const char *text, size_t length)
{
    char end[32] = "";
    return fseek(file, -(long)length, SEEK_END) == 0 && fread(end, 1, length, file) == length &&
           memcmp(end, text, length) == 0;
}

static bool is_whole_html(const char *path, FILE *file, enum gr_trial_end end)
{
    (void)path, (void)end;
    return ends_with(file, "</html>\n", 8);
}

static bool is_whole_csv(const char *path, FILE *file, enum gr_trial_end end)
{
    (void)path, (void)end;
    return ends_with(file, "\n", 1);
}

static bool is_whole_svg(const char *path, FILE *file, enum gr_trial_end end)
{
    (void)path, (void)end;
    return ends_with(file, "</svg>\n", 7);
}

static bool is_whole_png(const char *path, FILE *file, enum gr_trial_end end)
{
    (void)path, (void)end;
    return ends_with(file, "IEND\xae\x42\x60\x82", 8);
}

static bool is_whole_tar(const char *path, FILE *file, enum gr_trial_end end)
{
    (void)path, (void)end;
    return ends_with(file, (const char[32]){0}, 32);
}

static bool is_whole_safetensors(const char *path, FILE *file, enum gr_trial_end end)
{
    struct gr_tensor_file *tensors = gr_tensor_file_read(path, NULL);
    (void)file, (void)end;
    gr_tensor_file_free(tensors);
    return tensors != NULL;
}

static bool is_whole_record(const char *path, FILE *file, enum gr_trial_end end)
{
    (void)path, (void)file, (void)end;
    return true; /* lengths and checksums in it say how far it goes */
}

/* Of files that another moment, or less data, may leave otherwise; those of other kinds are not. */
static bool is_whole(const char *folder, const char *name, enum gr_trial_end end)
{
    static const struct {
        const char *part; /* of the name */
        bool (*is_whole)(const char *path, FILE *file, enum gr_trial_end end);
    } kinds[] = {{".jsonl", is_whole_jsonl},    {".html", is_whole_html},
                 {".csv", is_whole_csv},        {".svg", is_whole_svg},
                 {".png", is_whole_png},        {".tar", is_whole_tar},
                 {"tfevents", is_whole_record}, {".safetensors", is_whole_safetensors}};
    char path[1024];
    bool whole = false;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        whole = whole || (strstr(name, kinds[i].part) && kinds[i].is_whole(path, file, end));
    fclose(file);
    return whole;
}

const char *gr_trial_files_compare(const struct gr_trial_files *usual,
                                   const struct gr_trial_files *before, const char *folder,
                                   const char *leaves, enum gr_trial_end end)
{
    static char text[GR_TRIAL_NAME + 64];
    static struct gr_trial_files now;
    now.count = 0;
    gr_trial_files_list(&now, folder);
    for (size_t i = 0; i < now.count; i++) {
        const struct gr_trial_file *file = &now.files[i];
        const struct gr_trial_file *known = find(usual, file->name),
                                   *old = find(before, file->name);
        const bool as_before = old && old->hash == file->hash;
        const bool as_usual = known && !known->varies && known->hash == file->hash;
        const char *problem = NULL;
        const bool left = leaves && fnmatch(leaves, file->name, FNM_PATHNAME) == 0;
        if (!known && !as_before && !left)
            problem = "is not usually there";
        else if (!as_before && !as_usual && !is_whole(folder, file->name, end))
            problem = "is not as usual, nor whole";
        if (problem) {
            snprintf(text, sizeof text, "%s %s", file->name, problem);
            return text;
        }
    }
    for (size_t i = 0; end == GR_TRIAL_DONE && i < usual->count; i++)
        if (!find(&now, usual->files[i].name)) {
            snprintf(text, sizeof text, "%s is missing", usual->files[i].name);
            return text;
        }
    return NULL;
}
