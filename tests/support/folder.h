/*
 * A folder of its own for a test that writes: fresh under $TMPDIR or /tmp, removed with all that is
 * in it. Used as CMocka's setup and teardown; one at a time.
 */
#ifndef GR_TESTS_FOLDER_H
#define GR_TESTS_FOLDER_H

enum { GR_FOLDER_PATH = 1024 };

int gr_folder_set_up(void **state);
int gr_folder_tear_down(void **state);

/* The folder, and the path of a file in it. */
const char *gr_folder(void);
const char *gr_folder_file(const char *name, char buffer[GR_FOLDER_PATH]);

/* How many entries it has, hidden ones too; -1 when it cannot be read. */
int gr_folder_count(void);

#endif
