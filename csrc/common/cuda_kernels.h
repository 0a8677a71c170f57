// All CUDA kernels. No CUDA header is needed to call them.
#pragma once

#include "common/kernels.h"

namespace stc {

template <typename Arguments>
struct CudaKernel {
  // Memory that a run wants beside its arguments, aligned for vectors.
  int64_t (*scratch_bytes)(const Arguments&);
  // On a cudaStream_t of the current device, which it does not wait for. Returns a cudaError_t.
  int (*run)(const Arguments&, void* scratch, void* stream);
};

template <typename T>
using CudaKernels = FrameKernels<CudaKernel, T>;
template <typename E>
using CudaGroupKernels = GroupKernels<CudaKernel, E>;

template <typename Kernels>
Kernels cuda_kernels();

const char* cuda_error_text(int error);

}  // namespace stc
