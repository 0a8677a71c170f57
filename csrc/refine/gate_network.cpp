#include "refine/gate_network.h"

#include "common/aten.h"

namespace stc {
namespace {

// The gradient of features and of the weight.
struct ConvolutionGradient {
  Tensor features;
  Tensor weight;
};

// Over the frames of a clip, as a product of unfolded frames and the weights: on so few frames that
// is several times faster on a CPU than a one-dimensional convolution.
class OverFrames {
 public:
  explicit OverFrames(int64_t num_segments) : num_segments_(num_segments) {}

  Tensor convolve(const Tensor& features, const Tensor& weight) const {
    const OptionalTensor none;
    return as_tensor(
        call_aten("aten::linear", "", inputs_of(features, weight), matrix_of(weight), none)[0]);
  }

  ConvolutionGradient gradient(const Tensor& grad, const Tensor& features,
                               const Tensor& weight) const {
    const Tensor of_inputs = torch::stable::matmul(grad, matrix_of(weight));
    const Tensor of_matrix =
        torch::stable::matmul(torch::stable::transpose(grad, 0, 1), inputs_of(features, weight));
    return {weight.size(2) == 1 ? of_inputs : folded(of_inputs),
            torch::stable::view(of_matrix, weight.sizes())};
  }

 private:
  static Tensor matrix_of(const Tensor& weight) { return torch::stable::flatten(weight, 1); }

  // (N*T, C * 3): each frame's (N*T, C), that before and that after.
  Tensor inputs_of(const Tensor& features, const Tensor& weight) const {
    if (weight.size(2) == 1) return features;
    const int64_t channels = features.size(1);
    const Tensor clips = torch::stable::view(features, {-1, num_segments_, channels});
    const Tensor padded = torch::stable::pad(clips, {0, 0, 1, 1});
    const Tensor taps =
        as_tensor(call_aten("aten::unfold", "", padded, int64_t{1}, int64_t{3}, int64_t{1})[0]);
    return torch::stable::reshape(taps, {-1, channels * 3});
  }

  // The gradient of `inputs_of`.
  Tensor folded(const Tensor& grad) const {
    const int64_t channels = grad.size(1) / 3, clips = grad.size(0) / num_segments_;
    const Tensor taps = torch::stable::view(grad, {clips, num_segments_, channels, 3});
    Tensor padded = as_tensor(call_aten("aten::unfold_backward", "", taps,
                                        Sizes{clips, num_segments_ + 2, channels}, int64_t{1},
                                        int64_t{3}, int64_t{1})[0]);
    return torch::stable::reshape(torch::stable::narrow(padded, 1, 1, num_segments_),
                                  {-1, channels});
  }

  int64_t num_segments_;
};

// Over the pixels of a clip.
class OverPixels {
 public:
  Tensor convolve(const Tensor& features, const Tensor& weight) const {
    const OptionalTensor none;
    return as_tensor(call_aten("aten::convolution", "", features, weight, none, Sizes{1, 1},
                               padding_of(weight), Sizes{1, 1}, false, Sizes{0, 0}, int64_t{1})[0]);
  }

  ConvolutionGradient gradient(const Tensor& grad, const Tensor& features,
                               const Tensor& weight) const {
    const std::optional<Sizes> no_bias;
    using Wanted = torch::headeronly::HeaderOnlyArrayRef<bool>;
    constexpr bool kWanted[3] = {true, true, false};
    auto results = call_aten("aten::convolution_backward", "", grad, features, weight, no_bias,
                             Sizes{1, 1}, padding_of(weight), Sizes{1, 1}, false, Sizes{0, 0},
                             int64_t{1}, Wanted(kWanted, 3));
    return {as_tensor(results[0]), as_tensor(results[1])};
  }

 private:
  static Sizes padding_of(const Tensor& weight) { return Sizes(2, weight.size(2) / 2); }
};

// body(the convolution that a network is made of)
template <typename Body>
auto with_convolution(const GateNetwork& network, const Body& body) {
  return network.num_segments > 0 ? body(OverFrames(network.num_segments)) : body(OverPixels());
}

Tensor to_dtype(const Tensor& values, ScalarType dtype) {
  return values.scalar_type() == dtype ? values : torch::stable::to(values, dtype);
}

// In the memory format of others, which shape functions promise.
Tensor in_format_of(const Tensor& values, const Tensor& like) {
  return dense(values, like.dim() == 4 ? memory_format_of(like) : MemoryFormat::Contiguous);
}

Tensor relu_(const Tensor& features) {
  return as_tensor(call_aten("aten::relu_", "", features)[0]);
}

// `grad` where `result` is not zero.
Tensor relu_gradient(const Tensor& grad, const Tensor& result) {
  const Tensor is_zero = as_tensor(call_aten("aten::logical_not", "", result)[0]);
  return as_tensor(call_aten("aten::masked_fill", "Tensor", grad, is_zero,
                             torch::stable::new_zeros(grad, {}))[0]);
}

}  // namespace

GatePass run_gate_network(const GateNetwork& network, const Tensor& context) {
  return with_convolution(network, [&](const auto& convolution) -> GatePass {
    Tensor features = to_dtype(context, network.gate->scalar_type());
    Tensor hidden = empty(features, {0});
    if (network.reduce)
      features = hidden =
          in_format_of(relu_(convolution.convolve(features, *network.reduce)), context);
    const Tensor logits = convolution.convolve(features, *network.gate);
    return {in_format_of(to_dtype(logits, context.scalar_type()), context), hidden};
  });
}

GateGradients gate_network_gradients(const GateNetwork& network, const Tensor& grad,
                                     const Tensor& context, const Tensor& hidden) {
  return with_convolution(network, [&](const auto& convolution) -> GateGradients {
    const ScalarType dtype = network.gate->scalar_type();
    const Tensor features = to_dtype(context, dtype), of_logits = to_dtype(grad, dtype);
    const auto of_context = [&](const ConvolutionGradient& gradient) {
      return in_format_of(to_dtype(gradient.features, context.scalar_type()), context);
    };
    if (!network.reduce) {
      const auto of_gate = convolution.gradient(of_logits, features, *network.gate);
      return {of_context(of_gate), empty(features, {0}),
              in_format_of(of_gate.weight, *network.gate)};
    }
    const auto of_gate = convolution.gradient(of_logits, hidden, *network.gate);
    const auto of_reduce =
        convolution.gradient(relu_gradient(of_gate.features, hidden), features, *network.reduce);
    return {of_context(of_reduce), in_format_of(of_reduce.weight, *network.reduce),
            in_format_of(of_gate.weight, *network.gate)};
  });
}

}  // namespace stc
