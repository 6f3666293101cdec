/*
 * Classes from the worst to the best; see classes.h.
 */
#include "classes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "format.h"
#include "report.h"
#include "table.h"

enum { ENDS = 10 }; /* classes shown of either end */

/* Negative: of no image. */
static double accuracy(const struct gr_class_result *class)
{
    return class->images ? (double)class->right / (double)class->images : -1;
}

/* ---- as a table -------------------------------------------------------------------------- */

static int worse_first(const void *a, const void *b)
{
    const struct gr_class_result *const *x = a, *const *y = b;
    const double left = accuracy(*x), right = accuracy(*y);
    if (left < right || left > right)
        return left < right ? -1 : 1;
    return *x < *y ? -1 : 1; /* in their order */
}

static void add_name(struct gr_table *table, const struct gr_class_result *classes, int64_t index)
{
    if (index < 0)
        gr_table_add(table, "%s", "");
    else if (*classes[index].name)
        gr_table_add(table, "%s", classes[index].name);
    else
        gr_table_add(table, "%" PRId64, index);
}

static void add_class(struct gr_table *table, const struct gr_class_result *classes,
                      const struct gr_class_result *class)
{
    char text[GR_FIGURE], bar[GR_FIGURE];
    const double share = accuracy(class);
    add_name(table, classes, class - classes);
    gr_table_add(table, "%s", gr_grouped_text(class->images, text));
    gr_table_add(table, "%s", share < 0 ? "-" : gr_percent_text(share, text));
    gr_table_add(table, "%s", share < 0 ? "" : gr_bar_text(share, bar));
    add_name(table, classes, class->mistaken_for);
    gr_table_add(table, "%s",
                 class->mistaken_for < 0
                     ? ""
                     : gr_percent_text((double)class->mistaken / (double)class->images, text));
}

int gr_classes_print(const struct gr_class_result *classes, int64_t count)
{
    static const struct gr_column columns[] = {{"class", GR_LEFT},          {"images", GR_RIGHT},
                                               {"right", GR_RIGHT},         {"", GR_LEFT},
                                               {"most taken for", GR_LEFT}, {"", GR_RIGHT}};
    struct gr_table table = {.columns = columns, .n_columns = 6};
    const struct gr_class_result **sorted = calloc((size_t)count + 1, sizeof(void *));
    if (!sorted)
        return gr_tool_no_memory();
    for (int64_t c = 0; c < count; c++)
        sorted[c] = &classes[c];
    qsort(sorted, (size_t)count, sizeof(void *), worse_first);
    for (int64_t c = 0; c < count; c++) {
        if (count > 2 * ENDS && c == ENDS) {
            gr_table_rule(&table);
            c = count - ENDS;
        }
        add_class(&table, classes, sorted[c]);
    }
    putchar('\n');
    const int status = gr_table_print(&table, stdout);
    if (status == GR_OK && count > 2 * ENDS)
        printf("\nthe %d worst and the %d best of %" PRId64 " classes\n", ENDS, ENDS, count);
    gr_table_release(&table);
    free(sorted);
    return status;
}

/* ---- as JSON ----------------------------------------------------------------------------- */

static json_t *index_or_null(int64_t index)
{
    return index < 0 ? json_null() : json_integer((json_int_t)index);
}

json_t *gr_classes_json(const struct gr_class_result *classes, int64_t count)
{
    json_t *list = json_array();
    for (int64_t c = 0; list && c < count; c++) {
        const struct gr_class_result *class = &classes[c];
        json_t *item = json_pack(
            "{s:I, s:s?, s:I, s:I, s:o, s:o, s:I}", "index", (json_int_t)c, "class",
            *class->name ? class->name : NULL, "images", (json_int_t) class->images, "right",
            (json_int_t) class->right, "accuracy",
            class->images ? gr_report_number(accuracy(class)) : json_null(), "mistaken_for",
            index_or_null(class->mistaken_for), "mistaken", (json_int_t) class->mistaken);
        if (json_array_append_new(list, item) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}
