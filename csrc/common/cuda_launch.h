// Launches of CUDA kernels and their shared memory. The only file that knows whether nvcc compiles
// it, or the host's compiler: then kernels run on the CPU, for tests.
#pragma once

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

// T name[N] in shared memory. (A declaration that gives the array a name: only a macro can.)
#define STC_SHARED(T, name, N) __shared__ T name[N]

// T* name: the shared memory that the launch asked for.
#define STC_DYNAMIC_SHARED(T, name)                                   \
  extern __shared__ __align__(16) unsigned char stc_dynamic_shared[]; \
  T* name = reinterpret_cast<T*>(stc_dynamic_shared)

#else
#include "tests/cuda_on_cpu/cuda_on_cpu.h"

// The address of the lambda's variable tells declarations apart, those of templates' instances too.
#define STC_SHARED(T, name, N)                                                  \
  ::stc::emulated::Array<T, N>& name = ::stc::emulated::shared_array<T, N>([] { \
    static char site;                                                           \
    return &site;                                                               \
  }())

#define STC_DYNAMIC_SHARED(T, name) T* name = ::stc::emulated::dynamic_shared_array<T>()

#endif

namespace stc {

template <typename... Parameters, typename... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes,
                   [[maybe_unused]] cudaStream_t stream, const Arguments&... arguments) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments), "one argument for each parameter");
#if defined(__CUDACC__)
  kernel<<<grid, block, shared_bytes, stream>>>(static_cast<Parameters>(arguments)...);
  return cudaGetLastError();
#else
  return emulated::run_grid(grid, block, shared_bytes,
                            [&] { kernel(static_cast<Parameters>(arguments)...); });
#endif
}

}  // namespace stc
