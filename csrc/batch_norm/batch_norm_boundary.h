// Torch boundary: batch norm on what is kept per group of elements, as the fused operators use it.
#pragma once

#include <tuple>

#include "common/frames.h"

namespace stc {

// The gate, sigmoid(logits), and the (2, C) moments of gated frames.
std::tuple<Tensor, Tensor> gated_channel_moments(const Tensor& mean, const Tensor& m2,
                                                 const OptionalTensor& logits, int64_t group_size);

// The (2, C) sums over gated frames.
Tensor gated_channel_sums(const Tensor& sums, const OptionalTensor& gate,
                          const OptionalTensor& mean, const Tensor& coefficients,
                          int64_t first_channel);

// The gradient of the logits.
Tensor gate_gradient(const Tensor& sums, const Tensor& gate, const Tensor& mean,
                     const OptionalTensor& m2, const Tensor& coefficients,
                     const Tensor& grad_coefficients, int64_t first_channel, int64_t group_size);

}  // namespace stc
