/*
 * graph-runner data check: what training would meet in its data.
 */
#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "data_progress.h"
#include "format.h"
#include "interrupt.h"
#include "report.h"
#include "session.h"
#include "table.h"

enum { SETS_SHOWN = 8 };

/* What people read of a trait. */
static const char *const trait_texts[GR_DATA_TRAITS] = {
    [GR_DATA_UNREADABLE] = "unreadable: skipped in training",
    [GR_DATA_DUPLICATE] = "the same bytes as another",
    [GR_DATA_TINY] = "smaller than the model's input",
    [GR_DATA_DISGUISED] = "of another format than the name",
    [GR_DATA_TURNED] = "to be turned, by EXIF data",
    [GR_DATA_CMYK] = "CMYK",
    [GR_DATA_GREY] = "grey",
};

/* ---- tables ------------------------------------------------------------------------------ */

static int print_classes(const struct gr_data_check *check)
{
    static const struct gr_column columns[] = {
        {"data", GR_LEFT_CUT}, {"images", GR_RIGHT}, {"size", GR_RIGHT}, {"classes", GR_RIGHT},
        {"least", GR_RIGHT},   {"median", GR_RIGHT}, {"most", GR_RIGHT}, {"empty", GR_RIGHT}};
    struct gr_table table = {.columns = columns, .n_columns = 8};
    char text[GR_FIGURE];
    for (size_t i = 0; i < gr_data_check_count(check); i++) {
        const struct gr_data_report *report = gr_data_check_report(check, i);
        const int64_t figures[] = {report->classes, report->least, report->median, report->most,
                                   report->empty};
        gr_table_add(&table, "%s", report->name);
        gr_table_add(&table, "%s", gr_grouped_text(report->images, text));
        gr_table_add(&table, "%s",
                     report->has_files ? gr_bytes_text((size_t)report->bytes, text) : "");
        for (size_t k = 0; k < sizeof figures / sizeof *figures; k++)
            gr_table_add(&table, "%s", gr_grouped_text(figures[k], text));
    }
    const int status = gr_table_print(&table, stdout);
    gr_table_release(&table);
    return status;
}

static int print_traits(const struct gr_data_check *check)
{
    struct gr_column columns[SETS_SHOWN + 1] = {{"images that are", GR_LEFT}};
    struct gr_table table = {.columns = columns, .n_columns = 1};
    char text[GR_FIGURE];
    const size_t count = gr_data_check_count(check);
    for (size_t i = 0; i < count && i < SETS_SHOWN; i++)
        columns[table.n_columns++] =
            (struct gr_column){gr_data_check_report(check, i)->name, GR_RIGHT};
    for (int trait = 0; trait < GR_DATA_TRAITS; trait++) {
        gr_table_add(&table, "%s", trait_texts[trait]);
        for (size_t i = 0; i + 1 < table.n_columns; i++) {
            const struct gr_data_report *report = gr_data_check_report(check, i);
            const bool known = trait != GR_DATA_TINY || report->height;
            gr_table_add(&table, "%s",
                         !report->has_files ? ""
                         : known            ? gr_grouped_text(report->traits[trait], text)
                                            : "-");
        }
    }
    putchar('\n');
    const int status = gr_table_print(&table, stdout);
    gr_table_release(&table);
    return status;
}

/* The first findings of each trait; the rest is counted. */
static int print_findings(const struct gr_data_check *check, int64_t most)
{
    static const struct gr_column columns[] = {
        {"", GR_LEFT}, {"image", GR_LEFT}, {"", GR_LEFT_CUT}};
    struct gr_table table = {.columns = columns, .n_columns = 3};
    for (int trait = 0; trait < GR_DATA_TRAITS; trait++) {
        int64_t met = 0;
        for (size_t i = 0; i < gr_data_check_count(check); i++) {
            const struct gr_data_report *report = gr_data_check_report(check, i);
            for (size_t k = 0; k < report->n_findings; k++) {
                const struct gr_data_finding *finding = &report->findings[k];
                if ((int)finding->trait != trait || met++ >= most)
                    continue;
                gr_table_add(&table, "%s", gr_data_trait_name(finding->trait));
                gr_table_add(&table, "%s", finding->name);
                gr_table_add(&table, "%s", finding->text ? finding->text : "");
            }
        }
        if (met > most && most) {
            gr_table_add(&table, "%s", gr_data_trait_name((enum gr_data_trait)trait));
            gr_table_add(&table, "… and %" PRId64 " more", met - most);
            gr_table_add(&table, "%s", "");
        }
    }
    if (table.count)
        putchar('\n');
    const int status = table.count ? gr_table_print(&table, stdout) : GR_OK;
    gr_table_release(&table);
    return status;
}

