// Torch boundary: the gate networks on pooled context, small tensors, by PyTorch's own operators.
#pragma once

#include "common/frames.h"

namespace stc {

// Weights of a convolution of kernel 3 and padding 1, and of STC-Light's pointwise one and ReLU
// before it, if any: over the frames of a clip, of (N*T, C) context, or over the pixels of a clip,
// of (N, C, H, W) context.
struct GateNetwork {
  const OptionalTensor& reduce;
  const OptionalTensor& gate;
  // T for a network over frames, 0 for one over pixels.
  int64_t num_segments;
};

struct GatePass {
  Tensor logits;
  // Inside of STC-Light's network, after the ReLU; empty in others.
  Tensor hidden;
};

GatePass run_gate_network(const GateNetwork& network, const Tensor& context);

struct GateGradients {
  Tensor context;
  // Empty where there is no such weight.
  Tensor reduce;
  Tensor gate;
};

// For the gradient of the logits.
GateGradients gate_network_gradients(const GateNetwork& network, const Tensor& grad,
                                     const Tensor& context, const Tensor& hidden);

}  // namespace stc
