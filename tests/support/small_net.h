/*
 * A small network with one of everything that the runtime treats in its own way: convolutions with
 * ReLU behind them, LRN, both poolings, a concat, a batch norm, a residual add, dropout, a view,
 * two linear layers and a loss; compiled for inference or as a training step. Whatever fails ends
 * the test.
 */
#ifndef GR_TESTS_SMALL_NET_H
#define GR_TESTS_SMALL_NET_H

#include "graph/autodiff.h"
#include "graph/program.h"

enum { GR_NET_CLASSES = 10, GR_NET_TARGETS = 64 };

struct gr_net_options {
    int64_t batch;
    bool training;   /* dropout and batch statistics on */
    bool update;     /* a run is a training step */
    bool no_dropout; /* nothing is dropped: which elements are depends on how they lie in memory */
    bool branching;  /* another net: filters beside each other and two towers */
    bool straight;   /* another net, in which nothing branches */
    int threads;     /* 0: one, which is fast enough whatever else the machine does */
    enum gr_kernels kernels;
    struct gr_program_options program;
    /* Names of values to fetch, "grad:NAME" for gradients; ends with NULL. NULL: loss and prob. */
    const char *const *targets;
    struct gr_net *share; /* take this net's backend and parameters; it must live longer */
};

struct gr_net {
    struct gr_net_options options;
    struct gr_backend *backend;
    struct gr_graph *graph;
    struct gr_params *params;
    struct gr_program *program;
    struct gr_value *targets[GR_NET_TARGETS];
    size_t n_targets;
};

/* Builds, compiles and feeds (seed 1) the net. */
void gr_net_init(struct gr_net *net, const struct gr_net_options *options);
void gr_net_release(struct gr_net *net);

/* The parts of gr_net_init: the graph, its targets and the parameters; then the program. */
void gr_net_build(struct gr_net *net, const struct gr_net_options *options);
void gr_net_compile(struct gr_net *net);

/* Feeds random images and labels, the same for each index of an image whatever the batch. */
void gr_net_feed(struct gr_net *net, uint64_t seed);

/* Runs with learning rate 0.05, where the net has updates. */
void gr_net_run(struct gr_net *net, uint64_t step);

/* The elements of a target after a run, by name as it was asked for. */
const float *gr_net_fetch(const struct gr_net *net, const char *name);
int64_t gr_net_count(const struct gr_net *net, const char *name);

/* A parameter out of and into the store, plain; the count is the parameter's. */
float *gr_net_get(const struct gr_net *net, const char *parameter); /* for the caller to free */
void gr_net_set(struct gr_net *net, const char *parameter, const float *data);

/* Every parameter and state of two nets has the same bits. */
void gr_net_expect_same_parameters(const struct gr_net *a, const struct gr_net *b);

#endif
