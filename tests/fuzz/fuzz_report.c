/*
 * A run's folder: what happened, figures of epochs, figures of steps, confusion matrix and model.
 * The page made of them holds nothing that they say as markup.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "report/page.h"
#include "train/journal.h"

/* In a script, where the figures are, quotes end strings and no attribute. */
static bool is_in_script(const char *page, const char *place)
{
    bool inside = false;
    for (const char *tag = page; (tag = strchr(tag, '<')) && tag < place; tag++)
        inside = strncmp(tag, "<script", 7) == 0 || (inside && strncmp(tag, "</script", 8) != 0);
    return inside;
}

/* The tag <fuzz and the attribute onfuzz, which the dictionary has, and control characters come
 * through nowhere. */
static void check_page(const struct gr_text *page)
{
    gr_fuzz_expect(!page->data || !strstr(page->data, "<fuzz"), "no markup from outside");
    for (const char *at = page->data; at && (at = strstr(at, "\" onfuzz=")); at++)
        gr_fuzz_expect(is_in_script(page->data, at), "no attribute from outside");
    for (size_t i = 0; i < page->length; i++)
        gr_fuzz_expect(page->data[i] == '\n' || page->data[i] == '\t' ||
                           (unsigned char)page->data[i] >= ' ',
                       "no control character in the page");
}

static void build(const struct gr_record *record, const struct gr_model_file *model)
{
    struct gr_text page = {0};
    struct gr_error err = {0};
    const struct gr_page_run runs[2] = {
        {"a", "runs/a", record, model, model ? model->resolved : NULL, NULL},
        {"b <fuzz>", "runs/\x1b[31m<fuzz>", record, model, model ? model->resolved : NULL, NULL}};
    for (size_t count = 1; count <= 2; count++) {
        gr_fuzz_expect(gr_page_build(runs, count, &page, &err), "a page can be made");
        check_page(&page);
        gr_text_release(&page);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"run.jsonl", "metrics.jsonl", "steps.jsonl",
                                        "confusion.csv"};
    struct gr_fuzz_bytes rest = {data, size};
    struct gr_record record = {0};
    struct gr_error err = {0};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        gr_fuzz_put(names[i], gr_fuzz_cut(&rest));
    struct gr_model_file *model =
        rest.size ? gr_model_file_parse(gr_standard_ops(), (const char *)rest.data, rest.size,
                                        "model.yaml", NULL, NULL, NULL, &err)
                  : NULL;
    if (model && model->n_nodes > 16) {
        gr_model_file_free(model);
        model = NULL;
    }
    err = (struct gr_error){0};
    if (gr_record_read(&record, gr_fuzz_folder(), NULL, NULL, &err))
        build(&record, model);
    gr_record_release(&record);
    gr_model_file_free(model);
    return 0;
}
