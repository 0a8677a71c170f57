// stc_emulated_cuda_tests aligned|unaligned|wide: tests the CUDA kernels, run by the CPU, on memory
// that is aligned for vectors or not, or with 64-bit offsets.
#include <iostream>
#include <string>

#include "common/cuda_plan.h"
#include "tests/check.h"
#include "tests/device.h"
#include "tests/tests.h"

int main(int argc, char** argv) {
  const std::string memory = argc == 2 ? argv[1] : "";
  if (memory != "aligned" && memory != "unaligned" && memory != "wide") {
    std::cerr << "usage: " << argv[0] << " aligned|unaligned|wide\n";
    return 2;
  }
  using namespace stc::test;
  elements_off_alignment_of_buffers = memory == "unaligned" ? 1 : 0;
  if (memory == "wide") stc::cuda::largest_narrow_tensor() = 0;
  const Device device;
  test_shift(device);
  test_moments(device);
  test_gate(device);
  test_second_moments(device);
  test_batch_norm(device);
  test_batch_norm_backward(device);
  test_coefficients(device);
  test_shift_split(device);
  test_refine(device);
  test_residual(device);
  if constexpr (!kSanitized) {
    test_scalar(device);
    test_sigmoid(device);
    test_traffic(device);
    test_fused_traffic(device);
  }
  std::cout << tally.passed << " passed, " << tally.failed << " failed\n";
  return tally.failed == 0 ? 0 : 1;
}
