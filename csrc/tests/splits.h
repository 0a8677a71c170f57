// The CPU as a device to test, and ways to spread the units of its kernels, which their results may
// not depend on.
#pragma once

#include <algorithm>
#include <limits>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "common/cpu_kernels.h"
#include "tests/buffer.h"
#include "tests/check.h"
#include "tests/frames.h"
#include "tests/views.h"

namespace stc::test {

struct Device {
  static constexpr int64_t kMostElements = std::numeric_limits<int64_t>::max();

  static bool takes(int64_t) { return true; }
  static std::vector<View> views() { return test::views(kMostElements); }

  Isa isa;

  template <typename T>
  CpuKernels<T> kernels() const {
    return cpu_kernels<CpuKernels<T>>(isa);
  }
  template <typename E>
  CpuGroupKernels<E> group_kernels() const {
    return cpu_kernels<CpuGroupKernels<E>>(isa);
  }

  // Units keep sums of their own where several of a clip add to the same channels.
  static SumRows rows_of_sums(const FrameShape& shape) {
    const int64_t units = shape.channels_last ? units_per_clip(shape) : 1;
    std::vector<int64_t> unit_of_pixel(static_cast<size_t>(shape.pixels()));
    for (int64_t index = 0; index < units; ++index) {
      const Unit unit = unit_of(shape, index);
      std::fill_n(unit_of_pixel.begin() + unit.first_pixel, unit.pixels, index);
    }
    return {shape, unit_of_pixel, units};
  }
};

template <typename T>
struct Itself {
  using type = T;
};

template <typename Arguments>
void run_kernel(CpuKernel<Arguments> kernel, const typename Itself<Arguments>::type& arguments,
                int64_t units) {
  kernel(arguments, 0, units);
}

using Ranges = std::vector<std::pair<int64_t, int64_t>>;

// [0, units) as ranges of odd sizes, in no order.
inline Ranges scattered_ranges(int64_t units) {
  Ranges ranges;
  int64_t size = 1;
  for (int64_t begin = 0; begin < units; begin += size, size = (size + 2) % 78)
    ranges.emplace_back(begin, std::min(begin + size, units));
  std::shuffle(ranges.begin(), ranges.end(), Random(units));
  return ranges;
}

// Runs every stride-th range, from the first-th on.
template <typename Arguments>
void run(CpuKernel<Arguments> kernel, const Arguments& arguments, const Ranges& ranges,
         size_t first = 0, size_t stride = 1) {
  for (size_t i = first; i < ranges.size(); i += stride)
    kernel(arguments, ranges[i].first, ranges[i].second);
}

template <typename Arguments>
void run_concurrently(CpuKernel<Arguments> kernel, const Arguments& arguments,
                      const Ranges& ranges) {
  constexpr size_t kThreads = 3;
  // Threads take long to start under sanitizers: no more than there are ranges, this one included.
  const size_t stride = std::clamp<size_t>(ranges.size(), 1, kThreads);
  std::vector<std::thread> threads;
  for (size_t first = 1; first < stride; ++first)
    threads.emplace_back([&, first] { run(kernel, arguments, ranges, first, stride); });
  run(kernel, arguments, ranges, 0, stride);
  for (std::thread& thread : threads) thread.join();
}

// Checks the kernel against the outputs of one range over all units. arguments_for binds it to
// other outputs.
template <typename Arguments, typename Bind, typename... E>
void check_repeatable(const std::string& name, CpuKernel<Arguments> kernel, int64_t units,
                      const Bind& arguments_for, const Buffer<E>&... whole) {
  const Ranges ranges = scattered_ranges(units);
  const auto with_outputs = [&](const auto& body) {
    std::tuple<Buffer<E>...> outputs(whole.size()...);
    std::apply(body, outputs);
  };
  with_outputs([&](auto&... out) {
    run(kernel, arguments_for(out...), ranges);
    CHECK((out.same_bytes(whole) && ...), name, "scattered");
    CHECK((out.guards_are_untouched() && ...), name, "scattered");
  });
  with_outputs([&](auto&... out) {
    run_concurrently(kernel, arguments_for(out...), ranges);
    CHECK((out.same_bytes(whole) && ...), name, "concurrent");
    CHECK((out.guards_are_untouched() && ...), name, "concurrent");
  });
  // A range that also wrote what belongs to others would go unnoticed so far: it writes the same.
  with_outputs([&](auto&... even) {
    with_outputs([&](auto&... odd) {
      run(kernel, arguments_for(even...), ranges, 0, 2);
      run(kernel, arguments_for(odd...), ranges, 1, 2);
      CHECK((whole.is_woven_of(even, odd) && ...), name, "every other range");
    });
  });
}

}  // namespace stc::test
