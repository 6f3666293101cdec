/*
 * The layered drawing; see layers.h. Folding it is in layers_fold.c.
 */
#include "report/layers.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_ITEMS = 5000, SWEEPS = 8, PLACINGS = 24, GAP = 22, DOWN = 26, WAYPOINT = 10 };

/* Who is linked to whom in neighbouring layers: neighbours of i are to[first[i]] on. */
struct links {
    int *first, *to;
    int *rank; /* [n_items] of those linked to: which counts most for a place */
};

void gr_layers_release(struct gr_layers *layers)
{
    free(layers->items);
    free(layers->edges);
    free(layers->order);
    free(layers->first);
    free(layers->top);
    free(layers->bottom);
    *layers = (struct gr_layers){0};
}

/* ---- layers and waypoints ---------------------------------------------------------------- */

/* Boxes in order of their edges' direction: predecessors have lower numbers. */
static void assign(struct gr_layers *layers)
{
    for (bool changed = true; changed;) {
        changed = false;
        for (int e = 0; e < layers->n_edges; e++) {
            const int below = layers->items[layers->edges[e].from].layer + 1;
            struct gr_layers_item *to = &layers->items[layers->edges[e].to];
            if (to->layer < below) {
                to->layer = below;
                changed = true;
            }
        }
    }
    for (int i = 0; i < layers->n_boxes; i++)
        if (layers->items[i].layer >= layers->n_layers)
            layers->n_layers = layers->items[i].layer + 1;
}

static bool add_waypoints(struct gr_layers *layers, struct gr_error *err)
{
    int64_t n = layers->n_boxes;
    for (int e = 0; e < layers->n_edges; e++)
        n += layers->items[layers->edges[e].to].layer - layers->items[layers->edges[e].from].layer -
             1;
    if (n > MOST_ITEMS)
        return gr_fail(err, GR_ERR_USAGE, "a graph too large to be drawn");
    struct gr_layers_item *items = realloc(layers->items, (size_t)n * sizeof *items);
    if (!items)
        return gr_fail_memory(err, "drawing a graph");
    layers->items = items;
    layers->n_items = layers->n_boxes;
    for (int e = 0; e < layers->n_edges; e++) {
        struct gr_layers_edge *edge = &layers->edges[e];
        edge->via = layers->n_items;
        for (int layer = items[edge->from].layer + 1; layer < items[edge->to].layer; layer++)
            items[layers->n_items++] = (struct gr_layers_item){.width = WAYPOINT, .layer = layer};
        edge->n_via = layers->n_items - edge->via;
    }
    return true;
}

static void fill_order(struct gr_layers *layers)
{
    int at = 0;
    for (int layer = 0; layer < layers->n_layers; layer++) {
        layers->first[layer] = at;
        for (int i = 0; i < layers->n_items; i++)
            if (layers->items[i].layer == layer)
                layers->order[at++] = i;
    }
    layers->first[layers->n_layers] = at;
}

/* ---- links ------------------------------------------------------------------------------- */

/* Calls for each pair of neighbours along an edge, the upper first. */
static void each_link(const struct gr_layers *layers, struct links *links, int sign,
                      void (*call)(struct links *links, int from, int to))
{
    for (int e = 0; e < layers->n_edges; e++) {
        const struct gr_layers_edge *edge = &layers->edges[e];
        for (int k = 0; k <= edge->n_via; k++) {
            const int upper = k ? edge->via + k - 1 : edge->from;
            const int lower = k < edge->n_via ? edge->via + k : edge->to;
            call(links, sign > 0 ? lower : upper, sign > 0 ? upper : lower);
        }
    }
}

static void count_link(struct links *links, int from, int to)
{
    (void)to;
    links->first[from + 1]++;
}

/* first[i] runs through the places of i's links, to end where those of i + 1 begin. */
static void put_link(struct links *links, int from, int to)
{
    links->to[links->first[from]++] = to;
}

/* sign 1: each item's links to the layer above; -1: below. */
static bool find_links(const struct gr_layers *layers, int sign, struct links *links)
{
    const size_t n = (size_t)layers->n_items;
    links->first = calloc(n + 1, sizeof *links->first);
    links->to = calloc(n + (size_t)layers->n_edges + 1, sizeof *links->to);
    if (!links->first || !links->to)
        return false;
    each_link(layers, links, sign, count_link);
    for (size_t i = 0; i < n; i++)
        links->first[i + 1] += links->first[i];
    each_link(layers, links, sign, put_link);
    memmove(links->first + 1, links->first, n * sizeof *links->first);
    links->first[0] = 0;
    return true;
}

static void release_links(struct links *links)
{
    free(links->first);
    free(links->to);
    free(links->rank);
}

/* ---- order ------------------------------------------------------------------------------- */

