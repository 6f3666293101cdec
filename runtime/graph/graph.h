/*
 * The graph: values, the nodes that compute them, their attributes and where they were written.
 * A description only; it owns no tensor data. Forward, backward and update nodes are alike but for
 * their phase. A graph is built for one batch size; everything in it lives in its pool.
 */
#ifndef GR_GRAPH_GRAPH_H
#define GR_GRAPH_GRAPH_H

#include "base/kind.h"
#include "base/map.h"
#include "base/shape.h"

struct gr_op;
struct gr_registry;

enum gr_value_kind {
    GR_VALUE_INPUT,     /* fed before a run */
    GR_VALUE_PARAMETER, /* persists between runs: weights, running statistics */
    GR_VALUE_STATE,     /* persists beside a parameter: momentum */
    GR_VALUE_RESULT,    /* computed by a node, dead after its last use */
    GR_VALUE_WORKSPACE, /* left by a forward node to its backward; its kernel sets the size */
};

/* What a parameter adds to a value. */
struct gr_parameter {
    struct gr_choice init;   /* of the initialisers */
    int64_t fan_in, fan_out; /* of a weight [O, I, ...]: I·k and O·k, k the product of the rest */
    double lr_mult, decay_mult;
    bool trainable; /* false: frozen, or a statistic */
    bool statistic; /* kept by the op itself, like a running mean */
};

struct gr_value {
    const char *name; /* unique in the graph */
    int id;           /* index in graph->values */
    enum gr_value_kind kind;
    enum gr_dtype dtype;
    struct gr_shape shape;
    struct gr_node *producer;       /* NULL for inputs, parameters and states */
    struct gr_parameter *parameter; /* of GR_VALUE_PARAMETER */
    struct gr_value *of;            /* gradient, state or reorder: of which value; else NULL */
    int64_t classes;                /* of an input: elements are labels, -1 (none) to classes - 1 */
};

enum gr_phase { GR_FORWARD, GR_BACKWARD, GR_UPDATE };

struct gr_node {
    const char *name; /* unique among nodes */
    int id;           /* index in graph->nodes */
    const struct gr_op *op;
    const void *attrs; /* the op's attribute struct */
    enum gr_phase phase;
    struct gr_mark mark;
    int n_inputs, n_outputs;
    int n_copies; /* of an update: the last so many inputs are copies of the parameter, to be
                     renewed */
    int n_data;   /* the first n_data inputs were written by the user, the rest are parameters */
    struct gr_value **inputs; /* [n_inputs] */
    struct gr_value **outputs;
    struct gr_node *forward; /* of a backward node: the node it differentiates */
    struct gr_node *origin;  /* of a node that computes again: the node it repeats; else NULL */
    bool frozen;             /* forward: its parameters are not trained, its statistics stay */
    struct gr_graph *graph;
};

struct gr_graph {
    struct gr_pool pool;
    const struct gr_registry *ops;
    bool training; /* dropout and batch statistics are on */
    struct gr_node **nodes;
    size_t n_nodes, nodes_capacity;
    struct gr_value **values;
    size_t n_values, values_capacity;
    struct gr_map value_names, node_names;
};

/* NULL: out of memory. */
struct gr_graph *gr_graph_new(const struct gr_registry *ops, bool training);
void gr_graph_free(struct gr_graph *graph);

struct gr_value *gr_graph_value(const struct gr_graph *graph, const char *name); /* or NULL */
struct gr_node *gr_graph_node(const struct gr_graph *graph, const char *name);   /* or NULL */

/* A value with no producer. Its name must be free. NULL and *err on failure. */
struct gr_value *gr_graph_add_value(struct gr_graph *graph, const char *name,
                                    enum gr_value_kind kind, enum gr_dtype dtype,
                                    const struct gr_shape *shape, struct gr_error *err);

/* How one parameter of a node is to be made; zero-initialised fields mean the op's default. */
struct gr_parameter_spec {
    struct gr_choice init; /* kind NULL: the op's default */
    double lr_mult, decay_mult;
    bool set_lr_mult, set_decay_mult;
};

struct gr_node_spec {
    const char *name;
    const struct gr_op *op;
    const void *attrs; /* NULL: defaults; borrowed, must outlive the graph */
    struct gr_value *const *inputs;
    int n_inputs;
    struct gr_mark mark;
    const struct gr_parameter_spec *parameters; /* one per row of op->params, or NULL */
    const struct gr_node *share;                /* take the parameters of this node, or NULL */
    bool frozen; /* its parameters are not trained; so too if it shares those of such a node */
};

/*
 * Adds a forward node: checks the number of inputs, infers the output shapes, declares the
 * parameters (named NODE.weight and so on). The first output is named as the node. NULL and *err on
 * failure; a shape error names the node, its inputs and the numbers.
 */
struct gr_node *gr_graph_add_node(struct gr_graph *graph, const struct gr_node_spec *spec,
                                  struct gr_error *err);

/*
 * The bare form that passes use: no inference, no parameters; outputs are added by gr_node_output.
 * The name is made unique with a suffix.
 */
struct gr_node *gr_graph_emit(struct gr_graph *graph, const struct gr_op *op, enum gr_phase phase,
                              const char *name, const void *attrs, struct gr_value *const *inputs,
                              int n_inputs, struct gr_error *err);

/*
 * Adds an output to a node. suffix NULL: the value is named as the node; else "node.suffix".
 * Called by an op's infer for what it always computes, and by its grad for what only training
 * needs.
 */
struct gr_value *gr_node_output(struct gr_node *node, const char *suffix, enum gr_dtype dtype,
                                const struct gr_shape *shape, struct gr_error *err);

/* Adds an output of kind WORKSPACE, whose bytes the kernel decides. */
struct gr_value *gr_node_workspace(struct gr_node *node, const char *suffix, struct gr_error *err);

/* Gives a node other inputs: for fusing. False: out of memory, nothing changed. */
bool gr_node_set_inputs(struct gr_node *node, struct gr_value *const *inputs, int n_inputs);

/* Sets a model error "node 'NAME' (op): ..." and returns false: for shape rules. */
bool gr_node_fail(const struct gr_node *node, struct gr_error *err, const char *format, ...)
    GR_PRINTF(3, 4);

/* Who reads each value: consumers of value v are nodes[first[v]] .. nodes[first[v + 1] - 1]. */
struct gr_uses {
    size_t *first;
    struct gr_node **nodes;
};

bool gr_uses_init(struct gr_uses *uses, const struct gr_graph *graph, struct gr_error *err);
void gr_uses_release(struct gr_uses *uses);

#endif
