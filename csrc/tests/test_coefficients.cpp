#include "tests/check.h"
#include "tests/groups.h"
#include "tests/outputs.h"
#include "tests/tests.h"

namespace stc::test {
namespace {

// A result of a few operations in double on terms of that magnitude.
template <typename E>
Expected from_doubles(double value, double magnitude) {
  constexpr int kOperations = 8;
  return rounded_once_more<E>(value, kOperations * kUnitRoundoff<double> * magnitude);
}

template <typename E>
std::vector<E> random_channels(int64_t channels, double centre, Random& random) {
  std::vector<E> values;
  for (int64_t i = 0; i < channels; ++i)
    values.push_back(static_cast<E>(centre + uniform(random, 2)));
  return values;
}

template <typename E>
void test_forward(const Device& device, int64_t channels, bool with_weight, bool with_bias,
                  double centre, Random& random) {
  constexpr double kEps = 1e-5;
  const Buffer<E> mean(random_channels<E>(channels, centre, random));
  Buffer<E> var(random_channels<E>(channels, 2, random));
  var[0] = 0;
  const Buffer<E> weight(random_channels<E>(with_weight ? channels : 0, 0, random));
  const Buffer<E> bias(random_channels<E>(with_bias ? channels : 0, 0, random));
  Output<E> scale(channels), shift(channels), mean_out(channels), rstd(channels);
  for (int64_t i = 0; i < channels; ++i) {
    const double one_over = 1 / std::sqrt(double{var[i]} + kEps);
    const double factor = one_over * (with_weight ? double{weight[i]} : 1);
    const double addend = with_bias ? double{bias[i]} : 0, product = factor * double{mean[i]};
    scale[i] = from_doubles<E>(factor, std::fabs(factor));
    shift[i] = from_doubles<E>(addend - product, std::fabs(addend) + std::fabs(product));
    mean_out[i] = {mean[i]};
    rstd[i] = from_doubles<E>(one_over, one_over);
  }
  const auto arguments = [&](Buffer<E>& to_scale, Buffer<E>& to_shift, Buffer<E>& to_mean,
                             Buffer<E>& to_rstd) {
    CoefficientsArguments<E> given{};
    given.channels = channels;
    given.eps = kEps;
    given.mean = mean.data();
    given.var = var.data();
    given.weight = with_weight ? weight.data() : nullptr;
    given.bias = with_bias ? bias.data() : nullptr;
    given.scale = to_scale.data();
    given.shift = to_shift.data();
    given.mean_out = to_mean.data();
    given.rstd = to_rstd.data();
    return given;
  };
  const std::string name = text_of("coefficients<", kName<E>, "> ", channels,
                                   with_weight ? "" : ", no weight", with_bias ? "" : ", no bias");
  test_outputs(name, device.group_kernels<E>().coefficients, column_units(channels), arguments,
               scale, shift, mean_out, rstd);
  CHECK(untouched_guards(mean, var, weight, bias), name);
}

// What a batch of 9 values per channel does to the statistics that run.
template <typename E>
void test_running_statistics(const Device& device, int64_t channels, double centre,
                             Random& random) {
  constexpr double kMomentum = 0.3, kUnbiased = 9.0 / 8;
  const Buffer<E> mean(random_channels<E>(channels, centre, random));
  const Buffer<E> var(random_channels<E>(channels, 2, random));
  Buffer<E> running_mean(random_channels<E>(channels, centre, random));
  Buffer<E> running_var(random_channels<E>(channels, 2, random));
  Buffer<int64_t> counter(std::vector<int64_t>{41});
  Buffer<E> scratch(4 * channels);
  const auto moved = [&](double before, double batch) {
    return from_doubles<E>((1 - kMomentum) * before + kMomentum * batch,
                           std::fabs(before) + std::fabs(batch));
  };
  std::vector<Expected> means, vars;
  for (int64_t i = 0; i < channels; ++i) {
    means.push_back(moved(running_mean[i], mean[i]));
    vars.push_back(moved(running_var[i], kUnbiased * var[i]));
  }
  CoefficientsArguments<E> arguments{};
  arguments.channels = channels;
  arguments.eps = 1e-5;
  arguments.mean = mean.data();
  arguments.var = var.data();
  arguments.scale = scratch.data();
  arguments.shift = scratch.data() + channels;
  arguments.mean_out = scratch.data() + 2 * channels;
  arguments.rstd = scratch.data() + 3 * channels;
  arguments.running = {running_mean.data(), running_var.data(), counter.data(), kMomentum,
                       kUnbiased};
  run_kernel(device.group_kernels<E>().coefficients, arguments, column_units(channels));
  const std::string name = text_of("running statistics<", kName<E>, "> ", channels);
  const Departures wrong_mean = departures(running_mean, means);
  const Departures wrong_var = departures(running_var, vars);
  CHECK(wrong_mean.count == 0, name, wrong_mean);
  CHECK(wrong_var.count == 0, name, wrong_var);
  CHECK(counter[0] == 42, name);
  CHECK(untouched_guards(mean, var, running_mean, running_var, counter, scratch), name);
}

template <typename E>
void test_gradient(const Device& device, int64_t channels, int64_t count, double centre,
                   Random& random) {
  Buffer<E> sums(random_channels<E>(channels, 0, random));
  Buffer<E> products(random_channels<E>(channels, 0, random));
  const Buffer<E> scale(random_channels<E>(channels, 0, random));
  Buffer<E> mean(random_channels<E>(channels, centre, random));
  const Buffer<E> rstd(random_channels<E>(channels, 3, random));
  Output<E> slope(channels), offset(channels), grad_weight(channels), grad_bias(channels);
  // Nothing comes back through statistics that are constants, finite or not.
  sums[0] = products[0] = 0;
  mean[0] = std::numeric_limits<E>::infinity();
  for (int64_t i = 0; i < channels; ++i) {
    const double n = static_cast<double>(count), of_weight = double{products[i]} * rstd[i];
    const double of_z = double{scale[i]} * rstd[i] * of_weight / n;
    const double of_mean = of_z * mean[i], of_sum = double{scale[i]} * sums[i] / n;
    slope[i] = from_doubles<E>(-of_z, std::fabs(of_z));
    offset[i] = from_doubles<E>(of_mean - of_sum, std::fabs(of_mean) + std::fabs(of_sum));
    if (count == 0 || i == 0) slope[i] = offset[i] = {0};
    grad_weight[i] = from_doubles<E>(of_weight, std::fabs(of_weight));
    grad_bias[i] = {sums[i]};
  }
  const auto arguments = [&](Buffer<E>& to_slope, Buffer<E>& to_offset, Buffer<E>& to_weight,
                             Buffer<E>& to_bias) {
    return GradCoefficientsArguments<E>{channels,         count,           sums.data(),
                                        products.data(),  scale.data(),    mean.data(),
                                        rstd.data(),      to_slope.data(), to_offset.data(),
                                        to_weight.data(), to_bias.data()};
  };
  const std::string name = text_of("grad_coefficients<", kName<E>, "> ", channels, ", ", count);
  test_outputs(name, device.group_kernels<E>().grad_coefficients, column_units(channels), arguments,
               slope, offset, grad_weight, grad_bias);
  CHECK(untouched_guards(sums, products, scale, mean, rstd), name);
}

}  // namespace

void test_coefficients(const Device& device) {
  Random random(12);
  for (const int64_t channels : {1, 2, 3, 7, 8, 31, 33, 63, 64, 65, 127, 129, 200, 1027})
    for (const double centre : {0.0, 1000.0}) {
      const auto test = [&](auto element) {
        using E = decltype(element);
        for (const bool with_weight : {false, true})
          for (const bool with_bias : {false, true})
            test_forward<E>(device, channels, with_weight, with_bias, centre, random);
        test_running_statistics<E>(device, channels, centre, random);
        for (const int64_t count : {0, 1, 72})
          test_gradient<E>(device, channels, count, centre, random);
      };
      test(float{});
      test(double{});
    }
}

}  // namespace stc::test
