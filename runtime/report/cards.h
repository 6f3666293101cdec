/*
 * The forward nodes of a graph dealt to cards: nodes that follow each other without a branch share
 * one, a convolution with the activation, normalisation and pooling behind it; so do the losses and
 * accuracies that read the same card.
 */
#ifndef GR_REPORT_CARDS_H
#define GR_REPORT_CARDS_H

#include "graph/graph.h"
#include "report/layers.h"

enum { GR_CARD_ROWS = 8, GR_CARD_NAME = 26, GR_CARD_OP = 24 }; /* rows; letters of columns */

/* A line of a card: a node, or an input of the model. */
struct gr_card_row {
    const struct gr_value *value; /* its first output */
    char op[64], shape[64];       /* "conv 11×11 /4", "96×55×55" without the batch */
};

struct gr_card {
    int rows[GR_CARD_ROWS];
    int n_rows;
    bool open;              /* something reads it; more may follow while it is dealt */
    int source;             /* the card that all its nodes read, or -1 */
    size_t name, op, shape; /* letters of its columns */
};

/* Zero-initialised is empty. */
struct gr_cards {
    const struct gr_graph *graph;
    struct gr_uses uses;
    struct gr_card_row *rows; /* [n_rows] */
    struct gr_card *cards;    /* [n_cards], each after those that it reads */
    int n_rows, n_cards;
    int *card_of; /* [n_values] the card that makes the value, or -1 */
    struct gr_layers_edge *edges;
    int n_edges;
};

/* Borrows the graph, which has forward nodes only. False and *err: out of memory. */
bool gr_cards_init(struct gr_cards *cards, const struct gr_graph *graph, struct gr_error *err);
void gr_cards_release(struct gr_cards *cards);

#endif
