// Element types as doubles, by arithmetic on values: nothing here is shared with the kernels, which
// work on bits.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "common/scalar.h"

namespace stc::test {

template <typename T>
constexpr bool kIsHalved = std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>;

template <typename T>
constexpr const char* kName = std::is_same_v<T, float>      ? "float"
                              : std::is_same_v<T, double>   ? "double"
                              : std::is_same_v<T, BFloat16> ? "BFloat16"
                                                            : "Half";

// Digits of the significand, the hidden one included.
template <typename T>
constexpr int kDigits = std::is_same_v<T, float>      ? 24
                        : std::is_same_v<T, double>   ? 53
                        : std::is_same_v<T, BFloat16> ? 8
                                                      : 11;

// Binary exponent of the smallest normal number.
template <typename T>
constexpr int kSmallestExponent = std::is_same_v<T, double> ? -1022
                                  : std::is_same_v<T, Half> ? -14
                                                            : -126;

// Largest relative error of rounding to nearest.
template <typename T>
constexpr double kUnitRoundoff = 1.0 / static_cast<double>(int64_t{1} << kDigits<T>);

// The smallest subnormal number.
template <typename T>
inline double smallest_step() {
  return std::ldexp(1.0, kSmallestExponent<T> - kDigits<T> + 1);
}

template <typename T>
inline double to_double(T element) {
  if constexpr (kIsHalved<T>) {
    constexpr int kFractionBits = kDigits<T> - 1;
    constexpr int kExponentBits = 15 - kFractionBits;
    const double sign = element.bits >> 15 != 0 ? -1.0 : 1.0;
    const int exponent = (element.bits >> kFractionBits) & ((1 << kExponentBits) - 1);
    const int fraction = element.bits & ((1 << kFractionBits) - 1);
    if (exponent == (1 << kExponentBits) - 1)
      return fraction == 0 ? sign * INFINITY : std::numeric_limits<double>::quiet_NaN();
    if (exponent == 0) return sign * fraction * smallest_step<T>();
    return sign * (fraction + (1 << kFractionBits)) * std::ldexp(smallest_step<T>(), exponent - 1);
  } else {
    return element;
  }
}

// Rounded to nearest, ties to even.
template <typename T>
inline T from_double(double value) {
  if constexpr (kIsHalved<T>) {
    constexpr int kFractionBits = kDigits<T> - 1;
    constexpr unsigned kInfinity = ((1u << (15 - kFractionBits)) - 1) << kFractionBits;
    const unsigned sign = std::signbit(value) ? 0x8000u : 0u;
    if (std::isnan(value)) return T{static_cast<uint16_t>(sign | kInfinity | 1u)};
    if (std::isinf(value)) return T{static_cast<uint16_t>(sign | kInfinity)};
    if (value == 0) return T{static_cast<uint16_t>(sign)};
    const int exponent = std::max(std::ilogb(value), kSmallestExponent<T>);
    const double steps = std::nearbyint(std::ldexp(std::fabs(value), kFractionBits - exponent));
    // `steps` includes the hidden digit of a normal number and may have been rounded up to the next
    // power of two: adding it, instead of or-ing its fraction, gives the right exponent either way.
    const double magnitude = steps + std::ldexp(exponent - kSmallestExponent<T>, kFractionBits);
    return T{static_cast<uint16_t>(
        sign | (magnitude < kInfinity ? static_cast<unsigned>(magnitude) : kInfinity))};
  } else {
    return static_cast<T>(value);
  }
}

template <typename Body>
void for_each_element_type(const Body& body) {
#if defined(STC_ONLY_ELEMENT)
  body(STC_ONLY_ELEMENT{});
#elif defined(STC_TWO_ELEMENT_TYPES)
  body(float{});
  body(BFloat16{});
#else
  body(float{});
  body(double{});
  body(BFloat16{});
  body(Half{});
#endif
}

}  // namespace stc::test