static int print_tables(const struct gr_data_check *check, int64_t most)
{
    bool files = false;
    int status = print_classes(check);
    for (size_t i = 0; i < gr_data_check_count(check); i++)
        files = files || gr_data_check_report(check, i)->has_files;
    if (status == GR_OK && files)
        status = print_traits(check);
    return status == GR_OK ? print_findings(check, most) : status;
}

/* ---- JSON -------------------------------------------------------------------------------- */

/* A name or path, which are bytes, where JSON wants UTF-8. */
static json_t *text_json(const char *text)
{
    json_t *json = text ? json_string(text) : NULL;
    return json ? json : json_null();
}

static json_t *classes_json(const struct gr_data_report *report)
{
    json_t *list = json_array();
    for (int64_t c = 0; c < report->classes; c++)
        gr_report_add(&list,
                      json_pack("{s:o, s:I}", "name",
                                text_json(report->class_names ? report->class_names[c] : NULL),
                                "images", (json_int_t)report->class_images[c]));
    return list;
}

static json_t *report_json(const struct gr_data_report *report)
{
    json_t *counts = json_object(), *findings = json_array();
    for (int trait = 0; trait < GR_DATA_TRAITS; trait++)
        json_object_set_new(counts, gr_data_trait_name((enum gr_data_trait)trait),
                            json_integer(report->traits[trait]));
    for (size_t i = 0; i < report->n_findings; i++) {
        const struct gr_data_finding *finding = &report->findings[i];
        gr_report_add(&findings,
                      json_pack("{s:s, s:o, s:o}", "trait", gr_data_trait_name(finding->trait),
                                "image", text_json(finding->name), "text",
                                text_json(finding->text)));
    }
    return json_pack("{s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:f}", "data",
                     text_json(report->name), "images", (json_int_t)report->images, "bytes",
                     (json_int_t)report->bytes, "least", (json_int_t)report->least, "median",
                     (json_int_t)report->median, "most", (json_int_t)report->most, "empty",
                     (json_int_t)report->empty, "counts", counts, "findings", findings, "classes",
                     classes_json(report), "seconds", report->seconds);
}

static int print_json(const struct gr_data_check *check)
{
    json_t *list = json_array();
    for (size_t i = 0; i < gr_data_check_count(check); i++)
        gr_report_add(&list, report_json(gr_data_check_report(check, i)));
    return gr_report_json(list, false);
}

/* ---- checking ---------------------------------------------------------------------------- */

/* "224", or "256x224": height and width. */
static bool read_size(const char *text, int64_t *height, int64_t *width)
{
    char *end = NULL;
    *height = *width = text && isdigit((unsigned char)*text) ? strtoll(text, &end, 10) : 0;
    if (end && *end == 'x' && isdigit((unsigned char)end[1]))
        *width = strtoll(end + 1, &end, 10);
    return !text || (end && !*end && *height > 0 && *width > 0);
}

static bool has_part(const struct gr_model *model, const char *name)
{
    const char *part;
    for (size_t i = 0; (part = gr_model_part(model, i)); i++)
        if (strcmp(part, name) == 0)
            return true;
    return false;
}

/* A part of the model's, or a path with images for it. */
static bool look_at(struct gr_data_check *check, struct gr_model *model, const char *operand,
                    struct gr_error *err)
{
    struct gr_shape image;
    if (has_part(model, operand) || (!strpbrk(operand, "/*?[{") && access(operand, F_OK) != 0))
        return gr_data_check_part(check, model, operand, err);
    return gr_model_image_shape(model, &image, err) &&
           gr_data_check_path(check, operand, image.dim[1], image.dim[2], err);
}

