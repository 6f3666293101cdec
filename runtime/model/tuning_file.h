/*
 * Choices of kernels in files: JSON, with the machine that they were made on. A cache in a folder
 * has a file for each machine; a run folder has the choices of its run, so that a resumed run
 * computes with the same kernels and gives the same bits.
 */
#ifndef GR_MODEL_TUNING_FILE_H
#define GR_MODEL_TUNING_FILE_H

#include "graph/tuning.h"

/*
 * FOLDER/kernels-VERSION-HASH.json for the machine, so that a new version, whose kernels of the
 * same name may be faster, measures anew; on the heap. NULL: out of memory.
 */
char *gr_tuning_file_name(const char *folder, const char *machine);

/*
 * Records what the file holds. A file that is not there is no choices. False and *err (GR_ERR_DATA)
 * when it cannot be read, is damaged, or was made on another machine; choices stay as they were.
 */
bool gr_tuning_file_load(struct gr_tuning *tuning, const char *path, const char *machine,
                         struct gr_error *err);

/*
 * Writes atomically the choices that were used, for a run; or, for a machine's cache, all but the
 * unsure ones.
 */
bool gr_tuning_file_save(const struct gr_tuning *tuning, const char *path, const char *machine,
                         bool used, struct gr_error *err);

/*
 * The same as a text, on the heap, without the seconds, which differ from one measurement to the
 * next; NULL and *err on failure. And back, where path stands for it in messages.
 */
char *gr_tuning_text(const struct gr_tuning *tuning, const char *machine, bool used,
                     struct gr_error *err);
bool gr_tuning_parse(struct gr_tuning *tuning, const char *text, const char *path,
                     const char *machine, struct gr_error *err);

/* Saves to the context's cache if anything was measured since; a failure is a warning in its log.
 */
struct gr_context;
void gr_tuning_keep(struct gr_context *context);

#endif
