/*
 * A drawing of a graph in layers: where boxes go so that every edge points down, few edges cross
 * and most run straight. It knows boxes and edges, not what they stand for.
 *
 * Boxes get the layer below their lowest predecessor. An edge over several layers passes through a
 * waypoint in each of those between. The order within a layer follows the neighbours'
 * (barycentres), places the neighbours' places: of all places that keep order and distance those
 * with the least squares of deviation. A tall drawing is folded into columns where a single box
 * separates what is above from what is below.
 */
#ifndef GR_REPORT_LAYERS_H
#define GR_REPORT_LAYERS_H

#include "base/error.h"

/* A box, or a waypoint of no height. */
struct gr_layers_item {
    double width, height;
    int layer;
    double x, y; /* the middle of its upper edge */
};

struct gr_layers_edge {
    int from, to; /* boxes, from < to */
    int via;      /* the first of its waypoints, which follow each other */
    int n_via;
};

struct gr_layers_column {
    int first, last; /* layers */
    double left, right;
};

enum { GR_LAYERS_COLUMNS = 5 };

/* Zero-initialised is empty. */
struct gr_layers {
    int n_boxes, n_items, n_edges, n_layers;
    struct gr_layers_item *items; /* [n_items], boxes first */
    struct gr_layers_edge *edges;
    int *order;           /* [n_items], layer by layer from the left */
    int *first;           /* [n_layers + 1] where a layer begins in it */
    double *top, *bottom; /* [n_layers] */
    struct gr_layers_column columns[GR_LAYERS_COLUMNS];
    int n_columns;
    double width, height; /* of the whole */
};

/*
 * Lays out n_boxes boxes, of which width and height are read, and n_edges edges, from and to of
 * each. What would be too large to look at (thousands of waypoints) is a usage error.
 */
bool gr_layers_init(struct gr_layers *layers, const struct gr_layers_item *boxes, int n_boxes,
                    const struct gr_layers_edge *edges, int n_edges, struct gr_error *err);

/* Folds it into columns, as many as are needed to be no taller than `height` and fit into `width`.
 */
void gr_layers_fold(struct gr_layers *layers, double width, double height);

/* The column of a layer. */
int gr_layers_column_of(const struct gr_layers *layers, int layer);

void gr_layers_release(struct gr_layers *layers);

#endif
