/*
 * The kernels of batch normalisation for AVX-512.
 */
#include "norm_runs.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))

#include "vector_avx512.h"

#include "norm_vector.h"

const struct gr_norm_kernel *gr_norm_kernel_avx512(bool bf16)
{
    static const struct gr_norm_kernel kernel = {"avx512:runs", norm_moments, norm_apply, norm_sums,
                                                 norm_gradient};
    return supported(bf16) ? &kernel : NULL;
}

#else

const struct gr_norm_kernel *gr_norm_kernel_avx512(bool bf16)
{
    (void)bf16;
    return NULL;
}

#endif
