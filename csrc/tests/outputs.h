// What is expected of the outputs of a kernel.
#pragma once

#include <string>
#include <tuple>
#include <vector>

#include "tests/device.h"

namespace stc::test {

template <typename... E>
bool untouched_guards(const Buffer<E>&... buffers) {
  return (buffers.guards_are_untouched() && ...);
}

// What is expected of one output of a kernel.
template <typename E>
class Output {
 public:
  explicit Output(int64_t size) : expected_(static_cast<size_t>(size)) {}

  int64_t size() const { return static_cast<int64_t>(expected_.size()); }
  Expected& operator[](int64_t i) { return expected_[static_cast<size_t>(i)]; }

  void check(const std::string& name, const Buffer<E>& actual) const {
    const Departures wrong = departures(actual, expected_);
    CHECK(wrong.count == 0, name, wrong);
    CHECK(actual.guards_are_untouched(), name);
  }

 private:
  std::vector<Expected> expected_;
};

// Checks all outputs of a kernel, and that they are the same however it runs.
template <typename Kernel, typename Bind, typename... E>
void test_outputs(const std::string& name, Kernel kernel, int64_t units, const Bind& arguments_for,
                  const Output<E>&... expected) {
  std::tuple<Buffer<E>...> outputs(expected.size()...);
  std::apply(
      [&](auto&... out) {
        run_kernel(kernel, arguments_for(out...), units);
        (expected.check(name, out), ...);
        check_repeatable(name, kernel, units, arguments_for, out...);
      },
      outputs);
}

}  // namespace stc::test
