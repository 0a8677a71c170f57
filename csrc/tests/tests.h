#pragma once

#include "tests/device.h"

namespace stc::test {

// Conversions between float and the 16-bit types.
void test_scalar(const Device& device);
void test_shift(const Device& device);
void test_moments(const Device& device);
void test_sigmoid(const Device& device);
void test_gate(const Device& device);
void test_second_moments(const Device& device);
void test_batch_norm(const Device& device);
void test_batch_norm_backward(const Device& device);
void test_coefficients(const Device& device);
void test_shift_split(const Device& device);
void test_refine(const Device& device);
void test_residual(const Device& device);

// Only of the CPU.
void test_long_sums(const Device& device);

// Only of a CUDA device.
void test_traffic(const Device& device);
void test_fused_traffic(const Device& device);

}  // namespace stc::test
