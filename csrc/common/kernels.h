// The kernels that every device has. Kernel<Arguments> is what a kernel is on a device.
#pragma once

#include "batch_norm/batch_norm.h"
#include "gate/gate.h"
#include "moments/moments.h"
#include "refine/refine.h"
#include "residual/residual.h"
#include "shift/shift.h"
#include "shift/shift_split.h"

namespace stc {

// Over frames of elements T.
template <template <typename> class Kernel, typename T>
struct FrameKernels {
  Kernel<ShiftArguments<T>> shift_forward;
  Kernel<MeanArguments<T>> mean_forward;
  Kernel<MeanBackwardArguments<T>> mean_backward;
  Kernel<GateArguments<T>> gate_forward;
  Kernel<GateBackwardArguments<T>> gate_backward;

  Kernel<MomentsArguments<T>> moments_forward;
  Kernel<ShiftSplitArguments<T>> shift_split_forward;
  Kernel<ShiftSplitBackwardArguments<T>> shift_split_backward_sums;
  Kernel<ShiftSplitBackwardArguments<T>> shift_split_backward;
  Kernel<RefineArguments<T>> refine_forward;
  Kernel<RefineBackwardArguments<T>> refine_backward_sums;
  Kernel<RefineBackwardArguments<T>> refine_backward;
  Kernel<ResidualArguments<T>> residual_forward;
  Kernel<ResidualBackwardArguments<T>> residual_backward_sums;
  Kernel<ResidualBackwardArguments<T>> residual_backward;
};

// Over what is kept per group of elements, and per channel, in E: float or double.
template <template <typename> class Kernel, typename E>
struct GroupKernels {
  Kernel<GatedMomentsArguments<E>> gated_moments;
  Kernel<MergedMomentsArguments<E>> merged_moments;
  Kernel<ChannelSumsArguments<E>> channel_sums;
  Kernel<GateGradientArguments<E>> gate_gradient;
  Kernel<SumRowsArguments<E>> sum_rows;
  Kernel<CoefficientsArguments<E>> coefficients;
  Kernel<GradCoefficientsArguments<E>> grad_coefficients;
};

}  // namespace stc
