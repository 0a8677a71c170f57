// Compiled once per instruction set, with STC_ISA naming it.
#include "common/cpu_kernels.h"

#include "gate/gate_cpu.h"
#include "moments/moments_cpu.h"
#include "shift/shift_cpu.h"

namespace stc {
namespace {

template <typename T>
constexpr CpuKernels<T> kKernels = {
    shift_forward<T>, mean_forward<T>, mean_backward<T>, gate_forward<T>, gate_backward<T>,
};

}  // namespace

template <>
CpuKernels<float> compiled_cpu_kernels<float, Isa::STC_ISA>() {
  return kKernels<float>;
}

template <>
CpuKernels<double> compiled_cpu_kernels<double, Isa::STC_ISA>() {
  return kKernels<double>;
}

template <>
CpuKernels<BFloat16> compiled_cpu_kernels<BFloat16, Isa::STC_ISA>() {
  return kKernels<BFloat16>;
}

template <>
CpuKernels<Half> compiled_cpu_kernels<Half, Isa::STC_ISA>() {
  return kKernels<Half>;
}

}  // namespace stc
