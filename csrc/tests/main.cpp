// stc_kernel_tests <isa>: tests the kernels that are compiled for one instruction set.
#include <iostream>
#include <string>

#include "common/cpu_kernels.h"
#include "tests/check.h"
#include "tests/tests.h"

namespace {

constexpr int kUsageError = 2;
constexpr int kSkipped = 77;

int run_tests(stc::Isa isa) {
  if (!stc::cpu_supports(isa)) {
    std::cout << "skipped: this processor does not have " << stc::isa_name(isa) << '\n';
    return kSkipped;
  }
  // Whatever is wrong with kernels that are never picked would not be noticed.
  CHECK(isa == stc::Isa::baseline ||
            stc::cpu_kernels<stc::CpuKernels<float>>(isa).mean_forward !=
                stc::cpu_kernels<stc::CpuKernels<float>>(stc::Isa::baseline).mean_forward,
        stc::isa_name(isa));
  const stc::test::Device device{isa};
#if !defined(STC_TWO_ELEMENT_TYPES)
  stc::test::test_scalar(device);
#endif
  stc::test::test_shift(device);
  stc::test::test_moments(device);
  stc::test::test_sigmoid(device);
  stc::test::test_gate(device);
  stc::test::test_second_moments(device);
  stc::test::test_batch_norm(device);
  stc::test::test_batch_norm_backward(device);
  stc::test::test_coefficients(device);
  stc::test::test_shift_split(device);
  stc::test::test_refine(device);
  stc::test::test_residual(device);
  stc::test::test_long_sums(device);
  std::cout << stc::test::tally.passed << " passed, " << stc::test::tally.failed << " failed\n";
  return stc::test::tally.failed == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  std::string names;
  for (const stc::Isa isa : stc::compiled_isas()) {
    if (argc == 2 && std::string(argv[1]) == stc::isa_name(isa)) return run_tests(isa);
    names += (names.empty() ? "" : "|") + std::string(stc::isa_name(isa));
  }
  std::cerr << "usage: " << argv[0] << ' ' << names << '\n';
  return kUsageError;
}
