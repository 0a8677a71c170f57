// What CUDA kernels read and write of the device's memory: each tensor once.
#include "common/cuda_vector.h"
#include "tests/check.h"
#include "tests/device.h"
#include "tests/tests.h"
#include "tests/views.h"

namespace stc::test {
namespace {

// Bytes of a kernel's tensors.
struct Passes {
  int64_t read;
  int64_t written;
};

template <typename Body>
void check_traffic(const std::string& name, const Passes& bytes, const Body& run) {
  constexpr double kMostExcess = 0.05;
  auto& traffic = emulated_traffic();
  traffic.read = 0;
  traffic.written = 0;
  run();
  CHECK(traffic.read >= bytes.read, name, traffic.read, bytes.read);
  CHECK(traffic.written >= bytes.written, name, traffic.written, bytes.written);
  const auto expected = static_cast<double>(bytes.read + bytes.written);
  const double ratio = static_cast<double>(traffic.read + traffic.written) / expected;
  CHECK(ratio <= 1 + kMostExcess, name, ratio);
}

template <typename T>
void test_view(const Device& device, const View& view) {
  using E = Accumulate<T>;
  const int64_t units = view_units(view);
  const int64_t large = view.size() * int64_t{sizeof(T)};
  const int64_t small = view.outer * view.inner * int64_t{sizeof(E)};
  const Buffer<T> x(view.size()), y(view.size());
  Buffer<T> out(view.size());
  const Buffer<E> a(view.outer * view.inner);
  Buffer<E> mean(a.size()), m2(a.size());
  const auto kernels = device.kernels<T>();
  const std::string of = text_of("<", kName<T>, "> ", view);
  check_traffic("mean_forward" + of, {large, small}, [&] {
    run_kernel(kernels.mean_forward, {view, x.data(), mean.data()}, units);
  });
  check_traffic("mean_backward" + of, {small, large}, [&] {
    run_kernel(kernels.mean_backward, {view, a.data(), out.data()}, units);
  });
  check_traffic("moments_forward" + of, {large, 2 * small}, [&] {
    run_kernel(kernels.moments_forward, {view, x.data(), mean.data(), m2.data()}, units);
  });
  check_traffic("gate_forward" + of, {large + small, large}, [&] {
    run_kernel(kernels.gate_forward, {view, x.data(), a.data(), out.data()}, units);
  });
  check_traffic("gate_backward" + of, {2 * large + small, large + small}, [&] {
    run_kernel(kernels.gate_backward, {view, x.data(), y.data(), a.data(), out.data(), mean.data()},
               units);
  });
}

template <typename T>
void test_shift_traffic(const Device& device, const ShiftArguments<T>& shape) {
  const int64_t size = shape.frames * shape.rows * shape.channels * shape.inner;
  const Buffer<T> in(size);
  Buffer<T> out(size);
  ShiftArguments<T> arguments = shape;
  arguments.in = in.data();
  arguments.out = out.data();
  // Two groups of channels have a frame less to come from.
  const int64_t zeros = size / shape.frames / shape.channels * 2 * shape.fold;
  const int64_t bytes = int64_t{sizeof(T)};
  check_traffic(
      text_of("shift_forward<", kName<T>, ">"), {(size - zeros) * bytes, size * bytes},
      [&] { run_kernel(device.kernels<T>().shift_forward, arguments, arguments.units()); });
}

}  // namespace

void test_traffic(const Device& device) {
  // One clip of 8 frames of the first stage and of the last.
  for_each_element_type([&](auto element) {
    using T = decltype(element);
    for (const View& view : {View{8, 3136, 64}, View{512, 3136, 1}, View{1, 8, 64 * 3136},
                             View{8, 49, 512}, View{4096, 49, 1}, View{1, 8, 512 * 49}})
      test_view<T>(device, view);
    test_shift_traffic<T>(device, {nullptr, nullptr, 8, 8, 1, 64, 3136, 8, 1});
    test_shift_traffic<T>(device, {nullptr, nullptr, 8, 8, 3136, 64, 1, 8, 1});
    test_shift_traffic<T>(device, {nullptr, nullptr, 8, 8, 1, 512, 49, 64, 1});
    test_shift_traffic<T>(device, {nullptr, nullptr, 8, 8, 49, 512, 1, 64, 1});
  });
}

}  // namespace stc::test
