// Conversions between float and the 16-bit types, through kernels that do nothing else to an
// element: with one element to reduce, a mean only converts, and a gate of 1 changes nothing.
#include <limits>

#include "tests/buffer.h"
#include "tests/check.h"
#include "tests/device.h"
#include "tests/tests.h"
#include "tests/views.h"

namespace stc::test {
namespace {

template <typename T>
std::vector<T> all_elements() {
  std::vector<T> elements;
  for (int bits = 0; bits < 1 << 16; ++bits) elements.push_back(T{static_cast<uint16_t>(bits)});
  return elements;
}

template <typename T>
void test_widening(const Device& device) {
  const Buffer<T> elements(all_elements<T>());
  std::vector<Expected> expected;
  // A sum begins at +0: a mean of -0 is +0.
  for (int64_t i = 0; i < elements.size(); ++i) expected.push_back({0.0 + to_double(elements[i])});
  for (const int64_t length : kRowLengths) {
    const View view = rows_of(length, elements.size());
    Buffer<float> mean(elements.size());
    run_kernel(device.kernels<T>().mean_forward, {view, elements.data(), mean.data()},
               view_units(view));
    const Departures wrong = departures(mean, expected);
    CHECK(wrong.count == 0, kName<T>, length, wrong);
  }
}

template <typename T>
void test_round_trip(const Device& device) {
  const Buffer<T> elements(all_elements<T>());
  const Buffer<float> logits(std::vector<float>(1 << 16, INFINITY));
  std::vector<Expected> expected;
  for (int64_t i = 0; i < elements.size(); ++i) expected.push_back({to_double(elements[i])});
  for (const int64_t length : kRowLengths) {
    const View view = rows_of(length, elements.size());
    Buffer<T> out(elements.size());
    run_kernel(device.kernels<T>().gate_forward, {view, elements.data(), logits.data(), out.data()},
               view_units(view));
    const Departures wrong = departures(out, expected);
    CHECK(wrong.count == 0, kName<T>, length, wrong);
  }
}

// Every number that T has, the ties between neighbours (beyond the largest: with the power of two
// that would follow), and what is just below and above each of these.
template <typename T>
std::vector<float> floats_around_roundings() {
  std::vector<float> floats;
  const auto add_around = [&](double value) {
    const auto middle = static_cast<float>(value);
    for (const float magnitude :
         {std::nextafter(middle, 0.0f), middle, std::nextafter(middle, INFINITY)}) {
      floats.push_back(magnitude);
      floats.push_back(-magnitude);
    }
  };
  double below = 0;
  for (uint16_t bits = 0; std::isfinite(to_double(T{bits})); ++bits) {
    const double value = to_double(T{bits});
    const double above = to_double(T{static_cast<uint16_t>(bits + 1)});
    add_around(value);
    add_around((value + (std::isfinite(above) ? above : 2 * value - below)) / 2);
    below = value;
  }
  return floats;
}

float float_of_bits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

template <typename T>
void test_narrowing(const Device& device) {
  std::vector<float> floats = floats_around_roundings<T>();
  using Limits = std::numeric_limits<float>;
  for (const float magnitude :
       {Limits::denorm_min(), Limits::min(), Limits::max(), INFINITY, Limits::quiet_NaN()}) {
    floats.push_back(magnitude);
    floats.push_back(-magnitude);
  }
  // NaN whose upper half is that of infinity, or overflows when rounded up; quiet and signaling.
  for (const uint32_t nan : {0x7f800001u, 0xff800001u, 0x7fbfffffu, 0x7fffffffu, 0xffffffffu})
    floats.push_back(float_of_bits(nan));
  while (floats.size() % kLongestRow != 0) floats.push_back(0);

  const Buffer<float> grad_mean(floats);
  std::vector<Expected> expected;
  for (const float value : floats) expected.push_back({to_double(from_double<T>(value))});
  for (const int64_t length : kRowLengths) {
    const View view = rows_of(length, grad_mean.size());
    Buffer<T> grad_frames(grad_mean.size());
    run_kernel(device.kernels<T>().mean_backward, {view, grad_mean.data(), grad_frames.data()},
               view_units(view));
    const Departures wrong = departures(grad_frames, expected);
    CHECK(wrong.count == 0, kName<T>, length, wrong);
  }
}

// What the other tests take the expected values from.
template <typename T>
void test_reference(double one_step_above_one, double largest, double tie_to_infinity) {
  CHECK(to_double(from_double<T>(one_step_above_one)) == one_step_above_one, kName<T>);
  const double step = one_step_above_one - 1;
  CHECK(to_double(from_double<T>(1 + step / 2)) == 1, kName<T>);
  CHECK(to_double(from_double<T>(1 + 3 * step / 2)) == 1 + 2 * step, kName<T>);
  CHECK(to_double(from_double<T>(largest)) == largest, kName<T>);
  CHECK(to_double(from_double<T>(std::nextafter(tie_to_infinity, 0))) == largest, kName<T>);
  CHECK(to_double(from_double<T>(tie_to_infinity)) == INFINITY, kName<T>);
  CHECK(to_double(from_double<T>(smallest_step<T>() / 2)) == 0, kName<T>);
  CHECK(to_double(from_double<T>(smallest_step<T>() * 0.75)) == smallest_step<T>(), kName<T>);
  const auto changes = [](T element) {
    const double value = to_double(element);
    return !std::isnan(value) && from_double<T>(value).bits != element.bits;
  };
  const std::vector<T> elements = all_elements<T>();
  CHECK(std::none_of(elements.begin(), elements.end(), changes), kName<T>);
}

template <typename T>
void test_conversions(const Device& device) {
  test_widening<T>(device);
  test_round_trip<T>(device);
  test_narrowing<T>(device);
}

}  // namespace

void test_scalar(const Device& device) {
  test_reference<BFloat16>(1 + 0x1p-7, 0x1.fep127, 0x1.ffp127);
  test_reference<Half>(1 + 0x1p-10, 65504, 65520);
  test_conversions<BFloat16>(device);
  test_conversions<Half>(device);
}

}  // namespace stc::test
