#include <tuple>

#include "batch_norm/normalization.h"
#include "common/groups.h"
#include "common/launch.h"
#include "common/registration.h"

namespace stc {
namespace {

struct Split {
  int64_t num_segments;
  int64_t spatial_channels;
  int64_t fold;
  int64_t stride;
};

void check_split(const char* name, const Frames& u, const Tensor& coefficients,
                 const Split& split) {
  check_segments(name, u.tensor(), split.num_segments);
  check_channels(name, coefficients, 4, 0, u.channels());
  check_like(name, "coefficients", coefficients, {4, u.channels()},
             accumulate_dtype(u.tensor().scalar_type()));
  STD_TORCH_CHECK(split.spatial_channels >= 0 && split.spatial_channels <= u.channels() &&
                      split.fold >= 0 && 2 * split.fold <= split.spatial_channels &&
                      split.stride >= 1,
                  name, ": spatial_channels, fold or stride out of range");
}

template <typename T>
ShiftSplitArguments<T> arguments_of(const Frames& u, const Tensor& coefficients,
                                    const Split& split) {
  using E = Accumulate<T>;
  ShiftSplitArguments<T> arguments{};
  arguments.shape = u.shape(1);
  arguments.num_segments = split.num_segments;
  arguments.spatial_channels = split.spatial_channels;
  arguments.fold = split.fold;
  arguments.stride = split.stride;
  arguments.u = const_data_of<T>(u.tensor());
  arguments.scale = const_data_of<E>(coefficients);
  arguments.shift = arguments.scale + u.channels();
  return arguments;
}

std::tuple<Tensor, Tensor> empty_results(const Frames& u, const Split& split) {
  const Tensor& like = u.tensor();
  const auto empty = [&](int64_t channels, int64_t stride) {
    return empty_frames(
        like, {u.count(), channels, ceil_div(like.size(2), stride), ceil_div(like.size(3), stride)},
        like.scalar_type(), u.memory_format());
  };
  return {empty(split.spatial_channels, 1),
          empty(u.channels() - split.spatial_channels, split.stride)};
}

std::tuple<Tensor, Tensor> shift_split(const Tensor& input, const Tensor& coefficients,
                                       int64_t num_segments, int64_t spatial_channels, int64_t fold,
                                       int64_t stride) {
  constexpr const char* kName = "shift_split";
  const Split split{num_segments, spatial_channels, fold, stride};
  const Frames u(kName, "u", input);
  check_split(kName, u, coefficients, split);
  const auto [spatial, temporal] = empty_results(u, split);
  dispatch_dtype(kName, input.scalar_type(),
                 [&, &spatial = spatial, &temporal = temporal](auto element) {
                   using T = decltype(element);
                   auto arguments = arguments_of<T>(u, coefficients, split);
                   arguments.spatial = data_of<T>(spatial);
                   arguments.temporal = data_of<T>(temporal);
                   launch(kName, kernels<T>().shift_split_forward, arguments,
                          units_of(arguments.shape), arguments.shape.elements());
                 });
  return {spatial, temporal};
}

// The gradients of both results in the memory format of the frames.
struct SplitGradients {
  Frames spatial;
  Frames temporal;

