// The kernels of STC_ONLY_ELEMENT that main.cpp tests.
#include "common/cuda_kernels.h"
#include "gate/gate_cuda.h"
#include "moments/moments_cuda.h"

namespace stc {

template <>
CudaKernels<STC_ONLY_ELEMENT> cuda_kernels<CudaKernels<STC_ONLY_ELEMENT>>() {
  using namespace cuda;
  using T = STC_ONLY_ELEMENT;
  CudaKernels<T> kernels{};
  kernels.mean_forward = Reduction<JobOfView<MeanJob<T>>>{};
  kernels.mean_backward = Mapping<JobOfView<MeanBackwardJob<T>>>{};
  kernels.gate_forward = Mapping<JobOfView<GateJob<T>>>{};
  kernels.gate_backward = Reduction<JobOfView<GateBackwardJob<T>>>{};
  return kernels;
}

const char* cuda_error_text(int error) {
  return cudaGetErrorString(static_cast<cudaError_t>(error));
}

}  // namespace stc
