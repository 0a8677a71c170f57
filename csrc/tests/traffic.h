// What CUDA kernels read and write of the device's memory: each tensor once.
#pragma once

#include <string>

#include "common/cuda_vector.h"
#include "tests/check.h"

namespace stc::test {

// Bytes of a kernel's tensors.
struct Passes {
  int64_t read;
  int64_t written;
};

// Small tensors, read by several blocks, and partial sums are within the excess.
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

}  // namespace stc::test