/* The mean of `of` over an item's links; without links what it is itself. */
static double mean(const struct links *links, int item, const double *of)
{
    double sum = 0;
    const int from = links->first[item], to = links->first[item + 1];
    for (int k = from; k < to; k++)
        sum += of[links->to[k]];
    return to > from ? sum / (to - from) : of[item];
}

/* Sorts a layer by key, equals as they were. */
static void sort_layer(int *order, int n, const double *key)
{
    for (int i = 1; i < n; i++) {
        const int item = order[i];
        int at = i;
        for (; at > 0 && key[order[at - 1]] > key[item]; at--)
            order[at] = order[at - 1];
        order[at] = item;
    }
}

/* Takes the layers in turn, down or up, and orders each by the one before. */
static void sweep(struct gr_layers *layers, const struct links *links, bool down, double *place,
                  double *key)
{
    for (int k = 0; k < layers->n_layers; k++) {
        const int layer = down ? k : layers->n_layers - 1 - k;
        int *order = layers->order + layers->first[layer];
        const int n = layers->first[layer + 1] - layers->first[layer];
        for (int i = 0; i < n; i++)
            key[order[i]] = mean(links, order[i], place);
        sort_layer(order, n, key);
        for (int i = 0; i < n; i++) /* relative, so that narrow layers compare with broad ones */
            place[order[i]] = (i + 0.5) / n;
    }
}

/* ---- places ------------------------------------------------------------------------------ */

/* A run of neighbours that touch: the mean of what they want, by weight. */
struct block {
    double sum, weight;
    int n;
};

static double distance(const struct gr_layers *layers, int left, int right)
{
    return (layers->items[left].width + layers->items[right].width) / 2 + GAP;
}

/*
 * Where an item would like to be for its links: in the middle of those of the highest rank, so that
 * a chain of boxes is straight and what leads round it bends.
 */
static double wish(const struct links *links, int item, const double *place)
{
    double sum = 0;
    int n = 0, best = -1;
    for (int k = links->first[item]; k < links->first[item + 1]; k++) {
        const int to = links->to[k], rank = links->rank[to];
        if (rank > best) {
            best = rank;
            sum = n = 0;
        }
        sum += rank == best ? place[to] : 0;
        n += rank == best;
    }
    return n ? sum / n : place[item];
}

/*
 * Ranks: above, boxes before waypoints; below, by the number of layers that hang on a box, so that
 * the longest path is the straight one.
 */
static bool rank(const struct gr_layers *layers, struct links links[2])
{
    for (int l = 0; l < 2; l++)
        if (!(links[l].rank = calloc((size_t)layers->n_items + 1, sizeof *links[l].rank)))
            return false;
    for (int i = 0; i < layers->n_boxes; i++)
        links[0].rank[i] = links[1].rank[i] = 1;
    for (bool changed = true; changed;) {
        changed = false;
        for (int e = layers->n_edges - 1; e >= 0; e--) {
            const int above = links[1].rank[layers->edges[e].to] + 1;
            int *from = &links[1].rank[layers->edges[e].from];
            changed = changed || *from < above;
            *from = *from < above ? above : *from;
        }
    }
    return true;
}

/*
 * How firmly an item stands where it wants to: boxes on the longest path from those above them
 * most, edges that pass by make way.
 */
static double weight_of(const struct gr_layers *layers, const struct links links[2], int item)
{
    const int from = links[0].first[item], to = links[0].first[item + 1];
    bool firm = item < layers->n_boxes && from == to;
    for (int k = from; k < to; k++)
        firm = firm || links[1].rank[links[0].to[k]] == links[1].rank[item] + 1;
    return firm && item < layers->n_boxes ? 1000 : 1;
}

/* Gives the items of a layer the places nearest to `wanted` that keep their distances. */
static void place_layer(const struct gr_layers *layers, const struct links links[2], int layer,
                        const double *wanted, double *place, struct block *blocks)
{
    const int *order = layers->order + layers->first[layer];
    const int n = layers->first[layer + 1] - layers->first[layer];
    int n_blocks = 0;
    double offset = 0;
    for (int i = 0; i < n; i++) {
        const double weight = weight_of(layers, links, order[i]);
        offset += i ? distance(layers, order[i - 1], order[i]) : 0;
        blocks[n_blocks++] = (struct block){weight * (wanted[order[i]] - offset), weight, 1};
        while (n_blocks > 1 && blocks[n_blocks - 2].sum * blocks[n_blocks - 1].weight >
                                   blocks[n_blocks - 1].sum * blocks[n_blocks - 2].weight) {
            blocks[n_blocks - 2].sum += blocks[n_blocks - 1].sum;
            blocks[n_blocks - 2].weight += blocks[n_blocks - 1].weight;
            blocks[n_blocks - 2].n += blocks[n_blocks - 1].n;
            n_blocks--;
        }
    }
    offset = 0;
    for (int b = 0, i = 0; b < n_blocks; b++)
        for (int end = i + blocks[b].n; i < end; i++) {
            offset += i ? distance(layers, order[i - 1], order[i]) : 0;
            place[order[i]] = blocks[b].sum / blocks[b].weight + offset;
        }
}

