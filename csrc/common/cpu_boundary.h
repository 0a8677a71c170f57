// Torch boundary: what the operators ask of a device, for the CPU.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include "common/cpu_kernels.h"
#include "common/huge_pages.h"
#include "common/work.h"

namespace stc {

template <typename T>
CpuKernels<T> kernels() {
  return cpu_kernels<CpuKernels<T>>(selected_isa());
}

template <typename E>
CpuGroupKernels<E> group_kernels() {
  return cpu_kernels<CpuGroupKernels<E>>(selected_isa());
}

// Spreads the units over torch's threads.
template <typename Arguments>
void launch(const char*, CpuKernel<Arguments> kernel, const Arguments& arguments, int64_t units,
            int64_t elements) {
  constexpr int64_t kElementsPerTask = 16384;
  if (elements == 0 || units == 0) return;
  const int64_t grain = ceil_div(kElementsPerTask, ceil_div(elements, units));
  torch::stable::parallel_for(0, units, grain,
                              [&](int64_t begin, int64_t end) { kernel(arguments, begin, end); });
}

// How many partial sums per channel the kernels write that go over all frames.
inline int64_t rows_of_sums(const FrameShape& shape) {
  return shape.channels_last ? units_of(shape) : shape.clips;
}

// How many partial sums they write per frame and channel.
inline int64_t sets_of_sums(const FrameShape& shape) {
  return shape.channels_last ? units_per_clip(shape) : 1;
}

inline bool is_on_device(const torch::stable::Tensor& tensor) { return tensor.is_cpu(); }

inline void prepare_output(const torch::stable::Tensor& output) {
  advise_huge_pages(output.mutable_data_ptr(),
                    output.numel() * static_cast<int64_t>(output.element_size()));
}

// What is registered for an operator.
template <auto function>
constexpr auto kBoxed = TORCH_BOX(function);

}  // namespace stc
