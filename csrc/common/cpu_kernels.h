// All CPU kernels of one element type, compiled for one instruction set each and picked at run
// time. A kernel works on the units [begin, end) of its arguments; who calls it decides about
// threads.
#pragma once

#include "batch_norm/batch_norm.h"
#include "common/isa.h"
#include "gate/gate.h"
#include "moments/moments.h"
#include "refine/refine.h"
#include "residual/residual.h"
#include "shift/shift.h"
#include "shift/shift_split.h"

namespace stc {

template <typename Arguments>
using CpuKernel = void (*)(const Arguments&, int64_t begin, int64_t end);

template <typename T>
struct CpuKernels {
  CpuKernel<ShiftArguments<T>> shift_forward;
  CpuKernel<MeanArguments<T>> mean_forward;
  CpuKernel<MeanBackwardArguments<T>> mean_backward;
  CpuKernel<GateArguments<T>> gate_forward;
  CpuKernel<GateBackwardArguments<T>> gate_backward;

  CpuKernel<MomentsArguments<T>> moments_forward;
  CpuKernel<ShiftSplitArguments<T>> shift_split_forward;
  CpuKernel<ShiftSplitBackwardArguments<T>> shift_split_backward_sums;
  CpuKernel<ShiftSplitBackwardArguments<T>> shift_split_backward;
  CpuKernel<RefineArguments<T>> refine_forward;
  CpuKernel<RefineBackwardArguments<T>> refine_backward_sums;
  CpuKernel<RefineBackwardArguments<T>> refine_backward;
  CpuKernel<ResidualArguments<T>> residual_forward;
  CpuKernel<ResidualBackwardArguments<T>> residual_backward_sums;
  CpuKernel<ResidualBackwardArguments<T>> residual_backward;

  CpuKernel<GatedMomentsArguments<Accumulate<T>>> gated_moments;
  CpuKernel<MergedMomentsArguments<Accumulate<T>>> merged_moments;
  CpuKernel<ChannelSumsArguments<Accumulate<T>>> channel_sums;
  CpuKernel<GateGradientArguments<Accumulate<T>>> gate_gradient;
  CpuKernel<SumRowsArguments<Accumulate<T>>> sum_rows;
};

template <typename T, Isa isa>
CpuKernels<T> compiled_cpu_kernels();

template <typename T>
CpuKernels<T> cpu_kernels([[maybe_unused]] Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::avx512) return compiled_cpu_kernels<T, Isa::avx512>();
  if (isa == Isa::avx2) return compiled_cpu_kernels<T, Isa::avx2>();
#endif
  return compiled_cpu_kernels<T, Isa::baseline>();
}

}  // namespace stc
