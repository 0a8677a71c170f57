// The gate networks as operators of any device.
#include <tuple>

#include "common/registration.h"
#include "refine/gate_network.h"

namespace stc {
namespace {

// The logits, and the hidden features of STC-Light's network.
std::tuple<Tensor, Tensor> gate_network(const Tensor& context, const OptionalTensor& reduce,
                                        const Tensor& gate, int64_t num_segments) {
  const OptionalTensor weight = gate;
  const GatePass pass = run_gate_network({reduce, weight, num_segments}, context);
  return {pass.logits, pass.hidden};
}

// Of the context, of reduce and of gate.
std::tuple<Tensor, Tensor, Tensor> gate_network_backward(const Tensor& grad, const Tensor& context,
                                                         const Tensor& hidden,
                                                         const OptionalTensor& reduce,
                                                         const Tensor& gate, int64_t num_segments) {
  const OptionalTensor weight = gate;
  const GateGradients gradients =
      gate_network_gradients({reduce, weight, num_segments}, grad, context, hidden);
  return {gradients.context, gradients.reduce, gradients.gate};
}

}  // namespace
}  // namespace stc

STC_KERNELS_OF(STC_NAMESPACE, CompositeExplicitAutograd, m) {
  m.impl("gate_network", TORCH_BOX(stc::gate_network));
  m.impl("gate_network_backward", TORCH_BOX(stc::gate_network_backward));
}
