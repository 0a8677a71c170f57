// Sums over rows and runs of elements: fixed trees, the same whatever thread does them.
#pragma once

#include "common/vector.h"
#include "common/view.h"

namespace stc {
namespace {

// to[i] = to[i % columns] for i in [columns, width)
template <typename E>
inline void repeat_columns(E* to, int64_t columns, int64_t width) {
  for (int64_t i = columns; i < width; ++i) to[i] = to[i - columns];
}

// to[i] = sum of to[i], to[i + columns], to[i + 2 * columns], ... below width
template <typename E>
inline void fold_columns(E* to, int64_t columns, int64_t width) {
  for (int64_t first = columns; first < width; first += columns)
    for (int64_t i = 0; i < columns; ++i) to[i] += to[first + i];
}

}  // namespace
}  // namespace stc
