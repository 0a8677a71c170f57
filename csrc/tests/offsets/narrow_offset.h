// Offsets so narrow that small tensors lie beyond them. Any value of one that its type could not
// hold ends the program.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <limits>
#include <type_traits>

namespace stc::cuda {

class NarrowOffset {
 public:
  static constexpr int64_t kLargest = std::numeric_limits<int16_t>::max();

  NarrowOffset() = default;
  template <typename T, typename = std::enable_if_t<std::is_integral_v<T>>>
  NarrowOffset(T value) : value_(checked(static_cast<int64_t>(value))) {}

  template <typename T, typename = std::enable_if_t<std::is_arithmetic_v<T>>>
  explicit operator T() const {
    return static_cast<T>(value_);
  }

  friend NarrowOffset operator+(NarrowOffset a, NarrowOffset b) { return a.value_ + b.value_; }
  friend NarrowOffset operator-(NarrowOffset a, NarrowOffset b) { return a.value_ - b.value_; }
  friend NarrowOffset operator*(NarrowOffset a, NarrowOffset b) { return a.value_ * b.value_; }
  friend NarrowOffset operator/(NarrowOffset a, NarrowOffset b) { return a.value_ / b.value_; }
  friend NarrowOffset operator%(NarrowOffset a, NarrowOffset b) { return a.value_ % b.value_; }
  friend bool operator==(NarrowOffset a, NarrowOffset b) { return a.value_ == b.value_; }
  friend bool operator!=(NarrowOffset a, NarrowOffset b) { return a.value_ != b.value_; }
  friend bool operator<(NarrowOffset a, NarrowOffset b) { return a.value_ < b.value_; }
  friend bool operator>=(NarrowOffset a, NarrowOffset b) { return a.value_ >= b.value_; }
  NarrowOffset operator-() const { return -value_; }
  NarrowOffset& operator+=(NarrowOffset other) { return *this = *this + other; }
  NarrowOffset& operator++() { return *this += 1; }

  template <typename T>
  friend T* operator+(T* pointer, NarrowOffset offset) {
    return pointer + offset.value_;
  }

 private:
  static int64_t checked(int64_t value) {
    if (value >= -kLargest && value <= kLargest) return value;
    std::cout << "a narrow offset was to be " << value << std::endl;
    std::exit(1);
  }

  int64_t value_;
};

// What it is of other types needs an unsigned one.
inline NarrowOffset quotient(NarrowOffset a, NarrowOffset b) { return a / b; }

}  // namespace stc::cuda
