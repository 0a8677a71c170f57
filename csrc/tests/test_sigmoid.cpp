// The sigmoid of the gates, seen through frames that are all 1.
#include <limits>

#include "tests/buffer.h"
#include "tests/check.h"
#include "tests/device.h"
#include "tests/tests.h"
#include "tests/views.h"

namespace stc::test {
namespace {

template <typename T>
void test_gates(const Device& device, std::vector<Accumulate<T>> logit_values,
                std::vector<Expected> expected) {
  for (; logit_values.size() % kLongestRow != 0; expected.push_back({0.5}))
    logit_values.push_back(0);
  const Buffer<Accumulate<T>> logits(logit_values);
  const Buffer<T> ones(std::vector<T>(logit_values.size(), from_double<T>(1)));
  for (const int64_t length : kRowLengths) {
    const View view = rows_of(length, logits.size());
    Buffer<T> gates(logits.size());
    run_kernel(device.kernels<T>().gate_forward, {view, ones.data(), logits.data(), gates.data()},
               view_units(view));
    const Departures wrong = departures(gates, expected);
    CHECK(wrong.count == 0, kName<T>, length, wrong, static_cast<double>(logits[wrong.first]));
  }
}

template <typename T>
void test_special_values(const Device& device) {
  using Limits = std::numeric_limits<Accumulate<T>>;
  // The last bits of a NaN must not be taken for an exponent.
  const auto nan_with_payload = static_cast<Accumulate<T>>(std::nanf("1"));
  test_gates<T>(device,
                {Limits::infinity(), -Limits::infinity(), Limits::quiet_NaN(), nan_with_payload, 0,
                 -Accumulate<T>(0), Limits::max(), Limits::lowest(), Limits::denorm_min(),
                 -Limits::denorm_min()},
                {{1}, {0}, {NAN}, {NAN}, {0.5}, {0.5}, {1}, {0}, {0.5}, {0.5}});
}

Expected expected_gate(float logit) {
  const double exponential = std::exp(-std::fabs(static_cast<double>(logit)));
  const double gate = logit < 0 ? exponential / (1 + exponential) : 1 / (1 + exponential);
  if (gate < std::numeric_limits<float>::min()) return {gate, std::numeric_limits<float>::min()};
  const double unit_in_last_place = std::ldexp(1.0, std::ilogb(gate) - 23);
  return {gate, 4 * unit_in_last_place};
}

void test_accuracy(const Device& device) {
  constexpr int kBound = 100;
  constexpr int kPerUnit = 4096;
  Random random(4);
  std::vector<float> logits;
  for (int i = 0; i < 2 * kBound * kPerUnit; ++i) {
    const double step = i + 0.5 + uniform(random, 0.5);
    logits.push_back(static_cast<float>(step / kPerUnit - kBound));
  }
  for (int exponent = -149; exponent <= 6; ++exponent) {
    logits.push_back(std::ldexp(1.0f, exponent));
    logits.push_back(-std::ldexp(1.0f, exponent));
  }
  // Each float around where the gate becomes subnormal.
  for (float logit = -87.4f; logit < -87.2f; logit = std::nextafter(logit, 0.0f))
    logits.push_back(logit);
  std::vector<Expected> expected;
  for (const float logit : logits) expected.push_back(expected_gate(logit));
  test_gates<float>(device, logits, expected);
}

}  // namespace

void test_sigmoid(const Device& device) {
  for_each_element_type([&](auto element) { test_special_values<decltype(element)>(device); });
  test_accuracy(device);
}

}  // namespace stc::test
