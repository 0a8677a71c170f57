// Torch boundary: how an operator reaches the kernels of the device that this is compiled for.
#pragma once

#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#if defined(STC_CUDA)
#include "common/cuda_boundary.h"
#else
#include "common/cpu_boundary.h"
#endif
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

}  // namespace stc
