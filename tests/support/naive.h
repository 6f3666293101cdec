/*
 * The definitions of the ops as plain loops in double precision, over plain [N, C, H, W] arrays:
 * what the kernels are held against. Nothing here is fast, and nothing is shared with the library.
 */
#ifndef GR_TESTS_NAIVE_H
#define GR_TESTS_NAIVE_H

#include <stdbool.h>
#include <stdint.h>

/* A window over an image: convolution and pooling. Pads are top, left, bottom, right. */
struct gr_naive_window {
    int64_t N, C, H, W; /* of the source */
    int64_t O, groups;  /* of a convolution */
    int64_t kernel[2], stride[2], dilation[2], pad[4];
    bool ceil; /* of pooling: the last window may start inside and end outside */
};

/*
 * The output's height (axis 0) or width (axis 1). With ceil, a last window that would start beyond
 * the source and its left pad is not counted.
 */
int64_t gr_naive_size(const struct gr_naive_window *window, int axis);

/* weights [O, C / groups, kH, kW], bias [O] or NULL, dst [N, O, H', W']. */
void gr_naive_conv(const struct gr_naive_window *window, const double *src, const double *weights,
                   const double *bias, double *dst);

void gr_naive_max_pool(const struct gr_naive_window *window, const double *src, double *dst);

/* include_pad: divides by the window clipped to the padded source, else to the source itself. */
void gr_naive_avg_pool(const struct gr_naive_window *window, bool include_pad, const double *src,
                       double *dst);

/* dst [N, C, 1, 1] */
void gr_naive_global_avg_pool(int64_t N, int64_t C, int64_t HW, const double *src, double *dst);

/* y = x / (k + alpha / size · sum x^2)^beta, the window of channels clipped at the edges. */
void gr_naive_lrn(int64_t N, int64_t C, int64_t HW, int64_t size, double alpha, double beta,
                  double k, const double *src, double *dst);

/* src [N, I], weights [O, I], bias [O] or NULL, dst [N, O] */
void gr_naive_linear(int64_t N, int64_t I, int64_t O, const double *src, const double *weights,
                     const double *bias, double *dst);

double gr_naive_relu(double x, double alpha);
double gr_naive_leaky_relu(double x, double alpha);
double gr_naive_elu(double x, double alpha);
double gr_naive_sigmoid(double x, double alpha);
double gr_naive_tanh(double x, double alpha);
double gr_naive_gelu(double x, double alpha); /* x · Phi(x), exactly */
double gr_naive_silu(double x, double alpha);

/* The batch's mean and biased variance [C] of src [N, C, HW]. */
void gr_naive_moments(int64_t N, int64_t C, int64_t HW, const double *src, double *mean,
                      double *variance);

/* weight and bias [C] or NULL */
void gr_naive_batch_norm(int64_t N, int64_t C, int64_t HW, double eps, const double *src,
                         const double *mean, const double *variance, const double *weight,
                         const double *bias, double *dst);

/* Over the middle of [N, C, inner]. */
void gr_naive_softmax(int64_t N, int64_t C, int64_t inner, const double *src, double *dst);

/* Labels as doubles; -1 is left out; 0 when nothing is labelled. */
double gr_naive_cross_entropy(int64_t N, int64_t C, const double *logits, const double *labels);
double gr_naive_accuracy(int64_t N, int64_t C, int64_t k, const double *scores,
                         const double *labels);

#endif
