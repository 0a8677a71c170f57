// Gates, concatenation, batch norm and ReLU of STC's branches: the contract that all devices
// fulfil.
#pragma once

#include "common/scalar.h"
#include "common/work.h"

namespace stc {

// Frames of some of the channels. Their elements have one gate per frame and channel, or per clip,
// channel and pixel; without gates they count as one per frame that is 1. What is kept per group
// has the memory layout of (N*T, C), or of one frame per clip.
template <typename T>
struct RefineBranch {
  int64_t first_channel;
  int64_t channels;
  bool gated;
  bool gated_per_pixel;
  const T* y;
  const Accumulate<T>* gate;
};

// out = relu(gate * scale * y + shift), scale and shift per channel of the concatenation
template <typename T>
struct RefineArguments {
  FrameShape shape;  // of the concatenation
  RefineBranch<T> branches[2];
  const Accumulate<T>* scale;
  const Accumulate<T>* shift;
  T* out;
};

// The rest of a branch in the backward pass, for groups of `1 / share` elements:
//   sums:   sum of d and sum of d * (y - centre) per group, d the gradient of what the ReLU let
//           pass and centre `mean` where that is finite and zero elsewhere; per frame devices may
//           leave several sets of (2, N*T, C), for sum_rows
//   grad_y = gate * scale * d + gate^2 * slope * y + gate * offset + share * grad_mean
// A slope of zero is not multiplied with y, which may be infinite. `mean` is per channel of the
// concatenation for branches without gates.
template <typename T>
struct RefineBranchBackward {
  const Accumulate<T>* mean;
  Accumulate<T>* sums;
  const Accumulate<T>* grad_mean;
  Accumulate<T> share;
  T* grad_y;
};

template <typename T>
struct RefineBackwardArguments {
  RefineArguments<T> forward;
  RefineBranchBackward<T> branches[2];
  const T* grad_out;
  const Accumulate<T>* slope;
  const Accumulate<T>* offset;
};

}  // namespace stc
