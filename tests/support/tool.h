/*
 * The graph-runner tool run by tests as a user would: the tool, a small model to give it, and what
 * came of it. A failure ends the test.
 */
#ifndef GR_TESTS_TOOL_H
#define GR_TESTS_TOOL_H

#include <jansson.h>
#include <sys/types.h>

/* What the tool printed and how it ended; status is 128 plus the signal that killed it. */
struct gr_outcome {
    int status;
    char *out, *err; /* owned */
};

void gr_outcome_release(struct gr_outcome *outcome);

/* Where standard output and error go instead; NULL: files of the test's folder. */
struct gr_tool_streams {
    const char *out, *err;
};

/* Runs the tool with the arguments, which a NULL ends; it must end with that status. */
struct gr_outcome gr_tool_run(int status, ...);

/* The same in two steps. streams may be NULL. */
pid_t gr_tool_start(const struct gr_tool_streams *streams, ...);
struct gr_outcome gr_tool_end(int status, pid_t pid);

/*
 * A terminal of so many columns, to be closed; *name is a stream of the tool's. Skips the test
 * where none can be had. And what the tool shows on it until it closes it; the text is the
 * caller's.
 */
int gr_tool_terminal(unsigned short columns, const char **name);
char *gr_tool_terminal_read(int terminal);

/* The whole of a text file ("" where there is none), and a new one; the text is the caller's. */
char *gr_tool_read(const char *path);
void gr_tool_save(const char *path, const char *text);

void gr_tool_contains(const char *text, const char *part);
void gr_tool_lacks(const char *text, const char *part);

/* JSON; the caller's. And the number under a key of an object. */
json_t *gr_tool_parse(const char *text);
double gr_tool_number(const json_t *object, const char *key);

/* CMocka's setup: the test's folder (to tear down with gr_folder_tear_down), and in it the model.
 */
int gr_tool_set_up(void **state);

/* Path of the model "tiny": image [3, 8, 8], conv1, relu1, fc, prob, loss, top1; classes 4,
 * batch 8. */
const char *gr_tool_model(void);

#endif
