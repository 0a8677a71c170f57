// Memory that a kernel is tested on: nothing outside of it may be touched.
#pragma once

#include <algorithm>
#include <cstring>
#include <ostream>
#include <random>
#include <vector>

#include "tests/element.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace stc::test {

// One element more than a multiple of the widest vector: vectors are not aligned.
inline int64_t elements_off_alignment_of_buffers = 1;

// `size` elements between guards. Everything begins as bytes of ones: NaN for each element type, so
// that elements left out of an output, and reads of a guard, show up in the result.
template <typename E>
class Buffer {
 public:
  explicit Buffer(int64_t size, int64_t elements_off_alignment = elements_off_alignment_of_buffers)
      : size_(size),
        guard_bytes_(128 + elements_off_alignment * static_cast<int64_t>(sizeof(E))),
        bytes_(static_cast<size_t>(2 * guard_bytes_ + size * int64_t{sizeof(E)}), kUntouched) {
    forbid_guards();
  }
  explicit Buffer(const std::vector<E>& values) : Buffer(static_cast<int64_t>(values.size())) {
    for (int64_t i = 0; i < size_; ++i) data()[i] = values[static_cast<size_t>(i)];
  }
  ~Buffer() { allow_guards(); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  int64_t size() const { return size_; }
  E* data() { return reinterpret_cast<E*>(bytes_.data() + guard_bytes_); }
  const E* data() const { return reinterpret_cast<const E*>(bytes_.data() + guard_bytes_); }
  E& operator[](int64_t i) { return data()[i]; }
  const E& operator[](int64_t i) const { return data()[i]; }

  bool guards_are_untouched() const {
    allow_guards();
    const bool untouched =
        std::count(bytes_.begin(), bytes_.begin() + guard_bytes_, kUntouched) == guard_bytes_ &&
        std::count(bytes_.end() - guard_bytes_, bytes_.end(), kUntouched) == guard_bytes_;
    forbid_guards();
    return untouched;
  }

  bool same_bytes(const Buffer& other) const {
    return size_ == other.size_ &&
           std::memcmp(data(), other.data(), static_cast<size_t>(size_) * sizeof(E)) == 0;
  }

  // Whether each element was written to exactly one of the two, and there to what it is here.
  bool is_woven_of(const Buffer& even, const Buffer& odd) const {
    const Buffer untouched(1);
    for (int64_t i = 0; i < size_; ++i) {
      const auto same = [&](const E& a, const E& b) { return std::memcmp(&a, &b, sizeof(E)) == 0; };
      const bool in_even = same(even[i], (*this)[i]) && same(odd[i], untouched[0]);
      const bool in_odd = same(odd[i], (*this)[i]) && same(even[i], untouched[0]);
      if (!in_even && !in_odd) return false;
    }
    return true;
  }

 private:
  static constexpr unsigned char kUntouched = 0xff;

  // The address sanitizer then also reports reads of them.
  void forbid_guards() const {
#if defined(__SANITIZE_ADDRESS__)
    const auto guard_bytes = static_cast<size_t>(guard_bytes_);
    __asan_poison_memory_region(bytes_.data(), guard_bytes);
    __asan_poison_memory_region(bytes_.data() + bytes_.size() - guard_bytes, guard_bytes);
#endif
  }
  void allow_guards() const {
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(bytes_.data(), bytes_.size());
#endif
  }

  int64_t size_;
  int64_t guard_bytes_;
  std::vector<unsigned char> bytes_;
};

using Random = std::mt19937_64;

// What an input is filled with.
enum class Values {
  sixteenths,  // few enough digits that sums, and sums of products, of thousands are exact
  any
};

inline std::ostream& operator<<(std::ostream& out, Values values) {
  return out << (values == Values::sixteenths ? "sixteenths" : "any values");
}

// Uniform in [-largest, largest).
inline double uniform(Random& random, double largest) {
  return largest * (std::ldexp(static_cast<double>(random() >> 11), -52) - 1);
}

template <typename E>
void fill(Buffer<E>& buffer, Values values, Random& random) {
  for (int64_t i = 0; i < buffer.size(); ++i)
    buffer[i] =
        from_double<E>(values == Values::sixteenths ? (static_cast<double>(random() % 65) - 32) / 16
                                                    : uniform(random, 2));
}

// How an output departs from what is expected.
struct Departures {
  int64_t count = 0;
  int64_t first = 0;
  double actual = 0;
  double expected = 0;
  double allowed_error = 0;
};

inline std::ostream& operator<<(std::ostream& out, const Departures& departures) {
  const auto precision = out.precision(17);
  out << departures.count << " wrong, first at " << departures.first << ": got "
      << departures.actual << ", expected " << departures.expected << " within "
      << departures.allowed_error;
  out.precision(precision);
  return out;
}

struct Expected {
  double value;
  double allowed_error = 0;
};

template <typename E>
Departures departures(const Buffer<E>& actual, const std::vector<Expected>& expected) {
  Departures found;
  for (int64_t i = 0; i < actual.size(); ++i) {
    const double value = to_double(actual[i]);
    const auto& [wanted, allowed_error] = expected[static_cast<size_t>(i)];
    const bool right = value == wanted ? std::signbit(value) == std::signbit(wanted)
                                       : std::fabs(value - wanted) <= allowed_error ||
                                             (std::isnan(value) && std::isnan(wanted));
    if (!right && found.count++ == 0) found = {1, i, value, wanted, allowed_error};
  }
  return found;
}

}  // namespace stc::test
