/*
 * The network on the page: its forward nodes as written in the model file, drawn without Graphviz.
 * Nodes that follow each other without a branch share a card: a convolution with the activation,
 * normalisation and pooling behind it. A node is a line with name, op and output shape; its
 * attributes and parameters show under the pointer.
 */
#ifndef GR_REPORT_NETWORK_H
#define GR_REPORT_NETWORK_H

#include "model/model_file.h"
#include "report/markup.h"

/*
 * Appends the drawing. A graph too large to look at is replaced by a line that says so. False and
 * *err: the graph cannot be built, or memory ran out.
 */
bool gr_network_draw(const struct gr_model_file *file, struct gr_text *out, struct gr_error *err);

#endif
