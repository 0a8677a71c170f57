// Sums over a plane of many equal elements: their rounding errors add up and do not cancel.
#include "tests/outputs.h"
#include "tests/tests.h"

namespace stc::test {
namespace {

constexpr int64_t kSide = 512;
constexpr int64_t kSize = kSide * kSide;
constexpr FrameShape kPlane{1, 1, 1, kSide, kSide, false};

template <typename T>
struct LongSums {
  using E = Accumulate<T>;

  const Device& device;
  const Buffer<T> elements{std::vector<T>(kSize, from_double<T>(0.1))};
  const double element = to_double(elements[0]);
  const Buffer<E> zero{std::vector<E>(1, 0)}, one{std::vector<E>(1, 1)};

  // No level of a sum has more than some 64 terms.
  Expected within_roundings(double value) const {
    constexpr double kRoundings = 32;
    return {value, kRoundings * kUnitRoundoff<E> * value};
  }

  void check(const char* kernel, const Buffer<E>& sums, std::vector<double> values) const {
    std::vector<Expected> expected;
    for (const double value : values) expected.push_back(within_roundings(value));
    const Departures wrong = departures(sums, expected);
    CHECK(wrong.count == 0, kernel, kName<T>, wrong);
  }

  double sum() const { return kSize * element; }
  double sum_of_products() const { return sum() * element; }

  void test_views() const {
    const View view{1, kSize, 1};
    const auto kernels = device.kernels<T>();
    Buffer<E> mean(1), m2(1), grad_logits(1);
    run_kernel(kernels.mean_forward, {view, elements.data(), mean.data()}, 1);
    check("mean_forward", mean, {element});
    run_kernel(kernels.moments_forward, {view, elements.data(), mean.data(), m2.data()}, 1);
    check("moments_forward", mean, {element});
    Buffer<T> grad(kSize);
    run_kernel(
        kernels.gate_backward,
        {view, elements.data(), elements.data(), zero.data(), grad.data(), grad_logits.data()}, 1);
    check("gate_backward", grad_logits, {sum_of_products() / 4});
  }

  void test_residual() const {
    Buffer<T> out(std::vector<T>(kSize, from_double<T>(1)));
    const ResidualArguments<T> a{kPlane,      elements.data(), elements.data(), one.data(),
                                 zero.data(), one.data(),      zero.data(),     out.data()};
    Buffer<E> sums(3);
    ResidualBackwardArguments<T> b{};
    b.forward = a;
    b.grad_out = elements.data();
    b.mean = b.identity_mean = zero.data();
    b.sums = sums.data();
    run_kernel(device.kernels<T>().residual_backward_sums, b, 1);
    check("residual_backward_sums", sums, {sum(), sum_of_products(), sum_of_products()});
  }

  void test_split() const {
    Buffer<E> sums(2);
    ShiftSplitBackwardArguments<T> b{};
    b.forward = {kPlane, 1, 1, 0, 1, elements.data(), one.data(), zero.data(), nullptr, nullptr};
    b.grad_spatial = elements.data();
    b.mean = zero.data();
    b.sums = sums.data();
    run_kernel(device.kernels<T>().shift_split_backward_sums, b, 1);
    check("shift_split_backward_sums", sums, {sum(), sum_of_products()});
  }

  void test_refine() const {
    Buffer<E> sums(2);
    RefineBackwardArguments<T> b{};
    b.forward.shape = kPlane;
    b.forward.branches[0] = {0, 1, false, false, elements.data(), nullptr};
    b.forward.branches[1] = {1, 0, false, false, nullptr, nullptr};
    b.forward.scale = one.data();
    b.forward.shift = zero.data();
    b.branches[0].mean = b.branches[1].mean = zero.data();
    b.branches[0].sums = sums.data();
    b.grad_out = elements.data();
    run_kernel(device.kernels<T>().refine_backward_sums, b, 1);
    check("refine_backward_sums", sums, {sum(), sum_of_products()});
  }

  void test_channel_sums() const {
    const Buffer<E> terms(std::vector<E>(kSize, static_cast<E>(element)));
    Buffer<E> sums(2);
    const ChannelSumsArguments<E> a{{1, 1, kSize}, terms.data(), terms.data(), nullptr,
                                    nullptr,       zero.data(),  sums.data(),  sums.data() + 1};
    run_kernel(device.group_kernels<E>().channel_sums, a, 1);
    check("channel_sums", sums, {sum(), sum()});
  }
};

}  // namespace

void test_long_sums(const Device& device) {
  for_each_element_type([&](auto element) {
    const LongSums<decltype(element)> sums{device};
    sums.test_views();
    sums.test_residual();
    sums.test_split();
    sums.test_refine();
    sums.test_channel_sums();
  });
}

}  // namespace stc::test
