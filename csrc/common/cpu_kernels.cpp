// Compiled once per instruction set, with STC_ISA naming it; of two element types where
// STC_TWO_ELEMENT_TYPES says that tests take no others.
#include "common/cpu_kernels.h"

#include "batch_norm/batch_norm_cpu.h"
#include "gate/gate_cpu.h"
#include "moments/second_moments_cpu.h"
#include "refine/refine_cpu.h"
#include "residual/residual_cpu.h"
#include "shift/shift_cpu.h"
#include "shift/shift_split_cpu.h"

namespace stc {
namespace {

template <typename T>
constexpr CpuKernels<T> kKernels = {
    shift_forward<T>,        mean_forward<T>,
    mean_backward<T>,        gate_forward<T>,
    gate_backward<T>,        moments_forward<T>,
    shift_split_forward<T>,  shift_split_backward_sums<T>,
    shift_split_backward<T>, refine_forward<T>,
    refine_backward_sums<T>, refine_backward<T>,
    residual_forward<T>,     residual_backward_sums<T>,
    residual_backward<T>,
};

template <typename E>
constexpr CpuGroupKernels<E> kGroupKernels = {
    gated_moments_forward<E>,     merged_moments_forward<E>, channel_sums_forward<E>,
    gate_gradient_forward<E>,     sum_rows_forward<E>,       coefficients_forward<E>,
    grad_coefficients_forward<E>,
};

}  // namespace

template <>
CpuKernels<float> compiled_cpu_kernels<CpuKernels<float>, Isa::STC_ISA>() {
  return kKernels<float>;
}

template <>
CpuKernels<BFloat16> compiled_cpu_kernels<CpuKernels<BFloat16>, Isa::STC_ISA>() {
  return kKernels<BFloat16>;
}

#if !defined(STC_TWO_ELEMENT_TYPES)

template <>
CpuKernels<double> compiled_cpu_kernels<CpuKernels<double>, Isa::STC_ISA>() {
  return kKernels<double>;
}

template <>
CpuKernels<Half> compiled_cpu_kernels<CpuKernels<Half>, Isa::STC_ISA>() {
  return kKernels<Half>;
}

#endif

template <>
CpuGroupKernels<float> compiled_cpu_kernels<CpuGroupKernels<float>, Isa::STC_ISA>() {
  return kGroupKernels<float>;
}

template <>
CpuGroupKernels<double> compiled_cpu_kernels<CpuGroupKernels<double>, Isa::STC_ISA>() {
  return kGroupKernels<double>;
}

}  // namespace stc
