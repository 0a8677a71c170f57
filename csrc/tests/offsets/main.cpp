// Tests how CUDA kernels choose the type of their offsets: by sizes alone, and by running them.
#include <iostream>

#include "common/cuda_kernels.h"
#include "tests/check.h"
#include "tests/offsets/tests.h"

namespace stc {

const char* cuda_error_text(int error) {
  return cudaGetErrorString(static_cast<cudaError_t>(error));
}

}  // namespace stc

int main() {
  using namespace stc::test;
  test_sizes();
  test_launches();
  std::cout << tally.passed << " passed, " << tally.failed << " failed\n";
  return tally.failed == 0 ? 0 : 1;
}
