/*
 * Holds an op against its definition: the forward values against naive loops in double precision,
 * and every gradient, of inputs and of parameters, against central differences of those loops. Runs
 * with each set of kernels. A failure ends the test and says op, attributes, shapes, kernels,
 * element, and both numbers.
 *
 * The gradient is that of sum(output · fixed), fixed being random weights, so that the gradient
 * that reaches the op is different for each element.
 */
#ifndef GR_TESTS_OP_CHECK_H
#define GR_TESTS_OP_CHECK_H

#include "graph/program.h"

enum { GR_CHECK_ATTRS = 10, GR_CHECK_INPUTS = 4 };

/* An attribute as numbers, whatever its type: n of them. */
struct gr_check_attr {
    const char *name;
    int n;
    double value[8];
};

/* What the elements of an input are drawn from. */
enum gr_check_fill {
    GR_CHECK_NORMAL,   /* N(0, 1) */
    GR_CHECK_OFF_ZERO, /* N(0, 1), at least 0.05 from zero: for kinks at zero */
    GR_CHECK_DISTINCT, /* a shuffled range, no two closer than 0.01: for maxima */
    GR_CHECK_LABELS,   /* s32, -1 to classes - 1 */
};

struct gr_check_input {
    struct gr_shape shape;
    enum gr_check_fill fill;
    int64_t classes;
};

struct gr_check_view;

struct gr_op_check {
    const char *op;
    struct gr_check_attr attrs[GR_CHECK_ATTRS]; /* ends with name NULL */
    struct gr_check_input inputs[GR_CHECK_INPUTS];
    int n_inputs;
    bool training;    /* of the graph */
    bool behind_conv; /* input 0 [N, C, H, W] comes out of a 1×1 convolution, in its layout */
    bool no_gradient; /* not differentiable */
    /* Writes the first output from view->in. */
    void (*forward)(const struct gr_check_view *view, double *dst);
    const char *choice; /* force this candidate kernel where there is such (op.h); or NULL */
    bool bf16;          /* compute in bf16, where the processor can; inputs are bf16 numbers */
    double tolerance;   /* relative to the largest element; 0: 2e-5 */
    double gradient_tolerance; /* 0: 2e-4 */
    uint64_t seed;
};

/* What a definition sees: the node's inputs, parameters last, in double precision. */
struct gr_check_view {
    const struct gr_op_check *check;
    const double *in[12];
    struct gr_shape shape[12];
    int n_in;
    struct gr_shape dst;
};

/* The i-th number of an attribute as the check sets it, or fallback where it does not. */
double gr_check_attr(const struct gr_op_check *check, const char *name, int i, double fallback);

/* Can this processor compute in bf16? */
bool gr_check_has_bf16(void);

void gr_op_check_run(const struct gr_op_check *check);

/* ---- for tests with a graph of their own ------------------------------------------------- */

/* An integer from low to high, the draw-th of this seed. */
int64_t gr_check_int(uint64_t seed, int draw, int64_t low, int64_t high);

/* Fails the test with the message unless ok. */
void gr_check_ok(bool ok, const struct gr_error *err);

/* Attributes of the op by name, from the pool; an unknown name fails the test. */
void *gr_check_attrs(const struct gr_kind *kind, const struct gr_check_attr *attrs,
                     struct gr_pool *pool);

/* sum(a · fixed), a scalar: a loss with any gradient one likes. */
extern const struct gr_op gr_op_test_dot;

#endif