static void settle(const struct gr_layers *layers, const struct links links[2], double *place,
                   double *wanted, struct block *blocks)
{
    memset(place, 0, (size_t)layers->n_items * sizeof *place);
    memset(wanted, 0, (size_t)layers->n_items * sizeof *wanted);
    for (int layer = 0; layer < layers->n_layers; layer++)
        place_layer(layers, links, layer, wanted, place, blocks);
    for (int k = 0; k <= PLACINGS; k++)
        for (int l = 0; l < layers->n_layers; l++) {
            const int layer = k % 2 ? layers->n_layers - 1 - l : l;
            for (int i = layers->first[layer]; i < layers->first[layer + 1]; i++) {
                const int item = layers->order[i];
                const double up = wish(&links[0], item, place);
                const double down = wish(&links[1], item, place);
                wanted[item] = k == PLACINGS ? (up + down) / 2 : k % 2 ? down : up;
            }
            place_layer(layers, links, layer, wanted, place, blocks);
        }
}

static void set_places(struct gr_layers *layers, const double *place)
{
    double left = 1e9, right = -1e9, y = 0;
    for (int i = 0; i < layers->n_items; i++) {
        const double half = layers->items[i].width / 2;
        left = place[i] - half < left ? place[i] - half : left;
        right = place[i] + half > right ? place[i] + half : right;
    }
    for (int layer = 0; layer < layers->n_layers; layer++) {
        double height = 0;
        for (int i = layers->first[layer]; i < layers->first[layer + 1]; i++) {
            struct gr_layers_item *item = &layers->items[layers->order[i]];
            item->x = place[layers->order[i]] - left;
            item->y = y;
            height = item->height > height ? item->height : height;
        }
        layers->top[layer] = y;
        layers->bottom[layer] = y + height;
        y += height + DOWN;
    }
    layers->width = right - left;
    layers->height = y - DOWN;
    layers->n_columns = 1;
    layers->columns[0] = (struct gr_layers_column){0, layers->n_layers - 1, 0, layers->width};
}

/* ---- all of it --------------------------------------------------------------------------- */

static bool arrange(struct gr_layers *layers)
{
    const size_t n = (size_t)layers->n_items;
    struct links links[2] = {{.first = NULL}, {.first = NULL}};
    double *place = calloc(n, sizeof *place), *key = calloc(n, sizeof *key);
    struct block *blocks = calloc(n, sizeof *blocks);
    const bool ok = find_links(layers, 1, &links[0]) && find_links(layers, -1, &links[1]) &&
                    rank(layers, links) && place && key && blocks;
    if (ok) {
        for (int k = 0; k < SWEEPS; k++)
            sweep(layers, &links[k % 2], k % 2 == 0, place, key);
        settle(layers, links, place, key, blocks);
        set_places(layers, place);
    }
    release_links(&links[0]);
    release_links(&links[1]);
    free(place);
    free(key);
    free(blocks);
    return ok;
}

bool gr_layers_init(struct gr_layers *layers, const struct gr_layers_item *boxes, int n_boxes,
                    const struct gr_layers_edge *edges, int n_edges, struct gr_error *err)
{
    *layers = (struct gr_layers){.n_boxes = n_boxes, .n_edges = n_edges};
    layers->items = calloc((size_t)n_boxes + 1, sizeof *layers->items);
    layers->edges = calloc((size_t)n_edges + 1, sizeof *layers->edges);
    if (!layers->items || !layers->edges)
        return gr_fail_memory(err, "drawing a graph");
    for (int i = 0; i < n_boxes; i++)
        layers->items[i] =
            (struct gr_layers_item){.width = boxes[i].width, .height = boxes[i].height};
    for (int e = 0; e < n_edges; e++)
        layers->edges[e] = (struct gr_layers_edge){.from = edges[e].from, .to = edges[e].to};
    assign(layers);
    if (!add_waypoints(layers, err))
        return false;
    layers->order = calloc((size_t)layers->n_items + 1, sizeof *layers->order);
    layers->first = calloc((size_t)layers->n_layers + 1, sizeof *layers->first);
    layers->top = calloc((size_t)layers->n_layers + 1, sizeof *layers->top);
    layers->bottom = calloc((size_t)layers->n_layers + 1, sizeof *layers->bottom);
    if (!layers->order || !layers->first || !layers->top || !layers->bottom)
        return gr_fail_memory(err, "drawing a graph");
    fill_order(layers);
    return arrange(layers) || gr_fail_memory(err, "drawing a graph");
}
