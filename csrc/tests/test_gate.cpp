#include "tests/check.h"
#include "tests/device.h"
#include "tests/tests.h"
#include "tests/views.h"

namespace stc::test {
namespace {

// Errors of float gates may be 4 units in the last place, as test_sigmoid asserts; each is at most
// two unit roundoffs. Two more are for the operations that follow.
template <typename T>
constexpr double kGateError = 10 * kUnitRoundoff<Accumulate<T>>;

double sigmoid_naively(double logit) {
  return logit < 0 ? std::exp(logit) / (1 + std::exp(logit)) : 1 / (1 + std::exp(-logit));
}

template <typename T>
Expected gated(double element, double gate) {
  const double value = element * gate;
  const double error = kGateError<T> + 1.01 * kUnitRoundoff<T>;
  return {value, std::fabs(value) * error + smallest_step<T>()};
}

template <typename E>
void fill_logits(Buffer<E>& logits, Random& random) {
  for (int64_t i = 0; i < logits.size(); ++i) logits[i] = static_cast<E>(uniform(random, 12));
}

template <typename T>
std::vector<Expected> gate_naively(const View& view, const Buffer<T>& frames,
                                   const Buffer<Accumulate<T>>& logits) {
  std::vector<Expected> out;
  for (int64_t outer = 0; outer < view.outer; ++outer)
    for (int64_t r = 0; r < view.reduced; ++r)
      for (int64_t i = 0; i < view.inner; ++i) {
        const double element = to_double(frames[(outer * view.reduced + r) * view.inner + i]);
        out.push_back(gated<T>(element, sigmoid_naively(logits[outer * view.inner + i])));
      }
  return out;
}

template <typename T>
void test_gate_forward(const Device& device, const View& view, Random& random) {
  Buffer<T> frames(view.size());
  Buffer<Accumulate<T>> logits(view.outer * view.inner);
  fill(frames, Values::any, random);
  fill_logits(logits, random);
  const auto kernel = device.kernels<T>().gate_forward;
  const auto arguments = [&](Buffer<T>& out) {
    return GateArguments<T>{view, frames.data(), logits.data(), out.data()};
  };
  const int64_t units = view_units(view);
  Buffer<T> out(view.size());
  run_kernel(kernel, arguments(out), units);
  const std::string name = text_of("gate_forward<", kName<T>, "> ", view);
  const Departures wrong = departures(out, gate_naively(view, frames, logits));
  CHECK(wrong.count == 0, name, wrong);
  CHECK(
      out.guards_are_untouched() && frames.guards_are_untouched() && logits.guards_are_untouched(),
      name);
  check_repeatable(name, kernel, units, arguments, out);
}

template <typename T>
std::vector<Expected> grad_logits_naively(const View& view, const Buffer<T>& grad_out,
                                          const Buffer<T>& frames,
                                          const Buffer<Accumulate<T>>& logits, Values values) {
  std::vector<Expected> grad_logits;
  for (int64_t outer = 0; outer < view.outer; ++outer)
    for (int64_t i = 0; i < view.inner; ++i) {
      double sum = 0;
      double magnitudes = 0;
      for (int64_t r = 0; r < view.reduced; ++r) {
        const int64_t at = (outer * view.reduced + r) * view.inner + i;
        const double product = to_double(grad_out[at]) * to_double(frames[at]);
        sum += product;
        magnitudes += std::fabs(product);
      }
      const double gate = sigmoid_naively(logits[outer * view.inner + i]);
      const double slope = gate * (1 - gate);
      const double sum_error =
          values == Values::sixteenths
              ? 0
              : 2 * static_cast<double>(view.reduced) * kUnitRoundoff<Accumulate<T>> * magnitudes;
      // 1 - gate keeps the absolute error of the gate.
      const double slope_error = gate * 1.2 * kGateError<T>;
      grad_logits.push_back({slope * sum, std::fabs(sum) * slope_error + slope * sum_error});
    }
  return grad_logits;
}

template <typename T>
void test_gate_backward(const Device& device, const View& view, Values values, Random& random) {
  Buffer<T> grad_out(view.size());
  Buffer<T> frames(view.size());
  Buffer<Accumulate<T>> logits(view.outer * view.inner);
  fill(grad_out, values, random);
  fill(frames, values, random);
  fill_logits(logits, random);
  const auto kernel = device.kernels<T>().gate_backward;
  const auto arguments = [&](Buffer<T>& grad_frames, Buffer<Accumulate<T>>& grad_logits) {
    return GateBackwardArguments<T>{view,          grad_out.data(),    frames.data(),
                                    logits.data(), grad_frames.data(), grad_logits.data()};
  };
  const int64_t units = view_units(view);
  Buffer<T> grad_frames(view.size());
  Buffer<Accumulate<T>> grad_logits(logits.size());
  run_kernel(kernel, arguments(grad_frames, grad_logits), units);
  const std::string name = text_of("gate_backward<", kName<T>, "> ", view);
  const Departures wrong_frames = departures(grad_frames, gate_naively(view, grad_out, logits));
  CHECK(wrong_frames.count == 0, name, values, wrong_frames);
  const Departures wrong_logits =
      departures(grad_logits, grad_logits_naively(view, grad_out, frames, logits, values));
  CHECK(wrong_logits.count == 0, name, values, wrong_logits);
  CHECK(grad_frames.guards_are_untouched() && grad_logits.guards_are_untouched() &&
            grad_out.guards_are_untouched() && frames.guards_are_untouched() &&
            logits.guards_are_untouched(),
        name);
  check_repeatable(name, kernel, units, arguments, grad_frames, grad_logits);
}

}  // namespace

void test_gate(const Device& device) {
  Random random(3);
  for_each_element_type([&](auto element) {
    using T = decltype(element);
    for (const View& view : Device::views()) {
      test_gate_forward<T>(device, view, random);
      test_gate_backward<T>(device, view, Values::sixteenths, random);
      test_gate_backward<T>(device, view, Values::any, random);
    }
  });
}

}  // namespace stc::test
