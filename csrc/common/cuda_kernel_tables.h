// What cuda_kernels() returns, for the files that compile it.
#pragma once

#include "batch_norm/batch_norm_cuda.h"
#include "batch_norm/coefficients_cuda.h"
#include "common/cuda_kernels.h"
#include "gate/gate_cuda.h"
#include "moments/moments_cuda.h"
#include "refine/refine_cuda.h"
#include "residual/residual_cuda.h"
#include "shift/shift_cuda.h"
#include "shift/shift_split_cuda.h"

namespace stc::cuda {

template <typename T>
constexpr CudaKernels<T> frame_kernels() {
  return {
      {no_scratch<ShiftArguments<T>>, shift<T>},
      Reduction<JobOfView<MeanJob<T>>>{},
      Mapping<JobOfView<MeanBackwardJob<T>>>{},
      Mapping<JobOfView<GateJob<T>>>{},
      Reduction<JobOfView<GateBackwardJob<T>>>{},
      Reduction<JobOfView<MomentsJob<T>>>{},
      Mapping<SplitJobs<SplitJob>>{},
      Reduction<SplitJobs<SplitSumsJob>>{},
      Mapping<SplitJobs<SplitBackwardJob>>{},
      Mapping<RefineJobs<RefineJob>>{},
      Reduction<RefineJobs<RefineSumsJob>>{},
      Mapping<RefineJobs<RefineBackwardJob>>{},
      Mapping<ResidualJobs<ResidualJob>>{},
      Reduction<ResidualJobs<ResidualSumsJob>>{},
      Mapping<ResidualJobs<ResidualBackwardJob>>{},
  };
}

template <typename E>
constexpr CudaGroupKernels<E> group_kernels() {
  return {
      BlockReduction<JobOfGroups<GatedMomentsJob>>{},
      BlockReduction<MergedMomentsJob<E>>{},
      BlockReduction<JobOfGroups<ChannelSumsJob>>{},
      Mapping<JobOfGroups<GateGradientJob>>{},
      BlockReduction<SumRowsJob<E>>{},
      {no_scratch<CoefficientsArguments<E>>, for_channels<Coefficients, CoefficientsArguments, E>},
      {no_scratch<GradCoefficientsArguments<E>>,
       for_channels<GradCoefficients, GradCoefficientsArguments, E>},
  };
}

}  // namespace stc::cuda
