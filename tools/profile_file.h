/*
 * A profile read back: what `bench --json --nodes` printed, or `bench --trace` wrote (it holds the
 * same object).
 */
#ifndef GR_TOOLS_PROFILE_FILE_H
#define GR_TOOLS_PROFILE_FILE_H

#include <jansson.h>

#include "session.h"

/* Zero-initialised is none. */
struct gr_profile_file {
    const char *path;
    json_t *json;        /* the whole */
    const json_t *bench; /* in it: model, mode, batch, nodes, ... */
    char title[128];     /* "train, batch 128, 2 threads, f32" */
};

/*
 * Reads it ("-": standard input) and completes the settings by what was measured: mode (negative:
 * not said), batch, precision, threads, kernels. Where something else is asked for, it says so.
 * Returns an exit code.
 */
int gr_profile_file_open(struct gr_profile_file *file, const char *path,
                         struct gr_settings *settings);
void gr_profile_file_close(struct gr_profile_file *file);

/*
 * Finds the nodes of the plan in the profile: seconds [gr_plan_node_count] and *profile, which
 * borrows them and the file. A plan and a profile whose nodes differ are told as such; reorders may
 * differ, since layouts are chosen anew. Returns an exit code.
 */
int gr_profile_file_match(const struct gr_profile_file *file, const struct gr_session *session,
                          const struct gr_plan *plan, double *seconds,
                          struct gr_dot_profile *profile);

#endif
