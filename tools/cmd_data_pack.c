/*
 * graph-runner data pack: data made small, for training to read fast.
 */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L /* lstat */
#endif
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "commands.h"
#include "data_progress.h"
#include "format.h"
#include "interrupt.h"
#include "report.h"
#include "session.h"
#include "table.h"
#include "terminal.h"

enum { PATH = 4096, PARTS = 64 };
enum keep { KEEP_CENTER, KEEP_WHOLE };
enum order { ORDER_AUTO, ORDER_MIXED, ORDER_SOURCE };

/* A pack that was made. */
struct packed {
    const char *name;
    char folder[PATH];
    struct gr_pack_result result;
};

/* ---- tables ------------------------------------------------------------------------------ */

static int print_packs(const struct packed *packs, size_t count)
{
    static const struct gr_column columns[] = {
        {"data", GR_LEFT_CUT}, {"images", GR_RIGHT}, {"skipped", GR_RIGHT},  {"classes", GR_RIGHT},
        {"shards", GR_RIGHT},  {"size", GR_RIGHT},   {"an image", GR_RIGHT}, {"folder", GR_LEFT}};
    struct gr_table table = {.columns = columns, .n_columns = 8};
    char text[GR_FIGURE];
    for (size_t i = 0; i < count; i++) {
        const struct gr_pack_result *result = &packs[i].result;
        gr_table_add(&table, "%s", packs[i].name);
        gr_table_add(&table, "%s", gr_grouped_text(result->images, text));
        gr_table_add(&table, "%s", gr_grouped_text(result->skipped, text));
        gr_table_add(&table, "%s", gr_grouped_text(result->classes, text));
        gr_table_add(&table, "%s", gr_grouped_text(result->shards, text));
        gr_table_add(&table, "%s", gr_bytes_text((size_t)result->bytes, text));
        gr_table_add(&table, "%s", gr_bytes_text((size_t)(result->bytes / result->images), text));
        gr_table_add(&table, "%s", packs[i].folder);
    }
    const int status = gr_table_print(&table, stdout);
    gr_table_release(&table);
    return status;
}

static void add_numbers(struct gr_table *table, const char *title, const double *numbers,
                        int channels, int decimals, const char *of)
{
    char text[GR_FIGURE];
    gr_table_add(table, "%s", title);
    for (int c = 0; c < 3; c++) {
        snprintf(text, sizeof text, "%.*f", decimals, numbers[c < channels ? c : 0]);
        gr_table_add(table, "%s", c < channels ? text : "");
    }
    gr_table_add(table, "%s", of);
}

static int print_statistics(const struct packed *pack)
{
    static const struct gr_column columns[] = {
        {"", GR_LEFT}, {"red", GR_RIGHT}, {"green", GR_RIGHT}, {"blue", GR_RIGHT}, {"", GR_LEFT}};
    struct gr_table table = {.columns = columns, .n_columns = 5};
    const struct gr_statistics *s = &pack->result.statistics;
    char of[GR_FIGURE], title[GR_FIGURE];
    snprintf(title, sizeof title, "mean of %.40s", pack->name);
    add_numbers(&table, title, s->mean, s->channels, 3, "pixels from 0 to 255");
    for (int i = 0; s->channels == 3 && i < 3; i++) {
        snprintf(title, sizeof title, "eigenvector %d", i + 1);
        snprintf(of, sizeof of, "eigenvalue %.6f", s->eigenvalues[i]);
        add_numbers(&table, title, s->eigenvectors + 3 * (size_t)i, 3, 4, of);
    }
    putchar('\n');
    const int status = gr_table_print(&table, stdout);
    gr_table_release(&table);
    return status;
}

/* ---- JSON -------------------------------------------------------------------------------- */

static json_t *numbers_json(const double *numbers, int count)
{
    json_t *list = json_array();
    for (int i = 0; i < count; i++)
        gr_report_add(&list, json_real(numbers[i]));
    return list;
}

