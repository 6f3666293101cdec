/*
 * The kernels of batch normalisation for AVX2 and FMA.
 */
#include "norm_runs.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))

#include "vector_avx2.h"

#include "norm_vector.h"

const struct gr_norm_kernel *gr_norm_kernel_avx2(void)
{
    static const struct gr_norm_kernel kernel = {"avx2:runs", norm_moments, norm_apply, norm_sums,
                                                 norm_gradient};
    return supported() ? &kernel : NULL;
}

#else

const struct gr_norm_kernel *gr_norm_kernel_avx2(void)
{
    return NULL;
}

#endif
