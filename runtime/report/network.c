/*
 * A model's graph as cards; see network.h.
 */
#include "report/network.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/graph.h"
#include "graph/op.h"
#include "report/layers.h"

enum {
    MOST_ROWS = 8, /* of a card */
    MOST_CARDS = 700,
    ROW = 18,
    PAD = 7,
    BAR = 4,
    COLUMN_GAP = 14,
    NAME_LETTERS = 26,
    OP_LETTERS = 24,
    MOST_EVEN = 310,
    PAGE = 1320, /* px: a fifth more than a page is wide, to which it is then scaled down */
    HEAD = 8,    /* where lines from another column pass */
    TALL = 560,  /* from where on the drawing is folded */
};

static const double letter = 6.7; /* px, of the monospaced font */

/* A line of a card: a node, or an input of the model. */
struct row {
    const struct gr_value *value; /* its first output */
    char op[64], shape[64];
};

struct card {
    int rows[MOST_ROWS];
    int n_rows;
    bool open;              /* more may follow */
    int source;             /* the card that all its nodes read, or -1 */
    size_t name, op, shape; /* letters of its columns */
};

struct network {
    struct gr_graph *graph;
    struct gr_uses uses;
    struct row *rows; /* [n_rows] */
    struct card *cards;
    int n_rows, n_cards;
    int *card_of; /* [n_values] the card that makes the value, or -1 */
    struct gr_layers_edge *edges;
    int n_edges;
    struct gr_layers layers;
    struct gr_text *out;
};

/* ---- rows -------------------------------------------------------------------------------- */

/* An attribute of height and width; NULL: the op has none of that name. */
static const int64_t *size_of(const struct gr_node *node, const char *name)
{
    const struct gr_attr *attr = gr_kind_attr(&node->op->kind, name);
    if (!attr || attr->type != GR_ATTR_SIZE2 || !node->attrs)
        return NULL;
    return (const int64_t *)((const char *)node->attrs + attr->offset);
}

/* "conv 11×11 /4": the op, kernel and stride where it has such. A pool's stride 0 is its kernel. */
static void op_text(const struct gr_node *node, char text[64])
{
    const int64_t *kernel = size_of(node, "kernel"), *stride = size_of(node, "stride");
    int used = snprintf(text, 64, "%.30s", node->op->kind.name);
    if (!kernel)
        return;
    used += snprintf(text + used, 64 - (size_t)used, " %" PRId64 "×%" PRId64, kernel[0], kernel[1]);
    if (stride && !stride[0])
        stride = kernel;
    if (!stride || (stride[0] == 1 && stride[1] == 1) || used >= 64)
        return;
    used += snprintf(text + used, 64 - (size_t)used, " /%" PRId64, stride[0]);
    if (stride[0] != stride[1] && used < 64)
        snprintf(text + used, 64 - (size_t)used, "×%" PRId64, stride[1]);
}

/* Without the batch: "96×55×55", "1000"; a scalar has none. */
static void shape_text(const struct gr_value *value, char text[64])
{
    size_t used = 0;
    text[0] = '\0';
    for (int d = 1; d < value->shape.rank && used < 64; d++)
        used += (size_t)snprintf(text + used, 64 - used, "%s%" PRId64, used ? "×" : "",
                                 value->shape.dim[d]);
}

static size_t cut_to(size_t letters, size_t most)
{
    return letters < most ? letters : most;
}

static void add_row(struct network *net, struct card *card, const struct gr_value *value)
{
    struct row *row = &net->rows[net->n_rows];
    row->value = value;
    if (value->producer)
        op_text(value->producer, row->op);
    else
        snprintf(row->op, sizeof row->op, "input");
    shape_text(value, row->shape);
    const size_t name = cut_to(gr_html_letters(value->name), NAME_LETTERS);
    const size_t op = cut_to(gr_html_letters(row->op), OP_LETTERS);
    const size_t shape = gr_html_letters(row->shape);
    card->name = name > card->name ? name : card->name;
    card->op = op > card->op ? op : card->op;
    card->shape = shape > card->shape ? shape : card->shape;
    card->rows[card->n_rows++] = net->n_rows++;
}

/* ---- cards ------------------------------------------------------------------------------- */

static bool is_data(const struct gr_value *value)
{
    return value->producer || (value->kind == GR_VALUE_INPUT && !value->classes);
}

/* The only card that a node reads, of which it may read several values; -1: none, or several. */
static int only_source(const struct network *net, const struct gr_node *node)
{
    int source = -1;
    for (int i = 0; i < node->n_data; i++) {
        if (!is_data(node->inputs[i]))
            continue;
        const int card = net->card_of[node->inputs[i]->id];
        if (source >= 0 && card != source)
            return -1;
        source = card;
    }
    return source;
}