static json_t *pack_json(const struct packed *pack)
{
    const struct gr_pack_result *r = &pack->result;
    const struct gr_statistics *s = &r->statistics;
    const int colours = s->channels == 3;
    json_t *name = json_string(pack->name), *folder = json_string(pack->folder); /* or no UTF-8 */
    return json_pack("{s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:f}", "data",
                     name ? name : json_null(), "folder", folder ? folder : json_null(), "images",
                     (json_int_t)r->images, "skipped", (json_int_t)r->skipped, "classes",
                     (json_int_t)r->classes, "shards", (json_int_t)r->shards, "bytes",
                     (json_int_t)r->bytes, "before", (json_int_t)r->before, "mean",
                     numbers_json(s->mean, s->channels), "covariance",
                     numbers_json(s->covariance, colours ? 9 : 1), "eigenvalues",
                     numbers_json(s->eigenvalues, colours ? 3 : 0), "eigenvectors",
                     numbers_json(s->eigenvectors, colours ? 9 : 0), "seconds", r->seconds);
}

static int print(const struct gr_settings *settings, const struct packed *packs, size_t count)
{
    if (settings->json) {
        json_t *list = json_array();
        for (size_t i = 0; i < count; i++)
            gr_report_add(&list, pack_json(&packs[i]));
        return gr_report_json(list, false);
    }
    int status = print_packs(packs, count);
    for (size_t i = 0; status == GR_OK && i < count; i++)
        if (count == 1 || strcmp(packs[i].name, "train") == 0)
            status = print_statistics(&packs[i]);
    return status;
}

/* ---- packing ----------------------------------------------------------------------------- */

/* The user named the folder above it; where a link in that leads, nobody asked to write. */
static bool check_no_link(const char *folder, struct gr_error *err)
{
    struct stat status;
    if (lstat(folder, &status) != 0 || !S_ISLNK(status.st_mode))
        return true;
    err->status = GR_ERR_USAGE;
    snprintf(err->message, sizeof err->message,
             "%s is a link: what is written to a folder stays in it: remove the link, or give "
             "another folder",
             folder);
    return false;
}

/* Packs what an operand names: a part of the model into a folder of that name, or a path. */
static bool pack_one(const struct gr_session *session, const char *name, struct packed *pack,
                     struct gr_data_display *display, struct gr_error *err)
{
    const struct gr_settings *s = session->settings;
    const bool training = !session->model || strcmp(name, "train") == 0;
    const struct gr_pack_options options = {.out = pack->folder,
                                            .size = s->side,
                                            .whole = s->keep == KEEP_WHOLE,
                                            .quality = (int)s->quality,
                                            .shard_bytes = s->shard_size,
                                            .source_order = s->order == ORDER_SOURCE ||
                                                            (s->order == ORDER_AUTO && !training),
                                            .max_corrupt = s->max_corrupt ? s->max_corrupt : -1,
                                            .progress = gr_data_display_progress,
                                            .progress_user = display};
    pack->name = name;
    snprintf(pack->folder, sizeof pack->folder, "%s%s%s", s->out, session->model ? "/" : "",
             session->model ? name : "");
    if (session->model && !check_no_link(pack->folder, err))
        return false;
    return session->model ? gr_pack_part(session->model, name, &options, &pack->result, err)
                          : gr_pack_path(session->context, name, &options, &pack->result, err);
}

/* Says of a pack what is not in the table. */
static void tell(const struct gr_settings *settings, const struct packed *pack)
{
    const struct gr_pack_result *r = &pack->result;
    char done[GR_FIGURE], rate[GR_FIGURE], time[GR_FIGURE];
    const int64_t now = r->images + r->skipped - r->before;
    gr_status_clear();
    if (settings->quiet)
        return;
    if (now <= 0)
        fprintf(stderr, "%s: packed already\n", pack->name);
    else
        fprintf(stderr, "%s: %s images  %s images/s  %s%s\n", pack->name,
                gr_grouped_text(now, done), gr_rate_text((double)now / r->seconds, rate),
                gr_duration_text(r->seconds, time), r->before ? "  after what was there" : "");
}

/* The name-th thing to pack, or NULL. */
static const char *operand(const struct gr_session *session, size_t index)
{
    const struct gr_words *operands = &session->settings->operands;
    if (!session->model)
        return index == 0 ? operands->items[0] : NULL;
    if (operands->count == 1)
        return gr_model_part(session->model, index);
    return index + 1 < operands->count ? operands->items[index + 1] : NULL;
}

