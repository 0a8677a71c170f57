// Torch boundary: PyTorch's own operators, by name.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <array>
#include <vector>

namespace stc {

using Sizes = std::vector<int64_t>;

// Calls an operator with all arguments of its schema. The first places of what returns are its
// results, each of which as_tensor() must take, once.
template <typename... Arguments>
std::array<StableIValue, sizeof...(Arguments)> call_aten(const char* name, const char* overload,
                                                         const Arguments&... arguments) {
  std::array<StableIValue, sizeof...(Arguments)> stack{torch::stable::detail::from(arguments)...};
  STABLE_TORCH_ERROR_CODE_CHECK(
      torch_call_dispatcher(name, overload, stack.data(), TORCH_ABI_VERSION));
  return stack;
}

inline torch::stable::Tensor as_tensor(StableIValue result) {
  return torch::stable::detail::to<torch::stable::Tensor>(result);
}

}  // namespace stc
