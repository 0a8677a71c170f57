// Batch norm, ReLU, temporal shift and split: the contract that all devices fulfil.
#pragma once

#include "common/scalar.h"
#include "common/work.h"

namespace stc {

// With v = relu(scale * u + shift) per channel: `spatial` has the first channels of v, of which
// [0, fold) come from one frame later and [fold, 2*fold) from one earlier, zero outside the clip;
// `temporal` has the other channels, every stride-th pixel of them.
template <typename T>
struct ShiftSplitArguments {
  FrameShape shape;  // of frames by themselves
  int64_t num_segments;
  int64_t spatial_channels;
  int64_t fold;
  int64_t stride;
  const T* u;
  const Accumulate<T>* scale;
  const Accumulate<T>* shift;
  T* spatial;
  T* temporal;
};

// With d, the gradient of what the ReLU let pass, gathered from both results:
//   sums:   per channel, sum of d and sum of d * (u - mean). Devices may leave several rows of
//           them, for sum_rows.
//   grad_u = scale * d + slope * u + offset, where a slope of zero is not multiplied with u, which
//   may be infinite
template <typename T>
struct ShiftSplitBackwardArguments {
  ShiftSplitArguments<T> forward;
  const T* grad_spatial;
  const T* grad_temporal;
  const Accumulate<T>* mean;
  Accumulate<T>* sums;
  const Accumulate<T>* slope;
  const Accumulate<T>* offset;
  T* grad_u;
};

}  // namespace stc
