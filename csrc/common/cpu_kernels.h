// All CPU kernels, compiled for one instruction set each and picked at run time. A kernel works on
// the units [begin, end) of its arguments; who calls it decides about threads.
#pragma once

#include "common/isa.h"
#include "common/kernels.h"

namespace stc {

template <typename Arguments>
using CpuKernel = void (*)(const Arguments&, int64_t begin, int64_t end);

template <typename T>
using CpuKernels = FrameKernels<CpuKernel, T>;
template <typename E>
using CpuGroupKernels = GroupKernels<CpuKernel, E>;

template <typename Kernels, Isa isa>
Kernels compiled_cpu_kernels();

template <typename Kernels>
Kernels cpu_kernels([[maybe_unused]] Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::avx512) return compiled_cpu_kernels<Kernels, Isa::avx512>();
  if (isa == Isa::avx2) return compiled_cpu_kernels<Kernels, Isa::avx2>();
#endif
  return compiled_cpu_kernels<Kernels, Isa::baseline>();
}

}  // namespace stc
