// The element types of frames, without torch: storage types for 16-bit floats and the type that
// sums over each are kept in.
#pragma once

#include <cstdint>

namespace stc {

struct BFloat16 {
  uint16_t bits;
};

struct Half {
  uint16_t bits;
};

template <typename T>
struct AccumulateType {
  using type = float;
};

template <>
struct AccumulateType<double> {
  using type = double;
};

template <typename T>
using Accumulate = typename AccumulateType<T>::type;

}  // namespace stc
