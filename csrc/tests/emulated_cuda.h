// CUDA kernels as a device to test, run by the CPU.
#pragma once

#include <cstdlib>
#include <string>
#include <tuple>

#include "common/cuda_kernels.h"
#include "tests/buffer.h"
#include "tests/check.h"
#include "tests/frames.h"
#include "tests/views.h"

namespace stc::test {

constexpr bool kSanitized = STC_SANITIZED;

struct Device {
  // Sanitizers make every step of a fiber slow: there, a shape per path and none per stage.
  static constexpr int64_t kMostElements = kSanitized ? 400 : 40000;

  // Of the long lists of cases of fused kernels, every few: other ones for each element type.
  static bool takes(int64_t elements) {
    constexpr int64_t kEvery = kSanitized ? 11 : 5;
    static int64_t asked = 0;
    return elements <= kMostElements && ++asked % kEvery == 0;
  }

  static std::vector<View> views() {
#if defined(STC_ONLY_ELEMENT)
    return few_cuda_views();
#else
    return test::views(kMostElements);
#endif
  }

  template <typename T>
  CudaKernels<T> kernels() const {
    return cuda_kernels<CudaKernels<T>>();
  }
  template <typename E>
  CudaGroupKernels<E> group_kernels() const {
    return cuda_kernels<CudaGroupKernels<E>>();
  }

  static SumRows rows_of_sums(const FrameShape& shape) {
    if (shape.channels_last) return SumRows(shape);
    return {shape, std::vector<int64_t>(static_cast<size_t>(shape.pixels())), 1};
  }
};

template <typename T>
struct Itself {
  using type = T;
};

// All of it: a CUDA kernel has no units.
template <typename Arguments>
void run_kernel(const CudaKernel<Arguments>& kernel,
                const typename Itself<Arguments>::type& arguments, int64_t) {
  const int64_t bytes = kernel.scratch_bytes(arguments);
  Buffer<double> scratch((bytes + 7) / 8, 0);
  const int error = kernel.run(arguments, bytes > 0 ? scratch.data() : nullptr, nullptr);
  CHECK(error == 0, cuda_error_text(error));
  CHECK(scratch.guards_are_untouched(), bytes);
}

constexpr const char* kOrderVariable = "STC_EMULATED_ORDER";

// Checks the kernel against its outputs in the order that the threads ran in at first.
// arguments_for binds it to other outputs.
template <typename Arguments, typename Bind, typename... E>
void check_repeatable(const std::string& name, const CudaKernel<Arguments>& kernel, int64_t units,
                      const Bind& arguments_for, const Buffer<E>&... whole) {
  for (const char* order : {"reverse", "1", "2"}) {
    setenv(kOrderVariable, order, 1);
    std::tuple<Buffer<E>...> outputs(whole.size()...);
    std::apply(
        [&](auto&... out) {
          run_kernel(kernel, arguments_for(out...), units);
          CHECK((out.same_bytes(whole) && ...), name, "order", order);
          CHECK((out.guards_are_untouched() && ...), name, "order", order);
        },
        outputs);
  }
  unsetenv(kOrderVariable);
}

}  // namespace stc::test
