// Torch boundary: a batch normalization as the fused operators are given it, and what it does to
// frames.
#pragma once

#include "common/frames.h"

namespace stc {

// Where `training` it normalizes by the statistics of the batch and moves those that are running,
// in place; else by the running ones, and where there are none, not at all.
struct BatchNorm {
  const OptionalTensor& weight;
  const OptionalTensor& bias;
  const OptionalTensor& running_mean;
  const OptionalTensor& running_var;
  const OptionalTensor& num_batches_tracked;
  bool training;
  double momentum;
  double eps;

  bool is_given() const { return training || running_mean.has_value(); }
};

// Coefficients are (4, C), rows of scale, shift, mean and 1 / standard deviation.

// From (2, C) moments, mean and biased variance of a batch of `count` values per channel.
Tensor coefficients_of_batch(const char* operator_name, const BatchNorm& bn, const Tensor& moments,
                             int64_t count);

// From the running statistics, in the dtype of sums over elements of `dtype`.
Tensor coefficients_of_running(const char* operator_name, const BatchNorm& bn, ScalarType dtype);

// Of frames, which are read where `bn` trains.
Tensor coefficients_of_frames(const char* operator_name, const BatchNorm& bn, const Tensor& frames);

// Gradients of weight and bias, and (2, C) rows of slope and offset.
struct BatchNormGradient {
  Tensor weight;
  Tensor bias;
  Tensor coefficients;
};

// From rows of `sums`: the first and the `products`-th one, of which the statistics were computed
// from `count` values per channel, or from none.
BatchNormGradient gradient_of(const char* operator_name, const Tensor& sums, int64_t products,
                              const Tensor& coefficients, int64_t count);

// How many values the statistics of the channels of frames are computed from.
inline int64_t values_of_statistics(const Tensor& frames, bool training) {
  return training ? frames.size(0) * frames.size(2) * frames.size(3) : 0;
}

}  // namespace stc
