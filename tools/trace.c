/*
 * Steps as a Chrome trace, for Perfetto and chrome://tracing: one track for the steps, below it one
 * for each lane of nodes. Events are written one by one, a line each.
 */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "profile.h"
#include "terminal.h"

enum { PROCESS = 1, STEPS_TRACK = 0, FIRST_LANE_TRACK = 1 };

struct trace {
    FILE *file;
    bool begun, ok;
};

/* Writes an event and gives it up; NULL stands for one that could not be built. */
static void add_event(struct trace *trace, json_t *event)
{
    trace->ok = trace->ok && event && fputs(trace->begun ? ",\n" : "\n", trace->file) >= 0 &&
                json_dumpf(event, trace->file, JSON_COMPACT | JSON_REAL_PRECISION(15)) == 0;
    trace->begun = true;
    json_decref(event);
}

/* Microseconds to the nanosecond. */
static double micro(double seconds)
{
    return round(1e9 * seconds) / 1e3;
}

static void name_track(struct trace *trace, int track, const char *kind, const char *name)
{
    add_event(trace, json_pack("{s:s, s:s, s:i, s:i, s:{s:s}}", "ph", "M", "name", kind, "pid",
                               PROCESS, "tid", track, "args", "name", name));
}

static void name_tracks(struct trace *trace, const struct gr_profile *profile, const char *title)
{
    int lanes = 1;
    char name[32];
    for (size_t i = 0; i < profile->step * profile->n_nodes; i++)
        if (profile->spans[i].lane >= lanes)
            lanes = profile->spans[i].lane + 1;
    name_track(trace, STEPS_TRACK, "process_name", title);
    name_track(trace, STEPS_TRACK, "thread_name", "steps");
    for (int lane = 0; lane < lanes; lane++) {
        snprintf(name, sizeof name, lanes == 1 ? "nodes" : "nodes, lane %d", lane);
        name_track(trace, FIRST_LANE_TRACK + lane, "thread_name", name);
    }
}

static void add_step(struct trace *trace, const struct gr_profile *profile, size_t step)
{
    char name[32];
    snprintf(name, sizeof name, "step %zu", step + 1);
    add_event(trace,
              json_pack("{s:s, s:s, s:s, s:i, s:i, s:f, s:f, s:{s:I}}", "ph", "X", "name", name,
                        "cat", "step", "pid", PROCESS, "tid", STEPS_TRACK, "ts",
                        micro(profile->starts[step] - profile->starts[0]), "dur",
                        micro(profile->seconds[step]), "args", "step", (json_int_t)step + 1));
}

static void add_node(struct trace *trace, const struct gr_profile *profile, size_t step, size_t i)
{
    const struct gr_span *span = &profile->spans[step * profile->n_nodes + i];
    const struct gr_node_info *node = &profile->rows[i].node;
    const double bytes = profile->rows[i].bytes;
    if (!(span->seconds > 0))
        return;
    add_event(
        trace,
        json_pack("{s:s, s:s, s:s, s:i, s:i, s:f, s:f, s:{s:I, s:s, s:s, s:s, s:s, s:f, s:f, s:I}}",
                  "ph", "X", "name", node->name, "cat", node->phase, "pid", PROCESS, "tid",
                  FIRST_LANE_TRACK + span->lane, "ts", micro(span->start - profile->starts[0]),
                  "dur", micro(span->seconds), "args", "step", (json_int_t)step + 1, "op", node->op,
                  "phase", node->phase, "impl", node->impl, "layout", node->layout, "GFLOP/s",
                  2e-9 * node->macs / span->seconds, "GB/s", 1e-9 * bytes / span->seconds, "bytes",
                  (json_int_t)bytes));
}

static bool write_trace(const struct gr_profile *profile, const char *title, json_t *summary,
                        FILE *file)
{
    struct trace trace = {.file = file, .ok = summary && fputs("{\"traceEvents\":[", file) >= 0};
    name_tracks(&trace, profile, title);
    for (size_t step = 0; step < profile->step; step++) {
        add_step(&trace, profile, step);
        for (size_t i = 0; i < profile->n_nodes; i++)
            add_node(&trace, profile, step, i);
    }
    return fputs("\n],\n\"displayTimeUnit\":\"ms\",\n\"otherData\":", file) >= 0 && trace.ok &&
           json_dumpf(summary, file, JSON_COMPACT | JSON_REAL_PRECISION(10)) == 0 &&
           fputs("}\n", file) >= 0;
}

int gr_trace_write(const struct gr_profile *profile, const char *title, json_t *summary,
                   const char *path)
{
    const bool standard = strcmp(path, "-") == 0;
    FILE *file = standard ? stdout : fopen(path, "we");
    if (!file)
        return gr_tool_fail(GR_ERR_RUNTIME, "cannot write %s: %s", path, strerror(errno));
    bool ok = write_trace(profile, title, summary, file);
    ok = (standard ? fflush(file) : fclose(file)) == 0 && ok;
    return ok ? GR_OK : gr_tool_fail(GR_ERR_RUNTIME, "cannot write %s", path);
}
