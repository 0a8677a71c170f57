// Torch boundary: what the operators ask of a device, for CUDA. No CUDA header is needed.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/util/Exception.h>

#include <optional>

#include "common/cuda_kernels.h"
#include "common/work.h"
#if defined(STC_EMULATED_CUDA)
#include "tests/cuda_on_cpu/torch_device.h"
#else
#include "common/cuda_device.h"
#endif

namespace stc {

template <typename T>
CudaKernels<T> kernels() {
  return cuda_kernels<CudaKernels<T>>();
}

template <typename E>
CudaGroupKernels<E> group_kernels() {
  return cuda_kernels<CudaGroupKernels<E>>();
}

inline void check_launch(const char* operator_name, int error) {
  constexpr int kNoKernelImageForDevice = 209;
  STD_TORCH_CHECK(error != kNoKernelImageForDevice, operator_name, ": ", cuda_error_text(error),
                  ": the CUDA kernels were built for " STC_CUDA_ARCHITECTURES);
  STD_TORCH_CHECK(error == 0, operator_name, ": CUDA error: ", cuda_error_text(error));
}

// On the current stream, in whose order the scratch memory is reused: nothing waits, and a CUDA
// graph can capture it.
template <typename Arguments>
void launch(const char* operator_name, const CudaKernel<Arguments>& kernel,
            const Arguments& arguments, int64_t units, int64_t elements) {
  if (elements == 0 || units == 0) return;
  std::optional<torch::stable::Tensor> scratch;
  if (const int64_t bytes = kernel.scratch_bytes(arguments); bytes > 0)
    scratch = torch::stable::empty({bytes}, torch::headeronly::ScalarType::Byte, std::nullopt,
                                   current_device());
  check_launch(operator_name, kernel.run(arguments, scratch ? scratch->mutable_data_ptr() : nullptr,
                                         current_stream()));
}

// How many partial sums per channel the kernels write that go over all frames.
inline int64_t rows_of_sums(const FrameShape& shape) {
  return shape.channels_last ? 1 : shape.clips;
}

// How many partial sums they write per frame and channel.
inline int64_t sets_of_sums(const FrameShape&) { return 1; }

inline void prepare_output(const torch::stable::Tensor&) {}

inline const torch::stable::Tensor* tensor_in(const torch::stable::Tensor& argument) {
  return &argument;
}
inline const torch::stable::Tensor* tensor_in(
    const std::optional<torch::stable::Tensor>& argument) {
  return argument ? &*argument : nullptr;
}
template <typename Other>
const torch::stable::Tensor* tensor_in(const Other&) {
  return nullptr;
}

// Calls an operator with the device of its first tensor as the current one.
template <auto function>
struct OnDevice;

template <typename Result, typename... Parameters, Result (*function)(Parameters...)>
struct OnDevice<function> {
  static Result call(Parameters... arguments) {
    const torch::stable::Tensor* first = nullptr;
    ((first = first == nullptr ? tensor_in(arguments) : first), ...);
    const CurrentDevice device(*first);
    return function(arguments...);
  }
};

// What is registered for an operator.
template <auto function>
constexpr auto kBoxed = TORCH_BOX(&OnDevice<function>::call);

}  // namespace stc
