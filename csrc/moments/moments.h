// Moments over the reduced axis of the view: the contract that all devices fulfil.
#pragma once

#include "common/scalar.h"
#include "common/view.h"

namespace stc {

// mean[outer, inner] = sum over r of frames[outer, r, inner] / reduced
template <typename T>
struct MeanArguments {
  View view;
  const T* frames;
  Accumulate<T>* mean;
};

// mean as above, and m2[outer, inner] = sum over r of (frames[outer, r, inner] - mean)^2
template <typename T>
struct MomentsArguments {
  View view;
  const T* frames;
  Accumulate<T>* mean;
  Accumulate<T>* m2;
};

// grad_frames[outer, r, inner] = grad_mean[outer, inner] / reduced
template <typename T>
struct MeanBackwardArguments {
  View view;
  const Accumulate<T>* grad_mean;
  T* grad_frames;
};

}  // namespace stc