static size_t readers(const struct network *net, const struct gr_node *node)
{
    size_t count = 0;
    for (int o = 0; o < node->n_outputs; o++)
        count += net->uses.first[node->outputs[o]->id + 1] - net->uses.first[node->outputs[o]->id];
    return count;
}

static bool begins_card(const struct gr_node *node)
{
    return node->op->params &&
           strcmp(node->op->category ? node->op->category : "", "normalisation");
}

/* The card that a node goes on with: one that ends in its only input, read by it alone. */
static struct card *card_to_continue(const struct network *net, const struct gr_node *node)
{
    const int source = only_source(net, node);
    if (source < 0 || node->n_data != 1 || begins_card(node))
        return NULL;
    struct card *card = &net->cards[source];
    const struct gr_node *before = node->inputs[0]->producer;
    const bool last = net->rows[card->rows[card->n_rows - 1]].value->producer == before;
    return card->open && last && before && readers(net, before) == 1 && card->n_rows < MOST_ROWS
               ? card
               : NULL;
}

/* Of nodes that nothing reads (losses, accuracies), those of one source share a card. */
static struct card *card_of_ends(const struct network *net, const struct gr_node *node)
{
    const int source = only_source(net, node);
    if (readers(net, node) || source < 0 || begins_card(node))
        return NULL;
    for (int c = source + 1; c < net->n_cards; c++)
        if (!net->cards[c].open && net->cards[c].source == source &&
            net->cards[c].n_rows < MOST_ROWS)
            return &net->cards[c];
    return NULL;
}

static struct card *new_card(struct network *net, int source, bool open)
{
    struct card *card = &net->cards[net->n_cards++];
    *card = (struct card){.open = open, .source = source};
    return card;
}

static void deal_node(struct network *net, const struct gr_node *node)
{
    struct card *card = card_to_continue(net, node);
    if (!card)
        card = card_of_ends(net, node);
    if (!card)
        card = new_card(net, only_source(net, node), readers(net, node) > 0);
    add_row(net, card, node->outputs[0]);
    for (int o = 0; o < node->n_outputs; o++)
        net->card_of[node->outputs[o]->id] = (int)(card - net->cards);
}

static void deal(struct network *net)
{
    for (size_t v = 0; v < net->graph->n_values; v++) {
        const struct gr_value *value = net->graph->values[v];
        net->card_of[v] = -1;
        if (value->kind == GR_VALUE_INPUT && is_data(value)) {
            net->card_of[v] = net->n_cards;
            add_row(net, new_card(net, -1, true), value);
        }
    }
    for (size_t n = 0; n < net->graph->n_nodes; n++)
        if (net->graph->nodes[n]->n_outputs)
            deal_node(net, net->graph->nodes[n]);
}

static void add_edge(struct network *net, int from, int to)
{
    for (int e = 0; e < net->n_edges; e++)
        if (net->edges[e].from == from && net->edges[e].to == to)
            return;
    net->edges[net->n_edges++] = (struct gr_layers_edge){.from = from, .to = to};
}

static void link_cards(struct network *net)
{
    for (size_t n = 0; n < net->graph->n_nodes; n++) {
        const struct gr_node *node = net->graph->nodes[n];
        if (!node->n_outputs)
            continue;
        const int to = net->card_of[node->outputs[0]->id];
        for (int i = 0; i < node->n_data; i++) {
            const int from = net->card_of[node->inputs[i]->id];
            if (from >= 0 && from < to)
                add_edge(net, from, to);
        }
    }
}

/* ---- drawing ----------------------------------------------------------------------------- */

static double card_width(const struct card *card)
{
    const double gaps = card->shape ? 2 * COLUMN_GAP : COLUMN_GAP;
    return (double)(card->name + card->op + card->shape) * letter + gaps + 2 * PAD + BAR + 4;
}

static double card_height(const struct card *card)
{
    return card->n_rows * ROW + PAD;
}

/* "pooling" of "loss and metrics" becomes one word. */
static void add_category(const struct gr_node *node, struct gr_text *out)
{
    const char *category = !node ? "input" : node->op->category ? node->op->category : "other";
    for (; *category; category++)
        gr_text_add(out, "%c", (*category >= 'a' && *category <= 'z') ? *category : '-');
}

