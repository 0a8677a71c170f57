#include "tests/check.h"
#include "tests/device.h"
#include "tests/tests.h"
#include "tests/views.h"

namespace stc::test {
namespace {

template <typename T>
std::vector<Expected> mean_naively(const View& view, const Buffer<T>& frames, Values values) {
  std::vector<Expected> means;
  for (int64_t outer = 0; outer < view.outer; ++outer) {
    for (int64_t i = 0; i < view.inner; ++i) {
      double sum = 0;
      double magnitudes = 0;
      for (int64_t r = 0; r < view.reduced; ++r) {
        const double element = to_double(frames[(outer * view.reduced + r) * view.inner + i]);
        sum += element;
        magnitudes += std::fabs(element);
      }
      const auto count = static_cast<double>(view.reduced);
      const double sum_error = values == Values::sixteenths ? 0 : count * magnitudes;
      means.push_back({sum / count, 2 * kUnitRoundoff<Accumulate<T>> *
                                        (sum_error + 1.5 * std::fabs(sum)) / count});
    }
  }
  return means;
}

template <typename T>
void test_mean(const Device& device, const View& view, Values values, Random& random) {
  Buffer<T> frames(view.size());
  fill(frames, values, random);
  const auto kernel = device.kernels<T>().mean_forward;
  const auto arguments = [&](Buffer<Accumulate<T>>& mean) {
    return MeanArguments<T>{view, frames.data(), mean.data()};
  };
  const int64_t units = view_units(view);
  Buffer<Accumulate<T>> mean(view.outer * view.inner);
  run_kernel(kernel, arguments(mean), units);
  const std::string name = text_of("mean_forward<", kName<T>, "> ", view);
  const Departures wrong = departures(mean, mean_naively(view, frames, values));
  CHECK(wrong.count == 0, name, values, wrong);
  CHECK(mean.guards_are_untouched() && frames.guards_are_untouched(), name);
  check_repeatable(name, kernel, units, arguments, mean);
}

template <typename T>
std::vector<Expected> mean_backward_naively(const View& view,
                                            const Buffer<Accumulate<T>>& grad_mean) {
  std::vector<Expected> grad_frames;
  for (int64_t outer = 0; outer < view.outer; ++outer)
    for (int64_t r = 0; r < view.reduced; ++r)
      for (int64_t i = 0; i < view.inner; ++i) {
        const double grad = grad_mean[outer * view.inner + i] / static_cast<double>(view.reduced);
        const double error = 3 * kUnitRoundoff<Accumulate<T>> + 1.01 * kUnitRoundoff<T>;
        grad_frames.push_back({grad, std::fabs(grad) * error + smallest_step<T>()});
      }
  return grad_frames;
}

template <typename T>
void test_mean_backward(const Device& device, const View& view, Random& random) {
  Buffer<Accumulate<T>> grad_mean(view.outer * view.inner);
  fill(grad_mean, Values::any, random);
  const auto kernel = device.kernels<T>().mean_backward;
  const auto arguments = [&](Buffer<T>& grad_frames) {
    return MeanBackwardArguments<T>{view, grad_mean.data(), grad_frames.data()};
  };
  const int64_t units = view_units(view);
  Buffer<T> grad_frames(view.size());
  run_kernel(kernel, arguments(grad_frames), units);
  const std::string name = text_of("mean_backward<", kName<T>, "> ", view);
  const Departures wrong = departures(grad_frames, mean_backward_naively<T>(view, grad_mean));
  CHECK(wrong.count == 0, name, wrong);
  CHECK(grad_frames.guards_are_untouched() && grad_mean.guards_are_untouched(), name);
  check_repeatable(name, kernel, units, arguments, grad_frames);
}

}  // namespace

void test_moments(const Device& device) {
  Random random(2);
  for_each_element_type([&](auto element) {
    using T = decltype(element);
    for (const View& view : Device::views()) {
      test_mean<T>(device, view, Values::sixteenths, random);
      test_mean<T>(device, view, Values::any, random);
      test_mean_backward<T>(device, view, random);
    }
  });
}

}  // namespace stc::test
