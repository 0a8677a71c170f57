#include <optional>
#include <tuple>

#include "batch_norm/normalization.h"
#include "common/groups.h"
#include "common/launch.h"
#include "common/registration.h"

namespace stc {
namespace {

using Coefficients = OptionalTensor;

void check_coefficients(const char* name, const Frames& w, const Tensor& coefficients,
                        const Coefficients& identity_coefficients) {
  for (const Tensor* given :
       {&coefficients, identity_coefficients ? &*identity_coefficients : &coefficients}) {
    check_like(name, "coefficients", *given, {4, w.channels()},
               accumulate_dtype(w.tensor().scalar_type()));
    check_channels(name, *given, 4, 0, w.channels());
  }
}

template <typename T>
ResidualArguments<T> arguments_of(const Frames& w, const Frames& identity,
                                  const Tensor& coefficients,
                                  const Coefficients& identity_coefficients) {
  using E = Accumulate<T>;
  ResidualArguments<T> arguments{};
  arguments.shape = w.shape(1);
  arguments.w = const_data_of<T>(w.tensor());
  arguments.identity = const_data_of<T>(identity.tensor());
  arguments.scale = const_data_of<E>(coefficients);
  arguments.shift = arguments.scale + w.channels();
  if (identity_coefficients) {
    arguments.identity_scale = const_data_of<E>(*identity_coefficients);
    arguments.identity_shift = arguments.identity_scale + w.channels();
  }
  return arguments;
}

Frames like_first(const char* name, const char* argument, const Tensor& tensor, const Frames& w) {
  check_like(name, argument, tensor, w.tensor().sizes(), w.tensor().scalar_type());
  return Frames(name, argument, tensor, w.memory_format());
}

Tensor empty_like_frames(const Frames& frames) {
  const Tensor& like = frames.tensor();
  return empty_frames(like, like.sizes(), like.scalar_type(), frames.memory_format());
}

Tensor add_relu(const Tensor& input, const Tensor& addend, const Tensor& coefficients,
                const Coefficients& identity_coefficients) {
  constexpr const char* kName = "add_relu";
  const Frames w(kName, "w", input);
  const Frames identity = like_first(kName, "identity", addend, w);
  check_coefficients(kName, w, coefficients, identity_coefficients);
  const Tensor out = empty_like_frames(w);
  dispatch_dtype(kName, input.scalar_type(), [&](auto element) {
    using T = decltype(element);
    auto arguments = arguments_of<T>(w, identity, coefficients, identity_coefficients);
    arguments.out = data_of<T>(out);
    launch(kName, kernels<T>().residual_forward, arguments, units_of(arguments.shape),
           arguments.shape.elements());
  });
  return out;
}

// What the backward passes read. Without a normalization of its own, the identity is not read; its
// gradient is what the last pass is given in the place of `grad` and `out`.
struct ResidualInputs {
  Frames w;
  Frames identity;
  Frames out;
  Frames grad;

  ResidualInputs(const char* name, const Tensor& grad_out, const std::optional<Tensor>& result,
                 const Tensor& input, const std::optional<Tensor>& addend)
      : w(name, "w", input),
        identity(like_first(name, "identity", addend ? *addend : input, w)),
        out(like_first(name, "out", result ? *result : grad_out, w)),
        grad(like_first(name, "grad", grad_out, w)) {}