/* Looks through what the operands name: a model's data, or without a model paths. */
static bool look(struct gr_data_check *check, const struct gr_session *session,
                 struct gr_error *err)
{
    const struct gr_words *operands = &session->settings->operands;
    const char *part = NULL;
    int64_t height, width;
    bool ok = true;
    read_size(session->settings->size, &height, &width);
    if (!session->model)
        for (size_t i = 0; ok && i < operands->count; i++)
            ok = gr_data_check_path(check, operands->items[i], height, width, err);
    else if (operands->count > 1)
        for (size_t i = 1; ok && i < operands->count; i++)
            ok = look_at(check, session->model, operands->items[i], err);
    else
        for (size_t i = 0; ok && (part = gr_model_part(session->model, i)); i++)
            ok = gr_data_check_part(check, session->model, part, err);
    return ok;
}

static int check(const struct gr_session *session)
{
    const struct gr_settings *settings = session->settings;
    struct gr_data_display display = {.quiet = settings->quiet};
    struct gr_error err = {0};
    struct gr_data_check *check =
        gr_data_check_new(session->context, gr_data_display_progress, &display, &err);
    int64_t unreadable = 0;
    gr_interrupt_watch();
    const bool ok = check && look(check, session, &err);
    gr_status_clear();
    int status = gr_interrupt_signal() ? 128 + gr_interrupt_signal() : GR_OK;
    if (status == GR_OK && !ok)
        status = gr_tool_error(&err);
    if (status == GR_OK)
        status = settings->json ? print_json(check) : print_tables(check, settings->count);
    for (size_t i = 0; status == GR_OK && i < gr_data_check_count(check); i++)
        unreadable += gr_data_check_report(check, i)->traits[GR_DATA_UNREADABLE];
    if (unreadable)
        status = gr_tool_fail(GR_ERR_DATA, "%" PRId64 " unreadable image%s", unreadable,
                              unreadable == 1 ? "" : "s");
    gr_data_check_free(check);
    return status;
}

static int run(const struct gr_settings *settings)
{
    const bool model = gr_session_is_model(settings->operands.items[0]);
    int64_t height, width;
    if (!read_size(settings->size, &height, &width))
        return gr_tool_fail(GR_ERR_USAGE,
                            "data check: --size: '%s' is not a size in pixels, such as 224 or "
                            "256x224 (height, width)",
                            settings->size);
    if (model && settings->size)
        return gr_tool_fail(GR_ERR_USAGE, "data check: --size is for paths without a model, which "
                                          "says the size itself");
    return gr_session_run_data(settings, check);
}

static const struct gr_option options[] = {
    {.name = "size",
     .type = GR_OPTION_TEXT,
     .offset = GR_FIELD(size),
     .value = "N|HxW",
     .doc = "count images smaller than this, where no model says what it needs"},
    {.name = "list",
     .type = GR_OPTION_INT,
     .offset = GR_FIELD(count),
     .value = "N",
     .min = 0,
     .max = 1e9,
     .def = "10",
     .doc = "images to name of each kind; --json names all"},
    GR_JSON_OPTION,
    {.name = NULL},
};

static const struct gr_example examples[] = {
    {"graph-runner data check models/alexnet.yaml", "all parts of its data"},
    {"graph-runner data check models/alexnet.yaml val", "one of them"},
    {"graph-runner data check models/alexnet.yaml photos",
     "other images, against the model's size"},
    {"graph-runner data check ILSVRC2012_img_train.tar --size 224",
     "an archive, before there is a model"},
    {.line = NULL},
};

const struct gr_command gr_command_data_check = {
    .name = "data check",
    .summary = "look through data for what would disturb training",
    .operands = "MODEL|PATH [PART|PATH...]",
    .min_operands = 1,
    .max_operands = SIZE_MAX,
    .description = "Reads and decodes every image of the parts of a model's data (a .yaml file), "
                   "or of folders "
                   "and archives given directly, and reports images a class and what is "
                   "remarkable. Duplicates "
                   "are found across parts too: a test image among those of training.\n\n"
                   "The exit code is 4 where data cannot be opened, as training would not, or "
                   "where an image is "
                   "unreadable. All else that is reported is read like any other image.",
    .options = options,
    .examples = examples,
    .run = run,
};
