/*
 * Results as JSON; see report.h.
 */
#include "report.h"

#include <errno.h>
#include <math.h>

#include "terminal.h"

int gr_report_json(json_t *json, bool one_line)
{
    const size_t layout = one_line ? JSON_COMPACT : JSON_INDENT(2);
    const size_t ascii = gr_is_terminal(stdout) ? JSON_ENSURE_ASCII : 0; /* no C1 controls */
    errno = 0; /* Jansson may leave out what there is no memory for */
    const bool ok = json &&
                    json_dumpf(json, stdout, layout | ascii | JSON_REAL_PRECISION(10)) == 0 &&
                    errno != ENOMEM;
    json_decref(json);
    if (!ok)
        return gr_tool_fail(GR_ERR_RUNTIME, "cannot write the result as JSON");
    putchar('\n');
    return GR_OK;
}

void gr_report_add(json_t **list, json_t *item)
{
    if (!*list) {
        json_decref(item);
    } else if (json_array_append_new(*list, item) != 0) {
        json_decref(*list);
        *list = NULL;
    }
}

json_t *gr_report_number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

json_t *gr_report_metrics(const struct gr_metric *metrics, int count)
{
    json_t *object = json_object();
    for (int i = 0; object && i < count; i++)
        if (json_object_set_new(object, metrics[i].name, gr_report_number(metrics[i].value)) != 0) {
            json_decref(object);
            return NULL;
        }
    return object;
}
