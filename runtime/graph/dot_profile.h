/*
 * Time and memory on a drawing (dot.h): what a node takes colours it from white to red, what a
 * value weighs makes its edge thick and blue; a legend says what that means and what it sums up to.
 */
#ifndef GR_GRAPH_DOT_PROFILE_H
#define GR_GRAPH_DOT_PROFILE_H

#include "base/text.h"
#include "graph/program.h"

/* The scales of a drawing. */
struct gr_dot_scale {
    const struct gr_program *program;
    const struct gr_dot_profile *profile;
    double slowest; /* seconds of the slowest node: all red */
    double largest; /* bytes of the largest value on an edge: the thickest */
};

void gr_dot_scale_init(struct gr_dot_scale *scale, const struct gr_program *program,
                       const struct gr_dot_profile *profile);

/* "#fdcdb0", for the step of that index. */
enum { GR_DOT_COLOUR = 8 };
const char *gr_dot_scale_fill(const struct gr_dot_scale *scale, size_t step,
                              char colour[GR_DOT_COLOUR]);

/* Lines of an HTML label: "<br/>12.3 ms · 14.2 %", then GFLOP/s and GB/s. */
void gr_dot_scale_add_figures(const struct gr_dot_scale *scale, size_t step, struct gr_text *out);

/* "12.3 ms, 14.2 %", for a tooltip; nothing for what was not measured. */
void gr_dot_scale_add_time(const struct gr_dot_scale *scale, size_t step, struct gr_text *out);

/* Attributes of an edge: its width and, unless it is a faint one between phases, its colour. */
void gr_dot_scale_add_edge(const struct gr_dot_scale *scale, const struct gr_value *value,
                           bool faint, struct gr_text *out);

/* "36.2 MiB" */
void gr_dot_add_bytes(struct gr_text *out, double bytes);

/* The rows of the legend, for a table of an HTML label. */
void gr_dot_scale_add_legend(const struct gr_dot_scale *scale, struct gr_text *out);

/* Text into a label of the HTML kind. */
void gr_dot_add_html(struct gr_text *out, const char *text);

#endif