static void add_title(const struct network *net, const struct gr_value *value)
{
    const struct gr_node *node = value->producer;
    struct gr_text attributes = {0}, *out = net->out;
    int64_t parameters = 0;
    gr_text_add(out, "<title>");
    gr_html_text(out, value->name);
    if (node) {
        gr_text_add(out, " · ");
        gr_html_text(out, node->op->kind.name);
        if (node->attrs)
            gr_kind_describe(&node->op->kind, node->attrs, 99, false, &attributes);
        for (int i = node->n_data; i < node->n_inputs; i++)
            parameters += gr_shape_count(&node->inputs[i]->shape);
    }
    if (attributes.length) {
        gr_text_add(out, "\n");
        gr_html_text(out, attributes.data);
    }
    if (parameters) {
        gr_text_add(out, "\n");
        gr_html_figure(out, GR_FIGURE_COUNT, (double)parameters);
        gr_text_add(out, " parameters");
    }
    gr_text_add(out, "</title>");
    out->failed = out->failed || attributes.failed;
    gr_text_release(&attributes);
}

static void draw_row(const struct network *net, const struct card *card, const struct row *row,
                     double width, double y)
{
    struct gr_text *out = net->out;
    const double name = PAD + BAR + 2, op = name + (double)card->name * letter + COLUMN_GAP;
    gr_text_add(out, "<g class=\"node ");
    add_category(row->value->producer, out);
    gr_text_add(out, "\">");
    add_title(net, row->value);
    gr_text_add(out,
                "<rect class=\"bar\" x=\"%d\" y=\"%g\" width=\"%d\" height=\"%d\"/><rect "
                "class=\"hit\" x=\"1\" y=\"%g\" width=\"%g\" height=\"%d\"/><text class=\"name\" "
                "x=\"%.1f\" y=\"%g\">",
                PAD - 2, y + 3, BAR, ROW - 5, y, width - 2, ROW, name, y + 13);
    gr_html_short(out, row->value->name, NAME_LETTERS);
    gr_text_add(out, "</text><text class=\"op\" x=\"%.1f\" y=\"%g\">", op, y + 13);
    gr_html_short(out, row->op, OP_LETTERS);
    gr_text_add(out, "</text>");
    if (*row->shape) {
        gr_text_add(out, "<text class=\"shape\" x=\"%.1f\" y=\"%g\" text-anchor=\"end\">",
                    width - PAD, y + 13);
        gr_html_text(out, row->shape);
        gr_text_add(out, "</text>");
    }
    gr_text_add(out, "</g>\n");
}

static void draw_card(const struct network *net, int index)
{
    const struct card *card = &net->cards[index];
    const struct gr_layers_item *item = &net->layers.items[index];
    gr_text_add(net->out,
                "<g transform=\"translate(%.1f %.1f)\"><rect class=\"card\" width=\"%.1f\" "
                "height=\"%.1f\" rx=\"5\"/>\n",
                item->x - item->width / 2, item->y, item->width, item->height);
    for (int r = 0; r < card->n_rows; r++)
        draw_row(net, card, &net->rows[card->rows[r]], item->width, PAD / 2.0 + r * ROW);
    gr_text_add(net->out, "</g>\n");
}

/* A curve that leaves and arrives upright; straight where there is nothing to go round. */
static void curve_to(const struct network *net, double from_x, double from_y, double x, double y)
{
    const double middle = (from_y + y) / 2;
    if (from_x - x < 0.5 && x - from_x < 0.5)
        gr_text_add(net->out, "V%.1f", y);
    else
        gr_text_add(net->out, "C%.1f %.1f %.1f %.1f %.1f %.1f", from_x, middle, x, middle, x, y);
}

/* From the foot of a column through the space between to the head of the next, above `to`. */
static void draw_turn(const struct network *net, int column, double to, double y)
{
    const struct gr_layers_column *columns = net->layers.columns;
    const double between = (columns[column].right + columns[column + 1].left) / 2;
    gr_text_add(net->out, "V%.1fH%.1fV%dH%.1f", y + 10, between, HEAD, to);
}

static void draw_edge(const struct network *net, const struct gr_layers_edge *edge)
{
    const struct gr_layers *layers = &net->layers;
    const struct gr_layers_item *from = &layers->items[edge->from];
    double x = from->x, y = from->y + from->height;
    int column = gr_layers_column_of(layers, from->layer);
    gr_text_add(net->out, "<path d=\"M%.1f %.1f", x, y);
    for (int k = 0; k <= edge->n_via; k++) {
        const struct gr_layers_item *to =
            &layers->items[k < edge->n_via ? edge->via + k : edge->to];
        const int next = gr_layers_column_of(layers, to->layer);
        if (next != column) {
            draw_turn(net, column, to->x, y);
            x = to->x;
            y = HEAD;
        }
        column = next;
        curve_to(net, x, y, to->x, k < edge->n_via ? to->y : to->y - 5);
        x = to->x;
        y = to->y;
        if (k < edge->n_via) {
            y = layers->bottom[to->layer];
            gr_text_add(net->out, "V%.1f", y);
        }
    }
    gr_text_add(net->out, "\"/>\n");
}

