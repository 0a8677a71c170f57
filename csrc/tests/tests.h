#pragma once

#include "common/isa.h"

namespace stc::test {

// Conversions between float and the 16-bit types.
void test_scalar(Isa isa);
void test_shift(Isa isa);
void test_moments(Isa isa);
void test_sigmoid(Isa isa);
void test_gate(Isa isa);
void test_second_moments(Isa isa);
void test_batch_norm(Isa isa);
void test_batch_norm_backward(Isa isa);
void test_shift_split(Isa isa);
void test_refine(Isa isa);
void test_residual(Isa isa);

}  // namespace stc::test
