// Sigmoid gates broadcast over the reduced axis of the view: the contract that all devices fulfil.
#pragma once

#include "common/scalar.h"
#include "common/view.h"

namespace stc {

// out[outer, r, inner] = frames[outer, r, inner] * sigmoid(logits[outer, inner])
template <typename T>
struct GateArguments {
  View view;
  const T* frames;
  const Accumulate<T>* logits;
  T* out;
};

// With e = sigmoid(logits) and d = grad_out:
//   grad_frames = d * e,   grad_logits = e * (1 - e) * sum over r of d * frames
template <typename T>
struct GateBackwardArguments {
  View view;
  const T* grad_out;
  const T* frames;
  const Accumulate<T>* logits;
  T* grad_frames;
  Accumulate<T>* grad_logits;
};

}  // namespace stc
