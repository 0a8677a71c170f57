// CUDA kernels as a device to test, run by the CPU. A kernel always runs all of its units.
#pragma once

#include <cstdlib>
#include <string>
#include <tuple>

#include "gate/gate.h"
#include "moments/moments.h"
#include "shift/shift.h"
#include "tests/buffer.h"
#include "tests/check.h"

namespace stc::test {

template <typename Arguments>
using EmulatedKernel = void (*)(const Arguments&, int64_t begin, int64_t end);

template <typename T>
struct EmulatedKernels {
  EmulatedKernel<ShiftArguments<T>> shift_forward;
  EmulatedKernel<MeanArguments<T>> mean_forward;
  EmulatedKernel<MeanBackwardArguments<T>> mean_backward;
  EmulatedKernel<GateArguments<T>> gate_forward;
  EmulatedKernel<GateBackwardArguments<T>> gate_backward;
  EmulatedKernel<MomentsArguments<T>> moments_forward;
};

template <typename T>
EmulatedKernels<T> emulated_kernels();

constexpr bool kSanitized = STC_SANITIZED;

struct Device {
  // Sanitizers make every step of a fiber slow: there, a shape per path and none per stage.
  static constexpr int64_t kMostElements = kSanitized ? 400 : 40000;

  template <typename T>
  EmulatedKernels<T> kernels() const {
    return emulated_kernels<T>();
  }
};

constexpr const char* kOrderVariable = "STC_EMULATED_ORDER";

// Checks the kernel against its outputs in the order that the threads ran in at first.
// arguments_for binds it to other outputs.
template <typename Arguments, typename Bind, typename... E>
void check_repeatable(const std::string& name, EmulatedKernel<Arguments> kernel, int64_t units,
                      const Bind& arguments_for, const Buffer<E>&... whole) {
  for (const char* order : {"reverse", "1", "2"}) {
    setenv(kOrderVariable, order, 1);
    std::tuple<Buffer<E>...> outputs(whole.size()...);
    std::apply(
        [&](auto&... out) {
          kernel(arguments_for(out...), 0, units);
          CHECK((out.same_bytes(whole) && ...), name, "order", order);
          CHECK((out.guards_are_untouched() && ...), name, "order", order);
        },
        outputs);
  }
  unsetenv(kOrderVariable);
}

}  // namespace stc::test
