#include "batch_norm/normalization.h"

#include <tuple>

#include "batch_norm/batch_norm_boundary.h"
#include "common/groups.h"
#include "common/registration.h"
#include "moments/moments_boundary.h"

namespace stc {
namespace {

// A value per channel, dense in the dtype of sums: what is given if it is that, else a copy.
class Channels {
 public:
  Channels(const char* name, const char* argument, const OptionalTensor& given, int64_t channels,
           ScalarType dtype)
      : given_(given) {
    if (!given) return;
    check_like(name, argument, *given, {channels}, given->scalar_type());
    values_ = dense(given->scalar_type() == dtype ? *given : torch::stable::to(*given, dtype));
  }

  template <typename E>
  E* data() const {
    return values_ ? data_of<E>(*values_) : nullptr;
  }

  // For what has been changed in a copy.
  void write_back() const {
    if (!values_ || values_->const_data_ptr() == given_->const_data_ptr()) return;
    Tensor given = *given_;
    torch::stable::copy_(given, *values_);
  }

 private:
  const OptionalTensor& given_;
  OptionalTensor values_;
};

// By the moments of a batch of `count` values per channel, or where there are none by the running
// statistics, in `dtype`.
Tensor coefficients_of(const char* name, const BatchNorm& bn, const OptionalTensor& moments,
                       int64_t count, ScalarType dtype) {
  STD_TORCH_CHECK(bn.running_mean.has_value() == bn.running_var.has_value(), name,
                  ": running_mean and running_var come together");
  STD_TORCH_CHECK(moments || bn.running_mean, name,
                  ": running statistics must be given unless it is training");
  const Tensor& like = moments ? *moments : *bn.running_mean;
  const int64_t channels = like.size(like.dim() - 1);
  const Channels weight(name, "weight", bn.weight, channels, dtype);
  const Channels bias(name, "bias", bn.bias, channels, dtype);
  const Channels running_mean(name, "running_mean", bn.running_mean, channels, dtype);
  const Channels running_var(name, "running_var", bn.running_var, channels, dtype);
  if (bn.num_batches_tracked)
    check_like(name, "num_batches_tracked", *bn.num_batches_tracked,
               torch::headeronly::IntHeaderOnlyArrayRef(), ScalarType::Long);
  const Tensor coefficients = empty(like, {4, channels}, dtype);
  dispatch_sums_dtype(name, dtype, [&](auto element) {
    using E = decltype(element);
    E* const out = data_of<E>(coefficients);
    CoefficientsArguments<E> arguments{};
    arguments.channels = channels;
    arguments.eps = bn.eps;
    arguments.mean = moments ? const_data_of<E>(*moments) : running_mean.data<E>();
    arguments.var = moments ? arguments.mean + channels : running_var.data<E>();
    arguments.weight = weight.data<E>();
    arguments.bias = bias.data<E>();
    arguments.scale = out;
    arguments.shift = out + channels;
    arguments.mean_out = out + 2 * channels;
    arguments.rstd = out + 3 * channels;
    if (moments) {
      const double unbiased = static_cast<double>(count) / static_cast<double>(count - 1);
      int64_t* const counter =
          bn.num_batches_tracked ? data_of<int64_t>(*bn.num_batches_tracked) : nullptr;
      arguments.running = {running_mean.data<E>(), running_var.data<E>(), counter, bn.momentum,
                           unbiased};
    }
    launch(name, group_kernels<E>().coefficients, arguments, column_units(channels), 4 * channels);
  });
  if (moments) {
    running_mean.write_back();
    running_var.write_back();
  }
  return coefficients;
}

Tensor batch_norm_coefficients(const Tensor& moments, const OptionalTensor& weight,
                               const OptionalTensor& bias, double eps) {
  constexpr const char* kName = "batch_norm_coefficients";
  const OptionalTensor none;
  return coefficients_of_batch(kName, {weight, bias, none, none, none, true, 0, eps}, moments, 0);
}

// The gradient of z is scale * d + slope * z + offset: slope and offset.
Tensor batch_norm_grad_coefficients(const Tensor& mean_sums, const Tensor& coefficients) {
  return gradient_of("batch_norm_grad_coefficients", mean_sums, 1, coefficients, 1).coefficients;
}

}  // namespace

Tensor coefficients_of_batch(const char* name, const BatchNorm& bn, const Tensor& moments,
                             int64_t count) {
  STD_TORCH_CHECK(moments.dim() == 2 && moments.size(0) == 2, name, ": moments must be (2, C)");
  return coefficients_of(name, bn, dense(moments), count, moments.scalar_type());
}

Tensor coefficients_of_running(const char* name, const BatchNorm& bn, ScalarType dtype) {
  return coefficients_of(name, bn, std::nullopt, 0, accumulate_dtype(dtype));
}

Tensor coefficients_of_frames(const char* name, const BatchNorm& bn, const Tensor& frames) {
  if (!bn.training) return coefficients_of_running(name, bn, frames.scalar_type());
  const auto [mean, m2] = spatial_moments(frames);
  const int64_t pixels = frames.size(2) * frames.size(3);
  const Tensor moments = std::get<1>(gated_channel_moments(mean, m2, std::nullopt, pixels));
  return coefficients_of_batch(name, bn, moments, frames.size(0) * pixels);
}

BatchNormGradient gradient_of(const char* name, const Tensor& sums, int64_t products,
                              const Tensor& coefficients, int64_t count) {
  STD_TORCH_CHECK(coefficients.dim() == 2 && coefficients.size(0) == 4, name,
                  ": coefficients must be (4, C)");
  const int64_t channels = coefficients.size(1);
  check_like(name, "sums", sums, {sums.size(0), channels}, coefficients.scalar_type());
  const Tensor from = dense(sums), forward = dense(coefficients);
  const auto empty = [&](torch::headeronly::IntHeaderOnlyArrayRef sizes) {
    return stc::empty(coefficients, sizes);
  };
  const BatchNormGradient gradient{empty({channels}), empty({channels}), empty({2, channels})};
  dispatch_sums_dtype(name, coefficients.scalar_type(), [&](auto element) {
    using E = decltype(element);
    const E* const scale = const_data_of<E>(forward);
    const E* const sum = const_data_of<E>(from);
    E* const slope = data_of<E>(gradient.coefficients);
    const GradCoefficientsArguments<E> arguments{channels,
                                                 count,
                                                 sum,
                                                 sum + products * channels,
                                                 scale,
                                                 scale + 2 * channels,
                                                 scale + 3 * channels,
                                                 slope,
                                                 slope + channels,
                                                 data_of<E>(gradient.weight),
                                                 data_of<E>(gradient.bias)};
    launch(name, group_kernels<E>().grad_coefficients, arguments, column_units(channels),
           2 * channels);
  });
  return gradient;
}

}  // namespace stc

STC_KERNELS(m) {
  m.impl("batch_norm_coefficients", stc::kBoxed<stc::batch_norm_coefficients>);
  m.impl("batch_norm_grad_coefficients", stc::kBoxed<stc::batch_norm_grad_coefficients>);
}
