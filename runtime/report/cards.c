/*
 * Dealing a graph to cards; see cards.h.
 */
#include "report/cards.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/op.h"
#include "report/markup.h"

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

static void add_row(struct gr_cards *cards, struct gr_card *card, const struct gr_value *value)
{
    struct gr_card_row *row = &cards->rows[cards->n_rows];
    row->value = value;
    if (value->producer)
        op_text(value->producer, row->op);
    else
        snprintf(row->op, sizeof row->op, "input");
    shape_text(value, row->shape);
    const size_t name = cut_to(gr_html_letters(value->name), GR_CARD_NAME);
    const size_t op = cut_to(gr_html_letters(row->op), GR_CARD_OP);
    const size_t shape = gr_html_letters(row->shape);
    card->name = name > card->name ? name : card->name;
    card->op = op > card->op ? op : card->op;
    card->shape = shape > card->shape ? shape : card->shape;
    card->rows[card->n_rows++] = cards->n_rows++;
}

/* ---- cards ------------------------------------------------------------------------------- */

static bool is_data(const struct gr_value *value)
{
    return value->producer || (value->kind == GR_VALUE_INPUT && !value->classes);
}

/* The only card that a node reads, of which it may read several values; -1: none, or several. */
static int only_source(const struct gr_cards *cards, const struct gr_node *node)
{
    int source = -1;
    for (int i = 0; i < node->n_data; i++) {
        if (!is_data(node->inputs[i]))
            continue;
        const int card = cards->card_of[node->inputs[i]->id];
        if (source >= 0 && card != source)
            return -1;
        source = card;
    }
    return source;
}

static size_t readers(const struct gr_cards *cards, const struct gr_node *node)
{
    size_t count = 0;
    for (int o = 0; o < node->n_outputs; o++)
        count +=
            cards->uses.first[node->outputs[o]->id + 1] - cards->uses.first[node->outputs[o]->id];
    return count;
}

static bool begins_card(const struct gr_node *node)
{
    return node->op->params &&
           strcmp(node->op->category ? node->op->category : "", "normalisation") != 0;
}

/* The card that a node goes on with: one that ends in its only input, read by it alone. */
static struct gr_card *card_to_continue(const struct gr_cards *cards, const struct gr_node *node)
{
    const int source = only_source(cards, node);
    if (source < 0 || node->n_data != 1 || begins_card(node))
        return NULL;
    struct gr_card *card = &cards->cards[source];
    const struct gr_node *before = node->inputs[0]->producer;
    const bool last = cards->rows[card->rows[card->n_rows - 1]].value->producer == before;
    return card->open && last && before && readers(cards, before) == 1 &&
                   card->n_rows < GR_CARD_ROWS
               ? card
               : NULL;
}

/* Of nodes that nothing reads (losses, accuracies), those of one source share a card. */
static struct gr_card *card_of_ends(const struct gr_cards *cards, const struct gr_node *node)
{
    const int source = only_source(cards, node);
    if (readers(cards, node) || source < 0 || begins_card(node))
        return NULL;
    for (int c = source + 1; c < cards->n_cards; c++)
        if (!cards->cards[c].open && cards->cards[c].source == source &&
            cards->cards[c].n_rows < GR_CARD_ROWS)
            return &cards->cards[c];
    return NULL;
}

static struct gr_card *new_card(struct gr_cards *cards, int source, bool open)
{
    struct gr_card *card = &cards->cards[cards->n_cards++];
    *card = (struct gr_card){.open = open, .source = source};
    return card;
}

static void deal_node(struct gr_cards *cards, const struct gr_node *node)
{
    struct gr_card *card = card_to_continue(cards, node);
    if (!card)
        card = card_of_ends(cards, node);
    if (!card)
        card = new_card(cards, only_source(cards, node), readers(cards, node) > 0);
    add_row(cards, card, node->outputs[0]);
    for (int o = 0; o < node->n_outputs; o++)
        cards->card_of[node->outputs[o]->id] = (int)(card - cards->cards);
}

static void deal(struct gr_cards *cards)
{
    for (size_t v = 0; v < cards->graph->n_values; v++) {
        const struct gr_value *value = cards->graph->values[v];
        cards->card_of[v] = -1;
        if (value->kind == GR_VALUE_INPUT && is_data(value)) {
            cards->card_of[v] = cards->n_cards;
            add_row(cards, new_card(cards, -1, true), value);
        }
    }
    for (size_t n = 0; n < cards->graph->n_nodes; n++)
        if (cards->graph->nodes[n]->n_outputs)
            deal_node(cards, cards->graph->nodes[n]);
}

static void add_edge(struct gr_cards *cards, int from, int to)
{
    for (int e = 0; e < cards->n_edges; e++)
        if (cards->edges[e].from == from && cards->edges[e].to == to)
            return;
    cards->edges[cards->n_edges++] = (struct gr_layers_edge){.from = from, .to = to};
}

static void link_cards(struct gr_cards *cards)
{
    for (size_t n = 0; n < cards->graph->n_nodes; n++) {
        const struct gr_node *node = cards->graph->nodes[n];
        if (!node->n_outputs)
            continue;
        const int to = cards->card_of[node->outputs[0]->id];
        for (int i = 0; i < node->n_data; i++) {
            const int from = cards->card_of[node->inputs[i]->id];
            if (from >= 0 && from < to)
                add_edge(cards, from, to);
        }
    }
}

/* ---- all of it --------------------------------------------------------------------------- */

static bool allocate(struct gr_cards *cards, struct gr_error *err)
{
    const size_t n = cards->graph->n_nodes + cards->graph->n_values + 1;
    size_t inputs = 1;
    for (size_t i = 0; i < cards->graph->n_nodes; i++)
        inputs += (size_t)cards->graph->nodes[i]->n_data;
    cards->rows = calloc(n, sizeof *cards->rows);
    cards->cards = calloc(n, sizeof *cards->cards);
    cards->card_of = calloc(n, sizeof *cards->card_of);
    cards->edges = calloc(inputs, sizeof *cards->edges);
    return (cards->rows && cards->cards && cards->card_of && cards->edges) ||
           gr_fail_memory(err, "drawing a graph");
}

bool gr_cards_init(struct gr_cards *cards, const struct gr_graph *graph, struct gr_error *err)
{
    *cards = (struct gr_cards){.graph = graph};
    if (!gr_uses_init(&cards->uses, graph, err) || !allocate(cards, err))
        return false;
    deal(cards);
    link_cards(cards);
    return true;
}

void gr_cards_release(struct gr_cards *cards)
{
    gr_uses_release(&cards->uses);
    free(cards->rows);
    free(cards->cards);
    free(cards->card_of);
    free(cards->edges);
    *cards = (struct gr_cards){0};
}