  template <typename T>
  ResidualBackwardArguments<T> arguments(const Tensor& coefficients,
                                         const Coefficients& identity_coefficients) const {
    ResidualBackwardArguments<T> arguments{};
    arguments.forward = arguments_of<T>(w, identity, coefficients, identity_coefficients);
    // Only read in the backward pass.
    arguments.forward.out = const_cast<T*>(const_data_of<T>(out.tensor()));
    arguments.grad_out = const_data_of<T>(grad.tensor());
    arguments.mean = arguments.forward.scale + 2 * w.channels();
    if (identity_coefficients)
      arguments.identity_mean = arguments.forward.identity_scale + 2 * w.channels();
    return arguments;
  }
};

std::tuple<Tensor, Tensor> add_relu_backward_sums(const Tensor& grad, const Tensor& out,
                                                  const Tensor& w,
                                                  const std::optional<Tensor>& identity,
                                                  const Tensor& coefficients,
                                                  const Coefficients& identity_coefficients) {
  constexpr const char* kName = "add_relu_backward_sums";
  const ResidualInputs inputs(kName, grad, out, w, identity);
  check_coefficients(kName, inputs.w, coefficients, identity_coefficients);
  const FrameShape shape = inputs.w.shape(1);
  const SumsOverFrames sums(coefficients, shape, identity_coefficients ? 3 : 2);
  const Tensor grad_identity =
      identity_coefficients ? stc::empty(w, {0}) : empty_like_frames(inputs.w);
  dispatch_dtype(kName, w.scalar_type(), [&](auto element) {
    using T = decltype(element);
    auto arguments = inputs.arguments<T>(coefficients, identity_coefficients);
    arguments.sums = sums.partial<Accumulate<T>>();
    arguments.grad_identity = data_of<T>(grad_identity);
    launch(kName, kernels<T>().residual_backward_sums, arguments, units_of(shape),
           shape.elements());
    sums.add_up<Accumulate<T>>(kName);
  });
  return {sums.total(), grad_identity};
}

std::tuple<Tensor, Tensor> add_relu_backward(const Tensor& grad, const std::optional<Tensor>& out,
                                             const Tensor& w, const std::optional<Tensor>& identity,
                                             const Tensor& coefficients,
                                             const Coefficients& identity_coefficients,
                                             const Tensor& grad_coefficients,
                                             const Coefficients& identity_grad_coefficients) {
  constexpr const char* kName = "add_relu_backward";
  const ResidualInputs inputs(kName, grad, out, w, identity);
  check_coefficients(kName, inputs.w, coefficients, identity_coefficients);
  check_channels(kName, grad_coefficients, 2, 0, inputs.w.channels());
  for (const bool given :
       {out.has_value(), identity.has_value(), identity_grad_coefficients.has_value()})
    STD_TORCH_CHECK(given == identity_coefficients.has_value(), kName,
                    ": out, identity and its coefficients come together");
  if (identity_grad_coefficients)
    check_channels(kName, *identity_grad_coefficients, 2, 0, inputs.w.channels());
  const Tensor grad_w = empty_like_frames(inputs.w);
  const Tensor grad_identity =
      identity_coefficients ? empty_like_frames(inputs.w) : stc::empty(w, {0});
  dispatch_dtype(kName, w.scalar_type(), [&](auto element) {
    using T = decltype(element);
    using E = Accumulate<T>;
    auto arguments = inputs.arguments<T>(coefficients, identity_coefficients);
    arguments.slope = const_data_of<E>(grad_coefficients);
    arguments.offset = arguments.slope + inputs.w.channels();
    if (identity_grad_coefficients) {
      arguments.identity_slope = const_data_of<E>(*identity_grad_coefficients);
      arguments.identity_offset = arguments.identity_slope + inputs.w.channels();
    }
    arguments.grad_w = data_of<T>(grad_w);
    // Only read where the pass of the sums has written it.
    arguments.grad_identity = identity_coefficients
                                  ? data_of<T>(grad_identity)
                                  : const_cast<T*>(const_data_of<T>(inputs.grad.tensor()));
    launch(kName, kernels<T>().residual_backward, arguments, units_of(arguments.forward.shape),
           arguments.forward.shape.elements());
  });
  return {grad_w, grad_identity};
}

// The result, the coefficients, and those of the identity where it is normalized.
std::tuple<Tensor, Tensor, Tensor> normalize_add_relu(const char* name, const Tensor& w,
                                                      const Tensor& identity, const BatchNorm& bn,
                                                      const BatchNorm& identity_bn) {
  const Tensor coefficients = coefficients_of_frames(name, bn, w);
  if (!identity_bn.is_given())
    return {add_relu(w, identity, coefficients, std::nullopt), coefficients,
            stc::empty(coefficients, {0})};
  const Tensor of_identity = coefficients_of_frames(name, identity_bn, identity);
  return {add_relu(w, identity, coefficients, of_identity), coefficients, of_identity};
}

std::tuple<Tensor, Tensor, Tensor> bn_add_relu(
    const Tensor& w, const Tensor& identity, const OptionalTensor& weight,
    const OptionalTensor& bias, const OptionalTensor& running_mean,
    const OptionalTensor& running_var, double eps, const OptionalTensor& identity_weight,
    const OptionalTensor& identity_bias, const OptionalTensor& identity_running_mean,
    const OptionalTensor& identity_running_var, double identity_eps) {
  const OptionalTensor none;
  return normalize_add_relu("bn_add_relu", w, identity,
                            {weight, bias, running_mean, running_var, none, false, 0, eps},
                            {identity_weight, identity_bias, identity_running_mean,
                             identity_running_var, none, false, 0, identity_eps});
}

std::tuple<Tensor, Tensor, Tensor> bn_add_relu_training(
    const Tensor& w, const Tensor& identity, const OptionalTensor& weight,
    const OptionalTensor& bias, const OptionalTensor& running_mean,
    const OptionalTensor& running_var, const OptionalTensor& num_batches_tracked, bool training,
    double momentum, double eps, const OptionalTensor& identity_weight,
    const OptionalTensor& identity_bias, const OptionalTensor& identity_running_mean,
    const OptionalTensor& identity_running_var, const OptionalTensor& identity_num_batches_tracked,
    bool identity_training, double identity_momentum, double identity_eps) {
  return normalize_add_relu(
      "bn_add_relu_training", w, identity,
      {weight, bias, running_mean, running_var, num_batches_tracked, training, momentum, eps},
      {identity_weight, identity_bias, identity_running_mean, identity_running_var,
       identity_num_batches_tracked, identity_training, identity_momentum, identity_eps});
}

// Of w, weight and bias, of identity, and of its weight and bias where it is normalized.
std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> bn_add_relu_backward(
    const Tensor& grad, const Tensor& out, const Tensor& w, const OptionalTensor& identity,
    const Tensor& coefficients, const Coefficients& identity_coefficients, bool training,
    bool identity_training) {
  constexpr const char* kName = "bn_add_relu_backward";
  const auto [sums, of_added] =
      add_relu_backward_sums(grad, out, w, identity, coefficients, identity_coefficients);
  const BatchNormGradient of_w =
      gradient_of(kName, sums, 1, coefficients, values_of_statistics(w, training));
  if (!identity_coefficients) {
    const auto [grad_w, none] =
        add_relu_backward(of_added, std::nullopt, w, std::nullopt, coefficients, std::nullopt,
                          of_w.coefficients, std::nullopt);
    const auto empty = [&, &none = none] { return stc::empty(none, {0}); };
    return {grad_w, of_w.weight, of_w.bias, of_added, empty(), empty()};
  }
  const BatchNormGradient of_identity = gradient_of(kName, sums, 2, *identity_coefficients,
                                                    values_of_statistics(w, identity_training));
  const auto [grad_w, grad_identity] =
      add_relu_backward(grad, out, w, identity, coefficients, identity_coefficients,
                        of_w.coefficients, of_identity.coefficients);
  return {grad_w, of_w.weight, of_w.bias, grad_identity, of_identity.weight, of_identity.bias};
}

}  // namespace
}  // namespace stc

STC_KERNELS(m) {
  m.impl("bn_add_relu", stc::kBoxed<stc::bn_add_relu>);
  m.impl("bn_add_relu_training", stc::kBoxed<stc::bn_add_relu_training>);
  m.impl("bn_add_relu_backward", stc::kBoxed<stc::bn_add_relu_backward>);
  m.impl("add_relu", stc::kBoxed<stc::add_relu>);
  m.impl("add_relu_backward_sums", stc::kBoxed<stc::add_relu_backward_sums>);
  m.impl("add_relu_backward", stc::kBoxed<stc::add_relu_backward>);
}
