// Torch boundary of the CPU kernels: picks the element type and spreads units over torch's threads.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include "common/cpu_kernels.h"
#include "common/frames.h"

namespace stc {

template <typename T>
T* data_of(const Tensor& tensor) {
  return static_cast<T*>(tensor.mutable_data_ptr());
}

template <typename T>
const T* const_data_of(const Tensor& tensor) {
  return static_cast<const T*>(tensor.const_data_ptr());
}

// body(element of the type that dtype stands for)
template <typename Body>
void dispatch_dtype(const char* operator_name, ScalarType dtype, const Body& body) {
  switch (dtype) {
    case ScalarType::Float:
      return body(float{});
    case ScalarType::Double:
      return body(double{});
    case ScalarType::BFloat16:
      return body(BFloat16{});
    case ScalarType::Half:
      return body(Half{});
    default:
      STD_TORCH_CHECK(false, operator_name, ": expected float32, float64, bfloat16 or float16");
  }
}

template <typename Arguments>
void launch_on_cpu(CpuKernel<Arguments> kernel, const Arguments& arguments, int64_t units,
                   int64_t elements) {
  constexpr int64_t kElementsPerTask = 16384;
  if (elements == 0 || units == 0) return;
  const int64_t grain = ceil_div(kElementsPerTask, ceil_div(elements, units));
  torch::stable::parallel_for(0, units, grain,
                              [&](int64_t begin, int64_t end) { kernel(arguments, begin, end); });
}

}  // namespace stc
