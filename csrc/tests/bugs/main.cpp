// The kernel tests of few kernels and few cases: quick enough to be built anew for each bug.
#include <iostream>

#include "tests/check.h"
#include "tests/device.h"
#include "tests/tests.h"

int main() {
  using namespace stc::test;
  for (const int64_t elements_off_alignment : {0, 1}) {
    elements_off_alignment_of_buffers = elements_off_alignment;
    const Device device;
    test_moments(device);
    test_gate(device);
  }
  std::cout << tally.passed << " passed, " << tally.failed << " failed\n";
  return tally.failed == 0 ? 0 : 1;
}
