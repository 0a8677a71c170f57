// Compiled once with STC_ELEMENT naming each element type, and once with STC_GROUPS.
#include "common/cuda_kernel_tables.h"

namespace stc {

#if defined(STC_GROUPS)

template <>
CudaGroupKernels<float> cuda_kernels<CudaGroupKernels<float>>() {
  return cuda::group_kernels<float>();
}

template <>
CudaGroupKernels<double> cuda_kernels<CudaGroupKernels<double>>() {
  return cuda::group_kernels<double>();
}

const char* cuda_error_text(int error) {
  return cudaGetErrorString(static_cast<cudaError_t>(error));
}

#else

template <>
CudaKernels<STC_ELEMENT> cuda_kernels<CudaKernels<STC_ELEMENT>>() {
  return cuda::frame_kernels<STC_ELEMENT>();
}

#endif

}  // namespace stc