static int pack(const struct gr_session *session)
{
    static struct packed packs[PARTS];
    const struct gr_settings *settings = session->settings;
    struct gr_data_display display = {.quiet = settings->quiet};
    struct gr_error err = {0};
    const char *name = NULL;
    size_t count = 0;
    bool ok = true;
    if (!session->model && settings->operands.count > 1)
        return gr_tool_fail(GR_ERR_USAGE, "data pack: one path at a time, not also '%s'",
                            settings->operands.items[1]);
    gr_interrupt_watch();
    for (; ok && count < PARTS && (name = operand(session, count)); count += ok) {
        ok = pack_one(session, name, &packs[count], &display, &err);
        if (ok)
            tell(settings, &packs[count]);
    }
    gr_status_clear();
    if (gr_interrupt_signal() && !ok) {
        fprintf(stderr, "stopped; the same command goes on where it was\n");
        return 128 + gr_interrupt_signal();
    }
    return ok ? print(settings, packs, count) : gr_tool_error(&err);
}

static int run(const struct gr_settings *settings)
{
    return gr_session_run_data(settings, pack);
}

/* ---- the command line -------------------------------------------------------------------- */

static const char *const keeps[] = {"center", "whole", NULL};
static const char *const orders[] = {"auto", "mixed", "source", NULL};

static const struct gr_option options[] = {
    {.name = "output",
     .letter = 'o',
     .type = GR_OPTION_TEXT,
     .offset = GR_FIELD(out),
     .value = "FOLDER",
     .required = true,
     .doc = "where the packs go: of a model's data into a folder for each part"},
    {.name = "size",
     .type = GR_OPTION_INT,
     .offset = GR_FIELD(side),
     .value = "N",
     .min = 1,
     .max = 1 << 14,
     .def = "256",
     .doc = "pixels of the shorter side"},
    {.name = "keep",
     .type = GR_OPTION_CHOICE,
     .offset = GR_FIELD(keep),
     .value = "center|whole",
     .choices = keeps,
     .def = "center",
     .doc = "the N×N in the middle, or all of the picture"},
    {.name = "quality",
     .type = GR_OPTION_INT,
     .offset = GR_FIELD(quality),
     .value = "N",
     .min = 1,
     .max = 100,
     .def = "95",
     .doc = "of JPEG"},
    {.name = "shard-size",
     .type = GR_OPTION_BYTES,
     .offset = GR_FIELD(shard_size),
     .value = "BYTES",
     .def = "256M",
     .doc = "an archive's most, from 10K on; what an interruption can cost"},
    {.name = "order",
     .type = GR_OPTION_CHOICE,
     .offset = GR_FIELD(order),
     .value = "mixed|source",
     .choices = orders,
     .def = "auto",
     .doc = "shuffled once, so that training reads in long stretches, or as in the source (auto: "
            "source for a model's parts but train)"},
    GR_MAX_CORRUPT_OPTION,
    GR_JSON_OPTION,
    {.name = NULL},
};

static const struct gr_example examples[] = {
    {"graph-runner data pack models/alexnet.yaml -o packed",
     "train and val, into packed/train ..."},
    {"IMAGENET=$PWD/packed graph-runner train models/alexnet.yaml --out runs/alexnet",
     "trains on it: the folder stands for the original"},
    {"graph-runner data pack photos -o packed --keep whole",
     "class folders, before there is a model"},
    {.line = NULL},
};

const struct gr_command gr_command_data_pack = {
    .name = "data pack",
    .summary = "make data small, for training to read fast",
    .operands = "MODEL|PATH [PART...]",
    .min_operands = 1,
    .max_operands = SIZE_MAX,
    .description =
        "Resizes the images of the parts of a model's data (a .yaml file), or of a folder or "
        "archive given directly, keeps their centre, encodes them as JPEG again and writes them "
        "to a few tar archives with an index, which any model takes where it takes class folders. "
        "The archives are WebDataset's shards; other programs read them too.\n\n"
        "On the way it counts the mean of RGB and its covariance, whose eigenvectors AlexNet's "
        "colour jitter needs. The transforms mean and pca_lighting, where they are given no "
        "numbers, take those of the pack in data.train, and weights remember them.\n\n"
        "Interrupted, killed or out of space, it goes on with the same command, and arrives at "
        "the same bytes. Before it is finished nothing reads what is there.",
    .options = options,
    .examples = examples,
    .run = run,
};
