// sigmoid on vectors: accurate to a few units in the last place for every float.
#pragma once

#include <cmath>

#include "common/vector.h"

namespace stc {
namespace {

// exp(x) for x <= 0; exactly 0 where the result would be subnormal.
template <int Lanes>
inline Vector<float, Lanes> exp_of_negative(Vector<float, Lanes> x) {
  using Floats = Vector<float, Lanes>;
  using Bits = Vector<uint32_t, Lanes>;
  constexpr float kSmallest = -87.33654f;
  constexpr float kLog2E = 1.44269504f;
  // Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits.
  constexpr float kRound = 12582912.0f;
  // ln 2 in two parts, the first with so few digits that its multiples are exact.
  constexpr float kLn2High = 0.693359375f;
  constexpr float kLn2Low = -2.12194440e-4f;
  const Floats bounded = x < kSmallest ? broadcast<Lanes>(kSmallest) : x;
  const Floats shifted = bounded * kLog2E + kRound;
  const Floats exponent = shifted - kRound;
  const Floats r = (bounded - exponent * kLn2High) - exponent * kLn2Low;
  Floats p = r * (1.0f / 5040) + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const Bits scaled = bit_cast_vector<Bits>(p) + (bit_cast_vector<Bits>(shifted) << 23);
  return x < kSmallest ? Floats{} : bit_cast_vector<Floats>(scaled);
}

template <int Lanes>
inline Vector<float, Lanes> sigmoid(Vector<float, Lanes> x) {
  using Floats = Vector<float, Lanes>;
  const Floats z = exp_of_negative<Lanes>(x < 0.0f ? x : -x);
  const Floats numerator = x < 0.0f ? z : broadcast<Lanes>(1.0f);
  const Floats result = numerator / (1.0f + z);
  return x == x ? result : x;
}

template <int Lanes>
inline Vector<double, Lanes> sigmoid(Vector<double, Lanes> x) {
  for (int lane = 0; lane < Lanes; ++lane) x[lane] = 1.0 / (1.0 + std::exp(-x[lane]));
  return x;
}

}  // namespace
}  // namespace stc
