/*
 * A reorder as loops, between any two blocked layouts in f32 or bf16: for those that oneDNN gets
 * wrong on some machines.
 *
 * In a blocked layout the place of an element is a sum of one term for each coordinate, so a table
 * for each dimension, of the source's terms and of the destination's, says where everything lies.
 */
#ifndef GR_OPS_REORDER_LOOPS_H
#define GR_OPS_REORDER_LOOPS_H

#include "onednn.h"

struct gr_reorder_loops;

/* Would oneDNN get this reorder wrong here? False of any other primitive. */
bool gr_reorder_loops_needed(struct gr_backend *backend, const_dnnl_primitive_desc_t pd);

/*
 * Does oneDNN believe that there is no cache, and so go wrong? Tried with a reorder, once a
 * backend.
 */
bool gr_reorder_finds_no_cache(struct gr_backend *backend);

/* The reorder pd as loops. NULL: out of memory. */
struct gr_reorder_loops *gr_reorder_loops_new(const_dnnl_primitive_desc_t pd, struct gr_error *err);
void gr_reorder_loops_free(struct gr_reorder_loops *loops); /* NULL is fine */

/* Writes all of dst, its padding with zeros. */
void gr_reorder_loops_run(const struct gr_reorder_loops *loops, const void *src, void *dst);

#endif
