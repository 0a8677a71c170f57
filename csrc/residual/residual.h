// Batch norm, residual sum and ReLU: the contract that all devices fulfil.
#pragma once

#include "common/scalar.h"
#include "common/work.h"

namespace stc {

// out = relu(scale * w + shift + identity), or with the identity's own scale and shift per channel
// where they are not null.
template <typename T>
struct ResidualArguments {
  FrameShape shape;
  const T* w;
  const T* identity;
  const Accumulate<T>* scale;
  const Accumulate<T>* shift;
  const Accumulate<T>* identity_scale;
  const Accumulate<T>* identity_shift;
  T* out;
};

// For d = grad_out where out > 0:
//   sums:   per channel, sum of d, of d * (w - mean) and, where the identity has a scale, of
//           d * (identity - identity_mean). Devices may leave several rows of them, for sum_rows.
//   grad_w = scale * d + slope * w + offset, and where the identity has a scale, grad_identity
//   likewise; a slope of zero is not multiplied with w, which may be infinite. Else grad_identity
//   is d: the pass of the sums writes it, and the pass of grad_w reads it in the place of grad_out
//   and out.
template <typename T>
struct ResidualBackwardArguments {
  ResidualArguments<T> forward;
  const T* grad_out;
  const Accumulate<T>* mean;
  const Accumulate<T>* identity_mean;
  Accumulate<T>* sums;
  const Accumulate<T>* slope;
  const Accumulate<T>* offset;
  const Accumulate<T>* identity_slope;
  const Accumulate<T>* identity_offset;
  T* grad_w;
  T* grad_identity;
};

}  // namespace stc
