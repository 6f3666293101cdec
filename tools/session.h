/*
 * What most commands start with: a context and a model as the settings say, and plans of it.
 */
#ifndef GR_TOOLS_SESSION_H
#define GR_TOOLS_SESSION_H

#include "settings.h"

/* Zero-initialised is nothing open. */
struct gr_session {
    const struct gr_settings *settings;
    struct gr_context *context;
    struct gr_model *model;
};

/* Loads the model at path, and the settings' weights if there are some. Returns an exit code. */
int gr_session_open(struct gr_session *session, const struct gr_settings *settings,
                    const char *path);
void gr_session_close(struct gr_session *session);

/* Did a plan fail since a signal came while kernels were measured for it? */
bool gr_session_stopped(void);

/* Opens the model that is the first operand, does the work, closes it. Returns an exit code. */
int gr_session_run(const struct gr_settings *settings,
                   int (*work)(const struct gr_session *session));

/* Is it the path of a model file (.yaml, .yml, "-"), rather than of data? */
bool gr_session_is_model(const char *path);

/* The same, but where the first operand is the path of data session.model is NULL. */
int gr_session_run_data(const struct gr_settings *settings,
                        int (*work)(const struct gr_session *session));

/* Completes options with the settings' precision, batch and memory planning, and makes the plan. */
struct gr_plan *gr_session_plan(const struct gr_session *session, struct gr_plan_options options,
                                struct gr_error *err);

/*
 * Feeds random numbers of about unit variance to every input of numbers, and random labels to the
 * first of integers (zeros to further ones).
 */
bool gr_session_feed(const struct gr_session *session, struct gr_plan *plan, struct gr_error *err);

/* --batch, or the model's own. */
int64_t gr_session_batch(const struct gr_session *session);

#endif
