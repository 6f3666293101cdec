/*
 * Folding a tall drawing into columns; see layers.h.
 */
#include "report/layers.h"

enum { GUTTER = 44, MARGIN = 20, TRIES = 24 };

int gr_layers_column_of(const struct gr_layers *layers, int layer)
{
    int column = 0;
    while (column + 1 < layers->n_columns && layer > layers->columns[column].last)
        column++;
    return column;
}

/* Does a single box separate what is above from what is below the layer? */
static bool can_end(const struct gr_layers *layers, int layer)
{
    return layer == layers->n_layers - 1 || (layers->first[layer + 1] - layers->first[layer] == 1 &&
                                             layers->order[layers->first[layer]] < layers->n_boxes);
}

/*
 * Cuts into columns no taller than height, each as tall as it may be; how many, or
 * GR_LAYERS_COLUMNS + 1: too many.
 */
static int cut(const struct gr_layers *layers, double height,
               struct gr_layers_column columns[GR_LAYERS_COLUMNS])
{
    int n = 0;
    for (int first = 0; first < layers->n_layers;) {
        int last = -1;
        for (int l = first; l < layers->n_layers; l++) {
            if (layers->bottom[l] - layers->top[first] > height)
                break;
            last = can_end(layers, l) ? l : last;
        }
        if (last < 0 || n == GR_LAYERS_COLUMNS)
            return GR_LAYERS_COLUMNS + 1;
        columns[n++] = (struct gr_layers_column){.first = first, .last = last};
        first = last + 1;
    }
    return n;
}

/* The least height that so many columns can have. */
static double least_height(const struct gr_layers *layers, int columns)
{
    struct gr_layers_column scratch[GR_LAYERS_COLUMNS];
    double low = 0, high = layers->height;
    for (int k = 0; k < TRIES; k++) {
        const double middle = (low + high) / 2;
        if (cut(layers, middle, scratch) <= columns)
            high = middle;
        else
            low = middle;
    }
    return high;
}

/* Gives the columns their places side by side; returns the whole's width. */
static double spread(const struct gr_layers *layers,
                     struct gr_layers_column columns[GR_LAYERS_COLUMNS], int n)
{
    double at = 0;
    for (int c = 0; c < n; c++) {
        double left = 1e9, right = -1e9;
        for (int i = layers->first[columns[c].first]; i < layers->first[columns[c].last + 1]; i++) {
            const struct gr_layers_item *item = &layers->items[layers->order[i]];
            left = item->x - item->width / 2 < left ? item->x - item->width / 2 : left;
            right = item->x + item->width / 2 > right ? item->x + item->width / 2 : right;
        }
        columns[c].left = at;
        columns[c].right = at + right - left;
        at = columns[c].right + GUTTER;
    }
    return at - GUTTER;
}

static void move(struct gr_layers *layers, const struct gr_layers_column *column)
{
    double left = 1e9;
    const double up = layers->top[column->first] - MARGIN;
    for (int i = layers->first[column->first]; i < layers->first[column->last + 1]; i++) {
        const struct gr_layers_item *item = &layers->items[layers->order[i]];
        left = item->x - item->width / 2 < left ? item->x - item->width / 2 : left;
    }
    for (int i = layers->first[column->first]; i < layers->first[column->last + 1]; i++) {
        layers->items[layers->order[i]].x += column->left - left;
        layers->items[layers->order[i]].y -= up;
    }
    for (int l = column->first; l <= column->last; l++) {
        layers->top[l] -= up;
        layers->bottom[l] -= up;
    }
}

void gr_layers_fold(struct gr_layers *layers, double width, double height)
{
    struct gr_layers_column best[GR_LAYERS_COLUMNS], columns[GR_LAYERS_COLUMNS];
    int n_best = cut(layers, layers->height, best);
    double tall = layers->height, whole = spread(layers, best, n_best);
    for (int wanted = 2; wanted <= GR_LAYERS_COLUMNS && tall > height; wanted++) {
        const double least = least_height(layers, wanted);
        const int n = cut(layers, least, columns);
        const double wide = n <= GR_LAYERS_COLUMNS ? spread(layers, columns, n) : width + 1;
        if (wide > width || least >= 0.95 * tall)
            continue;
        tall = least;
        whole = wide;
        n_best = n;
        for (int c = 0; c < n; c++)
            best[c] = columns[c];
    }
    layers->n_columns = n_best;
    layers->width = whole;
    layers->height = tall + 2 * MARGIN;
    for (int c = 0; c < n_best; c++) {
        layers->columns[c] = best[c];
        move(layers, &best[c]);
    }
}
