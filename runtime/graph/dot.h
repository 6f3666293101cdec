/*
 * A program as a picture: its nodes and the values between them in Graphviz's language.
 *
 * Nodes are coloured by their op's category and say what was compiled: name, op, attributes,
 * parameters and multiply-accumulates. Parameters stand inside the nodes that use them; inputs are
 * ovals, targets have a double border, views a dashed one, reorders are small and grey. Edges carry
 * the shape of the value and its memory layout where it is not plain. A training program is drawn
 * in clusters: forward runs down, backward up beside it, updates at its side. Edges between
 * clusters are dashed and carry their shape as a tooltip; an input that only updates read (the
 * learning rate) stands in their cluster without edges.
 */
#ifndef GR_GRAPH_DOT_H
#define GR_GRAPH_DOT_H

#include "graph/program.h"

/*
 * Appends one digraph. title is the heading, or NULL; with a profile (or NULL) time and memory
 * colour it (dot_profile.h). Fails when memory runs out.
 */
bool gr_program_dot(const struct gr_program *program, const char *title,
                    const struct gr_dot_profile *profile, struct gr_text *out,
                    struct gr_error *err);

#endif