static void draw(const struct network *net)
{
    struct gr_text *out = net->out;
    gr_text_add(out,
                "<div class=\"scroll\"><svg class=\"network\" "
                "style=\"width:%.0fpx;min-width:%.0fpx\" viewBox=\"-2 -2 "
                "%.0f %.0f\" role=\"img\" aria-label=\"the network\">\n"
                "<marker id=\"arrow\" viewBox=\"0 0 8 8\" refX=\"2\" refY=\"4\" markerWidth=\"7\" "
                "markerHeight=\"7\" orient=\"auto\"><path class=\"head\" d=\"M0 0.5L7 4L0 "
                "7.5z\"/></marker>\n<g class=\"edges\" marker-end=\"url(#arrow)\">\n",
                net->layers.width + 4, 0.8 * net->layers.width, net->layers.width + 4,
                net->layers.height + 4);
    for (int e = 0; e < net->layers.n_edges; e++)
        draw_edge(net, &net->layers.edges[e]);
    gr_text_add(out, "</g>\n");
    for (int c = 0; c < net->n_cards; c++)
        draw_card(net, c);
    gr_text_add(out, "</svg></div>\n");
}

/* ---- all of it --------------------------------------------------------------------------- */

static bool allocate(struct network *net, struct gr_error *err)
{
    const size_t n = net->graph->n_nodes + net->graph->n_values + 1;
    size_t inputs = 1;
    for (size_t i = 0; i < net->graph->n_nodes; i++)
        inputs += (size_t)net->graph->nodes[i]->n_data;
    net->rows = calloc(n, sizeof *net->rows);
    net->cards = calloc(n, sizeof *net->cards);
    net->card_of = calloc(n, sizeof *net->card_of);
    net->edges = calloc(inputs, sizeof *net->edges);
    return (net->rows && net->cards && net->card_of && net->edges) ||
           gr_fail_memory(err, "drawing a graph");
}

/* Cards of about the same columns look tidier; long names are no reason to widen all. */
static void even_out(struct network *net)
{
    struct card widest = {.n_rows = 0};
    for (int c = 0; c < net->n_cards; c++) {
        const struct card *card = &net->cards[c];
        if (!card->open)
            continue;
        widest.name = card->name > widest.name ? card->name : widest.name;
        widest.op = card->op > widest.op ? card->op : widest.op;
        widest.shape = card->shape > widest.shape ? card->shape : widest.shape;
    }
    for (int c = 0; c < net->n_cards && card_width(&widest) <= MOST_EVEN; c++) {
        if (!net->cards[c].open)
            continue;
        net->cards[c].name = widest.name;
        net->cards[c].op = widest.op;
        net->cards[c].shape = widest.shape;
    }
}

static bool lay_out(struct network *net, struct gr_error *err)
{
    struct gr_layers_item *boxes = calloc((size_t)net->n_cards + 1, sizeof *boxes);
    if (!boxes)
        return gr_fail_memory(err, "drawing a graph");
    even_out(net);
    for (int c = 0; c < net->n_cards; c++)
        boxes[c] = (struct gr_layers_item){.width = card_width(&net->cards[c]),
                                           .height = card_height(&net->cards[c])};
    const bool ok =
        gr_layers_init(&net->layers, boxes, net->n_cards, net->edges, net->n_edges, err);
    if (ok)
        gr_layers_fold(&net->layers, PAGE, TALL);
    free(boxes);
    return ok;
}

static bool build(struct network *net, struct gr_error *err)
{
    struct gr_error failed = {0};
    const size_t nodes = net->graph->n_nodes;
    bool large = nodes > (size_t)MOST_CARDS * MOST_ROWS;
    if (!large) {
        if (!gr_uses_init(&net->uses, net->graph, err) || !allocate(net, err))
            return false;
        deal(net);
        large = net->n_cards > MOST_CARDS;
    }
    if (!large) {
        link_cards(net);
        if (lay_out(net, &failed)) {
            draw(net);
            return true;
        }
        if (failed.status != GR_ERR_USAGE)
            return gr_fail(err, failed.status, "%s", failed.message);
    }
    gr_text_add(net->out,
                "<p class=\"note\">The network has %zu nodes, too many to be drawn here; "
                "<code>graph-runner dot</code> draws any.</p>\n",
                nodes);
    return true;
}

bool gr_network_draw(const struct gr_model_file *file, struct gr_text *out, struct gr_error *err)
{
    struct network net = {.out = out, .graph = gr_model_file_graph(file, 1, false, err)};
    const bool ok = net.graph && build(&net, err);
    gr_layers_release(&net.layers);
    if (net.graph)
        gr_uses_release(&net.uses);
    free(net.rows);
    free(net.cards);
    free(net.card_of);
    free(net.edges);
    gr_graph_free(net.graph);
    return ok;
}
