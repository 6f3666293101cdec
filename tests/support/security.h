/*
 * What tests of hostile input share: SECURITY.md, whose table of limits they hold the code to.
 */
#ifndef GR_TESTS_SECURITY_H
#define GR_TESTS_SECURITY_H

/* Fails unless the page has the row "| what | 1,024 |". */
void gr_security_expect(const char *what, long long limit);

/* Fails, showing both, unless the text holds the part. */
void gr_expect_contains(const char *text, const char *part);

#endif
