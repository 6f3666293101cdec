/*
 * Cards laid out and drawn; see network.h.
 */
#include "report/network.h"

#include <stdlib.h>

#include "graph/op.h"
#include "report/cards.h"

enum {
    MOST_NODES = 5000,
    MOST_CARDS = 700,
    ROW = 18,
    PAD = 7,
    BAR = 4,
    COLUMN_GAP = 14,
    MOST_EVEN = 310, /* px: up to there all cards are as wide as the widest */
    PAGE = 1320,     /* px: a fifth more than a page is wide, to which it is then scaled down */
    HEAD = 8,        /* where lines from another column pass */
    TALL = 560,      /* from where on the drawing is folded */
};

static const double letter = 6.7; /* px, of the monospaced font */

struct network {
    struct gr_cards dealt;
    struct gr_layers layers;
    struct gr_text *out;
};

/* ---- drawing ----------------------------------------------------------------------------- */

static double card_width(const struct gr_card *card)
{
    const double gaps = card->shape ? 2 * COLUMN_GAP : COLUMN_GAP;
    return (double)(card->name + card->op + card->shape) * letter + gaps + 2 * PAD + BAR + 4;
}

static double card_height(const struct gr_card *card)
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

static void draw_row(const struct network *net, const struct gr_card *card,
                     const struct gr_card_row *row, double width, double y)
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
    gr_html_short(out, row->value->name, GR_CARD_NAME);
    gr_text_add(out, "</text><text class=\"op\" x=\"%.1f\" y=\"%g\">", op, y + 13);
    gr_html_short(out, row->op, GR_CARD_OP);
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
    const struct gr_card *card = &net->dealt.cards[index];
    const struct gr_layers_item *item = &net->layers.items[index];
    gr_text_add(net->out,
                "<g transform=\"translate(%.1f %.1f)\"><rect class=\"card\" width=\"%.1f\" "
                "height=\"%.1f\" rx=\"5\"/>\n",
                item->x - item->width / 2, item->y, item->width, item->height);
    for (int r = 0; r < card->n_rows; r++)
        draw_row(net, card, &net->dealt.rows[card->rows[r]], item->width, PAD / 2.0 + r * ROW);
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
    for (int c = 0; c < net->dealt.n_cards; c++)
        draw_card(net, c);
    gr_text_add(out, "</svg></div>\n");
}

/* ---- all of it --------------------------------------------------------------------------- */

/* Cards of about the same columns look tidier; long names are no reason to widen all. */
static void even_out(struct network *net)
{
    struct gr_card widest = {.n_rows = 0};
    for (int c = 0; c < net->dealt.n_cards; c++) {
        const struct gr_card *card = &net->dealt.cards[c];
        if (!card->open)
            continue;
        widest.name = card->name > widest.name ? card->name : widest.name;
        widest.op = card->op > widest.op ? card->op : widest.op;
        widest.shape = card->shape > widest.shape ? card->shape : widest.shape;
    }
    for (int c = 0; c < net->dealt.n_cards && card_width(&widest) <= MOST_EVEN; c++) {
        if (!net->dealt.cards[c].open)
            continue;
        net->dealt.cards[c].name = widest.name;
        net->dealt.cards[c].op = widest.op;
        net->dealt.cards[c].shape = widest.shape;
    }
}

static bool lay_out(struct network *net, struct gr_error *err)
{
    struct gr_layers_item *boxes = calloc((size_t)net->dealt.n_cards + 1, sizeof *boxes);
    if (!boxes)
        return gr_fail_memory(err, "drawing a graph");
    even_out(net);
    for (int c = 0; c < net->dealt.n_cards; c++)
        boxes[c] = (struct gr_layers_item){.width = card_width(&net->dealt.cards[c]),
                                           .height = card_height(&net->dealt.cards[c])};
    const bool ok = gr_layers_init(&net->layers, boxes, net->dealt.n_cards, net->dealt.edges,
                                   net->dealt.n_edges, err);
    if (ok)
        gr_layers_fold(&net->layers, PAGE, TALL);
    free(boxes);
    return ok;
}

static bool build(struct network *net, const struct gr_graph *graph, struct gr_error *err)
{
    struct gr_error failed = {0};
    bool small = graph->n_nodes <= MOST_NODES;
    if (small && !gr_cards_init(&net->dealt, graph, err))
        return false;
    small = small && net->dealt.n_cards <= MOST_CARDS && lay_out(net, &failed);
    if (failed.status && failed.status != GR_ERR_USAGE)
        return gr_fail(err, failed.status, "%s", failed.message);
    if (small)
        draw(net);
    else
        gr_text_add(net->out,
                    "<p class=\"note\">The network has %zu nodes, too many to be drawn here; "
                    "<code>graph-runner dot</code> draws any.</p>\n",
                    graph->n_nodes);
    return true;
}

bool gr_network_draw(const struct gr_model_file *file, struct gr_text *out, struct gr_error *err)
{
    struct network net = {.out = out};
    struct gr_graph *graph = gr_model_file_graph(file, 1, false, err);
    const bool ok = graph && build(&net, graph, err);
    gr_layers_release(&net.layers);
    gr_cards_release(&net.dealt);
    gr_graph_free(graph);
    return ok;
}