  SplitGradients(const char* name, const Tensor& grad_spatial, const Tensor& grad_temporal,
                 const Frames& u, const Split& split)
      : spatial(name, "grad_spatial", grad_spatial, u.memory_format()),
        temporal(name, "grad_temporal", grad_temporal, u.memory_format()) {
    const Tensor& like = u.tensor();
    check_like(name, "grad_spatial", grad_spatial,
               {u.count(), split.spatial_channels, like.size(2), like.size(3)}, like.scalar_type());
    check_like(name, "grad_temporal", grad_temporal,
               {u.count(), u.channels() - split.spatial_channels,
                ceil_div(like.size(2), split.stride), ceil_div(like.size(3), split.stride)},
               like.scalar_type());
  }
};

template <typename T>
ShiftSplitBackwardArguments<T> backward_arguments_of(const SplitGradients& gradients,
                                                     const Frames& u, const Tensor& coefficients,
                                                     const Split& split) {
  ShiftSplitBackwardArguments<T> arguments{};
  arguments.forward = arguments_of<T>(u, coefficients, split);
  arguments.grad_spatial = const_data_of<T>(gradients.spatial.tensor());
  arguments.grad_temporal = const_data_of<T>(gradients.temporal.tensor());
  arguments.mean = arguments.forward.scale + 2 * u.channels();
  return arguments;
}

Tensor shift_split_backward_sums(const Tensor& grad_spatial, const Tensor& grad_temporal,
                                 const Tensor& input, const Tensor& coefficients,
                                 int64_t num_segments, int64_t spatial_channels, int64_t fold,
                                 int64_t stride) {
  constexpr const char* kName = "shift_split_backward_sums";
  const Split split{num_segments, spatial_channels, fold, stride};
  const Frames u(kName, "u", input);
  check_split(kName, u, coefficients, split);
  const SplitGradients gradients(kName, grad_spatial, grad_temporal, u, split);
  const FrameShape shape = u.shape(1);
  const SumsOverFrames sums(coefficients, shape, 2);
  dispatch_dtype(kName, input.scalar_type(), [&](auto element) {
    using T = decltype(element);
    auto arguments = backward_arguments_of<T>(gradients, u, coefficients, split);
    arguments.sums = sums.partial<Accumulate<T>>();
    launch(kName, kernels<T>().shift_split_backward_sums, arguments, units_of(shape),
           shape.elements());
    sums.add_up<Accumulate<T>>(kName);
  });
  return sums.total();
}

Tensor shift_split_backward(const Tensor& grad_spatial, const Tensor& grad_temporal,
                            const Tensor& input, const Tensor& coefficients,
                            const Tensor& grad_coefficients, int64_t num_segments,
                            int64_t spatial_channels, int64_t fold, int64_t stride) {
  constexpr const char* kName = "shift_split_backward";
  const Split split{num_segments, spatial_channels, fold, stride};
  const Frames u(kName, "u", input);
  check_split(kName, u, coefficients, split);
  check_channels(kName, grad_coefficients, 2, 0, u.channels());
  const SplitGradients gradients(kName, grad_spatial, grad_temporal, u, split);
  const Tensor grad_u = empty_frames(input, input.sizes(), input.scalar_type(), u.memory_format());
  dispatch_dtype(kName, input.scalar_type(), [&](auto element) {
    using T = decltype(element);
    auto arguments = backward_arguments_of<T>(gradients, u, coefficients, split);
    arguments.slope = const_data_of<Accumulate<T>>(grad_coefficients);
    arguments.offset = arguments.slope + u.channels();
    arguments.grad_u = data_of<T>(grad_u);
    launch(kName, kernels<T>().shift_split_backward, arguments, units_of(arguments.forward.shape),
           arguments.forward.shape.elements());
  });
  return grad_u;
}

// Both results and the coefficients.
std::tuple<Tensor, Tensor, Tensor> bn_relu_shift_split(
    const Tensor& u, const OptionalTensor& weight, const OptionalTensor& bias,
    const OptionalTensor& running_mean, const OptionalTensor& running_var, double eps,
    int64_t num_segments, int64_t spatial_channels, int64_t fold, int64_t stride) {
  const OptionalTensor none;
  const BatchNorm bn{weight, bias, running_mean, running_var, none, false, 0, eps};
  const Tensor coefficients = coefficients_of_frames("bn_relu_shift_split", bn, u);
  const auto [spatial, temporal] =
      shift_split(u, coefficients, num_segments, spatial_channels, fold, stride);
  return {spatial, temporal, coefficients};
}

std::tuple<Tensor, Tensor, Tensor> bn_relu_shift_split_training(
    const Tensor& u, const OptionalTensor& weight, const OptionalTensor& bias,
    const OptionalTensor& running_mean, const OptionalTensor& running_var,
    const OptionalTensor& num_batches_tracked, double momentum, double eps, int64_t num_segments,
    int64_t spatial_channels, int64_t fold, int64_t stride) {
  const BatchNorm bn{weight, bias,     running_mean, running_var, num_batches_tracked,
                     true,   momentum, eps};
  const Tensor coefficients = coefficients_of_frames("bn_relu_shift_split_training", bn, u);
  const auto [spatial, temporal] =
      shift_split(u, coefficients, num_segments, spatial_channels, fold, stride);
  return {spatial, temporal, coefficients};
}

// Of u, weight and bias.
std::tuple<Tensor, Tensor, Tensor> bn_relu_shift_split_backward(
    const Tensor& grad_spatial, const Tensor& grad_temporal, const Tensor& u,
    const Tensor& coefficients, bool training, int64_t num_segments, int64_t spatial_channels,
    int64_t fold, int64_t stride) {
  const Tensor sums = shift_split_backward_sums(grad_spatial, grad_temporal, u, coefficients,
                                                num_segments, spatial_channels, fold, stride);
  const BatchNormGradient gradient = gradient_of("bn_relu_shift_split_backward", sums, 1,
                                                 coefficients, values_of_statistics(u, training));
  return {shift_split_backward(grad_spatial, grad_temporal, u, coefficients, gradient.coefficients,
                               num_segments, spatial_channels, fold, stride),
          gradient.weight, gradient.bias};
}

}  // namespace
}  // namespace stc

STC_KERNELS(m) {
  m.impl("bn_relu_shift_split", stc::kBoxed<stc::bn_relu_shift_split>);
  m.impl("bn_relu_shift_split_training", stc::kBoxed<stc::bn_relu_shift_split_training>);
  m.impl("bn_relu_shift_split_backward", stc::kBoxed<stc::bn_relu_shift_split_backward>);
  m.impl("shift_split", stc::kBoxed<stc::shift_split>);
  m.impl("shift_split_backward_sums", stc::kBoxed<stc::shift_split_backward_sums>);
  m.impl("shift_split_backward", stc::kBoxed<stc::shift_split_backward>);
}
