/*
 * GR_VECTOR_CLONES before a function has the compiler make it once for each generation of vector
 * instructions, chosen when the program starts. Only gcc's, and not under the address sanitizer,
 * whose start-up comes after the choice.
 */
#ifndef GR_BASE_VECTOR_CLONES_H
#define GR_BASE_VECTOR_CLONES_H

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) &&                             \
    !defined(__SANITIZE_ADDRESS__)
#define GR_VECTOR_CLONES                                                                           \
    __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define GR_VECTOR_CLONES
#endif

#endif
