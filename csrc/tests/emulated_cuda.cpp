#include "tests/emulated_cuda.h"

#include "gate/gate_cuda.h"
#include "moments/moments_cuda.h"
#include "shift/shift_cuda.h"

namespace stc::test {
namespace {

template <typename Arguments, cudaError_t (*kernel)(const Arguments&, cudaStream_t)>
void run_on_cuda(const Arguments& arguments, int64_t, int64_t) {
  const cudaError_t error = kernel(arguments, nullptr);
  CHECK(error == cudaSuccess, error);
}

template <typename Arguments, int64_t (*scratch_bytes)(const Arguments&),
          cudaError_t (*kernel)(const Arguments&, void*, cudaStream_t)>
void run_on_cuda(const Arguments& arguments, int64_t, int64_t) {
  const int64_t bytes = scratch_bytes(arguments);
  Buffer<double> scratch((bytes + 7) / 8, 0);
  const cudaError_t error = kernel(arguments, bytes > 0 ? scratch.data() : nullptr, nullptr);
  CHECK(error == cudaSuccess, error);
  CHECK(scratch.guards_are_untouched(), bytes);
}

template <typename T>
constexpr EmulatedKernels<T> kKernels = {
    run_on_cuda<ShiftArguments<T>, shift_forward_on_cuda<T>>,
    run_on_cuda<MeanArguments<T>, mean_scratch_bytes<T>, mean_forward_on_cuda<T>>,
    run_on_cuda<MeanBackwardArguments<T>, mean_backward_on_cuda<T>>,
    run_on_cuda<GateArguments<T>, gate_forward_on_cuda<T>>,
    run_on_cuda<GateBackwardArguments<T>, gate_backward_scratch_bytes<T>, gate_backward_on_cuda<T>>,
    run_on_cuda<MomentsArguments<T>, moments_scratch_bytes<T>, moments_forward_on_cuda<T>>,
};

}  // namespace

template <>
EmulatedKernels<float> emulated_kernels<float>() {
  return kKernels<float>;
}

template <>
EmulatedKernels<double> emulated_kernels<double>() {
  return kKernels<double>;
}

template <>
EmulatedKernels<BFloat16> emulated_kernels<BFloat16>() {
  return kKernels<BFloat16>;
}

template <>
EmulatedKernels<Half> emulated_kernels<Half>() {
  return kKernels<Half>;
}

}  // namespace stc::test
